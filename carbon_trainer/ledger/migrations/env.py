"""Runs migrations on the connection that ``ledger.migrate`` gives."""

from alembic import context

from carbon_trainer.ledger import schema

context.configure(
    connection=context.config.attributes["connection"], target_metadata=schema.metadata
)
with context.begin_transaction():
    context.run_migrations()
