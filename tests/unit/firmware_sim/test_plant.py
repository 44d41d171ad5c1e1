"""Water that adds up, and is the same water for the same seed."""

import numpy as np
import pytest

from firmware_sim.plant import AMBIENT_DEGC, Plant

K_FACTOR = 450_000


def plant(count: int = 8, seed: int = 7) -> Plant:
    return Plant(seed=seed, k_factors_pulses_per_m3=[K_FACTOR] * count)


def run(of: Plant, seconds: float, driven: list[bool], dt_s: float = 0.05) -> np.ndarray:
    total = np.zeros(len(driven), dtype=np.int64)
    for _ in range(round(seconds / dt_s)):
        total += of.step(dt_s, np.array(driven))
    return total


class TestStep:
    def test_is_the_same_to_the_last_bit_for_the_same_seed(self) -> None:
        pattern = np.random.Generator(np.random.PCG64(1)).random((400, 8)) < 0.5
        one, two, other = plant(), plant(), plant(seed=8)

        pulses = [np.stack([p.step(0.05, row) for row in pattern]) for p in (one, two, other)]

        assert np.array_equal(pulses[0], pulses[1])
        assert one.delivered_l.tobytes() == two.delivered_l.tobytes()
        assert one.temp_degc.tobytes() == two.temp_degc.tobytes()
        assert not np.array_equal(pulses[0], pulses[2])

    def test_one_fixture_does_not_change_anothers_draws(self) -> None:
        alone, crowd = plant(), plant()
        run(alone, 1, [True] + [False] * 7)
        run(crowd, 1, [True] * 8)

        assert alone.demand_lpm[0] == crowd.demand_lpm[0]

    def test_gives_what_the_riser_took(self) -> None:
        site = plant()
        site.leak_lpm[3] = 0.4
        run(site, 120, [True, False, True, False, True, True, False, True])

        assert site.delivered_l.sum() == pytest.approx(site.riser_l, rel=1e-9)
        assert site.delivered_l[1] == 0

    def test_flows_at_about_eight_and_a_half_liters_a_minute(self) -> None:
        site = plant(count=40)
        run(site, 30, [True] + [False] * 39)

        assert site.flow_lpm[0] == pytest.approx(8.5, rel=0.2)
        assert site.flow_lpm[1:].sum() == 0

    def test_loses_pressure_when_all_shower_at_once(self) -> None:
        site = plant(count=40)
        run(site, 5, [True] + [False] * 39)
        alone = site.flow_lpm[0]
        run(site, 5, [True] * 40)

        assert site.pressure_kpa < 300
        assert 0.3 * alone < site.flow_lpm[0] < alone

    def test_counts_pulses_within_the_meters_class_and_loses_no_fraction(self) -> None:
        site = plant()
        pulses = run(site, 300, [True] * 8)

        liters = site.delivered_l
        assert np.all(np.abs(pulses / (K_FACTOR / 1000) / liters - 1) < 0.03)
        again = plant()
        coarse = run(again, 300, [True] * 8, dt_s=0.05)
        assert np.array_equal(pulses, coarse)

    def test_a_valve_stops_within_its_travel(self) -> None:
        site = plant()
        run(site, 5, [True] * 8)
        tail = run(site, 0.35, [False] * 8)

        assert np.all(run(site, 10, [False] * 8) == 0)
        assert np.all(tail < 40)

    def test_brings_a_cold_slug_first_then_warm_water(self) -> None:
        site = plant()
        run(site, 1.5, [True] * 8)
        assert np.all(site.temperatures_decidegc() == AMBIENT_DEGC * 10)
        run(site, 60, [True] * 8)
        assert np.all(np.abs(site.temperatures_decidegc() - 400) <= 2)
        run(site, 600, [False] * 8, dt_s=1.0)
        assert np.all(site.temperatures_decidegc() < 320)

    def test_a_closed_mixer_and_broken_parts_do_what_they_must(self) -> None:
        site = plant(count=6)
        site.mixer_open[0] = False
        site.stuck_closed[1] = True
        site.stuck_open[2] = True
        site.meter_dead[3] = True
        site.burst[4] = True
        site.too_hot[5] = True

        pulses = run(site, 10, [True, True, False, True, True, True])

        assert pulses[0] == pulses[1] == pulses[3] == 0
        assert pulses[2] > 400
        assert site.delivered_l[3] > 1
        assert site.flow_lpm[4] > 25
        assert site.temperatures_decidegc()[5] == 550

    def test_does_not_count_below_the_meters_start(self) -> None:
        site = plant()
        site.leak_lpm[:] = 0.2

        assert run(site, 60, [False] * 8).sum() == 0
