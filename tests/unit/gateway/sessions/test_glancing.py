"""An outlet that is glanced at: what is news, what is not, and that a cycle is called for either way where it must."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.contract.commands import CloseValve
from gateway.contract.events import WaterSessionEnded
from gateway.devices.water_outlet import WaterOutlet
from gateway.modbus.bus import NoAnswer, Priority
from gateway.modbus.glances import Choice, packed
from gateway.sessions import glancing
from hardware.points import load
from tests.fakes.gateway_port import Bench
from tests.patience import PATIENCE_S
from tests.unit.firmware_sim.rig import UNIX_MS
from tests.unit.firmware_sim.rig import Bench as Device
from tests.unit.gateway.devices.test_water_outlet import DirectBus
from tests.unit.gateway.sessions.test_controller import opening

UID = b"\x04\x11\x22\x33"


class CountingBus(DirectBus):
    """Counts what is read in cycles, by table."""

    def __init__(self, device: Device) -> None:
        super().__init__(device.outlet)
        self.tables: list[str] = []

    def _read(self, table: str, address: int, count: int) -> list[int]:
        self.tables.append(table)
        return super()._read(table, address, count)


class HandGlance:
    """Looks when a test says so."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.every_s = 0.0
        self.choose: Choice = lambda: None
        self.news: asyncio.Future[None] | None = None
        self.torn = False
        #: flags shown beside the device's own
        self.also: set[str] = set()

    def start(self, every_s: float, choose: Choice) -> "asyncio.Future[None]":
        self.every_s, self.choose = every_s, choose
        self.news = asyncio.get_running_loop().create_future()
        return self.news

    def is_on(self) -> bool:
        return self.news is not None and not self.news.done()

    def look(self) -> Priority | None:
        """Look once; return how urgent it was, None when a cycle was asked for instead."""
        assert self.news is not None
        choice = self.choose()
        if choice is None:
            self.news.set_result(None)
            return None
        sight, priority = choice
        if sight.is_news(sight.call(self)):
            self.news.set_result(None)
        return priority

    def read_input_registers(self, address: int, *, count: int, device_id: int) -> bytes:
        words = self._device.outlet.read("input", address, count)
        if self.torn:
            words = [words[0] ^ 1, *words[1:]]
        return struct.pack(f">{count}H", *words)

    def read_discrete_inputs(self, address: int, *, count: int, device_id: int) -> bytes:
        bits = list(self._device.outlet.read("discrete", address, count))
        for name in self.also:
            bits[load("chw.hwo1").points[name].address - address] = 1
        return packed(bits)


class Site:
    """One simulated outlet, its controller with a real store, and a hand on the glances."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.device = Device().ready()
        self.bus = CountingBus(self.device)
        outlet = WaterOutlet(self.bus, 1, load("chw.hwo1"))
        self.bench = Bench(folder, outlet)  # type: ignore[arg-type]
        self.bench.now_ms = UNIX_MS
        self.controller = self.bench.controller
        self.controller._hot_period_s, self.controller._idle_period_s = 0.0, 1_000.0
        for name, value in changes.items():
            setattr(self.controller, name, value)
        self.glance = HandGlance(self.device)
        self.controller.glance_with(self.glance, outlet)  # type: ignore[arg-type]

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            tasks = [asyncio.create_task(self.controller.poll()), asyncio.create_task(self.controller.work())]
            try:
                await self.glancing()
                await work()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(main())

    async def until(self, is_so: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                await asyncio.sleep(0.001)

    async def glancing(self) -> None:
        """Wait until there is nothing to be done but glance."""
        await self.until(self.glance.is_on)
        self.bus.tables.clear()

    async def open(self, **changes: Any) -> None:
        self.controller.take(self.bench.order(opening(**changes)))
        await self.cycles_until(lambda: self.states() == ["flowing"] and self.device.outlet.state == "DISPENSING")
        await self.until(self.glance.is_on)
        self.device.run(500)  # the valve takes a moment
        self.controller.nudge()  # a cycle sees what the opening has changed
        await self.glancing()

    async def cycles_until(self, is_so: Callable[[], Any]) -> None:
        """Let time pass for the device, and look, until something is so."""

        def looks() -> bool:
            self.device.run(50)
            if self.glance.is_on():
                self.glance.look()
            return bool(is_so())

        await self.until(looks)

    def states(self) -> list[str]:
        return [session.state for session in self.controller.sessions.values()]

    def is_over(self) -> bool:
        return not self.controller.sessions

    def events(self, kind: type[Any]) -> Sequence[Any]:
        return [event for event in self.bench.events() if isinstance(event, kind)]


class TestIdle:
    def test_a_look_at_what_is_as_it_was_asks_for_nothing_more(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            site.bench.now_ms += 700
            assert [site.glance.look() for _ in range(5)] == [Priority.FLAGS] * 5
            await asyncio.sleep(0)
            assert site.glance.is_on()
            assert site.bus.tables == []
            assert site.bench.registry.device("dev_o1").last_answer_at_ms == site.bench.now_ms

        site.run(work)

    def test_a_card_is_told_without_reading_the_flags_again(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            box = site.device.outlet.mailboxes["mbx"]
            box.post(source=1, uid=UID, payload=b"", now_ms=site.device.now_ms, unix_time=UNIX_MS // 1_000)
            site.glance.look()
            await site.until(lambda: site.bench.uplink.questions)
            await site.glancing()
            assert [question.value for question in site.bench.uplink.questions] == [UID.hex().upper()]

        site.run(work)
        assert "discrete" not in site.bus.tables

    @pytest.mark.parametrize("flag", ["valve_open", "any_fault", "log_pending", "mbx_pending"])
    def test_each_flag_that_leads_to_something_calls_for_a_cycle_by_itself(self, tmp_path: Path, flag: str) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            site.glance.look()
            assert site.glance.is_on()
            site.glance.also = {flag}
            site.glance.look()
            assert not site.glance.is_on()

        site.run(work)

    def test_a_stranger_is_closed(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            site.device.open()
            site.device.run(300)
            site.glance.look()
            await site.until(lambda: site.device.outlet.state in ("CLOSING", "IDLE"))

        site.run(work)

    def test_a_cycle_looks_at_the_whole_when_that_is_due(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            site.controller._looked_at = -1e9
            assert site.glance.look() is None
            await site.glancing()

        site.run(work)

    def test_a_clock_that_jumped_is_set_again(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            site.bench.now_ms += 3_600_000
            assert site.glance.look() is None
            await site.glancing()
            assert site.glance.look() == Priority.FLAGS

        site.run(work)

    def test_spare_time_of_a_slow_line_is_used_and_flags_come_first_when_they_are_due(self, tmp_path: Path) -> None:
        site = Site(tmp_path, _is_slow=True, _period_s=60.0)

        async def work() -> None:
            assert site.glance.every_s == 60.0 / glancing.SPARE_TIMES
            urgency = [site.glance.look() for _ in range(3)]
            site.controller._flagged_at = -1e9
            assert [*urgency, site.glance.look()] == [Priority.FLAGS, Priority.SPARE, Priority.SPARE, Priority.FLAGS]

        site.run(work)

    def test_a_slow_line_is_not_asked_without_end(self, tmp_path: Path) -> None:
        site = Site(tmp_path, _is_slow=True, _period_s=0.3)

        async def work() -> None:
            assert site.glance.every_s == glancing.SPARE_PERIOD_S_MIN

        site.run(work)

    def test_a_failure_counts_as_one_of_a_cycle(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            for _ in range(2):
                await site.until(site.glance.is_on)
                assert site.glance.news is not None
                site.controller.identity = site.controller.last_identity
                site.glance.news.set_exception(NoAnswer("unit 1: no answer"))
                await asyncio.sleep(0)
            await site.until(lambda: site.bench.registry.device("dev_o1").timeouts)

        site.run(work)


class TestOpen:
    def test_looks_are_sampled_and_change_nothing(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            before = len(site.bench.uplink.samples)
            for _ in range(3):
                site.device.run(1_000)
                site.controller._sampled_at = -1e9
                assert site.glance.look() == Priority.HOT
            assert site.glance.is_on()
            assert site.bus.tables == []
            samples = site.bench.uplink.samples[before:]
            assert len(samples) == 3
            assert samples[-1].pulses == site.device.value("sess_pulses")
            assert samples[0].pulses < samples[1].pulses < samples[2].pulses
            health = site.bench.registry.device("dev_o1")
            assert health.register_pulses == site.device.value("total_pulses")

        site.run(work)

    def test_flags_are_looked_at_while_the_status_is_not_due(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            site.controller._hot_period_s = 1_000.0
            assert site.glance.look() == Priority.FLAGS
            assert site.glance.is_on()
            assert site.bus.tables == []

        site.run(work)

    def test_the_end_the_device_made_is_told(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open(volume_limit_ml=500)
            await site.cycles_until(site.is_over)

        site.run(work)
        (ended,) = site.events(WaterSessionEnded)
        assert ended.stop_reason == "volume_limit"

    def test_a_lease_is_renewed_in_time(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open(lease_s=30)
            site.device.run(15_000)
            left_ms = site.device.value("lease_left")
            site.controller._renewed_at = -1e9
            site.glance.look()
            await site.glancing()
            site.device.run(50)
            assert site.device.value("lease_left") > left_ms

        site.run(work)

    def test_a_pause_and_its_end_are_seen(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            for mixer_open, state in ((False, "paused"), (True, "flowing")):
                site.device.mixer_open = mixer_open
                await site.cycles_until(lambda state=state: site.states() == [state])

        site.run(work)

    def test_a_session_beyond_its_limit_is_closed(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            site.controller._begun_at = -1e9  # the device's clock hangs, ours does not
            site.glance.look()
            await site.cycles_until(site.is_over)

        site.run(work)

    def test_a_fault_is_raised(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            site.device.temp = None
            await site.cycles_until(lambda: site.bench.registry.device("dev_o1").faults)
            await site.cycles_until(lambda: site.controller.memory.faults)

        site.run(work)

    @pytest.mark.parametrize(
        "before",
        [
            {"state": "PAUSED"},
            {"close_reason": "CARD"},
            {"faults": frozenset({"LEAK_CLOSED"})},
            {"session_u32": 7},
            {"log_head": 1_000},
            {"mail_sequence": 1_000},
            {"boot_id": 1_000},
            {"valve": "OPENING"},
        ],
        ids=lambda before: next(iter(before)),
    )
    def test_whatever_moves_that_does_not_while_water_runs_is_news(
        self, tmp_path: Path, before: dict[str, Any]
    ) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            status = site.controller._status
            assert status is not None
            site.controller._status = replace(status, **before)
            site.glance.look()
            assert not site.glance.is_on()

        site.run(work)

    @pytest.mark.parametrize(
        "change", [{"volume_limit_ml": -300}, {"duration_limit_s": -5}], ids=["volume", "duration"]
    )
    def test_a_limit_that_is_passed_is_news(self, tmp_path: Path, change: dict[str, int]) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            for number, session in site.controller.sessions.items():
                site.controller.sessions[number] = msgspec.structs.replace(session, **change)
            site.glance.look()
            assert not site.glance.is_on()

        site.run(work)

    def test_a_torn_status_is_read_again(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            site.glance.torn = True
            site.glance.look()
            await site.until(lambda: "input" in site.bus.tables)

        site.run(work)

    def test_what_was_seen_during_an_order_is_not_believed(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            async with site.controller._lock:
                site.glance.look()
                assert site.controller._found is None
                await site.until(lambda: not site.glance.is_on())
            await site.glancing()

        site.run(work)

    def test_a_close_is_not_kept_waiting(self, tmp_path: Path) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            await site.open()
            site.controller.take(site.bench.order(CloseValve(water_session_id="ws_1")))
            await site.cycles_until(site.is_over)

        site.run(work)


@pytest.mark.parametrize("name", ["is_broken", "stopping"])
class TestRest:
    def test_is_no_glance_while_there_is_trouble(self, tmp_path: Path, name: str) -> None:
        site = Site(tmp_path)

        async def work() -> None:
            setattr(site.controller, name, True)
            assert not site.controller._may_glance()
            setattr(site.controller, name, False)
            assert site.controller._may_glance()

        site.run(work)
