"""Small bars, and the ten steps of a heat row."""

import math
from dataclasses import dataclass

SPARK_WIDTH = 120
SPARK_HEIGHT = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in the units of its picture."""

    x: float
    y: float
    width: float
    height: float
    value: int


def spark(values: list[int], *, width: int = SPARK_WIDTH, height: int = SPARK_HEIGHT) -> tuple[Bar, ...]:
    """Return bars of equal width over the largest value; zero is a hairline, so that the row of hours stays visible."""
    top = max(values, default=0) or 1
    slot = width / max(1, len(values))
    bars = []
    for index, value in enumerate(values):
        tall = max(1.0, height * value / top)
        bars.append(Bar(round(index * slot, 2), round(height - tall, 2), round(slot * 0.72, 2), round(tall, 2), value))
    return tuple(bars)


def heat_step(value: int, largest: int) -> int:
    """Return which of ten steps (0 to 9) a value belongs to, by square root, so that small values differ."""
    if value <= 0 or largest <= 0:
        return 0
    return max(1, min(9, round(9 * math.sqrt(value / largest))))
