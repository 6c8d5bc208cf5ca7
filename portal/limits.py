"""Limits on tries that hold across processes without Redis: a storage for Flask-Limiter in the clinic database."""

from datetime import datetime, timedelta

from sqlalchemy import String, case, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from portal.clock import now
from portal.db import Base, Database, Utc, upsert


class TryCount(Base):
    """How often something was tried in one window of time. `key` is hashed: it can hold an address."""

    __tablename__ = "try_counts"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    tries: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(Utc, index=True)


def count_try(database: Database, key: str, window_s: int, amount: int = 1) -> int:
    """Count one more try in the window that is open, or open one; gives how many there are now."""
    moment = now()
    fresh = TryCount.expires_at <= moment
    with database.transaction() as session:
        statement = upsert(
            session,
            TryCount,
            {"key": key, "tries": amount, "expires_at": moment + timedelta(seconds=window_s)},
            on=["key"],
            changes={
                "tries": case((fresh, amount), else_=TryCount.tries + amount),
                "expires_at": case((fresh, moment + timedelta(seconds=window_s)), else_=TryCount.expires_at),
            },
        )
        return int(session.execute(statement.returning(TryCount.tries)).scalar_one())


def tries_of(database: Database, key: str) -> tuple[int, datetime | None]:
    """The tries in the open window and when it closes."""
    with database.read() as connection:
        row = connection.execute(
            select(TryCount.tries, TryCount.expires_at).where(TryCount.key == key, TryCount.expires_at > now())
        ).first()
    return (row.tries, row.expires_at) if row else (0, None)


def forget_tries(database: Database, key: str | None = None) -> int:
    """Forget one key's tries, or every window that has closed."""
    which = TryCount.key == key if key is not None else TryCount.expires_at <= now()
    with database.transaction() as session:
        return int(session.execute(delete(TryCount).where(which)).rowcount)  # type: ignore[attr-defined]  # a DELETE gives a CursorResult
