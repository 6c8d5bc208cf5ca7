"""Writing many rows at once, past the session; the database's own triggers add them up as always."""

from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from portal.db import Base

AT_ONCE = 5_000

Row = dict[str, Any]


def reserve_ids(session: Session, table: type[Base], count: int) -> list[int]:
    """Ids that nobody else will be given. On SQLite the transaction is the only writer."""
    if session.get_bind().dialect.name == "sqlite":
        last = session.scalar(select(func.max(table.__table__.c.id))) or 0
        return list(range(last + 1, last + 1 + count))
    taken = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")
    return list(session.scalars(taken, {"name": table.__tablename__, "count": count}))


def insert_rows(session: Session, table: type[Base], rows: list[Row]) -> None:
    """Insert rows of one table, some thousand at a time."""
    for start in range(0, len(rows), AT_ONCE):
        session.execute(insert(table.__table__), rows[start : start + AT_ONCE])  # type: ignore[arg-type]  # of a mapped class it is a Table
