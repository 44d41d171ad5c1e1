"""One SQLite file for journal and memory, so that an event and the change it reports are one transaction."""

import asyncio
import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.kit import now_ms
from gateway.uplink import journal as journal_tables
from gateway.uplink import state as memory_tables
from gateway.uplink.journal import Journal
from gateway.uplink.state import Memory

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a transaction may touch."""

    journal: Journal
    memory: Memory


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for statement in (*journal_tables.SCHEMA, *memory_tables.SCHEMA):
        connection.execute(statement)
    if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError("quick_check failed")
    return connection


class Store:
    """The file. `transaction` is for the thread that opened it; `write` is for the event loop."""

    def __init__(
        self,
        path: Path,
        *,
        tenant: str,
        gateway: str,
        key: Ed25519PrivateKey,
        rows_max: int = 20_000,
        free_bytes_min: int = 0,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._free_bytes_min = path, free_bytes_min
        damaged = False
        try:
            self._connection = _connect(path)
        except sqlite3.DatabaseError as error:
            damaged = True
            aside = path.with_name(f"{path.name}.damaged-{now_ms()}")
            log.error("journal damaged, moved aside", extra={"file": str(aside), "reason": str(error)})
            path.rename(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._connection = _connect(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._parts = Transaction(
            Journal(self._connection, tenant=tenant, gateway=gateway, key=key, rows_max=rows_max),
            Memory(self._connection),
        )
        #: set after each commit made by `write`
        self.committed = asyncio.Event()
        with self.transaction() as tx:
            if damaged:
                tx.journal.begin_epoch(not_before_ms=now_ms())
            else:
                tx.journal.head()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Run a block as one transaction; it is on disk when the block has ended, and undone when the block raised."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._parts
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _run(self, work: Callable[[Transaction], T]) -> T:
        with self.transaction() as tx:
            return work(tx)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run work as one transaction away from the event loop, in the order of the calls; return what it returns."""
        result = await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, self._run, work))
        self.committed.set()
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run work that changes nothing, away from the event loop, and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def disk_has_room(self) -> bool:
        """Return whether the disk has the configured room left."""
        return shutil.disk_usage(self._path.parent).free >= self._free_bytes_min

    def close(self) -> None:
        """Finish what is being written and close the file."""
        self._thread.shutdown(wait=True)
        self._connection.close()
