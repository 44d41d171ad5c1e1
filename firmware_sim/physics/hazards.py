"""What breaks, and when: valves that stick when they move, pipes that burst, leaks that were always there."""

import numpy as np

from firmware_sim.physics import draws
from firmware_sim.physics.constants import (
    BURSTS_PER_DAY,
    LEAK_LPM_MEDIAN,
    LEAK_SHARE,
    LEAK_SIGMA,
    STUCK_CLOSED_PER_CYCLE,
    STUCK_OPEN_PER_CYCLE,
)
from firmware_sim.physics.kinds import Bools, Floats, Integers

_HOUR_S = 3600.0


def leaks_lpm(seed: int, count: int, *, share: float = LEAK_SHARE) -> Floats:
    """Return what leaks through each closed valve; most are tight."""
    everyone = np.arange(count)
    size = LEAK_LPM_MEDIAN * np.exp(LEAK_SIGMA * draws.normal(seed, draws.LEAK_SIZE, everyone))
    leaking: Floats = np.where(draws.uniform(seed, draws.LEAK, everyone) < share, size, 0.0)
    return leaking


class Hazards:
    """Draws breakdowns; `wear` multiplies how often they come, 0 is never."""

    def __init__(self, count: int, *, seed: int, wear: float) -> None:
        self._seed = seed
        self._wear = wear
        self._everyone: Integers = np.arange(count)
        self._hours = 0
        #: on which of its openings each valve sticks for the first time; one that was mended lasts
        self._sticks_open = draws.waiting(seed, draws.STUCK_OPEN, self._everyone, 0, STUCK_OPEN_PER_CYCLE * wear)
        self._sticks_shut = draws.waiting(seed, draws.STUCK_CLOSED, self._everyone, 0, STUCK_CLOSED_PER_CYCLE * wear)

    def stuck(self, moving: Integers, cycles: Integers) -> tuple[Integers, Integers]:
        """Return which of the valves that open now, for the n-th time, stick open and which stick closed."""
        return moving[self._sticks_open[moving] == cycles], moving[self._sticks_shut[moving] == cycles]

    def bursts(self, time_s: float) -> Bools | None:
        """Return which pipes burst in the hours that have passed since the last look, None when no hour is over."""
        hours = int(time_s // _HOUR_S)
        if self._wear <= 0 or hours == self._hours:
            return None
        chance = BURSTS_PER_DAY / 24 * self._wear * (hours - self._hours)
        self._hours = hours
        burst: Bools = draws.uniform(self._seed, draws.BURST, self._everyone, hours) < chance
        return burst
