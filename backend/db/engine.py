"""Opens the database and hands out transactions. SQLite runs WAL with full sync and takes its write lock at once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url

from backend.db.together import Begin, Queues

_BUSY_TIMEOUT_MS = 20_000
#: What every connection to a file is told first.
_SQLITE = {
    "journal_mode": "WAL",
    "synchronous": "FULL",
    "foreign_keys": "ON",
    "busy_timeout": _BUSY_TIMEOUT_MS,
    #: In KiB: by default it forgets the pages of a big table's index from one batch to the next.
    "cache_size": -32_768,
    #: In pages: by default a busy writer copies pages from the log to the file that the next batch writes again.
    "wal_autocheckpoint": 8_192,
}
T = TypeVar("T")


class _Here(threading.local):
    """What the thread that looks is in the middle of."""

    writes = 0
    groups = 0


@dataclass(frozen=True, slots=True)
class Database:
    """An engine with the kinds of transaction the slices use."""

    engine: Engine
    _queues: Queues = field(default_factory=Queues, repr=False, compare=False)
    _here: _Here = field(default_factory=_Here, repr=False, compare=False)

    @property
    def is_sqlite(self) -> bool:
        """Return whether this is SQLite (one writer per file) rather than PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """
        Yield a connection in a read-write transaction; commit at the end, roll back on any exception.

        With `snapshot` it sees one moment throughout, as `read` does: for who compares much and only adds rows.
        """
        assert not self._here.groups, "work done together has its transaction already"
        self._here.writes += 1
        try:
            with self._snapshots() if snapshot else self.engine.connect() as conn:
                if self.is_sqlite:
                    conn.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    yield conn
                except BaseException:
                    conn.rollback()
                    raise
                try:
                    conn.commit()
                except BaseException:
                    conn.invalidate()  # SQLite's is still in that transaction: nobody else may get this connection
                    raise
        finally:
            self._here.writes -= 1

    @contextmanager
    def _write_group(self) -> Iterator[Connection]:
        with self.write() as conn:
            self._here.groups += 1
            try:
                yield conn
            finally:
                self._here.groups -= 1

    def together(self, key: str, work: Callable[[Connection], T], *, begin: Begin) -> T:
        """
        Return what work returns, done in one transaction with what others wait to do under the same key.

        It is done once or, when it raises, not at all; what it raises is raised here. `begin` takes the locks that all
        work under this key needs and is the same for all of it. The work may run in another thread, and calls neither
        this nor `write`.
        """
        (found,) = self.all_together(key, [work], begin=begin)
        if isinstance(found, Exception):
            raise found
        return found

    def all_together(
        self, key: str, works: Sequence[Callable[[Connection], T]], *, begin: Begin
    ) -> list[T | Exception]:
        """Return for each work, in order, what it returns or the exception it ended with, as `together` does it."""
        assert not self._here.writes, "who waits for others inside a transaction may hold what they wait for"
        return self._queues.run(self._write_group, key, works, begin)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection in a read transaction that sees one snapshot; nothing is committed."""
        with self._snapshots() as conn:
            if self.is_sqlite:
                conn.exec_driver_sql("BEGIN")
            try:
                yield conn
            finally:
                conn.rollback()

    def _snapshots(self) -> Connection:
        """Return a connection whose transaction sees one moment; SQLite's always do."""
        if self.is_sqlite:
            return self.engine.connect()
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ")


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves, so that writers queue instead of deadlocking
    cursor = dbapi_connection.cursor()
    for name, value in _SQLITE.items():
        cursor.execute(f"PRAGMA {name}={value}")
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
