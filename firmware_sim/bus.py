"""
Serve devices on Modbus TCP: one listener per line, as a serial-to-Ethernet bridge would.

A unit that is absent, unpowered or silent does not answer at all, as on a real line. Requests on one connection are
answered in order, any number in flight. With `rtu=True` the same line speaks RTU frames with CRC inside TCP; there a
frame that is not whole when silence follows is thrown away, so that it does not become the front of the next one.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from firmware_sim.codec import crc16
from firmware_sim.pdu import Unit, answer, broadcast_write

BROADCAST = 0
ADU_BYTES_MAX = 260
BACKLOG_BYTES_MAX = 64 * 1024
#: silence that ends a serial frame; far more than 3.5 characters, because a network delivers in pieces
GAP_S = 0.05

#: request length of each RTU function code: fixed, or where its byte count stands and what it is added to
_RTU_FIXED = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 22: 10}
_RTU_COUNTED = {15: (6, 9), 16: (6, 9), 23: (10, 13)}


class Line(Protocol):
    """The units on one line."""

    def unit(self, unit_id: int) -> Unit | None:
        """Return the unit that answers to this id now, or None for silence."""

    def units(self) -> Sequence[Unit]:
        """Return every unit that hears a broadcast now."""


class LineServer:
    """One listening socket."""

    def __init__(self, line: Line, *, now_ms: Callable[[], int], rtu: bool = False) -> None:
        self._line = line
        self._now_ms = now_ms
        self._rtu = rtu
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()
        #: frames thrown away because they could not be read
        self.bad_frames = 0

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chose when 0 was asked for."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
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
        return None if unit is None else answer(unit, pdu, now_ms)

    @property
    def ends_with_silence(self) -> bool:
        """Return whether bytes that are no whole frame are void after a silence."""
        return self._rtu

    def consume(self, data: bytearray) -> bytes | None:
        """
        Take every whole frame from the front of `data` and return the answers, or None when the peer must be dropped.
        """
        return self._consume_rtu(data) if self._rtu else self._consume_tcp(data)

    def _consume_tcp(self, data: bytearray) -> bytes | None:
        answers = bytearray()
        while len(data) >= 8:
            transaction, protocol, length, unit_id = struct.unpack_from(">HHHB", data)
            if protocol != 0 or not 2 <= length <= ADU_BYTES_MAX - 6:
                self.bad_frames += 1
                return None
            if len(data) < 6 + length:
                break
            pdu = bytes(data[7 : 6 + length])
            del data[: 6 + length]
            response = self.respond(unit_id, pdu)
            if response is not None:
                answers += struct.pack(">HHHB", transaction, 0, len(response) + 1, unit_id) + response
        return bytes(answers)

    def _consume_rtu(self, data: bytearray) -> bytes:
        answers = bytearray()
        while len(data) >= 4:
            size = _rtu_request_bytes(data)
            if size is None:
                break
            frame = bytes(data[:size])
            if size > len(data) or crc16(frame[:-2]).to_bytes(2, "little") != frame[-2:]:
                if size > len(data) and len(data) < ADU_BYTES_MAX:
                    break
                self.bad_frames += 1
                data.clear()
                break
            del data[:size]
            response = self.respond(frame[0], frame[1:-2])
            if response is not None:
                body = frame[:1] + response
                answers += body + crc16(body).to_bytes(2, "little")
        return bytes(answers)


def _rtu_request_bytes(data: bytearray) -> int | None:
    """Return the length of the request at the front, None when more bytes are needed to know."""
    function = data[1]
    if function in _RTU_FIXED:
        return _RTU_FIXED[function]
    if function in _RTU_COUNTED:
        at, overhead = _RTU_COUNTED[function]
        return overhead + data[at] if len(data) > at else None
    return len(data)


class _Connection(asyncio.Protocol):
    def __init__(self, server: LineServer) -> None:
        self._server = server
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None
        self._silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connected(transport)
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch_silence(False)
        if self._transport is not None:
            self._server.disconnected(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._data += data
        answers = self._server.consume(self._data)
        if answers is None or len(self._data) > BACKLOG_BYTES_MAX:
            self._transport.abort()
        elif answers:
            self._transport.write(answers)
        self._watch_silence(bool(self._data) and self._server.ends_with_silence)

    def _watch_silence(self, on: bool) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(GAP_S, self._data.clear) if on else None
