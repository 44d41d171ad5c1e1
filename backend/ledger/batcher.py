"""
Group commit: whatever waits when the last commit returns is executed together, in one transaction.

Nobody waits for a batch to fill, so a lone request goes through at once; at a busy hour one commit serves hundreds.
Requests that depend on each other (a hold and its capture) may be in one batch: the decision takes them in order.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from backend.db import Database
from backend.errors import BackendError
from backend.kit.clock import Clock
from backend.ledger import service
from backend.ledger.memory import Memory
from backend.ledger.rules import TransferRequest, TransferResult

Results = list[TransferResult]
#: Stores rows of the caller's own with the money. It is called again, with `exists`, when a commit's answer was lost.
Then = Callable[[Connection, Results], None]

#: More than this many waiting requests are some seconds of work: who comes then had better come again later.
WAITING_MAX = 20_000


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
    """The one writer of a tenant's ledger in this process. Any number of threads submit; one thread executes."""

    def __init__(self, db: Database, tenant_id: str, *, clock: Clock, waiting_max: int = WAITING_MAX) -> None:
        self.batch_count = 0
        self.request_count = 0
        self._db, self._tenant_id, self._clock, self._waiting_max = db, tenant_id, clock, waiting_max
        self._memory = Memory()
        self._changed = threading.Condition()
        self._waiting: deque[_Submission] = deque()
        self._waiting_count = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"ledger-{tenant_id}", daemon=True)
        self._thread.start()

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
        """Take nothing more, finish what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _work(self) -> None:
        while batch := self._take():
            if self._tried(batch) is not None:
                for submission in batch:  # one of them may be poison: alone, each gets what it deserves
                    error = self._tried([submission])
                    if error is not None:
                        submission.future.set_exception(error)

    def _take(self) -> list[_Submission]:
        """Return what waits, as far as it fits in one batch; nothing means the end."""
        batch: list[_Submission] = []
        count = 0
        with self._changed:
            while not batch and not (self._closed and not self._waiting):
                self._changed.wait_for(lambda: self._waiting or self._closed)
                while self._waiting and count + len(self._waiting[0].requests) <= service.BATCH_MAX:
                    submission = self._waiting.popleft()
                    self._waiting_count -= len(submission.requests)
                    if submission.future.set_running_or_notify_cancel():
                        batch.append(submission)
                        count += len(submission.requests)
        return batch

    def _tried(self, batch: list[_Submission]) -> Exception | None:
        """Execute submissions in one transaction and keep their promises, or return why none of it happened."""
        requests = [request for submission in batch for request in submission.requests]
        answers: list[Results] = []
        try:
            with self._db.write() as conn:
                results = service.execute(conn, self._tenant_id, requests, now=self._clock(), memory=self._memory)
                begin = 0
                for submission in batch:
                    answers.append(results[begin : begin + len(submission.requests)])
                    begin += len(submission.requests)
                    if submission.then is not None:
                        submission.then(conn, answers[-1])
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the answer, not to this thread
            return error
        self.batch_count += 1
        self.request_count += len(requests)
        for submission, answer in zip(batch, answers, strict=True):
            submission.future.set_result(answer)
        return None
