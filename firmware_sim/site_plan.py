"""Looks through the devices of a plan before they are built: what is missing, unknown or taken is said by device."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hardware
from firmware_sim.arguments import PlanWrong
from firmware_sim.makers_place import with_fixture

_MAPS = Path(hardware.__file__).parent / "register_maps"
_NEEDED: Mapping[str, type] = {"device_id": str, "line_id": str, "unit": int, "map_id": str}


def check_site(path: Path, plan: Mapping[str, Any]) -> None:
    """
    Return if every device of a plan can be built.

    :raises PlanWrong: with the first thing that is wrong.
    """
    for problem in _problems(plan["devices"]):
        raise PlanWrong(f"{path}: {problem}")


def _problems(devices: list[Mapping[str, Any]]) -> Iterator[str]:
    maps = sorted(file.stem for file in _MAPS.glob("*.toml"))
    seen: dict[str, Mapping[str, Any]] = {}
    places: dict[tuple[str, int], str] = {}
    for number, raw in enumerate(devices, start=1):
        name = f"device {raw.get('device_id', number)!r}"
        for key, kind in _NEEDED.items():
            if not isinstance(raw.get(key), kind) or isinstance(raw.get(key), bool):
                yield f"{name} needs {key!r}, {'a whole number' if kind is int else 'a text'}"
        if raw["map_id"] not in maps:
            near = difflib.get_close_matches(raw["map_id"], maps, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(maps)}"
            yield f"{name}: no register map is called {raw['map_id']!r} ({hint})"
        if raw["device_id"] in seen:
            yield f"{name} is there twice"
        if not 1 <= raw["unit"] <= 247:
            yield f"{name}: unit must be from 1 to 247, not {raw['unit']}"
        other = places.setdefault((raw["line_id"], raw["unit"]), raw["device_id"])
        if other != raw["device_id"]:
            yield f"{name}: unit {raw['unit']} of line {raw['line_id']} is {other}'s"
        seen[raw["device_id"]] = raw
    valves = [name for name, raw in seen.items() if with_fixture(raw)]
    known = ", ".join(valves)
    for name, raw in seen.items():
        for other in raw.get("behind", ()):
            if other not in valves:
                yield f"device {name!r}: behind names {other!r}, which lets no water run (there are {known})"
