"""How long people shower, and when they stop the water in between."""

import math
from dataclasses import dataclass

import numpy as np

from firmware_sim.physics.constants import (
    DURATION_MAX_S,
    DURATION_MEAN_S,
    DURATION_MIN_S,
    DURATION_SIGMA,
    PAUSE_MEDIAN_S,
    PAUSE_SHARE,
    PAUSE_SIGMA,
    PAUSES_MAX,
)
from firmware_sim.physics.kinds import Bools, Floats, Integers


def durations_s(
    rng: np.random.Generator, count: int, *, mean_s: float = DURATION_MEAN_S, sigma: float = DURATION_SIGMA
) -> Floats:
    """Return how long showers last, in seconds: lognormal with this mean, cut to bounds."""
    drawn: Floats = rng.lognormal(math.log(mean_s) - sigma**2 / 2, sigma, size=count)
    return drawn.clip(DURATION_MIN_S, DURATION_MAX_S)


def pauses_s(rng: np.random.Generator, count: int, *, share: float = PAUSE_SHARE) -> Floats:
    """Return the lengths of each shower's pauses, one row a shower; 0 is no pause."""
    lengths: Floats = PAUSE_MEDIAN_S * np.exp(rng.normal(0.0, PAUSE_SIGMA, size=(count, PAUSES_MAX)))
    stops = np.where(rng.random(count) < share, rng.integers(1, PAUSES_MAX + 1, size=count), 0)
    lengths[np.arange(PAUSES_MAX)[None, :] >= stops[:, None]] = 0.0
    return lengths


@dataclass(frozen=True, slots=True)
class Spells:
    """Spells of running water, ordered by start: which fixture, from when to when, in seconds of the day."""

    fixture: Integers
    start_s: Floats
    stop_s: Floats


def spells(rng: np.random.Generator, *, arrivals_s: Floats, fixtures: int) -> Spells:
    """
    Return when water runs where on one day.

    Each person goes to a fixture at random and waits there while somebody else showers; pauses fall evenly between the
    spells of one shower.
    """
    count = len(arrivals_s)
    lasts, pauses = durations_s(rng, count), pauses_s(rng, count)
    chosen = rng.integers(0, fixtures, size=count)
    free_at = np.zeros(fixtures)
    rows: list[tuple[float, float, int]] = []
    for number in range(count):
        place = int(chosen[number])
        at = max(float(arrivals_s[number]), float(free_at[place]))
        breaks = [float(pause) for pause in pauses[number] if pause > 0]
        part = float(lasts[number]) / (len(breaks) + 1)
        for pause in (*breaks, 0.0):
            rows.append((at, at + part, place))
            at += part + pause
        free_at[place] = at
    rows.sort()
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return Spells(table[:, 2].astype(np.int64), table[:, 0].copy(), table[:, 1].copy())


class Taps:
    """Turns spells into "these valves are open now", walking forward only; no cost for what is past."""

    def __init__(self, fixtures: int) -> None:
        self.open: Bools = np.zeros(fixtures, dtype=np.bool_)
        self._spells = Spells(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
        self._by_stop: Integers = np.empty(0, dtype=np.int64)
        self._stops_s: Floats = np.empty(0)
        self._started = self._stopped = 0

    def load(self, day: Spells) -> None:
        """Begin a day; whatever still runs from the day before ends."""
        self.open[:] = False
        self._spells = day
        self._by_stop = np.argsort(day.stop_s, kind="stable")
        self._stops_s = day.stop_s[self._by_stop]
        self._started = self._stopped = 0

    def at(self, time_s: float) -> Bools:
        """Return which valves are open at a time of the day, not before the last one asked for."""
        day = self._spells
        stopped = int(np.searchsorted(self._stops_s, time_s, side="right"))
        started = int(np.searchsorted(day.start_s, time_s, side="right"))
        ending = self._by_stop[self._stopped : stopped]
        beginning = np.arange(self._started, started)
        self.open[day.fixture[ending]] = False
        # a spell that began and ended between two looks leaves the valve shut
        self.open[day.fixture[beginning[day.stop_s[beginning] > time_s]]] = True
        self._started, self._stopped = started, stopped
        return self.open
