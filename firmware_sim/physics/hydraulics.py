"""Pressure in risers: a pump at the foot, friction with the flow, head with the height, cisterns on the cold side."""

import math

import numpy as np

from firmware_sim.physics import draws
from firmware_sim.physics.constants import (
    FLUSH_DIP,
    FLUSH_RECOVERY_S,
    HEAD_KPA_PER_M,
    PRESSURE_KPA,
    PRESSURE_KPA_MIN,
    PRESSURE_RELAXATION,
    RISER_EXPONENT,
    RISER_LOSS_KPA,
)
from firmware_sim.physics.kinds import Floats, Integers


def head_ratio(pressure_kpa: Floats, height_m: Floats) -> Floats:
    """Return by which factor of its nominal flow an outlet gives, at its height: Q = k·√Δp."""
    left = np.maximum(pressure_kpa - HEAD_KPA_PER_M * height_m, 0.0)
    ratio: Floats = np.sqrt(left * (1.0 / PRESSURE_KPA))
    return ratio


class Risers:
    """Pressure at the foot of each riser, and how far its cold side is down."""

    def __init__(self, count: int, *, seed: int, flushes_per_hour: float) -> None:
        self._seed = seed
        self._flushes_per_s = flushes_per_hour / 3600
        self._flushes: Integers = np.zeros(count, dtype=np.int64)
        self._time_s = 0.0
        self._next_s = self._until_flush_s(np.arange(count))
        self.pressure_kpa: Floats = np.full(count, PRESSURE_KPA)
        #: share of its pressure that the cold side has lost
        self.dip: Floats = np.zeros(count)
        #: liters that went up each riser
        self.taken_l: Floats = np.zeros(count)

    def step(self, dt_s: float, liters: Floats) -> None:
        """Let time pass while so many liters go up each riser."""
        self.taken_l += liters
        flow_lpm = np.maximum(liters, 0.0) * (60.0 / dt_s)
        target = np.maximum(PRESSURE_KPA_MIN, PRESSURE_KPA - RISER_LOSS_KPA * flow_lpm**RISER_EXPONENT)
        self.pressure_kpa += PRESSURE_RELAXATION * (target - self.pressure_kpa)
        if self._flushes_per_s > 0:
            self._flush(dt_s)

    def _until_flush_s(self, risers: Integers) -> Floats:
        if self._flushes_per_s <= 0:
            return np.full(len(risers), np.inf)
        drawn = draws.uniform(self._seed, draws.FLUSH, risers, self._flushes[risers])
        waits: Floats = -np.log1p(-drawn) / self._flushes_per_s
        return waits

    def _flush(self, dt_s: float) -> None:
        self._time_s += dt_s
        self.dip *= math.exp(-dt_s / FLUSH_RECOVERY_S)
        flushed = np.flatnonzero(self._next_s <= self._time_s)
        if len(flushed):
            self.dip[flushed] = FLUSH_DIP
            self._flushes[flushed] += 1
            self._next_s[flushed] = self._time_s + self._until_flush_s(flushed)

    def cold_flow(self) -> Floats:
        """Return which share of its flow each riser's cold side gives now."""
        share: Floats = np.sqrt(1.0 - self.dip)
        return share
