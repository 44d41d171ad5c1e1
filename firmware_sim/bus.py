"""
Serve devices on Modbus TCP, one listener a line, as a serial-to-Ethernet bridge would; or RTU, in TCP or a terminal.

A unit that is absent, unpowered or silent does not answer at all, as on a real line. Requests on one connection are
answered in order, any number in flight. With `rtu=True` the line speaks RTU frames with CRC; there a frame that is not
whole when silence follows is thrown away, so that it does not become the front of the next one. With `timing` every
byte takes the time it takes at that baud rate, one exchange at a time, whoever asks. `noise` may change at any time.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from firmware_sim.channel import GAP_S, Channel, Turns
from firmware_sim.framing import Taken, rtu, take_rtu, take_tcp, tcp
from firmware_sim.noise import LineNoise, noise_of
from firmware_sim.pdu import Unit, answer, broadcast_write
from firmware_sim.terminal import Terminal
from firmware_sim.timing import Timing
from firmware_sim.wire import Wire

__all__ = ["BROADCAST", "GAP_S", "Line", "LineServer"]

BROADCAST = 0
BACKLOG_BYTES_MAX = 64 * 1024
#: an RTU frame with more behind it than this is noise that nobody should keep
RTU_BACKLOG_BYTES_MAX = 4 * 1024


class Line(Protocol):
    """The units on one line."""

    def unit(self, unit_id: int) -> Unit | None:
        """Return the unit that answers to this id now, or None for silence."""

    def units(self) -> Sequence[Unit]:
        """Return every unit that hears a broadcast now."""


class LineServer:
    """One line: listeners, terminals, and what happens between them and the units."""

    def __init__(
        self,
        line: Line,
        *,
        now_ms: Callable[[], int],
        rtu: bool = False,
        timing: Timing | None = None,
        seed: str = "0",
    ) -> None:
        self._line = line
        self._now_ms = now_ms
        self._rtu = rtu
        self.timing = timing
        self.noise = LineNoise(seed=seed)
        self._wire = Wire(noise=self.noise, is_rtu=rtu, on_bad=self.bad_frame)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()
        self._terminals: list[Terminal] = []
        self.turns = Turns(self)
        #: frames thrown away because they could not be read
        self.bad_frames = 0

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chose when 0 was asked for."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def open_terminal(self, link: Path | None = None) -> str:
        """Open a pseudo terminal that speaks RTU; return its path, or the link's that leads to it."""
        assert self._rtu, "a terminal speaks RTU"
        terminal = Terminal(self, link)
        self._terminals.append(terminal)
        return terminal.path

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        for terminal in self._terminals:
            terminal.close()
        self._terminals.clear()
        if self._server is not None:
            self._server.close()
            for transport in list(self._connections):
                transport.abort()
            await self._server.wait_closed()
            self._server = None

    def connected(self, transport: asyncio.Transport) -> None:
        """Keep a connection for `stop`."""
        self._connections.add(transport)

    def disconnected(self, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        self._connections.discard(transport)

    def set_noise(self, settings: Mapping[str, object], unit_id: int | None = None) -> None:
        """
        Change the noise of the line or of one unit by the names of `Noise`; nothing set means clean.

        :raises ValueError: if a setting is unknown or out of bounds.
        """
        self.noise.set(noise_of(settings), unit_id)

    def respond(self, unit_id: int, pdu: bytes) -> bytes | None:
        """Return the response PDU, or None for silence."""
        now_ms = self._now_ms()
        if unit_id == BROADCAST:
            write = broadcast_write(pdu)
            if write is not None:
                for listener in self._line.units():
                    listener.broadcast(*write)
            return None
        unit = self._line.unit(unit_id)
        if unit is None:
            return None
        own = getattr(unit, "refuse_or_obey", None)
        said: bytes | None = None if own is None else own(pdu, now_ms)
        return answer(unit, pdu, now_ms) if said is None else said

    def bad_frame(self) -> None:
        """Let every unit note that a frame on the line was damaged."""
        self.bad_frames += 1
        for unit in self._line.units():
            noted = getattr(unit, "crc_error_seen", None)
            if noted is not None:
                noted()

    @property
    def is_rtu(self) -> bool:
        """Return whether frames carry a sum, and bytes that are no whole frame are void after a silence."""
        return self._rtu

    @property
    def is_plain(self) -> bool:
        """Return whether answers come at once and whole."""
        return self.timing is None and self.noise.is_clean

    @property
    def wire(self) -> Wire:
        """Return what mishaps happen on."""
        return self._wire

    def take(self, data: bytearray) -> Taken:
        """Take every whole frame from the front of `data`."""
        taken = take_rtu(data) if self._rtu else take_tcp(data)
        for _ in range(taken.bad):
            if self._rtu:
                self.bad_frame()
            else:
                self.bad_frames += 1
        if len(data) > (RTU_BACKLOG_BYTES_MAX if self._rtu else BACKLOG_BYTES_MAX):
            taken.foreign = True
        return taken

    def consume(self, data: bytearray) -> bytes | None:
        """
        Take every whole frame from the front of `data` and return the answers, or None when the peer must be dropped.

        Neither time nor noise: what a plain line does.
        """
        taken = self.take(data)
        if taken.foreign:
            return None
        answers = bytearray()
        respond = self.respond
        for frame in taken.frames:
            response = respond(frame.unit_id, frame.pdu)
            if response is not None:
                answers += (
                    rtu(frame.unit_id, response) if self._rtu else tcp(frame.transaction, frame.unit_id, response)
                )
        return bytes(answers)


class _Connection(asyncio.Protocol):
    def __init__(self, server: LineServer) -> None:
        self._server = server
        self._channel: Channel | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._channel = Channel(self._server, transport.write)
        self._server.connected(transport)
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._transport is not None:
            self._server.disconnected(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        assert self._channel is not None
        if not self._channel.feed(data):
            self._transport.abort()
