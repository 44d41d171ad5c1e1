"""
Group commit: whatever waits when the last commit returns is executed together, in one transaction.

Nobody waits for a batch to fill, so a lone request goes through at once; at a busy hour one commit serves hundreds.
Requests that depend on each other (a hold and its capture) may be in one batch: the decision takes them in order.

On PostgreSQL two threads take turns: while one writes its batch, the other already decides the next on what the first
will leave. If the first then fails, or another process wrote in between, the books' stamp shows it under the lock, and
the second decides again. A third writes the lines of what the two have stored, and nobody waits for it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
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
from backend.ledger.execution import finish, prepare
from backend.ledger.memory import Memory
from backend.ledger.rules import TransferRequest, TransferResult

Results = list[TransferResult]
#: Stores rows of the caller's own with the money. It is called again, with `exists`, when a commit's answer was lost.
Then = Callable[[Connection, Results], None]

#: More than this many waiting requests are some seconds of work: who comes then had better come again later.
WAITING_MAX = 20_000
#: So many transfers without lines and the batches themselves must help.
_UNLISTED_MAX = 50_000
#: Few enough that a batch which needs the same pages or the processor is not kept waiting.
_LISTED_AT_ONCE = 1_024


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
        self._deciding, self._writing = threading.Lock(), threading.Lock()
        lanes = 1 if db.is_sqlite else 2  # SQLite reads for a write only as its one writer
        name = f"ledger-{tenant_id}"
        works = [self._work] * lanes + ([] if db.is_sqlite else [self._list])
        self._unlisted_max = listing.UNLISTED_MAX if db.is_sqlite else _UNLISTED_MAX
        self._lists = threading.Event()
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
            self._deciding.acquire()
            batch = self._take()
            if not batch:
                self._deciding.release()
                continue
            error = self._tried(batch, trusting=True)
            if isinstance(error, IntegrityError):  # an id was there already
                self._deciding.acquire()
                error = self._tried(batch)
            if error is not None:
                self._each_alone(batch)

    def _each_alone(self, batch: list[_Submission]) -> None:
        """Execute submissions one by one: some are poison to their neighbors, and each gets what it deserves."""
        for submission in batch:
            self._deciding.acquire()
            error = self._tried([submission])
            if error is not None:
                submission.future.set_exception(error)

    def _list(self) -> None:
        """Write lines, some at a time, whenever enough transfers have none."""
        while True:
            self._lists.wait()
            self._lists.clear()
            if self._closed:  # it was before we were called for the last time
                return
            left = listing.UNLISTED_MAX + 1
            while left > listing.UNLISTED_MAX and not self._closed:
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
        """
        Execute submissions in one transaction and keep their promises, or return why none of it happened.

        Comes with the turn to decide, and passes it on once what it decided can only fail as a whole.
        """
        requests = [request for submission in batch for request in submission.requests]
        memory, tenant_id = self._memory, self._tenant_id
        try:
            with ExitStack() as decided, ExitStack() as written:
                decided.callback(self._deciding.release)
                with self._db.write() as conn:
                    now = self._clock()
                    prepared = None
                    if not self._is_shared:
                        prepared = prepare(conn, tenant_id, requests, memory, now=now, trusting=trusting)
                    written.enter_context(self._writing)
                    before = repository.lock_writer(conn, tenant_id)
                    expected = memory.stamp if prepared is None else prepared.stamp_before
                    self._is_shared = before.stamp != expected
                    if prepared is None or self._is_shared:
                        repository.refresh(conn, tenant_id, memory, before)
                        prepared = prepare(conn, tenant_id, requests, memory, now=now, trusting=trusting)
                    decided.close()
                    results = finish(conn, tenant_id, before, prepared, unlisted_max=self._unlisted_max)
                    answers = _shares(batch, results)
                    for submission, answer in zip(batch, answers, strict=True):
                        if submission.then is not None:
                            submission.then(conn, answer)
                memory.confirm(prepared.decision, before.last_number, before.credit_version)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the answer, not to this thread
            return error
        with self._changed:
            self.batch_count += 1
            self.request_count += len(requests)
        if before.last_number - before.listed_number > listing.UNLISTED_MAX:
            self._lists.set()
        for submission, answer in zip(batch, answers, strict=True):
            submission.future.set_result(answer)
        return None


def _shares(batch: list[_Submission], results: Results) -> list[Results]:
    """Return each submission's part of the results."""
    rest = iter(results)
    return [list(islice(rest, len(submission.requests))) for submission in batch]
