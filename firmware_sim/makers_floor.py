"""
A floor of other makers' devices, as a school has it that bought before it thought: what can be billed, and what cannot.

Two outlets are made of parts, a relay board and a shared pulse counter; one board ends its pulses by itself, the other
lets go when nobody polls it. The meters only measure, the reader only reads: opening is refused there by policy. One
meter hangs on the line and is in nobody's configuration yet: which code of its stands for which unit must first be read
off the meter itself.
"""

import json
from typing import Any

FLOOR = 9
#: units on the line, above those of the floors below
_UNIT = 200
#: name, map and what it is: which relay's board, or what only measures or reads
VALVES = (("waveshare.relay8", "one-shot relay board"), ("wirenboard.wbmr6", "relay board with a watchdog"))
COUNTER = "wirenboard.wbmcm8"
WITHOUT_VALVE = ("diehl.sharky775", "suto.s401", "technotrade.vrd485", "tuf.tuf2000f")
UNMANAGED = "sontex.supercal531"
_K_FACTOR, _K_FACTOR_TEXT = 450_000, "450"
#: a meter that shows a volume gives a pulse a milliliter
_ML_PER_M3 = 1_000_000


def add_to(plan: dict[str, Any], *, building: int) -> None:
    """Add the floor to a building of a plan."""
    gateway, line = f"gw_b{building}", f"b{building}"
    floor_id = f"pl_b{building}_f{FLOOR}"
    plan["places"].append(_place(floor_id, f"pl_b{building}", "floor", f"{FLOOR} 层", f"Floor {FLOOR}"))
    counter_unit = _UNIT + 40
    valves = []
    for number, map_id in enumerate([*(map_id for map_id, _ in VALVES), *WITHOUT_VALVE], start=1):
        place_id, device_id = f"{floor_id}_o{number:02d}", f"dev_b{building}_{FLOOR}{number:02d}"
        name, name_en = f"{FLOOR}{number:02d} 号 {map_id}", f"Shower {FLOOR}{number:02d}, {map_id}"
        plan["places"].append(_place(place_id, floor_id, "outlet", name, name_en))
        device: dict[str, Any] = {
            "device_id": device_id, "gateway_id": gateway, "line_id": line, "unit": _UNIT + number, "kind": "outlet",
            "map_id": map_id, "place_id": place_id, "name": name, "name_en": name_en, "scenario": "hot_water",
            "k_factor_pulses_per_m3": _ML_PER_M3, "floor": 3, "opens": map_id not in WITHOUT_VALVE,
        }  # fmt: skip
        if map_id not in WITHOUT_VALVE:
            valves.append(device_id)
            device["k_factor_pulses_per_m3"] = _K_FACTOR
            device["parts"] = [
                {"role": "valve", "line_id": line, "unit": _UNIT + number, "map_id": map_id},
                {"role": "meter", "line_id": line, "unit": counter_unit, "map_id": COUNTER,
                 "points": {"pulses_total": f"count_{number}"}, "k_factor": _K_FACTOR_TEXT},
            ]  # fmt: skip
        plan["devices"].append(device)
    wiring = {"gateway_id": gateway, "line_id": line}
    plan.setdefault("parts", []).extend([
        {"device_id": f"part_b{building}_counter", **wiring, "unit": counter_unit, "map_id": COUNTER, "behind": valves},
        {"device_id": f"part_b{building}_spare", **wiring, "unit": counter_unit + 1, "map_id": UNMANAGED},
    ])  # fmt: skip


def _place(place_id: str, parent_id: str, kind: str, name: str, name_en: str) -> dict[str, Any]:
    return {"place_id": place_id, "parent_id": parent_id, "kind": kind, "name": name, "name_en": name_en}


def composed(configuration: str, plan: dict[str, Any]) -> str:
    """Return a gateway's configuration in which outlets of several units name their parts."""
    head, *blocks = configuration.split("[[devices]]\n")
    made = {raw["device_id"]: raw for raw in plan["devices"] if raw.get("parts")}
    return "[[devices]]\n".join([head, *(_block(block, made) for block in blocks)])


def _block(block: str, made: dict[str, dict[str, Any]]) -> str:
    device_id = json.loads(block.partition("device_id = ")[2].partition("\n")[0])
    raw = made.get(device_id)
    if raw is None:
        return block
    lines = [f"device_id = {json.dumps(device_id)}", 'kind = "outlet"']
    for part in raw["parts"]:
        lines += ["", "[[devices.parts]]"]
        for name, value in part.items():
            if isinstance(value, dict):
                pairs = ", ".join(f"{key} = {json.dumps(text)}" for key, text in value.items())
                lines.append(f"{name} = {{ {pairs} }}")
            else:
                lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines) + "\n\n"
