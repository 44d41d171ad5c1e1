"""
A dead, slow or babbling unit on a line costs the others one probe a sweep at most.

Time is counted, not measured (`tests.fakes.virtual_loop`): what is judged is which frames go out and how long each unit
waits by the line's own clock.
"""

import asyncio
import itertools
import logging
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gateway.config import Line
from gateway.modbus.bus import Bus, BusError, Priority
from gateway.modbus.requests import TRIES
from tests.contract.conformance.wire import crc
from tests.fakes.virtual_loop import run_virtually

TIMEOUT_S = 0.15
SWEEP_S = 1.0
TURNAROUND_S = 0.005
WATCHED_S = 45.0
#: a unit that has just stopped answering is found out within this; eight of them take their turns
SETTLED_S, MANY_SETTLED_S = 3.0, 12.0
GOOD = (1, 2, 3, 4, 5, 6)
BAD = 9


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the library from writing down every frame that did not fit."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@dataclass
class BadLine:
    """Units that answer flags after their turn-around time, and units of which each misbehaves in its own way."""

    rtu: bool
    habits: dict[int, str]
    rng: random.Random = field(default_factory=lambda: random.Random(5))
    #: when each unit was asked
    asked: dict[int, list[float]] = field(default_factory=dict)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        self.connections += 1
        later: set[asyncio.Task[None]] = set()
        try:
            while True:
                if self.rtu:
                    frame = await reader.readexactly(8)
                    tid, unit, pdu = 0, frame[0], frame[1:6]
                else:
                    tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                    pdu = await reader.readexactly(length - 1)
                self.asked.setdefault(unit, []).append(asyncio.get_running_loop().time())
                task = asyncio.create_task(self._answer(writer, tid, unit, pdu))
                later.add(task)
                task.add_done_callback(later.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            for task in list(later):
                task.cancel()
            writer.close()

    def _framed(self, tid: int, unit: int, pdu: bytes) -> bytes:
        if self.rtu:
            body = bytes([unit]) + pdu
            return body + crc(body)
        return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu

    async def _answer(self, writer: asyncio.StreamWriter, tid: int, unit: int, pdu: bytes) -> None:
        right = self._framed(tid, unit, bytes([pdu[0], 2, unit, 0]))
        habit = self.habits.get(unit, "good")
        if habit == "back after 10 s":
            habit = "dead" if asyncio.get_running_loop().time() < 10 else "good"
        match habit:
            case "good":
                await asyncio.sleep(TURNAROUND_S)
                writer.write(right)
            case "slow":
                await asyncio.sleep(0.9 * TIMEOUT_S)
                writer.write(right)
            case "late":
                await asyncio.sleep(1.4 * TIMEOUT_S)
                writer.write(right)
            case "half":
                writer.write(right[: len(right) // 2])
            case "wrong unit":
                writer.write(self._framed(tid, unit + 1, bytes([pdu[0], 2, unit, 0])))
            case "babbling":  # for as long as anybody listens, and a little longer
                for _ in range(20):
                    writer.write(self.rng.randbytes(30))
                    await asyncio.sleep(TIMEOUT_S / 18)


@dataclass
class Watched:
    """What a line was like."""

    line: BadLine
    #: when each unit answered what it was asked
    answers: dict[int, list[float]]
    wrong: int

    def longest_wait_s(self, unit: int, *, after_s: float = SETTLED_S) -> float:
        """Return how long a unit went without being heard, once things had settled."""
        times = [at for at in self.answers[unit] if at > after_s]
        return max(after - before for before, after in itertools.pairwise(times))

    def probes_a_sweep(self, units: set[int], *, after_s: float = SETTLED_S) -> int:
        """Return how many frames went to some units in the worst sweep."""
        times = sorted(at for unit in units for at in self.line.asked.get(unit, []) if at > after_s)
        return max((sum(1 for at in times if start <= at < start + 0.999 * SWEEP_S) for start in times), default=0)


def watch(transport: str, habits: dict[int, str]) -> Watched:
    """Return how a line with some bad units was for everybody."""

    async def run() -> Watched:
        line = BadLine(transport != "tcp", habits)
        server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        timeout_ms = int(TIMEOUT_S * 1000)
        bus = Bus(Line(line_id="l1", transport=transport, host="127.0.0.1", port=port, timeout_ms=timeout_ms))
        bus.start()
        found = Watched(line, {unit: [] for unit in (*GOOD, *habits)}, 0)

        async def poll(unit: int) -> None:
            while True:
                try:
                    bits = await bus.read_discrete(unit, 0, 16, Priority.FLAGS)
                    found.answers[unit].append(asyncio.get_running_loop().time())
                    found.wrong += sum(bit << at for at, bit in enumerate(bits)) != unit
                except BusError:
                    pass
                await asyncio.sleep(SWEEP_S)

        tasks = [asyncio.create_task(poll(unit)) for unit in (*GOOD, *habits)]
        await asyncio.sleep(WATCHED_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.stop()
        server.close()
        await server.wait_closed()
        return found

    return run_virtually(run())


TRANSPORTS = pytest.mark.parametrize("transport", ["tcp", "rtu_tcp"])
#: what one look at a bad unit may cost: each try its whole time
PROBE_S = TRIES * TIMEOUT_S
#: answers of the good units themselves, and what a connection takes
OWN_S = 2 * len(GOOD) * TURNAROUND_S + 0.05


class TestABadUnit:
    @TRANSPORTS
    @pytest.mark.parametrize("habit", ["dead", "late", "half", "wrong unit", "babbling"])
    def test_costs_the_others_one_probe_a_sweep_at_most(self, transport: str, habit: str) -> None:
        found = watch(transport, {BAD: habit})

        assert found.wrong == 0
        assert not found.answers[BAD] or habit == "late"  # which is in time for the second try
        assert len(found.line.asked[BAD]) >= TRIES * 3, "it is not given up for good"
        assert found.probes_a_sweep({BAD}) <= TRIES
        for unit in GOOD:
            assert found.longest_wait_s(unit) <= SWEEP_S + PROBE_S + OWN_S
            assert len(found.answers[unit]) >= WATCHED_S / (SWEEP_S + OWN_S) * 0.9

    @TRANSPORTS
    def test_that_is_slow_costs_its_own_time(self, transport: str) -> None:
        found = watch(transport, {BAD: "slow"})

        assert found.wrong == 0
        assert len(found.answers[BAD]) >= 0.8 * WATCHED_S / (SWEEP_S + TIMEOUT_S)
        for unit in GOOD:
            assert found.longest_wait_s(unit) <= SWEEP_S + TIMEOUT_S + OWN_S

    @TRANSPORTS
    def test_among_many_has_to_wait_for_its_turn_to_be_probed(self, transport: str) -> None:
        dead = {unit: "dead" for unit in range(20, 28)}

        found = watch(transport, dead)

        assert found.probes_a_sweep(set(dead), after_s=MANY_SETTLED_S) <= TRIES
        assert all(len(found.line.asked[unit]) > 2 * TRIES for unit in dead)
        for unit in GOOD:
            assert found.longest_wait_s(unit, after_s=MANY_SETTLED_S) <= SWEEP_S + PROBE_S + OWN_S

    @TRANSPORTS
    def test_that_comes_back_is_heard_again_and_costs_nothing_any_more(self, transport: str) -> None:
        found = watch(transport, {BAD: "back after 10 s"})

        assert found.answers[BAD]
        assert 10.0 <= found.answers[BAD][0] <= 25.0
        assert found.longest_wait_s(BAD, after_s=25.0) <= SWEEP_S + OWN_S
        assert all(found.longest_wait_s(unit, after_s=25.0) <= SWEEP_S + OWN_S for unit in GOOD)

    @TRANSPORTS
    def test_is_missing_on_a_good_line(self, transport: str) -> None:
        found = watch(transport, {})

        assert all(found.longest_wait_s(unit, after_s=0.0) <= SWEEP_S + OWN_S for unit in GOOD)
        assert found.line.connections == 1
