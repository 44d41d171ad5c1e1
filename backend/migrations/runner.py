"""
Runs Alembic through its API, without a configuration file.

A new revision after changing a table: `python -m backend.migrations.runner "what changed"` and then
`ruff check --fix backend/migrations && ruff format backend/migrations`.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from backend.bootstrap.tables import load_tables
from backend.db import open_database

_FOLDER = Path(__file__).parent


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Bring the database at a URL to the newest schema; nothing happens when it is there already."""
    command.upgrade(_config(url), "head")


def stamp(engine: Engine) -> None:
    """Note that a database, whose tables were created as declared, is at the newest schema."""
    with engine.begin() as conn:
        MigrationContext.configure(conn).stamp(ScriptDirectory.from_config(_config("")), "head")


def is_current(engine: Engine) -> bool:
    """Return whether a database is at the newest schema."""
    with engine.connect() as conn:
        at = MigrationContext.configure(conn).get_current_revision()
    return at == ScriptDirectory.from_config(_config("")).get_current_head()


def differences(engine: Engine) -> list[object]:
    """Return what separates a database from the tables the code declares: nothing, or a revision is missing."""
    with engine.connect() as conn:
        return list(compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), load_tables()))


def new_revision(message: str) -> None:
    """Write a revision from the newest one to the tables the code declares."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/empty.db"
        upgrade(url)
        number = len(list((_FOLDER / "versions").glob("*.py"))) + 1
        command.revision(_config(url), message=message, autogenerate=True, rev_id=f"{number:04d}")
        open_database(url).engine.dispose()


if __name__ == "__main__":
    new_revision(" ".join(sys.argv[1:]) or "change")
