"""One master's way to a line: bytes in, answers out; and the turns that masters and units take when bytes take time."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from firmware_sim.framing import Frame
from firmware_sim.wire import Heard

if TYPE_CHECKING:
    from firmware_sim.bus import LineServer

#: silence that ends a serial frame; far more than 3.5 characters, because networks and terminals deliver in pieces
GAP_S = 0.05
#: bytes around a PDU on a serial line, unit and sum; and by how much more a TCP frame has around it
RTU_OVERHEAD = 3
TCP_EXCESS = 4
#: requests on one line that wait for their turn; what comes on top is lost
WAITING_MAX = 256


class Turns:
    """One exchange at a time on a line with a speed."""

    def __init__(self, server: "LineServer") -> None:
        self._server = server
        self._queue: deque[tuple[Channel, Frame]] = deque()
        self._busy = False

    def add(self, channel: "Channel", frame: Frame) -> None:
        """Let a request wait for its turn."""
        if len(self._queue) < WAITING_MAX:
            self._queue.append((channel, frame))
            if not self._busy:
                self._next()

    def _next(self) -> None:
        self._busy = bool(self._queue)
        if self._busy:
            channel, frame = self._queue.popleft()
            timing = self._server.timing
            takes_s = 0.0 if timing is None else timing.wire_s(len(frame.pdu) + RTU_OVERHEAD) + timing.t35_s
            asyncio.get_running_loop().call_later(takes_s, self._arrive, channel, frame)

    def _arrive(self, channel: "Channel", frame: Frame) -> None:
        heard = channel.exchange(frame)
        if heard is None:
            self._next()
            return
        timing = self._server.timing
        length = len(heard.data) - (0 if self._server.is_rtu else TCP_EXCESS)
        takes_s = 0.0 if timing is None else timing.turnaround_ms / 1000 + timing.wire_s(length)
        loop = asyncio.get_running_loop()
        loop.call_later(takes_s + heard.late_s, channel.say, heard.data)
        loop.call_later(takes_s + (0.0 if timing is None else timing.t35_s), self._next)


class Channel:
    """A connection or a terminal."""

    def __init__(self, server: "LineServer", write: Callable[[bytes], None]) -> None:
        self._server = server
        self._write = write
        self._data = bytearray()
        self._loop = asyncio.get_running_loop()
        self._silence: asyncio.TimerHandle | None = None
        self._closed = False
        self._glued = b""

    def close(self) -> None:
        """Say nothing more."""
        self._closed = True
        self._watch_silence(False)

    def feed(self, data: bytes) -> bool:
        """Take what the master said; return False when it must be dropped."""
        self._data += data
        if self._server.is_plain:
            answers = self._server.consume(self._data)
            if answers is None:
                return False
            if answers:
                self.say(answers)
        else:
            taken = self._server.take(self._data)
            if taken.foreign:
                return False
            for frame in taken.frames:
                self._carry(frame)
        if self._silence is not None or self._data:
            self._watch_silence(bool(self._data) and self._server.is_rtu)
        return True

    def _watch_silence(self, on: bool) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if on:
            self._silence = self._loop.call_later(GAP_S, self._data.clear)

    def _carry(self, frame: Frame) -> None:
        if self._server.timing is not None:
            self._server.turns.add(self, frame)
            return
        heard = self.exchange(frame)
        if heard is not None and heard.late_s:
            self._loop.call_later(heard.late_s, self.say, heard.data)
        elif heard is not None:
            self.say(heard.data)

    def exchange(self, frame: Frame) -> Heard | None:
        """Carry a request to the units; return what the master is to hear of it, with what was glued to it."""
        if self._closed:
            return None
        heard = self._server.wire.exchange(frame, self._server.respond)
        if not heard.data:
            return None
        data, self._glued = self._glued + heard.data, b""
        if heard.glued:
            self._glued = data
            return None
        return Heard(data, heard.late_s)

    def say(self, data: bytes) -> None:
        """Let the master hear something, if it is still there."""
        if not self._closed:
            self._write(data)
