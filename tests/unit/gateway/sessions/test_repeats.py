"""
Answers that come once more after the next equal question: no opening, no bill and no tap rests on one.

The line here is worse than any: an answer is replaced by the one before it of the same function and length, which is
all that a serial frame tells of its question. It comes once more and not for ever: the answer after it is right again,
because two who talk at the same time on such a line are heard by nobody.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_sim.map_device import MapDevice
from gateway.contract.commands import CloseValve
from gateway.contract.events import MeterRead, ValveOpened, WaterSessionEnded
from gateway.devices.mapped import MappedOutlet
from gateway.devices.ports import LogPage, Mail
from gateway.devices.water_outlet import WaterOutlet
from gateway.modbus.bus import Priority
from gateway.sessions.device import DEVICE_ERRORS
from gateway.sessions.twice import Twice
from hardware.points import load
from tests.fakes.gateway_port import Bench
from tests.unit.firmware_sim.rig import UNIX_MS
from tests.unit.firmware_sim.rig import Bench as Device
from tests.unit.gateway.devices.map_rig import WATCHDOG, Hand, line_of, map_in, opening
from tests.unit.gateway.devices.test_water_outlet import DirectBus
from tests.unit.gateway.sessions import test_controller as orders

SHARE = 0.25
SEEDS = range(6)


class RepeatingBus(DirectBus):
    """Gives, now and then, the answer before this one of the same function and length."""

    def __init__(self, device: Device, seed: int) -> None:
        super().__init__(device.outlet)
        self._random = random.Random(seed)
        self._before: dict[tuple[str, int], list[int]] = {}
        self.repeats, self._was_late = 0, False

    def _late(self, function: str, answer: list[int]) -> list[int]:
        key = function, len(answer)
        before, self._before[key] = self._before.get(key), answer
        if before is None or self._was_late or self._random.random() >= SHARE:
            self._was_late = False
            return answer
        self._was_late = True
        self.repeats += before != answer
        return before

    async def read_input(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        return self._late("input", self._read("input", address, count))

    async def read_discrete(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        return self._late("discrete", self._read("discrete", address, count))

    async def write_read(
        self,
        unit: int,
        *,
        write_address: int,
        values: Sequence[int],
        read_address: int,
        read_count: int,
        priority: Priority,
    ) -> list[int]:
        await self.write(unit, write_address, values, priority)
        return self._late("write_read", self._read("holding", read_address, read_count))


class Shower:
    """One of our outlets on such a line, with its controller and a real store."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.device = Device().ready()
        self.bus = RepeatingBus(self.device, seed)
        self.bench = Bench(folder, WaterOutlet(self.bus, 1, load("chw.hwo1")))  # type: ignore[arg-type]
        self.bench.now_ms = UNIX_MS
        self.taps = 0

    async def look(self, times: int = 4) -> None:
        """Let some time pass, and look as `poll` does."""
        controller = self.bench.controller
        for _ in range(times):
            self.device.run(200)
            self.bench.now_ms += 200
            controller._looked_at = -1e9
            try:
                await controller.cycle()
            except DEVICE_ERRORS as error:
                await controller._failed(error)

    async def tap(self) -> None:
        """Hold a card to the reader."""
        self.taps += 1
        uid = self.taps.to_bytes(4, "big")
        box = self.device.outlet.mailboxes["mbx"]
        box.post(source=1, uid=uid, payload=b"", now_ms=self.device.now_ms, unix_time=self.bench.now_ms // 1_000)
        await self.look(6)

    async def obey(self, order: object) -> None:
        try:
            await self.bench.controller.obey(order)  # type: ignore[arg-type]
        except DEVICE_ERRORS:
            return  # the cycles finish it, as they do for `work`


class TestAnOutletOfOurs:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_bills_what_its_log_says_and_asks_once_for_each_tap(self, tmp_path: Path, seed: int) -> None:
        site = Shower(tmp_path, seed)

        async def work() -> None:
            await site.look(8)
            for number in range(5):
                await site.tap()
                body = orders.opening(f"ws_{number}", volume_limit_ml=600, lease_s=120)
                await site.obey(site.bench.order(body))
                await site.look(6)
                if number % 2:
                    await site.obey(site.bench.order(CloseValve(water_session_id=f"ws_{number}")))
                await site.look(60)
            site.bench.controller._metered_at = -1e9
            await site.look(8)

        asyncio.run(work())
        told = site.bench.events()
        ends = [event for event in told if isinstance(event, WaterSessionEnded)]
        logged = site.device.records("END")
        assert len(ends) >= 3
        assert {event.water_session_id for event in told if isinstance(event, ValveOpened)} <= {
            end.water_session_id for end in ends
        }
        assert [(end.closing_pulses - end.opening_pulses, end.closing_pulses) for end in ends] == [
            (record.count, record.total) for record in logged
        ]
        assert sum(end.closing_pulses - end.opening_pulses for end in ends) == site.device.outlet.total_pulses
        readings = [event for event in told if isinstance(event, MeterRead)]
        assert "unbilled_flow" not in {reading.cause for reading in readings}
        assert [reading.register_pulses for reading in readings] == sorted(r.register_pulses for r in readings)
        questions = [question.value for question in site.bench.uplink.questions]
        assert site.bus.repeats > 3
        assert questions == [number.to_bytes(4, "big").hex().upper() for number in range(1, site.taps + 1)]


class RepeatingDevice(MapDevice):
    """A device of somebody else's on such a line."""

    share, repeats, was_late = 0.0, 0, False

    def read(self, table: str, address: int, count: int) -> list[int]:
        answer = super().read(table, address, count)
        known: dict[tuple[str, int], list[int]] = self.__dict__.setdefault("before", {})
        before = known.get((table, count))
        known[table, count] = answer
        chance: random.Random = self.__dict__.setdefault("chance", random.Random(1))
        if before is None or self.was_late or chance.random() >= self.share:
            self.was_late = False
            return answer
        self.was_late = True
        self.repeats += before != answer
        return before


class TestADeviceOfSomebodyElses:
    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("started_at_ml", [0, 21_000], ids=["", "around the end of its register"])
    def test_is_billed_what_ran(self, tmp_path: Path, seed: int, started_at_ml: int) -> None:
        async def work() -> None:
            clock, register_map = Hand(), map_in(tmp_path, WATCHDOG)
            device = RepeatingDevice(register_map, now_ms=clock.ms, k_factor_pulses_per_m3=450_000)
            device.__dict__["chance"] = random.Random(seed)
            device.flow_ml_per_s, device.volume_ml = 100, device.volume_ml + started_at_ml
            async with line_of({1: device}, clock) as bus:
                outlet = MappedOutlet(bus, 1, register_map, clock=clock)
                await outlet.identify()
                await outlet.status(Priority.HOT)
                device.share = SHARE
                ran_before = device.volume_ml
                for _ in range(3):
                    try:
                        opened = (await outlet.open(opening(volume_limit_ml=2_000))).accepted
                    except DEVICE_ERRORS:
                        opened = False
                    for _ in range(60):
                        clock.ms += 400
                        with contextlib.suppress(*DEVICE_ERRORS):
                            await outlet.flags()
                    assert not opened or not device.is_open
                page = await outlet.log_page(1)
            ends = [record for record in page.records if record.kind == "END"]
            billed_ml = sum(end.session_pulses for end in ends) * 1_000_000 // 450_000
            assert device.repeats > 5
            # one look's flow per shower may be seen late, and is then nobody's
            assert 0 <= device.volume_ml - ran_before - billed_ml <= 90 * len(ends)

        asyncio.run(work())


class TestOneRepeat:
    """Each kind of answer, repeated at the worst moment."""

    def test_of_a_card_is_no_second_tap(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        mail = Mail(sequence=5, source="UID", value="04A1B2C3", time_s=0, stale=False, direction="in")

        async def work() -> None:
            await bench.controller.cycle()
            for sequence in (5, 5, 6, 6):  # acknowledged, and there again
                bench.outlet.box = [replace(mail, sequence=sequence)]
                await bench.controller.cycle()
                assert bench.outlet.box == []

        asyncio.run(work())
        assert len(bench.uplink.questions) == 2

    def test_of_a_log_page_is_no_log_that_was_reset(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        old = LogPage(head=1, records=(), damaged=0, through=0)
        real, pages = bench.outlet.log_page, [old]

        async def repeated(cursor: int) -> LogPage:
            return pages.pop() if pages else await real(cursor)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(orders.opening()))
            bench.outlet.run_water(100)
            bench.outlet.end("USER")
            pages.clear()
            await bench.controller.cycle()
            bench.outlet.log_page = repeated  # type: ignore[method-assign]
            for _ in range(3):
                pages.append(old)
                await bench.controller._drain()
                await bench.controller._drain()

        asyncio.run(work())
        kinds = [event.cause for event in bench.events() if isinstance(event, MeterRead)]
        assert (len([e for e in bench.events() if isinstance(e, WaterSessionEnded)]), set(kinds)) == (1, {"boot"})
        assert bench.controller.memory.log_sequence == 2

    def test_of_a_status_is_no_register_that_fell(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            old = bench.outlet.now
            for register in (1_400, 1_000, 1_400, 1_000, 1_000):
                bench.controller._metered_at = bench.controller._looked_at = -1e9
                bench.controller._meter_period_s = 0
                bench.outlet.now = replace(old, total_pulses=register)
                await bench.controller.cycle()

        asyncio.run(work())
        readings = [event.register_pulses for event in bench.events() if isinstance(event, MeterRead)]
        assert readings == [1_000, 1_400, 1_400, 1_000]  # the last one was there twice: it was set back


class TestTwice:
    def test_believes_what_is_no_surprise_and_what_comes_again(self) -> None:
        heads = Twice()
        given = [(5, False), (3, True), (5, False), (3, True), (3, True), (2, True), (3, True)]
        told = [heads.believes(figure, is_surprise=surprise) for figure, surprise in given]
        assert told == [True, False, True, False, True, False, False]
