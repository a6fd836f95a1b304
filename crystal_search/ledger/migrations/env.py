"""Runs the migrations on the connection, and in the transaction, that ``open_ledger`` hands over."""

from alembic import context

from crystal_search.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
