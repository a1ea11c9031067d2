"""What Alembic runs to migrate: over the connection that the caller has opened, inside the caller's transaction."""

from __future__ import annotations

from alembic import context

from bidloop.adapters.sql.tables import metadata

# A tool that merely imports this file, such as one that collects doctests, is not migrating anything.
if hasattr(context, "config"):
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        # SQLite cannot alter a column in place; batch mode copies the table.
        render_as_batch=True,
    )
    context.run_migrations()
