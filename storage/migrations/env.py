"""Runs the revisions on the connection that `storage.database.migrate` hands over.

The transaction is the caller's: the schema changes as a whole or not at all, on SQLite too.
"""

from __future__ import annotations

from alembic import context

from storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
