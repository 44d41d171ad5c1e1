"""
The outlet's rules as values: which command is allowed in which state, and what closes an open valve.

In prose: a session starts only from IDLE. A paused session goes on by OPEN with the same session id. CLOSE works on the
running session, and repeats harmlessly on the one just ended. Whatever the table lacks is refused.
"""

from dataclasses import dataclass

#: state → opcodes that may act in it; everything else is refused with `refusal`
ALLOWED: dict[str, frozenset[str]] = {
    "BOOT": frozenset({"SET_CLOCK", "IDENTIFY"}),
    "IDLE": frozenset({"OPEN", "CLOSE", "CLEAR_FAULT", "SELF_TEST", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
    "ARMED": frozenset({"CLOSE", "EXTEND", "PAUSE", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
    "DISPENSING": frozenset({"CLOSE", "EXTEND", "PAUSE", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
    "PAUSED": frozenset({"OPEN", "CLOSE", "EXTEND", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
    "CLOSING": frozenset({"CLOSE", "SET_CLOCK", "IDENTIFY"}),
    "LOCKED": frozenset({"CLOSE", "CLEAR_FAULT", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
    "SERVICE": frozenset({"CLEAR_FAULT", "SELF_TEST", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
}

#: faults during which the valve does not open
BLOCKING = (
    "STUCK_OPEN",
    "STUCK_CLOSED",
    "LEAK_CLOSED",
    "OVER_TEMP",
    "TEMP_SENSOR",
    "FLOW_SENSOR",
    "TAMPER",
    "LOW_BACKUP",
    "NVM_CRC",
    "FREEZE",
    "CAL_INVALID",
)

#: faults that CLEAR_FAULT lets go when their cause has gone
CLEARABLE = (
    "STUCK_OPEN",
    "STUCK_CLOSED",
    "LEAK_CLOSED",
    "NO_FLOW",
    "REVERSE_FLOW",
    "TAMPER",
    "NVM_CRC",
    "LEASE_EXPIRED",
    "BURST_FLOW",
    "FREEZE",
    "CAL_INVALID",
)

LEASE_S_MAX = 600
IDLE_S_MAX = 600
TEMP_MAX_DECIDEGC = 600


def refusal(state: str, opcode: str) -> str | None:
    """Return the result label that refuses this opcode in this state, or None when it may act."""
    if opcode in ALLOWED[state]:
        return None
    if opcode == "OPEN" and state in ("ARMED", "DISPENSING", "CLOSING"):
        return "BUSY"
    if opcode == "OPEN" and state == "LOCKED":
        return "FAULTED"
    return "BAD_STATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a session may use, absolute from its opening."""

    volume_ml: int
    time_ms: int
    lease_ms: int
    idle_ms: int
    temp_decidegc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a session has used, and since when nothing has happened."""

    volume_ml: int
    elapsed_ms: int
    since_lease_ms: int
    since_flow_ms: int
    since_frame_ms: int
    too_hot_ms: int
    burst_ms: int
    fault: bool
    paused: bool


def closing_reason(
    *, limits: Limits, use: Use, watchdog_ms: int, max_session_ms: int, temp_hold_ms: int, burst_hold_ms: int
) -> str | None:
    """Return why the valve must close now, most dangerous first, or None to stay open."""
    if use.too_hot_ms >= temp_hold_ms:
        return "SCALD"
    if use.fault:
        return "FAULT"
    if use.burst_ms >= burst_hold_ms:
        return "LEAK"
    if use.volume_ml >= limits.volume_ml:
        return "VOLUME_LIMIT"
    if use.elapsed_ms >= min(limits.time_ms, max_session_ms):
        return "TIME_LIMIT"
    if use.since_lease_ms >= limits.lease_ms:
        return "LEASE"
    if use.since_frame_ms >= watchdog_ms:
        return "COMM_WATCHDOG"
    if not use.paused and use.since_flow_ms >= limits.idle_ms:
        return "NO_FLOW"
    return None


def bad_limit(
    *, volume_ml: int, time_s: int, lease_s: int, idle_s: int, temp: int, volume_max: int, time_max: int
) -> int:
    """Return which limit of an OPEN is out of bounds (1 volume, 2 time, 3 lease, 4 idle, 5 temperature), or 0."""
    checks = (
        0 < volume_ml <= volume_max,
        0 < time_s <= time_max,
        0 < lease_s <= LEASE_S_MAX,
        0 <= idle_s <= IDLE_S_MAX,
        temp == 0 or 200 <= temp <= TEMP_MAX_DECIDEGC,
    )
    return next((number for number, good in enumerate(checks, start=1) if not good), 0)
