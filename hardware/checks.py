"""What must hold of a point and of a whole map beyond its form: types, roles, function codes, dead-man classes."""

from collections.abc import Mapping
from typing import Any

from hardware.document import Document
from hardware.model import Point, RegisterMap
from hardware.vocabulary import (
    NUMBERS,
    READ_FUNCTION,
    ROLE_UNITS,
    TYPE_WORDS,
    UNSIGNED,
    WORDS_MAX,
    WRITE_FUNCTIONS,
    WRITE_WORDS_MAX,
    WRITTEN_ROLES,
)

METERS = ("pulses_total", "volume_total")


def check_point(doc: Document, where: str, point: Point, raw: Mapping[str, Any]) -> None:
    """Refuse a point whose keys do not fit its type and table."""
    _check_type(doc, where, point, raw)
    _check_numbers(doc, where, point)
    if point.fc is not None:
        _check_function(doc, where, point)
    needed = ROLE_UNITS.get(point.role or "")
    if needed is not None and point.unit not in needed:
        doc.fail(
            where, f"role {point.role} needs one of the units {', '.join(sorted(needed))}, not {point.unit or 'none'!r}"
        )
    if (point.unit_from is None) != (point.units is None):
        doc.fail(where, "unit_from and units belong together", "name the point with the code and the table of codes")
    if point.access == "w1c" and point.role in WRITTEN_ROLES:
        doc.fail(where, f"role {point.role} is written a value, and ones written here clear", 'write a = "rw"')
    if point.clear is not None and point.access == "r":
        doc.fail(where, "a flag that must be cleared must be writable", 'write a = "rw"')


def _check_type(doc: Document, where: str, point: Point, raw: Mapping[str, Any]) -> None:
    in_bits = point.table in ("discrete", "coil")
    # a coil may be written with a number: some relays take a delay where the standard has 0 and FF00
    timed = point.table == "coil" and point.type == "u16" and point.access == "w" and point.fc == 5
    if (point.type == "bit") != in_bits and not timed:
        hint = 'a number in a coil needs a = "w" and fc = 5' if point.table == "coil" else ""
        doc.fail(where, f"type {point.type} does not belong in the {point.table} table", hint)
    if point.table in ("input", "discrete") and point.access != "r":
        doc.fail(where, f"the {point.table} table cannot be written", 'use "holding" or "coil"')
    if point.type not in NUMBERS or point.enum is not None or point.bits is not None:
        for key in ("scale", "sf", "unit_from"):
            if key in raw:
                doc.fail(where, f"{key} means nothing here: it is no quantity")
    if point.type in ("f32", "f64", "sum", "str", "raw"):
        for key in ("enum", "bits", "mask"):
            if key in raw:
                doc.fail(where, f"a {point.type} has no {key}")
    if point.mask is not None:
        if point.type not in UNSIGNED:
            doc.fail(where, "only an unsigned number can have a mask")
        if not 0 < point.mask < 1 << 16 * point.words or point.shift < 0 or point.mask >> point.shift == 0:
            doc.fail(where, f"mask {point.mask:#x} shifted by {point.shift} does not fit")


def _check_numbers(doc: Document, where: str, point: Point) -> None:
    bounds = raw_range(point)
    if bounds is None:
        return
    low, high = bounds
    for key, value in (("min", point.min), ("max", point.max), ("default", point.default)):
        if value is not None and not low <= value <= high:
            doc.fail(where, f"{key} {value} does not fit a {point.type}")
    pattern_high = (1 << 16 * point.words) - 1 if point.type in ("f32", "f64") else high
    for nan in (point.nan, *point.nan_also):
        if nan is not None and not low <= nan <= pattern_high:
            doc.fail(where, f"nan {nan} does not fit a {point.type}", "write the raw value, before scaling")
    if point.min is not None and point.max is not None and point.min > point.max:
        doc.fail(where, f"min {point.min} is above max {point.max}")


def raw_range(point: Point) -> tuple[int, int] | None:
    """Return the least and the greatest raw value of a register's type; None of what is no fixed number."""
    if point.type not in TYPE_WORDS:
        return None
    bits = 16 * point.words
    if point.type.startswith("bcd"):
        return 0, 10 ** (bits // 4) - 1
    if point.type.startswith("i"):
        return -(1 << bits - 1), (1 << bits - 1) - 1
    return 0, (1 << bits) - 1


def shown_range(point: Point) -> tuple[int, int] | None:
    """Return the least and the greatest number a point can show: of a bit, of a masked part, or of its type."""
    if point.type == "bit":
        return 0, 1
    return raw_range(point) if point.mask is None else (0, point.mask >> point.shift)


def _check_function(doc: Document, where: str, point: Point) -> None:
    allowed = WRITE_FUNCTIONS.get(point.table, ())
    if point.access == "r" or point.fc not in allowed:
        known = f"{point.table} is written with {', '.join(map(str, allowed))}" if allowed else "it is never written"
        doc.fail(where, f"function code {point.fc} cannot write this point", known)
    if point.fc == 6 and point.words != 1:
        doc.fail(where, f"function code 6 writes one register, and this takes {point.words}", "use 16")


def check_map(doc: Document, register_map: RegisterMap) -> None:
    """Refuse a map whose parts do not fit together."""
    _check_references(doc, register_map)
    _check_functions(doc, register_map)
    _check_names_of_values(doc, register_map)
    _check_atomic(doc, register_map)
    _check_requests(doc, register_map)
    _check_deadman(doc, register_map)
    _check_mailbox(doc, register_map)


def _where(point: Point) -> str:
    return f"blocks.{point.block}.{point.name}"


def _check_references(doc: Document, register_map: RegisterMap) -> None:
    points = register_map.points
    for point in points.values():
        for name in point.needs:
            if name not in points:
                doc.fail(_where(point), f"refers to {name!r}, which does not exist")
            if points[name].type not in TYPE_WORDS or points[name].needs or name == point.name:
                doc.fail(_where(point), f"refers to {name!r}, which is no plain number")
        for code in (point.sf, point.unit_from):
            if code is not None and (points[code].type[0] not in "ui" or points[code].scale != 1):
                doc.fail(_where(point), f"{code} must be a plain integer to tell a unit or a power of ten")
    if any(point.fw_min for point in points.values()) and register_map.by_role("firmware") is None:
        doc.fail("file", "fw_min needs a point with role 'firmware' to compare with")
    layout = register_map.caps.get("log_layout")
    if layout is not None and layout not in register_map.layouts:
        doc.fail("caps.log_layout", f"no layout is called {layout!r}")


def _check_functions(doc: Document, register_map: RegisterMap) -> None:
    functions = register_map.functions
    if functions is None:
        return
    for point in register_map.points.values():
        reading = READ_FUNCTION[point.table]
        if point.readable and reading not in functions:
            doc.fail(
                _where(point),
                f"the {point.table} table is read with function code {reading}, which the device does not know",
                f"put it in another table or add {reading} to bus.functions",
            )
        usable = {point.fc} if point.fc else {fc for fc in WRITE_FUNCTIONS.get(point.table, ()) if _fits(fc, point)}
        if point.access != "r" and not usable & functions:
            doc.fail(_where(point), "no function code of the device writes this point", f"it knows {sorted(functions)}")


def _fits(function: int, point: Point) -> bool:
    return function not in (6, 22) or point.words == 1


def _check_atomic(doc: Document, register_map: RegisterMap) -> None:
    limit = int(register_map.bus.get("max_read", 125))
    for block in register_map.blocks:
        if block.atomic and block.table in ("input", "holding") and block.words > limit:
            doc.fail(f"blocks.{block.id}", f"atomic, but {block.words} words are more than the {limit} of one read")
        if block.sync is not None and block.words > limit and register_map.by_role("snapshot_end") is None:
            doc.fail(f"blocks.{block.id}", "read in parts, and nothing has role 'snapshot_end'")
        parts = {name for point in block.points for name in point.combine or ()}
        if parts and not parts <= {point.name for point in block.points}:
            doc.fail(f"blocks.{block.id}", "the two parts of a sum must be read together, in its own block")


def _check_requests(doc: Document, register_map: RegisterMap) -> None:
    """Refuse a point that is longer than what the device reads or takes at once: half a number is another number."""
    for key, most in (("max_read", WORDS_MAX), ("max_write", WRITE_WORDS_MAX)):
        limit = int(register_map.bus.get(key, most))
        for point in register_map.points.values():
            used = point.readable if key == "max_read" else point.access != "r"
            if used and point.table in ("input", "holding") and point.words > limit:
                doc.fail(_where(point), f"its {point.words} words are more than the {limit} of bus.{key}")


def _check_names_of_values(doc: Document, register_map: RegisterMap) -> None:
    """Refuse names of values and of bits that a point's type cannot show."""
    in_layouts = (point for layout in register_map.layouts.values() for point in layout.points)
    for point in (*register_map.points.values(), *in_layouts):
        bounds = shown_range(point)
        for number in register_map.enums[point.enum] if point.enum is not None and bounds is not None else ():
            if bounds is not None and not bounds[0] <= number <= bounds[1]:
                doc.fail(f"enums.{point.enum}", f"{number} is more than {point.name}, a {point.type}, can show")
        if (
            point.bits is not None
            and bounds is not None
            and len(register_map.bits[point.bits]) > bounds[1].bit_length()
        ):
            doc.fail(f"bits.{point.bits}", f"names more bits than {point.name}, a {point.type}, has")


def _check_deadman(doc: Document, register_map: RegisterMap) -> None:
    """Refuse a dead-man class that the points cannot keep; a device of our own frame keeps it by its command frame."""
    kind = register_map.deadman
    by_frame = register_map.by_role("command_token") and register_map.by_role("result_token")
    if kind == "none" or (by_frame and kind in ("lease", "one_shot")):
        return
    if kind == "lease":
        doc.fail(
            "caps.deadman", "a lease needs the command frame", "name points with roles command_token, result_token"
        )
    needed = {
        "device_credit": ("credit_volume", "valve_state"),
        "one_shot": ("valve_pulse", "valve_state", "valve_cmd"),
        "poll_watchdog": ("watchdog", "valve_cmd", "valve_state"),
    }[kind]
    for role in needed:
        point = register_map.by_role(role)
        if point is None and role == "valve_state":
            point = _readable(register_map.by_role("valve_cmd"))
        if point is None:
            doc.fail("caps.deadman", f"class {kind} needs a point with role {role!r}", 'or write deadman = "none"')
        if role != "valve_state" and point.access == "r":
            doc.fail(_where(point), f"role {role} must be writable")
    if kind != "one_shot" and not _readable(register_map.by_role(needed[0])):
        doc.fail("caps.deadman", f"role {needed[0]} must be readable, so that what was written can be checked")
    if kind == "one_shot" and "pulse_ms_max" not in register_map.caps:
        doc.fail("caps", "class one_shot needs pulse_ms_max, the longest pulse")
    if kind == "poll_watchdog" and "watchdog_ms" not in register_map.caps:
        doc.fail("caps", "class poll_watchdog needs watchdog_ms, the time to set")
    if kind == "device_credit" and not any(register_map.by_role(role) for role in METERS):
        doc.fail("caps.deadman", f"class {kind} needs a meter: a point with role pulses_total or volume_total")


def _readable(point: Point | None) -> Point | None:
    return point if point is not None and point.readable else None


def _check_mailbox(doc: Document, register_map: RegisterMap) -> None:
    kind = register_map.caps.get("mailbox")
    needed = {
        "seq": ("mailbox_seq", "mailbox_ack", "card_uid"),
        "flag": ("card_new", "card_uid"),
        "level": ("card_uid",),
    }.get(str(kind), ())
    for role in needed:
        if register_map.by_role(role) is None:
            doc.fail("caps.mailbox", f"a {kind} mailbox needs a point with role {role!r}")
    new = register_map.by_role("card_new")
    if kind == "flag" and new is not None and new.clear is None:
        doc.fail(_where(new), "says nothing of how the flag is cleared", "write clear = 0")
