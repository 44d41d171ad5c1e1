"""
Group commit of business work: what waits under one key is done in one transaction and committed once.

Nobody waits for a group to fill and there is no thread of its own. Who comes while nobody works leads: it opens the
transaction, does its own work and then, each in a savepoint and in the order of arrival, whatever has queued up
meanwhile, commits once, hands everybody their result, and passes the lead to the first who came too late for it. A lone
caller pays nothing; at a busy hour one commit serves dozens.

Work that raises is rolled back to its savepoint and only its caller hears of it; a leader's own ends its transaction
before anybody else is in it. When the transaction itself fails, at
its commit or because the connection is gone, nobody's work happened, and each is told that very failure: also those
who were refused, for what they were refused by did not happen either.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
#: What a group's transaction begins with: the locks all its work needs, taken before any savepoint.
Begin = Callable[[Connection], None]
Write = Callable[[], AbstractContextManager[Connection]]

#: Bounds how long the first of a group waits for its commit, and everybody else for the locks.
GROUP_MAX = 32


class WorkLost(RuntimeError):
    """The thread that led the group was ended before the commit; nothing of the work happened."""


class _Entry:
    """Somebody's work, and what became of it. Its turn has come when it is done, or when it must lead."""

    __slots__ = ("error", "is_done", "result", "turn", "work")

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.turn = threading.Event()
        self.is_done = False
        self.result: Any = None
        self.error: Exception | None = None

    def run(self, conn: Connection) -> None:
        """Do the work in a savepoint; what goes beyond it ends the whole transaction and is raised."""
        savepoint = conn.begin_nested()
        try:
            self.result = self.work(conn)
        except Exception as error:
            savepoint.rollback()
            if conn.invalidated:
                raise
            self.error = error
        else:
            savepoint.commit()


class Queues:
    """What waits in this process, by key; a key that nobody works under has no queue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[_Entry]] = {}

    def run(
        self, write: Write, key: str, works: Sequence[Callable[[Connection], T]], begin: Begin
    ) -> list[T | Exception]:
        """Return for each work, in order, its result or the exception it ended with, once that is committed."""
        own = [_Entry(work) for work in works]
        if not own:
            return []
        try:
            with self._lock:
                if key not in self._waiting:
                    self._waiting[key] = deque()
                    own[0].turn.set()
                self._waiting[key].extend(own)
            for entry in own:
                entry.turn.wait()
                if not entry.is_done:
                    self._lead(write, key, begin)
        except BaseException:
            self._withdraw(key, own)
            raise
        return [entry.result if entry.error is None else entry.error for entry in own]

    def _lead(self, write: Write, key: str, begin: Begin) -> None:
        """Do the work that waits, at most `GROUP_MAX`, and pass the lead on. The first that waits is the leader's."""
        taken: list[_Entry] = []
        try:
            self._take(key, taken)
            with write() as conn:
                begin(conn)
                taken[0].result = taken[0].work(conn)
                while len(taken) < GROUP_MAX and self._take(key, taken):
                    taken[-1].run(conn)
        except BaseException as error:
            told = error if isinstance(error, Exception) else WorkLost("the thread that did the work was ended")
            for entry in taken:
                entry.error = told
            if told is not error:
                raise
        finally:
            for entry in taken:
                entry.is_done = True
                entry.turn.set()
            self._pass_on(key)

    def _take(self, key: str, taken: list[_Entry]) -> bool:
        with self._lock:
            if self._waiting[key]:
                taken.append(self._waiting[key].popleft())
                return True
            return False

    def _pass_on(self, key: str) -> None:
        with self._lock:
            if self._waiting[key]:
                self._waiting[key][0].turn.set()
            else:
                del self._waiting[key]

    def _withdraw(self, key: str, own: Sequence[_Entry]) -> None:
        """Take back what nobody began, and pass on the lead if it had come to that."""
        with self._lock:
            waiting = self._waiting.get(key, deque())
            leads = any(entry.turn.is_set() and not entry.is_done for entry in own)
            for entry in own:
                if entry in waiting:
                    waiting.remove(entry)
        if leads:
            self._pass_on(key)
