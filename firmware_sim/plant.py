"""
The water behind a plan's outlets: the physics of `firmware_sim.physics`, laid out as the plan says.

Every line is a riser, every outlet hangs at the height of its floor. A plan may say what its surroundings are like
under `physics`; without a word nothing breaks by itself, and people draw nearly alike, so that a demonstration is
lively. Volume is in liters here and leaves only as whole pulses.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from firmware_sim.physics.constants import FLOOR_HEIGHT_M
from firmware_sim.physics.kinds import Integers
from firmware_sim.physics.water import Surroundings, Water

#: demonstrations and journeys wait for water; with the measured spread somebody always draws 3 L/min
CALM_DEMAND_SIGMA = 0.06


class Plant(Water):
    """The water of one plan; index = position among the plan's outlets."""

    def temperatures_decidegc(self) -> Integers:
        """Return what the outlet sensors read, tenths of a degree."""
        sensed: Integers = np.rint(self.temperatures_degc() * 10).astype(np.int64)
        return sensed


def plant_of(plan: Mapping[str, Any], outlets: Sequence[Mapping[str, Any]]) -> Plant:
    """Return the plant behind these outlets of a plan."""
    lines = {line_id: number for number, line_id in enumerate(dict.fromkeys(raw["line_id"] for raw in outlets))}
    given = {"demand_sigma": CALM_DEMAND_SIGMA, **plan.get("physics", {})}
    return Plant(
        seed=int(plan.get("seed", 0)),
        k_factors_pulses_per_m3=np.array([raw["k_factor_pulses_per_m3"] for raw in outlets], dtype=np.int64),
        riser=np.array([lines[raw["line_id"]] for raw in outlets], dtype=np.int64),
        height_m=np.array([(int(raw.get("floor", 1)) - 1) * FLOOR_HEIGHT_M for raw in outlets], dtype=np.float64),
        surroundings=Surroundings(**given),
    )
