"""What a look at an outlet leads to: strangers are closed, records told once, a refused lease asked for again."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.contract.events import MeterRead, WaterSessionEnded
from gateway.devices.ports import CommandResult, LogPage, Opening
from gateway.modbus.codec import CodecError
from gateway.sessions import watch
from tests.fakes.gateway_port import Bench
from tests.unit.gateway.sessions.test_controller import only, opening, run

STRANGER = 4_711


def open_for_a_stranger(bench: Bench) -> None:
    bench.outlet.now = replace(bench.outlet.now, state="DISPENSING", valve="OPEN", session_u32=STRANGER)


def closings(bench: Bench) -> list[int]:
    """Return a list that fills with the sessions the outlet is told to close."""
    told: list[int] = []
    real = bench.outlet.close

    async def watched(session_u32: int, reason: str) -> CommandResult:
        told.append(session_u32)
        return await real(session_u32, reason)

    bench.outlet.close = watched  # type: ignore[method-assign]
    return told


class TestConnect:
    def test_closes_a_stranger_before_anything_that_may_fail(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def unreadable(cursor: int) -> LogPage:
            raise CodecError("no such record")

        async def work() -> None:
            await bench.controller.cycle()
            bench.controller.identity = None  # it was silent, and answers again
            open_for_a_stranger(bench)
            bench.outlet.log_page = unreadable  # type: ignore[method-assign]
            with pytest.raises(CodecError):
                await bench.controller.cycle()

        told = closings(bench)
        run(work())
        assert told == [STRANGER]
        assert not bench.outlet.now.is_open


class TestLook:
    def test_closes_a_stranger_while_a_session_of_ours_is_not_over(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            open_for_a_stranger(bench)
            bench.controller._looked_at = -1e9
            await bench.controller.cycle()

        told = closings(bench)
        run(work())
        assert told == [STRANGER]
        assert not bench.outlet.now.is_open

    def test_asks_again_at_once_for_a_lease_that_was_refused(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        answers = ["BUSY", "DONE", "DONE"]
        asked: list[str] = []

        async def answered(opening: Opening) -> CommandResult:
            asked.append(answers[len(asked)])
            return CommandResult(code=asked[-1], detail=0)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening(lease_s=1_000_000)))
            bench.outlet.renew = answered  # type: ignore[method-assign]
            bench.controller._renewed_at = -1e9  # a third of the lease has passed
            for _ in range(3):
                bench.controller._looked_at = -1e9
                await bench.controller.cycle()

        run(work())
        assert asked == ["BUSY", "DONE"]


class TestDrain:
    def test_tells_nothing_twice_of_a_device_whose_pages_begin_before_the_cursor(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def everything(cursor: int) -> LogPage:
            records = tuple(bench.outlet.log)
            return LogPage(head=len(records), records=records, damaged=0, through=len(records))

        bench.outlet.log_page = everything  # type: ignore[method-assign]

        async def work() -> None:
            await bench.controller.cycle()
            for number in range(2):
                await bench.controller.obey(bench.order(opening(f"ws_{number}")))
                bench.outlet.run_water(100)
                bench.outlet.end("VOLUME_LIMIT")
                await bench.controller.cycle()

        run(work())
        ends = [event for event in bench.events() if isinstance(event, WaterSessionEnded)]
        assert [end.water_session_id for end in ends] == ["ws_0", "ws_1"]
        assert "unbilled_flow" not in [event.cause for event in bench.events() if isinstance(event, MeterRead)]

    def test_puts_on_disk_what_a_start_says_before_the_device_may_forget_it(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def before() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            await bench.controller.cycle()
            assert bench.outlet.acked == 1

        async def after() -> None:
            await bench.controller.cycle()
            await bench.controller.cycle()

        run(before())
        bench.outlet.run_water(900, elapsed_s=20)
        bench.store.close()
        bench.start()
        run(after())
        # by the device's own clock: ours has not moved
        assert only(bench, WaterSessionEnded).duration_s == 20


class TestSettleByRegister:
    """The gateway was away, a stranger used the outlet, and the device has lost the end of our session."""

    @staticmethod
    def away(bench: Bench, *, for_ms: int) -> None:
        bench.store.close()
        bench.outlet.run_water(60)  # still ours, and nobody saw it
        bench.outlet.forgets_log = True
        bench.outlet.end("LEASE")
        bench.outlet.run_water(300)  # a stranger's
        bench.outlet.now = replace(bench.outlet.now, session_u32=STRANGER, session_pulses=300, boot_id=2)
        bench.now_ms += for_ms
        bench.start()

    @pytest.mark.parametrize("renewed", [True, False])
    def test_bills_what_was_put_on_disk_at_the_last_renewal_and_tells_the_rest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renewed: bool
    ) -> None:
        monkeypatch.setattr(watch, "NO_RECORD_S", 0.0)
        bench = Bench(tmp_path)

        async def before() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            bench.outlet.run_water(120)
            if renewed:
                bench.controller._renewed_at = -1e9
            bench.controller._looked_at = -1e9
            await bench.controller.cycle()

        async def after() -> None:
            for _ in range(4):
                await bench.controller.cycle()

        run(before())
        self.away(bench, for_ms=3_600_000)
        run(after())

        end = only(bench, WaterSessionEnded)
        assert (end.opening_pulses, end.closing_pulses) == (1_000, 1_120 if renewed else 1_000)
        rest = [event for event in bench.events() if isinstance(event, MeterRead) and event.cause == "unbilled_flow"]
        assert [event.register_pulses for event in rest] == [1_480]
