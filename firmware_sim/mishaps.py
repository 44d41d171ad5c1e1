"""
What breaks in the pipes and the wires of a site, by name, and how it reaches the devices.

A device has to notice pipe faults by itself. Faults of its own bits that no pipe explains are held on as a broken part
would. `sensor_unplugged` is what somebody does who wants water for nothing: the meter stands still and the tamper loop
opens; `sensor_cut` leaves the loop closed, so that only the missing flow tells.
"""

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
    "sensor_unplugged": "TAMPER",
    "sensor_cut": "",
    "temp_sensor": "",
    "over_temp": "",
    "reverse_flow": "",
    "freeze": "FREEZE",
    "air": "",
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
