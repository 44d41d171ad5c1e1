"""How the value of each point comes about: those that every device has, and the table of them all for one map."""

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from firmware_sim.codec import Raw
from firmware_sim.event_log import CAPACITY, RECORD_WORDS
from hardware.points import Point, RegisterMap

if TYPE_CHECKING:
    from firmware_sim.device import Device

Getter = Callable[[Any], Raw]

PROFILE_VERSION = 0x0100
FIRMWARE = "1.1.0"


def capabilities(device: "Device") -> int:
    """Return the bits of what this copy is fitted with."""
    names = {
        *device.fitted,
        *(["MAC"] if device.identity.mac_key else []),
        *(["TEMP_IN"] if device.identity.temp_in else []),
    }
    return sum(1 << number for number, name in enumerate(device.map.bits["caps"]) if name in names)


def _fault(name: str) -> Getter:
    return lambda device: int(bool(device.faults & device.fault_bit(name)))


def _magic(device: "Device") -> int:
    assert device.map.match is not None, "a device of ours says who it is"
    return device.map.match.words[0] << 16 | device.map.match.words[1]


def _profile(device: "Device") -> int:
    assert device.map.match is not None, "a device of ours says who it is"
    return device.map.match.words[2]


_COMMON: dict[str, Getter] = {
    "magic": _magic,
    "profile_id": _profile,
    "profile_ver": lambda device: PROFILE_VERSION,
    "map_crc": lambda device: device.map.crc,
    "vendor": lambda device: "CampusTap",
    "model": lambda device: device.identity.model,
    "serial": lambda device: device.identity.serial,
    "device_uid": lambda device: device.identity.device_uid,
    "fw": lambda device: FIRMWARE,
    "fw_crc": lambda device: zlib.crc32(FIRMWARE.encode()),
    "hw_rev": lambda device: 1,
    "cap_bits": capabilities,
    "log_capacity": lambda device: CAPACITY,
    "log_words": lambda device: RECORD_WORDS,
    "cfg_seq": lambda device: device.config_seq,
    "cfg_unlock": lambda device: 0,
    "snap_seq": lambda device: device.snap,
    "snap_end": lambda device: device.snap,
    "state": lambda device: code(device.map, "state", device.state),
    "faults": lambda device: device.faults,
    "link_age": lambda device: min(device.gap_ms // 1000, 0xFFFF),
    "log_head": lambda device: device.log.head,
    "log_window_head": lambda device: device.log.head,
    "boot_id": lambda device: device.boot_id,
    "unix_time": lambda device: device.unix_ms() // 1000 & 0xFFFFFFFF,
    "clock_quality": lambda device: device.clock.quality(device.now_ms),
    "drift": lambda device: device.clock.drift_ppm,
    "uptime": lambda device: (device.now_ms - device.booted_at_ms) // 1000 & 0xFFFFFFFF,
    "rx_frames": lambda device: device.frames & 0xFFFFFFFF,
    "rx_crc_errors": lambda device: device.crc_errors,
    "v_supply": lambda device: device.inputs.supply_mv,
    "v_backup": lambda device: device.inputs.backup_mv,
    "temp_mcu": lambda device: device.inputs.temp_mcu_decidegc,
    "any_fault": lambda device: int(device.faults != 0),
    "tamper": _fault("TAMPER"),
    "supply_low": _fault("LOW_SUPPLY"),
    "clock_unset": lambda device: int(device.clock.quality(device.now_ms) == 0),
    "log_pending": lambda device: int(device.log.waiting > 0),
    "log_full": lambda device: int(not device.log.has_room("START")),
    "rebooted": lambda device: int(device.rebooted),
    "service_key": lambda device: int(device.inputs.service_key),
    "link_lost": lambda device: int(device.gap_ms // 1000 > device.config["cfg_comm_watchdog"]),
    "log_ack": lambda device: device.log.acked,
    "log_cursor": lambda device: device.log_cursor,
    "log_cursor_echo": lambda device: device.log_cursor,
    "log_valid": lambda device: len(device.log.window(device.log_cursor)),
    "log_records": lambda device: b"".join(device.log.window(device.log_cursor)),
    "res_token": lambda device: device.last_result.token,
    "res_code": lambda device: device.last_result.code,
    "res_detail": lambda device: device.last_result.detail,
    "res_session": lambda device: device.last_result.subject_id,
    "res_grant": lambda device: device.last_result.subject_id,
    "res_pulses": lambda device: device.last_result.pulses,
    "res_passages": lambda device: device.last_result.pulses,
    "res_snap_seq": lambda device: device.last_result.snap_seq,
}


#: enumerations by label, turned round once per map; the map is kept so that its id stays its own
_CODES: dict[tuple[int, str], tuple[RegisterMap, dict[str, int]]] = {}


def code(register_map: RegisterMap, enum: str, label: str) -> int:
    """Return the number of a label."""
    known = _CODES.get((id(register_map), enum))
    if known is None:
        codes = {name: number for number, name in register_map.enums[enum].items()}
        known = _CODES[id(register_map), enum] = (register_map, codes)
    return known[1][label]


def _coil(name: str) -> Getter:
    return lambda device: int(device.coils[name])


def _mail(prefix: str, name: str) -> Getter:
    return lambda device: device.mailboxes[prefix].values(device.now_ms)[name]


def _mailbox(prefix: str, name: str) -> Getter:
    return lambda device: int(getattr(device.mailboxes[prefix], name))


def _config(name: str) -> Getter:
    return lambda device: device.config[name]


def _io(point: Point) -> Getter:
    nothing: Raw = b"" if point.type in ("str", "raw") else 0
    return lambda device: device.io.get(point.name, nothing)


def _getter(kind: "type[Device]", point: Point) -> Getter:
    name = point.name
    prefix, _, field = name.rpartition("_")
    if name in kind.own_getters:
        return kind.own_getters[name]
    if point.persist:
        return _config(name)
    if point.block == "coils":
        return _coil(name)
    if point.block in kind.mailbox_prefixes:
        return _mail(point.block, name.removeprefix(point.block + "_"))
    if prefix in kind.mailbox_prefixes and field in ("pending", "seq"):
        return _mailbox(prefix, field)
    return _COMMON.get(name) or _io(point)


#: tables that were made, by kind and map; the map is kept so that its id stays its own
_MADE: dict[tuple[type, int], tuple[RegisterMap, dict[str, Getter]]] = {}


def getters(kind: "type[Device]", register_map: RegisterMap) -> dict[str, Getter]:
    """Return how each point of a map gets its value on this kind of device; made once."""
    made = _MADE.get((kind, id(register_map)))
    if made is None:
        table = {name: _getter(kind, point) for name, point in register_map.points.items()}
        made = _MADE[kind, id(register_map)] = (register_map, table)
    return made[1]
