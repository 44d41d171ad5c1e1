"""
Write a C header from a register map: addresses, codes, bit masks, record layout, and one table row per point.

Names are `<PREFIX>_REG_<POINT>` for an address, `<PREFIX>_<ENUM>_<LABEL>` for a code, `<PREFIX>_<BITS>_<LABEL>` for a
mask. The point table is an X macro per block: firmware makes of it what it needs and types no number twice.
"""

from collections.abc import Mapping, Sequence

from hardware.model import Block, Point, RegisterMap

#: prefix of each device we make a header for
PREFIXES = {"chw.hwo1": "HWO1", "chw.acr1": "ACR1"}

_TOP = """\
/* {title}: register map {map_id} {version}.
 * Written by `python -m hardware.generate`; a test keeps it fresh. Addresses are 0-based wire addresses. */
#ifndef {guard}
#define {guard}

#include <stdint.h>
"""
_POINTS_NOTE = """\
/* One row per point: X(name, table, address, words, type, access, low, high, fallback, persist). `low` and `high`
 * bound what may be written to a number; text, raw bytes, bits and 64-bit numbers have no bounds. `fallback` is the
 * default. */
"""
_TYPE_RANGES = {"u16": (0, 0xFFFF), "i16": (-0x8000, 0x7FFF), "u32": (0, 0xFFFFFFFF), "i32": (-0x80000000, 0x7FFFFFFF)}


def file_name(map_id: str) -> str:
    """Return the name of a device's header."""
    return f"{PREFIXES[map_id].lower()}_regs.h"


def header(register_map: RegisterMap) -> str:
    """
    Return the header of one of our devices.

    :raises ValueError: if two things in the map would get one name.
    """
    prefix = PREFIXES[register_map.map_id]
    guard = f"{prefix}_REGS_H"
    top = _TOP.format(title=register_map.title, map_id=register_map.map_id, version=register_map.version, guard=guard)
    groups = [
        ("The profile", _profile(prefix, register_map)),
        ("Blocks", _blocks(prefix, register_map)),
        ("Addresses of points", _addresses(prefix, register_map)),
        ("Bounds and defaults of what can be written", _bounds(prefix, register_map)),
        *((f"Bits of {name}", _bits(prefix, name, bits)) for name, bits in register_map.bits.items()),
        *((f"Record {layout.id}, in words", _layout(prefix, layout)) for layout in register_map.layouts.values()),
    ]
    defined = [name for _, pairs in groups for name, _ in pairs] + _enum_names(prefix, register_map)
    twice = sorted({name for name in defined if defined.count(name) > 1})
    if twice:
        raise ValueError(f"{register_map.map_id}: two things would be called {twice[0]}")
    parts = [top]
    parts += [f"/* {title}. */\n" + "".join(f"#define {name} {value}\n" for name, value in p) for title, p in groups]
    parts += [_enum(prefix, name, labels) for name, labels in register_map.enums.items()]
    parts.append(_POINTS_NOTE + _point_table(prefix, register_map))
    return "\n".join([*parts, "#endif\n"])


def _profile(prefix: str, register_map: RegisterMap) -> Sequence[tuple[str, str]]:
    probe = register_map.match
    assert probe is not None, "a device of ours says who it is"
    major, minor = (int(part) for part in register_map.version.split("."))
    caps = register_map.caps
    return [
        (f"{prefix}_MAGIC", _u32(probe.words[0] << 16 | probe.words[1])),
        (f"{prefix}_PROFILE_ID", f"0x{probe.words[2]:04X}u"),
        (f"{prefix}_PROFILE_VER", f"0x{major << 8 | minor:04X}u"),
        (f"{prefix}_MAP_CRC", f"0x{register_map.crc:04X}u"),
        (f"{prefix}_COMMIT_XOR", f"0x{caps['commit_xor']:04X}u"),
        (f"{prefix}_CFG_UNLOCK_WORD", f"0x{caps['cfg_unlock']:04X}u"),
        (f"{prefix}_LOG_RECORDS_MAX", f"{caps['log_records_max']}u"),
        (f"{prefix}_POINT_COUNT", f"{len(register_map.points)}u"),
    ]


def _blocks(prefix: str, register_map: RegisterMap) -> Sequence[tuple[str, str]]:
    pairs = []
    for block in register_map.blocks:
        name = f"{prefix}_BLOCK_{block.id.upper()}"
        pairs += [(name, f"{block.address}u"), (f"{name}_WORDS", f"{block.words}u")]
    return pairs


def _addresses(prefix: str, register_map: RegisterMap) -> Sequence[tuple[str, str]]:
    return [(f"{prefix}_REG_{name.upper()}", f"{point.address}u") for name, point in register_map.points.items()]


def _bounds(prefix: str, register_map: RegisterMap) -> Sequence[tuple[str, str]]:
    return [
        (f"{prefix}_{point.name.upper()}_{what}", f"{value}{'' if point.type.startswith('i') else 'u'}")
        for point in register_map.points.values()
        for what, value in (("MIN", point.min), ("MAX", point.max), ("DEFAULT", point.default))
        if value is not None
    ]


def _bits(prefix: str, name: str, labels: Sequence[str]) -> Sequence[tuple[str, str]]:
    masks = [(f"{prefix}_{name.upper()}_{label}", _u32(1 << bit)) for bit, label in enumerate(labels)]
    return [*masks, (f"{prefix}_{name.upper()}_COUNT", f"{len(labels)}u")]


def _layout(prefix: str, layout: Block) -> Sequence[tuple[str, str]]:
    name = f"{prefix}_{layout.id.upper()}"
    pairs = [(f"{name}_WORDS", f"{layout.words}u")]
    for point in layout.points:
        pairs.append((f"{name}_AT_{point.name.upper()}", f"{point.address}u"))
        if point.mask is not None:
            pairs.append((f"{name}_{point.name.upper()}_MASK", f"0x{point.mask:04X}u"))
            pairs.append((f"{name}_{point.name.upper()}_SHIFT", f"{point.shift}u"))
    return pairs


def _enum_names(prefix: str, register_map: RegisterMap) -> list[str]:
    return [
        f"{prefix}_{name.upper()}_{label}" for name, labels in register_map.enums.items() for label in labels.values()
    ]


def _enum(prefix: str, name: str, labels: Mapping[int, str]) -> str:
    rows = ",\n".join(f"    {prefix}_{name.upper()}_{label} = {code}" for code, label in labels.items())
    return f"enum {prefix.lower()}_{name} {{\n{rows}\n}};\n"


def _point_table(prefix: str, register_map: RegisterMap) -> str:
    text = ""
    for block in register_map.blocks:
        rows = " \\\n".join(f"    X({', '.join(_row(point))})" for point in block.points)
        text += f"#define {prefix}_POINTS_{block.id.upper()}(X) \\\n{rows}\n\n"
    uses = " \\\n".join(f"    {prefix}_POINTS_{block.id.upper()}(X)" for block in register_map.blocks)
    return f"{text}#define {prefix}_POINTS(X) \\\n{uses}\n"


def _row(point: Point) -> Sequence[str]:
    low, high = _TYPE_RANGES.get(point.type, (0, 0))
    return (
        point.name.upper(),
        point.table.upper(),
        str(point.address),
        str(point.words),
        point.type.upper(),
        point.access.upper(),
        f"INT64_C({low if point.min is None else point.min})",
        f"INT64_C({high if point.max is None else point.max})",
        f"INT64_C({point.default or 0})",
        str(int(point.persist)),
    )


def _u32(value: int) -> str:
    return f"UINT32_C(0x{value:08X})"
