"""How Alembic reaches the clinic database."""

from alembic import context

import portal.tables
from portal.db import engine_for_migrations

metadata = portal.tables.Base.metadata


def run() -> None:
    """Run the migrations on the database that `portal.db` names, in one transaction."""
    with engine_for_migrations(context.config.attributes["url"]).connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=False)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


run()
