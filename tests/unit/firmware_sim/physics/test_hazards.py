"""What breaks: each kind by a draw of its own, as often as wear says, and never where wear is nothing."""

import numpy as np
import pytest

from firmware_sim.physics import constants
from firmware_sim.physics.hazards import Hazards, leaks_lpm

COUNT = 20_000
WEAR = 1e3
EVERYONE = np.arange(COUNT)
HOUR_S = 3_600.0


def stuck_after(hazards: Hazards, openings: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each valve was said to stick, open and shut, in so many openings of all of them."""
    opened, shut = np.zeros(COUNT, dtype=np.int64), np.zeros(COUNT, dtype=np.int64)
    for number in range(1, openings + 1):
        sticks_open, sticks_shut = hazards.stuck(EVERYONE, np.full(COUNT, number))
        opened[sticks_open] += 1
        shut[sticks_shut] += 1
    return opened, shut


class TestLeaksLpm:
    def test_have_share_size_and_spread_of_their_constants(self) -> None:
        drawn = leaks_lpm(7, COUNT, share=0.5)
        sizes = np.log(drawn[drawn > 0])

        assert (drawn > 0).mean() == pytest.approx(0.5, abs=0.02)
        assert np.exp(np.median(sizes)) == pytest.approx(constants.LEAK_LPM_MEDIAN, rel=0.05)
        assert sizes.std() == pytest.approx(constants.LEAK_SIGMA, rel=0.05)


class TestStuck:
    def test_comes_to_each_valve_once_by_its_own_chances(self) -> None:
        opened, shut = stuck_after(Hazards(COUNT, seed=7, wear=WEAR), 50)

        assert set(np.unique(opened)) == set(np.unique(shut)) == {0, 1}
        assert opened.mean() == pytest.approx(1 - (1 - constants.STUCK_OPEN_PER_CYCLE * WEAR) ** 50, abs=0.02)
        assert shut.mean() == pytest.approx(1 - (1 - constants.STUCK_CLOSED_PER_CYCLE * WEAR) ** 50, abs=0.02)
        # the two have nothing to do with each other
        assert abs(np.corrcoef(opened, shut)[0, 1]) < 0.03

    def test_comes_at_once_when_wear_makes_it_certain_and_only_to_valves_that_move(self) -> None:
        moving = np.array([3, 8])
        opened, shut = Hazards(COUNT, seed=7, wear=1e9).stuck(moving, np.array([1, 1]))

        assert opened.tolist() == shut.tolist() == [3, 8]

    def test_never_comes_without_wear(self) -> None:
        opened, shut = stuck_after(Hazards(COUNT, seed=7, wear=0.0), 50)

        assert opened.sum() == shut.sum() == 0


class TestBursts:
    def test_come_as_often_as_the_hours_and_the_wear_say(self) -> None:
        hazards = Hazards(COUNT, seed=7, wear=WEAR)
        found = [hazards.bursts(hour * HOUR_S) for hour in range(1, 97)]
        each = np.array([0 if burst is None else burst.sum() for burst in found])

        # 96 hours at 1 % a day and pipe
        assert each.sum() == pytest.approx(COUNT * 4 * constants.BURSTS_PER_DAY * WEAR, rel=0.1)
        # new pipes each hour, not the same ones again
        burst = np.any([one for one in found if one is not None], axis=0)
        assert burst.sum() == pytest.approx(each.sum(), rel=0.03)

    def test_of_a_long_step_are_those_of_its_hours(self) -> None:
        burst = Hazards(COUNT, seed=7, wear=WEAR).bursts(96 * HOUR_S)

        assert burst is not None
        assert burst.sum() == pytest.approx(COUNT * 4 * constants.BURSTS_PER_DAY * WEAR, rel=0.1)

    def test_are_drawn_once_an_hour(self) -> None:
        hazards = Hazards(COUNT, seed=7, wear=WEAR)

        assert hazards.bursts(HOUR_S - 1) is None
        assert hazards.bursts(HOUR_S) is not None
        assert hazards.bursts(HOUR_S + 1_800) is None
        assert hazards.bursts(2 * HOUR_S) is not None

    def test_never_come_without_wear(self) -> None:
        assert Hazards(COUNT, seed=7, wear=0.0).bursts(1e6 * HOUR_S) is None
