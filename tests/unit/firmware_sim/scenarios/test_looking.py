"""Looks after every step: what is a finding, what a fault of the moment, and how long news may be under way."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.plan import PlanSize
from firmware_sim.scenarios import looking
from firmware_sim.scenarios.invariants import Evidence
from firmware_sim.scenarios.looking import CannotLook, Watch
from firmware_sim.stack import Stack
from tests.unit.firmware_sim.scenarios.test_invariants import LEDGER, SESSION, evidence

OPEN = [{"device": "dev_9", "total_pulses": 0, "valve_open": True}]


class Eyes(Watch):
    """A watch that sees what a test shows it."""

    def __init__(self, *shown: Evidence | None) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self._shown = list(shown)

    async def _see(self) -> Evidence:
        seen = self._shown.pop(0)
        if seen is None:
            raise CannotLook("down")
        return seen


class Reconciler:
    """An API that reconciles to what a test says."""

    async def reconcile(self, login: str) -> dict[str, Any]:
        return {"breaks": []}


class TestLook:
    def test_keeps_each_finding_once(self) -> None:
        wrong = evidence(ledger={**LEDGER, "debits_posted": 65})
        eyes = Eyes(wrong, wrong, evidence())

        found = [asyncio.run(eyes.look()) for _ in range(3)]

        assert [len(each) for each in found] == [1, 1, 0]
        assert eyes.found == found[0]
        assert eyes.found[0].startswith("books_balance: posted debits 65")
        assert eyes.looks == 3

    def test_takes_darkness_for_a_fault_not_a_finding(self) -> None:
        eyes = Eyes(None, evidence())

        assert [asyncio.run(eyes.look()) for _ in range(2)] == [[], []]
        assert (eyes.looks, eyes.blind) == (1, 1)

    def test_gives_the_news_of_a_close_its_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = [0.0]
        monkeypatch.setattr(looking.time, "monotonic", lambda: clock[0])
        open_for_nobody = evidence(devices=OPEN)
        eyes = Eyes(open_for_nobody, open_for_nobody, open_for_nobody, evidence(), open_for_nobody)

        found = []
        for clock[0] in (0.0, 60.0, 90.0, 95.0, 100.0):
            found.append(asyncio.run(eyes.look()))

        assert found == [[], [], ["valves_shut: dev_9 has been open for nobody for 90 s"], [], []]


class TestInTheEnd:
    def test_waits_until_everything_holds(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(looking, "_PAUSE_S", 0.0)
        late = evidence(sessions=[{**SESSION, "state": "closing"}])
        eyes = Eyes(late, None, evidence())
        eyes._api = Reconciler()  # type: ignore[assignment]
        eyes._stack = silent_stack(tmp_path)

        wrong, seen = asyncio.run(
            eyes.in_the_end(["nothing_held"], within_s=20, cheated=[], refused={}, failed=["somebody"])
        )

        assert wrong == {"nothing_held": []}
        assert seen.failed == ["somebody"]

    def test_says_what_is_still_wrong_when_time_is_up(self, tmp_path: Path) -> None:
        eyes = Eyes(evidence(sessions=[{**SESSION, "state": "closing"}]))
        eyes._api = Reconciler()  # type: ignore[assignment]
        eyes._stack = silent_stack(tmp_path)

        wrong, _ = asyncio.run(
            eyes.in_the_end(["nothing_held", "cheats_fail"], within_s=-1, cheated=[], refused={}, failed=[])
        )

        assert wrong == {"nothing_held": ["ws_1 has not ended: closing"], "cheats_fail": []}

    def test_does_not_wait_for_what_is_past(self, tmp_path: Path) -> None:
        eyes = Eyes(evidence())
        eyes._api = Reconciler()  # type: ignore[assignment]
        eyes._stack = silent_stack(tmp_path)

        wrong, _ = asyncio.run(
            eyes.in_the_end(
                ["books_balance", "cheats_fail", "everything_tried"], within_s=600, cheated=["water"], refused={},
                failed=[], untried=["a cut"],
            )
        )  # fmt: skip

        assert wrong == {"books_balance": [], "cheats_fail": ["water"], "everything_tried": ["a cut"]}

    def test_gives_up_on_a_school_that_never_answers(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(looking, "_ANSWER_WITHIN_S", 0.0)
        eyes = Eyes(None)
        eyes._api = Reconciler()  # type: ignore[assignment]
        eyes._stack = silent_stack(tmp_path)

        with pytest.raises(CannotLook, match="nothing answers"):
            asyncio.run(eyes.in_the_end(["nothing_held"], within_s=-1, cheated=[], refused={}, failed=[]))


def silent_stack(folder: Path) -> Stack:
    """Return a stack whose devices wrote nothing."""
    return Stack(folder, 1, PlanSize())
