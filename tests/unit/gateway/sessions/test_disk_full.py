import asyncio
from pathlib import Path
from typing import Any

from gateway.contract.commands import CloseValve
from gateway.contract.events import CommandRefused, FaultRaised, RefusalCode, StopReason, WaterSessionEnded
from gateway.contract.faults import FaultCode
from gateway.uplink.store import NoRoom
from tests.fakes.gateway_port import Bench
from tests.patience import PATIENCE_S
from tests.unit.gateway.sessions.test_controller import only, opening, run
from tests.unit.gateway.uplink.test_store import append, fill, make_room


class Working:
    """A bench whose two tasks run, so that a task that dies shows."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def __aenter__(self) -> "Working":
        self.tasks = [
            asyncio.create_task(self.bench.controller.poll()),
            asyncio.create_task(self.bench.controller.work()),
        ]
        return self

    async def __aexit__(self, *trouble: object) -> None:
        alive = [not task.done() for task in self.tasks]
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert alive == [True, True]

    async def until(self, condition: object) -> None:
        assert callable(condition)
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.01)


class TestFullDisk:
    def test_that_fills_between_the_last_look_and_the_writing_opens_nothing(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            written = bench.store.write
            tries = 0

            async def no_room_at_first(work: Any) -> Any:
                nonlocal tries
                tries += 1
                if tries == 1:
                    raise NoRoom("filled this moment")
                return await written(work)

            bench.store.write = no_room_at_first  # type: ignore[method-assign]
            await bench.controller.obey(bench.order(opening()))

        run(work())
        assert bench.outlet.openings == []
        assert only(bench, CommandRefused).code is RefusalCode.JOURNAL_FULL
        assert bench.controller.sessions == {}

    def test_refuses_openings_and_says_so_when_there_is_room(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rows_max=100_000)

        async def work() -> None:
            await bench.controller.cycle()
            fill(bench.store)
            await bench.store.write_or_keep(append)
            async with Working(bench) as working:
                for number in range(3):
                    bench.controller.take(bench.order(opening(f"ws_{number}")))
                await working.until(lambda: not bench.controller.is_busy())
                asked_at = bench.registry.device("dev_o1").last_answer_at_ms
                bench.now_ms += 1_000
                await working.until(lambda: bench.registry.device("dev_o1").last_answer_at_ms > asked_at)
            assert not bench.outlet.openings
            make_room(bench.store)
            await bench.store.write_kept()

        run(work())
        refused = [event for event in bench.events() if isinstance(event, CommandRefused)]
        assert [event.subject_id for event in refused] == ["ws_0", "ws_1", "ws_2"]
        assert {event.code for event in refused} == {RefusalCode.JOURNAL_FULL}

    def test_an_ending_waits_in_the_devices_log(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rows_max=100_000)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            await bench.controller.cycle()
            fill(bench.store)
            bench.outlet.run_water(90)
            bench.outlet.end("VOLUME_LIMIT")
            async with Working(bench) as working:
                await working.until(lambda: bench.store.is_full)
                assert bench.outlet.acked < 2
                assert bench.controller.sessions
                make_room(bench.store)
                await bench.store.write_kept()
                await working.until(lambda: not bench.controller.sessions)

        run(work())
        end = only(bench, WaterSessionEnded)
        assert (end.stop_reason, end.closing_pulses, end.evidence) == (StopReason.VOLUME_LIMIT, 1_090, "device_log")
        assert bench.outlet.acked == 2

    def test_a_restart_meanwhile_loses_no_ending(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rows_max=100_000)

        async def before() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            fill(bench.store)
            bench.outlet.end("VOLUME_LIMIT")
            async with Working(bench) as working:
                await working.until(lambda: bench.store.is_full)

        run(before())
        bench.store.close()
        bench.start()
        run(bench.controller.cycle())
        assert only(bench, WaterSessionEnded).stop_reason is StopReason.VOLUME_LIMIT

    def test_closing_does_not_wait_for_room(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rows_max=100_000)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            await bench.controller.cycle()
            fill(bench.store)
            await bench.controller.obey(bench.order(CloseValve(water_session_id="ws_1", stop_reason="card")))
            assert not bench.outlet.now.is_open
            make_room(bench.store)
            await bench.store.write_kept()
            await bench.controller.cycle()
            await bench.controller.cycle()

        run(work())
        assert only(bench, WaterSessionEnded).stop_reason is StopReason.CARD
        with bench.store.transaction() as tx:
            assert not tx.memory.sessions()
            assert tx.memory.device("dev_o1").last_sequence == 2

    def test_closing_is_sent_though_nothing_at_all_can_be_written(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def no_room(work: object) -> None:
            raise NoRoom("not one octet")

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            bench.store.write = no_room  # type: ignore[method-assign, assignment]
            await bench.controller.obey(bench.order(CloseValve(water_session_id="ws_1", stop_reason="card")))

        run(work())
        assert not bench.outlet.now.is_open

    def test_a_closing_that_waited_for_room_does_not_bring_back_a_session_that_has_ended(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        written = bench.store.write

        async def no_room(work: object) -> None:
            raise NoRoom("not one octet")

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            bench.store.write = no_room  # type: ignore[method-assign, assignment]
            await bench.controller.obey(bench.order(CloseValve(water_session_id="ws_1", stop_reason="card")))
            bench.store.write = written  # type: ignore[method-assign]
            await bench.controller.cycle()
            assert only(bench, WaterSessionEnded).stop_reason is StopReason.CARD
            await bench.store.write_kept()

        run(work())
        with bench.store.transaction() as tx:
            assert tx.memory.sessions() == []

    def test_water_whose_opening_cannot_be_written_is_closed(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rows_max=100_000)
        real_open = bench.outlet.open

        async def filling(asked: object) -> object:
            fill(bench.store)
            return await real_open(asked)  # type: ignore[arg-type]

        bench.outlet.open = filling  # type: ignore[method-assign, assignment]

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            bench.outlet.run_water(10)
            async with Working(bench) as working:
                await working.until(lambda: not bench.outlet.now.is_open)
                make_room(bench.store)
                await working.until(lambda: not bench.controller.sessions)

        run(work())
        assert "ValveOpened" not in bench.kinds()
        assert only(bench, WaterSessionEnded).closing_pulses == 1_010

    def test_a_fault_is_told_when_there_is_room(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rows_max=100_000)

        async def work() -> None:
            await bench.controller.cycle()
            fill(bench.store)
            bench.outlet.silent = True
            async with Working(bench) as working:
                await working.until(lambda: bench.registry.device("dev_o1").state == "silent")
                make_room(bench.store)
                await bench.store.write_kept()
                bench.now_ms += 1_000
                async with asyncio.timeout(PATIENCE_S):  # on the disk: in hand it also is while a try fails
                    while not (await bench.store.read(lambda tx: tx.memory.device("dev_o1"))).faults:
                        await asyncio.sleep(0.01)

        run(work())
        assert only(bench, FaultRaised).fault is FaultCode.DEVICE_SILENT
