"""
Builds the boxes and measures them: `python -m hardware.enclosure.check --out DIR`; `--set name=value` tries others.

Each solid must be watertight and in one piece, and fit where it goes; the holes must fit the glands of the parts list
and leave their nuts room; the board must fit on its standoffs; what hangs on the rail must fit the rail.
"""

import argparse
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware.bom.check import FOLDER as BOM_FOLDER
from hardware.bom.check import read

FOLDER = Path(__file__).parent
#: file, part, and the room there is for it
SOLIDS = (
    ("outlet_box", "body", (160.0, 110.0, 60.0)),
    ("outlet_box", "lid", (160.0, 110.0, 15.0)),
    ("gateway_bracket", "", (60.0, 100.0, 40.0)),
)
PCB_MM, PCB_HOLES_MM = (100.0, 70.0), (92.0, 62.0)
#: thread, and the nut's width over corners
_GLANDS_MM = {"m12": (12.0, 16.2), "m16": (16.0, 21.0)}
#: the upper row uses every second place
_EVERY = {"m12": 1, "m16": 2}
_HOLE_PLAY_MM = (0.2, 0.8)
#: above the board stand the terminals, with the lid's rim over them; choice
_ABOVE_BOARD_MM = 20.0
_RAIL_MM = 300.0
#: a rail TH 35 (EN 60715): its height and the thickness of its flange
RAIL_HEIGHT_MM, RAIL_FLANGE_MM = 35.0, 1.0
#: what hangs on the gateway box's rail
_RAIL_WIDTHS_MM = {
    "PS1": 70.0, "F1": 18.0, "F2": 8.2, "F3": 8.2, "GW1": 45.0, "IF1": 45.0, "SP1": 12.0, "XT1": 26.0, "XT2": 16.0,
    "XT3": 26.0,
}  # fmt: skip
_BUILD_S_MAX = 120


class OpenScadMissing(Exception):
    """The program that builds solids is not there; the message says how to install it."""


def figures(name: str, changes: Mapping[str, str]) -> dict[str, Any]:
    """Return the figures at the top of a solid's file, with changes."""
    text = (FOLDER / f"{name}.scad").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(\w+) = ([^;]+);", text.split("\nmodule", 1)[0], re.MULTILINE))
    known = {key: value for key, value in found.items() if re.fullmatch(r'[\d\s.,\[\]"a-z-]+', value)}
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ValueError(f"{name} has no figure {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return {key: json.loads(value) for key, value in {**known, **changes}.items() if key != "$fn"}


def build(name: str, part: str, changes: Mapping[str, str], out: Path) -> Path:
    """
    Return the solid as STL.

    :raises OpenScadMissing: if the program is not there.
    :raises ValueError: if these figures make no solid.
    """
    stl = out / f"{name}{'_' + part if part else ''}.stl"
    done = _openscad(name, part, changes, stl)
    if done.returncode:
        raise ValueError(f"{name} {part} cannot be built: {done.stderr.strip()}")
    return stl


def lid_complaints(changes: Mapping[str, str], out: Path) -> list[str]:
    """Return whether the closed lid of the outlet box and its body want the same place."""
    done = _openscad("outlet_box", "clash", changes, out / "clash.stl")
    return [] if done.returncode and "top level object is empty" in done.stderr else ["the lid does not close"]


def _openscad(name: str, part: str, changes: Mapping[str, str], stl: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("openscad") is None:
        raise OpenScadMissing("openscad is missing; run: make hardware-tools")
    values = {**changes, **({"part": json.dumps(part)} if part else {})}
    options = [text for key, value in values.items() for text in ("-D", f"{key}={value}")]
    command = ["openscad", "-o", str(stl), *options, str(FOLDER / f"{name}.scad")]
    return subprocess.run(command, check=False, timeout=_BUILD_S_MAX, capture_output=True, text=True)


def solid_complaints(stl: Path, room_mm: Sequence[float]) -> list[str]:
    """Return what is wrong with a solid: open, in pieces, too large."""
    mesh = importlib.import_module("trimesh").load_mesh(stl)
    found = []
    if not mesh.is_watertight:
        found.append("is not watertight")
    if mesh.body_count != 1:
        found.append(f"is in {mesh.body_count} pieces")
    size_mm = [float(each) for each in mesh.bounding_box.extents]
    if any(size > room for size, room in zip(size_mm, room_mm, strict=True)):
        found.append(f"is {' × '.join(f'{each:.0f}' for each in size_mm)} mm; there is room for {tuple(room_mm)}")
    return found


def box_complaints(box: Mapping[str, Any]) -> list[str]:
    """Return what does not fit the outlet controller's box: glands, board."""
    found = []
    listed = [line for line in read(BOM_FOLDER / "outlet.csv") if "SKINTOP" in line.text["mpn"]]
    width_mm, height_mm = box["inner"][0], box["inner"][2]
    for size, (thread_mm, nut_mm) in _GLANDS_MM.items():
        needed = sum(len(line.refs) for line in listed if f"-{size.upper()}X" in line.text["mpn"])
        if box[f"glands_{size}"] != needed:
            found.append(f"{box[f'glands_{size}']} holes {size.upper()}, {needed} glands in the parts list")
        if not _HOLE_PLAY_MM[0] <= box[f"hole_{size}"] - thread_mm <= _HOLE_PLAY_MM[1]:
            found.append(f"a hole of {box[f'hole_{size}']} mm does not fit a gland {size.upper()}")
        pitch_mm = box[f"pitch_{size}"]
        if pitch_mm < nut_mm:
            found.append(f"nuts {size.upper()} {nut_mm} mm wide touch at a pitch of {pitch_mm} mm")
        if (needed - 1) * pitch_mm * _EVERY[size] + nut_mm > width_mm:
            found.append(f"a row of {needed} glands {size.upper()} is wider than the box")
    if height_mm * 0.4 < (_GLANDS_MM["m12"][1] + _GLANDS_MM["m16"][1]) / 2:
        found.append(f"the rows of glands touch in a box {height_mm} mm high")
    if height_mm * 0.72 + _GLANDS_MM["m16"][1] / 2 > height_mm - box["lip"]:
        found.append(f"the upper nuts meet the lid's rim in a box {height_mm} mm high")
    if tuple(map(float, box["pcb_holes"])) != PCB_HOLES_MM or tuple(map(float, box["pcb"][:2])) != PCB_MM:
        found.append(f"the standoffs {box['pcb_holes']} do not match the board's holes {PCB_HOLES_MM}")
    if any(inner < pcb + 4 for inner, pcb in zip(box["inner"][:2], PCB_MM, strict=True)):
        found.append(f"the board {PCB_MM} does not fit into {box['inner'][:2]}")
    if box["standoff"][0] + box["pcb"][2] + _ABOVE_BOARD_MM + box["lip"] > height_mm:
        found.append(f"above a board on standoffs of {box['standoff'][0]} mm there are not {_ABOVE_BOARD_MM:g} mm left")
    if not 0 < box["standoff"][2] < box["standoff"][1]:
        found.append(f"a hole of {box['standoff'][2]} mm leaves nothing of a standoff of {box['standoff'][1]} mm")
    return found


def bracket_complaints(bracket: Mapping[str, Any]) -> list[str]:
    """Return what does not fit of the bracket: the rail it hangs on, and the place it has there."""
    found = []
    if bracket["rail"] != RAIL_HEIGHT_MM:
        found.append(f"is made for a rail of {bracket['rail']} mm, ours is {RAIL_HEIGHT_MM:g} mm")
    if not RAIL_FLANGE_MM < bracket["rail_thick"] <= RAIL_FLANGE_MM + _HOLE_PLAY_MM[1]:
        found.append(f"holds a flange of {bracket['rail_thick']} mm, ours is {RAIL_FLANGE_MM:g} mm")
    if bracket["width"] > _RAIL_WIDTHS_MM["IF1"]:
        found.append(f"is {bracket['width']} mm wide, IF1 has {_RAIL_WIDTHS_MM['IF1']:g} mm of the rail")
    return found


def rail_complaints(rail_mm: float = _RAIL_MM, widths_mm: Mapping[str, float] = _RAIL_WIDTHS_MM) -> list[str]:
    """Return what does not fit on the gateway box's rail, or is not said."""
    sum_mm = sum(widths_mm.values())
    on_rail = {ref for line in read(BOM_FOLDER / "gateway_box.csv") for ref in line.refs if ref[0] not in "WR"}
    found = [f"{ref} has no width" for ref in sorted(on_rail - set(widths_mm))]
    if sum_mm > rail_mm:
        found.append(f"{sum_mm:.0f} mm do not fit on a rail of {rail_mm:.0f} mm")
    return found


def main(arguments: Sequence[str]) -> int:
    """Build, measure, print what is wrong; return 1 if anything is, 2 if it cannot be built."""
    parser = argparse.ArgumentParser(prog="python -m hardware.enclosure.check")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the outlet box")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        changes = dict(each.split("=", 1) for each in args.set)
        found = [f"outlet_box: {said}" for said in box_complaints(figures("outlet_box", changes))]
        found += [f"gateway_bracket: {said}" for said in bracket_complaints(figures("gateway_bracket", {}))]
        found += [f"rail: {said}" for said in rail_complaints()]
        for name, part, room_mm in SOLIDS:
            stl = build(name, part, changes if name == "outlet_box" else {}, args.out)
            wrong = solid_complaints(stl, room_mm)
            found += [f"{stl.stem}: {said}" for said in wrong]
            print(f"{stl.name}: {'ok' if not wrong else 'wrong'}")
        found += [f"outlet_box: {said}" for said in lid_complaints(changes, args.out)]
    except (ValueError, OpenScadMissing, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 2
    for said in found:
        print(said)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
