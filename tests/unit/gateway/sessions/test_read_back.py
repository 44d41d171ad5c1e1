"""An outlet is called open when its own status says so, for this session; a command that was taken is not enough."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.events import ValveOpened
from gateway.devices.ports import CommandResult
from gateway.sessions import controller
from tests.fakes.gateway_port import Bench
from tests.unit.gateway.sessions.test_controller import only, opening


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return an outlet whose controller looks again without waiting."""
    monkeypatch.setattr(controller, "READ_BACK_PAUSE_S", 0.0)
    return Bench(tmp_path)


def open_with(bench: Bench, **shown: Any) -> None:
    """Open an outlet that takes the command and then shows this."""

    async def taken(opening: Any) -> CommandResult:
        bench.outlet.openings.append(opening)
        bench.outlet.now = replace(bench.outlet.now, **{"session_u32": opening.session_u32, **shown})
        return CommandResult(code="DONE", detail=0)

    async def work() -> None:
        await bench.controller.cycle()
        bench.outlet.open = taken  # type: ignore[method-assign]
        await bench.controller.obey(bench.order(opening()))

    asyncio.run(work())


class TestReadBack:
    def test_of_an_outlet_that_is_open_for_the_session_is_reported(self, bench: Bench) -> None:
        open_with(bench, state="DISPENSING", valve="OPEN")

        assert "ValveOpened" in bench.kinds()

    def test_of_an_outlet_whose_water_runs_already_counts_from_where_the_session_began(self, bench: Bench) -> None:
        open_with(bench, state="DISPENSING", valve="OPEN", session_pulses=30, total_pulses=1_030)

        assert only(bench, ValveOpened).opening_pulses == 1_000

    def test_of_a_register_that_turned_over_counts_from_before_that(self, bench: Bench) -> None:
        open_with(bench, state="DISPENSING", valve="OPEN", session_pulses=30, total_pulses=10)

        assert only(bench, ValveOpened).opening_pulses == 2**64 - 20

    @pytest.mark.parametrize(
        "shown",
        [{"state": "IDLE", "valve": "CLOSED"}, {"state": "LOCKED", "valve": "CLOSED"}],
        ids=["still idle", "locked"],
    )
    def test_of_an_outlet_that_did_not_open_is_not(self, bench: Bench, shown: dict[str, str]) -> None:
        open_with(bench, **shown)

        assert len(bench.outlet.openings) == 1
        assert "ValveOpened" not in bench.kinds()
        assert [session.asked_stop for session in bench.controller.sessions.values()] == ["fault"]

    def test_of_an_outlet_that_is_open_for_somebody_else_is_not(self, bench: Bench) -> None:
        open_with(bench, state="IDLE", valve="CLOSED")
        bench.outlet.now = replace(bench.outlet.now, state="DISPENSING", valve="OPEN", session_u32=4_711)

        asyncio.run(bench.controller.cycle())

        assert "ValveOpened" not in bench.kinds()
        assert not bench.outlet.now.is_open

    def test_that_shows_it_open_for_another_session_all_along_is_not_ours(self, bench: Bench) -> None:
        open_with(bench, state="DISPENSING", valve="OPEN", session_u32=4_711)

        assert "ValveOpened" not in bench.kinds()
        assert [session.asked_stop for session in bench.controller.sessions.values()] == ["fault"]
