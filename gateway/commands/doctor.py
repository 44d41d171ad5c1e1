"""
`campustap-gateway doctor`: checks everything a gateway rests on, one line each, and says what to do.

Exit status 0 when all is well, 1 with warnings only, 2 when something fails. Changes nothing. While the gateway runs,
what it knows of its lines is taken from it; otherwise the lines are asked here.
"""

import argparse
import asyncio
import contextlib
import email.utils
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway.bootstrap import STORE_FILE, key_path
from gateway.care.certificates import CertificateRefused, held
from gateway.care.snapshot import Snapshot
from gateway.commands import scan
from gateway.commands.local import NotRunning, ask
from gateway.config import Config, ConfigRefused, load_config
from gateway.contract import topics
from gateway.contract.provisioning import common_name
from gateway.devices.budget import budgets, todo
from gateway.uplink import inspection
from gateway.uplink.client import Broker, probe
from gateway.uplink.verification import SKEW_MS_MAX
from hardware.points import MapError, RegisterMap, load

PROBE_S = 5.0
_KEY_BYTES = 32
_STATUS = {"ok": 0, "warn": 1, "fail": 2}
_UNITS_ASKED_MAX = 247


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `todo` is empty when all is well."""

    what: str
    result: str
    said: str
    todo: str = ""


def ok(what: str, said: str) -> Check:
    """Return a check that found nothing."""
    return Check(what, "ok", said)


def warn(what: str, said: str, todo: str) -> Check:
    """Return a check that found what will become trouble."""
    return Check(what, "warn", said, todo)


def fail(what: str, said: str, todo: str) -> Check:
    """Return a check that found why the gateway cannot work."""
    return Check(what, "fail", said, todo)


def add_to(commands: Any) -> None:
    """Add the parser."""
    parser = commands.add_parser("doctor", help="check bus, broker, clock, disk, maps, keys and journal")
    parser.add_argument("--config", type=Path, required=True, help="TOML file")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Check everything and return the exit status."""
    found: list[Check] = []
    for check in checks(given.config):
        found.append(check)
        if not given.json:
            print(f"{check.result:<4} {check.what}: {check.said}" + (f"\n     → {check.todo}" if check.todo else ""))
    if given.json:
        print(msgspec.json.encode(found).decode())
    return max((_STATUS[check.result] for check in found), default=0)


def checks(config_file: Path) -> Iterator[Check]:
    """Yield all checks, each as soon as it is known."""
    try:
        config = load_config(config_file)
    except ConfigRefused as error:
        yield fail("config", str(error), "mend the file; nothing else can be checked before")
        return
    yield ok("config", f"{config.tenant}/{config.gateway}, {len(config.lines)} lines, {len(config.devices)} devices")
    try:
        running: Snapshot | None = ask(config.state_dir)
    except NotRunning:
        running = None
    if running is None:
        yield warn("process", "the gateway does not run", "systemctl start campustap-gateway, when all else is well")
    else:
        yield ok("process", f"{running.software} runs, {len(running.devices)} devices")
    yield check_key(config)
    yield from check_certificate(config, datetime.now(UTC))
    yield from check_maps(config)
    yield check_disk(config)
    yield check_journal(config)
    yield check_broker(config, running)
    yield check_clock(config, running)
    yield from check_lines(config, running)
    yield from check_budgets(config)


def check_key(config: Config) -> Check:
    """Return whether the key that signs records is there and nobody else's to read."""
    path = key_path(config.state_dir)
    todo = f"campustap-gateway init --state {config.state_dir}, and enroll at the backend"
    try:
        size, mode = path.stat().st_size, path.stat().st_mode
    except OSError as error:
        return fail("key", f"{path}: {error.strerror}", todo)
    if size != _KEY_BYTES:
        return fail("key", f"{path}: is no key", f"put it back from a copy, or remove it and: {todo}")
    if mode & 0o077:
        return warn("key", f"{path}: others may read it", f"chmod 600 {path}")
    return ok("key", str(path))


def check_certificate(config: Config, now: datetime) -> Iterator[Check]:
    """Yield whether the certificate for the broker is good and ours."""
    path = config.broker_cert
    todo = "campustap-gateway init --tenant … --gateway … --backend … --claim-code …"
    if path is None:
        yield warn("certificate", "the gateway comes to the broker without one", todo)
        return
    try:
        have = held(path)
    except CertificateRefused as error:
        yield fail("certificate", str(error), todo)
        return
    left = have.left(now)
    if have.common_name != common_name(config.tenant, config.gateway):
        yield fail("certificate", f"it names {have.common_name!r}: the broker takes us for somebody else", todo)
    elif left.total_seconds() <= 0:
        yield fail("certificate", f"it ran out on {have.not_after:%Y-%m-%d}", f"campustap-gateway renew, or {todo}")
    elif now < have.not_before:
        yield fail("certificate", f"it begins on {have.not_before:%Y-%m-%d %H:%M} UTC", "set the clock")
    elif have.is_due(now):
        yield warn("certificate", f"it runs out in {left.days} days", "campustap-gateway renew --config …")
    else:
        yield ok("certificate", f"{have.common_name}, good for {left.days} days")


def check_maps(config: Config) -> Iterator[Check]:
    """Yield whether every register map that is named can be used."""
    map_ids = sorted({place.map_id for device in config.devices for place in device.places})
    if not map_ids:
        yield warn("maps", "no device is configured", "run `campustap-gateway scan` and write [[devices]]")
    for map_id in map_ids:
        users = ", ".join(d.device_id for d in config.devices if map_id in [place.map_id for place in d.places])
        try:
            found = load(map_id, config.maps_dir)
        except MapError as error:
            yield fail("maps", f"{error} (for {users})", "write a map_id that is there, or mend the map")
        else:
            yield ok("maps", f"{map_id} {found.version}")


def check_disk(config: Config) -> Check:
    """Return whether the state folder can be written and has the room the journal asks for."""
    folder = config.state_dir
    if not folder.is_dir():
        return fail("disk", f"{folder}: is no folder", f"campustap-gateway init --state {folder}")
    if not os.access(folder, os.W_OK):
        return fail("disk", f"{folder}: cannot be written", "run as the gateway's user, or give it the folder")
    free = shutil.disk_usage(folder).free
    said = f"{free // 1_048_576} MiB free at {folder}"
    if free < config.journal_free_bytes_min:
        return fail("disk", said, f"make room: nothing opens below {config.journal_free_bytes_min // 1_048_576} MiB")
    if free < 2 * config.journal_free_bytes_min:
        return warn("disk", said, "make room soon")
    return ok("disk", said)


def check_journal(config: Config) -> Check:
    """Return whether the journal is whole and drains."""
    path = config.state_dir / STORE_FILE
    look = inspection.inspect(path)
    if look is None:
        return ok("journal", "none yet; it is made at the first start")
    if look.trouble:
        return fail("journal", f"{path}: {look.trouble}", "keep the file; at its next start the gateway moves it aside")
    if look.unreadable:
        said = f"{look.unreadable} rows cannot be used, the first is {look.first_unreadable}"
        return fail("journal", said, "start the gateway again: it sets them aside in the file and sends the others")
    said = f"{look.waiting} of {config.journal_rows_max} records wait, last {look.sequence}"
    if look.waiting >= config.journal_rows_max:
        return fail("journal", said, "nothing opens until the backend acknowledges: see broker")
    if look.waiting * 2 >= config.journal_rows_max:
        return warn("journal", said, "the backend does not acknowledge fast enough: see broker, and the worker's log")
    aside = sorted(config.state_dir.glob(f"{STORE_FILE}.damaged-*"))
    if aside:
        return warn(
            "journal", f"{said}; {len(aside)} damaged files were moved aside", f"keep {aside[-1]} for the books"
        )
    if look.set_aside:
        said = f"{said}; {look.set_aside} damaged rows were set aside"
        return warn("journal", said, f"they are in the table `damaged` of {path}, for the books; look after the disk")
    return ok("journal", said)


def check_broker(config: Config, running: Snapshot | None) -> Check:
    """Return whether the broker takes us."""
    where = f"{config.broker_host}:{config.broker_port}"
    if running is not None and running.takeovers:
        said = f"the connection was taken from us {running.takeovers} times: another box may have our certificate"
        return fail("broker", said, "find the other box, revoke the certificate and enroll again with a claim code")
    if running is not None and running.connected:
        return ok("broker", f"{where}, the gateway is connected")
    try:
        trouble = probe(
            Broker(
                host=config.broker_host,
                port=config.broker_port,
                client_id=f"ct-{config.tenant}-{config.gateway}-doctor",
                subscription=topics.down_filter(config.tenant, config.gateway),
                will_topic="",
                will_payload=b"",
                tls=config.broker_tls,
            ),
            timeout_s=PROBE_S,
        )
    except ConfigRefused as error:
        return fail("broker", str(error), "see certificate")
    if trouble:
        return fail("broker", f"{where}: {trouble}", "check address, firewall, certificate and the broker's log")
    return ok("broker", f"{where} takes us{' over TLS' if config.broker_tls else ', without TLS'}")


def check_clock(config: Config, running: Snapshot | None) -> Check:
    """Return whether our clock is near the backend's: commands from more than 5 s in our future are refused."""
    if running is not None and "clock_skew" in running.faults:
        return fail(
            "clock", "; ".join(running.faults["clock_skew"]), "start the time service and wait until it has set"
        )
    if not config.backend_url:
        return warn("clock", "not compared: backend_url is not configured", "make sure a time service runs")
    try:
        begun = time.time()
        try:
            with urllib.request.urlopen(f"{config.backend_url}/healthz", timeout=PROBE_S) as answer:
                date = answer.headers.get("date", "")
        except urllib.error.HTTPError as error:
            date = error.headers.get("date", "")
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
    except (OSError, ValueError) as error:
        return warn("clock", f"not compared: {config.backend_url}: {error}", "check backend_url and the network")
    ahead_s = (begun + time.time()) / 2 - (theirs + 0.5)  # the header has whole seconds, rounded down
    said = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the backend"
    if abs(ahead_s) * 1000 > SKEW_MS_MAX:
        return fail("clock", said, "start the time service: commands are refused or come too late")
    return ok("clock", said) if abs(ahead_s) < 2 else warn("clock", said, "start the time service")


def check_lines(config: Config, running: Snapshot | None) -> Iterator[Check]:
    """Yield whether each line's devices answer."""
    if not config.lines:
        yield warn("bus", "no line is configured", "write [[lines]]")
    for line in config.lines:
        devices = [(d.device_id, p.unit) for d in config.devices for p in d.places if p.line_id == line.line_id]
        if running is not None:
            yield _from_running(line.line_id, running)
            continue
        units = tuple(sorted({unit for _, unit in devices}))[:_UNITS_ASKED_MAX] or (1,)
        try:
            found = asyncio.run(scan.scan(replace(line, timeout_ms=min(line.timeout_ms, 200)), units))
        except scan.ScanRefused as error:
            yield fail("bus", str(error), "check cable, address and power of the line")
            continue
        there = {each.unit for each in found if each.identities}
        silent = [device_id for device_id, unit in devices if unit not in there]
        yield _line_check(line.line_id, len(devices), silent, [])


def check_budgets(config: Config) -> Iterator[Check]:
    """Yield whether each serial line has the time for what is configured on it; nothing where a map is missing."""
    maps: dict[str, RegisterMap] = {}
    for map_id in sorted({place.map_id for device in config.devices for place in device.places}):
        with contextlib.suppress(MapError):
            maps[map_id] = load(map_id, config.maps_dir)
    known = tuple(d for d in config.devices if all(place.map_id in maps for place in d.places))
    for line_id, budget in budgets(replace(config, devices=known), maps).items():
        line = next(each for each in config.lines if each.line_id == line_id)
        said = f"{line_id}: {budget.quarter:.0%} of its time with a quarter open, {budget.full:.0%} with all"
        if budget.warning:
            yield warn("load", budget.warning, todo(line))
        else:
            yield ok("load", said)


def _from_running(line_id: str, running: Snapshot) -> Check:
    on_line = [each for each in running.devices if each.line_id == line_id]
    silent = [each.health.device for each in on_line if each.health.state != "online"]
    known = next((each for each in running.lines if each.line_id == line_id), None)
    strangers = [f"unit {unit}" for unit in known.strangers] if known else []
    return _line_check(line_id, len(on_line), silent, strangers)


def _line_check(line_id: str, count: int, silent: list[str], strangers: list[str]) -> Check:
    said = f"{line_id}: {count - len(silent)} of {count} devices answer"
    if silent and len(silent) == count:
        return fail("bus", said, "check cable, power, speed and parity of the line; then `campustap-gateway scan`")
    if silent:
        return warn("bus", f"{said}; silent: {', '.join(silent)}", "check those; then `campustap-gateway scan`")
    if strangers:
        return warn(
            "bus", f"{said}; not configured: {', '.join(strangers)}", "`campustap-gateway scan` says who they are"
        )
    return ok("bus", said)
