"""
What a meter makes of a flow: its error curve, whole pulses, and the pulses that bounce, get lost or run backwards.

Below half of Q1 the wheel stands still; from there the error comes up to a low-flow error at Q1, then runs with the
logarithm of the flow to a small one at Q2 and stays there.
"""

import numpy as np

from firmware_sim.physics import draws
from firmware_sim.physics.constants import (
    BOUNCE_SHARE,
    DRIFT_PER_YEAR,
    ERROR_HIGH_SIGMA,
    ERROR_LOW_MEAN,
    ERROR_LOW_SIGMA,
    K_FACTOR_PULSES_PER_M3,
    K_FACTOR_SPREAD,
    MISS_SHARE,
    MPE_HIGH,
    MPE_LOW,
    Q1_LPM,
    Q2_LPM,
)
from firmware_sim.physics.kinds import Bools, Chosen, Floats, Integers


def relative_error(flow_lpm: Floats, low: Floats, high: Floats) -> Floats:
    """Return by which share of the true volume a meter errs at a flow; −1 is a meter that stands still."""
    flow = np.maximum(flow_lpm, 1e-9)
    upper = low + (high - low) * np.clip(np.log(flow / Q1_LPM) / np.log(Q2_LPM / Q1_LPM), 0.0, 1.0)
    creeping = -1.0 + (1.0 + low) * (2.0 * flow / Q1_LPM - 1.0)
    found: Floats = np.where(flow >= Q1_LPM, upper, np.where(flow >= Q1_LPM / 2, creeping, -1.0))
    return found


def k_factors(seed: int, count: int) -> Integers:
    """Return the pulses per cubic meter of `count` sensors of one type, as their calibration would find them."""
    spread = K_FACTOR_SPREAD * (2.0 * draws.uniform(seed, draws.K_FACTOR, np.arange(count)) - 1.0)
    found: Integers = np.rint(K_FACTOR_PULSES_PER_M3 * (1.0 + spread)).astype(np.int64)
    return found


class Meters:
    """One meter a fixture. Volume goes in as liters, pulses come out whole; the fraction stays until it is one."""

    def __init__(self, *, seed: int, k_factors_pulses_per_m3: Integers, years_in_service: float = 0.0) -> None:
        count = len(k_factors_pulses_per_m3)
        self._everyone: Integers = np.arange(count)
        everyone = self._everyone
        self._seed = seed
        self.k_pulses_per_l: Floats = np.asarray(k_factors_pulses_per_m3, dtype=np.float64) / 1000
        low = ERROR_LOW_MEAN + ERROR_LOW_SIGMA * draws.normal(seed, draws.ERROR_LOW, everyone)
        high = ERROR_HIGH_SIGMA * draws.normal(seed, draws.ERROR_HIGH, everyone)
        # a meter outside its class is not sold; wear then goes either way
        drift = DRIFT_PER_YEAR * years_in_service * np.sign(draws.uniform(seed, draws.AGE, everyone) - 0.5)
        self.error_low: Floats = low.clip(-MPE_LOW, MPE_LOW) + drift
        self.error_high: Floats = high.clip(-MPE_HIGH, MPE_HIGH) + drift
        self._fraction: Floats = np.zeros(count)
        self._reverse_fraction: Floats = np.zeros(count)
        self._slips: Integers = np.zeros(count, dtype=np.int64)
        #: what each meter's wheel has given, and at which of these pulses the contact bounces or misses next
        self._given: Integers = np.zeros(count, dtype=np.int64)
        self._bounces_at = draws.waiting(seed, draws.BOUNCE, everyone, 0, BOUNCE_SHARE)
        self._misses_at = draws.waiting(seed, draws.MISS, everyone, 0, MISS_SHARE)
        self._slips_at: Integers = np.minimum(self._bounces_at, self._misses_at)

    def count(self, which: Chosen, *, flow_lpm: Floats, liters: Floats, dead: Bools) -> Integers:
        """Return the pulses of these meters for the liters that ran through them at that flow."""
        counted = liters * self.k_pulses_per_l[which] * (1.0 + self.error_high[which])
        # few meters run below Q2, where the error is another and costs a logarithm
        slow = np.flatnonzero((flow_lpm < Q2_LPM) & (flow_lpm > 0))
        if len(slow):
            meters = self._everyone[which][slow]
            error = relative_error(flow_lpm[slow], self.error_low[meters], self.error_high[meters])
            counted[slow] = liters[slow] * self.k_pulses_per_l[meters] * (1.0 + error)
        if dead.any():
            counted[dead] = 0.0
        fraction = self._fraction[which] + counted
        whole = np.floor(fraction)
        self._fraction[which] = fraction - whole
        return self._slip(which, whole.astype(np.int64))

    def count_reverse(self, which: Chosen, liters: Floats) -> Integers:
        """Return the pulses that these meters count backwards."""
        fraction = self._reverse_fraction[which] + liters * self.k_pulses_per_l[which]
        whole = np.floor(fraction)
        self._reverse_fraction[which] = fraction - whole
        pulses: Integers = whole.astype(np.int64)
        return pulses

    def _slip(self, which: Chosen, pulses: Integers) -> Integers:
        """Add what bounces and take what is missed: each pulse has the same chance, however long a step is."""
        given = self._given[which] + pulses
        self._given[which] = given
        slipping = np.flatnonzero(given >= self._slips_at[which])
        if len(slipping):
            meters = self._everyone[which][slipping]
            bounced, missed = given[slipping] >= self._bounces_at[meters], given[slipping] >= self._misses_at[meters]
            pulses[slipping] += bounced.astype(np.int64) - missed
            self._slips[meters] += 1
            self._draw_again(self._bounces_at, draws.BOUNCE, meters[bounced], BOUNCE_SHARE)
            self._draw_again(self._misses_at, draws.MISS, meters[missed], MISS_SHARE)
            self._slips_at[meters] = np.minimum(self._bounces_at[meters], self._misses_at[meters])
        return pulses

    def _draw_again(self, at: Integers, purpose: int, which: Integers, share: float) -> None:
        if len(which):
            at[which] = self._given[which] + draws.waiting(self._seed, purpose, which, self._slips[which], share)
