import asyncio
from pathlib import Path

import pytest

from gateway.contract.events import FaultCleared, FaultRaised
from gateway.modbus.bus import Declined, NoAnswer, NotTried
from gateway.sessions.lookout import Lookout
from gateway.uplink.own_faults import OwnFaults
from hardware.points import load
from tests.fakes.gateway_port import Bench

MAPS = (load("chw.hwo1"), load("chw.acr1"))


class FakeBus:
    """A line with the units of a set on it."""

    def __init__(self, units: set[int]) -> None:
        self.units, self.asked = units, list[int]()
        self.down = False

    async def look(self, unit: int, address: int, count: int, *, is_quiet: object) -> list[int]:
        if self.down:
            raise NotTried("line is down")
        self.asked.append(unit)
        if unit not in self.units:
            raise NoAnswer(f"unit {unit}: timeout")
        if unit == 9:
            raise Declined(2)
        return [unit] * count


class Site:
    """One line with unit 1 configured."""

    def __init__(self, folder: Path, units: set[int]) -> None:
        self.bench, self.bus, self.quiet = Bench(folder), FakeBus(units), True
        self.start()

    def start(self) -> None:
        own = OwnFaults(self.bench.store, clock=lambda: self.bench.now_ms, rows_max=1_000, records_per_session=4)
        self.lookout = Lookout(
            {"l1": self.bus},  # type: ignore[dict-item]
            {"l1": [1]},
            MAPS,
            own,
            is_quiet=lambda line_id: self.quiet,
            period_s=0.001,
        )

    def look(self, times: int) -> None:
        async def work() -> None:
            for _ in range(times):
                await self.lookout.look("l1")

        asyncio.run(work())

    def told(self) -> list[str]:
        return [
            event.detail if isinstance(event, FaultRaised) else "cleared"
            for event in self.bench.events()
            if isinstance(event, FaultRaised | FaultCleared)
        ]


class TestLook:
    def test_tells_of_each_stranger_once_and_that_all_are_gone_once(self, tmp_path: Path) -> None:
        site = Site(tmp_path, {1, 3, 9})
        site.look(60)
        site.bus.units = set()
        site.look(60)
        assert site.told() == [
            "line l1 unit 3 shows 0003 0003 0003",
            "line l1 unit 9 answers with Modbus exception 2",
            "cleared",
        ]
        assert 1 not in site.bus.asked

    def test_a_restart_neither_repeats_nor_forgets(self, tmp_path: Path) -> None:
        site = Site(tmp_path, {3})
        site.look(10)
        site.start()
        site.look(60)
        site.bus.units = set()
        site.start()
        site.look(10)
        assert site.told() == ["line l1 unit 3 shows 0003 0003 0003"]
        site.look(10)
        assert site.told()[1:] == ["cleared"]

    def test_a_line_that_is_down_says_nothing_of_its_strangers(self, tmp_path: Path) -> None:
        site = Site(tmp_path, {3})
        site.look(10)
        site.bus.down = True
        site.look(60)
        assert len(site.told()) == 1


class TestRun:
    @pytest.mark.parametrize("quiet", [True, False])
    def test_asks_only_on_a_quiet_line(self, tmp_path: Path, quiet: bool) -> None:
        site = Site(tmp_path, set())
        site.quiet = quiet

        async def work() -> None:
            task = asyncio.create_task(site.lookout.run("l1"))
            await asyncio.sleep(0.1)
            task.cancel()

        asyncio.run(work())
        assert bool(site.bus.asked) is quiet
