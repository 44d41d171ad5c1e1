"""
Modbus TCP without a library: one connection, and the next request sent as soon as an answer is in.

The library is what the other transports go through (`gateway.modbus.library`). Here it was most of the gateway's work,
and Modbus TCP is seven bytes of header: see the decision "Own frames for Modbus TCP" and `make bench ONLY=edge`.
"""

import asyncio
import logging
import random
import socket
import struct
from dataclasses import dataclass
from typing import cast

from gateway.config import Line
from gateway.kit import end_tasks
from gateway.modbus.frames import Questions, TcpAnswer
from gateway.modbus.requests import Desk, NotTried, Request

log = logging.getLogger(__name__)

RECONNECT_S_MIN, RECONNECT_S_MAX = 0.1, 2.0
#: a connection is waited for at least so long, however impatient the line is with its units
CONNECT_S_MIN = 1.0
#: so many unanswered requests in a row, of units that have answered on it before, and the connection is made anew
SILENT_MAX = 8
_HEADER = struct.Struct(">HHHB")
_PDU_BYTES_MAX = 253


class _Link(asyncio.Protocol):
    """A connection. `engine` hears of answers and of its end."""

    def __init__(self, engine: "TcpEngine") -> None:
        self._engine = engine
        self._left = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # a faster loop's transports do not derive from Python's
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._engine.lost(self, exc)

    def data_received(self, data: bytes) -> None:
        data = self._left + data if self._left else data
        at = 0
        while len(data) - at >= 8:
            tid, protocol, length, unit = _HEADER.unpack_from(data, at)
            if protocol or not 2 <= length <= _PDU_BYTES_MAX + 1:
                at = len(data)  # no way to tell where the next frame begins
                self._engine.nonsense()
                break
            end = at + 6 + length
            if end > len(data):
                break
            self._engine.heard(tid, unit, data[at + 7 : end])
            at = end
        self._left = data[at:] if at else data

    @property
    def has_part(self) -> bool:
        """Return whether the beginning of a frame has come and no more."""
        return bool(self._left)

    def forget(self) -> None:
        """Drop the beginning of a frame whose end never came."""
        self._left = b""


@dataclass(slots=True, eq=False)
class _Flight:
    """A request that is under way: its bytes, how often they were sent, and until when an answer is waited for."""

    request: Request
    pdu: bytes
    sent: int = 0
    deadline: float = 0.0
    is_garbled: bool = False


class TcpEngine:
    """Sends what waits at the desk, one request after another or a few at once, never two to the same unit."""

    def __init__(self, line: Line, desk: Desk) -> None:
        self._line, self._desk = line, desk
        self._timeout_s = line.timeout_ms / 1_000
        self._link: _Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._next_connect = 0.0
        self._delay_s = RECONNECT_S_MIN
        #: what is under way, by transaction, oldest first, and to which units
        self._flights: dict[int, _Flight] = {}
        self._units: set[int] = set()
        self._tid = 0
        self._busy_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._silent = 0
        #: units that have answered on this connection; the silence of others says nothing about it
        self._voices: set[int] = set()
        #: frames that leave together at the end of this turn of the loop
        self._leaving: list[bytes] = []

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._link is not None

    def start(self) -> None:
        """Bind to the running loop."""
        self._loop = asyncio.get_running_loop()
        self.wake()

    async def stop(self) -> None:
        """Close the connection and tell whoever waits."""
        if self._connecting is not None:
            await end_tasks([self._connecting])
        link, self._link = self._link, None
        self._give_up_flights("the line is being closed")
        self._desk.give_up()
        if self._timer is not None:
            self._timer.cancel()
        if link is not None and link.transport is not None:
            link.transport.close()

    # -- sending

    def wake(self) -> None:
        """Send what may be sent now."""
        while self._connecting is None and len(self._flights) < self._line.in_flight:
            request = self._desk.take(self._units)
            if request is None:
                return
            if self._link is not None:
                self._begin(request)
            elif self._loop.time() < self._next_connect:
                self._desk.fail(request, NotTried(f"line {self._line.line_id} is down"))
            else:
                self._connecting = self._loop.create_task(self._connect(request))

    def _begin(self, request: Request) -> None:
        try:
            pdu: bytes = request.call(Questions)
        except (struct.error, OverflowError) as error:
            self._desk.fail(request, NotTried(f"cannot be put into a frame: {error}"))
            return
        now = self._loop.time()
        if not self._flights:
            self._busy_since = now
        self._units.add(request.unit)
        self._send(_Flight(request, pdu), now)

    def _send(self, flight: _Flight, now: float) -> None:
        self._tid = self._tid % 0xFFFF + 1
        self._flights[self._tid] = flight
        flight.sent += 1
        flight.is_garbled = False
        flight.deadline = now + (flight.request.timeout_s or self._timeout_s)
        if self._timer is None or self._timer.when() > flight.deadline:
            self._arm(flight.deadline)
        frame = _HEADER.pack(self._tid, 0, len(flight.pdu) + 1, flight.request.unit) + flight.pdu
        if self._line.in_flight == 1:
            self._write(frame)
            return
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(frame)

    def _flush(self) -> None:
        frames, self._leaving = b"".join(self._leaving), []
        self._write(frames)

    def _write(self, data: bytes) -> None:
        if self._link is not None and self._link.transport is not None:
            self._link.transport.write(data)

    # -- hearing

    def heard(self, tid: int, unit: int, pdu: bytes) -> None:
        """Take in a frame; a late answer to an earlier request is nobody's."""
        flight = self._flights.get(tid)
        if flight is None:
            return
        if unit != flight.request.unit or pdu[0] & 0x7F != flight.pdu[0]:
            flight.is_garbled = True
            return
        try:
            answer = TcpAnswer(pdu)
        except (ValueError, IndexError, struct.error):
            flight.is_garbled = True
            return
        self._silent = 0
        self._voices.add(unit)
        self._end(tid, flight)
        self._desk.answered(flight.request, answer)
        self.wake()

    def nonsense(self) -> None:
        """Note that bytes came that are no answer; the tries under way go on until their time is over."""
        for flight in self._flights.values():
            flight.is_garbled = True

    def _end(self, tid: int, flight: _Flight) -> None:
        del self._flights[tid]
        unit = flight.request.unit
        self._units.discard(unit)
        self._desk.release(unit)
        if flight.is_garbled:
            self._desk.garbled(flight.request, 1)
        # with several under way the line is busy from the first that goes out to the last that comes back
        self._desk.sent(flight.request, 0.0 if self._flights else self._loop.time() - self._busy_since)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look_at_times)

    def _look_at_times(self) -> None:
        self._timer = None
        now = self._loop.time()
        for tid, flight in list(self._flights.items()):
            if now >= flight.deadline:
                self._timed_out(tid, flight, now)
        if self._silent >= SILENT_MAX and self._link is not None and self._link.transport is not None:
            self._silent = 0
            self._link.transport.abort()  # perhaps it is the connection that is dead
            return
        if self._flights and self._timer is None:
            self._arm(min(flight.deadline for flight in self._flights.values()))
        self.wake()

    def _timed_out(self, tid: int, flight: _Flight, now: float) -> None:
        if self._link is not None and self._link.has_part:
            flight.is_garbled = True
            self._link.forget()
        request = flight.request
        if flight.sent < request.tries and self._link is not None:
            self._desk.garbled(request, int(flight.is_garbled))
            del self._flights[tid]
            self._send(flight, now)
            return
        self._end(tid, flight)
        self._silent += not request.is_look and (request.unit in self._voices or not self._voices)
        within = f"within {(request.timeout_s or self._timeout_s) * flight.sent:.2g} s"
        what = "only damaged answers, cut short or of another unit," if flight.is_garbled else "no answer"
        self._desk.silent(request, f"{what} {within}")

    # -- the connection

    async def _connect(self, request: Request) -> None:
        """Open the connection for a request that waits for it."""
        link = _Link(self)
        now = self._loop.time()
        try:
            async with asyncio.timeout(max(CONNECT_S_MIN, self._timeout_s)):
                await self._loop.create_connection(lambda: link, self._line.host, self._line.port)
        except (OSError, TimeoutError) as error:
            self._next_connect = now + self._delay_s * random.uniform(0.8, 1.2)
            self._delay_s = min(self._delay_s * 2, RECONNECT_S_MAX)
            self._connecting = None
            self._desk.fail(request, NotTried(f"line {self._line.line_id} cannot be opened: {error}"))
        except asyncio.CancelledError:
            self._desk.fail(request, NotTried(f"line {self._line.line_id} is being closed"))
            raise
        else:
            self._delay_s, self._silent, self._connecting = RECONNECT_S_MIN, 0, None
            self._voices.clear()
            self._desk.line_is_back()
            log.info("line open", extra={"line": self._line.line_id})
            if link.transport is None:
                self._desk.silent(request, "the connection was closed at once")
            else:
                self._link = link
                self._begin(request)
        self.wake()

    def lost(self, link: _Link, error: Exception | None) -> None:
        """Note that a connection has ended; what was under way is not known to have arrived."""
        if link is not self._link:
            return
        self._link = None
        self._leaving.clear()
        self._give_up_flights(f"connection lost: {error or 'closed by the other side'}")
        self.wake()

    def _give_up_flights(self, why: str) -> None:
        for tid, flight in list(self._flights.items()):
            self._end(tid, flight)
            self._desk.silent(flight.request, why)
