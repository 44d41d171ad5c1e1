"""
What the conformance suite is run against: a device that speaks Modbus, as a server on TCP, RTU over TCP or a terminal.

A target is started and stopped and says where it is. `device` moves it through its own time and does to it what only
hands can do; `ask` on the bus is the business of the peers in `voices`.
"""

import asyncio
import os
import threading
import tty
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from firmware_sim.bus import LineServer
from firmware_sim.pdu import Unit
from firmware_sim.registers import ILLEGAL_ADDRESS, BusRefusal
from tests.patience import PATIENCE_S
from tests.unit.firmware_sim.rig import Bench, PowerCut

T = TypeVar("T")

#: where a target is: host and port, or the path of a terminal
Address = tuple[str, int] | str

OUTLET, TWIN, MEMORY, ABSENT = 3, 4, 5, 200
TRANSPORTS = ("tcp", "rtu_tcp", "pty")
#: silence after which a frame on a terminal has ended; generous, because a terminal keeps no time
GAP_S = 0.05


class Target(Protocol):
    """A device under test."""

    transport: str

    def start(self) -> None:
        """Begin to listen."""

    def stop(self) -> None:
        """End, and free what it used."""

    @property
    def address(self) -> Address:
        """Return where a client finds it."""


class MemoryUnit:
    """A unit that is nothing but memory: every address of every table exists, for frames of the greatest lengths."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int], int] = {}
        self.writes = 0

    def frame_seen(self, now_ms: int) -> None:
        """Note nothing."""

    def read(self, table: str, address: int, count: int) -> list[int]:
        """Return what was written, else the address itself or every third bit."""
        unwritten: Callable[[int], int] = (
            (lambda at: int(at % 3 == 0)) if table in ("coil", "discrete") else (lambda at: at & 0xFFFF)
        )
        return [self.cells.get((table, at), unwritten(at)) for at in range(address, address + count)]

    def write(self, table: str, address: int, values: Sequence[int], *, single: bool = False) -> None:
        """Keep values, except at the last address, which exists for reading only."""
        if address + len(values) > 0xFFFF:
            raise BusRefusal(ILLEGAL_ADDRESS)
        self.writes += 1
        for at, value in enumerate(values, start=address):
            self.cells[table, at] = value

    def broadcast(self, address: int, values: Sequence[int]) -> None:
        """Ignore it."""


class SimLine:
    """An outlet, its twin and plain memory on one line."""

    def __init__(self) -> None:
        self.bench, self.twin, self.memory = Bench().ready(), Bench().ready(), MemoryUnit()
        self.bench.polled = self.twin.polled = False
        #: how many of the next answers never reach the line, although the question was heard
        self.replies_lost = 0
        self.has_power = True

    def unit(self, unit_id: int) -> Unit | None:
        """Return who answers."""
        if unit_id == OUTLET and not self.has_power:
            return None
        units: dict[int, Unit] = {OUTLET: self.bench.outlet, TWIN: self.twin.outlet, MEMORY: self.memory}
        return units.get(unit_id)

    def units(self) -> Sequence[Unit]:
        """Return who hears a broadcast."""
        return [self.bench.outlet, self.twin.outlet, self.memory]


class DeafServer(LineServer):
    """A line that can lose the next answers, and an outlet that loses its power in the middle of one."""

    def __init__(self, line: SimLine, *, rtu: bool) -> None:
        super().__init__(line, now_ms=lambda: line.bench.now_ms, rtu=rtu)
        self._sim = line

    def respond(self, unit_id: int, pdu: bytes) -> bytes | None:
        """Return the answer unless it is to be lost; what was asked is done all the same."""
        try:
            answer = super().respond(unit_id, pdu)
        except PowerCut:
            self._sim.has_power = False
            return None
        if answer is not None and self._sim.replies_lost:
            self._sim.replies_lost -= 1
            return None
        return answer


class SimTarget:
    """The simulator's outlet behind a server in a thread of its own. Its time passes only in `run`."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.line = SimLine()
        self.server = DeafServer(self.line, rtu=transport != "tcp")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="conformance target")
        self._address: Address = ""
        self._terminal: tuple[int, int] | None = None
        self._pending = bytearray()
        self._gap: asyncio.TimerHandle | None = None

    @property
    def address(self) -> Address:
        """Return where a client finds it."""
        return self._address

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        if self.transport == "pty":
            self._terminal = os.openpty()
            for fd in self._terminal:
                tty.setraw(fd)
            self._address = os.ttyname(self._terminal[1])
            self._loop.call_soon_threadsafe(self._loop.add_reader, self._terminal[0], self._heard)
        else:
            started = asyncio.run_coroutine_threadsafe(self.server.start("127.0.0.1", 0), self._loop)
            self._address = ("127.0.0.1", started.result(PATIENCE_S))

    def stop(self) -> None:
        """End, and free what it used."""
        if self._terminal is not None:
            self.do(lambda: self._loop.remove_reader(self._terminal[0] if self._terminal else -1))
            for fd in self._terminal:
                os.close(fd)
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _heard(self) -> None:
        assert self._terminal is not None
        self._pending += os.read(self._terminal[0], 4096)
        if self._gap is not None:
            self._gap.cancel()
        answers = self.server.consume(self._pending)
        if answers:
            os.write(self._terminal[0], answers)
        self._gap = self._loop.call_later(GAP_S, self._pending.clear)

    # -- hands

    def do(self, work: Callable[[], T]) -> T:
        """Run work where the device lives, between two frames."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE_S)

    @property
    def bench(self) -> Bench:
        """Return the outlet's bench, to look at; change it in `do`."""
        return self.line.bench

    def run(self, ms: int, *, polled: bool = False) -> None:
        """Let the outlet's time pass, with somebody polling it or without."""

        def work() -> None:
            self.bench.polled = polled
            try:
                if self.line.has_power:
                    self.bench.run(ms)
            except PowerCut:
                self.line.has_power = False
            self.bench.polled = False

        self.do(work)

    def set(self, **changes: Any) -> None:
        """Change what surrounds the outlet: `lpm`, `temp`, `mixer_open`, `leak_lpm`, `stuck_open`."""

        def work() -> None:
            for name, value in changes.items():
                setattr(self.bench, name, value)

        self.do(work)

    def lose_replies(self, count: int) -> None:
        """Let the next answers get lost on the line."""

        def work() -> None:
            self.line.replies_lost = count

        self.do(work)

    def renew(self) -> None:
        """Replace the outlet by a new one that has booted and has an empty log."""

        def work() -> None:
            self.line.bench, self.line.has_power = Bench().ready(), True
            self.line.bench.polled = False

        self.do(work)

    def cut_power_at(self, save: int, *, keep: bool) -> None:
        """Have the power fail in the n-th save from now on, before its bytes are kept or just after."""

        def work() -> None:
            self.bench.nvm.saves_left, self.bench.nvm.keep_last = save, keep

        self.do(work)

    def cut_power(self) -> None:
        """Have the power fail now, between two saves."""

        def work() -> None:
            self.line.has_power = False

        self.do(work)

    def power_up(self) -> None:
        """Give the outlet its power back and let it boot."""

        def work() -> None:
            self.bench.nvm.saves_left = None
            self.bench.power_up()
            self.line.has_power = True

        self.do(work)
        self.run(500)
