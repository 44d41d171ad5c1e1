"""
`campustap-gateway init`: makes the gateway's key on the box, and gets it a certificate for a one-time claim code.

Three ways: over HTTPS with --backend and --claim-code; with files that a person carries (--request, later --answer);
or only the key, whose public half an operator enters at the backend. Each may be repeated.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway.bootstrap import key_path
from gateway.care import enrolling
from gateway.care.certificates import CertificateRefused, held, write
from gateway.care.enrolling import EnrollmentFailed
from gateway.config import Config, ConfigRefused, load_config
from gateway.contract import topics
from gateway.contract.provisioning import EnrollAnswer, common_name, tidy_code
from gateway.contract.signing import load_or_create_key, public_text
from gateway.systemd import unit

_ANSWER_BYTES_MAX = 100_000


class InitRefused(Exception):
    """What was asked cannot be done; the message says what to write."""


def add_to(commands: Any) -> None:
    """Add the parser."""
    parser = commands.add_parser("init", help="make the gateway's key and get its certificate; prints JSON")
    parser.add_argument("--state", type=Path, required=True, help="folder for keys, certificate and journal")
    parser.add_argument("--tenant", help="the school's id at the backend")
    parser.add_argument("--gateway", help="this gateway's id at the backend")
    parser.add_argument("--backend", metavar="URL", help="where to enroll, for example https://campustap.example.edu")
    parser.add_argument("--claim-code", metavar="CODE", help="from `campustap gateway claim-code`")
    parser.add_argument("--request", type=Path, metavar="FILE", help="write the request here, to be carried")
    parser.add_argument("--answer", type=Path, metavar="FILE", help="keep the answer that was carried back")
    parser.add_argument("--config", type=Path, metavar="FILE", help="begin this configuration file, if it is not there")
    parser.add_argument("--unit", metavar="FILE", help="write the systemd unit here; - prints it and nothing else")
    parser.set_defaults(run=run)
    renewing = commands.add_parser("renew", help="get the next certificate now")
    renewing.add_argument("--config", type=Path, required=True, help="TOML file")
    renewing.add_argument("--if-due", action="store_true", help="only when a third of its life or less is left")
    renewing.set_defaults(run=renew)


def run(given: argparse.Namespace) -> int:
    """
    Do what was asked; return the exit status.

    :raises InitRefused: also EnrollmentFailed and ConfigRefused.
    """
    state: Path = given.state.absolute()
    if given.unit == "-":
        print(_unit(given, state), end="")
        return 0
    said: dict[str, Any] = {}
    try:
        key = load_or_create_key(key_path(state))
        said["public_key"] = public_text(key.public_key())
        if given.tenant or given.gateway or given.backend or given.claim_code or given.request or given.answer:
            said |= _certificate(given, state)
        if given.unit:
            write(Path(given.unit).absolute(), _unit(given, state).encode())
            said["unit"] = given.unit
    except OSError as error:
        raise InitRefused(f"{error.filename or state}: {error.strerror}") from error
    except ValueError as error:
        raise InitRefused(f"{key_path(state)}: is no key: {error}") from error
    print(msgspec.json.encode(said).decode())
    return 0


def _who(given: argparse.Namespace) -> tuple[str, str]:
    if not given.tenant or not given.gateway:
        raise InitRefused("write --tenant and --gateway, as the backend knows them")
    try:
        topics.down_filter(given.tenant, given.gateway)
        common_name(given.tenant, given.gateway)
    except ValueError as error:
        raise InitRefused(f"--tenant, --gateway: {error}") from error
    return given.tenant, given.gateway


def _certificate(given: argparse.Namespace, state: Path) -> dict[str, Any]:
    """Write a request, ask over HTTP, or keep an answer; return what to print."""
    tenant, gateway = _who(given)
    if given.answer:
        return _keep(given, state, enrolling.read_answer(_read(given.answer)), "")
    if not given.claim_code:
        raise InitRefused("write --claim-code; `campustap gateway claim-code` at the backend makes one")
    try:
        code = tidy_code(given.claim_code)
    except ValueError as error:
        raise InitRefused(f"--claim-code: {error}") from error
    key = load_or_create_key(key_path(state))
    signed = enrolling.request(state, key, tenant=tenant, gateway=gateway, claim_code=code)
    if given.request:
        write(given.request.absolute(), msgspec.json.encode(signed) + b"\n", is_secret=True)
        return {"request": str(given.request), "next": "campustap gateway sign REQUEST --out ANSWER at the backend"}
    if not given.backend:
        raise InitRefused("write --backend URL to enroll now, or --request FILE to carry the request")
    url = enrolling.check_url(given.backend)
    return _keep(given, state, enrolling.ask(url, signed), url)


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    if len(data) > _ANSWER_BYTES_MAX:
        raise InitRefused(f"{path}: is too large for an answer")
    return data


def _keep(given: argparse.Namespace, state: Path, answer: EnrollAnswer, url: str) -> dict[str, Any]:
    kept = enrolling.install(state, answer, tenant=given.tenant, gateway=given.gateway)
    said: dict[str, Any] = {"certificate": kept.common_name, "not_after": kept.not_after.isoformat()}
    if given.config and not given.config.exists():
        write(given.config.absolute(), enrolling.starting_toml(answer, state, url).encode(), is_secret=True)
        said["config"] = str(given.config)
    return said


def _unit(given: argparse.Namespace, state: Path) -> str:
    program = Path(sys.executable).parent / "campustap-gateway"
    config = (given.config or Path("/etc/campustap/gateway.toml")).absolute()
    try:
        return unit(program=program, config=config, state_dir=state)
    except ValueError as error:
        raise InitRefused(str(error)) from error


def renew(given: argparse.Namespace) -> int:
    """
    Get the next certificate; return the exit status.

    :raises EnrollmentFailed: if none came; the present one stays.
    """
    config = load_config(given.config)
    if not config.backend_url:
        raise ConfigRefused(f'{given.config}: backend_url: write it, for example "https://campustap.example.edu"')
    if given.if_due and not _is_due(config):
        print(msgspec.json.encode({"renewed": False}).decode())
        return 0
    if not key_path(config.state_dir).exists():
        raise EnrollmentFailed(f"{key_path(config.state_dir)}: there is no key yet; run `campustap-gateway init`")
    new = enrolling.renew(
        config.state_dir,
        load_or_create_key(key_path(config.state_dir)),
        url=config.backend_url,
        tenant=config.tenant,
        gateway=config.gateway,
    )
    print(msgspec.json.encode({"renewed": True, "not_after": new.not_after.isoformat()}).decode())
    return 0


def _is_due(config: Config) -> bool:
    if config.broker_cert is None:
        return True
    try:
        current = held(config.broker_cert)
    except CertificateRefused:
        return True
    return current.is_due(datetime.now(UTC))
