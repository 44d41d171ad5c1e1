"""Turn one parsed TOML document into a `RegisterMap`, or say what is wrong with it and where."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, cast

from hardware import vectors as golden
from hardware.checks import check_map, check_point
from hardware.document import Document
from hardware.model import Access, Block, MapError, Match, Order, Point, RegisterMap, Table, UnitCode, Vector
from hardware.vocabulary import (
    ACCESSES,
    BUS_KEYS,
    CAPS_KEYS,
    DEADMAN,
    FUNCTIONS,
    MAILBOXES,
    ORDERS,
    ORIGINS,
    ROLES,
    SCHEMA,
    TABLES,
    TYPE_WORDS,
    TYPES,
    UNITS,
)

WORDS_MAX = 125
BITS_MAX = 2000

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
_FRAMING = re.compile(r"[78][NEO][12]")
_FIRMWARE = re.compile(r"\d+(\.\d+)*")


class Reader:
    """Reads one document; `read` gives the map."""

    def __init__(self, file: str, text: str, top: Mapping[str, Any]) -> None:
        self.doc = Document(file, text, top)
        self.enums: dict[str, Mapping[int, str]] = {}
        self.bits: dict[str, tuple[str, ...]] = {}
        self.unit_codes: dict[str, Mapping[int, UnitCode]] = {}

    def read(self, *, expected_id: str) -> RegisterMap:
        """Return the map, wholly checked."""
        doc, top = self.doc, self.doc.top
        if top.get("schema") != SCHEMA:
            doc.fail("schema", f"must be {SCHEMA!r}, not {top.get('schema')!r}")
        doc.only_keys("file", top, _TOP)
        for key in _REQUIRED:
            if key not in top:
                doc.fail("file", f"{key} is missing")
        if top["id"] != expected_id:
            doc.fail("id", f"{top['id']!r} is not the file's name", f"name the file {top['id']}.toml")
        self._tables_of_words()
        order = self._order()
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
            bus=MappingProxyType(self._bus()),
            caps=MappingProxyType(self._caps()),
            match=self._match(doc.table("match", top["match"])) if "match" in top else None,
            enums=MappingProxyType(self.enums),
            bits=MappingProxyType(self.bits),
            unit_codes=MappingProxyType(self.unit_codes),
            poll=MappingProxyType({name: doc.table("poll", each) for name, each in self._poll().items()}),
            blocks=blocks,
            points=MappingProxyType(points),
            layouts=MappingProxyType(layouts),
            vectors=(),
            source=self._source(),
            status=MappingProxyType(self._status()),
            crc=_canonical_crc((*blocks, *layouts.values())),
        )
        check_map(doc, register_map)
        return _with_vectors(register_map, self._vectors(register_map))

    # -- what stands at the top

    def _tables_of_words(self) -> None:
        doc, top = self.doc, self.doc.top
        for name, members in doc.table("enums", top.get("enums", {})).items():
            self.enums[name] = MappingProxyType(self._enum(name, doc.table(f"enums.{name}", members)))
        for name, names in doc.table("bits", top.get("bits", {})).items():
            self.bits[name] = doc.words(f"bits.{name}", names)
            if len(set(self.bits[name])) != len(self.bits[name]):
                doc.fail(f"bits.{name}", "a bit name appears twice")
        for name, codes in doc.table("unit_codes", top.get("unit_codes", {})).items():
            where = f"unit_codes.{name}"
            self.unit_codes[name] = MappingProxyType(
                {self._number(where, key): self._unit_code(where, raw) for key, raw in doc.table(where, codes).items()}
            )

    def _number(self, where: str, key: str) -> int:
        if not key.isascii() or not key.isdigit():
            self.doc.fail(where, f"{key!r} is not a number")
        return int(key)

    def _enum(self, name: str, members: Mapping[str, Any]) -> dict[int, str]:
        where, result = f"enums.{name}", {}
        for key, label in members.items():
            if not isinstance(label, str) or not label:
                self.doc.fail(where, f"{key} = {label!r} is not a number with a name")
            result[self._number(where, key)] = label
        if len(set(result.values())) != len(result):
            self.doc.fail(where, "a label appears twice")
        return result

    def _unit_code(self, where: str, raw: Any) -> UnitCode:
        table = self.doc.table(where, raw)
        self.doc.only_keys(where, table, {"unit", "factor"})
        factor = self.doc.fraction(where, table.get("factor", 1), "factor")
        return UnitCode(name=self.doc.text_of(where, table, "unit"), factor=factor)

    def _order(self) -> dict[str, Any]:
        doc = self.doc
        order = doc.table("order", doc.top["order"])
        doc.only_keys("order", order, {"word", "byte", "string"})
        if order.get("string", 2) not in (1, 2):
            doc.fail("order", f"string must be 1 or 2 characters a register, not {order['string']!r}")
        return {
            "word": doc.one_of("order", order.get("word"), ORDERS, "word order"),
            "byte": doc.one_of("order", order.get("byte"), ORDERS, "byte order"),
            "string": order.get("string", 2),
        }

    def _bus(self) -> dict[str, Any]:
        doc = self.doc
        bus = doc.table("bus", doc.top["bus"])
        doc.only_keys("bus", bus, BUS_KEYS)
        for key in ("baud", "timeout_ms", "turnaround_ms", "max_read", "max_write", "gap", "unit"):
            if key in bus and doc.integer("bus", bus, key) < (0 if key in ("turnaround_ms", "gap") else 1):
                doc.fail("bus", f"{key} is too small")
        if bus.get("max_read", WORDS_MAX) > WORDS_MAX or bus.get("max_write", 123) > 123:
            doc.fail("bus", "a request reads at most 125 and writes at most 123 registers")
        if "framing" in bus and not _FRAMING.fullmatch(str(bus["framing"])):
            doc.fail("bus", f"framing {bus['framing']!r} is none", 'write it as "8N1"')
        functions = bus.get("functions")
        if functions is not None and (
            not isinstance(functions, list) or not functions or not {*map(str, functions)} <= {*map(str, FUNCTIONS)}
        ):
            doc.fail("bus", f"functions {functions!r} must be some of {sorted(FUNCTIONS)}")
        return dict(bus)

    def _caps(self) -> dict[str, Any]:
        doc = self.doc
        caps = doc.table("caps", doc.top["caps"])
        doc.only_keys("caps", caps, CAPS_KEYS)
        doc.one_of("caps.deadman", caps.get("deadman"), DEADMAN, "dead-man class")
        if "mailbox" in caps:
            doc.one_of("caps.mailbox", caps["mailbox"], MAILBOXES, "mailbox kind")
        for key in ("pulse_ms_max", "watchdog_ms"):
            if key in caps and doc.integer("caps", caps, key) < 1:
                doc.fail(f"caps.{key}", "must be positive")
        if "k_factor" in caps:
            doc.fraction("caps.k_factor", caps["k_factor"], "k_factor")
        return dict(caps)

    def _poll(self) -> Mapping[str, Any]:
        return self.doc.table("poll", self.doc.top.get("poll", {}))

    def _source(self) -> tuple[Mapping[str, Any], ...]:
        sources = self.doc.tables("source", self.doc.top["source"])
        if not sources:
            self.doc.fail("source", "name at least one document")
        for each in sources:
            self.doc.only_keys("source", each, {"title", "url", "page"})
            self.doc.text_of("source", each, "title")
        return tuple(sources)

    def _status(self) -> dict[str, str]:
        status = self.doc.table("status", self.doc.top.get("status", {}))
        self.doc.only_keys("status", status, {"golden", "twin", "metal", "open_points"})
        return {key: self.doc.text_of("status", status, key) for key in status}

    def _match(self, raw: Mapping[str, Any]) -> Match:
        doc = self.doc
        doc.only_keys("match", raw, {"table", "address", "words"})
        words = raw.get("words")
        if (
            not isinstance(words, list)
            or not words
            or not all(type(word) is int and 0 <= word <= 0xFFFF for word in words)
        ):
            doc.fail("match", "words must be one or more 16-bit numbers")
        table = cast(Table, doc.one_of("match", raw.get("table"), {"input", "holding"}, "table"))
        return Match(table=table, address=doc.integer("match", raw, "address"), words=tuple(words))

    # -- blocks and points

    def _block(self, raw: Mapping[str, Any], kind: str, order: Mapping[str, Any]) -> Block:
        doc = self.doc
        where = f"{kind}.{raw.get('id', '?')}"
        doc.only_keys(where, raw, _BLOCK_KEYS)
        block_id = doc.text_of(where, raw, "id")
        table = cast(Table, doc.one_of(where, raw.get("table", "input"), TABLES, "table"))
        start = doc.integer(where, raw, "at", 0 if kind == "layouts" else None)
        poll = doc.optional_text(where, raw, "poll")
        if poll is not None and poll not in self._poll():
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
        doc, name = self.doc, raw.get("n")
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
            enum=doc.one_of(where, raw["enum"], self.enums, "enum") if "enum" in raw else None,
            bits=doc.one_of(where, raw["bits"], self.bits, "bits") if "bits" in raw else None,
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
            units=doc.one_of(where, raw["units"], self.unit_codes, "unit code table") if "units" in raw else None,
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

    # -- vectors

    def _vectors(self, register_map: RegisterMap) -> tuple[Vector, ...]:
        doc, found = self.doc, []
        in_layouts = {f"{b.id}.{p.name}": p for b in register_map.layouts.values() for p in b.points}
        for number, raw in enumerate(doc.tables("vectors", doc.top["vectors"])):
            where = f"vectors[{number}]"
            doc.only_keys(where, raw, {"point", "raw", "value", "given", "from"})
            name = doc.text_of(where, raw, "point")
            point = register_map.points.get(name) or in_layouts.get(name)
            if point is None:
                doc.fail(where, f"unknown point {name!r}")
            given = doc.table(where, raw.get("given", {}))
            if not all(type(each) is int for each in given.values()):
                doc.fail(where, "given must name points and their whole numbers")
            try:
                data = bytes.fromhex(doc.text_of(where, raw, "raw"))
                value = _vector_value(raw.get("value"))
                decoded = golden.meaning(register_map, point, data, given)
                right = golden.agrees(point, decoded, value)
            except (KeyError, ValueError, OverflowError) as error:
                raise MapError(doc.file, where, f"{name}: {error}") from error
            if not right:
                doc.fail(
                    where,
                    f"{name}: {raw['raw']} decodes to {decoded}, not {raw.get('value')}",
                    golden.hint(register_map, point, data, given, value),
                )
            origin = doc.one_of(where, raw.get("from", "computed"), ORIGINS, "origin")
            found.append(Vector(point=name, raw=data, value=value, given=MappingProxyType(dict(given)), origin=origin))
        if len(found) < 2:
            doc.fail("vectors", "at least two are needed")
        return tuple(found)


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
