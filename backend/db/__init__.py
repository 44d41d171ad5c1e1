"""One door to SQLite or PostgreSQL: an engine, a transaction, portable column types, one metadata."""

from backend.db.engine import Database, open_database
from backend.db.poison import POISON
from backend.db.types import UtcDateTime, metadata

__all__ = ["POISON", "Database", "UtcDateTime", "metadata", "open_database"]
