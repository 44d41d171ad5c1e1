"""
What a map is to one outlet when the unit serves several: another relay of the board, another input of the counter.

A site says which point has which role, and what one pulse of the meter on an input is worth; the map itself stays what
it is for all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.config import ConfiguredDevice, Part
from gateway.devices.composed import ComposedOutlet
from gateway.devices.instrument import Instrument
from gateway.modbus.bus import Bus
from hardware.model import Point, RegisterMap
from hardware.vocabulary import NUMBERS, ROLE_UNITS

#: what may be chosen for a part, and which of it must be chosen together because it is one channel
CHANNELS: Mapping[str, tuple[str, ...]] = {
    "valve": ("valve_cmd", "valve_pulse", "valve_state"),
    "meter": ("pulses_total", "volume_total", "flow"),
    "temperature": ("temp_out",),
}
METERS = ("pulses_total", "volume_total")
_WRITTEN = frozenset({"valve_cmd", "valve_pulse"})


class PartRefused(ValueError):
    """A part cannot be what the site says it is; the message says what to write."""


def channel_of(register_map: RegisterMap, part: Part) -> RegisterMap:
    """
    Return a unit's map as one outlet sees it.

    :raises PartRefused: naming the key and what to write.
    """
    seen = register_map
    for role, name in part.points.items():
        seen = _moved(seen, part, role, name)
    if part.points and part.role == "valve":
        own = [role for role in CHANNELS["valve"] if register_map.by_role(role) is not None]
        left = sorted(set(own) - set(part.points))
        if left:
            raise PartRefused(
                f"points: also write {', '.join(left)}: the map's own belongs to another relay of {register_map.map_id}"
            )
    if part.points and part.role == "meter":
        if not set(part.points) & set(METERS):
            raise PartRefused(
                f"points: also write {' or '.join(METERS)}: the map's own is another input of {register_map.map_id}"
            )
        for role in set(METERS) - set(part.points):  # a register of another input must not be the one that counts
            seen = replace(seen, points=_without(seen.points, role))
    if part.k_factor:
        if not any(seen.by_role(role) for role in METERS[:1]):
            raise PartRefused("k_factor: only a meter that counts pulses has one")
        seen = replace(seen, caps={**seen.caps, "k_factor": part.k_factor}, points=_without(seen.points, "k_factor"))
    _check_role(seen, part)
    return seen


def _moved(register_map: RegisterMap, part: Part, role: str, name: str) -> RegisterMap:
    if role not in CHANNELS[part.role]:
        raise PartRefused(f"points: a {part.role} has {', '.join(CHANNELS[part.role])}, not {role}")
    point = register_map.points.get(name)
    if point is None:
        raise PartRefused(f"points: {role}: {register_map.map_id} has no point {name!r}")
    needed = ROLE_UNITS.get(role)
    if needed is not None and point.unit not in needed:
        raise PartRefused(f"points: {role}: {name} is in {point.unit or 'no unit'}, not in {', '.join(sorted(needed))}")
    if point.type not in NUMBERS and point.type != "bit":
        raise PartRefused(f"points: {role}: {name} is no number")
    if role in _WRITTEN and point.access == "r":
        raise PartRefused(f"points: {role}: {name} cannot be written")
    if role not in _WRITTEN and not point.readable:
        raise PartRefused(f"points: {role}: {name} cannot be read")
    points = _without(register_map.points, role)
    return replace(register_map, points={**points, name: replace(points[name], role=role)})


def _without(points: Mapping[str, Point], role: str) -> dict[str, Point]:
    return {name: replace(point, role=None) if point.role == role else point for name, point in points.items()}


def _check_role(register_map: RegisterMap, part: Part) -> None:
    """Refuse a map that cannot be what it is wanted for."""
    map_id = register_map.map_id
    if register_map.by_role("command_token") is not None:
        raise PartRefused(f"map_id: a {map_id} is an outlet by itself, and no part of one")
    if part.role == "valve" and not any(register_map.by_role(role) for role in ("valve_cmd", "credit_volume")):
        raise PartRefused(f"map_id: {map_id} has no valve: no point with role valve_cmd")
    if part.role == "temperature" and register_map.by_role("temp_out") is None:
        raise PartRefused(f"map_id: {map_id} has no temperature: no point with role temp_out")
    if part.role != "meter":
        return
    pulses = register_map.by_role("pulses_total")
    if pulses is None and register_map.by_role("volume_total") is None:
        raise PartRefused(f"map_id: {map_id} has no meter: no point with role {' or '.join(METERS)}")
    if pulses is not None and register_map.by_role("k_factor") is None and not register_map.k_factor_pulses_per_m3:
        raise PartRefused('k_factor: write the pulses per liter of the meter on this input, for example k_factor = "1"')


def composed_of(
    device: ConfiguredDevice, maps: Mapping[str, RegisterMap], buses: Mapping[str, Bus], *, clock: Callable[[], int]
) -> ComposedOutlet:
    """
    Return the driver of an outlet that is made of parts; `maps` are by map id.

    :raises PartRefused: naming the part and what to write.
    """
    roles = {part.role for part in device.parts}
    instruments = {}
    for part in device.parts:
        try:
            seen = channel_of(maps[part.map_id], part)
        except PartRefused as error:
            raise PartRefused(f"part {part.role}: {error}") from error
        takes = {part.role}
        if part.role == "meter" and "temperature" not in roles:
            takes.add("temperature")
        instruments[part.role] = Instrument(buses[part.line_id], part.unit, seen, frozenset(takes))
    return ComposedOutlet(instruments, clock=clock, first_sequence=clock() // 1_000)
