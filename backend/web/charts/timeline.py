"""Periods as bars on a year's line, to the day: a month grid would draw the fifteenth as the first."""

from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH = 960
LABEL = 150
ROW = 34
TOP = 26
_MARGIN = timedelta(days=45)
_REACH = timedelta(days=365 * 4)


@dataclass(frozen=True, slots=True)
class Period:
    """What is to be drawn: a lane's label, a period and a style's name."""

    key: str
    lane: str
    starts_at: datetime
    ends_at: datetime
    style: str
    text: str


@dataclass(frozen=True, slots=True)
class PeriodBar:
    """A period's bar."""

    key: str
    x: float
    y: float
    width: float
    style: str
    text: str
    lane: str


@dataclass(frozen=True, slots=True)
class Month:
    """A month's first day on the line."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """All bars, the months, and where today is."""

    bars: tuple[PeriodBar, ...]
    months: tuple[Month, ...]
    today_x: float
    height: int


def _months(first: datetime, last: datetime) -> list[datetime]:
    found = []
    month = first.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month < last:
        if month >= first:
            found.append(month)
        month = (month + timedelta(days=32)).replace(day=1)
    return found


def timeline(periods: list[Period], *, now: datetime) -> Timeline:
    """
    Return the picture of periods, one lane each, from before the first to after the last; today is always on it.

    It reaches four years either way; a period that goes on beyond is cut off at the edge.
    """
    first = max(min([period.starts_at for period in periods] + [now]), now - _REACH) - _MARGIN
    last = min(max([period.ends_at for period in periods] + [now]), now + _REACH) + _MARGIN
    span = (last - first) / timedelta(seconds=1)

    def x(moment: datetime) -> float:
        inside = min(max(moment, first), last)
        return round(LABEL + (WIDTH - LABEL) * ((inside - first) / timedelta(seconds=1)) / span, 1)

    bars = tuple(
        PeriodBar(
            period.key,
            x(period.starts_at),
            TOP + index * ROW + 6,
            max(3.0, round(x(period.ends_at) - x(period.starts_at), 1)),
            period.style,
            period.text,
            period.lane,
        )
        for index, period in enumerate(periods)
    )
    months = _months(first, last)
    every = max(1, (len(months) + 11) // 12)
    ticks = tuple(Month(x(month), f"{month:%Y-%m}") for month in months[::every])
    return Timeline(bars, ticks, x(now), TOP + max(1, len(periods)) * ROW + 8)
