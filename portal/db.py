"""The clinic database: its engine, its transactions, and the types that every table shares.

Reading runs in autocommit (no BEGIN and ROLLBACK around a page's few statements). Writing runs in a transaction that
on SQLite begins IMMEDIATE, so that two writers queue instead of failing half-way (SQLite: "database is locked" arises
when a read transaction is upgraded).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, DateTime, Dialect, Engine, MetaData, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

MIGRATIONS = Path(__file__).parent / "migrations"
SQLITE_BUSY_MS = 15_000
LOOKS = 4

Done = TypeVar("Done")


class Base(DeclarativeBase):
    """Every table. Constraints are named, because code translates a broken one by its name."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Utc(TypeDecorator[datetime]):
    """A moment. Aware and UTC in Python on every database; a naive one is a bug."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, "a moment without a zone"
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """One clinic database. Threads share it; each transaction has a session of its own."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        self.reading = (
            self.engine.execution_options(reading=True)
            if self.is_sqlite
            else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for looking only. Each statement sees the newest committed state."""
        with self.reading.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """All of it or nothing. Never call a gateway inside: a transaction does not wait for the network."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def looking_again(self, work: Callable[[Session], Done]) -> Done:
        """Do the work in a transaction of its own. Where a key of the database stops it, somebody was there first: it
        is done again from the start, and finds them."""
        for look in range(1, LOOKS + 1):
            try:
                with self.transaction() as session:
                    return work(session)
            except IntegrityError:
                if look == LOOKS:
                    raise
        raise AssertionError("the last look returns or raises")

    def close(self) -> None:
        """Give every connection back to the system."""
        self.engine.dispose()


def make_engine(url: str) -> Engine:
    """An engine with the product's settings for its database (SQLite: WAL, FULL sync, foreign keys)."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed,
            connect_args={"timeout": SQLITE_BUSY_MS / 1000, "check_same_thread": False},
            hide_parameters=True,  # an error tells its statement to the log, never the names and addresses in it
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        return engine
    parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(
        parsed, pool_pre_ping=False, pool_size=8, max_overflow=24, pool_recycle=1800, hide_parameters=True
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Autocommit in the driver, so that the BEGIN below is the only one.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={SQLITE_BUSY_MS}",
        "recursive_triggers=ON",
        "trusted_schema=OFF",
        "cache_size=-16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    if not connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


# --- migrations -----------------------------------------------------------------------------------------------------
# Alembic is imported when it is needed: a web worker never migrates, and starts faster without it.

REVISION = "0004"
"""The revision that this code was written for; a test holds it against the newest migration."""


def upgrade(url: str, to: str = "head") -> None:
    """Bring the database to the newest form of its tables, or to a revision; doing it twice changes nothing."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, to)


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None when it has no tables yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def engine_for_migrations(url: str) -> Engine:
    """As the product's own, but without a pool: a migration opens one connection and goes."""
    engine = make_engine(url)
    return create_engine(
        engine.url,
        poolclass=NullPool,
        **({"connect_args": {"timeout": 60}} if engine.dialect.name == "sqlite" else {}),
    )


# --- statements that both databases spell alike, but SQLAlchemy keeps apart -----------------------------------------


def insert_into(session: Session, table: type[Base]) -> Any:
    """The database's own INSERT, which knows ON CONFLICT."""
    return sqlite_insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql_insert(table)


def insert_ignoring_duplicates(session: Session, table: type[Base], **values: Any) -> bool:
    """Insert a row unless a unique rule already knows it; False when it does."""
    key = inspect(table).primary_key
    statement = insert_into(session, table).values(**values).on_conflict_do_nothing().returning(*key)
    return session.execute(statement).first() is not None


def upsert(
    session: Session, table: type[Base], values: dict[str, Any], on: list[str], changes: dict[str, Any]
) -> Any:
    """Insert a row, or change the one that has the same `on`."""
    return insert_into(session, table).values(**values).on_conflict_do_update(index_elements=on, set_=changes)
