"""
Builds a board from its data and the symbol library, runs the electrical rule check, and writes the net table.

`python -m hardware.schematics.draw VARIANT… --out DIR`; prints what is wrong and fails on any error or warning.
"""

import argparse
import csv
import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardware.schematics.hwo1 import BOARD, Board
from hardware.schematics.rules import complaints
from hardware.schematics.variants import VARIANTS

SYMBOLS = Path("/usr/share/kicad/symbols")
TABLE = Path(__file__).parent / "hwo1_nets.csv"
COLUMNS = ("net", "ref", "pin", "name")


class SymbolsMissing(Exception):
    """The symbol library is not installed; the message says how to install it."""


def library(*, storage: Path) -> Any:
    """
    Return the drawing library, set to the symbols that our boards use; they are copied to `storage`.

    :raises SymbolsMissing: if the symbols are not there.
    """
    if not SYMBOLS.is_dir():
        raise SymbolsMissing(f"{SYMBOLS} is missing; run: make hardware-tools")
    storage.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, set[str]] = {}
    for each in BOARD.components:
        wanted.setdefault(each.library, set()).add(each.symbol)
    for name, symbols in wanted.items():  # the whole libraries take half a minute to parse
        text = (SYMBOLS / f"{name}.kicad_sym").read_text(encoding="utf-8")
        (storage / f"{name}.kicad_sym").write_text(excerpt(text, symbols), encoding="utf-8")
    for version in ("", "6", "7", "8", "9", "10"):
        os.environ[f"KICAD{version}_SYMBOL_DIR"] = str(storage)
    skidl = importlib.import_module("skidl")
    skidl.set_default_tool(skidl.KICAD6)
    skidl.lib_search_paths[skidl.KICAD6] = [str(storage)]
    skidl.config.pickle_dir = str(storage)
    return skidl


def excerpt(text: str, symbols: set[str]) -> str:
    """Return a symbol library with nothing but some symbols and those that they extend."""
    head, *rest = re.split(r'^(?=  \(symbol ")', text.rstrip().removesuffix(")"), flags=re.MULTILINE)
    every = {piece.split('"', 2)[1]: piece for piece in rest}
    wanted, kept = set(symbols), set[str]()
    while wanted:
        name = wanted.pop()
        kept.add(name)
        parent = re.search(r'\(extends "([^"]+)"\)', every[name])
        if parent and parent.group(1) not in kept:
            wanted.add(parent.group(1))
    return head + "".join(piece for name, piece in every.items() if name in kept) + ")\n"


def build(skidl: Any, board: Board) -> Any:
    """Return a circuit with the board's parts and nets, unchecked."""
    circuit = skidl.Circuit()
    parts = {}
    for each in board.components:
        parts[each.ref] = skidl.Part(
            each.library,
            each.symbol,
            ref=each.ref,
            value=each.value,
            footprint=each.footprint,
            tag=each.ref,
            circuit=circuit,
        )
    for name, pins in board.nets.items():
        net = skidl.Net(name, circuit=circuit)
        if name in board.driven:
            net.drive = skidl.POWER
        for pin in pins:
            net += _pin(parts, pin)
    for pin in board.unconnected:
        circuit.NC.connect(_pin(parts, pin))
    return circuit


def _pin(parts: dict[str, Any], where: str) -> Any:
    ref, name = where.split(".", 1)
    found = [pin for pin in parts[ref].pins if name in (pin.num, pin.name)]
    assert len(found) >= 1, f"{where}: the symbol has no such pin"
    return found[0] if len(found) == 1 else next(pin for pin in found if pin.num == name)


def rows(circuit: Any) -> list[tuple[str, str, str, str]]:
    """Return the net table: net, part, pin number, pin name, sorted."""
    found = []
    for net in circuit.nets:
        if net is not circuit.NC:
            found += [(net.name, pin.part.ref, pin.num, pin.name) for pin in net.pins]
    return sorted(found, key=lambda row: (row[0], row[1], len(row[2]), row[2]))


def draw(skidl: Any, name: str, out: Path) -> bool:
    """Draw one variant, write its table, print what is wrong with it, and return whether it is good."""
    board = VARIANTS[name]()
    log = skidl.erc_logger
    circuit = build(skidl, board)
    circuit.ERC()
    errors, warnings = log.error.count, log.warning.count
    with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows(circuit))
    found = complaints(board)
    for complaint in found:
        print(f"{name}: {complaint}")
    print(
        f"{name}: {len(board.components)} parts, {len(board.nets)} nets, "
        f"{errors} ERC errors, {warnings} ERC warnings, {len(found)} rules broken"
    )
    return not (errors or warnings or found)


def main(arguments: Sequence[str]) -> int:
    """
    Draw the variants and return 0 when nothing speaks against any of them.

    With `--fresh` the board's net table is also compared with the one that is kept beside this file.
    """
    parser = argparse.ArgumentParser(prog="python -m hardware.schematics.draw")
    parser.add_argument("variants", nargs="+", choices=sorted(VARIANTS), metavar="VARIANT")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--fresh", action="store_true", help="compare with the net table that is kept")
    args = parser.parse_args(arguments)
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.chdir(out)  # the drawing library writes its logs where it stands
    try:
        skidl = library(storage=out / "symbols")
    except SymbolsMissing as error:
        print(error, file=sys.stderr)
        return 2
    good = [draw(skidl, name, out) for name in args.variants]
    if args.fresh and (out / "hwo1.csv").read_bytes() != TABLE.read_bytes():
        print(f"{TABLE.name} is not what the board says; copy {out / 'hwo1.csv'} over it and read the diff")
        return 1
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
