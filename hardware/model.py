"""What a register map says, as frozen values. Addresses are 0-based; lengths of `str` and `raw` are bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

Table = Literal["input", "holding", "discrete", "coil"]
Access = Literal["r", "w", "rw", "w1c"]
Order = Literal["big", "little"]


class MapError(Exception):
    """A register map file is wrong; names the file, the line, the place in it, the reason and what to write instead."""

    def __init__(self, file: str, where: str, reason: str, *, hint: str = "", line: int | None = None) -> None:
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {where}: {reason}" + (f"; {hint}" if hint else ""))
        self.file = file
        self.where = where
        self.reason = reason
        self.hint = hint
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One named value of a device. `scale` turns the raw integer into `unit`."""

    name: str
    #: id of the block (or layout) it belongs to
    block: str
    table: Table
    address: int
    #: registers it covers, 1 address of a bit table, or 0 for a `sum`
    words: int
    type: str
    scale: Fraction = Fraction(1)
    unit: str = ""
    #: raw value that means "no value"; of a float, its bits as an integer
    nan: int | None = None
    #: further raw values that mean "no value"
    nan_also: tuple[int, ...] = ()
    #: name in `RegisterMap.enums`
    enum: str | None = None
    #: name in `RegisterMap.bits`
    bits: str | None = None
    role: str | None = None
    #: bytes of a `str` or `raw`, else 0
    length: int = 0
    #: characters a register of a `str` holds: 2, or 1 in its low byte
    chars: int = 2
    access: Access = "r"
    word_order: Order = "big"
    byte_order: Order = "big"
    mask: int | None = None
    shift: int = 0
    min: int | None = None
    max: int | None = None
    default: int | None = None
    persist: bool = False
    #: name of the point that holds the power of ten, and what is added to it
    sf: str | None = None
    sf_add: int = 0
    #: name of the point that holds the unit code, and of the table in `RegisterMap.unit_codes` that explains it
    unit_from: str | None = None
    units: str | None = None
    #: names of the integer and the fraction point this one is made of
    combine: tuple[str, str] | None = None
    #: the only write function code the device accepts, when it accepts just one
    fc: int | None = None
    fw_min: str | None = None
    #: raw values of a switch that are not 1 and 0
    on: int = 1
    off: int = 0
    #: what to write to clear a flag once it has been read
    clear: int | None = None

    @property
    def readable(self) -> bool:
        """Whether reading its address gives this value."""
        return self.access != "w"

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the points without which it has no meaning."""
        return tuple(name for name in (self.sf, self.unit_from, *(self.combine or ())) if name is not None)


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
    #: whether its values belong together only when read in one PDU
    atomic: bool = False

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
class UnitCode:
    """One code of a unit register: the unit's name, and what one of it is in the unit of the points that use it."""

    name: str
    factor: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """Golden bytes of one point and what they mean; `value` None means the point's nan."""

    point: str
    raw: bytes
    value: Fraction | str | bool | None
    #: values of the points it depends on, by name
    given: Mapping[str, int]
    #: `document` or `computed`
    origin: str


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
    #: None when the device has nothing that says what it is
    match: Match | None
    enums: Mapping[str, Mapping[int, str]]
    #: bit names, index = bit number
    bits: Mapping[str, tuple[str, ...]]
    unit_codes: Mapping[str, Mapping[int, UnitCode]]
    poll: Mapping[str, Mapping[str, Any]]
    blocks: tuple[Block, ...]
    points: Mapping[str, Point]
    #: record formats carried inside a raw point, addressed from word 0 (for example the event log record)
    layouts: Mapping[str, Block]
    vectors: tuple[Vector, ...]
    source: tuple[Mapping[str, Any], ...]
    #: what has been done with it so far, for `hardware/drivers.md`
    status: Mapping[str, str]
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

    @property
    def deadman(self) -> str:
        """The dead-man class."""
        return str(self.caps["deadman"])

    @property
    def functions(self) -> frozenset[int] | None:
        """The function codes the device knows, or None when its maker names no limit."""
        given = self.bus.get("functions")
        return None if given is None else frozenset(given)

    @property
    def k_factor_pulses_per_m3(self) -> int:
        """The K-factor the map itself states, 0 when it states none."""
        return int(Fraction(str(self.caps.get("k_factor", 0))) * 1_000)
