"""
Write `drivers.md`: what is known of every device that has a map. `python -m hardware.generate` writes it anew.

The table says what the maps say, so that it cannot promise what they do not.
"""

from pathlib import Path

from hardware.model import RegisterMap
from hardware.points import load, map_ids
from hardware.vocabulary import DEADMAN_BOUND

PAGE = Path(__file__).parent / "drivers.md"
TWIN = "firmware_sim/map_device.py"

_HEAD = """\
# Drivers

Written by `python -m hardware.generate` from the maps; a test keeps it fresh. `registers/` has a page for each map.

A device is one TOML file of schema `campustap-regmap/1`. Ours are in `register_maps/`; a site puts its own into
`register_maps/` beside its gateway's state, and needs no code. What a device may do follows from what closes its valve
when the gateway is gone.

| dead-man class | what runs on at worst |
|---|---|
"""

_COLUMNS = """
| device | map | class | opens | meters | reader | golden vectors | simulator twin | seen on real hardware |
|---|---|---|---|---|---|---|---|---|
"""

_SOURCES = """
## Sources and open points

No map of another maker's device has been tried on metal. What its documents leave open stays out of the map.
"""


def _opens(register_map: RegisterMap) -> str:
    if register_map.by_role("grant_id") is not None:
        return "one passage a grant"
    if register_map.deadman == "none":
        return "no: metering only"
    return "yes" if _meters(register_map) != "no" else "the valve, but nobody can be billed"


def _meters(register_map: RegisterMap) -> str:
    if register_map.by_role("volume_total") is not None and register_map.by_role("pulses_total") is None:
        return "volume"
    if register_map.by_role("pulses_total") is None:
        return "no"
    known = register_map.by_role("k_factor") is not None or register_map.k_factor_pulses_per_m3
    return "pulses" if known else "pulses, K-factor from the site"


def _reader(register_map: RegisterMap) -> str:
    return {"seq": "events", "flag": "one event", "level": "level"}.get(str(register_map.caps.get("mailbox")), "no")


def _row(register_map: RegisterMap) -> str:
    printed = sum(vector.origin == "document" for vector in register_map.vectors)
    status = register_map.status
    golden = f"{len(register_map.vectors)}, {printed} of them printed in a document"
    cells = (
        register_map.title,
        f"[`{register_map.map_id}`](registers/{register_map.map_id}.md) {register_map.version}",
        register_map.deadman,
        _opens(register_map),
        _meters(register_map),
        _reader(register_map),
        golden,
        f"`{status.get('twin', TWIN)}`",
        status.get("metal", "no"),
    )
    return "| " + " | ".join(cells) + " |\n"


def _note(register_map: RegisterMap) -> str:
    lines = [f"\n### {register_map.map_id}\n\n"]
    for source in register_map.source:
        where = f", page {source['page']}" if "page" in source else ""
        lines.append(f"- source: {source['title']}{where}" + (f" <{source['url']}>" if "url" in source else "") + "\n")
    if "golden" in register_map.status:
        lines.append(f"- golden: {register_map.status['golden']}\n")
    if "firmware" in register_map.status:
        lines.append(f"- firmware: {register_map.status['firmware']}\n")
    if "open_points" in register_map.status:
        lines.append(f"- open: {register_map.status['open_points']}\n")
    return "".join(lines)


def page() -> str:
    """Return the whole page."""
    maps = [load(map_id) for map_id in map_ids()]
    classes = "".join(f"| {name} | {bound} |\n" for name, bound in DEADMAN_BOUND.items())
    return _HEAD + classes + _COLUMNS + "".join(map(_row, maps)) + _SOURCES + "".join(map(_note, maps))
