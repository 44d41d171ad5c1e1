"""One value of a scenario file against what its key may hold."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from firmware_sim import makers_floor
from firmware_sim.plan import PlanSize
from firmware_sim.scenarios.words import Key

_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")


class Unfit(Exception):
    """A value does not fit; the message goes after the key's name. `word` was written, `known` could have been."""

    def __init__(self, reason: str, word: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.word = word
        self.known = tuple(known)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which buildings and devices there are; empty when the school itself is not understood."""

    buildings: int = 0
    devices: tuple[str, ...] = ()

    @classmethod
    def of(cls, size: PlanSize) -> "Shape":
        """Return the shape of a school of this size."""
        devices = [
            f"dev_b{building}_{floor}{position:02d}"
            for building in range(1, size.buildings + 1)
            for floor in range(1, size.floors + 1)
            for position in range(1, size.outlets_per_floor + 1)
        ]
        if size.makers_floor:
            plan: dict[str, Any] = {"places": [], "devices": []}
            makers_floor.add_to(plan, building=1)
            devices += [raw["device_id"] for raw in plan["devices"]]
        return cls(size.buildings, (*devices, "dev_library_1"))


def fit(value: Any, key: Key, shape: Shape) -> Any:
    """
    Return the value as the scenario keeps it: clocks as hours, the rest as it is.

    :raises Unfit: when it may not stand there.
    """
    match key.kind:
        case "integer" | "number":
            return _number(value, key)
        case "text":
            return _typed(value, str, "must be a text")
        case "flag":
            return _typed(value, bool, "must be true or false")
        case "clock":
            return _clock(value)
        case "choice":
            return _one_of(value, key.choices)
        case "choices":
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise Unfit("must be a list of words")
            return tuple(value)
        case "weights":
            return _weights(value, key)
        case "device":
            return _one_of(value, shape.devices) if shape.devices else value
        case "building":
            if isinstance(value, bool) or not isinstance(value, int):
                raise Unfit("must be the number of a building")
            if shape.buildings and not 1 <= value <= shape.buildings:
                raise Unfit(f"must be from 1 to {shape.buildings}: the school has no more buildings")
            return value


def _typed(value: Any, kind: type, reason: str) -> Any:
    if not isinstance(value, kind):
        raise Unfit(reason)
    return value


def _number(value: Any, key: Key) -> Any:
    whole = key.kind == "integer"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise Unfit("must be a whole number" if whole else "must be a number")
    if not key.low <= value <= key.high:
        raise Unfit(f"must be from {key.low:g} to {key.high:g}, not {value:g}")
    return value


def _clock(value: Any) -> float:
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None or (hours := int(found.group(1)) + int(found.group(2)) / 60) > 24:
        raise Unfit('must be a time of the day like "21:40"')
    return hours


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise Unfit("must be a text")
    if value not in choices:
        raise Unfit(f"cannot be {value!r}", value, choices)
    return value


def _weights(value: Any, key: Key) -> Mapping[str, float]:
    if not isinstance(value, dict):
        raise Unfit("must be a table of numbers, like { stop = 1 }")
    for name, weight in value.items():
        _one_of(name, key.choices)
        if key.is_whole and not isinstance(weight, int):
            raise Unfit(f"{name} must be a whole number")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1_000:
            raise Unfit(f"{name} must be a number from 0 to 1000")
    return dict(value)
