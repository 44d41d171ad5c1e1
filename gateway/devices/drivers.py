"""
Which driver runs a device: the one of our own profile where the map has its frames, else the one that needs only a map.

There is no list of products here. A new device is a file in a folder of maps.
"""

from collections.abc import Callable

from gateway.devices.mapped import MappedOutlet
from gateway.devices.ports import OutletPort
from gateway.devices.water_outlet import WaterOutlet
from gateway.modbus.bus import Bus
from hardware.model import RegisterMap

#: dead-man classes under which paid water may run unattended: each of them ends by itself
OPENABLE = frozenset({"lease", "device_credit", "one_shot", "poll_watchdog"})


def has_profile(register_map: RegisterMap) -> bool:
    """Return whether a device speaks the command frame of our own profile."""
    return register_map.by_role("command_token") is not None and register_map.by_role("device_uid") is not None


def outlet_on(bus: Bus, unit: int, register_map: RegisterMap, *, clock: Callable[[], int]) -> OutletPort:
    """Return the driver of an outlet, meter or reader."""
    if has_profile(register_map):
        return WaterOutlet(bus, unit, register_map)
    return MappedOutlet(bus, unit, register_map, clock=clock, first_sequence=clock() // 1_000)
