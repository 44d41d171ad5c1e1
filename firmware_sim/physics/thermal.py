"""Warm water: the season's cold water, mixing, and tanks that heat pumps keep warm."""

import math

import numpy as np

from firmware_sim.physics.constants import (
    COLD_DEGC_MEAN,
    COLD_DEGC_SWING,
    COLDEST_DAY,
    COP_AT,
    COP_MAX,
    COP_MIN,
    COP_PER_AMBIENT_K,
    COP_PER_TANK_K,
    HEAT_PUMP_KW_PER_BED,
    HOT_DEGC,
    TANK_BEDS_MIN,
    TANK_LOSS_KW_PER_K,
    TANK_M3_PER_BED,
    TANK_OFF_DEGC,
    TANK_ON_DEGC,
    WATER_KJ_PER_L_K,
)
from firmware_sim.physics.kinds import Bools, Floats


def cold_degc(day_of_year: int) -> float:
    """Return the temperature of the cold water on a day of the year."""
    return COLD_DEGC_MEAN - COLD_DEGC_SWING * math.cos(2 * math.pi * (day_of_year - COLDEST_DAY) / 365)


def hot_share(wanted_degc: float, hot: Floats, cold: float) -> Floats:
    """Return which share of hot water a mixer takes to give what is wanted; all when even that is too cold."""
    share: Floats = (wanted_degc - cold) / np.maximum(hot - cold, 1e-6)
    return np.minimum(np.maximum(share, 0.0), 1.0)


def mixed_degc(share: Floats, hot: Floats, cold: float, cold_flow: Floats) -> Floats:
    """Return what comes out of a mixer when the cold side gives only `cold_flow` of its flow: less cold is hotter."""
    total = share + (1.0 - share) * cold_flow
    mixed: Floats = cold + (hot - cold) * (share / np.maximum(total, 1e-12))
    return mixed


def coefficient_of_performance(ambient_degc: float, tank_degc: Floats) -> Floats:
    """Return how much heat a heat pump gives for its electricity."""
    found = COP_AT + COP_PER_AMBIENT_K * (ambient_degc - 15.0) - COP_PER_TANK_K * (tank_degc - 45.0)
    return np.minimum(np.maximum(found, COP_MIN), COP_MAX)


class Tanks:
    """
    Stirred tanks, one a riser: C dT/dt = P·COP − m·c·(T − Tcold) − UA·(T − Tambient).

    What went in, was drawn and was lost is kept in kilojoules, so that the balance can be checked.
    """

    def __init__(self, beds: Floats, *, ambient_degc: float) -> None:
        self._ambient = ambient_degc
        beds = np.maximum(beds, TANK_BEDS_MIN)
        liters = beds * TANK_M3_PER_BED * 1000
        self.capacity_kj_per_k: Floats = liters * WATER_KJ_PER_L_K
        self._power_kw: Floats = beds * HEAT_PUMP_KW_PER_BED
        self.degc: Floats = np.full(len(beds), HOT_DEGC)
        self.heating: Bools = np.zeros(len(beds), dtype=np.bool_)
        self.heat_in_kj: Floats = np.zeros(len(beds))
        self.drawn_kj: Floats = np.zeros(len(beds))
        self.lost_kj: Floats = np.zeros(len(beds))
        self.electricity_kj: Floats = np.zeros(len(beds))

    def step(self, dt_s: float, *, hot_l: Floats, cold: float) -> None:
        """Let time pass while so much hot water is drawn; cold water takes its place."""
        self.heating = (self.heating & (self.degc < TANK_OFF_DEGC)) | (self.degc < TANK_ON_DEGC)
        electricity = self._power_kw * self.heating * dt_s
        heat = electricity * coefficient_of_performance(self._ambient, self.degc)
        drawn = hot_l * WATER_KJ_PER_L_K * (self.degc - cold)
        lost = TANK_LOSS_KW_PER_K * (self.degc - self._ambient) * dt_s
        self.degc = self.degc + (heat - drawn - lost) / self.capacity_kj_per_k
        self.heat_in_kj += heat
        self.drawn_kj += drawn
        self.lost_kj += lost
        self.electricity_kj += electricity
