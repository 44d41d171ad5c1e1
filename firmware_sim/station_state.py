"""What a station is doing, as the control port and the step file tell it."""

from typing import Any

from firmware_sim import makers_place
from firmware_sim.access_reader import AccessReader
from firmware_sim.map_device import MapDevice
from firmware_sim.panel import panel
from firmware_sim.plant import Plant
from firmware_sim.station import Station
from firmware_sim.water_outlet import WaterOutlet


def state_of(station: Station, plant: Plant, now_ms: int) -> dict[str, Any]:
    """Return everything an onlooker may know of a station now."""
    device = station.device
    kind = "door" if station.map_id == "chw.acr1" else "outlet" if station.fixture >= 0 else "part"
    line = {"device": station.device_id, "kind": kind, "map": station.map_id, "powered": device is not None,
            "silent": station.silent}  # fmt: skip
    if device is None:
        return line
    if isinstance(device, MapDevice):
        mixer = {} if station.fixture < 0 else {"mixer_open": bool(plant.mixer_open[station.fixture])}
        return line | makers_place.state_of(device) | mixer
    front = panel(device, now_ms)
    line |= {
        "state": device.state.lower(),
        "faults": [name.lower() for name in device.fault_names()],
        "boot_id": device.boot_id,
        "log_head": device.log.head,
        "log_ack": device.log.acked,
        "mailbox_pending": any(box.pending for box in device.mailboxes.values()),
        "link_age_s": device.link_age_s(),
        "display": front.display,
        "lamp": front.lamp,
        "buzzer": front.buzzer,
    }
    return line | (_door(device) if isinstance(device, AccessReader) else _outlet(device, station, plant))


def _door(device: AccessReader) -> dict[str, Any]:
    grant = device.grant
    return {
        "grant_id": grant.grant_id if grant else 0,
        "grant_left_ms": device.grant_left_ms(),
        "pass_in": device.passages[1],
        "pass_out": device.passages[2],
    }


def _outlet(device: WaterOutlet, station: Station, plant: Plant) -> dict[str, Any]:
    return {
        "valve_open": device.valve_drive,
        "sensor_plugged": not bool(plant.broken.meter_dead[station.fixture]),
        "mixer_open": bool(plant.mixer_open[station.fixture]),
        "session_u32": device.dispense.session_id if device.dispense else 0,
        "sess_pulses": device.session_pulses(),
        "sess_volume_ml": device.volume_ml(device.session_pulses()),
        "total_pulses": device.total_pulses,
        "k_factor_pulses_per_m3": device.config["cfg_cal_k"],
        "flow_ml_per_min": device.flow_centilpm() * 10,
        "temp_decidegc": device.temp,
        "close_reason": device.close_reason.lower(),
        "lease_left_ms": device.lease_left_ms(),
    }


def valve_step(station: Station, device: WaterOutlet, now_ms: int) -> dict[str, Any]:
    """Return what is to be known of a valve that has just opened or shut: for whom, since when, under which limits."""
    dispense = device.dispense
    facts: dict[str, Any] = {"register": device.total_pulses, "session": 0, "tag": 0}
    if dispense is None:
        return facts
    return facts | {
        "session": dispense.session_id,
        "tag": dispense.token_tag,
        "opening": dispense.opening_pulses,
        "open_ms": now_ms - dispense.opened_at_ms,
        "volume_ml": device.volume_ml(device.session_pulses()),
        "limit_ml": dispense.limits.volume_ml,
        "limit_ms": dispense.limits.time_ms,
        "since_lease_ms": now_ms - dispense.leased_at_ms,
        "lease_ms": dispense.limits.lease_ms,
    }
