"""
Checks the harnesses. `python -m hardware.wiring.check` reads ours; with `--out DIR` it draws them, too.

Every pin and core is used or declared `nc`; both ends of a core have the same name; colors, cross-sections and lengths
follow the lists in `limits`; a plug meets its opposite; a screen ends at 0 V or SHIELD, and SHIELD at earth beside the
mains; terminals are named like the schematic's nets; part numbers are in the parts list and fit, and what is listed is
drawn; the risers' cores carry their outlets and readers.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware.bom.check import FOLDER as BOM_FOLDER
from hardware.bom.check import BomMalformed, Line, read
from hardware.power.budget import READER_SPACING_M, Feed, refusals
from hardware.schematics.hwo1 import BOARD
from hardware.wiring.limits import COLORS, GAUGE_MM2_MIN, GAUGE_MM2_MIN_ELSE, LENGTH_M_MAX, LENGTH_M_MAX_ELSE, RESERVED
from hardware.wiring.shape import HarnessMalformed, malformed

FOLDER = Path(__file__).parent
HARNESSES = ("outlet", "reader", "gateway_box", "riser", "reader_riser")
_GENDERS = {"male": "female", "female": "male"}
#: boxes, glands, and the resistor that is clamped between two terminals
_ON_NO_WIRE = ("E", "G", "R")
_SUBTYPES = (*_GENDERS, "terminal", "leads")

Document = Mapping[str, Any]
End = tuple[str, str]


def load(path: Path) -> Document:
    """
    Return a harness as its file says it.

    :raises HarnessMalformed: if it cannot be read or is no harness.
    """
    yaml = importlib.import_module("yaml")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HarnessMalformed(f"cannot be read: {error}") from error
    wrong = malformed(document)
    if wrong:
        raise HarnessMalformed("; ".join(wrong))
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


def paths(document: Document) -> Iterator[tuple[End, End | None, End | None]]:
    """Yield every joint: one end, the core between them if there is one, the other end unless a screen is cut off."""
    for chain in document["connections"]:
        if len(chain) == 1:  # drawn without anything on it
            continue
        if len(chain) == 2:  # a screen with one end
            (end, (pin,)), (cable, (screen,)) = (next(iter(each.items())) for each in chain)
            yield (end, str(pin)), (cable, str(screen)), None
            continue
        (left, left_pins), (right, right_pins) = (next(iter(chain[at].items())) for at in (0, 2))
        middle = next(iter(chain[1].items())) if isinstance(chain[1], dict) else None
        for index, pin in enumerate(left_pins):
            core = (middle[0], str(middle[1][index])) if middle else None
            yield (left, str(pin)), core, (right, str(right_pins[index]))


def complaints(document: Document) -> list[str]:
    """Return what is wrong with a harness; nothing for a good one."""
    wrong = malformed(document)
    if wrong:
        return wrong
    return [
        *_unused(document),
        *_ends(document),
        *_cores(document),
        *_screens(document),
        *_lengths(document),
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
    for (left, left_pin), core, end in paths(document):
        if end is None:
            continue
        right, right_pin = end
        if (left, left_pin) == end:
            found.append(f"{left}:{left_pin} leads to itself")
        names = label(connectors[left], left_pin), label(connectors[right], right_pin)
        if names[0] != names[1]:
            found.append(f"{left}:{left_pin} {names[0]} leads to {right}:{right_pin} {names[1]} by {core}")
    return found


def _cores(document: Document) -> list[str]:
    found = []
    taken: set[End] = set()
    for (left, pin), core, end in paths(document):
        if core is None:
            continue
        name = label(document["connectors"][left], pin)
        cable = document["cables"][core[0]]
        if core in taken:
            found.append(f"{core[0]}:{core[1]} is used twice")
        taken.add(core)
        if (core[1] == "s") != (name == "SHIELD") and not (core[1] == "s" and end is None and name == "GND"):
            found.append(f"{core[0]}:{core[1]} carries {name}: the shield is for SHIELD")
        if core[1] == "s":
            continue
        color, gauge_mm2 = cable["colors"][int(core[1]) - 1], float(str(cable["gauge"]).split(" ")[0])
        if color != COLORS.get(name, color):
            found.append(f"{core[0]}:{core[1]} carries {name} and is {color}, not {COLORS[name]}")
        elif name not in RESERVED.get(color, (name,)):
            found.append(
                f"{core[0]}:{core[1]} carries {name} and is {color}, which is for {', '.join(RESERVED[color])}"
            )
        needed_mm2 = _gauge_mm2_min(document["connectors"][left], name)
        if gauge_mm2 < needed_mm2:
            found.append(f"{core[0]}:{core[1]} carries {name} on {gauge_mm2:g} mm², not {needed_mm2:g} mm²")
    return found


def _gauge_mm2_min(connector: Mapping[str, Any], name: str) -> float:
    """Return the thinnest core for a pin; 0 V needs what the supply beside it needs."""
    names = [label(connector, pin) for pin in pins_of(connector)] if name == "GND" else [name]
    feeds = [each for each in names if name != "GND" or each.startswith("+")]
    return max((GAUGE_MM2_MIN.get(each, GAUGE_MM2_MIN_ELSE) for each in feeds), default=GAUGE_MM2_MIN_ELSE)


def _screens(document: Document) -> list[str]:
    """Return cables whose screen is forgotten, and a SHIELD beside the mains that does not reach earth."""
    found = [
        f"{name}: {each['mpn']} has a screen"
        for name, each in document["cables"].items()
        if re.match("LIYCY|UNITRONIC", str(each.get("mpn"))) and not each.get("shield")
    ]
    connectors = document["connectors"]
    used = {end for path in paths(document) for end in path if end is not None}
    wired = {(name, label(connectors[name], pin)) for name, pin in used if name in connectors}
    nets = {net for _, net in wired}
    joined = [
        name
        for name, pair in document["metadata"].get("earthed", {}).items()
        if sorted(pair) == ["PE", "SHIELD"] and {(name, "PE"), (name, "SHIELD")} <= wired
    ]
    if {"PE", "SHIELD"} <= nets and len(joined) != 1:
        found.append(f"SHIELD must reach PE at one place, not {len(joined)}")
    return found


def _lengths(document: Document) -> list[str]:
    found = []
    for name in sorted({core[0] for _, core, _ in paths(document) if core is not None}):
        nets = {
            label(document["connectors"][end[0]], end[1])
            for end, core, _ in paths(document)
            if core and core[0] == name
        }
        most_m = min(LENGTH_M_MAX.get(net, LENGTH_M_MAX_ELSE) for net in nets)
        length_m = float(document["cables"][name]["length"])
        if not 0 < length_m <= most_m:
            found.append(f"{name}: {length_m:g} m; more than 0 and at most {most_m:g} m with {', '.join(sorted(nets))}")
    return found


def _plugs(document: Document) -> list[str]:
    connectors = document["connectors"]
    found = [
        f"{name}: subtype {each.get('subtype')!r} is none of {', '.join(_SUBTYPES)}"
        for name, each in connectors.items()
        if each.get("subtype") not in _SUBTYPES
    ]
    mates = [tuple(pair) for pair in document["metadata"]["mates"]]
    mated = {name for pair in mates for name in pair}
    for name, each in connectors.items():
        if each.get("subtype") in _GENDERS and name not in mated:
            found.append(f"{name}: is {each['subtype']} and has no mate")
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
    own = {ref: line for line in read(BOM_FOLDER / f"{document['metadata']['bom']}.csv") for ref in line.refs}
    found = []
    for name, each in [*document["connectors"].items(), *document["cables"].items()]:
        mpn = str(each.get("mpn") or "")
        parts = [line for line in lines if line.text["mpn"] == mpn]
        if not mpn:
            found.append(f"{name}: has no part number")
        elif not parts:
            found.append(f"{name}: {mpn} is not in the parts list")
        elif name in document["cables"]:
            found += _cable_against_part(name, each, [line for line in parts if name in line.refs] or parts)
        elif name in own and own[name].text["mpn"] != mpn:
            found.append(f"{name}: {mpn} is another part, the list has {own[name].text['mpn']}")
    return found


def _cable_against_part(name: str, cable: Mapping[str, Any], parts: Sequence[Line]) -> list[str]:
    mpn, stated = str(cable["mpn"]), str(cable["gauge"]).split(" ")[0]
    found = []
    gauge = re.search(r"\d+X([\d.]+)|-(\d\.\d)-", mpn)
    if gauge and (gauge.group(1) or gauge.group(2)) != stated:
        found.append(f"{name}: {mpn} is not {stated} mm²")
    counts = {each for line in parts for each in re.findall(r"(\d+) × ", line.text["description"])}
    if counts and str(len(cable["colors"])) not in counts:
        found.append(f"{name}: has {len(cable['colors'])} cores, the list says {', '.join(sorted(counts))}")
    return found


def _against_feed(document: Document) -> list[str]:
    load_of = document["metadata"].get("feed")
    if load_of is None:
        return ["metadata.feed is missing: outlets hang on it"] if document["metadata"].get("board") == "hwo1" else []
    found = []
    for (left, pin), core, _ in paths(document):
        if core is not None and label(document["connectors"][left], pin) == "+24V":
            length_m = float(document["cables"][core[0]]["length"])
            spacing_m = READER_SPACING_M if "readers" in load_of else Feed(1, 0, 1.5).spacing_m
            if length_m > spacing_m:
                found.append(f"{core[0]}: {length_m:g} m, the budget reckons with {spacing_m:g} m from box to box")
            gauge_mm2 = float(str(document["cables"][core[0]]["gauge"]).split(" ")[0])
            found += [f"{core[0]}: {said}" for said in refusals(Feed(core_mm2=gauge_mm2, **load_of))]
    return found


def undrawn(documents: Iterable[Document]) -> list[str]:
    """Return the parts that hang on a wire, are in the list of one of these harnesses, and are drawn in none."""
    drawn: dict[str, set[str]] = {}
    for document in documents:
        names = {name.split("_")[-1] for name in (*document["connectors"], *document["cables"])}
        drawn.setdefault(str(document["metadata"]["bom"]), set()).update(names)
    return [
        f"{bom}.csv: {ref} is in the parts list and in no harness"
        for bom in sorted(drawn)
        for line in read(BOM_FOLDER / f"{bom}.csv")
        for ref in line.refs
        if ref not in drawn[bom] and ref.rstrip("0123456789") not in _ON_NO_WIRE
    ]


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
        try:
            document = load(path)
            found = complaints(document)
        except (HarnessMalformed, BomMalformed) as error:
            print(f"{path.name}: {error}")
            wrong += 1
            continue
        wrong += len(found)
        for said in found:
            print(f"{path.name}: {said}")
        if not found:
            print(f"{path.name}: {len(document['connectors'])} connectors, {len(document['cables'])} cables, ok")
        if args.out and not found:
            draw(path, args.out)
    missing = [] if args.files or wrong else undrawn(load(FOLDER / f"{name}.yml") for name in HARNESSES)
    for said in missing:
        print(said)
    return 1 if wrong or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
