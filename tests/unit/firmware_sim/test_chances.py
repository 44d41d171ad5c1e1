"""What chance does to a site: the same for the same seed, as often as was asked for, and felt by the devices."""

import statistics
from typing import Any

import pytest

from firmware_sim.chances import Chances, cuts, draw_into
from firmware_sim.nvm import MemoryNvm
from firmware_sim.physics.constants import CLOCK_DRIFT_PPM_SIGMA, CUTS_PER_MONTH, K_FACTOR_PULSES_PER_M3
from firmware_sim.world import World
from tests.unit.firmware_sim.rig import UNIX_MS


def plan(count: int = 300) -> dict[str, Any]:
    devices = [{"device_id": f"dev_{n}", "line_id": f"l{n // 200}", "unit": n % 200 + 1, "map_id": "chw.hwo1",
                "k_factor_pulses_per_m3": K_FACTOR_PULSES_PER_M3} for n in range(count)]  # fmt: skip
    return {"seed": 1, "devices": devices}


def drawn(chances: Chances, *, seed: int = 3) -> dict[str, Any]:
    found = plan()
    draw_into(found, chances, seed=seed)
    return found


class TestDrawInto:
    def test_leaves_a_calm_site_as_it_is(self) -> None:
        found = drawn(Chances())

        assert {raw["k_factor_pulses_per_m3"] for raw in found["devices"]} == {K_FACTOR_PULSES_PER_M3}
        assert {raw["clock_ppm"] for raw in found["devices"]} == {0.0}
        assert all(raw["clock_battery"] for raw in found["devices"])
        assert found["leaks_lpm"] == {}

    def test_spreads_sensors_and_clocks(self) -> None:
        found = drawn(Chances(k_spread=True, clocks=2, dead_batteries=0.2, leaks=10))["devices"]

        factors = [raw["k_factor_pulses_per_m3"] for raw in found]
        assert 445_500 <= min(factors) < max(factors) <= 454_500
        drift = statistics.stdev(raw["clock_ppm"] for raw in found)
        assert drift == pytest.approx(2 * CLOCK_DRIFT_PPM_SIGMA, rel=0.2)
        assert 30 <= sum(not raw["clock_battery"] for raw in found) <= 90

    def test_lets_some_valves_leak(self) -> None:
        assert 10 <= len(drawn(Chances(leaks=10))["leaks_lpm"]) <= 60

    def test_is_the_same_for_the_same_seed_alone(self) -> None:
        chances = Chances(k_spread=True, clocks=1, leaks=10)

        assert drawn(chances) == drawn(chances) != drawn(chances, seed=4)

    def test_is_felt_by_the_devices(self) -> None:
        small = {**plan(2), "leaks_lpm": {"dev_1": 1.2}}
        small["devices"][0] |= {"clock_ppm": 5_000.0, "clock_battery": False}
        site = World(small, open_nvm=lambda device_id: MemoryNvm(), now_ms=0, unix_offset_ms=UNIX_MS)

        for _ in range(400):
            site.advance(site.now_ms + 50)

        states = {each["device"]: each for each in site.state()}
        assert "clock_unset" in states["dev_0"]["faults"]
        assert states["dev_0"]["total_pulses"] == 0
        assert states["dev_1"]["total_pulses"] > 100


class TestCuts:
    def test_come_as_often_as_was_chosen(self) -> None:
        months = list(cuts(Chances(cuts=10), buildings=3, days=3_000, factor=1, seed=1))

        assert len(months) == pytest.approx(3 * 100 * CUTS_PER_MONTH * 10, rel=0.2)
        assert {building for _, building, _ in months} == {1, 2, 3}
        assert all(1 <= lasts_s <= 600 for _, _, lasts_s in months)

    def test_are_pressed_together_with_the_day(self) -> None:
        slow = list(cuts(Chances(cuts=100), buildings=1, days=10, factor=1, seed=1))
        fast = list(cuts(Chances(cuts=100), buildings=1, days=10, factor=100, seed=1))

        assert len(slow) == len(fast) > 0
        assert [at_s for at_s, _, _ in fast] == pytest.approx([at_s / 100 for at_s, _, _ in slow])
        assert all(lasts_s >= 1 for _, _, lasts_s in fast)

    def test_never_come_without_a_chance(self) -> None:
        assert list(cuts(Chances(), buildings=4, days=1_000, factor=1, seed=1)) == []
