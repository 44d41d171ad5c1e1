"""When people come, how long they stay, and what that opens."""

import math
from datetime import date

import numpy as np
import pytest
from scipy import integrate, stats

from firmware_sim.physics import arrivals, constants, showers


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


class TestDayFactor:
    @pytest.mark.parametrize(
        ("day", "factor"),
        [
            (date(2026, 11, 23), 1.0),
            (date(2026, 11, 26), 1.1),
            (date(2026, 11, 27), 1.1),
            (date(2026, 11, 28), 1.0),
            (date(2026, 7, 6), 1.0),
            (date(2026, 8, 3), 0.1),
            (date(2026, 8, 6), 0.11),
        ],
    )
    def test_follows_weekday_and_holidays(self, day: date, factor: float) -> None:
        assert arrivals.day_factor(day) == pytest.approx(factor)


class TestSharePerHour:
    def test_is_a_density_over_the_day(self) -> None:
        total, _ = integrate.quad(arrivals.share_per_hour, -6, 30, limit=200)
        rest = (1 - sum(share for share, _, _ in constants.DAY_PEAKS)) * 36 / 24

        assert total == pytest.approx(sum(share for share, _, _ in constants.DAY_PEAKS) + rest, rel=1e-3)


class TestArrivalHours:
    def test_come_as_often_as_the_rate_says(self) -> None:
        counts = [len(arrivals.arrival_hours(rng(seed), people=400)) for seed in range(200)]

        assert np.mean(counts) == pytest.approx(400, rel=0.02)
        assert np.var(counts) == pytest.approx(400, rel=0.3)  # Poisson

    def test_follow_the_curve_within_service(self) -> None:
        hours = arrivals.arrival_hours(rng(), people=20_000)
        grid = np.linspace(*constants.SERVICE_HOURS, 2_000)
        density = np.array([arrivals.share_per_hour(float(hour)) for hour in grid])
        curve = np.cumsum(density) / density.sum()

        assert np.all(np.diff(hours) >= 0)
        assert hours.min() >= constants.SERVICE_HOURS[0]
        assert hours.max() < constants.SERVICE_HOURS[1]
        assert stats.kstest(hours, lambda at: np.interp(at, grid, curve)).statistic < 0.015

    def test_follow_people_habit_and_day(self) -> None:
        counts = [
            len(arrivals.arrival_hours(rng(seed), people=200, per_person_day=0.5, factor=0.7)) for seed in range(200)
        ]

        assert np.mean(counts) == pytest.approx(70, rel=0.03)

    def test_lose_nobody_to_short_hours_of_service(self) -> None:
        counts = [len(arrivals.arrival_hours(rng(seed), people=400, service=(12.0, 15.0))) for seed in range(50)]

        assert np.mean(counts) == pytest.approx(400, rel=0.02)

    def test_are_the_same_for_the_same_seed(self) -> None:
        assert np.array_equal(arrivals.arrival_hours(rng(), people=90), arrivals.arrival_hours(rng(), people=90))


class TestDurations:
    def test_are_lognormal_with_the_measured_mean(self) -> None:
        """Mean 9.3 min, sd 5.0, 95th percentile 18.7 (KWR pysimdeum: chi-square 9.3 has sd 4.3, 17.3)."""
        drawn = showers.durations_s(rng(), 20_000)
        scale = constants.DURATION_MEAN_S * math.exp(-(constants.DURATION_SIGMA**2) / 2)

        assert stats.kstest(drawn, stats.lognorm(constants.DURATION_SIGMA, scale=scale).cdf).pvalue > 0.01
        assert drawn.mean() / 60 == pytest.approx(9.3, rel=0.02)
        assert drawn.std() / 60 == pytest.approx(5.0, rel=0.05)
        assert np.percentile(drawn, 95) / 60 == pytest.approx(18.7, rel=0.03)

    def test_would_be_told_from_another_distribution(self) -> None:
        drawn = showers.durations_s(rng(), 20_000, mean_s=500)
        scale = constants.DURATION_MEAN_S * math.exp(-(constants.DURATION_SIGMA**2) / 2)

        assert stats.kstest(drawn, stats.lognorm(constants.DURATION_SIGMA, scale=scale).cdf).pvalue < 1e-6

    def test_keep_their_bounds(self) -> None:
        drawn = showers.durations_s(rng(), 20_000, sigma=3.0)

        assert drawn.min() == constants.DURATION_MIN_S
        assert drawn.max() == constants.DURATION_MAX_S


class TestPauses:
    def test_are_made_by_about_a_third(self) -> None:
        pauses = showers.pauses_s(rng(), 10_000)
        taken = pauses[pauses > 0]

        assert (pauses[:, 0] > 0).mean() == pytest.approx(0.35, abs=0.02)
        assert np.all((pauses[:, 1] == 0) | (pauses[:, 0] > 0))
        assert np.median(taken) == pytest.approx(60, rel=0.05)
        assert np.log(taken).std() == pytest.approx(constants.PAUSE_SIGMA, rel=0.05)
        # who pauses does so once or twice, as often
        assert (pauses[:, 1] > 0).sum() / (pauses[:, 0] > 0).sum() == pytest.approx(0.5, abs=0.03)


class TestSpells:
    def test_never_overlap_at_one_fixture_and_last_what_they_should(self) -> None:
        found = showers.spells(rng(), arrivals_s=np.sort(rng(2).uniform(0, 3_600, 300)), fixtures=12)

        assert np.all(np.diff(found.start_s) >= 0)
        for place in range(12):
            mine = found.fixture == place
            assert np.all(found.start_s[mine][1:] >= found.stop_s[mine][:-1] - 1e-9)
        total = (found.stop_s - found.start_s).sum()
        assert total == pytest.approx(300 * constants.DURATION_MEAN_S, rel=0.15)

    def test_are_parted_by_the_pauses_and_share_the_shower_evenly(self) -> None:
        """Everybody at an outlet of their own, so what lies between two spells of one is a pause."""
        fixtures = 4_000
        found = showers.spells(rng(), arrivals_s=np.zeros(200), fixtures=fixtures)
        alone = [place for place in range(fixtures) if 0 < (found.fixture == place).sum() <= 3]
        gaps, uneven = [], []
        for place in alone:
            mine = found.fixture == place
            start, stop = found.start_s[mine], found.stop_s[mine]
            if start[0] == 0.0 and len(start) > 1 and np.ptp(stop - start) < 1e-6:
                gaps += list(start[1:] - stop[:-1])
            elif len(start) > 1:
                uneven.append(place)

        assert len(gaps) > 60
        assert np.median(gaps) == pytest.approx(constants.PAUSE_MEDIAN_S, rel=0.25)
        # a few outlets were chosen by two people
        assert len(uneven) < 15

    def test_begin_when_people_come_or_the_one_before_has_gone(self) -> None:
        first_s, later_s = 100.0, 50_000.0
        found = showers.spells(rng(), arrivals_s=np.array([first_s, first_s, later_s]), fixtures=1)

        assert found.start_s[0] == first_s
        assert later_s in found.start_s
        crowd = found.start_s[found.start_s < later_s]
        # no rest between one person and the next: the second begins as the first ends
        assert np.isin(crowd[1:], found.stop_s).sum() == 1


class TestTaps:
    def test_are_open_exactly_during_spells(self) -> None:
        day = showers.spells(rng(), arrivals_s=np.sort(rng(2).uniform(0, 2_000, 60)), fixtures=9)
        taps = showers.Taps(9)
        taps.load(day)

        for now in np.arange(0.0, 6_000.0, 7.0):
            wanted = np.zeros(9, dtype=bool)
            wanted[day.fixture[(day.start_s <= now) & (now < day.stop_s)]] = True
            assert np.array_equal(taps.at(float(now)), wanted), now

    def test_forget_the_day_before(self) -> None:
        taps = showers.Taps(2)
        taps.load(showers.Spells(np.array([0]), np.array([0.0]), np.array([90_000.0])))
        assert taps.at(10.0).tolist() == [True, False]

        taps.load(showers.Spells(np.array([1]), np.array([5.0]), np.array([9.0])))

        assert taps.at(6.0).tolist() == [False, True]
        assert taps.at(9.0).tolist() == [False, False]

    def test_open_at_the_start_and_skip_what_was_over_between_two_looks(self) -> None:
        taps = showers.Taps(2)
        taps.load(showers.Spells(np.array([0, 1]), np.array([5.0, 6.0]), np.array([20.0, 8.0])))

        assert taps.at(5.0).tolist() == [True, False]
        assert taps.at(10.0).tolist() == [True, False]
