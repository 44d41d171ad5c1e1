"""One door to SQLite or PostgreSQL: an engine, a transaction, portable column types, one metadata."""

from backend.db.engine import Database, open_database
from backend.db.types import UtcDateTime, metadata

__all__ = ["Database", "UtcDateTime", "metadata", "open_database"]
