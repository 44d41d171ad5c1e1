"""
`campustap-gateway scan`: finds the units on a line, reads who they are, and compares that with the configuration.

Nothing is written to any unit. Two units with one address answer at the same time: what comes back is no frame, or one
time the one and one time the other; both are named.
"""

import argparse
import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from gateway.care import serial_path
from gateway.commands.local import NotRunning, ask
from gateway.commands.watch import rows
from gateway.config import Config, Line, load_config
from gateway.devices import lookout
from gateway.modbus.bus import Bus, Declined, NoAnswer, NotTried, Priority
from hardware.points import MAPS_DIR, RegisterMap, load

UNIT_MAX = 247
TIMEOUT_MS = 100
QUESTIONS = 3
_RECONNECT_WAITS = 20
_RECONNECT_WAIT_S = 0.1
DIFFERENT = 1


class ScanRefused(Exception):
    """What was asked cannot be scanned; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one address did. `identities` are all that were shown; `is_garbled` when bytes came that were no frame."""

    unit: int
    identities: tuple[str, ...] = ()
    is_garbled: bool = False

    @property
    def is_there(self) -> bool:
        """Return whether anything answered."""
        return bool(self.identities) or self.is_garbled


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the comparison: `ok`, `missing`, `unknown`, `duplicate` or `garbled`."""

    line_id: str
    unit: int
    verdict: str
    device_id: str
    shown: str


def add_to(commands: Any) -> None:
    """Add the parser."""
    parser = commands.add_parser("scan", help="find units on a line and compare with the configuration")
    parser.add_argument("--config", type=Path, help="TOML file: its lines are scanned and its devices expected")
    parser.add_argument("--line", metavar="LINE", help="only this line of the configuration")
    parser.add_argument("--tcp", metavar="HOST:PORT", help="a line of Modbus TCP instead")
    parser.add_argument("--rtu-tcp", metavar="HOST:PORT", help="a line of RTU frames in TCP instead")
    parser.add_argument("--serial", metavar="PATH", help="a serial line instead")
    parser.add_argument("--baud", type=int, default=38_400)
    parser.add_argument("--parity", choices=["N", "E", "O"], default="E")
    parser.add_argument("--units", default=f"1-{UNIT_MAX}", metavar="FIRST-LAST", help="addresses, for example 1-32,40")
    parser.add_argument("--timeout-ms", type=int, default=TIMEOUT_MS)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def units_of(text: str) -> tuple[int, ...]:
    """
    Return the addresses a text names, ascending.

    :raises ScanRefused: if it names none, or others than 1 to 247.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ScanRefused(f"--units: {part!r} is no address; write for example 1-32,40")
        low, high = int(first), int(last if dash else first)
        if not 1 <= low <= high <= UNIT_MAX:
            raise ScanRefused(f"--units: {part!r}: addresses go from 1 to {UNIT_MAX}")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def _address(option: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise ScanRefused(f"{option}: {text!r}: write HOST:PORT, for example 192.168.1.20:502")
    return host.strip("[]"), int(port)


def _lines(given: argparse.Namespace, config: Config | None) -> list[Line]:
    if not 10 <= given.timeout_ms <= 10_000:
        raise ScanRefused("--timeout-ms: write a whole number from 10 to 10000")
    if given.tcp:
        host, port = _address("--tcp", given.tcp)
        return [Line(line_id="tcp", transport="tcp", host=host, port=port)]
    if given.rtu_tcp:
        host, port = _address("--rtu-tcp", given.rtu_tcp)
        return [Line(line_id="rtu-tcp", transport="rtu_tcp", host=host, port=port)]
    if given.serial:
        if not 1_200 <= given.baud <= 1_000_000:
            raise ScanRefused("--baud: write a whole number from 1200 to 1000000")
        return [Line(line_id="serial", transport="serial", path=given.serial, baud=given.baud, parity=given.parity)]
    if config is None:
        raise ScanRefused("write --config FILE, or one of --tcp, --rtu-tcp, --serial")
    lines = [line for line in config.lines if given.line in (None, line.line_id)]
    if not lines:
        known = ", ".join(line.line_id for line in config.lines) or "none"
        raise ScanRefused(f"--line: {given.line!r} is none of the configured lines: {known}")
    return lines


def run(given: argparse.Namespace) -> int:
    """
    Scan and compare; return 0 when all is as configured, else 1.

    :raises ScanRefused: also ConfigRefused, for what cannot be used.
    """
    config = load_config(given.config) if given.config else None
    lines, units = _lines(given, config), units_of(given.units)
    if config is not None and any(line in config.lines for line in lines):
        _check_alone(config)
    verdicts: list[Verdict] = []
    for line in lines:
        places = [(place, d.device_id) for d in config.devices for place in d.places] if config else []
        expected = {place.unit: device_id for place, device_id in places if place.line_id == line.line_id}
        found = asyncio.run(scan(replace(line, timeout_ms=given.timeout_ms), units))
        verdicts += compare(line.line_id, found, expected, asked=units)
    verdicts = name_twins(verdicts)
    if given.json:
        print(msgspec.json.encode(verdicts).decode())
    else:
        header = ("LINE", "UNIT", "VERDICT", "DEVICE", "SHOWS")
        body = [(v.line_id, str(v.unit), v.verdict, v.device_id or "-", v.shown or "-") for v in verdicts]
        print("\n".join(rows(header, body)) if verdicts else "nobody answers")
    is_as_configured = all(v.verdict == "ok" or (v.verdict == "unknown" and config is None) for v in verdicts)
    return 0 if is_as_configured and verdicts else DIFFERENT


def _check_alone(config: Config) -> None:
    """
    Make sure that nobody else asks on these lines: two masters on one line garble each other.

    :raises ScanRefused: if a gateway runs here.
    """
    with contextlib.suppress(NotRunning):
        ask(config.state_dir)
        raise ScanRefused("the gateway runs and owns these lines: stop it first, or look at `campustap-gateway watch`")


async def scan(line: Line, units: Sequence[int]) -> list[Found]:
    """
    Return what each address did, without writing anything.

    :raises ScanRefused: if the line cannot be opened.
    """
    bus = Bus(line)
    maps = tuple(load(path.stem) for path in sorted(MAPS_DIR.glob("*.toml")))
    bus.start()
    try:
        return [await _look(bus, line, unit, maps) for unit in units]
    finally:
        await bus.stop()


async def _look(bus: Bus, line: Line, unit: int, maps: tuple[RegisterMap, ...]) -> Found:
    shown: list[str] = []
    for _ in range(_RECONNECT_WAITS):
        try:
            await bus.read_input(unit, 0, 1, Priority.CLOSE)  # the priority that no back-off holds up
        except NotTried:
            await asyncio.sleep(_RECONNECT_WAIT_S)  # the line is being opened, or opened again
            continue
        except NoAnswer:
            return Found(unit, (), bus.unit(unit).crc_errors > 0)
        except Declined:
            pass
        break
    else:
        where = line.path or f"{line.host}:{line.port}"
        why = serial_path.trouble(line.path) if line.transport == "serial" else ""
        raise ScanRefused(f"line {line.line_id} at {where} cannot be opened" + (f": {why}" if why else ""))
    for _ in range(QUESTIONS):
        with contextlib.suppress(NotTried):
            identity = await lookout.ask(bus, unit, maps, is_quiet=lambda: True)
            if identity is not None:
                shown.append(identity)
    return Found(unit, tuple(dict.fromkeys(shown)) or ("answers",), bus.unit(unit).crc_errors > 0)


def compare(line_id: str, found: Sequence[Found], expected: dict[int, str], *, asked: Sequence[int]) -> list[Verdict]:
    """Return what is as configured and what is not, by address."""
    verdicts: list[Verdict] = []
    by_unit = {each.unit: each for each in found}
    for unit in asked:
        there, device_id = by_unit.get(unit, Found(unit)), expected.get(unit, "")
        shown = " / ".join(there.identities)
        if len(there.identities) > 1:
            verdicts.append(Verdict(line_id, unit, "duplicate", device_id, f"two units answer in turns: {shown}"))
        elif there.is_garbled:
            said = "no valid frame: two units have this address, or the line is bad"
            verdicts.append(Verdict(line_id, unit, "garbled", device_id, said + (f"; {shown}" if shown else "")))
        elif there.is_there:
            verdicts.append(Verdict(line_id, unit, "ok" if device_id else "unknown", device_id, shown))
        elif device_id:
            verdicts.append(Verdict(line_id, unit, "missing", device_id, ""))
    return verdicts


def name_twins(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts with units marked as duplicates that show the same serial number at two places."""
    counts = Counter(v.shown for v in verdicts if v.verdict in ("ok", "unknown") and v.shown.startswith("shows "))
    named = []
    for v in verdicts:
        is_twin = v.verdict in ("ok", "unknown") and counts[v.shown] > 1 and len(v.shown.split()) > 2
        places = [f"{o.line_id} unit {o.unit}" for o in verdicts if o.shown == v.shown and o is not v]
        named.append(replace(v, verdict="duplicate", shown=f"{v.shown}; also at {', '.join(places)}") if is_twin else v)
    return named
