"""
A seeded site is what it always was: every number of the model shows in the figures that it leaves behind.

The figures are not true because they are pinned; the other tests say what must be true. They are pinned so that nobody
changes the model by accident. Who changes it on purpose records them anew with CAMPUSTAP_GOLDEN=record, reads the
difference, and says why.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from firmware_sim.physics import hazards
from firmware_sim.physics.meter import k_factors
from firmware_sim.physics.water import Surroundings, Water

COUNT, RISERS = 12, 3
PINNED = Path(__file__).with_name("trace.json")


def lived() -> dict[str, list[float]]:
    """Return what a small site looks like after a rush, half a night, a cold morning and some mishaps."""
    everyone = np.arange(COUNT)
    around = Surroundings(
        demand_sigma=0.25,
        day_of_year=300,
        flushes_per_hour=240.0,
        wear=40.0,
        years_in_service=3.0,
        beds_per_fixture=60.0,
    )
    site = Water(
        seed=11,
        k_factors_pulses_per_m3=k_factors(11, COUNT),
        riser=everyone % RISERS,
        height_m=everyone // RISERS * 3.0,
        surroundings=around,
    )
    site.broken.leak_lpm[:] = hazards.leaks_lpm(3, COUNT, share=0.4)
    pulses, reverse = np.zeros(COUNT, dtype=np.int64), np.zeros(COUNT, dtype=np.int64)
    figures: dict[str, list[float]] = {}

    def run(name: str, steps: int, dt_s: float, driven: np.ndarray) -> None:
        for _ in range(steps):
            pulses[:] += site.step(dt_s, driven)
            reverse[:] += site.reverse_pulses()
        figures[f"{name} delivered_l"] = site.delivered_l.tolist()
        figures[f"{name} flow_lpm"] = site.flow_lpm.tolist()
        figures[f"{name} degc"] = site.temperatures_degc().tolist()
        figures[f"{name} pulses"] = (pulses - reverse).tolist()
        figures[f"{name} kpa"] = site.risers.pressure_kpa.tolist()
        figures[f"{name} tank"] = [
            float(each)
            for figure in (site.tanks.degc, site.tanks.electricity_kj, site.tanks.lost_kj, site.tanks.drawn_kj)
            for each in figure
        ]

    run("opening", 7, 0.1, everyone % 4 != 3)
    run("slug", 6, 1.0, everyone % 4 != 3)
    run("rush", 240, 1.0, everyone % 4 != 3)
    site.broken.half_open[4] = site.broken.air[5] = site.broken.stuck_closed[6] = site.broken.burst[7] = True
    site.broken.too_hot[8] = site.broken.meter_dead[9] = site.broken.stuck_open[11] = True
    site.broken.reverse_lpm[10] = 0.7
    run("mishaps", 60, 1.0, everyone % 3 != 2)
    for name in ("half_open", "air", "stuck_closed", "burst", "too_hot", "meter_dead", "stuck_open"):
        getattr(site.broken, name)[:] = False
    site.broken.reverse_lpm[:] = 0.0
    run("closing", 5, 0.1, everyone < 0)
    site.ambient_degc[2], site.tanks.degc[0] = -8.0, 45.0
    run("night", 30, 120.0, everyone < 0)
    run("morning", 90, 1.0, everyone % 2 == 0)
    return figures


class TestTrace:
    def test_is_what_it_always_was(self) -> None:
        found = lived()
        if os.environ.get("CAMPUSTAP_GOLDEN") == "record":
            PINNED.write_text(
                "{\n" + ",\n".join(f'"{name}": {json.dumps(each)}' for name, each in found.items()) + "\n}\n",
                encoding="utf-8",
            )

        pinned = json.loads(PINNED.read_text(encoding="utf-8"))

        assert list(found) == list(pinned)
        for name, figures in pinned.items():
            assert found[name] == pytest.approx(figures, rel=1e-9, abs=1e-9), name

    def test_is_of_a_site_where_something_happened(self) -> None:
        pinned = json.loads(PINNED.read_text(encoding="utf-8"))

        assert max(pinned["mishaps flow_lpm"]) > 30
        assert min(pinned["night degc"]) < 0
        assert max(pinned["morning degc"]) > 39
        assert max(pinned["morning tank"][3:6]) > 0, "no heat pump ran"
