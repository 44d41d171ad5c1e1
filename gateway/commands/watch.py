"""`campustap-gateway watch`: a live table of the running gateway's devices in the terminal."""

import argparse
import sys
import time
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway.care.snapshot import Snapshot
from gateway.commands.local import ask
from gateway.config import load_config

_CLEAR = "\x1b[H\x1b[J"
_COLORS = {"online": "\x1b[32m", "silent": "\x1b[31m", "mismatch": "\x1b[33m"}
_PLAIN = "\x1b[0m"
_CELL_MAX = 60


def add_to(commands: Any) -> None:
    """Add the parser."""
    parser = commands.add_parser("watch", help="live table of the devices of the gateway that runs on this box")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", type=Path, help="the gateway's TOML file")
    where.add_argument("--state", type=Path, help="the gateway's state folder")
    parser.add_argument("--once", action="store_true", help="print the table once")
    parser.add_argument("--json", action="store_true", help="print the figures once as JSON")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """
    Show the table until interrupted; return the exit status.

    :raises NotRunning: if no gateway answers.
    """
    state = given.state or load_config(given.config).state_dir
    if given.json:
        print(msgspec.json.encode(ask(state)).decode())
        return 0
    colors = sys.stdout.isatty()
    if given.once:
        print(table(ask(state), colors=colors))
        return 0
    try:
        while True:
            print(_CLEAR + table(ask(state), colors=colors), flush=True)
            time.sleep(min(max(given.every, 0.2), 3_600.0))
    except KeyboardInterrupt:
        return 0


def age(now_ms: int, at_ms: int) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    if not at_ms:
        return "never"
    seconds = max(0, now_ms - at_ms) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3_600:
        return f"{seconds // 60:.0f} min"
    return f"{seconds // 3_600:.0f} h" if seconds < 86_400 else f"{seconds // 86_400:.0f} d"


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _printable(text: str) -> str:
    """Return a text that cannot write to the terminal what it likes."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def rows(header: Sequence[str], body: Sequence[Sequence[str]], *, colors: bool = False) -> list[str]:
    """Return a table's lines; the third column is colored by state."""
    cells = [[_printable(cell)[:_CELL_MAX] for cell in row] for row in [header, *body]]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        if colors:
            padded = [
                _COLORS.get(cell.strip(), "") + cell + (_PLAIN if cell.strip() in _COLORS else "") for cell in padded
            ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _budget(quarter_permille: int | None, full_permille: int | None) -> str:
    if quarter_permille is None or full_permille is None:
        return "-"
    return f"{quarter_permille / 10:.0f} / {full_permille / 10:.0f} %"


def table(now: Snapshot, *, colors: bool = False) -> str:
    """Return everything a person at the box wants to see at a glance."""
    broker = "connected" if now.connected else f"NOT CONNECTED ({now.trouble or 'not reached'})"
    head = [
        f"{now.tenant}/{now.gateway}  {now.software}  up {age(now.at_ms, now.started_at_ms)}",
        f"broker: {broker}, {now.connections} connections"
        + (f", TAKEN OVER {now.takeovers} times: another box may have our certificate" if now.takeovers else ""),
        f"journal: {now.journal_waiting} of {now.journal_rows_max} records wait, {now.journal_lost} lost"
        f"   disk: {now.disk_free_bytes // 1_048_576} MiB free",
        f"configuration: {now.configuration.state}, version {now.configuration.version}"
        f" (running {now.configuration.running_version})"
        + (f": {now.configuration.detail}" if now.configuration.detail else ""),
    ]
    if now.certificate_not_after_ms:
        head.append(f"certificate: good until {_day(now.certificate_not_after_ms)}")
    for fault, known in sorted(now.faults.items()):
        head.append(f"FAULT {fault}: {'; '.join(known)}")
    head += [f"WARNING {line.warning}" for line in now.lines if line.warning]
    rejected = sum(now.rejected.values())
    if rejected:
        head.append("rejected: " + ", ".join(f"{why} {count}" for why, count in sorted(now.rejected.items())))
    lines = [
        (
            each.line_id,
            each.transport,
            str(each.devices),
            "-" if each.load_permille is None else f"{each.load_permille / 10:.1f} %",
            _budget(each.budget_quarter_permille, each.budget_full_permille),
            str(each.requests),
            str(each.errors),
            ", ".join(f"unit {unit} {shown}" for unit, shown in sorted(each.strangers.items())) or "-",
        )
        for each in now.lines
    ]
    devices = [
        (
            each.health.device,
            f"{each.line_id}/{each.unit}",
            each.health.state,
            age(now.at_ms, each.health.last_answer_at_ms),
            "open" if each.health.valve_open else "closed",
            ", ".join(each.health.faults) or "-",
            str(each.health.timeouts),
            str(each.health.crc_errors),
            "; ".join([each.health.evidence, *each.parts]),
        )
        for each in now.devices
    ]
    line_header = ("LINE", "KIND", "DEVICES", "LOAD", "BUDGET 25/100", "REQUESTS", "ERRORS", "STRANGERS")
    device_header = ("DEVICE", "AT", "STATE", "AGE", "VALVE", "FAULTS", "TIMEOUTS", "CRC", "EVIDENCE")
    return "\n".join(
        [
            *(_printable(text) for text in head),
            "",
            *rows(line_header, lines),
            "",
            *rows(device_header, devices, colors=colors),
        ]
    )
