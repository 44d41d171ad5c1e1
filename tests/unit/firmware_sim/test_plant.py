"""A plan's pipes: lines are risers, floors are heights, and what the plan says of its surroundings is believed."""

from typing import Any

import numpy as np
import pytest

from firmware_sim.plant import CALM_DEMAND_SIGMA, plant_of

OUTLETS: list[dict[str, Any]] = [
    {"device_id": f"dev_{line}{floor}", "line_id": line, "floor": floor, "k_factor_pulses_per_m3": 450_000 + floor}
    for line in ("a", "b")
    for floor in (1, 2, 5)
]


class TestPlantOf:
    def test_lays_out_lines_as_risers_and_floors_as_heights(self) -> None:
        plant = plant_of({"seed": 7}, OUTLETS)

        assert plant.riser.tolist() == [0, 0, 0, 1, 1, 1]
        assert plant.height_m.tolist() == [0.0, 3.0, 12.0] * 2
        assert plant.meters.k_pulses_per_l.tolist() == [450.001, 450.002, 450.005] * 2

    def test_is_calm_unless_the_plan_says_otherwise(self) -> None:
        calm, lively = plant_of({}, OUTLETS), plant_of({"physics": {"demand_sigma": 0.5, "wear": 2.0}}, OUTLETS)

        assert calm._around.demand_sigma == CALM_DEMAND_SIGMA
        assert calm._around.wear == 0
        assert lively._around.demand_sigma == 0.5

    def test_refuses_surroundings_it_does_not_know(self) -> None:
        with pytest.raises(TypeError, match="gravity"):
            plant_of({"physics": {"gravity": 9.8}}, OUTLETS)

    def test_senses_tenths_of_a_degree(self) -> None:
        plant = plant_of({"seed": 7}, OUTLETS)
        for _ in range(1_800):
            plant.step(0.05, np.array([True] + [False] * 5))

        sensed = plant.temperatures_decidegc()
        assert sensed.dtype == np.int64
        assert abs(sensed[0] - 400) <= 3
        assert sensed[1] == 200

    def test_of_no_outlets_stands_still(self) -> None:
        plant = plant_of({"seed": 7}, [])

        assert plant.step(0.05, np.zeros(0, dtype=bool)).tolist() == []
