"""
What must hold of a valve's points, so that what the gateway writes means open and closed, and is seen as such.

A valve whose two switch values are one, or whose labels the gateway does not know, would stay open while it is shown
closed, or fail half way, when the credit is there already.
"""

from fractions import Fraction

from hardware.checks import raw_range, shown_range
from hardware.document import Document
from hardware.model import Point, RegisterMap
from hardware.vocabulary import CLOSED_LABELS, SWITCH_LABELS, TIME_MS

_SWITCHES = ("valve_cmd", "valve_state", "safe_state")


def check_valves(doc: Document, register_map: RegisterMap) -> None:
    """Refuse a map whose valve cannot be told, or cannot show, whether it is open."""
    for point in register_map.points.values():
        if point.role not in _SWITCHES:
            continue
        where = f"blocks.{point.block}.{point.name}"
        if shown_range(point) is None or point.type in ("f32", "f64") or point.needs:
            doc.fail(where, f"role {point.role} needs a bit or a plain whole number", "write its raw values")
        if point.role == "safe_state" or point.enum is None:
            _check_values(doc, where, point)
        if point.enum is not None:
            _check_labels(doc, where, point, register_map)
    _check_watchdog(doc, register_map)


def _check_values(doc: Document, where: str, point: Point) -> None:
    """Refuse switch values that are one, or that do not reach the device and come back as they are."""
    if point.on == point.off:
        doc.fail(where, f"on_value and off_value are both {point.on}", "open and closed must differ")
    low, high = shown_range(point) or (0, 0)
    for key, value in (("on_value", point.on), ("off_value", point.off)):
        if not low <= value <= high:
            doc.fail(where, f"{key} {value} does not fit: it shows {low} to {high}")
        if point.access != "r":
            _check_writable(doc, where, point, key, value)
        if value in (point.nan, *point.nan_also):
            doc.fail(where, f"{key} {value} is also a nan, which no valve can show")


def _check_writable(doc: Document, where: str, point: Point, key: str, value: int) -> None:
    if (point.min is not None and value < point.min) or (point.max is not None and value > point.max):
        doc.fail(where, f"{key} {value} is outside of min and max, and would never be written")


def _check_labels(doc: Document, where: str, point: Point, register_map: RegisterMap) -> None:
    """Refuse an enum without the labels that are written or read."""
    members = register_map.enums[point.enum or ""]
    labels = {label: number for number, label in members.items()}
    if point.role == "safe_state":
        if members.get(point.off) not in CLOSED_LABELS:
            doc.fail(
                where,
                f"off_value {point.off} is {members.get(point.off)!r} in enums.{point.enum}, not CLOSED or OFF",
                "name the value that closes as off_value",
            )
        return
    pair = next((pair for pair in SWITCH_LABELS if set(pair) <= set(labels)), None)
    if pair is None:
        doc.fail(
            f"enums.{point.enum}",
            f"role {point.role} of {point.name} needs the labels OPEN and CLOSED, or ON and OFF; "
            f"it has {', '.join(labels) or 'none'}",
            'name the two places "OPEN" and "CLOSED"',
        )
    for label in pair:
        if point.access != "r":
            _check_writable(doc, where, point, label, labels[label])
        if labels[label] in (point.nan, *point.nan_also):
            doc.fail(where, f"{label} {labels[label]} is also a nan, which no valve can show")


def _check_watchdog(doc: Document, register_map: RegisterMap) -> None:
    """Refuse a watchdog whose timer cannot carry the time to set."""
    timer = register_map.by_role("watchdog")
    if register_map.deadman != "poll_watchdog" or timer is None or timer.needs:
        return
    steps = Fraction(int(register_map.caps["watchdog_ms"])) / TIME_MS[timer.unit] / timer.scale
    low, high = raw_range(timer) or (0, 0)
    low, high = max(low, timer.min or low), high if timer.max is None else min(high, timer.max)
    if steps.denominator != 1 or not low <= steps <= high:
        doc.fail("caps.watchdog_ms", f"{timer.name} cannot carry it: it takes whole steps from {low} to {high}")
