"""Heat is accounted for, and mixing is what it is in a bathroom."""

import numpy as np
import pytest

from firmware_sim.physics import thermal


class TestColdDegc:
    def test_runs_from_five_to_twenty_five_over_the_year(self) -> None:
        year = [thermal.cold_degc(day) for day in range(1, 366)]

        assert min(year) == pytest.approx(5, abs=0.01)
        assert max(year) == pytest.approx(25, abs=0.01)
        assert year.index(min(year)) == 29


class TestMixing:
    def test_gives_what_was_wanted_and_a_spike_when_the_cold_side_sags(self) -> None:
        share = thermal.hot_share(40.0, np.array([55.0]), 15.0)

        assert share[0] == pytest.approx(0.625)
        assert thermal.mixed_degc(share, np.array([55.0]), 15.0, np.array([1.0]))[0] == pytest.approx(40.0)
        assert thermal.mixed_degc(share, np.array([55.0]), 15.0, np.array([0.8]))[0] > 42.0

    def test_takes_all_hot_water_there_is_when_that_is_too_cold(self) -> None:
        assert thermal.hot_share(40.0, np.array([38.0, 15.0, 14.0]), 15.0).tolist() == [1.0, 1.0, 1.0]

    def test_takes_none_when_the_cold_water_is_warm_enough(self) -> None:
        assert thermal.hot_share(20.0, np.array([55.0]), 25.0)[0] == 0.0

    def test_is_cold_water_when_nothing_comes_from_the_hot_side(self) -> None:
        assert thermal.mixed_degc(np.array([0.0]), np.array([55.0]), 15.0, np.array([0.0]))[0] == 15.0


class TestCoefficient:
    @pytest.mark.parametrize(
        ("ambient", "tank", "value"), [(15, 45, 3.8), (-30, 60, 1.6), (45, 20, 5.5), (20, 55, 3.6)]
    )
    def test_follows_its_line_within_bounds(self, ambient: float, tank: float, value: float) -> None:
        found = thermal.coefficient_of_performance(ambient, np.array([tank], dtype=np.float64))

        assert found[0] == pytest.approx(value)


class TestTanks:
    def test_keep_every_kilojoule(self) -> None:
        tanks = thermal.Tanks(np.array([400.0, 60.0]), ambient_degc=18.0)
        before = tanks.degc.copy()
        rng = np.random.Generator(np.random.PCG64(3))
        for _ in range(86_400 // 10):
            tanks.step(10.0, hot_l=rng.uniform(0, 3.0, 2), cold=12.0)

        gained = tanks.capacity_kj_per_k * (tanks.degc - before)
        balance = tanks.heat_in_kj - tanks.drawn_kj - tanks.lost_kj
        assert np.abs(gained - balance).max() / tanks.heat_in_kj.min() < 1e-9
        assert np.all(tanks.electricity_kj < tanks.heat_in_kj)

    def test_carry_a_dormitory_through_its_day(self) -> None:
        """400 beds × 0.9 × 77 L mixed = 17.4 m³ hot and 809 kWh a day; a third of it in two hours."""
        tanks = thermal.Tanks(np.array([400.0]), ambient_degc=20.0)
        coldest = 99.0
        for second in range(0, 86_400, 10):
            evening = 20.5 * 3600 <= second < 22.5 * 3600
            liters = 17_400 * (0.35 / 7_200 if evening else 0.65 / (86_400 - 7_200)) * 10
            tanks.step(10.0, hot_l=np.array([liters]), cold=15.0)
            coldest = min(coldest, float(tanks.degc[0]))

        assert tanks.drawn_kj[0] / 3_600 == pytest.approx(809, rel=0.05)
        assert coldest > 45.0

    def test_are_four_cubic_meters_and_forty_five_kilowatts_for_four_hundred_beds(self) -> None:
        tanks = thermal.Tanks(np.array([400.0, 40.0]), ambient_degc=20.0)
        tanks.degc[:] = 40.0
        tanks.step(10.0, hot_l=np.zeros(2), cold=12.0)

        # nobody builds a plant for less than a hundred beds
        assert tanks.capacity_kj_per_k == pytest.approx([4_000 * 4.18, 1_000 * 4.18])
        assert tanks.electricity_kj == pytest.approx([450.0, 112.5])
        tanks.step(10.0, hot_l=np.zeros(2), cold=12.0)
        assert tanks.electricity_kj == pytest.approx([900.0, 225.0])

    def test_lose_ten_watts_a_kelvin_to_the_room(self) -> None:
        tanks = thermal.Tanks(np.array([400.0]), ambient_degc=20.0)
        tanks.step(100.0, hot_l=np.zeros(1), cold=12.0)

        assert tanks.lost_kj[0] == pytest.approx(0.010 * (55 - 20) * 100)
        assert tanks.degc[0] == pytest.approx(55 - 35 / (4_000 * 4.18))

    @pytest.mark.parametrize(
        ("degc", "was_heating", "heats"),
        [(52.0, False, False), (51.9, False, True), (57.9, True, True), (58.0, True, False), (55.0, False, False)],
    )
    def test_heat_from_below_fifty_two_up_to_fifty_eight(self, degc: float, was_heating: bool, heats: bool) -> None:
        tanks = thermal.Tanks(np.array([400.0]), ambient_degc=20.0)
        tanks.degc[:], tanks.heating[:] = degc, was_heating

        tanks.step(1.0, hot_l=np.zeros(1), cold=12.0)

        assert bool(tanks.heating[0]) == heats
        assert bool(tanks.heat_in_kj[0] > 0) == heats
