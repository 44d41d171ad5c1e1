"""What must be true of the controller's board beyond an electrical rule check."""

import math

from hardware.schematics.hwo1 import Board
from hardware.schematics.places import EXACT, PLACES
from hardware.schematics.values import value

#: the inductive loads: their pin at the transistor, and the net that feeds them
_COILS = {"J3.2": "+24V_F", "BZ1.-": "+5V"}
_SUPPLY_PINS = ("U2.VI", "U3.VDD/VDDA", "U4.VCC", "U5.VDD", "U6.VDD", "U1.IN")
_HOLD_UP_MS_MIN = 50


def complaints(board: Board) -> list[str]:
    """Return what is wrong with a board, in words; nothing for a good one."""
    net_of = {pin: name for name, pins in board.nets.items() for pin in pins}
    found = [*_gates(board, net_of), *_coils(board, net_of), *_bypasses(board, net_of), *_bus(board, net_of)]
    found += [*_places(net_of), *_values(board), *hold_up_complaints(board)]
    if net_of.get("J3.1") != "+24V_F":
        found.append("J3.1: the valve must not draw on the hold-up capacitor")
    return found


def _places(net_of: dict[str, str]) -> list[str]:
    return [
        f"{pin} is on {net_of.get(pin, 'nothing')}, it must be on {net}: {why}"
        for net, why, pins in PLACES
        for pin in pins.split()
        if net_of.get(pin) != net
    ]


def _values(board: Board) -> list[str]:
    stated = {each.ref: value(each.value) for each in board.components}
    found = []
    for ref, (wanted, why) in EXACT.items():
        actual = stated.get(ref)
        if actual is None or not math.isclose(actual, wanted):
            found.append(f"{ref} is {actual if actual is None else format(actual, 'g')}, not {wanted:g}: {why}")
    return found


def _joins(board: Board, net_of: dict[str, str], kind: str, one: str, other: str) -> bool:
    """Return whether a two-pin part of a kind lies between two nets."""
    for component in board.components:
        if component.ref.rstrip("0123456789") == kind:
            ends = {net_of.get(f"{component.ref}.1"), net_of.get(f"{component.ref}.2")}
            if ends == {one, other}:
                return True
    return False


def _gates(board: Board, net_of: dict[str, str]) -> list[str]:
    found = []
    for component in board.components:
        if component.ref.startswith("Q"):
            gate = net_of.get(f"{component.ref}.G", "")
            if not _joins(board, net_of, "R", gate, "GND"):
                found.append(
                    f"{component.ref}: its gate {gate or '(open)'} has no pull-down; a reset would leave it open"
                )
    return found


def _coils(board: Board, net_of: dict[str, str]) -> list[str]:
    diodes = {
        (net_of.get(f"{each.ref}.A"), net_of.get(f"{each.ref}.K"))
        for each in board.components
        if each.ref.startswith("D")
    }
    return [
        f"{pin}: no diode leads from {net_of.get(pin)} back to {feed}"
        for pin, feed in _COILS.items()
        if (net_of.get(pin), feed) not in diodes
    ]


def _bypasses(board: Board, net_of: dict[str, str]) -> list[str]:
    found = []
    on_3v3 = sum(1 for each in board.components if each.ref.startswith("C") and net_of.get(f"{each.ref}.1") == "+3V3")
    users = sum(1 for pin in _SUPPLY_PINS if net_of.get(pin) == "+3V3")
    if on_3v3 < users + 1:
        found.append(f"+3V3: {on_3v3} capacitors for the regulator and {users} circuits")
    for pin in _SUPPLY_PINS:
        if not _joins(board, net_of, "C", net_of.get(pin, ""), "GND"):
            found.append(f"{pin}: no capacitor from {net_of.get(pin)} to GND")
    return found


def _bus(board: Board, net_of: dict[str, str]) -> list[str]:
    found = []
    for way in range(1, 6):
        if net_of.get(f"J1.{way}") != net_of.get(f"J2.{way}"):
            found.append(f"J1.{way} and J2.{way} must be one net: the bus goes through the box")
    if {net_of.get("D4.A1"), net_of.get("D4.A2")} != {"RS485_A", "RS485_B"} or net_of.get("D4.common") != "GND":
        found.append("D4: the line is not protected")
    if net_of.get("U4.RO") == net_of.get("U4.DI"):
        found.append(f"U4: transmits on {net_of.get('U4.DI')}, where it receives")
    if _joins(board, net_of, "R", "RS485_A", "RS485_B"):
        found.append("the line is terminated for good: only the last box terminates, by jumper")
    return found


def hold_up_ms(*, farad: float, supply_v: float, stop_v: float, load_w: float) -> float:
    """Return how long a capacitor carries a load after the supply is gone, in milliseconds."""
    return farad * (supply_v**2 - stop_v**2) / (2 * load_w) * 1000


def hold_up_complaints(board: Board) -> list[str]:
    """
    Return why a running session could not be stored when the supply fails; nothing if it can.

    Worst case: 20.4 V, 0.5 V across the diode, 20 % less capacity than the schematic's C2, the converter stops at 9 V,
    60 mA at 5 V with 75 % efficiency. Storing the session takes 2 ms at 400 kHz; the rest is for ten times that and a
    second try.
    """
    farad = next((value(each.value) for each in board.components if each.ref == "C2"), None)
    lasts_ms = hold_up_ms(farad=(farad or 0.0) * 0.8, supply_v=19.9, stop_v=9.0, load_w=0.060 * 5 / 0.75)
    if lasts_ms < _HOLD_UP_MS_MIN:
        return [f"C2: {lasts_ms:.0f} ms after the supply fails, at least {_HOLD_UP_MS_MIN} ms are needed"]
    return []
