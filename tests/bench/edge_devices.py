"""
Outlets as bytes: Modbus TCP servers with just enough behind them to be opened, read and tapped, as fast as Python goes.

They are HWO-1 units to our gateway and plain registers to any other. No physics: an open outlet counts by the clock. A
control port on localhost taps cards, and says what was asked and how long after a tap the opening frame came.

Run as `python -m tests.bench.edge_devices LINES UNITS`; one JSON line with the ports says that it answers. With a third
argument, a speed in baud, the lines are pseudo-terminals on which every exchange takes as long as on a wire.
"""

import asyncio
import json
import os
import struct
import sys
import time
import tty
from collections import Counter

from gateway.modbus.codec import crc16, encode
from gateway.modbus.load import TURNAROUND_MS
from hardware.points import load

_INPUT_WORDS, _HOLDING_WORDS = 320, 530
_STATUS_AT, _MAIL_AT, _COMMAND_AT, _RESULT_AT, _LOG_AT = 100, 200, 256, 288, 400
_MAIL_ACK_AT = 68
#: any other gateway opens by writing this register
PLAIN_COMMAND_AT = 90
_OPEN, _CLOSE, _EXTEND = 1, 2, 3
_DONE, _BAD_STATE = 2, 5
_ML_PER_S = 150
_VALVE_OPEN, _FLOWING, _IN_SESSION, _MAIL = 1, 2, 4, 1 << 9


class Outlet:
    """One unit: its register images, and when it was last tapped."""

    def __init__(self, number: int) -> None:
        self.image = bytearray(2 * _INPUT_WORDS)
        self.holding = bytearray(2 * _HOLDING_WORDS)
        self.bits = 0
        self.tapped_at_ns = 0
        self._number = number
        self._opened_at = 0.0
        self._total = 1_000 * number
        self._mails = 0
        self._last_token = 0
        register_map = load("chw.hwo1")
        said = {
            "magic": 0x43485731,
            "profile_id": 0x4801,
            "profile_ver": 0x0100,
            "map_crc": register_map.crc,
            "vendor": "bench",
            "model": "HWO-1",
            "serial": f"B{number:05d}",
            "device_uid": number,
            "fw": "1.0.0",
            "k_factor": 450,
            "state": 1,
            "boot_id": 1,
            "total_pulses": self._total,
            "temp_out": 38,
        }
        for name, value in said.items():
            point = register_map.points[name]
            self._put(point.address, encode(point, value))

    def _put(self, address: int, words: list[int]) -> None:
        self.image[2 * address : 2 * (address + len(words))] = struct.pack(f">{len(words)}H", *words)

    def input(self, address: int, count: int) -> bytes:
        """Return input registers; an open outlet has gone on counting."""
        if self._opened_at and address == _STATUS_AT:
            pulses = int((time.monotonic() - self._opened_at) * _ML_PER_S * 450 / 1_000)
            elapsed = int((time.monotonic() - self._opened_at) * 10)
            struct.pack_into(">III", self.image, 216, pulses, pulses * 1_000 // 450, elapsed)
            struct.pack_into(">Q", self.image, 232, self._total + pulses)
        return bytes(self.image[2 * address : 2 * (address + count)])

    def tap(self) -> None:
        """Show a card to the reader, now."""
        self._mails = self._mails % 0xFFFF + 1
        uid = self._number.to_bytes(4, "big") + b"\x5a\x11\x22"
        head = struct.pack(">HHHIHH", self._mails, 1, 0, 0, 0, 7) + uid
        self.image[2 * _MAIL_AT : 2 * _MAIL_AT + len(head)] = head
        struct.pack_into(">H", self.image, 2 * 316, self._mails)
        struct.pack_into(">H", self.image, 2 * 124, self._mails)
        self.bits |= _MAIL
        self.tapped_at_ns = time.monotonic_ns()

    def written(self, address: int, count: int) -> None:
        """Take in what was just written to the holding registers."""
        if address == _MAIL_ACK_AT and count == 1:
            self.bits &= ~_MAIL
            self.image[2 * _MAIL_AT : 2 * _MAIL_AT + 2] = self.image[2 * 316 : 2 * 316 + 2] = b"\0\0"
        if address == _COMMAND_AT and count == 19:
            self._command()

    def _command(self) -> None:
        token, opcode, session = struct.unpack_from(">HHI", self.holding, 2 * _COMMAND_AT)
        if token == self._last_token:
            return  # a repeat: the result stands
        self._last_token = token
        code = _DONE
        if opcode == _OPEN:
            self._opened_at = time.monotonic()
            struct.pack_into(">I", self.image, 2 * 106, session)
            self._show(state=3, valve=2, flow=900)
            self.bits |= _VALVE_OPEN | _FLOWING | _IN_SESSION
        elif opcode == _CLOSE:
            self.input(_STATUS_AT, 28)
            (self._total,) = struct.unpack_from(">Q", self.image, 232)
            self._opened_at = 0.0
            self._show(state=1, valve=0, flow=0)
            self.bits &= ~(_VALVE_OPEN | _FLOWING | _IN_SESSION)
        elif opcode != _EXTEND:
            code = _BAD_STATE
        struct.pack_into(">HHHIIH", self.holding, 2 * _RESULT_AT, token, code, 0, session, self._total & 0xFFFFFFFF, 0)

    def _show(self, *, state: int, valve: int, flow: int) -> None:
        struct.pack_into(">H", self.image, 2 * 101, state)
        struct.pack_into(">H", self.image, 2 * 126, valve)
        struct.pack_into(">H", self.image, 2 * 114, flow)


class Site:
    """All outlets, and what has been asked of them."""

    def __init__(self, lines: int, units: int) -> None:
        self.lines = [{unit: Outlet(line * 1_000 + unit) for unit in range(1, units + 1)} for line in range(lines)]
        self.requests: Counter[int] = Counter()
        self.registers = 0
        #: reads of the status block, whole or in part
        self.polled_registers = 0
        self.latencies_ms: list[float] = []

    def heard(self, outlet: Outlet) -> None:
        """Note that the opening frame for a tap has come."""
        if outlet.tapped_at_ns:
            self.latencies_ms.append((time.monotonic_ns() - outlet.tapped_at_ns) / 1e6)
            outlet.tapped_at_ns = 0

    def answer(self, outlet: Outlet, pdu: bytes) -> bytes:
        """Return the answer to one request."""
        function = pdu[0]
        self.requests[function] += 1
        address, count = struct.unpack_from(">HH", pdu, 1)
        if function == 4:
            self.registers += count
            if address >= _STATUS_AT and address + count <= _STATUS_AT + 28:
                self.polled_registers += count
            return bytes((4, 2 * count)) + outlet.input(address, count)
        if function == 2:
            return bytes((2, 2)) + (outlet.bits & 0xFFFF).to_bytes(2, "little")
        if function == 3:
            self.registers += count
            return bytes((3, 2 * count)) + outlet.holding[2 * address : 2 * (address + count)]
        if function == 16:
            outlet.holding[2 * address : 2 * (address + count)] = pdu[6:]
            outlet.written(address, count)
            return pdu[:5]
        if function == 6:
            outlet.holding[2 * address : 2 * address + 2] = pdu[3:5]
            if address == PLAIN_COMMAND_AT:
                self.heard(outlet)
            return pdu[:5]
        if function == 23:
            write_address, write_count = struct.unpack_from(">HH", pdu, 5)
            outlet.holding[2 * write_address : 2 * (write_address + write_count)] = pdu[10:]
            outlet.written(write_address, write_count)
            if write_address == _COMMAND_AT and pdu[13] == _OPEN:
                self.heard(outlet)
            return bytes((23, 2 * count)) + outlet.holding[2 * address : 2 * (address + count)]
        return bytes((function | 0x80, 1))

    def control(self, said: dict[str, object]) -> dict[str, object]:
        """Obey one request of the bench."""
        if said["do"] == "tap":
            self.lines[int(str(said["line"]))][int(str(said["unit"]))].tap()
            return {}
        if said["do"] == "reset":
            self.requests.clear()
            self.registers = self.polled_registers = 0
            self.latencies_ms.clear()
        return {
            "requests": sum(self.requests.values()),
            "polled_registers": self.polled_registers,
            "latencies_ms": self.latencies_ms,
            "open": sum(bool(o.bits & _VALVE_OPEN) for line in self.lines for o in line.values()),
        }


class Link(asyncio.Protocol):
    """One connection of a line; answers all requests of a packet in one packet, silent for units that are not there."""

    def __init__(self, site: Site, units: dict[int, Outlet]) -> None:
        self._site, self._units, self._left = site, units, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        data = self._left + data
        at, answers = 0, []
        while len(data) - at >= 8:
            tid, _, length, unit = struct.unpack_from(">HHHB", data, at)
            if len(data) - at < 6 + length:
                break
            outlet = self._units.get(unit)
            if outlet is not None:
                pdu = self._site.answer(outlet, data[at + 7 : at + 6 + length])
                answers.append(struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu)
            at += 6 + length
        self._left = data[at:]
        if answers:
            self._transport.write(b"".join(answers))


class Wire:
    """A serial line: an answer comes when a wire of that speed would have carried question and answer."""

    def __init__(self, site: Site, units: dict[int, Outlet], baud: int) -> None:
        self._site, self._units, self._byte_s, self._left = site, units, 11 / baud, b""
        self._near, far = os.openpty()
        tty.setraw(self._near)
        tty.setraw(far)
        self.path = os.ttyname(far)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._near, self._heard)

    def _heard(self) -> None:
        now, self._left = self._loop.time(), self._left + os.read(self._near, 512)
        if len(self._left) < 8 or len(self._left) < (need := _length(self._left)):
            return
        question, self._left = self._left[:need], self._left[need:]
        outlet = self._units.get(question[0])
        if outlet is None or crc16(question) != 0:
            return
        answer = question[:1] + self._site.answer(outlet, question[1:-2])
        answer += crc16(answer).to_bytes(2, "little")
        due = now + (need + len(answer)) * self._byte_s + TURNAROUND_MS / 1_000
        self._loop.call_at(due, os.write, self._near, answer)


def _length(question: bytes) -> int:
    """Return how long a serial question is, from its first bytes."""
    if question[1] == 16:
        return 9 + question[6]
    return 13 + question[10] if question[1] == 23 and len(question) > 10 else 8


async def _serve(lines: int, units: int, baud: int) -> None:
    site = Site(lines, units)
    loop = asyncio.get_running_loop()
    ports: list[int | str] = []
    for line in site.lines:
        if baud:
            ports.append(Wire(site, line, baud).path)
            continue
        server = await loop.create_server(lambda line=line: Link(site, line), "127.0.0.1", 0)  # type: ignore[misc]
        ports.append(server.sockets[0].getsockname()[1])

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.readline():
            writer.write(json.dumps(site.control(json.loads(said))).encode() + b"\n")
        writer.close()

    server = await asyncio.start_server(control, "127.0.0.1", 0)
    print(json.dumps({"ports": ports, "control": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
