"""What a controller keeps to whatever happens in between: order of journal and log, expiry, limits, shutting down."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.events import CommandRefused, MeterRead, RefusalCode, StopReason, ValveOpened, WaterSessionEnded
from gateway.sessions.cutoff import TIME_MARGIN_S
from tests.fakes.gateway_port import Bench, FakeOutlet
from tests.unit.gateway.sessions.test_controller import only, opening, run


class TestDeviceLog:
    def test_is_acknowledged_only_through_what_is_on_disk(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        real = bench.outlet.acknowledge_log
        acknowledged: list[int] = []

        async def watched(through: int) -> None:
            known, waiting = await bench.store.read(
                lambda tx: (tx.memory.device("dev_o1").log_sequence, tx.journal.waiting(after=0, limit=100))
            )
            assert through <= known
            ended = any("water_session_ended" in signed.payload for _, signed in waiting)
            assert through < 2 or ended  # its second record is the END
            acknowledged.append(through)
            await real(through)

        bench.outlet.acknowledge_log = watched  # type: ignore[method-assign]

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            bench.outlet.end("VOLUME_LIMIT")
            await bench.controller.cycle()

        run(work())
        assert acknowledged[-1] == 2

    def test_that_was_reset_is_read_from_its_beginning(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def one(session: str) -> None:
            await bench.controller.obey(bench.order(opening(session)))
            bench.outlet.end("VOLUME_LIMIT")
            await bench.controller.cycle()

        async def work() -> None:
            await bench.controller.cycle()
            for number in range(3):
                await one(f"ws_{number}")
            assert bench.controller.memory.log_sequence == 6
            bench.outlet.log.clear()
            bench.outlet.acked = 0
            bench.outlet.now = replace(bench.outlet.now, log_head=0)
            await one("ws_3")

        run(work())
        ends = [event for event in bench.events() if isinstance(event, WaterSessionEnded)]
        assert [(end.water_session_id, end.device_log_sequence, end.evidence) for end in ends[-1:]] == [
            ("ws_3", 2, "device_log")
        ]
        assert bench.controller.memory.log_sequence == 2


class TestAfterARestart:
    def test_an_end_that_was_told_is_not_told_again_in_any_form(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def before() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            bench.outlet.run_water(70)
            bench.outlet.end("VOLUME_LIMIT")
            await bench.controller.cycle()

        run(before())
        bench.outlet.acked = 0
        bench.store.close()
        bench.start()
        run(bench.controller.cycle())
        assert only(bench, WaterSessionEnded).closing_pulses == 1_070
        assert "unbilled_flow" not in [event.cause for event in bench.events() if isinstance(event, MeterRead)]

    def test_the_first_thing_an_open_outlet_hears_is_to_close(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def before() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))

        async def connected() -> None:
            bench.controller.identity = bench.controller.last_identity = await bench.outlet.identify()
            await bench.controller.connect()

        run(before())
        bench.store.close()
        bench.start()
        assert bench.outlet.now.is_open
        run(connected())
        assert not bench.outlet.now.is_open


class TestExpiry:
    @pytest.mark.parametrize("now_ms", [1_000_000_000, 1_000_000_001, 1_000_000_999])
    def test_is_told_to_the_device_in_whole_seconds_never_too_early(self, tmp_path: Path, now_ms: int) -> None:
        bench = Bench(tmp_path)
        bench.now_ms = now_ms
        order = bench.order(opening())

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(order)

        run(work())
        (told,) = bench.outlet.openings
        assert 1_000 <= told.not_after_s * 1_000 - order.command.not_after_ms < 2_000

    def test_is_looked_at_again_after_waiting_for_the_one_before(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, FakeOutlet(ignores_close=True))

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening("ws_1")))
            await bench.controller.obey(bench.order(CloseValve(water_session_id="ws_1")))
            second = asyncio.create_task(bench.controller.obey(bench.order(opening("ws_2"))))
            while not bench.controller._nudged:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            bench.now_ms += 20_000
            bench.outlet.end("REMOTE")
            bench.controller._looked_at = -1e9
            await bench.controller.cycle()
            await second

        run(work())
        assert (only(bench, CommandRefused).code, only(bench, ValveOpened).water_session_id) == (
            RefusalCode.EXPIRED,
            "ws_1",
        )


class TestCutoff:
    def test_does_not_need_the_devices_clock(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            body = OpenValve(water_session_id="ws_1", volume_limit_ml=10_000, duration_limit_s=300)
            await bench.controller.obey(bench.order(body))
            bench.outlet.run_water(10, elapsed_s=0)  # it says that no time has passed
            bench.controller._begun_at -= 300 + TIME_MARGIN_S
            for _ in range(3):
                bench.controller._looked_at = -1e9
                await bench.controller.cycle()

        run(work())
        assert only(bench, WaterSessionEnded).stop_reason is StopReason.TIME_LIMIT
        assert not bench.outlet.now.is_open


class TestShuttingDown:
    def test_opens_nothing_more(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.shut_down(1)
            await bench.controller.obey(bench.order(opening()))

        run(work())
        assert only(bench, CommandRefused).code is RefusalCode.BUSY
        assert not bench.outlet.openings
