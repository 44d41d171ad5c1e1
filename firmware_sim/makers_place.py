"""
A maker's device at its place in a site: where its water comes from, what a power cut leaves of it, what it shows.

What it meters is what runs at its fixture of the plant. A device with a valve lets it run; a meter without one hangs in
a pipe that somebody opens and shuts by hand; a meter `behind` other devices measures what their valves let run, one a
channel.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from firmware_sim.makers import CardReader, Meter, PulseCounter, is_meter
from firmware_sim.map_device import MapDevice
from hardware.model import RegisterMap
from hardware.points import load

OWN_MAPS = ("chw.hwo1", "chw.acr1")
#: what the plant's meter counts behind a device whose map and plan state no K-factor
K_FACTOR_PULSES_PER_M3 = 450_000
_VALVE_ROLES = ("valve_cmd", "valve_pulse", "credit_volume")
_METER_ROLES = ("pulses_total", "volume_total")


def has_valve(register_map: RegisterMap) -> bool:
    """Return whether a map's device opens and shuts something."""
    return any(register_map.by_role(role) is not None for role in _VALVE_ROLES)


def has_water(register_map: RegisterMap) -> bool:
    """Return whether water runs through or at a map's device."""
    metered = any(register_map.by_role(role) is not None for role in _METER_ROLES)
    return metered or is_meter(register_map) or has_valve(register_map)


def with_fixture(raw: Mapping[str, Any]) -> bool:
    """Return whether a planned device has a fixture of its own in the plant."""
    return raw["map_id"] == "chw.hwo1" or (has_water(load(raw["map_id"])) and not raw.get("behind"))


def by_hand(raw: Mapping[str, Any]) -> bool:
    """Return whether a planned device only measures a pipe that people open and shut by hand."""
    return raw["map_id"] not in OWN_MAPS and with_fixture(raw) and not has_valve(load(raw["map_id"]))


def fixture_row(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a planned device as the plant wants it: with the K-factor of the meter behind it."""
    stated = raw.get("k_factor_pulses_per_m3") or load(raw["map_id"]).k_factor_pulses_per_m3
    return {**raw, "k_factor_pulses_per_m3": stated or K_FACTOR_PULSES_PER_M3}


def lets_run(device: MapDevice, *, hand_open: bool) -> bool:
    """Return whether water may run: the valve's word, or the hand's where there is no valve."""
    return device.is_open if has_valve(device.map) else hand_open


def feed(device: MapDevice, now_ms: int, *, pulses: Sequence[int], flow_lpm: float) -> None:
    """Let a device count what ran at its fixtures until now: pulses by channel, flow of all together."""
    ml_per_s = round(flow_lpm * 1_000 / 60)
    if isinstance(device, PulseCounter):
        device.tick(now_ms)
        for channel, count in enumerate(pulses, start=1):
            if count:
                device.close_contact(channel, count, now_ms)
    elif isinstance(device, Meter):
        device.set_flow(ml_per_s, now_ms)
    else:
        device.tick(now_ms)
        device.flow_ml_per_s = ml_per_s


def hold_card(device: MapDevice, uid: bytes, now_ms: int) -> None:
    """
    Hold a card before a reader for a moment.

    :raises ValueError: if it reads no cards.
    """
    if not isinstance(device, CardReader):
        raise ValueError(f"{device.map.map_id} reads no cards")
    device.hold_for(uid, now_ms)


def state_of(device: MapDevice) -> dict[str, Any]:
    """Return what it is doing, as the control port tells."""
    line: dict[str, Any] = {"state": "open" if device.is_open else "idle", "faults": []}
    if has_valve(device.map):
        line["valve_open"] = device.is_open
    point = device.map.by_role("pulses_total")
    if point is not None:
        line["register_pulses"] = device.raw(point.name)
    elif isinstance(device, Meter) or device.map.by_role("volume_total") is not None:
        line["register_ml"] = int(device.volume_ml)
    return line
