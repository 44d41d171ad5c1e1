"""
Checks the harnesses. `python -m hardware.wiring.check` reads ours; with `--out DIR` it draws them, too.

Every pin and core is used or declared `nc`; both ends of a core have the same name; colors and cross-sections follow
the list below; a plug meets its opposite; terminals are named like the schematic's nets; part numbers are in the
parts list; the riser's cores carry its outlets.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware.bom.check import FOLDER as BOM_FOLDER
from hardware.bom.check import read
from hardware.power.budget import Feed, refusals
from hardware.schematics.hwo1 import BOARD

FOLDER = Path(__file__).parent
HARNESSES = ("outlet", "reader", "gateway_box", "riser")
#: what a net's core looks like everywhere
_COLORS = {
    "+24V": "RD", "+24V_P": "RD", "+24V_F": "RD", "GND": "BK", "RS485_A": "WH", "RS485_B": "BN", "+5V": "OG",
    "PE": "GNYE", "N": "BU", "L": "BN", "L_F": "BN",
}  # fmt: skip
#: the thinnest core a net may have
_GAUGE_MM2_MIN = {
    "+24V": 0.5,
    "+24V_F": 0.75,
    "VALVE_K": 0.75,
    "+24V_P": 1.5,
    "L": 1.5,
    "L_F": 1.5,
    "N": 1.5,
    "PE": 1.5,
}
_GENDERS = {"male": "female", "female": "male"}
_SUBTYPES = (*_GENDERS, "terminal", "leads")

Document = Mapping[str, Any]
End = tuple[str, str]


def load(path: Path) -> Document:
    """Return a harness as its file says it."""
    document = importlib.import_module("yaml").safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def label(connector: Mapping[str, Any], pin: str) -> str:
    """Return a pin's name; a second pin of the same name may carry a number after a space."""
    pins = [str(each) for each in connector.get("pins", range(1, len(connector["pinlabels"]) + 1))]
    return str(connector["pinlabels"][pins.index(pin)]).split(" ")[0]


def pins_of(connector: Mapping[str, Any]) -> list[str]:
    """Return a connector's pins."""
    return [str(each) for each in connector.get("pins", range(1, len(connector["pinlabels"]) + 1))]


def cores_of(cable: Mapping[str, Any]) -> list[str]:
    """Return a cable's cores, its shield last."""
    return [*(str(each) for each in range(1, len(cable["colors"]) + 1)), *(["s"] if cable.get("shield") else [])]


def paths(document: Document) -> Iterator[tuple[End, End | None, End]]:
    """Yield every joint: one end, the core between them if there is one, the other end."""
    for chain in document["connections"]:
        if len(chain) == 1:  # drawn without anything on it
            continue
        (left, left_pins), (right, right_pins) = (next(iter(chain[at].items())) for at in (0, 2))
        middle = next(iter(chain[1].items())) if isinstance(chain[1], dict) else None
        assert {len(left_pins)} == {len(right_pins), len(middle[1] if middle else left_pins)}, chain
        for index, pin in enumerate(left_pins):
            core = (middle[0], str(middle[1][index])) if middle else None
            yield (left, str(pin)), core, (right, str(right_pins[index]))


def complaints(document: Document) -> list[str]:
    """Return what is wrong with a harness; nothing for a good one."""
    return [
        *_unused(document),
        *_ends(document),
        *_cores(document),
        *_plugs(document),
        *_against_board(document),
        *_against_parts(document),
        *_against_feed(document),
    ]


def _unused(document: Document) -> list[str]:
    """Return pins and cores that nothing hangs on and nobody has declared `nc`, and the other way round."""
    there = {(name, pin) for name, each in document["connectors"].items() for pin in pins_of(each)}
    there |= {(name, core) for name, each in document["cables"].items() for core in cores_of(each)}
    declared = {tuple(str(each).split(":", 1)) for each in document["metadata"]["nc"]}
    used = {end for path in paths(document) for end in path if end is not None}
    found = [f"{name}:{pin} is neither used nor declared nc" for name, pin in sorted(there - used - declared)]
    found += [f"{':'.join(each)} is declared nc and used" for each in sorted(declared & used)]
    return found + [f"{':'.join(each)} does not exist" for each in sorted((declared | used) - there)]


def _ends(document: Document) -> list[str]:
    connectors = document["connectors"]
    found = []
    for (left, left_pin), core, (right, right_pin) in paths(document):
        names = label(connectors[left], left_pin), label(connectors[right], right_pin)
        if names[0] != names[1]:
            found.append(f"{left}:{left_pin} {names[0]} leads to {right}:{right_pin} {names[1]} by {core}")
    return found


def _cores(document: Document) -> list[str]:
    found = []
    taken: set[End] = set()
    for (left, pin), core, _ in paths(document):
        if core is None:
            continue
        name = label(document["connectors"][left], pin)
        cable = document["cables"][core[0]]
        if core in taken:
            found.append(f"{core[0]}:{core[1]} is used twice")
        taken.add(core)
        if (core[1] == "s") != (name == "SHIELD"):
            found.append(f"{core[0]}:{core[1]} carries {name}: the shield is for SHIELD")
        if core[1] == "s":
            continue
        color, gauge_mm2 = cable["colors"][int(core[1]) - 1], float(str(cable["gauge"]).split(" ")[0])
        if color != _COLORS.get(name, color):
            found.append(f"{core[0]}:{core[1]} carries {name} and is {color}, not {_COLORS[name]}")
        if gauge_mm2 < _GAUGE_MM2_MIN.get(name, 0):
            found.append(f"{core[0]}:{core[1]} carries {name} on {gauge_mm2:g} mm², not {_GAUGE_MM2_MIN[name]:g} mm²")
    return found


def _plugs(document: Document) -> list[str]:
    connectors = document["connectors"]
    found = [
        f"{name}: subtype {each.get('subtype')!r} is none of {', '.join(_SUBTYPES)}"
        for name, each in connectors.items()
        if each.get("subtype") not in _SUBTYPES
    ]
    mates = [tuple(pair) for pair in document["metadata"]["mates"]]
    for one, other in mates:
        if connectors[other].get("subtype") != _GENDERS.get(connectors[one].get("subtype")):
            found.append(f"{one} and {other} are no pair: one is male, the other female")
        if connectors[one]["pinlabels"] != connectors[other]["pinlabels"]:
            found.append(f"{one} and {other} do not have the same pins")
    return found


def _against_board(document: Document) -> list[str]:
    if document["metadata"].get("board") != "hwo1":
        return []
    net_of = {pin: name for name, pins in BOARD.nets.items() for pin in pins}
    found = []
    for name, connector in document["connectors"].items():
        terminal = re.search(r"(J\d+)$", name)
        if terminal is None:
            continue
        drawn = [net_of[pin] for pin in sorted(net_of) if pin.split(".")[0] == terminal.group(1)]
        if drawn != connector["pinlabels"]:
            found.append(f"{name}: its pins are {connector['pinlabels']}, in the schematic {drawn}")
    return found


def _against_parts(document: Document) -> list[str]:
    files = {document["metadata"]["bom"], "outlet_board"}
    lines = [line for name in sorted(files) for line in read(BOM_FOLDER / f"{name}.csv")]
    parts = {line.text["mpn"]: line for line in lines}
    found = []
    for name, each in [*document["connectors"].items(), *document["cables"].items()]:
        mpn = each.get("mpn")
        if mpn is not None and str(mpn) not in parts:
            found.append(f"{name}: {mpn} is not in the parts list")
        elif mpn is not None and name in document["cables"]:
            gauge = re.search(r"\d+X([\d.]+)|-(\d\.\d)-", str(mpn))
            stated = str(each["gauge"]).split(" ")[0]
            if gauge and (gauge.group(1) or gauge.group(2)) != stated:
                found.append(f"{name}: {mpn} is not {stated} mm²")
    return found


def _against_feed(document: Document) -> list[str]:
    load_of = document["metadata"].get("feed")
    if load_of is None:
        return []
    found = []
    for (left, pin), core, _ in paths(document):
        if core is not None and label(document["connectors"][left], pin) == "+24V":
            gauge_mm2 = float(str(document["cables"][core[0]]["gauge"]).split(" ")[0])
            found += [f"{core[0]}: {said}" for said in refusals(Feed(core_mm2=gauge_mm2, **load_of))]
    return found


def draw(path: Path, out: Path) -> None:
    """Write drawing, page and parts of a harness."""
    wireviz = importlib.import_module("wireviz.wireviz")
    out.mkdir(parents=True, exist_ok=True)
    wireviz.parse(path, output_formats=("svg", "png", "html", "tsv"), output_dir=out, output_name=path.stem)


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong with the harnesses; return 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m hardware.wiring.check")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="harnesses; ours without one")
    parser.add_argument("--out", type=Path, metavar="DIR", help="draw them, too")
    args = parser.parse_args(arguments)
    wrong = 0
    for path in args.files or [FOLDER / f"{name}.yml" for name in HARNESSES]:
        document = load(path)
        found = complaints(document)
        wrong += len(found)
        for said in found:
            print(f"{path.name}: {said}")
        if not found:
            print(f"{path.name}: {len(document['connectors'])} connectors, {len(document['cables'])} cables, ok")
        if args.out and not found:
            draw(path, args.out)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
