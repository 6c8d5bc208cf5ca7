"""A fresh, migrated database for every test that asks for `database_url`, on SQLite and on PostgreSQL.

The schema is made once a run, as a template; each test gets a copy of it.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import postgres
from tests.support.run_folder import locked, run_folder

if TYPE_CHECKING:
    from portal.db import Database

DATABASES = ("sqlite", "postgresql")

_folder = pytest.StashKey[Path]()


def migrate(url: str) -> None:
    """Bring an empty database to the newest schema."""
    from portal import db  # late: the harness' own tests don't need the product

    db.upgrade(url)


class Databases:
    """The databases of one process of the run; through the folder all share the server and the templates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run = folder.name.removeprefix("portal-tests-").lower()
        self.template_name = f"portal_{run}_template"
        self.names = (f"portal_{run}_{os.getpid()}_{number}" for number in count(1))

    @contextmanager
    def fresh(self, database: str) -> Iterator[str]:
        """The URL of a migrated, empty database, that is gone after the block."""
        with self._sqlite() if database == "sqlite" else self._postgresql() as url:
            yield url

    @contextmanager
    def empty(self, database: str) -> Iterator[str]:
        """The URL of a database without any tables, that is gone after the block."""
        name = next(self.names)
        if database == "sqlite":
            file = self.folder / f"{name}.sqlite3"
            try:
                yield f"sqlite:///{file}"
            finally:
                for leftover in self.folder.glob(f"{file.name}*"):
                    leftover.unlink()
            return
        server = postgres.join(self.folder)
        try:
            yield postgres.create_database(server, name)
        finally:
            postgres.drop_database(server, name)

    @contextmanager
    def _sqlite(self) -> Iterator[str]:
        file = self.folder / f"{next(self.names)}.sqlite3"
        shutil.copyfile(self._sqlite_template(), file)
        try:
            yield f"sqlite:///{file}"
        finally:
            for leftover in self.folder.glob(f"{file.name}*"):  # its write-ahead log as well
                leftover.unlink()

    @contextmanager
    def _postgresql(self) -> Iterator[str]:
        server = postgres.join(self.folder)
        self._postgresql_template(server)
        name = next(self.names)
        url = postgres.create_database(server, name, template=self.template_name)
        try:
            yield url
        finally:
            postgres.drop_database(server, name)

    def _sqlite_template(self) -> Path:
        template = self.folder / "template.sqlite3"
        with locked(self.folder / "template-sqlite.lock"):
            if not template.exists():
                made = self.folder / "migrated.sqlite3"
                migrate(f"sqlite:///{made}")
                # A copy of the file alone would miss what is still in its write-ahead log.
                with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(template)) as copy:
                    source.backup(copy)
        return template

    def _postgresql_template(self, server: str) -> None:
        done = self.folder / "template-postgresql.done"
        with locked(self.folder / "template-postgresql.lock"):
            if not done.exists():
                migrate(postgres.create_database(server, self.template_name))
                postgres.disconnect_all(server, self.template_name)
                done.touch()


def _clean_up(folder: Path) -> None:
    """End the run's own server, or take the run's template from a server that was lent."""
    if os.environ.get(postgres.URL_VARIABLE) and (folder / "template-postgresql.done").exists():
        postgres.drop_database(postgres.join(folder), Databases(folder).template_name)
    postgres.stop(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        action="append",
        choices=DATABASES,
        help="run the tests that need a database on this one only (may be given several times; default: all)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Only the process that began the run opens and closes the folder; workers are told where it is.
    if shared := getattr(config, "workerinput", {}).get("run_folder"):
        config.stash[_folder] = Path(shared)
        return
    closing_time = ExitStack()
    config.stash[_folder] = closing_time.enter_context(run_folder(before_removal=_clean_up))
    config.add_cleanup(closing_time.close)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["run_folder"] = str(node.config.stash[_folder])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        chosen = set(metafunc.config.getoption("--database") or DATABASES)
        if of_one := metafunc.definition.get_closest_marker("of_database"):
            chosen &= {of_one.args[0]}
        ordered = [database for database in DATABASES if database in chosen]
        metafunc.parametrize("database", ordered, indirect=True, scope="session")


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> str:
    """Which database this test runs on: "sqlite" or "postgresql"."""
    return str(request.param)


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Databases:
    return Databases(request.config.stash[_folder])


@pytest.fixture
def database_url(database: str, databases: Databases) -> Iterator[str]:
    """The URL of a fresh, migrated database of this test's own."""
    with databases.fresh(database) as url:
        yield url


@pytest.fixture
def clinic(database_url: str) -> Iterator["Database"]:
    """The same database, opened: a clinic of which nothing is known yet."""
    from portal.db import Database

    opened = Database(database_url)
    yield opened
    opened.close()
