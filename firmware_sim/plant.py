"""
Pipes, valves, mixers and meters of many fixtures at once, in numpy.

Fixed steps, no wall clock, one generator per fixture drawn from only when its valve opens: the same seed and the same
valves give the same water to the last bit. Volume is in liters here and leaves only as whole pulses; the fraction stays
in an accumulator, so that no pulse is lost or made up.

Model: flow = demand x valve travel x sqrt(pressure ratio), the riser loses head with flow^1.852 (Hazen-Williams) and
relaxes by half per step; a cold slug fills the dead leg before hot water arrives, then the outlet warms with a 4 s time
constant and cools with 15 min when shut. The meter errs within its class (ISO 4064 class 2): nothing below Q1/2, a low
error rising to Q2, a small one above.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

DEMAND_LPM_MEDIAN = 8.5
DEMAND_SIGMA = 0.06
DEMAND_LPM_MIN, DEMAND_LPM_MAX = 3.0, 15.0
PRESSURE_KPA = 300.0
RISER_LOSS_KPA = 0.012
PRESSURE_KPA_MIN = 60.0
TRAVEL_S = 0.3
WARM_UP_S = 4.0
COOL_DOWN_S = 900.0
AMBIENT_DEGC = 20.0
Q1_LPM, Q2_LPM = 0.52, 0.83


class Plant:
    """Arrays over fixtures, all of the same length; index = fixture."""

    def __init__(self, *, seed: int, k_factors_pulses_per_m3: list[int], mixed_degc: float = 40.0) -> None:
        count = len(k_factors_pulses_per_m3)
        self._generators = [np.random.Generator(np.random.PCG64([seed, index])) for index in range(count)]
        self.k_pulses_per_l: Floats = np.asarray(k_factors_pulses_per_m3, dtype=np.float64) / 1000
        self.demand_lpm: Floats = np.full(count, DEMAND_LPM_MEDIAN)
        self.valve: Floats = np.zeros(count)
        #: what people do with their mixers
        self.mixer_open: Bools = np.ones(count, dtype=np.bool_)
        self.mixed_degc: Floats = np.full(count, mixed_degc)
        self.temp_degc: Floats = np.full(count, AMBIENT_DEGC)
        self.dead_leg_l: Floats = np.array([g.uniform(0.3, 1.5) for g in self._generators], dtype=np.float64)
        self._slug_l: Floats = self.dead_leg_l.copy()
        self._error_low: Floats = np.array([g.normal(-0.01, 0.015) for g in self._generators]).clip(-0.05, 0.05)
        self._error_high: Floats = np.array([g.normal(0.0, 0.007) for g in self._generators]).clip(-0.03, 0.03)
        self._pulse_fraction: Floats = np.zeros(count)
        self.pressure_kpa = PRESSURE_KPA
        self.flow_lpm: Floats = np.zeros(count)
        self.delivered_l: Floats = np.zeros(count)
        self.riser_l = 0.0
        # what is broken
        self.stuck_open: Bools = np.zeros(count, dtype=np.bool_)
        self.stuck_closed: Bools = np.zeros(count, dtype=np.bool_)
        self.leak_lpm: Floats = np.zeros(count)
        self.burst: Bools = np.zeros(count, dtype=np.bool_)
        self.meter_dead: Bools = np.zeros(count, dtype=np.bool_)
        self.too_hot: Bools = np.zeros(count, dtype=np.bool_)
        self._driven: Bools = np.zeros(count, dtype=np.bool_)

    def step(self, dt_s: float, driven: Bools) -> Integers:
        """Let `dt_s` pass with the valves driven as given; return the pulses each meter gave."""
        self._draw_demand(driven & ~self._driven)
        self._driven = driven.copy()
        wanted = np.where((driven | self.stuck_open) & ~self.stuck_closed, 1.0, 0.0)
        travel = dt_s / TRAVEL_S
        self.valve += np.clip(wanted - self.valve, -travel, travel)
        demand = np.where(self.burst, 30.0, self.demand_lpm) * (self.mixer_open | self.burst)
        ratio = np.sqrt(self.pressure_kpa / PRESSURE_KPA)
        self.flow_lpm = (demand * self.valve + self.leak_lpm) * ratio
        liters = self.flow_lpm * (dt_s / 60)
        riser_lpm = float(self.flow_lpm.sum())
        self.riser_l += riser_lpm * (dt_s / 60)
        self.delivered_l += liters
        target = max(PRESSURE_KPA_MIN, PRESSURE_KPA - RISER_LOSS_KPA * riser_lpm**1.852)
        self.pressure_kpa += 0.5 * (target - self.pressure_kpa)
        self._warm(dt_s, liters)
        return self._pulses(liters)

    def temperatures_decidegc(self) -> Integers:
        """Return what the outlet sensors read, tenths of a degree."""
        sensed: Integers = np.rint(np.where(self.too_hot, 55.0, self.temp_degc) * 10).astype(np.int64)
        return sensed

    def _draw_demand(self, opening: Bools) -> None:
        for index in np.flatnonzero(opening):
            drawn = DEMAND_LPM_MEDIAN * np.exp(self._generators[index].normal(0.0, DEMAND_SIGMA))
            self.demand_lpm[index] = min(max(float(drawn), DEMAND_LPM_MIN), DEMAND_LPM_MAX)

    def _warm(self, dt_s: float, liters: Floats) -> None:
        flowing = liters > 0
        arrived = flowing & (self._slug_l <= 0)
        self._slug_l = np.where(flowing, np.maximum(0.0, self._slug_l - liters), self._slug_l)
        goal: Floats = np.where(arrived, self.mixed_degc, AMBIENT_DEGC)
        constant: Any = np.where(arrived, WARM_UP_S, COOL_DOWN_S)
        self.temp_degc += (goal - self.temp_degc) * (1 - np.exp(-dt_s / constant))
        cold = ~flowing & (self.temp_degc < AMBIENT_DEGC + 5)
        self._slug_l = np.where(cold, self.dead_leg_l, self._slug_l)

    def _pulses(self, liters: Floats) -> Integers:
        flow = np.maximum(self.flow_lpm, 1e-9)
        position = np.clip(np.log(flow / Q1_LPM) / np.log(Q2_LPM / Q1_LPM), 0.0, 1.0)
        error = self._error_low + (self._error_high - self._error_low) * position
        counted = liters * self.k_pulses_per_l * (1 + error)
        counted = np.where((self.flow_lpm < Q1_LPM / 2) | self.meter_dead, 0.0, counted)
        self._pulse_fraction += counted
        whole = np.floor(self._pulse_fraction)
        self._pulse_fraction -= whole
        pulses: Integers = whole.astype(np.int64)
        return pulses
