"""What Alembic runs: connects to the URL it is given and migrates inside one transaction."""

from typing import Any, Literal

from alembic import context

from backend.bootstrap.tables import load_tables
from backend.db import UtcDateTime, open_database


def _render(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """Write our column types by name, so that revisions read as the models do."""
    if kind == "type" and isinstance(item, UtcDateTime):
        autogen_context.imports.add("from backend.db import UtcDateTime")
        return "UtcDateTime()"
    module = type(item).__module__
    if kind == "type" and module.startswith("backend."):
        autogen_context.imports.add(f"from {module} import {type(item).__name__}")
        return f"{type(item).__name__}()"
    return False


def run() -> None:
    """Migrate."""
    database = open_database(context.config.attributes["url"])
    with database.write() as conn:
        context.configure(
            connection=conn,
            target_metadata=load_tables(),
            render_item=_render,
            render_as_batch=conn.dialect.name == "sqlite",
            transaction_per_migration=False,
            transactional_ddl=False,
        )
        context.run_migrations()
    database.engine.dispose()


run()
