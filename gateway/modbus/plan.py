"""
Which registers to ask for in one request.

Neighbors are read together as long as the device takes it: not more than it answers at once, not over holes wider than
it allows, and never half a point. What belongs together is asked for whole.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from hardware.model import Block, Point, RegisterMap
from hardware.vocabulary import BITS_MAX, WORDS_MAX


@dataclass(frozen=True, slots=True)
class Span:
    """One read request."""

    table: str
    address: int
    count: int
    points: tuple[Point, ...]

    @property
    def has_hole(self) -> bool:
        """Whether it reads over addresses that no point covers."""
        covered = {point.address + at for point in self.points for at in range(point.words)}
        return len(covered) < self.count


def closure(register_map: RegisterMap, names: Iterable[str]) -> frozenset[str]:
    """Return the names with those of all points they depend on."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(register_map.points[name].needs)
    return frozenset(found)


def spans(register_map: RegisterMap, names: Collection[str], *, over_holes: bool = True) -> list[Span]:
    """
    Return the requests that read these points and all they depend on.

    A synchronized or atomic block is read whole. Without `over_holes` no undefined address is touched.
    """
    wanted = closure(register_map, names)
    limit = int(register_map.bus.get("max_read", WORDS_MAX))
    gap = int(register_map.bus.get("gap", 0)) if over_holes else 0
    result: list[Span] = []
    for block in register_map.blocks:
        points = _readable(block, wanted)
        if points:
            in_words = block.table in ("input", "holding")
            result += _split(block.table, points, limit if in_words else BITS_MAX, gap)
    return result


def _readable(block: Block, wanted: frozenset[str]) -> list[Point]:
    if not any(point.name in wanted for point in block.points):
        return []
    whole = block.sync is not None or block.atomic
    return sorted(
        (
            point
            for point in block.points
            if point.readable and point.combine is None and (whole or point.name in wanted)
        ),
        key=lambda point: (point.address, point.words),
    )


def _split(table: str, points: Sequence[Point], limit: int, gap: int) -> list[Span]:
    result: list[Span] = []
    taken: list[Point] = []
    end = 0
    for point in points:
        if taken and (point.address - end > gap or point.address + point.words - taken[0].address > limit):
            result.append(_span(table, taken, end))
            taken = []
        end = max(end, point.address + point.words) if taken else point.address + point.words
        taken.append(point)
    if taken:
        result.append(_span(table, taken, end))
    return result


def _span(table: str, points: Sequence[Point], end: int) -> Span:
    return Span(table, points[0].address, end - points[0].address, tuple(points))
