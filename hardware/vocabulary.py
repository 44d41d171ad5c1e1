"""The words a register map may use: tables, types, units, roles, function codes, dead-man classes."""

from collections.abc import Mapping
from fractions import Fraction

SCHEMA = "campustap-regmap/1"
TABLES: frozenset[str] = frozenset({"input", "holding", "discrete", "coil"})
ACCESSES: frozenset[str] = frozenset({"r", "w", "rw", "w1c"})
ORDERS: frozenset[str] = frozenset({"big", "little"})
#: what one request can read and write
WORDS_MAX = 125
WRITE_WORDS_MAX = 123
BITS_MAX = 2000
#: a power of ten beyond this is no measurement
EXPONENT_MAX = 18
#: a pulse or a watchdog of an hour and more keeps no valve from running on
RUN_ON_MS_MAX = 3_600_000 - 1
#: pulses per litre: one pulse in a cubic metre, and one in a microlitre
K_FACTOR_MIN, K_FACTOR_MAX = Fraction(1, 1_000), Fraction(1_000_000)
UNIT_ID_MAX = 247
WAIT_MS_MAX = 60_000
MAILBOXES: frozenset[str] = frozenset({"seq", "flag", "level"})
#: where a golden vector comes from: printed in the maker's document, or computed from the type the document states
ORIGINS: frozenset[str] = frozenset({"document", "computed"})

#: words each fixed-size type takes; `bit` takes one address of a bit table, `str` and `raw` follow their length, and a
#: `sum` takes none: it is made of two other points
TYPE_WORDS: Mapping[str, int] = {
    "u16": 1,
    "i16": 1,
    "u32": 2,
    "i32": 2,
    "u64": 4,
    "i64": 4,
    "f32": 2,
    "f64": 4,
    "bcd16": 1,
    "bcd32": 2,
}
TYPES: frozenset[str] = frozenset({*TYPE_WORDS, "bit", "str", "raw", "sum"})
NUMBERS: frozenset[str] = frozenset({*TYPE_WORDS, "sum"})
UNSIGNED: frozenset[str] = frozenset({"u16", "u32", "u64"})

#: which function codes reach a table
READ_FUNCTION: Mapping[str, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
WRITE_FUNCTIONS: Mapping[str, tuple[int, ...]] = {"coil": (5, 15), "holding": (6, 16, 22, 23)}
FUNCTIONS: frozenset[int] = frozenset({*READ_FUNCTION.values(), 5, 6, 15, 16, 22, 23})

#: every unit, and what one of it is in the base unit of its kind
VOLUME_ML: Mapping[str, Fraction] = {"mL": Fraction(1), "L": Fraction(1_000), "m3": Fraction(1_000_000)}
FLOW_ML_PER_MIN: Mapping[str, Fraction] = {
    "mL/s": Fraction(60),
    "L/min": Fraction(1_000),
    "L/h": Fraction(1_000, 60),
    "m3/h": Fraction(1_000_000, 60),
}
TIME_MS: Mapping[str, Fraction] = {"ms": Fraction(1), "s": Fraction(1_000), "min": Fraction(60_000)}
UNITS: frozenset[str] = frozenset(
    {*VOLUME_ML, *FLOW_ML_PER_MIN, *TIME_MS}
    | set("pulse pulse/L degC K kPa W kW Wh kWh MWh MJ GJ V mV Hz us ppm % m/s baud/100 unix_s".split())  # noqa: SIM905
)

ROLES: frozenset[str] = frozenset(
    "identity serial device_uid firmware k_factor snapshot_begin snapshot_end state close_reason faults link_age"  # noqa: SIM905
    " boot_id session_id session_pulses session_volume session_elapsed pulses_total volume_total volume_reverse"
    " pulses_reverse flow temp_out temp_in pressure lease_left valve_state valve_cmd valve_pulse watchdog safe_state"
    " credit_volume mailbox_seq mailbox_ack mailbox_source card_uid card_new log_head log_ack log_cursor log_records"
    " clock clock_quality command_token command_commit result_token result_code grant_id grant_left passages_in"
    " passages_out".split()
) | frozenset(f"relay_{number}" for number in range(1, 17))

#: the kinds of unit a role needs
ROLE_UNITS: Mapping[str, Mapping[str, Fraction] | frozenset[str]] = {
    "volume_total": VOLUME_ML,
    "volume_reverse": VOLUME_ML,
    "session_volume": VOLUME_ML,
    "credit_volume": VOLUME_ML,
    "flow": FLOW_ML_PER_MIN,
    "valve_pulse": TIME_MS,
    "watchdog": TIME_MS,
    "temp_out": frozenset({"degC"}),
    "temp_in": frozenset({"degC"}),
    "pressure": frozenset({"kPa"}),
}

#: dead-man classes, safest first, and how much may run on when the gateway dies
DEADMAN_BOUND: Mapping[str, str] = {
    "lease": "what is left of the limit, or what flows in one lease",
    "device_credit": "the volume that was authorized",
    "one_shot": "what flows in one pulse",
    "poll_watchdog": "what flows until the watchdog has run out and the valve has closed",
    "none": "without bound, so nothing is opened",
}
DEADMAN: frozenset[str] = frozenset(DEADMAN_BOUND)

#: what a valve with an enum is told: the first pair of labels, open and closed, that the enum has
SWITCH_LABELS: tuple[tuple[str, str], ...] = (("OPEN", "CLOSED"), ("ON", "OFF"))
#: what a valve with an enum shows when no water runs; any other label is an open valve
CLOSED_LABELS: frozenset[str] = frozenset({"CLOSED", "OFF"})
#: what the gateway writes a value to; clearing ones there would do something else
WRITTEN_ROLES: frozenset[str] = frozenset({"valve_cmd", "valve_pulse", "watchdog", "safe_state", "credit_volume"})

BUS_KEYS: frozenset[str] = frozenset(
    "baud framing timeout_ms turnaround_ms max_read max_write gap broadcast functions unit".split()  # noqa: SIM905
)
CAPS_KEYS: frozenset[str] = frozenset(
    "deadman cutoff log log_layout log_records_max mailbox mailboxes commit_xor cfg_unlock close_reason_in"  # noqa: SIM905
    " close_reasons clock_in k_factor pulse_ms_max watchdog_ms".split()
)
