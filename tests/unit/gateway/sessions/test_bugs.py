import asyncio
import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.contract.events import (
    CommandRefused,
    FaultRaised,
    JournalRecord,
    RefusalCode,
    StopReason,
    WaterSessionEnded,
)
from gateway.contract.faults import FaultCode
from gateway.kit import end_tasks
from gateway.sessions import controller, device
from tests.fakes.gateway_port import Bench, FakeOutlet
from tests.patience import PATIENCE_S
from tests.unit.gateway.sessions.test_controller import only, opening, run


class Guarded:
    """A bench whose two tasks run as in a gateway."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def __aenter__(self) -> "Guarded":
        guarded = self.bench.controller
        self.tasks = [asyncio.create_task(guarded.guard(task)) for task in (guarded.poll, guarded.work)]
        return self

    async def __aexit__(self, *trouble: object) -> None:
        self.ended = [task.done() for task in self.tasks]
        await end_tasks(self.tasks)
        self.results = [task.exception() if not task.cancelled() else None for task in self.tasks]


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def journaled(bench: Bench, kind: str) -> None:
    """Wait for an event of a kind; asked on the store's own thread, because the tasks write meanwhile."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await bench.store.read(lambda tx: tx.journal.waiting(after=0, limit=1_000))
            events = [msgspec.json.decode(signed.payload, type=JournalRecord).event for _, signed in found]
            if kind in [type(event).__name__ for event in events]:
                return
            await asyncio.sleep(0.005)


class TestGuard:
    @pytest.mark.parametrize("where", ["status", "flags"])
    def test_a_bug_closes_the_outlet_and_shows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
    ) -> None:
        monkeypatch.setattr(device, "BROKEN_PAUSE_S", 0.05)
        monkeypatch.setattr(controller, "PREDECESSOR_WAIT_S", 0.05)
        bench = Bench(tmp_path)
        real = getattr(bench.outlet, where)

        async def broken(*given: object) -> object:
            raise KeyError("unforeseen")

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            bench.controller._looked_at = -1e9
            setattr(bench.outlet, where, broken)
            async with Guarded(bench) as guarded:
                await until(lambda: not bench.outlet.now.is_open)
                await journaled(bench, "FaultRaised")
                assert bench.registry.device("dev_o1").state == "mismatch"
                bench.controller.take(bench.order(opening("ws_2")))
                await journaled(bench, "CommandRefused")
                setattr(bench.outlet, where, real)
                await until(lambda: bench.registry.device("dev_o1").state == "online")
                await journaled(bench, "WaterSessionEnded")
            assert guarded.ended == [False, False]

        with caplog.at_level(logging.CRITICAL):
            run(work())
        assert [record for record in caplog.records if record.message == "bug" and record.exc_info]
        assert only(bench, FaultRaised).fault is FaultCode.DEVICE_MISMATCH
        assert only(bench, CommandRefused).code in (RefusalCode.DEVICE_FAULT, RefusalCode.BUSY)
        assert only(bench, WaterSessionEnded).stop_reason is StopReason.FAULT
        assert bench.controller.bugs >= 1
        assert "internal error" in bench.registry.device("dev_o1").evidence
        assert not bench.registry.device("dev_o1").faults

    def test_a_store_that_fails_is_everybodys(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def fails(*given: object) -> object:
            raise sqlite3.DatabaseError("malformed")

        bench.outlet.flags = fails  # type: ignore[method-assign, assignment]

        async def work() -> None:
            async with Guarded(bench) as guarded:
                await until(lambda: guarded.tasks[0].done())
            assert isinstance(guarded.results[0], sqlite3.DatabaseError)

        run(work())


class TestKFactor:
    @pytest.mark.parametrize("k_factor", [0, -1])
    def test_an_outlet_whose_pulses_mean_nothing_is_not_opened(self, tmp_path: Path, k_factor: int) -> None:
        bench = Bench(tmp_path, FakeOutlet(k_factor=k_factor))

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            bench.outlet.run_water(100)
            bench.controller._looked_at = -1e9
            await bench.controller.cycle()

        run(work())
        assert only(bench, FaultRaised).fault is FaultCode.CAL_INVALID
        assert only(bench, CommandRefused).code is RefusalCode.DEVICE_FAULT
        assert not bench.outlet.openings
        assert "MeterRead" not in bench.kinds()

    def test_water_that_runs_with_one_is_closed(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)

        async def work() -> None:
            await bench.controller.cycle()
            await bench.controller.obey(bench.order(opening()))
            sessions = bench.controller.sessions
            for key, session in list(sessions.items()):
                sessions[key] = msgspec.structs.replace(session, k_factor_pulses_per_m3=0)
            bench.outlet.run_water(100)
            for _ in range(3):
                bench.controller._looked_at = -1e9
                await bench.controller.cycle()

        run(work())
        end = only(bench, WaterSessionEnded)
        assert (end.stop_reason, end.closing_pulses - end.opening_pulses) == (StopReason.FAULT, 100)


class TestFlappingLine:
    def flap(self, bench: Bench, times: int, step_ms: int = 0) -> None:
        async def work() -> None:
            await bench.controller.cycle()
            for _ in range(times):
                bench.now_ms += step_ms
                bench.outlet.silent = True
                for _ in range(2):
                    try:
                        await bench.controller.cycle()
                    except device.DEVICE_ERRORS as error:
                        await bench.controller._failed(error)
                bench.outlet.silent = False
                await bench.controller.cycle()

        run(work())

    def test_costs_few_records(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rows_max=100)
        self.flap(bench, 100)
        assert len(bench.events()) <= 12
        assert bench.kinds().count("MeterRead") == 1

    def test_at_any_pace_leaves_half_the_journal(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rows_max=40)
        self.flap(bench, 200, step_ms=130_000)
        assert len(bench.events()) <= 21

    def test_a_register_that_moved_meanwhile_is_read(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        self.flap(bench, 1)
        bench.outlet.now = replace(bench.outlet.now, total_pulses=1_500)
        self.flap(bench, 1)
        assert bench.kinds().count("MeterRead") == 2
