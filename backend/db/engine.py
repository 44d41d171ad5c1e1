"""Opens the database and hands out transactions. SQLite runs WAL with full sync and takes its write lock at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url

_BUSY_TIMEOUT_MS = 20_000


@dataclass(frozen=True, slots=True)
class Database:
    """An engine with the two kinds of transaction the slices use."""

    engine: Engine

    @property
    def is_sqlite(self) -> bool:
        """Return whether this is SQLite (one writer per file) rather than PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in a read-write transaction; commit at the end, roll back on any exception."""
        with self.engine.connect() as conn:
            if self.is_sqlite:
                conn.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield conn
            except BaseException:
                conn.rollback()
                raise
            conn.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection in a read transaction that sees one snapshot; nothing is committed."""
        with self.engine.connect() as conn:
            if self.is_sqlite:
                conn.exec_driver_sql("BEGIN")
            try:
                yield conn
            finally:
                conn.rollback()


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves, so that writers queue instead of deadlocking
    cursor = dbapi_connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_TIMEOUT_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def open_database(url: str, *, pool_size: int = 10) -> Database:
    """
    Return the database at a SQLAlchemy URL (`sqlite:///path` or `postgresql+psycopg://…`).

    A SQLite file's folder is made when it is missing. PostgreSQL connections are checked before use.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            parsed,
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=20,
            connect_args={"check_same_thread": False},
        )
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        engine = create_engine(parsed, hide_parameters=True, pool_size=pool_size, max_overflow=20, pool_pre_ping=True)
    return Database(engine)
