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


def _swapped(*pins: str) -> Callable[[], Board]:
    """Return a maker of the board with the nets of pins exchanged, two by two."""

    def make() -> Board:
        board = BOARD
        for one, other in zip(pins[::2], pins[1::2], strict=True):
            net_of = {pin: name for name, each in board.nets.items() for pin in each}
            board = _moved(_moved(board, one, net_of[other]), other, net_of[one])
        return board

    return make


def _measuring(ref: str, value: str) -> Callable[[], Board]:
    """Return a maker of the board with another value of one part."""
    return lambda: replace(
        BOARD,
        components=tuple(replace(each, value=value) if each.ref == ref else each for each in BOARD.components),
    )


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
    "hold-up-too-small": _measuring("C2", "22u"),
    "gate-pull-down-too-weak": _measuring("R3", "10M"),
    "gate-series-too-large": _measuring("R4", "1M"),
    "divider-wrong": _measuring("R2", "68k"),
    "drain-and-source-swapped": _swapped("Q1.D", "Q1.S"),
    "supply-diode-reversed": _swapped("D2.A", "D2.K"),
    "buzzer-diode-reversed": _swapped("D5.A", "D5.K"),
    "clamp-reversed": _swapped("D1.1", "D1.2"),
    "hold-up-reversed": _swapped("C2.1", "C2.2"),
    "backup-reversed": _swapped("C16.1", "C16.2"),
    "clock-and-data-swapped": _swapped("U5.SCL", "U5.SDA"),
    "no-bus-pull-ups": lambda: _without(_without(BOARD, "R10"), "R11"),
    "line-crossed": _swapped("U4.A", "U4.B"),
    "bias-crossed": _swapped("JP2.A", "R9.2"),
    "line-unprotected": lambda: _moved(BOARD, "D4.common", "+3V3"),
    "b-does-not-go-through": lambda: _moved(BOARD, "J2.4", "SHIELD"),
    "shield-does-not-go-through": lambda: _moved(BOARD, "J2.5", "GND"),
    "no-pulse-clamp": lambda: _without(BOARD, "D6"),
    "fuse-bypassed": lambda: _moved(BOARD, "D2.A", "+24V"),
    "valve-not-driven": lambda: _moved(BOARD, "U3.PA8", None),
    "reader-crossed": _swapped("R25.1", "R26.1"),
    "cover-and-key-swapped": _swapped("U3.PB0", "U3.PA15"),
    "memory-write-protected": lambda: _moved(BOARD, "U5.WP", "+3V3"),
    "no-reset-capacitor": lambda: _without(BOARD, "C10"),
    "valve-terminal-reversed": _swapped("J3.1", "J3.2"),
}
#: found by the electrical rule check; the others by our own rules
BY_ERC = ("floating-receiver-enable", "transmit-on-receive", "pin-on-supply")
