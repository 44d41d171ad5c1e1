"""What stands at the top of a map: the line, the order of bytes, what the device can do, enums, bits and unit codes."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from hardware.document import Document
from hardware.model import Match, Table, UnitCode
from hardware.vocabulary import (
    BUS_KEYS,
    CAPS_KEYS,
    DEADMAN,
    FUNCTIONS,
    K_FACTOR_MAX,
    K_FACTOR_MIN,
    MAILBOXES,
    ORDERS,
    RUN_ON_MS_MAX,
    UNIT_ID_MAX,
    WAIT_MS_MAX,
    WORDS_MAX,
    WRITE_WORDS_MAX,
)

_FRAMING = re.compile(r"[78][NEO][12]")


class Heading:
    """Reads the top of one document."""

    def __init__(self, doc: Document) -> None:
        self.doc = doc
        self.enums: dict[str, Mapping[int, str]] = {}
        self.bits: dict[str, tuple[str, ...]] = {}
        self.unit_codes: dict[str, Mapping[int, UnitCode]] = {}
        self.read_words()

    def read_words(self) -> None:
        """Read enums, bits and unit codes."""
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

    def order(self) -> dict[str, Any]:
        """Return the default order."""
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

    def bus(self) -> dict[str, Any]:
        """Return what holds for the whole line."""
        doc = self.doc
        bus = doc.table("bus", doc.top["bus"])
        doc.only_keys("bus", bus, BUS_KEYS)
        for key in ("baud", "timeout_ms", "turnaround_ms", "max_read", "max_write", "gap", "unit"):
            if key in bus and doc.integer("bus", bus, key) < (0 if key in ("turnaround_ms", "gap") else 1):
                doc.fail("bus", f"{key} is too small")
        for key, most in (("timeout_ms", WAIT_MS_MAX), ("turnaround_ms", WAIT_MS_MAX), ("unit", UNIT_ID_MAX)):
            if bus.get(key, 0) > most:
                doc.fail("bus", f"{key} is above {most}")
        if bus.get("max_read", WORDS_MAX) > WORDS_MAX or bus.get("max_write", WRITE_WORDS_MAX) > WRITE_WORDS_MAX:
            doc.fail("bus", "a request reads at most 125 and writes at most 123 registers")
        if "framing" in bus and not _FRAMING.fullmatch(str(bus["framing"])):
            doc.fail("bus", f"framing {bus['framing']!r} is none", 'write it as "8N1"')
        functions = bus.get("functions")
        if functions is not None and (
            not isinstance(functions, list) or not functions or not {*map(str, functions)} <= {*map(str, FUNCTIONS)}
        ):
            doc.fail("bus", f"functions {functions!r} must be some of {sorted(FUNCTIONS)}")
        return dict(bus)

    def caps(self) -> dict[str, Any]:
        """Return what the device can do."""
        doc = self.doc
        caps = doc.table("caps", doc.top["caps"])
        doc.only_keys("caps", caps, CAPS_KEYS)
        doc.one_of("caps.deadman", caps.get("deadman"), DEADMAN, "dead-man class")
        if "mailbox" in caps:
            doc.one_of("caps.mailbox", caps["mailbox"], MAILBOXES, "mailbox kind")
        for key in ("pulse_ms_max", "watchdog_ms"):
            if key in caps and doc.integer(f"caps.{key}", caps, key) < 1:
                doc.fail(f"caps.{key}", "must be positive")
            if caps.get(key, 1) > RUN_ON_MS_MAX:
                doc.fail(f"caps.{key}", f"{caps[key]} ms is an hour or more, for which water would run on")
        if "k_factor" in caps:
            k_factor = doc.fraction("caps.k_factor", caps["k_factor"], "k_factor")
            if not K_FACTOR_MIN <= k_factor <= K_FACTOR_MAX:
                doc.fail(
                    "caps.k_factor", f"no meter has {caps['k_factor']} pulses in a litre", "write pulses per litre"
                )
        return dict(caps)

    def poll(self) -> Mapping[str, Any]:
        """Return the poll classes."""
        return self.doc.table("poll", self.doc.top.get("poll", {}))

    def source(self) -> tuple[Mapping[str, Any], ...]:
        """Return the documents, at least one."""
        sources = self.doc.tables("source", self.doc.top["source"])
        if not sources:
            self.doc.fail("source", "name at least one document")
        for each in sources:
            self.doc.only_keys("source", each, {"title", "url", "page"})
            self.doc.text_of("source", each, "title")
        return tuple(sources)

    def status(self) -> dict[str, str]:
        """Return what has been done with the map."""
        status = self.doc.table("status", self.doc.top.get("status", {}))
        self.doc.only_keys("status", status, {"golden", "twin", "firmware", "metal", "open_points"})
        return {key: self.doc.text_of("status", status, key) for key in status}

    def match(self) -> Match | None:
        """Return the identity probe, None when there is none."""
        doc = self.doc
        if "match" not in doc.top:
            return None
        raw = doc.table("match", doc.top["match"])
        doc.only_keys("match", raw, {"table", "address", "words"})
        words = raw.get("words")
        if (
            not isinstance(words, list)
            or not words
            or not all(type(word) is int and 0 <= word <= 0xFFFF for word in words)
        ):
            doc.fail("match", "words must be one or more 16-bit numbers")
        table = cast(Table, doc.one_of("match", raw.get("table"), {"input", "holding"}, "table"))
        address = doc.integer("match", raw, "address")
        if not 0 <= address <= 0x10000 - len(words) or len(words) > WORDS_MAX:
            doc.fail("match", f"{len(words)} words at {address} are outside the table or more than one read")
        return Match(table=table, address=address, words=tuple(words))
