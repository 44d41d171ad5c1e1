"""The same scenario gives the same answers and the same registers on the simulator and on the firmware."""

import ctypes
import random

import pytest

from firmware_sim.event_log import unpack
from tests.contract.firmware.chance import Chance
from tests.contract.firmware.fuzz import malformed
from tests.contract.firmware.scenarios import SCENARIOS, Scenario
from tests.contract.firmware.steps import MAP, Frame, Tick, open_order, read
from tests.contract.firmware.twins import Twins, same, shortest


def marks(twins: Twins) -> list[tuple[str, int]]:
    """Return type and aux of every record the ring holds."""
    assert twins.outlet is not None
    held = [unpack(twins.outlet.log.records[seq]) for seq in sorted(twins.outlet.log.records)]
    return [(MAP.enums["record_type"][record.type], record.aux) for record in held]


class TestWrittenScenarios:
    @pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
    def test_are_lived_through_alike(self, library: ctypes.CDLL, scenario: Scenario) -> None:
        same(library, scenario.steps, battery=scenario.battery, key=scenario.key, name=scenario.name)

        twins = Twins(library, battery=scenario.battery, key=scenario.key)
        for step in scenario.steps:
            twins.apply(step)
        happened = iter(marks(twins))
        assert all(mark in happened for mark in scenario.marks), f"{scenario.marks} not in {marks(twins)}"
        twins.close()


class TestRandomScenarios:
    @pytest.mark.parametrize("seed", range(16))
    def test_are_lived_through_alike(self, library: ctypes.CDLL, seed: int) -> None:
        same(library, Chance(seed).steps(220), battery=seed % 3 != 0, name=f"seed {seed}")


class TestFramesOfChance:
    def test_are_answered_alike(self, library: ctypes.CDLL) -> None:
        chance = random.Random(3)
        opening = [Tick(300), open_order(token=1, session=7)]

        same(library, [*opening, *(Frame(malformed(chance)) for _ in range(500))], name="frames")


class TestShortest:
    def test_leaves_out_what_does_not_matter(self, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("firmware_sim.outlet_rules.LEASE_S_MAX", 599)
        opening = open_order(token=1, session=7, lease=600)
        steps = [Tick(300), *([Frame(read(4, 0, 4))] * 20), opening, *([Tick(50)] * 20)]

        short = shortest(library, steps)

        assert short[-1] == opening
        assert len(short) == 2
        with pytest.raises(AssertionError, match=r"seed 5: after 2 steps: simulator answers .*\n.*Tick.*\n.*Frame"):
            same(library, steps, name="seed 5")
