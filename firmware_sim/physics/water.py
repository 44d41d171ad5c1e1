"""
The water of many fixtures at once: valves, flow, pressure, warmth and pulses, in steps of any length.

Only fixtures where something happens are worked on; the others cool down by a formula when somebody looks. A step costs
what is running, not what has been; where most are running, all are worked on: picking would cost more than reckoning.
Valves travel within a step exactly (their mean opening), so that steps of a second and of 50 ms give the same liters.
Mass is accounted for: what went up a riser came out of its fixtures.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from firmware_sim.physics import draws, hydraulics, thermal
from firmware_sim.physics.constants import (
    AIR_NOISE,
    AMBIENT_DEGC,
    BURST_LPM,
    COOL_DOWN_S,
    DEAD_LEG_L,
    DEMAND_LPM_MAX,
    DEMAND_LPM_MEDIAN,
    DEMAND_LPM_MIN,
    DEMAND_SIGMA,
    FREEZING_DEGC,
    HALF_OPEN,
    MIXED_DEGC,
    RESTRICTOR_LPM,
    SOLENOID_TRAVEL_S,
    STALE_K,
    TOO_HOT_DEGC,
    WARM_UP_S,
)
from firmware_sim.physics.hazards import Hazards
from firmware_sim.physics.kinds import Bools, Chosen, Floats, Integers
from firmware_sim.physics.meter import Meters

#: the share of running fixtures from which all are worked on
_MOST = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a site is like; the defaults are the model's."""

    demand_sigma: float = DEMAND_SIGMA
    mixed_degc: float = MIXED_DEGC
    ambient_degc: float = AMBIENT_DEGC
    day_of_year: int = 120
    flushes_per_hour: float = 0.0
    #: how much faster than usual things break; 0 is never
    wear: float = 0.0
    years_in_service: float = 0.0
    travel_s: float = SOLENOID_TRAVEL_S
    beds_per_fixture: float = 4.0


@dataclass(slots=True, kw_only=True)
class Broken:
    """What is broken at each fixture. Whoever plays fate writes here; everything is mended by writing back."""

    count: int
    stuck_open: Bools = field(init=False)
    stuck_closed: Bools = field(init=False)
    half_open: Bools = field(init=False)
    burst: Bools = field(init=False)
    meter_dead: Bools = field(init=False)
    too_hot: Bools = field(init=False)
    air: Bools = field(init=False)
    leak_lpm: Floats = field(init=False)
    reverse_lpm: Floats = field(init=False)

    def __post_init__(self) -> None:
        for name in ("stuck_open", "stuck_closed", "half_open", "burst", "meter_dead", "too_hot", "air"):
            setattr(self, name, np.zeros(self.count, dtype=np.bool_))
        self.leak_lpm = np.zeros(self.count)
        self.reverse_lpm = np.zeros(self.count)

    def running(self) -> Bools:
        """Return where water moves although nobody opened a valve."""
        moving: Bools = self.stuck_open | self.half_open | self.burst | (self.leak_lpm > 0) | (self.reverse_lpm > 0)
        return moving


class Water:
    """Arrays over fixtures, all of the same length; index = fixture."""

    def __init__(
        self,
        *,
        seed: int,
        k_factors_pulses_per_m3: Integers,
        riser: Integers | None = None,
        height_m: Floats | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._count = count = len(k_factors_pulses_per_m3)
        around = surroundings or Surroundings()
        self._seed = seed
        self._around = around
        self._everyone: Integers = np.arange(count)
        self.riser: Integers = np.zeros(count, dtype=np.int64) if riser is None else riser
        self.height_m: Floats = np.zeros(count) if height_m is None else height_m
        risers = int(self.riser.max()) + 1 if count else 1
        self.risers = hydraulics.Risers(risers, seed=seed, flushes_per_hour=around.flushes_per_hour)
        beds: Floats = np.bincount(self.riser, minlength=risers) * np.float64(around.beds_per_fixture)
        self.tanks = thermal.Tanks(beds, ambient_degc=around.ambient_degc)
        self.meters = Meters(
            seed=seed, k_factors_pulses_per_m3=k_factors_pulses_per_m3, years_in_service=around.years_in_service
        )
        self.hazards = Hazards(count, seed=seed, wear=around.wear)
        self.broken = Broken(count=count)
        self.cold_degc = thermal.cold_degc(around.day_of_year)
        self.time_s = 0.0
        self.valve: Floats = np.zeros(count)
        #: what people do with their mixers
        self.mixer_open: Bools = np.ones(count, dtype=np.bool_)
        self.demand_lpm: Floats = np.full(count, DEMAND_LPM_MEDIAN)
        self.ambient_degc: Floats = np.full(count, around.ambient_degc)
        self.dead_leg_l: Floats = np.interp(draws.uniform(seed, draws.DEAD_LEG, self._everyone), [0, 1], DEAD_LEG_L)
        self.flow_lpm: Floats = np.zeros(count)
        self.delivered_l: Floats = np.zeros(count)
        self.returned_l: Floats = np.zeros(count)
        self.cycles: Integers = np.zeros(count, dtype=np.int64)
        self._temp_degc: Floats = np.full(count, around.ambient_degc)
        self._temp_at_s: Floats = np.zeros(count)
        self._slug_l: Floats = self.dead_leg_l.copy()
        self._driven: Bools = np.zeros(count, dtype=np.bool_)
        self._pulses: Integers = np.zeros(count, dtype=np.int64)
        self._reverse: Integers = np.zeros(count, dtype=np.int64)
        self._active: Chosen = np.empty(0, dtype=np.int64)
        self._steps = 0

    def step(self, dt_s: float, driven: Bools) -> Integers:
        """Let `dt_s` pass with the valves driven as given; return each meter's pulses, valid until the next step."""
        self._steps += 1
        self._open(np.flatnonzero(driven & ~self._driven))
        np.copyto(self._driven, driven)
        burst = self.hazards.bursts(self.time_s)
        if burst is not None:
            self.broken.burst |= burst
        self.flow_lpm[self._active] = 0.0
        self._pulses[self._active] = 0
        self._reverse[self._active] = 0
        active = self._active = self._chosen(driven | (self.valve > 0) | self.broken.running())
        risers = self.riser[active]
        temp = self._cooled(active)
        flow = self._flow(dt_s, active, risers, temp)
        liters = flow * (dt_s / 60)
        back = self.broken.reverse_lpm[active] * (dt_s / 60) if self.broken.reverse_lpm.any() else None
        self.flow_lpm[active] = flow
        self.delivered_l[active] += liters
        if back is not None:
            self.returned_l[active] += back
        self._account(dt_s, risers, liters, back)
        self._warm(dt_s, active, risers, liters, temp)
        self.time_s += dt_s
        self._temp_at_s[active] = self.time_s
        seen, metered = flow, liters
        if self.broken.air.any():
            noise = 1.0 + AIR_NOISE * draws.normal(self._seed, draws.AIR, self._everyone[active], self._steps)
            seen = np.where(self.broken.air[active], flow * np.maximum(noise, 0.0), flow)
            metered = seen * (dt_s / 60)
        dead = self.broken.meter_dead[active]
        self._pulses[active] = self.meters.count(active, flow_lpm=seen, liters=metered, dead=dead)
        if back is not None:
            self._reverse[active] = np.where(dead, 0, self.meters.count_reverse(active, back))
        return self._pulses

    def _chosen(self, running: Bools) -> Chosen:
        return slice(None) if np.count_nonzero(running) > self._count * _MOST else np.flatnonzero(running)

    def reverse_pulses(self) -> Integers:
        """Return the pulses that each meter counted backwards in the last step."""
        return self._reverse

    def _open(self, opening: Integers) -> None:
        """Draw what the person at each valve that opens now wants."""
        if not len(opening):
            return
        self.cycles[opening] += 1
        cycles = self.cycles[opening]
        drawn = DEMAND_LPM_MEDIAN * np.exp(
            self._around.demand_sigma * draws.normal(self._seed, draws.DEMAND, opening, cycles)
        )
        self.demand_lpm[opening] = drawn.clip(DEMAND_LPM_MIN, DEMAND_LPM_MAX)
        open_, shut = self.hazards.stuck(opening, cycles)
        self.broken.stuck_open[open_] = True
        self.broken.stuck_closed[shut] = True

    def _flow(self, dt_s: float, active: Chosen, risers: Integers, temp: Floats) -> Floats:
        broken = self.broken
        opening = self._travel(dt_s, active)
        ratio = hydraulics.head_ratio(self.risers.pressure_kpa[risers], self.height_m[active])
        flow = np.minimum(self.demand_lpm[active] * ratio, RESTRICTOR_LPM)
        if not self.mixer_open.all():
            flow *= self.mixer_open[active]
        if broken.burst.any():
            flow = np.where(broken.burst[active], BURST_LPM * ratio, flow)
        flow = flow * opening + broken.leak_lpm[active] * ratio
        frozen = temp < FREEZING_DEGC
        found: Floats = np.where(frozen, 0.0, flow) if frozen.any() else flow
        return found

    def _travel(self, dt_s: float, active: Chosen) -> Floats:
        """Move the valves towards where they should be; return how far open each was on average."""
        broken, travel_s = self.broken, self._around.travel_s
        wanted = ((self._driven | broken.stuck_open) & ~broken.stuck_closed)[active].astype(np.float64)
        if broken.half_open.any():
            wanted = np.where(broken.half_open[active], HALF_OPEN, wanted)
        moving = np.flatnonzero(wanted != self.valve[active])
        if len(moving):
            which = self._everyone[active][moving]
            before = self.valve[which]
            after = before + np.clip(wanted[moving] - before, -dt_s / travel_s, dt_s / travel_s)
            self.valve[which] = after
            moving_s = np.abs(after - before) * travel_s
            wanted[moving] = ((before + after) / 2 * moving_s + after * (dt_s - moving_s)) / dt_s
        return wanted

    def _account(self, dt_s: float, risers: Integers, liters: Floats, back: Floats | None) -> None:
        count = len(self.risers.taken_l)
        out = np.bincount(risers, weights=liters, minlength=count).astype(np.float64)
        hot = out * self._hot_share()
        if back is not None:
            out = out - np.bincount(risers, weights=back, minlength=count)
        self.risers.step(dt_s, out)
        self.tanks.step(dt_s, hot_l=hot, cold=self.cold_degc)

    def _hot_share(self) -> Floats:
        """Return which share of hot water people on each riser mix in: they follow the tank, not a cistern's moment."""
        return thermal.hot_share(self._around.mixed_degc, self.tanks.degc, self.cold_degc)

    def _cooled(self, active: Chosen) -> Floats:
        """Let fixtures that were left alone cool down until now, cold ones with a full dead leg; return how warm."""
        idle_s = self.time_s - self._temp_at_s[active]
        late = np.flatnonzero(idle_s > 1e-9)
        if len(late):
            which = self._everyone[active][late]
            ambient = self.ambient_degc[which]
            self._temp_degc[which] = ambient + (self._temp_degc[which] - ambient) * np.exp(-idle_s[late] / COOL_DOWN_S)
            cold = which[self._temp_degc[which] < ambient + STALE_K]
            self._slug_l[cold] = self.dead_leg_l[cold]
        return self._temp_degc[active]

    def _warm(self, dt_s: float, active: Chosen, risers: Integers, liters: Floats, temp: Floats) -> None:
        pushed = self._slug_l[active]
        mixed = thermal.mixed_degc(self._hot_share(), self.tanks.degc, self.cold_degc, self.risers.cold_flow())
        warmed = temp + (mixed[risers] - temp) * -math.expm1(-dt_s / WARM_UP_S)
        slug = np.maximum(0.0, pushed - liters)
        # nearly everyone who showers is past the cold slug; the others stand and cool, or push it out
        cold = np.flatnonzero((liters <= 0) | (pushed > 0))
        if len(cold):
            which = self._everyone[active][cold]
            ambient = self.ambient_degc[which]
            cooled = temp[cold] + (ambient - temp[cold]) * -math.expm1(-dt_s / COOL_DOWN_S)
            warmed[cold] = cooled
            stale = (liters[cold] <= 0) & (cooled < ambient + STALE_K)
            slug[cold[stale]] = self.dead_leg_l[which[stale]]
        self._temp_degc[active] = warmed
        self._slug_l[active] = slug

    def temperatures_degc(self) -> Floats:
        """Return the water temperature at every outlet now."""
        idle_s = self.time_s - self._temp_at_s
        cooled: Floats = self.ambient_degc + (self._temp_degc - self.ambient_degc) * np.exp(-idle_s / COOL_DOWN_S)
        return np.where(self.broken.too_hot, TOO_HOT_DEGC, cooled)
