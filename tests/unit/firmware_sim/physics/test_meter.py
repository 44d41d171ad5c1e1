"""Meters stay within their class and count whole pulses that never go back."""

import numpy as np
import pytest

from firmware_sim.physics import meter
from firmware_sim.physics.constants import MPE_HIGH, MPE_IN_SERVICE_FACTOR, MPE_LOW, Q1_LPM, Q2_LPM, Q3_LPM, Q4_LPM

COUNT = 2_000


def meters(*, years: float = 0.0, count: int = COUNT) -> meter.Meters:
    return meter.Meters(seed=5, k_factors_pulses_per_m3=np.full(count, 450_000), years_in_service=years)


def errors(of: meter.Meters, flow_lpm: float) -> np.ndarray:
    return meter.relative_error(np.full(len(of.error_low), flow_lpm), of.error_low, of.error_high)


class TestRelativeError:
    @pytest.mark.parametrize("flow_lpm", np.geomspace(Q1_LPM, Q2_LPM * 0.999, 6).round(4).tolist())
    def test_is_within_five_percent_below_q2(self, flow_lpm: float) -> None:
        assert np.abs(errors(meters(), flow_lpm)).max() <= MPE_LOW

    @pytest.mark.parametrize("flow_lpm", np.geomspace(Q2_LPM, Q4_LPM, 8).round(4).tolist())
    def test_is_within_three_percent_from_q2_to_q4_in_hot_water(self, flow_lpm: float) -> None:
        assert np.abs(errors(meters(), flow_lpm)).max() <= MPE_HIGH

    def test_is_within_twice_that_after_years_in_service(self) -> None:
        old = meters(years=6)

        assert np.abs(errors(old, Q3_LPM)).max() <= MPE_IN_SERVICE_FACTOR * MPE_HIGH
        assert np.abs(errors(old, Q1_LPM)).max() <= MPE_IN_SERVICE_FACTOR * MPE_LOW
        for flow_lpm in (Q1_LPM, Q3_LPM):
            drift = errors(old, flow_lpm) - errors(meters(), flow_lpm)
            assert np.abs(drift).mean() == pytest.approx(0.012, rel=0.01)
            assert (drift > 0).mean() == pytest.approx(0.5, abs=0.05)  # wear goes either way
        assert meter.Meters(seed=5, k_factors_pulses_per_m3=np.full(COUNT, 450_000)).error_low.tolist() == (
            meters().error_low.tolist()
        )

    def test_is_as_different_from_meter_to_meter_as_a_batch_is(self) -> None:
        many = meters(count=20_000)

        assert many.error_low.mean() == pytest.approx(-0.01, abs=0.001)
        assert many.error_low.std() == pytest.approx(0.015, rel=0.05)
        assert many.error_high.mean() == pytest.approx(0.0, abs=0.0005)
        assert many.error_high.std() == pytest.approx(0.007, rel=0.05)
        assert many.error_low.min() == -MPE_LOW

    def test_stands_still_below_half_of_q1_and_comes_up_without_a_jump(self) -> None:
        flows = np.linspace(0.0, 2.0, 4_001)
        curve = meter.relative_error(flows, np.full(4_001, -0.02), np.full(4_001, 0.01))

        assert np.all(curve[flows < Q1_LPM / 2] == -1.0)
        assert np.abs(np.diff(curve)).max() < 0.01
        assert curve[-1] == pytest.approx(0.01)


class TestKFactors:
    def test_are_integers_within_a_percent(self) -> None:
        found = meter.k_factors(7, 1_000)

        assert found.dtype == np.int64
        assert found.min() >= 445_500
        assert found.max() <= 454_500
        assert len(set(found.tolist())) > 500


class TestMeters:
    def test_count_whole_pulses_and_lose_no_fraction(self) -> None:
        one, other = meters(count=3), meters(count=3)
        which, dead = np.arange(3), np.zeros(3, dtype=bool)
        flow = np.array([2.0, 8.5, 14.0])

        fine = sum(one.count(which, flow_lpm=flow, liters=flow / 60 / 20, dead=dead) for _ in range(20 * 600))
        coarse = sum(other.count(which, flow_lpm=flow, liters=flow / 60, dead=dead) for _ in range(600))

        exact = flow * 10 * 450 * (1 + meter.relative_error(flow, one.error_low, one.error_high))
        assert np.all(np.abs(fine - exact) <= 1)
        assert np.all(np.abs(coarse - exact) <= 1)
        assert fine.dtype == np.int64

    @pytest.mark.parametrize("flow_lpm", [0.0, 0.2, 0.3, Q1_LPM, 0.6, Q2_LPM, 1.5])
    def test_count_what_the_error_curve_says_at_small_flows_too(self, flow_lpm: float) -> None:
        few = meters(count=9, years=2.0)
        which, dead = np.array([1, 4, 8]), np.zeros(3, dtype=bool)
        flow = np.full(3, flow_lpm)

        counted = sum(few.count(which, flow_lpm=flow, liters=flow / 60, dead=dead) for _ in range(3_600))

        error = meter.relative_error(flow, few.error_low[which], few.error_high[which])
        assert counted == pytest.approx(flow * 60 * 450 * (1 + error), abs=1)

    def test_count_a_bounce_once_more_and_a_miss_once_less(self) -> None:
        few = meters(count=4)
        which, dead = np.arange(4), np.zeros(4, dtype=bool)
        flow, liters = np.full(4, 8.5), np.full(4, 0.0225)  # ten pulses and a bit
        clean = meters(count=4).count(which, flow_lpm=flow, liters=liters, dead=dead)
        few._bounces_at[1], few._misses_at[2] = 10, 10
        few._bounces_at[3] = few._misses_at[3] = 1
        few._slips_at[:] = np.minimum(few._bounces_at, few._misses_at)

        assert (few.count(which, flow_lpm=flow, liters=liters, dead=dead) - clean).tolist() == [0, 1, -1, 0]
        assert few._slips.tolist() == [0, 1, 1, 1]
        later = few._bounces_at[1], few._misses_at[2]
        assert min(later) > 10_000
        assert few._slips_at[1:].tolist() == np.minimum(few._bounces_at, few._misses_at)[1:].tolist()
        # each slip draws anew: not the same wait again and again
        few._bounces_at[1] = few._slips_at[1] = 11
        few.count(which, flow_lpm=flow, liters=liters, dead=dead)
        assert few._bounces_at[1] != later[0]

    def test_never_count_less_than_nothing(self) -> None:
        few = meters(count=4)
        which, dead = np.arange(4), np.zeros(4, dtype=bool)
        few._misses_at[:] = few._slips_at[:] = 1  # the very next pulse is missed

        counts = [few.count(which, flow_lpm=np.full(4, 8.5), liters=np.full(4, 0.001), dead=dead) for _ in range(50)]

        assert min(int(count.min()) for count in counts) >= 0

    def test_bounce_and_miss_about_one_in_a_million(self) -> None:
        many = meters(count=400)
        which, dead = np.arange(400), np.zeros(400, dtype=bool)
        total = sum(int(many.count(which, flow_lpm=np.full(400, 8.5), liters=np.full(400, 50.0), dead=dead).sum())
                    for _ in range(20))  # fmt: skip

        assert total > 100_000_000
        assert 100 < many._slips.sum() < 700  # ~360 expected, at most one of either a step and meter

    def test_do_not_turn_when_dead(self) -> None:
        one = meters(count=1)
        silent = one.count(np.array([0]), flow_lpm=np.array([8.5]), liters=np.array([5.0]), dead=np.array([True]))

        assert silent.tolist() == [0]

    def test_count_backwards_apart(self) -> None:
        one = meters(count=1)

        assert one.count_reverse(np.array([0]), np.array([0.1])).tolist() == [45]
        assert sum(one.count_reverse(np.array([0]), np.array([0.001])) for _ in range(1_001)).tolist() == [450]
