"""
What breaks in the pipes and the wires of a site, by name, and how it reaches the devices.

A device has to notice pipe faults by itself, and feels its plugs and voltages. Faults of its own bits that nothing else
explains are held on as a broken part would. `sensor_unplugged` is what somebody does who wants water for nothing: the
meter stands still and the plug is felt to be gone; `sensor_cut` leaves the plug in: only the missing flow tells.
"""

from collections.abc import Mapping
from typing import Any

from firmware_sim.plant import Plant

#: liters a minute of a leak and of a backward flow that somebody switches on
LEAK_LPM, REVERSE_LPM = 1.5, 2.0
FROST_DEGC, ROOM_DEGC = -5.0, 20.0

#: faults of the pipes: what they do to the plant, and the device's own bit that is held on with them, if any
PIPE_FAULTS: dict[str, str] = {
    "stuck_open": "",
    "stuck_closed": "STUCK_CLOSED",
    "half_open": "",
    "leak_closed": "",
    "burst_flow": "",
    "flow_sensor": "FLOW_SENSOR",
    "sensor_unplugged": "",
    "sensor_cut": "",
    "temp_sensor": "",
    "over_temp": "",
    "reverse_flow": "",
    "freeze": "",
    "air": "",
}

#: what a device feels besides water: the change of its inputs while something is wrong, and when it is well again
FELT: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "sensor_unplugged": ({"sensor_unplugged": True}, {"sensor_unplugged": False}),
    "lid_open": ({"tamper": True}, {"tamper": False}),
    "low_supply": ({"supply_mv": 17_000}, {"supply_mv": 24_000}),
    "low_backup": ({"backup_mv": 2_000}, {"backup_mv": 3_300}),
    "reader_offline": ({"reader_online": False}, {"reader_online": True}),
}


def break_pipe(plant: Plant, fixture: int, name: str, on: bool) -> None:
    """Break or mend something at one outlet; names of `PIPE_FAULTS` that concern no pipe do nothing here."""
    broken = plant.broken
    match name:
        case "stuck_open":
            broken.stuck_open[fixture] = on
        case "stuck_closed":
            broken.stuck_closed[fixture] = on
        case "half_open":
            broken.half_open[fixture] = on
        case "leak_closed":
            broken.leak_lpm[fixture] = LEAK_LPM if on else 0.0
        case "burst_flow":
            broken.burst[fixture] = on
        case "flow_sensor" | "sensor_unplugged" | "sensor_cut":
            broken.meter_dead[fixture] = on
        case "over_temp":
            broken.too_hot[fixture] = on
        case "reverse_flow":
            broken.reverse_lpm[fixture] = REVERSE_LPM if on else 0.0
        case "air":
            broken.air[fixture] = on
        case "freeze":
            plant.ambient_degc[fixture] = FROST_DEGC if on else ROOM_DEGC
