"""Boards with one mistake each. Every one of them must be refused, or the checks are asleep."""

from collections.abc import Callable
from dataclasses import replace

from hardware.schematics.hwo1 import BOARD, Board


def _moved(board: Board, pin: str, to: str | None) -> Board:
    nets = {name: tuple(each for each in pins if each != pin) for name, pins in board.nets.items()}
    if to is not None:
        nets[to] = (*nets[to], pin)
    return replace(board, nets=nets)


def _without(board: Board, ref: str) -> Board:
    nets = {name: tuple(pin for pin in pins if pin.split(".")[0] != ref) for name, pins in board.nets.items()}
    return replace(board, nets=nets, components=tuple(each for each in board.components if each.ref != ref))


def _floating_receiver_enable() -> Board:
    return _moved(BOARD, "U4.~{RE}", None)


def _transmit_on_receive() -> Board:
    board = _moved(_moved(BOARD, "U4.RO", "RS485_TX"), "R6.1", None)
    return _moved(board, "U3.PA3", "RS485_TX")


def _pin_on_supply() -> Board:
    return _moved(_moved(BOARD, "U3.PB1", "+3V3"), "R16.1", None)


def _no_gate_pull_down() -> Board:
    return _without(BOARD, "R3")


def _flyback_reversed() -> Board:
    return _moved(_moved(BOARD, "D3.K", "VALVE_K"), "D3.A", "+24V_F")


def _valve_on_hold_up() -> Board:
    return _moved(BOARD, "J3.1", "+24V_H")


def _no_bypass() -> Board:
    return _without(BOARD, "C6")


def _bus_crossed() -> Board:
    return _moved(_moved(BOARD, "J2.3", "RS485_B"), "J2.4", "RS485_A")


def _termination_for_good() -> Board:
    return _moved(_without(BOARD, "JP1"), "R7.2", "RS485_A")


VARIANTS: dict[str, Callable[[], Board]] = {
    "hwo1": lambda: BOARD,
    "floating-receiver-enable": _floating_receiver_enable,
    "transmit-on-receive": _transmit_on_receive,
    "pin-on-supply": _pin_on_supply,
    "no-gate-pull-down": _no_gate_pull_down,
    "flyback-reversed": _flyback_reversed,
    "valve-on-hold-up": _valve_on_hold_up,
    "no-bypass": _no_bypass,
    "bus-crossed": _bus_crossed,
    "termination-for-good": _termination_for_good,
}
#: found by the electrical rule check; the others by our own rules
BY_ERC = ("floating-receiver-enable", "transmit-on-receive", "pin-on-supply")
