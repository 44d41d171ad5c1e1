"""The gateway's clock jumps by an hour while water runs: limits, leases and the bill do not notice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.commands import OpenValve
from gateway.contract.events import CommandRefused, RefusalCode, StopReason, WaterSessionEnded
from gateway.sessions.settling import CLOSING_S_MAX
from gateway.uplink.verification import Audience, CommandRejected, Remembered, verdict
from tests.fakes.gateway_port import Bench

HOUR_MS = 3_600_000
JUMPS = pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS], ids=["forward", "back"])
DURATION_S = 300


def opening(session: str) -> OpenValve:
    return OpenValve(water_session_id=session, volume_limit_ml=10_000, duration_limit_s=DURATION_S, lease_s=60)


def ends(bench: Bench) -> list[WaterSessionEnded]:
    return [event for event in bench.events() if isinstance(event, WaterSessionEnded)]


def run(work: Any) -> None:
    asyncio.run(work)


class TestMidShower:
    @JUMPS
    def test_water_goes_on_and_is_billed_as_if_nothing_had_happened(self, tmp_path: Path, jump_ms: int) -> None:
        bench = Bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening("ws_1")))
            bench.outlet.run_water(900, elapsed_s=20)
            await bench.controller.cycle()
            bench.now_ms += jump_ms
            for _ in range(3):
                bench.outlet.run_water(900, elapsed_s=20)
                bench.controller._looked_at = -1e9  # the next look is due
                await bench.controller.cycle()
                assert bench.outlet.now.is_open
            bench.outlet.end("VOLUME_LIMIT")
            await bench.controller.cycle()

        run(work())
        (ended,) = ends(bench)
        assert ended.closing_pulses - ended.opening_pulses == 3_600
        assert ended.stop_reason is StopReason.VOLUME_LIMIT
        assert ended.duration_s == 80

    @JUMPS
    def test_a_session_settled_by_register_lasts_neither_hours_nor_less_than_nothing(
        self, tmp_path: Path, jump_ms: int
    ) -> None:
        bench = Bench(tmp_path)
        bench.outlet.forgets_log = True

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening("ws_1")))
            bench.outlet.run_water(900, elapsed_s=20)
            bench.now_ms += jump_ms
            bench.outlet.end("USER")
            while not ends(bench):
                await bench.controller.cycle()
                await asyncio.sleep(0.05)

        run(work())
        (ended,) = ends(bench)
        assert ended.closing_pulses - ended.opening_pulses == 900
        assert 0 <= ended.duration_s <= DURATION_S + CLOSING_S_MAX

    @JUMPS
    def test_a_restart_after_it_closes_and_settles_once(self, tmp_path: Path, jump_ms: int) -> None:
        bench = Bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening("ws_1")))
            bench.outlet.run_water(900, elapsed_s=20)
            bench.store.close()
            bench.now_ms += jump_ms
            bench.start()
            for _ in range(3):
                await bench.controller.cycle()

        run(work())
        assert not bench.outlet.now.is_open
        (ended,) = ends(bench)
        assert ended.closing_pulses - ended.opening_pulses == 900


class TestCommandsAfterIt:
    """The backend's clock is right and ours an hour off: every command is late or from the future, and named so."""

    @pytest.mark.parametrize(
        ("jump_ms", "code"),
        [(HOUR_MS, RefusalCode.EXPIRED), (-HOUR_MS, RefusalCode.CLOCK_SKEW)],
        ids=["forward", "back"],
    )
    def test_open_nothing(self, tmp_path: Path, jump_ms: int, code: RefusalCode) -> None:
        bench = Bench(tmp_path)
        command = bench.order(opening("ws_1")).command

        with pytest.raises(CommandRejected) as caught:
            verdict(
                command,
                audience=Audience(tenant="school", gateway="gw", devices=frozenset({"dev_o1"})),
                last_sequence=0,
                remembered=Remembered.NEW,
                retained=False,
                now_ms=bench.now_ms + jump_ms,
            )

        assert caught.value.code is code

    def test_that_waited_for_the_device_while_it_jumped_are_too_late(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        order = bench.order(opening("ws_1"))

        async def work() -> None:
            await bench.controller.cycle()
            bench.now_ms += HOUR_MS
            await bench.controller.obey(order)

        run(work())
        (refused,) = [event for event in bench.events() if isinstance(event, CommandRefused)]
        assert refused.code is RefusalCode.EXPIRED
        assert bench.outlet.openings == []


class TestDevicesClock:
    """It is set after ours as soon as nobody showers, and never while somebody does."""

    @staticmethod
    def bench(tmp_path: Path) -> Bench:
        bench = Bench(tmp_path)
        bench.controller._now = lambda: 1_000.0  # type: ignore[method-assign]
        return bench

    @JUMPS
    def test_of_an_idle_device_is_set_once_in_the_next_cycle(self, tmp_path: Path, jump_ms: int) -> None:
        bench = self.bench(tmp_path)
        began_ms = bench.now_ms

        async def work() -> None:
            await bench.controller.cycle()
            bench.now_ms += jump_ms
            for _ in range(3):
                await bench.controller.cycle()

        run(work())
        assert bench.outlet.clocks_ms == [began_ms, began_ms + jump_ms]

    @pytest.mark.parametrize("moved_ms", [5_000, -5_000])
    def test_is_left_alone_when_ours_moved_a_little(self, tmp_path: Path, moved_ms: int) -> None:
        bench = self.bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            bench.now_ms += moved_ms
            await bench.controller.cycle()

        run(work())
        assert len(bench.outlet.clocks_ms) == 1

    def test_is_left_alone_when_time_passes(self, tmp_path: Path) -> None:
        bench = self.bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            bench.now_ms += HOUR_MS
            bench.controller._now = lambda: 1_000.0 + HOUR_MS / 1_000  # type: ignore[method-assign]
            await bench.controller.cycle()

        run(work())
        assert len(bench.outlet.clocks_ms) == 1

    @JUMPS
    @pytest.mark.parametrize("was_silent", [False, True], ids=["seen all along", "silent for a while"])
    def test_waits_for_the_end_of_a_shower(self, tmp_path: Path, jump_ms: int, was_silent: bool) -> None:
        bench = self.bench(tmp_path)
        began_ms = bench.now_ms

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening("ws_1")))
            bench.now_ms += jump_ms
            if was_silent:
                bench.controller.identity = None
            for _ in range(3):
                await bench.controller.cycle()
            assert bench.outlet.now.is_open
            assert bench.outlet.clocks_ms == [began_ms]
            bench.outlet.end("VOLUME_LIMIT")
            for _ in range(3):
                await bench.controller.cycle()

        run(work())
        assert bench.outlet.clocks_ms == [began_ms, began_ms + jump_ms]
