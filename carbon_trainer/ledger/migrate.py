"""Brings a ledger that an earlier version made to the present schema."""

from __future__ import annotations

import sqlalchemy as sa

from carbon_trainer.ledger import schema

FIRST = "0001"


def create(engine: sa.Engine) -> None:
    """Make the tables of a new ledger, all or none."""
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        schema.version_metadata.create_all(connection)
        if not connection.execute(sa.select(sa.func.count()).select_from(schema.meta)).scalar_one():
            connection.execute(
                schema.meta.insert(),
                {"key": "schema_version", "value": str(schema.SCHEMA_VERSION)},
            )
            connection.execute(schema.alembic_version.insert(), {"version_num": schema.REVISION})


def version_of(engine: sa.Engine) -> int:
    """Return the number of a ledger's schema."""
    with engine.connect() as connection:
        query = sa.select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")
        return int(connection.execute(query).scalar_one())


def upgrade(engine: sa.Engine) -> tuple[int, int]:
    """Bring a ledger to the present schema, in one transaction where the database can.

    Returns:
        The numbers of its schema before and after.
    """
    from alembic import command
    from alembic.config import Config

    before = version_of(engine)
    if before == schema.SCHEMA_VERSION:
        return before, before
    config = Config()
    config.set_main_option("script_location", "carbon_trainer:ledger/migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        # A write that changes nothing waits for another process that upgrades, which has then
        # done all that there is to do.
        connection.execute(schema.meta.update().values(value=schema.meta.c.value))
        query = sa.select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")
        if int(connection.execute(query).scalar_one()) == schema.SCHEMA_VERSION:
            return before, schema.SCHEMA_VERSION
        config.attributes["connection"] = connection
        if "alembic_version" not in sa.inspect(connection).get_table_names():
            # Ledgers of the first schema know nothing of alembic.
            command.stamp(config, FIRST)
        command.upgrade(config, "head")
    return before, version_of(engine)
