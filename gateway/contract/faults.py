"""Faults: the world misbehaves. Each is raised and cleared by event, never inferred from silence."""

from enum import StrEnum


class FaultCode(StrEnum):
    """Every fault a gateway reports. The first block mirrors the fault bits of HWO-1 (`hardware/register_maps`)."""

    STUCK_OPEN = "stuck_open"
    STUCK_CLOSED = "stuck_closed"
    LEAK_CLOSED = "leak_closed"
    NO_FLOW = "no_flow"
    OVER_TEMP = "over_temp"
    TEMP_SENSOR = "temp_sensor"
    FLOW_SENSOR = "flow_sensor"
    REVERSE_FLOW = "reverse_flow"
    TAMPER = "tamper"
    LOW_SUPPLY = "low_supply"
    LOW_BACKUP = "low_backup"
    NVM_CRC = "nvm_crc"
    LOG_FULL = "log_full"
    CLOCK_UNSET = "clock_unset"
    COMM_TIMEOUT = "comm_timeout"
    LEASE_EXPIRED = "lease_expired"
    BURST_FLOW = "burst_flow"
    FREEZE = "freeze"
    READER_OFFLINE = "reader_offline"
    CAL_INVALID = "cal_invalid"
    # reported by the gateway about a device or itself
    DEVICE_SILENT = "device_silent"
    DEVICE_UNKNOWN = "device_unknown"
    DEVICE_MISMATCH = "device_mismatch"
    REGISTER_GAP = "register_gap"
    CLOCK_SKEW = "clock_skew"
    JOURNAL_FULL = "journal_full"
    #: rows of its file were damaged and set aside: records or memory may be missing
    STORE_DAMAGED = "store_damaged"
    # reported by an access reader
    DOOR_FORCED = "door_forced"
    DOOR_HELD = "door_held"


#: Faults during which an outlet must not be opened.
BLOCKING: frozenset[FaultCode] = frozenset(
    {
        FaultCode.STUCK_OPEN,
        FaultCode.STUCK_CLOSED,
        FaultCode.LEAK_CLOSED,
        FaultCode.TEMP_SENSOR,
        FaultCode.FLOW_SENSOR,
        FaultCode.TAMPER,
        FaultCode.LOW_BACKUP,
        FaultCode.NVM_CRC,
        FaultCode.LOG_FULL,
        FaultCode.FREEZE,
        FaultCode.CAL_INVALID,
        FaultCode.DEVICE_SILENT,
        FaultCode.DEVICE_UNKNOWN,
        FaultCode.DEVICE_MISMATCH,
        FaultCode.JOURNAL_FULL,
        FaultCode.CLOCK_SKEW,
    }
)

#: Faults that may pass by themselves, so that trying again later is sensible advice.
RETRYABLE: frozenset[FaultCode] = frozenset(
    {
        FaultCode.NO_FLOW,
        FaultCode.OVER_TEMP,
        FaultCode.LOW_SUPPLY,
        FaultCode.LOG_FULL,
        FaultCode.COMM_TIMEOUT,
        FaultCode.LEASE_EXPIRED,
        FaultCode.DEVICE_SILENT,
        FaultCode.READER_OFFLINE,
        FaultCode.CLOCK_SKEW,
        FaultCode.JOURNAL_FULL,
    }
)
