"""
`campustap statement …`: brings a provider's daily file by hand, lets a second person import it, lists what there is.

A file brought here waits like one brought on the page: its words settle unknown payments, so two people answer for it.
Both are named by their login and must have the role; a name here is as good as whoever may use this shell.
"""

import argparse
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from backend.bootstrap.container import Backend
from backend.cardholders import service as cardholders
from backend.commands.common import CommandRefused, ready, show
from backend.config import Config
from backend.payments import entry_checks, people_rules
from backend.statements import proposals, service
from backend.statements.containers import PACKED_BYTES_MAX
from backend.statements.proposals import ProposedFile
from backend.statements.types import StatementFile
from backend.tenants import service as tenants

_DECIDERS = people_rules.APPROVERS


def add_to(commands: Any) -> None:
    """Add `statement` to the parser of commands."""
    statement = commands.add_parser("statement", help="providers' daily files")
    actions = statement.add_subparsers(dest="action", required=True)
    bringing = actions.add_parser(
        "import", help="check a file and let it wait for a second person, or refuse it; may be repeated"
    )
    bringing.add_argument("method", choices=service.METHODS, metavar="METHOD", help=", ".join(service.METHODS))
    bringing.add_argument("file", type=Path, metavar="FILE", help="as the provider gives it, packed or not")
    bringing.add_argument("--day", required=True, type=date.fromisoformat, metavar="YYYY-MM-DD")
    bringing.add_argument("--merchant", default="", metavar="NUMBER", help="refuse the file of any other merchant")
    _add_person(bringing, "who brings it, of finance")
    bringing.set_defaults(run=_bring)
    for word, run, help_text in (
        ("approve", _approve, "import a file that somebody else brought"),
        ("reject", _reject, "refuse a file that waits, or take back your own"),
    ):
        deciding = actions.add_parser(word, help=help_text)
        deciding.add_argument("proposal", metavar="PROPOSAL", help="as `statement waiting` lists it")
        _add_person(deciding, "who decides")
        deciding.set_defaults(run=run)
    for word, run, help_text in (
        ("waiting", _waiting, "list the files that wait for a second person, oldest first"),
        ("list", _list, "list the imported files, newest day first"),
    ):
        listing = actions.add_parser(word, help=help_text)
        listing.add_argument("--tenant", default="", help="of one school only")
        listing.set_defaults(run=run)


def _add_person(parser: argparse.ArgumentParser, help_text: str) -> None:
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--by", required=True, metavar="LOGIN", help=help_text)


def _person(conn: Connection, args: argparse.Namespace, roles: frozenset[str]) -> str:
    """Return the id of whoever acts, after checking that they may."""
    tenants.get(conn, args.tenant)
    cardholder_id = cardholders.cardholder_by_login(conn, args.tenant, args.by).cardholder_id
    entry_checks.demand_staff(conn, args.tenant, cardholder_id, roles)
    return cardholder_id


def _bring(config: Config, args: argparse.Namespace) -> None:
    data = _read(args.file)
    backend = ready(config)
    with backend.db.write() as conn:
        file = proposals.bring(
            conn,
            tenant_id=args.tenant,
            method=args.method,
            day=args.day,
            name=args.file.name,
            data=data,
            brought_by=_person(conn, args, people_rules.PROPOSERS),
            now=backend.context.clock(),
            merchant_no=args.merchant or _own_merchant_no(backend, args.tenant, args.method),
        )
        _show(conn, file)


def _own_merchant_no(backend: Backend, tenant_id: str, method: str) -> str:
    provider = backend.context.providers.get(method)
    return provider.merchant_no(tenant_id) if provider is not None else ""


def _approve(config: Config, args: argparse.Namespace) -> None:
    backend = ready(config)
    with backend.db.write() as conn:
        file = proposals.approve(
            conn,
            tenant_id=args.tenant,
            proposal_id=args.proposal,
            approved_by=_person(conn, args, _DECIDERS),
            now=backend.context.clock(),
        )
        _show(conn, file)


def _reject(config: Config, args: argparse.Namespace) -> None:
    backend = ready(config)
    with backend.db.write() as conn:
        file = proposals.reject(
            conn,
            tenant_id=args.tenant,
            proposal_id=args.proposal,
            rejected_by=_person(conn, args, _DECIDERS),
            now=backend.context.clock(),
        )
        _show(conn, file)


def _show(conn: Connection, file: ProposedFile | StatementFile) -> None:
    if isinstance(file, ProposedFile):
        show(asdict(file))
        return
    kinds = service.summary(conn, file.tenant_id, file.method, file.day).kinds
    show({**asdict(file), "state": "imported", "kinds": [asdict(kind) for kind in kinds]})


def _waiting(config: Config, args: argparse.Namespace) -> None:
    with ready(config).db.read() as conn:
        show([asdict(file) for tenant_id in _schools(conn, args) for file in proposals.waiting(conn, tenant_id)])


def _list(config: Config, args: argparse.Namespace) -> None:
    with ready(config).db.read() as conn:
        files = [asdict(file) for tenant_id in _schools(conn, args) for file in service.files(conn, tenant_id)]
    for file in files:
        del file["is_new"]
    show(files)


def _schools(conn: Connection, args: argparse.Namespace) -> list[str]:
    schools = [tenants.get(conn, args.tenant)] if args.tenant else tenants.list_all(conn)
    return [school.tenant_id for school in schools]


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > PACKED_BYTES_MAX:
            raise CommandRefused(f"{path}: is larger than any day's statement")
        return path.read_bytes()
    except OSError as error:
        raise CommandRefused(f"{path}: cannot be read: {error.strerror}") from error
