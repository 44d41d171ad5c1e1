"""
Group commit: whatever waits when the last commit returns is executed together, in one transaction.

Nobody waits for a batch to fill, so a lone request goes through at once; at a busy hour one commit serves hundreds.
Requests that depend on each other (a hold and its capture) may be in one batch: the decision takes them in order.

On PostgreSQL the next batch is decided and sent while the server still writes the one before (`ahead`). If that one
fails, or another process wrote in between, the books' stamp shows it under the lock, nothing of either happens, and
both are executed again, one after the other. Another thread writes the lines of what was stored; nobody waits for it.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import islice
from types import TracebackType
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from backend.db import Database
from backend.errors import BackendError
from backend.kit.clock import Clock
from backend.ledger import listing_repository as listing
from backend.ledger import repository, service
from backend.ledger.ahead import Ahead
from backend.ledger.execution import Prepared, finish, prepare
from backend.ledger.memory import Memory
from backend.ledger.rules import TransferRequest, TransferResult

Results = list[TransferResult]
#: Stores rows of the caller's own with the money. It is called again, with `exists`, when a commit's answer was lost.
Then = Callable[[Connection, Results], None]

#: More than this many waiting requests are some seconds of work: who comes then had better come again later.
WAITING_MAX = 20_000
#: So many transfers without lines and the batches themselves must help.
_UNLISTED_MAX = 50_000
#: Lines of so many transfers are written together: many then share a page. They are waited for no longer than this.
_LISTED_AT_ONCE, _LISTED_AFTER_S = 8_192, 1
#: One that the server writes, and one that it finds when that is done.
_UNDERWAY_MAX = 2


class LedgerBusy(BackendError):
    """The ledger has more to do than it can soon; nothing was changed."""

    status = 503
    code = "ledger_busy"


class _Submission:
    __slots__ = ("future", "requests", "then")

    def __init__(self, requests: Sequence[TransferRequest], then: Then | None) -> None:
        self.requests = requests
        self.then = then
        self.future: Future[Results] = Future()


class Batcher:
    """The one writer of a tenant's ledger in this process, to whom any number of threads submit."""

    def __init__(self, db: Database, tenant_id: str, *, clock: Clock, waiting_max: int = WAITING_MAX) -> None:
        self.batch_count = 0
        self.request_count = 0
        self._db, self._tenant_id, self._clock, self._waiting_max = db, tenant_id, clock, waiting_max
        self._memory = Memory()
        self._changed = threading.Condition()
        self._waiting: deque[_Submission] = deque()
        self._waiting_count = 0
        self._closed = False
        #: Whether another process wrote last time: then what is decided ahead would most likely be decided in vain.
        self._is_shared = False
        self._ahead = None if db.is_sqlite else Ahead(db, tenant_id, self._memory)
        self._underway: deque[tuple[list[_Submission], Prepared]] = deque()
        name = f"ledger-{tenant_id}"
        works = [self._work] if db.is_sqlite else [self._work, self._list]
        self._lists, self._lists_now = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=work, name=name, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def submit(self, requests: Sequence[TransferRequest], then: Then | None = None) -> Future[Results]:
        """
        Return the promise of what becomes of each request; it is kept after the commit, never before.

        `then` runs in the same transaction after them: if it raises, none of these requests happened.

        :raises LedgerBusy: if too much waits already, or the batcher was closed.
        """
        assert 0 < len(requests) <= service.BATCH_MAX, "the caller cuts its batches"
        assert not requests[-1].linked, "a chain ends with a request that is not linked"
        submission = _Submission(requests, then)
        with self._changed:
            if self._closed or self._waiting_count + len(requests) > self._waiting_max:
                raise LedgerBusy(waiting=self._waiting_count)
            self._waiting.append(submission)
            self._waiting_count += len(requests)
            self._changed.notify()
        return submission.future

    @property
    def waiting_count(self) -> int:
        """Return how many requests wait to be taken into a batch."""
        return self._waiting_count

    def close(self) -> None:
        """Take nothing more, finish what waits, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._lists_now.set()
        self._lists.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _work(self) -> None:
        while self._has_work():
            batch = self._take()
            if batch and not self._sent(batch):
                while self._underway:
                    self._receive()
                self._settle(batch)
            while self._underway and (len(self._underway) == _UNDERWAY_MAX or not self._waiting):
                self._receive()
        if self._ahead is not None:
            self._ahead.close()

    def _sent(self, batch: list[_Submission]) -> bool:
        """Decide submissions ahead and send them, or return false if they must be executed by themselves."""
        if self._ahead is None or self._is_shared or any(one.then is not None for one in batch):
            return False
        try:
            prepared = self._ahead.send(_requests(batch), self._clock())
        except Exception:  # noqa: BLE001 - executed by themselves they raise it again, for those who wait
            return False
        if prepared is not None:
            self._underway.append((batch, prepared))
        return prepared is not None

    def _receive(self) -> None:
        """Keep the promises of the oldest batch underway; if it came to nothing, execute again what was underway."""
        lost: list[list[_Submission]] = []
        while self._underway:
            batch, prepared = self._underway.popleft()
            assert self._ahead is not None, "only what was sent is underway"
            before = self._ahead.receive(prepared)
            if before is not None and before.stamp == prepared.stamp_before:
                self._memory.confirm(prepared.decision, before.last_number, before.credit_version)
                self._keep(batch, before, _shares(batch, prepared.decision.results))
                if not lost:
                    return
                continue
            lost.append(batch)
        for batch in lost:
            self._settle(batch)

    def _settle(self, batch: list[_Submission]) -> None:
        """Execute submissions in one transaction by themselves, and when that fails one by one."""
        error = self._tried(batch, trusting=True)
        if isinstance(error, IntegrityError):  # an id was there already
            error = self._tried(batch)
        if error is None:
            return
        for submission in batch:  # some are poison to their neighbors, and each gets what it deserves
            error = self._tried([submission])
            if error is not None:
                submission.future.set_exception(error)

    def _list(self) -> None:
        """Write lines, many at a time, whenever some transfers have none."""
        while True:
            self._lists.wait()
            self._lists_now.wait(_LISTED_AFTER_S)
            self._lists.clear()
            self._lists_now.clear()
            if self._closed:  # it was before we were called for the last time
                return
            left = _LISTED_AT_ONCE
            while left >= _LISTED_AT_ONCE and not self._closed:
                try:
                    with self._db.write() as conn:
                        left = listing.list_new(conn, self._tenant_id, _LISTED_AT_ONCE)
                except DBAPIError:  # a lost database: the next batch will tell who waits, and call again
                    break

    def _has_work(self) -> bool:
        """Return true as soon as something waits, and false at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return bool(self._waiting)

    def _take(self) -> list[_Submission]:
        """Return what waits, as far as it fits in one batch."""
        batch: list[_Submission] = []
        count = 0
        with self._changed:
            while self._waiting and count + len(self._waiting[0].requests) <= service.BATCH_MAX:
                submission = self._waiting.popleft()
                self._waiting_count -= len(submission.requests)
                if submission.future.set_running_or_notify_cancel():
                    batch.append(submission)
                    count += len(submission.requests)
        return batch

    def _tried(self, batch: list[_Submission], *, trusting: bool = False) -> Exception | None:
        """Execute submissions in one transaction and keep their promises, or return why none of it happened."""
        memory, tenant_id = self._memory, self._tenant_id
        try:
            with self._db.write() as conn:
                before = repository.lock_writer(conn, tenant_id)
                self._is_shared = before.stamp != memory.stamp
                repository.refresh(conn, tenant_id, memory, before)
                prepared = prepare(conn, tenant_id, _requests(batch), memory, now=self._clock(), trusting=trusting)
                results = finish(conn, tenant_id, before, prepared, unlisted_max=self._unlisted_max())
                answers = _shares(batch, results)
                for submission, answer in zip(batch, answers, strict=True):
                    if submission.then is not None:
                        submission.then(conn, answer)
            memory.confirm(prepared.decision, before.last_number, before.credit_version)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the answer, not to this thread
            return error
        self._keep(batch, before, answers)
        return None

    def _unlisted_max(self) -> int:
        """Return how many transfers without lines a batch leaves. On SQLite it writes them itself, when it is quiet."""
        if self._ahead is not None:
            return _UNLISTED_MAX
        return _LISTED_AT_ONCE if self._waiting else listing.UNLISTED_MAX

    def _keep(self, batch: list[_Submission], before: repository.Books, answers: list[Results]) -> None:
        """Keep the promises of submissions that are in the books, and see to their lines."""
        with self._changed:
            self.batch_count += 1
            self.request_count += sum(len(answer) for answer in answers)
        unlisted = before.last_number - before.listed_number
        if unlisted > listing.UNLISTED_MAX:
            self._lists.set()
        if unlisted > _LISTED_AT_ONCE:
            self._lists_now.set()
        for submission, answer in zip(batch, answers, strict=True):
            submission.future.set_result(answer)


def _requests(batch: list[_Submission]) -> list[TransferRequest]:
    return [request for submission in batch for request in submission.requests]


def _shares(batch: list[_Submission], results: Iterable[TransferResult]) -> list[Results]:
    """Return each submission's part of the results."""
    rest = iter(results)
    return [list(islice(rest, len(submission.requests))) for submission in batch]
