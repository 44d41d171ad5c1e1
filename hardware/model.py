"""What a register map says, as frozen values. Addresses are 0-based; lengths of `str` and `raw` are bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

Table = Literal["input", "holding", "discrete", "coil"]
Access = Literal["r", "w", "rw", "w1c"]
Order = Literal["big", "little"]

SCHEMA = "campustap-regmap/1"
TABLES: frozenset[str] = frozenset({"input", "holding", "discrete", "coil"})
ACCESSES: frozenset[str] = frozenset({"r", "w", "rw", "w1c"})
ORDERS: frozenset[str] = frozenset({"big", "little"})

#: words each fixed-size type takes; `bit` takes one address of a bit table, `str` and `raw` follow their length
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
TYPES: frozenset[str] = frozenset({*TYPE_WORDS, "bit", "str", "raw"})

UNITS: frozenset[str] = frozenset(
    {
        "pulse",
        "pulse/L",
        "mL",
        "L",
        "L/min",
        "m3",
        "m3/h",
        "degC",
        "kPa",
        "Wh",
        "V",
        "mV",
        "Hz",
        "s",
        "ms",
        "us",
        "ppm",
        "%",
        "baud/100",
        "unix_s",
    }
)

ROLES: frozenset[str] = frozenset(
    {
        "identity",
        "serial",
        "device_uid",
        "k_factor",
        "snapshot_begin",
        "snapshot_end",
        "state",
        "close_reason",
        "faults",
        "link_age",
        "boot_id",
        "session_id",
        "session_pulses",
        "session_volume",
        "session_elapsed",
        "pulses_total",
        "volume_total",
        "pulses_reverse",
        "flow",
        "temp_out",
        "temp_in",
        "pressure",
        "lease_left",
        "valve_state",
        "valve_cmd",
        "credit_volume",
        "mailbox_seq",
        "mailbox_ack",
        "mailbox_source",
        "card_uid",
        "card_new",
        "log_head",
        "log_ack",
        "log_cursor",
        "log_records",
        "clock",
        "clock_quality",
        "command_token",
        "command_commit",
        "result_token",
        "result_code",
        "grant_id",
        "grant_left",
        "passages_in",
        "passages_out",
        *(f"relay_{number}" for number in range(1, 17)),
    }
)


class MapError(Exception):
    """A register map file is wrong; names the file, the place in it and the reason."""

    def __init__(self, file: str, where: str, reason: str) -> None:
        super().__init__(f"{file}: {where}: {reason}")
        self.file = file
        self.where = where
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One named value of a device. `scale` turns the raw integer into `unit`."""

    name: str
    #: id of the block (or layout) it belongs to
    block: str
    table: Table
    address: int
    #: registers it covers, or 1 address of a bit table
    words: int
    type: str
    scale: Fraction = Fraction(1)
    unit: str = ""
    #: raw value that means "no value"
    nan: int | None = None
    #: name in `RegisterMap.enums`
    enum: str | None = None
    #: name in `RegisterMap.bits`
    bits: str | None = None
    role: str | None = None
    #: bytes of a `str` or `raw`, else 0
    length: int = 0
    access: Access = "r"
    word_order: Order = "big"
    byte_order: Order = "big"
    mask: int | None = None
    shift: int = 0
    min: int | None = None
    max: int | None = None
    default: int | None = None
    persist: bool = False
    #: name of the point that holds the power of ten
    sf: str | None = None
    #: name of the point that holds the unit code
    unit_from: str | None = None
    #: names of the integer and the fraction point this one is made of
    combine: tuple[str, str] | None = None
    #: the only write function code the device accepts, when it accepts just one
    fc: int | None = None
    fw_min: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Points that are read or written together. `words` spans first to last address, at most 125."""

    id: str
    table: Table
    address: int
    words: int
    #: poll class, a key of `RegisterMap.poll`; None when nothing polls it
    poll: str | None
    #: name of the point whose value must equal `snapshot_end`, for reads longer than one PDU
    sync: str | None
    #: `all_or_nothing` when the device accepts the block only as one write of all of it
    write: str | None
    points: tuple[Point, ...]

    def point(self, name: str) -> Point:
        """Return the point of that name, or raise KeyError."""
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The identity probe: this device answers with these words at this place."""

    table: Table
    address: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """Golden bytes of one point and what they mean; `value` None means the point's nan."""

    point: str
    raw: bytes
    value: Fraction | str | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterMap:
    """One device model. Blocks are ordered as in the file; names of points are unique in the whole map."""

    map_id: str
    title: str
    version: str
    #: default word and byte order: {"word": "big", "byte": "big", "string": 2}
    order: Mapping[str, Any]
    bus: Mapping[str, Any]
    caps: Mapping[str, Any]
    match: Match
    enums: Mapping[str, Mapping[int, str]]
    #: bit names, index = bit number
    bits: Mapping[str, tuple[str, ...]]
    poll: Mapping[str, Mapping[str, Any]]
    blocks: tuple[Block, ...]
    points: Mapping[str, Point]
    #: record formats carried inside a raw point, addressed from word 0 (for example the event log record)
    layouts: Mapping[str, Block]
    vectors: tuple[Vector, ...]
    source: tuple[Mapping[str, Any], ...]
    #: CRC-16/MODBUS of the canonical form of blocks and layouts; a device reports the one it was built from
    crc: int

    def block(self, block_id: str) -> Block:
        """Return the block of that id, or raise KeyError."""
        for block in self.blocks:
            if block.id == block_id:
                return block
        raise KeyError(block_id)

    def by_role(self, role: str) -> Point | None:
        """Return the first point with that role, or None when the device has none."""
        return next((point for point in self.points.values() if point.role == role), None)

    def code(self, enum: str, label: str) -> int:
        """Return the number that `label` has in an enum, or raise KeyError."""
        for number, name in self.enums[enum].items():
            if name == label:
                return number
        raise KeyError(f"{enum}.{label}")
