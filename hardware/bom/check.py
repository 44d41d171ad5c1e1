"""
Checks the parts lists. `python -m hardware.bom.check` reads ours and prints what is wrong, line by line.

A part is used up to 80 % of its voltage and 70 % of its current; a circuit's supply lies within its range; everything
stands 60 °C inside a closed box with 10 K to spare. `checked` says whether the figures were read in the datasheet; all
others need that before they are bought.
"""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware.schematics.hwo1 import BOARD, Board

FOLDER = Path(__file__).parent
FILES = ("outlet_board", "outlet", "reader", "gateway_box")
COLUMNS = (
    "refs", "quantity", "mpn", "manufacturer", "description", "rohs", "voltage_max_v", "voltage_need_v",
    "current_max_a", "current_need_a", "supply_min_v", "supply_max_v", "supply_v", "temp_max_c", "checked",
)  # fmt: skip
_VOLTAGE_SHARE, _CURRENT_SHARE = 0.80, 0.70
_TEMPERATURE_C_MIN = 70.0
_FIGURES = COLUMNS[6:14]
_CHECKED = ("datasheet", "no")


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
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise BomMalformed(f"{path.name}:1: the columns must be {','.join(COLUMNS)}")
        lines = []
        for number, row in enumerate(reader, start=2):
            figures = {}
            for name in _FIGURES:
                if row[name]:
                    try:
                        figures[name] = float(row[name])
                    except ValueError:
                        raise BomMalformed(f"{path.name}:{number}: {name} {row[name]!r} is no number") from None
            lines.append(Line(number, tuple(row["refs"].split()), dict(row), figures))
    return lines


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
        found += [f"{where}: {problem}" for problem in (*_words(line), *_derating(line))]
    return found


def _words(line: Line) -> list[str]:
    text = line.text
    found = [f"{name} is missing" for name in ("refs", "mpn", "manufacturer", "description") if not text[name].strip()]
    if text["rohs"] != "yes":
        found.append("is not RoHS")
    if text["checked"] not in _CHECKED:
        found.append(f"checked must be one of {', '.join(_CHECKED)}")
    if text["quantity"] != str(len(line.refs)):
        found.append(f"quantity {text['quantity']} is not the number of refs, {len(line.refs)}")
    return found


def _derating(line: Line) -> list[str]:
    found = []
    for what, unit, share in (("voltage", "v", _VOLTAGE_SHARE), ("current", "a", _CURRENT_SHARE)):
        most, need = line.figures.get(f"{what}_max_{unit}"), line.figures.get(f"{what}_need_{unit}")
        if (most is None) != (need is None):
            found.append(f"{what}: rating and need belong together")
        elif most is not None and need is not None and need > most * share + 1e-9:
            found.append(f"{what} {need:g} {unit.upper()} is over {share:.0%} of {most:g} {unit.upper()}")
    supply, low, high = (line.figures.get(name) for name in ("supply_v", "supply_min_v", "supply_max_v"))
    if supply is not None and not (low is not None and high is not None and low <= supply <= high):
        found.append(f"{supply:g} V is not within its supply range {low} to {high} V")
    if line.figures.get("temp_max_c", 0.0) < _TEMPERATURE_C_MIN:
        found.append(f"stands {line.figures.get('temp_max_c', 0.0):g} °C, {_TEMPERATURE_C_MIN:g} °C are needed")
    return found


def against_schematic(lines: Sequence[Line], board: Board = BOARD) -> list[str]:
    """Return what the board and its list do not agree on, both ways."""
    drawn = {each.ref for each in board.components}
    listed = {ref for line in lines for ref in line.refs}
    found = [f"{ref} is in the schematic and not in the parts list" for ref in sorted(drawn - listed)]
    return found + [f"{ref} is in the parts list and not in the schematic" for ref in sorted(listed - drawn)]


def main(folder: Path = FOLDER) -> int:
    """Print what is wrong with the lists of a folder; return 1 if anything is."""
    found = []
    for name in FILES:
        try:
            lines = read(folder / f"{name}.csv")
        except BomMalformed as error:
            found.append(str(error))
            continue
        found += complaints(name, lines)
        if name == "outlet_board":
            found += against_schematic(lines)
        unchecked = sum(line.text["checked"] == "no" for line in lines)
        print(f"{name}: {len(lines)} lines, {unchecked} of them to be compared with the datasheet before buying")
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
