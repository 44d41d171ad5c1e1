"""
What chance does to a site, drawn once from the seed: how each sensor was calibrated, how wrong each clock runs, which
valves leak, when houses go dark.

How often is measured nowhere; `firmware_sim.physics.constants` says what was chosen. Each figure may be multiplied, so
that minutes of a scenario see what a site sees in months.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from firmware_sim.makers_place import fixture_row, with_fixture
from firmware_sim.physics.constants import CLOCK_DRIFT_PPM_SIGMA, CUT_S, CUTS_PER_MONTH, LEAK_SHARE
from firmware_sim.physics.hazards import leaks_lpm
from firmware_sim.physics.meter import k_factors

_DAYS_A_MONTH = 30.0
#: the shortest cut that every part of a system notices, seconds
_CUT_S_MIN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """How often than usual; 0 is never. `dead_batteries` is a share of the clocks, `k_spread` a yes or no."""

    cuts: float = 0.0
    clocks: float = 0.0
    dead_batteries: float = 0.0
    leaks: float = 0.0
    k_spread: bool = False


def draw_into(plan: dict[str, Any], chances: Chances, *, seed: int) -> None:
    """Give a plan's own controllers their calibration and clocks, and its outlets their leaks."""
    own = [raw for raw in plan["devices"] if raw["map_id"] == "chw.hwo1"]
    if chances.k_spread:
        for raw, k_factor in zip(own, k_factors(seed, len(own)).tolist(), strict=True):
            raw["k_factor_pulses_per_m3"] = k_factor
    rng = random.Random(f"clocks-{seed}")
    for raw in own:
        drift_ppm, is_dead = rng.gauss(0.0, CLOCK_DRIFT_PPM_SIGMA), rng.random() < chances.dead_batteries
        raw["clock_ppm"] = round(drift_ppm * chances.clocks, 1)
        raw["clock_battery"] = not is_dead
    fixtures = [fixture_row(raw) for raw in plan["devices"] if with_fixture(raw)]
    leaks = leaks_lpm(seed, len(fixtures), share=min(1.0, LEAK_SHARE * chances.leaks))
    plan["leaks_lpm"] = {raw["device_id"]: round(float(lpm), 4)
                         for raw, lpm in zip(fixtures, leaks, strict=True) if lpm > 0}  # fmt: skip


def cuts(
    chances: Chances, *, buildings: int, days: float, factor: float, seed: int
) -> Iterator[tuple[float, int, float]]:
    """
    Return when a run's houses go dark: seconds after its start, building, seconds.

    :param days: of the world that the run stands for, `factor` times as fast as it.
    """
    rng = random.Random(f"cuts-{seed}")
    mean_days = _DAYS_A_MONTH / (CUTS_PER_MONTH * chances.cuts) if chances.cuts > 0 else float("inf")
    for building in range(1, buildings + 1):
        at_days = rng.expovariate(1 / mean_days) if chances.cuts > 0 else float("inf")
        while at_days < days:
            lasts_s = rng.uniform(*CUT_S) / factor
            yield at_days * 86_400 / factor, building, max(_CUT_S_MIN, lasts_s)
            at_days += rng.expovariate(1 / mean_days)
