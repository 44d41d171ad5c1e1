"""
One SQLite file for journal and memory, so that an event and the change it reports are one transaction.

When the disk is full a transaction leaves nothing behind and raises `NoRoom`: what can be told again later (a device's
log) is told again later, and what cannot (a refusal) is kept here, bounded, and written when there is room.
"""

import asyncio
import contextlib
import logging
import shutil
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.kit import now_ms
from gateway.uplink import journal as journal_tables
from gateway.uplink import mending
from gateway.uplink import state as memory_tables
from gateway.uplink.journal import Journal
from gateway.uplink.state import Memory

log = logging.getLogger(__name__)

#: what the database says when it can no longer be relied on; ends the process
StoreBroken = sqlite3.Error
T = TypeVar("T")

KEPT_MAX = 500
#: how long to wait for somebody else's lock on the file
LOCK_WAIT_S = 10.0
#: stands in the name of a damaged file between the file's own name and the time
_ASIDE = ".damaged-"
#: this much must fit before a disk that was full counts as having room
ROOM_BYTES = 256 * 1024
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})


class NoRoom(Exception):
    """The disk is full: nothing of the transaction was written."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a transaction may touch."""

    journal: Journal
    memory: Memory


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=LOCK_WAIT_S)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for statement in (*journal_tables.SCHEMA, *memory_tables.SCHEMA, *mending.SCHEMA):
        connection.execute(statement)
    if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
        raise _Damaged("quick_check failed")


class _Damaged(sqlite3.DatabaseError):
    """The file can be read and its content is wrong."""


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Return whether a file must be given up; a full disk or a lock is no reason."""
    return isinstance(error, _Damaged) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _open(path: Path) -> sqlite3.Connection:
    """
    Return the file opened, after moving a damaged one aside whole: its WAL may hold records nobody has.

    The WAL goes first, so that being interrupted in between leaves a name that tells (`_lost_at_ms`). The damaged file
    is closed only when it has its new name: closing deletes the WAL by name.

    :raises NoRoom: if it cannot be opened now, which says nothing against its content.
    """
    try:
        connection = _connect(path)
        try:
            _prepare(connection)
        except sqlite3.DatabaseError as error:
            if _is_damaged(error):
                aside = path.with_name(f"{path.name}{_ASIDE}{now_ms()}")
                log.error("journal damaged, moved aside", extra={"file": str(aside), "reason": str(error)})
                for suffix in ("-wal", "-shm", ""):
                    part = path.with_name(path.name + suffix)
                    if part.exists():
                        part.rename(aside.with_name(aside.name + suffix))
            connection.close()
            if not _is_damaged(error):
                raise
            connection = _connect(path)
            _prepare(connection)
    except sqlite3.DatabaseError as error:
        raise NoRoom(f"{path} cannot be opened: {error}") from error
    return connection


def _lost_at_ms(path: Path) -> int:
    """Return when a file was last moved aside, by its name; 0 when none was."""
    times = [aside.name.removeprefix(path.name + _ASIDE).split("-")[0] for aside in path.parent.glob(f"*{_ASIDE}*")]
    return max((int(time) for time in times if time.isdigit()), default=0)


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
        self._connection = _open(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._parts = Transaction(
            Journal(self._connection, tenant=tenant, gateway=gateway, key=key, rows_max=rows_max),
            Memory(self._connection),
        )
        #: set after each commit made by `write`
        self.committed = asyncio.Event()
        #: whether a write found the disk full and none has found room since
        self.is_full = False
        #: what could not be written and cannot be told again, oldest first
        self._kept: deque[Callable[[Transaction], object]] = deque()
        self.lost = 0
        with self.transaction() as tx:
            mending.mend(self._connection, tx.journal, key=key, now_ms=now_ms())
            lost_at_ms = _lost_at_ms(path)
            if tx.journal.head().not_before_ms < lost_at_ms:
                tx.journal.renew_epoch(not_before_ms=now_ms())
                mending.note_lost_file(self._connection, f"{path.name}{_ASIDE}{lost_at_ms}", now_ms=now_ms())

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Run a block as one transaction; it is on disk when the block has ended, and undone when the block raised."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._parts
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            # no code: not the database's own error but a text in it that cannot be read; the next start sets it aside
            if getattr(error, "sqlite_errorcode", 0) not in _NO_ROOM:
                raise
            raise NoRoom(str(error)) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # a full disk may have undone it already
            self._connection.execute("ROLLBACK")

    def _run(self, work: Callable[[Transaction], T]) -> T:
        with self.transaction() as tx:
            return work(tx)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """
        Run work as one transaction away from the event loop, in the order of the calls; return what it returns.

        :raises NoRoom: if the disk is full.
        """
        try:
            result = await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, self._run, work))
        except NoRoom as error:
            if not self.is_full:
                log.critical("disk full: nothing opens until there is room", extra={"reason": str(error)})
            self.is_full = True
            raise
        self.committed.set()
        return result

    async def write_or_keep(self, work: Callable[[Transaction], object]) -> None:
        """Write, or keep the work until there is room; the oldest kept is lost when too much waits."""
        try:
            await self.write(work)
        except NoRoom:
            if len(self._kept) >= KEPT_MAX:
                self._kept.popleft()
                self.lost += 1
                log.error("too much waits for room on the disk", extra={"lost": self.lost})
            self._kept.append(work)

    async def write_kept(self) -> None:
        """
        Find out whether there is room again after the disk was full, and write what waits for it, oldest first.

        :raises NoRoom: if there is still none.
        """
        if self.is_full:
            await self.write(lambda tx: tx.memory.take_and_return(ROOM_BYTES))
            self.is_full = False
            log.warning("the disk has room again")
        while self._kept:
            await self.write(self._kept[0])
            self._kept.popleft()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run work that changes nothing, away from the event loop, and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def disk_has_room(self) -> bool:
        """Return whether the disk has the configured room left and took what was last written."""
        return not self.is_full and shutil.disk_usage(self._path.parent).free >= self._free_bytes_min

    def close(self) -> None:
        """Finish what is being written and close the file."""
        self._thread.shutdown(wait=True)
        self._connection.close()
