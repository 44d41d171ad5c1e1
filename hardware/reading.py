"""Turn a parsed register map file into values, refusing at the first thing that is wrong, with place and reason."""

import itertools
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NoReturn, cast

from hardware import vectors as golden
from hardware.model import (
    ACCESSES,
    ORDERS,
    ROLES,
    SCHEMA,
    TABLES,
    TYPE_WORDS,
    TYPES,
    UNITS,
    Access,
    Block,
    MapError,
    Match,
    Order,
    Point,
    RegisterMap,
    Table,
    Vector,
)

WORDS_MAX = 125
BITS_MAX = 2000

_TOP = frozenset(
    "schema id title version source bus order match caps enums bits poll blocks layouts vectors".split()  # noqa: SIM905
)
_REQUIRED = ("id", "title", "version", "source", "bus", "order", "match", "caps", "blocks", "vectors")
_POINT_KEYS = frozenset(
    "n t off len scale unit nan enum bits role a word byte mask shift min max default persist sf unit_from combine fc"  # noqa: SIM905
    " fw_min".split()
)
_BLOCK_KEYS = frozenset({"id", "table", "at", "poll", "sync", "write", "points"})


class Reader:
    """Reads one document; every complaint goes through `fail` and so names the file."""

    def __init__(self, file: str, document: Mapping[str, Any]) -> None:
        self.file = file
        self.document = document
        self.enums: dict[str, Mapping[int, str]] = {}
        self.bits: dict[str, tuple[str, ...]] = {}

    def fail(self, where: str, reason: str) -> NoReturn:
        raise MapError(self.file, where, reason)

    def one_of(self, where: str, value: Any, allowed: frozenset[str], what: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            self.fail(where, f"unknown {what} {value!r}")
        return value

    def only_keys(self, where: str, table: Mapping[str, Any], allowed: frozenset[str]) -> None:
        for key in table:
            if key not in allowed:
                self.fail(where, f"unknown key {key!r}")

    def integer(self, where: str, table: Mapping[str, Any], key: str, default: int | None = None) -> int:
        value = table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            self.fail(where, f"{key} must be an integer, not {value!r}")
        return value

    def optional_integer(self, where: str, table: Mapping[str, Any], key: str) -> int | None:
        return self.integer(where, table, key) if key in table else None

    def read(self, *, expected_id: str) -> RegisterMap:
        document = self.document
        if document.get("schema") != SCHEMA:
            self.fail("schema", f"must be {SCHEMA!r}, not {document.get('schema')!r}")
        self.only_keys("file", document, _TOP)
        for key in _REQUIRED:
            if key not in document:
                self.fail("file", f"{key} is missing")
        if document["id"] != expected_id:
            self.fail("id", f"{document['id']!r} is not the file's name")
        for name, members in document.get("enums", {}).items():
            self.enums[name] = MappingProxyType(self._enum(name, members))
        for name, names in document.get("bits", {}).items():
            if len(set(names)) != len(names):
                self.fail(f"bits.{name}", "a bit name appears twice")
            self.bits[name] = tuple(names)
        blocks = tuple(self._block(raw, "blocks") for raw in document["blocks"])
        layouts = {raw["id"]: self._block(raw, "layouts") for raw in document.get("layouts", ())}
        points = self._index(blocks)
        self._check_references(points)
        self._check_blocks(blocks)
        return RegisterMap(
            map_id=document["id"],
            title=document["title"],
            version=document["version"],
            order=MappingProxyType(dict(document["order"])),
            bus=MappingProxyType(dict(document["bus"])),
            caps=MappingProxyType(dict(document["caps"])),
            match=self._match(document["match"]),
            enums=MappingProxyType(self.enums),
            bits=MappingProxyType(self.bits),
            poll=MappingProxyType(dict(document.get("poll", {}))),
            blocks=blocks,
            points=MappingProxyType(points),
            layouts=MappingProxyType(layouts),
            vectors=self._vectors(document["vectors"], points, layouts),
            source=tuple(document["source"]),
            crc=_canonical_crc((*blocks, *layouts.values())),
        )

    def _enum(self, name: str, members: Mapping[str, Any]) -> dict[int, str]:
        result: dict[int, str] = {}
        for key, label in members.items():
            if not key.isdigit() or not isinstance(label, str):
                self.fail(f"enums.{name}", f"{key} = {label!r} is not a number with a name")
            result[int(key)] = label
        if len(set(result.values())) != len(result):
            self.fail(f"enums.{name}", "a label appears twice")
        return result

    def _match(self, raw: Mapping[str, Any]) -> Match:
        words = tuple(raw.get("words", ()))
        if not words or not all(isinstance(word, int) and 0 <= word <= 0xFFFF for word in words):
            self.fail("match", "words must be one or more 16-bit numbers")
        table = cast(Table, self.one_of("match", raw.get("table"), TABLES, "table"))
        return Match(table=table, address=self.integer("match", raw, "address"), words=words)

    def _block(self, raw: Mapping[str, Any], kind: str) -> Block:
        where = f"{kind}.{raw.get('id', '?')}"
        self.only_keys(where, raw, _BLOCK_KEYS)
        if not isinstance(raw.get("id"), str):
            self.fail(where, "id is missing")
        table = cast(Table, self.one_of(where, raw.get("table", "input"), TABLES, "table"))
        start = self.integer(where, raw, "at", 0 if kind == "layouts" else None)
        poll = raw.get("poll")
        if poll is not None and poll not in self.document.get("poll", {}):
            self.fail(where, f"unknown poll class {poll!r}")
        if raw.get("write") not in (None, "all_or_nothing"):
            self.fail(where, f"unknown write rule {raw['write']!r}")
        points: list[Point] = []
        at = start
        for raw_point in raw.get("points", ()):
            point = self._point(raw_point, block_id=raw["id"], table=table, start=start, at=at, kind=kind)
            points.append(point)
            at = point.address + point.words
        if not points:
            self.fail(where, "a block needs points")
        self._check_overlaps(where, points)
        words = max(point.address + point.words for point in points) - start
        limit = WORDS_MAX if table in ("input", "holding") else BITS_MAX
        if words > limit:
            self.fail(where, f"{words} words, more than {limit}")
        sync = raw.get("sync")
        if sync is not None and sync not in {point.name for point in points}:
            self.fail(where, f"sync names {sync!r}, which is not in the block")
        return Block(
            id=raw["id"],
            table=table,
            address=start,
            words=words,
            poll=poll,
            sync=sync,
            write=raw.get("write"),
            points=tuple(points),
        )

    def _point(self, raw: Mapping[str, Any], *, block_id: str, table: Table, start: int, at: int, kind: str) -> Point:
        name = raw.get("n")
        where = f"{kind}.{block_id}.{name}"
        if not isinstance(name, str) or not name.isidentifier():
            self.fail(where, f"{name!r} is not a name")
        self.only_keys(where, raw, _POINT_KEYS)
        type_ = self.one_of(where, raw.get("t"), TYPES, "type")
        if (type_ == "bit") != (table in ("discrete", "coil")):
            self.fail(where, f"type {type_} does not belong in the {table} table")
        words, length = self._size(where, raw, type_)
        address = start + self.integer(where, raw, "off") if "off" in raw else at
        if not 0 <= address <= 0x10000 - words:
            self.fail(where, f"address {address} is outside the table")
        order = self.document["order"]
        mask = self.optional_integer(where, raw, "mask")
        if mask is not None and type_ not in ("u16", "u32", "u64"):
            self.fail(where, "only an unsigned number can have a mask")
        combine = raw.get("combine")
        return Point(
            name=name,
            block=block_id,
            table=table,
            address=address,
            words=words,
            type=type_,
            scale=self._scale(where, raw.get("scale", "1")),
            unit=self.one_of(where, raw["unit"], UNITS, "unit") if "unit" in raw else "",
            nan=self.optional_integer(where, raw, "nan"),
            enum=self.one_of(where, raw["enum"], frozenset(self.enums), "enum") if "enum" in raw else None,
            bits=self.one_of(where, raw["bits"], frozenset(self.bits), "bits") if "bits" in raw else None,
            role=self.one_of(where, raw["role"], ROLES, "role") if "role" in raw else None,
            length=length,
            access=cast(Access, self.one_of(where, raw.get("a", "r"), ACCESSES, "access")),
            word_order=cast(Order, self.one_of(where, raw.get("word", order.get("word")), ORDERS, "word order")),
            byte_order=cast(Order, self.one_of(where, raw.get("byte", order.get("byte")), ORDERS, "byte order")),
            mask=mask,
            shift=self.integer(where, raw, "shift", 0),
            min=self.optional_integer(where, raw, "min"),
            max=self.optional_integer(where, raw, "max"),
            default=self.optional_integer(where, raw, "default"),
            persist=bool(raw.get("persist", False)),
            sf=raw.get("sf"),
            unit_from=raw.get("unit_from"),
            combine=(combine["int"], combine["frac"]) if combine else None,
            fc=self.optional_integer(where, raw, "fc"),
            fw_min=raw.get("fw_min"),
        )

    def _size(self, where: str, raw: Mapping[str, Any], type_: str) -> tuple[int, int]:
        if type_ in ("str", "raw"):
            length = self.integer(where, raw, "len")
            if length < 1:
                self.fail(where, "len must be positive")
            per_word = self.document["order"].get("string", 2) if type_ == "str" else 2
            return -(-length // per_word), length
        if "len" in raw:
            self.fail(where, f"type {type_} has no len")
        return (1 if type_ == "bit" else TYPE_WORDS[type_]), 0

    def _scale(self, where: str, text: Any) -> Fraction:
        try:
            scale = Fraction(text)
        except (ValueError, TypeError, ZeroDivisionError):
            self.fail(where, f"scale {text!r} is not an exact fraction")
        if scale <= 0:
            self.fail(where, "scale must be positive")
        return scale

    def _check_overlaps(self, where: str, points: Sequence[Point]) -> None:
        owner: dict[int, Point] = {}
        for point in points:
            for address in range(point.address, point.address + point.words):
                other = owner.setdefault(address, point)
                if other is point:
                    continue
                if point.mask is None or other.mask is None or point.mask & other.mask:
                    self.fail(f"{where}.{point.name}", f"overlaps {other.name} at {address}")

    def _check_blocks(self, blocks: Sequence[Block]) -> None:
        by_table = sorted(blocks, key=lambda block: (block.table, block.address))
        for before, after in itertools.pairwise(by_table):
            if before.table == after.table and before.address + before.words > after.address:
                self.fail(f"blocks.{after.id}", f"overlaps block {before.id} at {after.address}")
        if len({block.id for block in blocks}) != len(blocks):
            self.fail("blocks", "a block id appears twice")

    def _index(self, blocks: Sequence[Block]) -> dict[str, Point]:
        points: dict[str, Point] = {}
        for block in blocks:
            for point in block.points:
                if point.name in points:
                    self.fail(f"blocks.{block.id}.{point.name}", f"name also used in block {points[point.name].block}")
                points[point.name] = point
        return points

    def _check_references(self, points: Mapping[str, Point]) -> None:
        for point in points.values():
            for name in (point.sf, point.unit_from, *(point.combine or ())):
                if name is not None and name not in points:
                    self.fail(f"blocks.{point.block}.{point.name}", f"refers to {name!r}, which does not exist")

    def _vectors(
        self, raws: Sequence[Mapping[str, Any]], points: Mapping[str, Point], layouts: Mapping[str, Block]
    ) -> tuple[Vector, ...]:
        in_layouts = {f"{b.id}.{p.name}": p for b in layouts.values() for p in b.points}
        vectors = []
        for number, raw in enumerate(raws):
            where = f"vectors[{number}]"
            name = raw.get("point", "")
            point = points.get(name) or in_layouts.get(name)
            if point is None:
                self.fail(where, f"unknown point {name!r}")
            try:
                data = bytes.fromhex(raw["raw"])
                value = _vector_value(raw.get("value"))
                right = golden.agrees(point, data, value)
                decoded = golden.decode(point, data)
            except (KeyError, ValueError) as error:
                raise MapError(self.file, where, f"{name}: {error}") from error
            if not right:
                self.fail(where, f"{name}: {raw['raw']} decodes to {decoded}, not {raw.get('value')}")
            vectors.append(Vector(point=name, raw=data, value=value))
        if len(vectors) < 2:
            self.fail("vectors", "at least two are needed")
        return tuple(vectors)


def _vector_value(value: Any) -> Fraction | str | bool | None:
    if value == "nan":
        return None
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int | Decimal):
        return Fraction(value)
    raise ValueError(f"value {value!r} is neither number, text, flag nor nan")


def _canonical_crc(blocks: Sequence[Block]) -> int:
    form = [
        [b.id, b.table, b.address, [[p.name, p.type, p.address, p.words, str(p.scale), p.unit] for p in b.points]]
        for b in blocks
    ]
    return golden.crc16_modbus(json.dumps(form, separators=(",", ":")).encode())
