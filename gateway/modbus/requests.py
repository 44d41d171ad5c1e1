"""
Requests of one line: what may go wrong with them, which goes first, who is left alone, and what has been counted.

A closing valve never stands behind a meter reading. A unit that stops answering is left alone for longer and longer,
and at most one such unit is tried per second: the others must not pay for it.
"""

import asyncio
import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

QUEUE_MAX = 4_096
FAILURES_BEFORE_BACKOFF = 2
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
PROBE_SPACING_S = 1.0
#: "gateway path unavailable" and "target failed to respond": a TCP-to-serial box speaks for a silent unit
GATEWAY_EXCEPTIONS = (10, 11)
#: a request that is not answered is sent so often
TRIES = 2


class Priority(IntEnum):
    """Lower goes first."""

    CLOSE = 0
    OPEN = 1
    EXTEND = 2
    MAILBOX = 3
    HOT = 4
    LOG = 5
    FLAGS = 6
    SLOW = 7
    LOOK = 8
    #: flags that are read more often than they have to be, where the line has nothing else to do
    SPARE = 9


class BusError(Exception):
    """A unit did not do what was asked."""


class NoAnswer(BusError):
    """The unit, or the whole line, did not answer. What was written may or may not have arrived."""


class NotTried(BusError):
    """Nothing was sent: the unit is resting after failures, or the line is down or overloaded."""


class Declined(BusError):
    """The unit answered with a Modbus exception."""

    def __init__(self, exception_code: int) -> None:
        super().__init__(f"Modbus exception {exception_code}")
        self.exception_code = exception_code


class Answer(Protocol):
    """What comes back, whichever way the line is spoken to."""

    @property
    def registers(self) -> Sequence[int]:
        """The registers that were read."""

    @property
    def bits(self) -> Sequence[bool]:
        """The bits that were read, and those that fill up the last byte."""

    @property
    def exception_code(self) -> int:
        """The exception's number, where it is one."""

    def isError(self) -> bool:
        """Return whether the unit answered with an exception."""


class Waiting(Protocol):
    """Whoever waits for an answer: a future, or what looks like one."""

    def done(self) -> bool:
        """Return whether the answer is not wanted any more."""

    def set_result(self, answer: Any, /) -> None:
        """Take the answer."""

    def set_exception(self, error: BusError, /) -> None:
        """Take that there is none."""


#: Puts a question to a client of the library, or to what stands in for it: see `gateway.modbus.tcp`.
Call = Callable[[Any], Any]


@dataclass(slots=True, eq=False)
class Request:
    """One question. `is_wanted` is asked again when its turn comes."""

    unit: int
    priority: int
    call: Call
    answer: Waiting
    tries: int = TRIES
    #: None is the line's own
    timeout_s: float | None = None
    is_wanted: Callable[[], bool] | None = None

    @property
    def is_look(self) -> bool:
        """Whether it asks a unit that may not exist, whose silence says nothing."""
        return self.priority == Priority.LOOK


@dataclass(slots=True)
class UnitRecord:
    """How a unit has been answering."""

    failures: int = 0
    timeouts: int = 0
    #: answers whose bytes were no valid frame: wrong checksum, cut short, another protocol
    crc_errors: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class Desk:
    """Where the requests of a line wait, and what is known of its units."""

    line_id: str
    errors: int = 0
    #: requests that went out, and for how long one was under way that had to be
    requests: int = 0
    busy_s: float = 0.0
    units: dict[int, UnitRecord] = field(default_factory=dict)
    _waiting: list[tuple[int, int, Request]] = field(default_factory=list)
    #: requests whose turn came while their unit was still answering an earlier one
    _held: dict[int, list[tuple[int, int, Request]]] = field(default_factory=dict)
    _number: int = 0
    _next_probe: float = 0.0

    def record(self, unit: int) -> UnitRecord:
        """Return how a unit has been answering."""
        found = self.units.get(unit)
        if found is None:
            found = self.units[unit] = UnitRecord()
        return found

    def put(self, request: Request) -> None:
        """
        Let a request wait for its turn.

        :raises NotTried: if the unit is resting, or too many wait.
        """
        if request.priority not in (Priority.CLOSE, Priority.LOOK):
            self._check_backoff(request.unit)
        if len(self._waiting) >= QUEUE_MAX:
            raise NotTried(f"line {self.line_id} is overloaded")
        self._number += 1
        heapq.heappush(self._waiting, (request.priority, self._number, request))

    def _check_backoff(self, unit: int) -> None:
        record = self.units.get(unit)
        if record is None or record.failures < FAILURES_BEFORE_BACKOFF:
            return
        now = asyncio.get_running_loop().time()
        if now < record.not_before or now < self._next_probe:
            raise NotTried(f"unit {unit} is resting after {record.failures} failures")
        self._next_probe = now + PROBE_SPACING_S
        step = min(record.failures - FAILURES_BEFORE_BACKOFF, len(BACKOFF_S) - 1)
        record.not_before = now + BACKOFF_S[step]

    def take(self, busy: Collection[int] = ()) -> Request | None:
        """Return the request whose turn it is, None when none waits; requests to busy units wait for `release`."""
        while self._waiting:
            entry = heapq.heappop(self._waiting)
            request = entry[2]
            if request.answer.done():
                continue  # whoever asked has gone
            if request.unit in busy:
                self._held.setdefault(request.unit, []).append(entry)
                continue
            if request.is_wanted is not None and not request.is_wanted():
                self.fail(request, NotTried(f"line {self.line_id} has other things to do"))
                continue
            return request
        return None

    def release(self, unit: int) -> None:
        """Let the requests to a unit have their turn again."""
        for entry in self._held.pop(unit, ()):
            heapq.heappush(self._waiting, entry)

    def fail(self, request: Request, error: BusError) -> None:
        """Tell whoever asked that it came to nothing."""
        self.errors += not request.is_look
        if not request.answer.done():
            request.answer.set_exception(error)

    def silent(self, request: Request, why: object) -> None:
        """Note that nothing came back."""
        if not request.is_look:
            record = self.record(request.unit)
            record.failures += 1
            record.timeouts += 1
        self.fail(request, NoAnswer(f"unit {request.unit}: {why}"))

    def answered(self, request: Request, answer: Answer) -> None:
        """Pass on what came back: an exception of a box in between is silence, one of the unit's own is an answer."""
        is_error = answer.isError()
        if is_error and answer.exception_code in GATEWAY_EXCEPTIONS:
            self.silent(request, f"exception {answer.exception_code} of a bus gateway in between")
            return
        if not request.is_look:
            self.record(request.unit).failures = 0
        if is_error:
            self.fail(request, Declined(answer.exception_code))
        elif not request.answer.done():
            request.answer.set_result(answer)

    def garbled(self, request: Request, times: int) -> None:
        """Count answers of a unit that were no frame."""
        if times and not request.is_look:
            self.record(request.unit).crc_errors += times

    def line_is_back(self) -> None:
        """Give every unit a fresh chance."""
        for record in self.units.values():
            record.failures = 0

    def sent(self, request: Request, seconds: float) -> None:
        """Count a request, and for how long one was under way; a line that fills its spare time is not busy for it."""
        self.requests += 1
        if request.priority != Priority.SPARE:
            self.busy_s += seconds

    def give_up(self) -> None:
        """Tell everybody who still waits that the line is being closed."""
        for unit in list(self._held):
            self.release(unit)
        while (request := self.take()) is not None:
            self.fail(request, NotTried(f"line {self.line_id} is being closed"))
