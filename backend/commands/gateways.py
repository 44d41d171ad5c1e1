"""`campustap gateway …`: claim codes, signing, renewing and revoking certificates, configurations."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from backend.bootstrap.container import Backend
from backend.commands.common import CommandRefused, read_text, ready, show, write_text
from backend.config import Config
from backend.fleet import births, configurations, enrollment, enrollment_answers
from backend.fleet import service as fleet
from backend.tenants import service as tenants
from gateway.contract.provisioning import CONFIGURATION_BYTES_MAX
from gateway.contract.signing import SignatureRefused, Signed, decode

_REQUEST_BYTES_MAX = 20_000


def add_to(actions: Any) -> None:
    """Add the actions to the parser of `gateway`."""
    code = _action(actions, "claim-code", _claim_code, "make a one-time code with which a gateway enrolls")
    code.add_argument("--hours", type=int, default=enrollment.CODE_HOURS, help="how long it works (1 to 168)")
    code.add_argument("--new-key", action="store_true", help="the box was replaced and comes with another key")
    sign = actions.add_parser("sign", help="answer a gateway's enrollment request that came as a file")
    sign.add_argument("request", type=Path, metavar="REQUEST", help="written by campustap-gateway init")
    sign.add_argument("--renew", action="store_true", help="the request is for the next certificate")
    sign.add_argument("--out", type=Path, required=True, metavar="FILE", help="for the answer, which is no secret")
    sign.set_defaults(run=_sign)
    listing = actions.add_parser("certificates", help="list the certificates given to gateways")
    listing.add_argument("tenant", metavar="TENANT")
    listing.add_argument("gateway", metavar="GATEWAY", nargs="?")
    listing.set_defaults(run=_certificates)
    _action(actions, "revoke", _revoke, "revoke a gateway's certificates; then write the broker's files again")
    configure = _action(actions, "configure", _configure, "say which configuration a gateway should have")
    configure.add_argument("file", type=Path, metavar="FILE", help="the gateway's whole configuration, TOML")
    configure.add_argument("--confirm", type=int, default=60, metavar="SECONDS", help="time to come back healthy")


def _action(
    actions: Any, name: str, run: Callable[[Config, argparse.Namespace], None], about: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about)
    parser.add_argument("tenant", metavar="TENANT")
    parser.add_argument("gateway", metavar="GATEWAY")
    parser.set_defaults(run=run)
    return parser


def described(conn: Connection, tenant_id: str) -> list[dict[str, Any]]:
    """Return a school's gateways with their configuration, certificate and twins."""
    cares = births.cares(conn, tenant_id)
    rows = []
    for gateway in fleet.gateways(conn, tenant_id):
        care = cares.get(gateway.gateway_id, births.GatewayCare(tenant_id, gateway.gateway_id))
        wanted = configurations.desired(conn, tenant_id, gateway.gateway_id)
        desired = {"configuration_desired": wanted.version if wanted else 0}
        rows.append({**asdict(gateway), **asdict(care), **desired})
    return rows


def _claim_code(config: Config, args: argparse.Namespace) -> None:
    if not 1 <= args.hours <= enrollment.CODE_HOURS_MAX:
        raise CommandRefused(f"--hours: write a whole number from 1 to {enrollment.CODE_HOURS_MAX}")
    backend = ready(config)
    with backend.db.write() as conn:
        tenants.get(conn, args.tenant)
        show(
            asdict(
                enrollment.claim_code(
                    conn,
                    args.tenant,
                    args.gateway,
                    backend.context.clock(),
                    hours=args.hours,
                    allows_new_key=args.new_key,
                )
            )
        )


def _sign(config: Config, args: argparse.Namespace) -> None:
    try:
        signed = decode(read_text(args.request, bytes_max=_REQUEST_BYTES_MAX), Signed)
    except SignatureRefused as error:
        raise CommandRefused(f"{args.request}: is not an enrollment request: {error}") from error
    answer = enrollment_answers.answer(_desk(ready(config)), signed, is_renewal=args.renew)
    write_text(args.out, msgspec.json.encode(answer).decode() + "\n")
    show({"gateway": answer.gateway, "answer": args.out})


def _desk(backend: Backend) -> enrollment_answers.Desk:
    config = backend.config
    return enrollment_answers.Desk(
        db=backend.db,
        clock=backend.context.clock,
        secrets_dir=config.secrets_dir,
        broker_host=config.broker_host,
        broker_port=config.broker_port,
    )


def _certificates(config: Config, args: argparse.Namespace) -> None:
    with ready(config).db.read() as conn:
        tenants.get(conn, args.tenant)
        rows = [asdict(each) for each in enrollment.certificates(conn, args.tenant, args.gateway)]
    show([{name: value for name, value in row.items() if name != "certificate_pem"} for row in rows])


def _revoke(config: Config, args: argparse.Namespace) -> None:
    backend = ready(config)
    with backend.db.write() as conn:
        serials = enrollment.revoke(conn, args.tenant, args.gateway, backend.context.clock())
    show({"revoked": serials, "next": "campustap broker files --out DIR, then tell the broker to read them again"})


def _configure(config: Config, args: argparse.Namespace) -> None:
    text = read_text(args.file, bytes_max=CONFIGURATION_BYTES_MAX)
    backend = ready(config)
    with backend.db.write() as conn:
        made = configurations.desire(
            conn, args.tenant, args.gateway, text, backend.context.clock(), confirm_s=args.confirm
        )
    show({"gateway": args.gateway, "version": made.version, "next": f"campustap gateway list {args.tenant}"})
