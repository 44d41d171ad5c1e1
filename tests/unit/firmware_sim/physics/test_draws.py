"""Draws that depend on nothing but their seed, purpose, index and count."""

import numpy as np
import pytest
from scipy import stats

from firmware_sim.physics import draws

EVERYONE = np.arange(20_000)
PINNED = ["0xd76e1468378b26de", "0x63a48779f6d82190"]


class TestUniform:
    def test_is_uniform_over_indices_and_over_counts(self) -> None:
        over_indices = draws.uniform(7, draws.LEAK, EVERYONE)
        over_counts = draws.uniform(7, draws.LEAK, np.zeros(20_000, dtype=np.int64), EVERYONE)

        for drawn in (over_indices, over_counts):
            assert stats.kstest(drawn, "uniform").pvalue > 0.01
            assert drawn.min() >= 0
            assert drawn.max() < 1

    def test_is_another_for_another_seed_purpose_or_count(self) -> None:
        one = draws.uniform(7, draws.LEAK, EVERYONE)

        for other in (
            draws.uniform(8, draws.LEAK, EVERYONE),
            draws.uniform(7, draws.AIR, EVERYONE),
            draws.uniform(7, draws.LEAK, EVERYONE, 1),
        ):
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.03

    def test_does_not_depend_on_company(self) -> None:
        assert draws.uniform(7, draws.LEAK, EVERYONE)[1234] == draws.uniform(7, draws.LEAK, np.array([1234]))[0]

    @pytest.mark.parametrize("size", [0, 1, 2, 4, 5, 9])
    def test_is_the_same_one_by_one_and_all_at_once(self, size: int) -> None:
        everyone = draws.bits(7, draws.MISS, EVERYONE, EVERYONE + 3)

        assert draws.bits(7, draws.MISS, EVERYONE[:size], EVERYONE[:size] + 3).tolist() == everyone[:size].tolist()
        assert draws.bits(-1, draws.MISS, EVERYONE[:size], 1 << 40).dtype == np.uint64
        over_counts = draws.bits(7, draws.MISS, np.array([5]), EVERYONE[:size])
        assert over_counts.tolist() == [draws.bits(7, draws.MISS, EVERYONE, n)[5] for n in range(size)]

    def test_is_what_it_always_was(self) -> None:
        """A changed hash would change every seeded run that anybody wrote down."""
        assert [hex(number) for number in draws.bits(7, draws.DEMAND, np.arange(2), 3)] == PINNED


class TestNormal:
    def test_is_normal(self) -> None:
        assert stats.kstest(draws.normal(3, draws.DEMAND, EVERYONE, 5), "norm").pvalue > 0.01


class TestWaiting:
    def test_waits_one_over_the_chance_on_average(self) -> None:
        waits = draws.waiting(3, draws.BOUNCE, EVERYONE, 0, 0.01)

        assert waits.min() >= 1
        assert waits.mean() == pytest.approx(100, rel=0.05)

    def test_waits_for_ever_for_what_cannot_happen(self) -> None:
        assert (draws.waiting(3, draws.BOUNCE, EVERYONE, 0, 0.0) == draws.NEVER).all()

    @pytest.mark.parametrize("share", [1.0, 1.5, 1e6])
    def test_waits_for_nothing_that_is_certain(self, share: float) -> None:
        assert (draws.waiting(3, draws.BOUNCE, EVERYONE, 0, share) == 1).all()
