"""
Checks the parts lists. `python -m hardware.bom.check` reads ours and prints what is wrong, line by line.

A part is used up to 80 % of its voltage and 70 % of its current; a circuit's supply lies within its range; everything
stands 60 °C inside a closed box with 10 K to spare. Mains is 230 V: a mains input is not derated but judged against the
range its maker states, which must hold mains ± 10 %. Supply, fuse and the feed's parts carry what the budget of a full
feed needs, all valves open, the gateway's computer included.
`checked` says whether the figures were read in the datasheet, `source` in which; all others need that before they are
bought. What stands in the gateway box stands in a dry room: 45 °C in the box, with 10 K to spare.
"""

import csv
import io
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware.power.budget import (
    FUSE_A,
    FUSE_SHARE,
    OUTLETS_MAX,
    READER_FUSE_A,
    READERS_MAX,
    SUPPLY_W,
    Feed,
    fused_a,
    load_a,
    readers_a,
    supply_a,
)
from hardware.schematics.hwo1 import BOARD, Board
from hardware.schematics.values import value

FOLDER = Path(__file__).parent
FILES = ("outlet_board", "outlet", "reader", "gateway_box")
COLUMNS = (
    "refs", "quantity", "mpn", "manufacturer", "description", "rohs", "voltage_max_v", "voltage_need_v",
    "current_max_a", "current_need_a", "supply_min_v", "supply_max_v", "supply_v", "temp_max_c", "checked", "source",
)  # fmt: skip
_VOLTAGE_SHARE, _CURRENT_SHARE = 0.80, FUSE_SHARE
MAINS_V, _MAINS_TOLERANCE = 230.0, 0.10
#: what is more than this is mains
_LOW_V_MAX = 60.0
_TEMPERATURE_C_MIN, _DRY_ROOM_C_MIN = 70.0, 55.0
_FIGURES = COLUMNS[6:14]
_CHECKED = ("datasheet", "no")
#: the figures that parts of a kind must have, by the letters of their ref; all together make one group
_GROUPS = {
    "voltage": ("voltage_max_v", "voltage_need_v"),
    "current": ("current_max_a", "current_need_a"),
    "supply": ("supply_min_v", "supply_max_v", "supply_v"),
}
_NEEDED = {
    "R": ("voltage",), "C": ("voltage",), "W": ("voltage",), "GW": ("supply",), "IF": ("supply",), "M": ("supply",),
    "PS": ("supply", "current"),
    **dict.fromkeys(("Q", "F", "J", "JP", "X", "XA", "XB", "XT", "V", "SW", "P"), ("voltage", "current")),
}  # fmt: skip
_ANY = ("D", "BZ", "SP", "RD")
#: what a net reaches for a moment; the clamp lets 42.1 V through
_NET_V = {"+24V": 42.1, "+24V_F": 42.1, "+24V_H": 42.1, "VALVE_K": 42.1, "+5V": 5.0, "+3V3": 3.3, "V_BACKUP": 3.3}
#: where a series spells its value, and the unit of two digits and a power of ten
_CODES = {
    r"RC\d{4}FR-07(\w+)L$": None, r"CC\d{4}\w+B[BN](\d{3})$": 1e-12, r"GRM\w{7}(\d{3})[KM]": 1e-12,
    r"EEU-\w{4}(\d{3})$": 1e-6, r"FC\w{2}(\d{3})Z": 1e-6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list; a figure that does not apply is missing."""

    number: int
    refs: tuple[str, ...]
    text: dict[str, str]
    figures: dict[str, float]


class BomMalformed(Exception):
    """A list cannot be read; the message says where and why."""


def read(path: Path) -> list[Line]:
    """
    Return the lines of a list.

    :raises BomMalformed: naming file, line, column and reason.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BomMalformed(f"{path.name}: cannot be read: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise BomMalformed(f"{path.name}:1: the columns must be {','.join(COLUMNS)}")
    lines = [_line(path.name, number, row) for number, row in enumerate(reader, start=2)]
    if not lines:
        raise BomMalformed(f"{path.name}: has no parts")
    return lines


def _line(name: str, number: int, row: dict[str, str]) -> Line:
    where = f"{name}:{number}"
    if len(row) != len(COLUMNS) or any(row[column] is None for column in COLUMNS):
        raise BomMalformed(f"{where}: must have {len(COLUMNS)} cells")
    figures = {}
    for column in _FIGURES:
        if row[column]:
            try:
                figures[column] = float(row[column])
            except ValueError:
                raise BomMalformed(f"{where}: {column} {row[column]!r} is no number") from None
            if not math.isfinite(figures[column]):
                raise BomMalformed(f"{where}: {column} {row[column]!r} is no finite number")
            if column.startswith(("voltage_", "current_")) and figures[column] <= 0:
                raise BomMalformed(f"{where}: {column} {row[column]!r} must be positive")
    return Line(number, tuple(row["refs"].split()), dict(row), figures)


def complaints(name: str, lines: Sequence[Line]) -> list[str]:
    """Return what is wrong with a list in itself."""
    found = []
    seen: set[str] = set()
    for line in lines:
        where = f"{name}:{line.number} {' '.join(line.refs)}"
        for ref in line.refs:
            if ref in seen:
                found.append(f"{where}: {ref} is there twice")
            seen.add(ref)
        found += [f"{where}: {problem}" for problem in (*_words(line), *_there(line), *_derating(line))]
        needed_c, stands_c = (
            _DRY_ROOM_C_MIN if name == "gateway_box" else _TEMPERATURE_C_MIN,
            line.figures.get("temp_max_c"),
        )
        if (stands_c or 0.0) < needed_c:
            found.append(f"{where}: stands {stands_c or 0.0:g} °C, {needed_c:g} °C are needed")
    return found


def _words(line: Line) -> list[str]:
    text = line.text
    found = [f"{name} is missing" for name in ("refs", "mpn", "manufacturer", "description") if not text[name].strip()]
    if text["rohs"] != "yes":
        found.append("is not RoHS")
    if text["checked"] not in _CHECKED:
        found.append(f"checked must be one of {', '.join(_CHECKED)}")
    elif (text["checked"] == "no") == bool(text["source"].strip()):
        found.append("a source belongs to a part that was checked, and to no other")
    if text["quantity"] != str(len(line.refs)):
        found.append(f"quantity {text['quantity']} is not the number of refs, {len(line.refs)}")
    return found


def _there(line: Line) -> list[str]:
    """Return which figures are missing: half a group, or a group that parts of this kind must have."""
    whole = {name for name, columns in _GROUPS.items() if all(each in line.figures for each in columns)}
    begun = {name for name, columns in _GROUPS.items() if any(each in line.figures for each in columns)}
    found = [f"{name}: {', '.join(_GROUPS[name])} belong together" for name in sorted(begun - whole)]
    for ref in line.refs:
        kind = ref.rstrip("0123456789")
        found += [f"{ref} must have its {name} figures" for name in _NEEDED.get(kind, ()) if name not in begun]
        if kind == "U" and not begun & {"voltage", "supply"}:
            found.append(f"{ref} must have its voltage or its supply figures")
        elif kind in _ANY and not begun:
            found.append(f"{ref} must have a voltage, a current or a supply range")
    return found


def _derating(line: Line) -> list[str]:
    found = []
    for what, unit, share in (("voltage", "v", _VOLTAGE_SHARE), ("current", "a", _CURRENT_SHARE)):
        most, need = line.figures.get(f"{what}_max_{unit}"), line.figures.get(f"{what}_need_{unit}")
        if most is not None and need is not None and need > most * share + 1e-9:
            found.append(f"{what} {need:g} {unit.upper()} is over {share:.0%} of {most:g} {unit.upper()}")
    supply, low, high = (line.figures.get(name) for name in ("supply_v", "supply_min_v", "supply_max_v"))
    if supply is not None and low is not None and high is not None:
        spread = _MAINS_TOLERANCE if supply > _LOW_V_MAX else 0.0
        if not (low <= supply * (1 - spread) and supply * (1 + spread) <= high):
            found.append(f"{supply:g} V{' ± 10 %' if spread else ''} is not within its supply range {low} to {high} V")
    for used in (line.figures.get("voltage_need_v"), supply):
        if used is not None and used > _LOW_V_MAX and used != MAINS_V:
            found.append(f"{used:g} V: mains is {MAINS_V:g} V")
    return found


def against_schematic(lines: Sequence[Line], board: Board = BOARD) -> list[str]:
    """Return what the board and its list do not agree on, both ways."""
    drawn = {each.ref for each in board.components}
    listed = {ref for line in lines for ref in line.refs}
    found = [f"{ref} is in the schematic and not in the parts list" for ref in sorted(drawn - listed)]
    return found + [f"{ref} is in the parts list and not in the schematic" for ref in sorted(listed - drawn)]


def values_against_schematic(lines: Sequence[Line], board: Board = BOARD) -> list[str]:
    """Return resistors and capacitors of another value than the schematic's, and numbers listed twice."""
    drawn = {each.ref: each.value for each in board.components}
    found, listed = [], dict[str, int]()
    for line in lines:
        mpn = line.text["mpn"]
        if listed.setdefault(mpn, line.number) != line.number:
            found.append(f"{mpn} is on line {listed[mpn]} and on line {line.number}")
        for ref in line.refs:
            if ref.rstrip("0123456789") in ("R", "C") and ref in drawn:
                named = re.search(r"(?:resistor|capacitor) (.*)", line.text["description"])
                said, wanted = value(named.group(1)) if named else None, value(drawn[ref])
                if said is None or wanted is None or not math.isclose(said, wanted):
                    found.append(f"{ref} is {drawn[ref]} in the schematic, here: {line.text['description']}")
                coded = coded_value(mpn)
                if coded is not None and wanted is not None and not math.isclose(coded, wanted):
                    found.append(f"{ref} is {drawn[ref]} in the schematic, {mpn} is another value")
    return found


def needs_against_schematic(lines: Sequence[Line], board: Board = BOARD) -> list[str]:
    """Return the parts whose needed voltage is less than that of a net they hang on."""
    hang_on = {ref: set[str]() for line in lines for ref in line.refs}
    for net, pins in board.nets.items():
        for pin in pins:
            hang_on.setdefault(pin.split(".")[0], set()).add(net)
    found = []
    for line in lines:
        need_v = line.figures.get("voltage_need_v", math.inf)
        for ref in line.refs:
            net = max(hang_on[ref], key=lambda each: _NET_V.get(each, 0.0), default="")
            if need_v < _NET_V.get(net, 0.0):
                found.append(f"{ref} is on {net} and needs {_NET_V[net]:g} V, here: {need_v:g} V")
    return found


def coded_value(mpn: str) -> float | None:
    """Return the ohms or farads that a number of a series we use spells out, or None."""
    for pattern, unit in _CODES.items():
        coded = re.match(pattern, mpn)
        if coded and unit is None:
            return value(coded.group(1))
        if coded and unit is not None:
            return int(coded.group(1)[:2]) * 10.0 ** int(coded.group(1)[2]) * unit
    return None


def against_budget(name: str, lines: Sequence[Line]) -> list[str]:
    """Return the parts of a list that are not rated for what a full feed draws, or are not those of the budget."""
    feed = Feed(OUTLETS_MAX, OUTLETS_MAX, 1.5, readers=READERS_MAX)
    needs = {
        "gateway_box": {"PS1": supply_a(feed), "F2": fused_a(feed), "W2": fused_a(feed)}
        | dict.fromkeys(("XT1", "W5"), load_a(feed))
        | dict.fromkeys(("F3", "XT3", "W7"), readers_a(feed)),
        "reader": dict.fromkeys(("XT1", "W2"), readers_a(feed)),
        "outlet": dict.fromkeys(("W1", "W3", "XA", "XB"), load_a(feed)),
        "outlet_board": dict.fromkeys(("J1", "J2"), load_a(feed))
        | dict.fromkeys(("Q1", "J3", "D3"), feed.valve_a)
        | dict.fromkeys(("F1", "D2"), feed.idle_a + feed.valve_a),
    }.get(name, {})
    line_of = {ref: line for line in lines for ref in line.refs}
    found = []
    for ref, need_a in needs.items():
        stated_a = line_of[ref].figures.get("current_need_a", 0.0) if ref in line_of else 0.0
        if stated_a < need_a - 1e-9:
            found.append(f"{name} {ref}: {stated_a:g} A is less than the {need_a:.2f} A of a full feed")
    for ref, budget_a in (("PS1", SUPPLY_W / feed.supply_v), ("F2", FUSE_A), ("F3", READER_FUSE_A)):
        if ref in needs and ref in line_of and line_of[ref].figures.get("current_max_a") != budget_a:
            found.append(f"{name} {ref}: the budget reckons with {budget_a:g} A")
    return found


def main(folder: Path = FOLDER) -> int:
    """Print what is wrong with the lists of a folder; return 1 if anything is."""
    found = []
    for name in FILES:
        try:
            lines = read(folder / f"{name}.csv")
        except BomMalformed as error:
            found.append(str(error))
            continue
        found += [*complaints(name, lines), *against_budget(name, lines)]
        if name == "outlet_board":
            found += [*against_schematic(lines), *values_against_schematic(lines), *needs_against_schematic(lines)]
        unchecked = sum(line.text["checked"] == "no" for line in lines)
        print(f"{name}: {len(lines)} lines, {unchecked} of them to be compared with the datasheet before buying")
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
