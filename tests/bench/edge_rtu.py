"""
Exchanges of our gateway on a serial line, beside what the wire takes at least.

The line is a pseudo-terminal pair whose far end answers when a wire of that speed would have carried both frames:
eleven bits a character, and five milliseconds for the device to think. The least is the bytes, twice the silence of 3.5
characters, and those five milliseconds.
"""

import asyncio
import os
import struct
import threading
import time
import tty
from collections.abc import Awaitable, Callable, Iterator

from gateway.config import Line
from gateway.modbus.bus import Bus, Priority
from gateway.modbus.codec import crc16
from gateway.modbus.load import exchange_ms
from tests.bench.figures import Figure, percentile

_TURNAROUND_S = 0.005
_ROUNDS = 40
_UNIT = 1

Exchange = Callable[[Bus], Awaitable[object]]
#: name, bytes of question and answer, and how our gateway asks
EXCHANGES: tuple[tuple[str, int, int, Exchange], ...] = (
    ("flags", 8, 7, lambda bus: bus.read_discrete(_UNIT, 0, 16, Priority.FLAGS)),
    ("hot status", 8, 61, lambda bus: bus.read_input(_UNIT, 100, 28, Priority.HOT)),
    ("renewal", 47, 8, lambda bus: bus.write(_UNIT, 256, [0] * 19, Priority.EXTEND)),
    (
        "command",
        51,
        21,
        lambda bus: bus.write_read(
            _UNIT, write_address=256, values=[0] * 19, read_address=288, read_count=8, priority=Priority.OPEN
        ),
    ),
)


class _Wire:
    """The far end of the line."""

    def __init__(self, baud: int) -> None:
        self._near, far = os.openpty()
        tty.setraw(self._near)
        tty.setraw(far)
        self._far, self.path = far, os.ttyname(far)
        self._byte_s = 11 / baud
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        os.close(self._near)
        os.close(self._far)

    def _serve(self) -> None:
        question = b""
        while True:
            try:
                question += os.read(self._near, 256)
            except OSError:
                return
            began = time.monotonic()
            if len(question) < 8 or len(question) < (need := _length(question)):
                continue
            answer = _answer(question[:need])
            question = question[need:]
            due = began + (need + len(answer)) * self._byte_s + _TURNAROUND_S
            time.sleep(max(0.0, due - time.monotonic()))
            os.write(self._near, answer)


def _length(question: bytes) -> int:
    function = question[1]
    if function == 16:
        return 9 + question[6]
    return 13 + question[10] if function == 23 and len(question) > 10 else 8


def _answer(question: bytes) -> bytes:
    function = question[1]
    (count,) = struct.unpack_from(">H", question, 4)
    if function == 2:
        body = question[:2] + bytes((-(-count // 8),)) + bytes(-(-count // 8))
    elif function == 16:
        body = question[:6]
    else:
        body = question[:2] + bytes((2 * count,)) + bytes(2 * count)
    return body + crc16(body).to_bytes(2, "little")


async def _times_ms(baud: int) -> dict[str, list[float]]:
    wire = _Wire(baud)
    bus = Bus(Line(line_id="bench", transport="serial", path=wire.path, baud=baud, parity="N", timeout_ms=2_000))
    bus.start()
    found: dict[str, list[float]] = {}
    try:
        await EXCHANGES[0][3](bus)
        for name, _, _, ask in EXCHANGES:
            found[name] = []
            for _ in range(_ROUNDS):
                began = time.perf_counter()
                await ask(bus)
                found[name].append((time.perf_counter() - began) * 1_000)
    finally:
        await bus.stop()
        wire.close()
    return found


def measure_rtu() -> Iterator[Figure]:
    """Yield each exchange at each speed."""
    for baud in (9_600, 19_200, 38_400, 115_200):
        found = asyncio.run(_times_ms(baud))
        for name, question, answer, _ in EXCHANGES:
            least = exchange_ms(question, answer, baud)
            told = f"pseudo-terminal with the timing of a wire, {question}+{answer} bytes, {_ROUNDS} rounds"
            yield Figure(f"RTU {name} at {baud} baud, p50", percentile(found[name], 0.5), "ms", "the wire", least, told)
