"""
How fast the simulator's water runs: 10,000 fixtures on one core, at the evening peak, over a day, and with all open.

`--full` walks a whole month in seconds; otherwise memory is looked at over a month in steps of ten seconds, and over as
many steps as fit into some seconds of the shortest kind there is, the tick of a served world.
"""

import os
import time
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import psutil

from firmware_sim.physics import arrivals, hazards, meter, showers
from firmware_sim.physics.water import Surroundings, Water
from firmware_sim.world import TICK_MS
from tests.bench.figures import Figure

_FIXTURES, _BEDS = 10_000, 40_000
_PER_RISER, _PER_FLOOR = 20, 4
_GOAL = 1_000.0
_DAYS = 30
_FIRST_DAY = date(2026, 11, 1)
_EVENING_S = 21 * 3_600


def _water() -> Water:
    everyone = np.arange(_FIXTURES)
    water = Water(
        seed=7,
        k_factors_pulses_per_m3=meter.k_factors(7, _FIXTURES),
        riser=everyone // _PER_RISER,
        height_m=(everyone % _PER_RISER // _PER_FLOOR) * 3.0,
        surroundings=Surroundings(wear=1.0, flushes_per_hour=6.0),
    )
    water.broken.leak_lpm[:] = hazards.leaks_lpm(7, _FIXTURES)
    return water


def _taps(number: int) -> showers.Taps:
    rng = np.random.Generator(np.random.PCG64([7, number]))
    factor = arrivals.day_factor(_FIRST_DAY + timedelta(days=number))
    hours = arrivals.arrival_hours(rng, people=_BEDS, factor=factor)
    taps = showers.Taps(_FIXTURES)
    taps.load(showers.spells(rng, arrivals_s=hours * 3_600, fixtures=_FIXTURES))
    return taps


def _speed(simulated_s: float, began: float) -> float:
    return simulated_s / (time.process_time() - began)


def measure_simulator_physics() -> Iterator[Figure]:
    """Yield simulated seconds per second of one core's time, and what a month costs in memory."""
    conditions = f"{_FIXTURES} fixtures, {_BEDS} people, steps of 1 s"
    water, taps = _water(), _taps(0)
    taps.at(_EVENING_S)
    for second in range(60):
        water.step(1.0, taps.at(_EVENING_S + second))
    began = time.process_time()
    for second in range(60, 1_260):
        water.step(1.0, taps.at(_EVENING_S + second))
    running = int(taps.open.sum())
    yield Figure("physics, evening peak", _speed(1_200, began), "× real time", "goal", _GOAL,
                 f"{conditions}, {running} running")  # fmt: skip

    taps = _taps(1)
    began, steps = time.process_time(), 0
    for second in range(0, 86_400, 40):  # every fortieth second of a day, so that all hours count as they should
        water.step(1.0, taps.at(float(second)))
        steps += 1
    yield Figure("physics, average over a day", _speed(steps, began), "× real time", "goal", _GOAL, conditions)

    everyone = np.ones(_FIXTURES, dtype=np.bool_)
    began = time.process_time()
    for _ in range(200):
        water.step(1.0, everyone)
    yield Figure("physics, every valve open", _speed(200, began), "× real time", "goal", _GOAL, conditions)
    yield from _month()
    yield _ticks()


def _month() -> Iterator[Figure]:
    dt_s = 1.0 if os.environ.get("CAMPUSTAP_BENCH_FULL") else 10.0
    water, process = _water(), psutil.Process()
    began = time.process_time()
    used: list[float] = []  # the fullest weekdays lie within the first ten
    for number in range(_DAYS):
        taps = _taps(number)
        for step in range(int(86_400 / dt_s)):
            water.step(dt_s, taps.at(step * dt_s))
        used.append(process.memory_info().rss / 2**20)
    conditions = f"{_FIXTURES} fixtures, {_DAYS} days in steps of {dt_s:.0f} s"
    yield Figure("physics, a month", _speed(_DAYS * 86_400, began), "× real time", "", None, conditions)
    yield Figure("physics, memory after a month", used[-1], "MiB", "after ten days", used[9], conditions)


def _ticks() -> Figure:
    """Measure memory over many of the shortest steps, at the evening peak, so that a leak a step would show."""
    dt_s, steps = TICK_MS / 1000, 60_000
    water, taps, process = _water(), _taps(0), psutil.Process()
    taps.at(_EVENING_S)
    for step in range(steps // 10):
        water.step(dt_s, taps.at(_EVENING_S + step * dt_s))
    before = process.memory_info().rss / 2**20
    for step in range(steps // 10, steps):
        water.step(dt_s, taps.at(_EVENING_S + step * dt_s))
    conditions = f"{_FIXTURES} fixtures, {steps} steps of {TICK_MS} ms from nine in the evening"
    used = process.memory_info().rss / 2**20
    return Figure("physics, memory after many short steps", used, "MiB", "after a tenth of them", before, conditions)
