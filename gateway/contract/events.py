"""
Events come up. Each is past tense and money-bearing or evidence, so each goes through the gateway's journal: fsync,
then send, kept until the backend acknowledges. Times are milliseconds since 1970, UTC, by the gateway's clock.
"""

from enum import StrEnum

import msgspec

from gateway.contract.faults import FaultCode


class StopReason(StrEnum):
    """Why water stopped, in the words of the device that stopped it."""

    USER = "user"  # tap closed on the device or button
    CARD = "card"  # same credential tapped again
    REMOTE = "remote"
    HANDOVER = "handover"
    REVOKED = "revoked"
    VOLUME_LIMIT = "volume_limit"
    TIME_LIMIT = "time_limit"
    NO_FLOW = "no_flow"
    LEASE = "lease"
    COMM_WATCHDOG = "comm_watchdog"
    SCALD = "scald"
    FAULT = "fault"
    POWER_LOSS = "power_loss"
    REBOOT = "reboot"
    GATEWAY_RESTART = "gateway_restart"
    #: the opening never happened after all: no register moved
    NOT_OPENED = "not_opened"


class RefusalCode(StrEnum):
    """Why a gateway did not do what a command says."""

    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    WRONG_AUDIENCE = "wrong_audience"
    UNKNOWN_DEVICE = "unknown_device"
    EXPIRED = "expired"
    RETAINED = "retained"
    CLOCK_SKEW = "clock_skew"
    STALE_SEQUENCE = "stale_sequence"
    MALFORMED = "malformed"
    BUSY = "busy"
    DEVICE_FAULT = "device_fault"
    DEVICE_SILENT = "device_silent"
    DEVICE_REFUSED = "device_refused"
    UNSAFE_DEVICE = "unsafe_device"
    JOURNAL_FULL = "journal_full"


class ValveOpened(msgspec.Struct, frozen=True, tag="valve_opened", kw_only=True):
    """An outlet was read back open for a session."""

    event_id: str
    at_ms: int
    device: str
    water_session_id: str
    cmd_id: str
    opening_pulses: int
    k_factor_pulses_per_m3: int


class WaterSessionEnded(msgspec.Struct, frozen=True, tag="water_session_ended", kw_only=True):
    """An outlet closed. The register pair and the K-factor are the bill's evidence."""

    event_id: str
    at_ms: int
    device: str
    water_session_id: str
    stop_reason: StopReason
    opening_pulses: int
    closing_pulses: int
    k_factor_pulses_per_m3: int
    #: mean outlet temperature at the end, tenths of a degree; None when the sensor failed
    temperature_decidegc: int | None = None
    duration_s: int = 0
    #: sequence of the END record in the device's own log; None when settled from the register alone
    device_log_sequence: int | None = None
    device_boot_id: int = 0
    #: `device_log` or `register_continuity`
    evidence: str = "device_log"


class CommandRefused(msgspec.Struct, frozen=True, tag="command_refused", kw_only=True):
    """A command was not carried out and never will be. Ids are empty when the command could not be read."""

    event_id: str
    at_ms: int
    code: RefusalCode
    cmd_id: str = ""
    device: str = ""
    #: session or passage the command was about
    subject_id: str = ""
    detail: str = ""


class FaultRaised(msgspec.Struct, frozen=True, tag="fault_raised", kw_only=True):
    """A fault began. `device` is empty when it is the gateway's own."""

    event_id: str
    at_ms: int
    fault: FaultCode
    device: str = ""
    detail: str = ""


class FaultCleared(msgspec.Struct, frozen=True, tag="fault_cleared", kw_only=True):
    """A fault ended."""

    event_id: str
    at_ms: int
    fault: FaultCode
    device: str = ""


class MeterRead(msgspec.Struct, frozen=True, tag="meter_read", kw_only=True):
    """A register was read between sessions: at boot, on a schedule, or because it moved while closed."""

    event_id: str
    at_ms: int
    device: str
    register_pulses: int
    k_factor_pulses_per_m3: int
    device_boot_id: int
    #: `boot`, `scheduled` or `unbilled_flow`
    cause: str = "scheduled"


class PassageCounted(msgspec.Struct, frozen=True, tag="passage_counted", kw_only=True):
    """Someone went through, or did not: what the door saw, after a grant or without one."""

    event_id: str
    at_ms: int
    device: str
    #: empty when the passage had no grant of ours (forced, fire release)
    passage_id: str
    #: `in` or `out`
    direction: str
    #: `passed`, `timeout`, `forced`, `tailgate` or `fire_free`
    outcome: str = "passed"
    device_log_sequence: int | None = None


Event = ValveOpened | WaterSessionEnded | CommandRefused | FaultRaised | FaultCleared | MeterRead | PassageCounted


class JournalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    One journal entry: what is signed by the gateway's key and chained to the entry before.

    Deduplicated on (gateway, epoch, sequence). `previous_sha256` is the hex digest of the previous record's payload
    bytes as sent, and 64 zeros for the first of an epoch.
    """

    tenant: str
    gateway: str
    #: a new one for each new journal file; the backend keeps a cursor per epoch
    epoch: str
    sequence: int
    previous_sha256: str
    event: Event
