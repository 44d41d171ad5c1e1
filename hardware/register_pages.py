"""
Write a device's register map as a page people read: one table per block, every code and bit with its meaning.

The page says what the map says and nothing else; `python -m hardware.generate` writes it anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from hardware.model import Block, Point, RegisterMap, Vector
from hardware.vocabulary import DEADMAN_BOUND, READ_FUNCTION

_HEAD = """\
# {title}

Written by `python -m hardware.generate` from `register_maps/{map_id}.toml`; a test keeps it fresh.
Addresses are 0-based wire addresses. Scale turns the raw number into the unit.
"""
_TABLE_NAMES: Mapping[str, str] = {
    "input": "input registers",
    "holding": "holding registers",
    "discrete": "discrete inputs",
    "coil": "coils",
}
_POINT_COLUMNS = ("address", "name", "type", "unit", "scale", "access", "range", "meaning", "notes")
_RECORD_COLUMNS = ("word", "name", "type", "unit", "scale", "meaning", "notes")
_VECTOR_COLUMNS = ("point", "bytes", "value", "given", "from")


def page(register_map: RegisterMap) -> str:
    """Return the whole page of one device."""
    parts = [
        _HEAD.format(title=register_map.title, map_id=register_map.map_id),
        _facts(register_map),
        "## Polling\n\n" + table(("group", "rule"), _polling(register_map)),
    ]
    for block in register_map.blocks:
        rows = [_point_row(register_map, point) for point in block.points]
        parts.append(_block_title(block) + table(_POINT_COLUMNS, rows))
    for name, layout in register_map.layouts.items():
        rows = [_record_row(register_map, point) for point in layout.points]
        parts.append(f"## Record `{name}`: {layout.words} words\n\n" + table(_RECORD_COLUMNS, rows))
    parts.append(_codes(register_map))
    rows = [_vector_row(vector) for vector in register_map.vectors]
    parts.append("## Golden vectors\n\n" + table(_VECTOR_COLUMNS, rows))
    parts.append("## Sources\n\n" + "".join(_source(each) for each in register_map.source))
    return "\n".join(parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a bar inside a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def span(first: int, words: int) -> str:
    """Return the addresses that so many words cover: `7` or `8-9`."""
    return str(first) if words <= 1 else f"{first}-{first + words - 1}"


def _facts(register_map: RegisterMap) -> str:
    bus = register_map.bus
    facts = [
        f"map `{register_map.map_id}` {register_map.version}, checksum 0x{register_map.crc:04X}",
        "bus: " + ", ".join(f"{key} {_plain(value)}" for key, value in bus.items()),
        f"order: {register_map.order['word']} word first, {register_map.order['byte']} byte first",
        f"dead-man class {register_map.deadman}: runs on at worst {DEADMAN_BOUND[register_map.deadman]}",
    ]
    facts += [f"{key}: {_plain(value)}" for key, value in register_map.caps.items() if key != "deadman"]
    if register_map.match is not None:
        words = " ".join(f"{word:04X}" for word in register_map.match.words)
        where = f"{_TABLE_NAMES[register_map.match.table]} from {register_map.match.address}"
        facts.append(f"known by {words} in the {where}")
    return "".join(f"- {fact}\n" for fact in facts)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " and ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(each) for each in value)
    return str(value)


def _polling(register_map: RegisterMap) -> Iterable[Sequence[str]]:
    for name, rule in register_map.poll.items():
        yield name, ", ".join(f"{key} {_plain(value)}" for key, value in rule.items()) or "when asked"


def _block_title(block: Block) -> str:
    where = f"{_TABLE_NAMES[block.table]} {span(block.address, block.words)}, FC{READ_FUNCTION[block.table]:02d}"
    title = f"## `{block.id}`: {where}\n\n"
    notes = [
        f"polled: {block.poll}" if block.poll else "",
        f"read again while `{block.sync}` moved" if block.sync else "",
    ]
    notes.append("accepted only as one write of all of it" if block.write == "all_or_nothing" else "")
    notes.append("read in one request" if block.atomic else "")
    said = "; ".join(note for note in notes if note)
    return title + (f"{said[0].upper()}{said[1:]}.\n\n" if said else "")


def _point_row(register_map: RegisterMap, point: Point) -> Sequence[str]:
    type_ = f"{point.type} of {point.length} bytes" if point.length else point.type
    access = point.access + (f" by FC{point.fc:02d}" if point.fc else "")
    return (
        span(point.address, point.words) if point.words else "-",
        f"`{point.name}`",
        type_ + _order(register_map, point),
        point.unit,
        _scale(point.scale),
        access,
        _range(point),
        _meaning(register_map, point),
        "; ".join(_notes(point)),
    )


def _record_row(register_map: RegisterMap, point: Point) -> Sequence[str]:
    cells = (span(point.address, point.words), f"`{point.name}`", point.type, point.unit, _scale(point.scale))
    return (*cells, _meaning(register_map, point), "; ".join(_notes(point)))


def _order(register_map: RegisterMap, point: Point) -> str:
    usual = register_map.order
    if (point.word_order, point.byte_order) == (usual["word"], usual["byte"]):
        return ""
    return f", {point.word_order} word and {point.byte_order} byte first"


def _scale(scale: Fraction) -> str:
    return "" if scale == 1 else str(scale)


def _range(point: Point) -> str:
    if point.min is None and point.max is None:
        return ""
    if point.min is None:
        return f"to {point.max}"
    return f"from {point.min}" if point.max is None else f"{point.min} to {point.max}"


def _meaning(register_map: RegisterMap, point: Point) -> str:
    if point.enum is not None:
        return ", ".join(f"{code} {label}" for code, label in register_map.enums[point.enum].items())
    if point.bits is not None:
        return ", ".join(f"bit {bit} {label}" for bit, label in enumerate(register_map.bits[point.bits]))
    if point.combine is not None:
        return f"`{point.combine[0]}` + `{point.combine[1]}`"
    return ""


def _notes(point: Point) -> Iterable[str]:
    if point.role is not None:
        yield f"role {point.role}"
    if point.mask is not None:
        yield f"mask 0x{point.mask:04X}, shifted by {point.shift}"
    if point.nan is not None:
        yield "no value: " + ", ".join(str(value) for value in (point.nan, *point.nan_also))
    if point.default is not None:
        yield f"default {point.default}"
    if point.persist:
        yield "kept without power"
    if point.sf is not None:
        yield f"times ten to the power of `{point.sf}`" + (f" {point.sf_add:+d}" if point.sf_add else "")
    if point.unit_from is not None:
        yield f"unit code in `{point.unit_from}`"
    if (point.on, point.off) != (1, 0):
        yield f"on {point.on}, off {point.off}"
    if point.clear is not None:
        yield f"write {point.clear} to clear"
    if point.fw_min is not None:
        yield f"from firmware {point.fw_min}"


def _codes(register_map: RegisterMap) -> str:
    text = ""
    for name, labels in register_map.enums.items():
        text += f"## Codes of `{name}`\n\n" + table(
            ("code", "meaning"), [(str(c), label) for c, label in labels.items()]
        )
        text += "\n"
    for name, bits in register_map.bits.items():
        rows = [(str(bit), f"0x{1 << bit:08X}", label) for bit, label in enumerate(bits)]
        text += f"## Bits of `{name}`\n\n" + table(("bit", "mask", "meaning"), rows) + "\n"
    for name, codes in register_map.unit_codes.items():
        rows = [(str(code), unit.name, str(unit.factor)) for code, unit in codes.items()]
        text += f"## Unit codes of `{name}`\n\n" + table(("code", "unit", "factor"), rows) + "\n"
    return text.removesuffix("\n")


def _vector_row(vector: Vector) -> Sequence[str]:
    value = "no value" if vector.value is None else str(vector.value)
    given = ", ".join(f"{name} = {number}" for name, number in vector.given.items())
    return f"`{vector.point}`", vector.raw.hex(" ").upper(), value, given, vector.origin


def _source(source: Mapping[str, Any]) -> str:
    page_ = f", page {source['page']}" if "page" in source else ""
    return f"- {source['title']}{page_}" + (f" <{source['url']}>" if "url" in source else "") + "\n"
