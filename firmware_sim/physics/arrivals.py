"""When people come to shower: a Poisson process whose rate follows the day, cut by the hours of service."""

import math
from datetime import date

import numpy as np

from firmware_sim.physics.constants import (
    AUGUST_FACTOR,
    BEFORE_WEEKEND_DAYS,
    BEFORE_WEEKEND_FACTOR,
    DAY_PEAKS,
    SERVICE_HOURS,
    SHOWERS_PER_PERSON_DAY,
)
from firmware_sim.physics.kinds import Floats

_AUGUST = 8
_NO_DAY_MORE_THAN = 4


def day_factor(day: date) -> float:
    """Return how much more or less than usual is showered on a day."""
    factor = BEFORE_WEEKEND_FACTOR if day.weekday() in BEFORE_WEEKEND_DAYS else 1.0
    return factor * (AUGUST_FACTOR if day.month == _AUGUST else 1.0)


def share_per_hour(hour: float) -> float:
    """Return the density of arrivals at an hour of the day, before service hours cut it; it integrates to one."""
    rest = 1.0 - sum(share for share, _, _ in DAY_PEAKS)
    bells = (
        share * math.exp(-0.5 * ((hour - center) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
        for share, center, spread in DAY_PEAKS
    )
    return rest / 24.0 + sum(bells)


def arrival_hours(
    rng: np.random.Generator,
    *,
    people: int,
    per_person_day: float = SHOWERS_PER_PERSON_DAY,
    factor: float = 1.0,
    service: tuple[float, float] = SERVICE_HOURS,
) -> Floats:
    """
    Return the hours of one day's arrivals, ascending.

    Who would come outside the hours of service comes at another time: their share is spread over what is left.
    """
    count = int(rng.poisson(people * per_person_day * factor))
    found: Floats = np.empty(0)
    # a tenth at most falls outside service, so a few rounds fill up; bounded all the same
    for _ in range(_NO_DAY_MORE_THAN * 16):
        if len(found) >= count:
            break
        found = np.concatenate([found, _draw(rng, count, service)])
    return np.sort(found[:count])


def _draw(rng: np.random.Generator, count: int, service: tuple[float, float]) -> Floats:
    weights = [share for share, _, _ in DAY_PEAKS]
    peak = rng.choice(len(weights) + 1, size=count, p=[*weights, 1.0 - sum(weights)])
    hours = rng.uniform(0.0, 24.0, size=count)
    standard = rng.normal(size=count)
    for number, (_, center, spread) in enumerate(DAY_PEAKS):
        hours = np.where(peak == number, center + spread * standard, hours)
    kept: Floats = hours[(hours >= service[0]) & (hours < service[1])]
    return kept
