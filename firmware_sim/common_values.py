"""The raw values of the points that every device has."""

from typing import TYPE_CHECKING

from firmware_sim.codec import Raw
from firmware_sim.event_log import CAPACITY, RECORD_WORDS

if TYPE_CHECKING:
    from firmware_sim.device import Device

PROFILE_VERSION = 0x0100
#: both readers' hardware, a display and a backup battery
CAPABILITIES = 0b11010


def common_value(device: "Device", name: str) -> Raw:
    """Return the raw value of a point that every device has; what nobody set is zero."""
    probe = device.map.match
    assert probe is not None, "a device of ours says who it is"
    match name:
        case "magic":
            return probe.words[0] << 16 | probe.words[1]
        case "profile_id":
            return probe.words[2]
        case "profile_ver":
            return PROFILE_VERSION
        case "map_crc":
            return device.map.crc
        case "vendor":
            return "CampusTap"
        case "model":
            return device.identity.model
        case "serial":
            return device.identity.serial
        case "device_uid":
            return device.identity.device_uid
        case "fw":
            return "1.0.0"
        case "log_capacity":
            return CAPACITY
        case "log_words":
            return RECORD_WORDS
        case "hw_rev":
            return 1
        case "cap_bits":
            return CAPABILITIES
        case "cfg_seq":
            return device.config_seq
        case "snap_seq" | "snap_end":
            return device.snap
        case "faults":
            return device.faults
        case "link_age":
            return device.link_age_s()
        case "log_head" | "log_window_head":
            return device.log.head
        case "boot_id":
            return device.boot_id
        case "unix_time":
            return device.unix_ms() // 1000 & 0xFFFFFFFF
        case "clock_quality":
            return device.clock.quality(device.now_ms)
        case "uptime":
            return (device.now_ms - device.booted_at_ms) // 1000 & 0xFFFFFFFF
        case "rx_frames":
            return device.frames & 0xFFFFFFFF
        case "v_supply":
            return 24_000
        case "v_backup":
            return 3_300
        case "temp_mcu":
            return 310
        case "any_fault":
            return int(device.faults != 0)
        case "tamper":
            return int(bool(device.faults & device.fault_bit("TAMPER")))
        case "supply_low":
            return int(bool(device.faults & device.fault_bit("LOW_SUPPLY")))
        case "clock_unset":
            return int(device.clock.quality(device.now_ms) == 0)
        case "log_pending":
            return int(device.log.waiting > 0)
        case "log_full":
            return int(not device.log.has_room("START"))
        case "rebooted":
            return int(device.rebooted)
        case "link_lost":
            return int(device.link_age_s() > device.config["cfg_comm_watchdog"])
        case "log_ack":
            return device.log.acked
        case "log_cursor" | "log_cursor_echo":
            return device.log_cursor
        case "log_valid":
            return len(device.log.window(device.log_cursor))
        case "log_records":
            return b"".join(device.log.window(device.log_cursor))
        case "res_token":
            return device.last_result.token
        case "res_code":
            return device.last_result.code
        case "res_detail":
            return device.last_result.detail
        case "res_session" | "res_grant":
            return device.last_result.subject_id
        case "res_pulses" | "res_passages":
            return device.last_result.pulses
        case "res_snap_seq":
            return device.last_result.snap_seq
    kept = device.io.get(name)
    if kept is not None:
        return kept
    return b"" if device.map.points[name].type in ("str", "raw") else 0
