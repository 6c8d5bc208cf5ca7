"""The migrations make exactly the tables that the code describes."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import portal.tables
from portal.db import MIGRATIONS, REVISION, Database, current_revision, upgrade


@pytest.fixture
def clinic(database_url: str) -> Iterator[Database]:
    clinic = Database(database_url)
    yield clinic
    clinic.close()


def test_the_migrated_database_is_what_the_code_describes(clinic: Database) -> None:
    with clinic.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, portal.tables.Base.metadata) == []


def test_upgrading_again_changes_nothing(clinic: Database, database_url: str) -> None:
    upgrade(database_url)
    with clinic.read() as connection:
        assert current_revision(connection) == REVISION


def test_the_code_names_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION
