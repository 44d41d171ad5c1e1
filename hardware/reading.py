"""Turn one parsed TOML document into a `RegisterMap`, or say what is wrong with it and where."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from hardware.checks import check_map, check_point
from hardware.document import Document
from hardware.golden import read_vectors
from hardware.heading import Heading
from hardware.model import Access, Block, Order, Point, RegisterMap, Table, Vector
from hardware.numbers import check_numbers
from hardware.valve_checks import check_valves
from hardware.vectors import crc16_modbus
from hardware.vocabulary import (
    ACCESSES,
    BITS_MAX,
    ORDERS,
    ROLES,
    SCHEMA,
    TABLES,
    TYPE_WORDS,
    TYPES,
    UNITS,
    WORDS_MAX,
)

_TOP = frozenset(
    "schema id title version source bus order match caps enums bits unit_codes poll blocks layouts vectors"  # noqa: SIM905
    " status".split()
)
_REQUIRED = ("id", "title", "version", "source", "bus", "order", "caps", "blocks", "vectors")
_POINT_KEYS = frozenset(
    "n t off at len scale unit nan enum bits role a word byte mask shift min max default persist sf sf_add unit_from"  # noqa: SIM905
    " units combine fc fw_min on_value off_value clear".split()
)
_BLOCK_KEYS = frozenset({"id", "table", "at", "poll", "sync", "write", "points", "atomic", "fw_min"})
_FIRMWARE = re.compile(r"\d+(\.\d+)*")


class Reader:
    """Reads one document; `read` gives the map."""

    def __init__(self, file: str, text: str, top: Mapping[str, Any]) -> None:
        self.doc = Document(file, text, top)
        self.heading: Heading

    def read(self, *, expected_id: str) -> RegisterMap:
        """Return the map, wholly checked."""
        doc, top = self.doc, self.doc.top
        check_numbers(doc)
        if top.get("schema") != SCHEMA:
            doc.fail("schema", f"must be {SCHEMA!r}, not {top.get('schema')!r}")
        doc.only_keys("file", top, _TOP)
        for key in _REQUIRED:
            if key not in top:
                doc.fail("file", f"{key} is missing")
        if top["id"] != expected_id:
            doc.fail("id", f"{top['id']!r} is not the file's name", f"name the file {top['id']}.toml")
        self.heading = heading = Heading(doc)
        order = heading.order()
        blocks = tuple(self._block(raw, "blocks", order) for raw in doc.tables("blocks", top["blocks"]))
        layout_list = [self._block(raw, "layouts", order) for raw in doc.tables("layouts", top.get("layouts", []))]
        layouts = {layout.id: layout for layout in layout_list}
        points = self._index(blocks)
        self._check_blocks(blocks)
        register_map = RegisterMap(
            map_id=doc.text_of("file", top, "id"),
            title=doc.text_of("file", top, "title"),
            version=doc.text_of("file", top, "version"),
            order=MappingProxyType(order),
            bus=MappingProxyType(heading.bus()),
            caps=MappingProxyType(heading.caps()),
            match=heading.match(),
            enums=MappingProxyType(heading.enums),
            bits=MappingProxyType(heading.bits),
            unit_codes=MappingProxyType(heading.unit_codes),
            poll=MappingProxyType({name: doc.table("poll", each) for name, each in heading.poll().items()}),
            blocks=blocks,
            points=MappingProxyType(points),
            layouts=MappingProxyType(layouts),
            vectors=(),
            source=heading.source(),
            status=MappingProxyType(heading.status()),
            crc=_canonical_crc((*blocks, *layouts.values())),
        )
        check_map(doc, register_map)
        check_valves(doc, register_map)
        return _with_vectors(register_map, read_vectors(doc, register_map))

    # -- blocks and points

    def _block(self, raw: Mapping[str, Any], kind: str, order: Mapping[str, Any]) -> Block:
        doc = self.doc
        where = f"{kind}.{raw.get('id', '?')}"
        doc.only_keys(where, raw, _BLOCK_KEYS)
        block_id = doc.text_of(where, raw, "id")
        table = cast(Table, doc.one_of(where, raw.get("table", "input"), TABLES, "table"))
        start = doc.integer(where, raw, "at", 0 if kind == "layouts" else None)
        if not 0 <= start <= 0xFFFF:
            doc.fail(where, f"at {start} is outside the table", "addresses are 0 to 65535")
        poll = doc.optional_text(where, raw, "poll")
        if poll is not None and poll not in self.heading.poll():
            doc.fail(where, f"unknown poll class {poll!r}")
        if raw.get("write") not in (None, "all_or_nothing"):
            doc.fail(where, f"unknown write rule {raw['write']!r}", "the only one is 'all_or_nothing'")
        points: list[Point] = []
        at = start
        for raw_point in doc.tables(f"{where}.points", raw.get("points", [])):
            point = self._point(raw_point, raw, kind=kind, table=table, start=start, at=at, order=order)
            points.append(point)
            at = at if point.type == "sum" else point.address + point.words
        placed = [point for point in points if point.type != "sum"]
        if not placed:
            doc.fail(where, "a block needs points")
        _check_overlaps(doc, where, placed)
        words = max(point.address + point.words for point in placed) - start
        limit = WORDS_MAX if table in ("input", "holding") else BITS_MAX
        if words > limit:
            doc.fail(where, f"{words} words, more than {limit}", "make two blocks of it")
        sync = doc.optional_text(where, raw, "sync")
        if sync is not None and sync not in {point.name for point in points}:
            doc.fail(where, f"sync names {sync!r}, which is not in the block")
        return Block(
            id=block_id,
            table=table,
            address=start,
            words=words,
            poll=poll,
            sync=sync,
            write=raw.get("write"),
            points=tuple(points),
            atomic=doc.flag(where, raw, "atomic"),
        )

    def _point(
        self,
        raw: Mapping[str, Any],
        block: Mapping[str, Any],
        *,
        kind: str,
        table: Table,
        start: int,
        at: int,
        order: Mapping[str, Any],
    ) -> Point:
        doc, heading, name = self.doc, self.heading, raw.get("n")
        where = f"{kind}.{block['id']}.{name}"
        if not isinstance(name, str) or not name.isidentifier():
            doc.fail(where, f"{name!r} is not a name")
        doc.only_keys(where, raw, _POINT_KEYS)
        type_ = doc.one_of(where, raw.get("t"), TYPES, "type")
        words, length = self._size(where, raw, type_, order)
        if "at" in raw and "off" in raw:
            doc.fail(where, "at and off both say where it is", "write one of them")
        address = doc.integer(where, raw, "at") if "at" in raw else at
        address = start + doc.integer(where, raw, "off") if "off" in raw else address
        if not start <= address <= 0x10000 - words:
            doc.fail(where, f"address {address} is outside the table")
        nans = self._nans(where, raw)
        fw_min = doc.optional_text(where, raw if "fw_min" in raw else block, "fw_min")
        if fw_min is not None and not _FIRMWARE.fullmatch(fw_min):
            doc.fail(where, f"fw_min {fw_min!r} is no firmware version", 'write it as "1.5.3"')
        point = Point(
            name=name,
            block=str(block["id"]),
            table=table,
            address=address,
            words=words,
            type=type_,
            scale=doc.fraction(where, raw.get("scale", "1"), "scale"),
            unit=doc.one_of(where, raw["unit"], UNITS, "unit") if "unit" in raw else "",
            nan=nans[0] if nans else None,
            nan_also=nans[1:],
            enum=doc.one_of(where, raw["enum"], heading.enums, "enum") if "enum" in raw else None,
            bits=doc.one_of(where, raw["bits"], heading.bits, "bits") if "bits" in raw else None,
            role=doc.one_of(where, raw["role"], ROLES, "role") if "role" in raw else None,
            length=length,
            chars=order["string"] if type_ == "str" else 2,
            access=cast(Access, doc.one_of(where, raw.get("a", "r"), ACCESSES, "access")),
            word_order=cast(Order, doc.one_of(where, raw.get("word", order["word"]), ORDERS, "word order")),
            byte_order=cast(Order, doc.one_of(where, raw.get("byte", order["byte"]), ORDERS, "byte order")),
            mask=doc.optional_integer(where, raw, "mask"),
            shift=doc.integer(where, raw, "shift", 0),
            min=doc.optional_integer(where, raw, "min"),
            max=doc.optional_integer(where, raw, "max"),
            default=doc.optional_integer(where, raw, "default"),
            persist=doc.flag(where, raw, "persist"),
            sf=doc.optional_text(where, raw, "sf"),
            sf_add=doc.integer(where, raw, "sf_add", 0),
            unit_from=doc.optional_text(where, raw, "unit_from"),
            units=doc.one_of(where, raw["units"], self.heading.unit_codes, "unit code table")
            if "units" in raw
            else None,
            combine=self._combine(where, raw),
            fc=doc.optional_integer(where, raw, "fc"),
            fw_min=fw_min,
            on=doc.integer(where, raw, "on_value", 1),
            off=doc.integer(where, raw, "off_value", 0),
            clear=doc.optional_integer(where, raw, "clear"),
        )
        check_point(doc, where, point, raw)
        return point

    def _combine(self, where: str, raw: Mapping[str, Any]) -> tuple[str, str] | None:
        if (raw.get("t") == "sum") != ("combine" in raw):
            self.doc.fail(where, "a sum, and only a sum, combines two points", 'write t = "sum" and combine = { … }')
        if "combine" not in raw:
            return None
        parts = self.doc.table(where, raw["combine"])
        self.doc.only_keys(where, parts, {"int", "frac"})
        return self.doc.text_of(where, parts, "int"), self.doc.text_of(where, parts, "frac")

    def _nans(self, where: str, raw: Mapping[str, Any]) -> tuple[int, ...]:
        given = raw.get("nan", [])
        nans = given if isinstance(given, list) else [given]
        if not all(type(each) is int for each in nans):
            self.doc.fail(where, f"nan must be an integer or a list of them, not {given!r}")
        return tuple(nans)

    def _size(self, where: str, raw: Mapping[str, Any], type_: str, order: Mapping[str, Any]) -> tuple[int, int]:
        if type_ in ("str", "raw"):
            length = self.doc.integer(where, raw, "len")
            if not 1 <= length <= 2 * WORDS_MAX:
                self.doc.fail(where, "len must be positive" if length < 1 else f"len {length} is more than a block")
            per_word = order["string"] if type_ == "str" else 2
            return -(-length // per_word), length
        if "len" in raw:
            self.doc.fail(where, f"type {type_} has no len")
        return {"bit": 1, "sum": 0}.get(type_) or TYPE_WORDS.get(type_, 0), 0

    def _check_blocks(self, blocks: Sequence[Block]) -> None:
        by_table = sorted(blocks, key=lambda block: (block.table, block.address))
        for before, after in itertools.pairwise(by_table):
            if before.table == after.table and before.address + before.words > after.address:
                self.doc.fail(f"blocks.{after.id}", f"overlaps block {before.id} at {after.address}")
        if len({block.id for block in blocks}) != len(blocks):
            self.doc.fail("blocks", "a block id appears twice")

    def _index(self, blocks: Sequence[Block]) -> dict[str, Point]:
        points: dict[str, Point] = {}
        for block in blocks:
            for point in block.points:
                if point.name in points:
                    used = f"name also used in block {points[point.name].block}"
                    self.doc.fail(f"blocks.{block.id}.{point.name}", used, "give each point its own name")
                points[point.name] = point
        return points


def _check_overlaps(doc: Document, where: str, points: Sequence[Point]) -> None:
    owners: dict[int, list[Point]] = {}
    for point in points:
        for address in range(point.address, point.address + point.words):
            for other in owners.setdefault(address, []):
                if not _may_share(point, other):
                    doc.fail(f"{where}.{point.name}", f"overlaps {other.name} at {address}")
            owners[address].append(point)


def _may_share(one: Point, other: Point) -> bool:
    """Return whether two points may stand at one address: masks apart, or one read and the other written."""
    if one.mask is not None and other.mask is not None and not one.mask & other.mask:
        return True
    return {one.access, other.access} == {"r", "w"}


def _with_vectors(register_map: RegisterMap, vectors: tuple[Vector, ...]) -> RegisterMap:
    fields = {name: getattr(register_map, name) for name in register_map.__slots__}
    return RegisterMap(**{**fields, "vectors": vectors})


def _canonical_crc(blocks: Sequence[Block]) -> int:
    form = [
        [b.id, b.table, b.address, [[p.name, p.type, p.address, p.words, str(p.scale), p.unit] for p in b.points]]
        for b in blocks
    ]
    return crc16_modbus(json.dumps(form, separators=(",", ":")).encode())
