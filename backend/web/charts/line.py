"""A line over time as an SVG path: gaps where nothing is known, never zero and never a guess."""

from dataclasses import dataclass

WIDTH = 640
HEIGHT = 190
LEFT = 44
BOTTOM = 24
TOP = 10


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis and where it stands."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """What a template draws: the stroke, the area below it and the ticks of the value axis."""

    stroke: str
    area: str
    ticks: tuple[Tick, ...]
    is_empty: bool


def nice_ceiling(value: float) -> int:
    """Return the smallest of 4, 8, 20, 40, 80, 200 … that is not below a value."""
    size = 4
    while True:
        for step in (1, 2, 5):
            if size * step >= value:
                return size * step
        size *= 10


def line(values: list[float | None]) -> Line:
    """Return the line of values at equal distances, oldest first; None is a gap."""
    known = [value for value in values if value is not None]
    top = nice_ceiling(max(known, default=0) * 1.05)
    step = (WIDTH - LEFT) / max(1, len(values) - 1)
    base = HEIGHT - BOTTOM

    def y(value: float) -> float:
        return round(base - (base - TOP) * value / top, 1)

    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((round(LEFT + index * step, 1), y(value)))
    drawn = [run for run in runs if run]
    stroke = " ".join("M" + " L".join(f"{x},{height}" for x, height in run) for run in drawn)
    area = " ".join(
        f"M{run[0][0]},{base} L" + " L".join(f"{x},{height}" for x, height in run) + f" L{run[-1][0]},{base} Z"
        for run in drawn
    )
    ticks = tuple(Tick(y(top * part / 4), f"{top * part // 4:,}") for part in range(5))
    return Line(stroke, area, ticks, not known)
