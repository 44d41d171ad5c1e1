"""`campustap statement …`: imports a provider's daily file by hand, lists what was imported."""

import argparse
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from backend.commands.common import CommandRefused, ready, show
from backend.config import Config
from backend.statements import service
from backend.statements.containers import PACKED_BYTES_MAX
from backend.tenants import service as tenants


def add_to(commands: Any) -> None:
    """Add `statement` to the parser of commands."""
    statement = commands.add_parser("statement", help="providers' daily files")
    actions = statement.add_subparsers(dest="action", required=True)
    importing = actions.add_parser("import", help="check a file and store it whole, or refuse it; may be repeated")
    importing.add_argument("method", choices=service.METHODS, metavar="METHOD", help=", ".join(service.METHODS))
    importing.add_argument("file", type=Path, metavar="FILE", help="as the provider gives it, packed or not")
    importing.add_argument("--tenant", required=True)
    importing.add_argument("--day", required=True, type=date.fromisoformat, metavar="YYYY-MM-DD")
    importing.add_argument("--merchant", default="", metavar="NUMBER", help="refuse the file of any other merchant")
    importing.set_defaults(run=_import)
    listing = actions.add_parser("list", help="list the imported files, newest day first")
    listing.add_argument("--tenant", default="", help="of one school only")
    listing.set_defaults(run=_list)


def _import(config: Config, args: argparse.Namespace) -> None:
    data = _read(args.file)
    backend = ready(config)
    with backend.db.write() as conn:
        tenants.get(conn, args.tenant)
        file = service.import_file(
            conn,
            tenant_id=args.tenant,
            method=args.method,
            day=args.day,
            name=args.file.name,
            data=data,
            now=backend.context.clock(),
            merchant_no=args.merchant,
        )
        kinds = service.summary(conn, args.tenant, args.method, args.day).kinds
    show(asdict(file) | {"kinds": [asdict(kind) for kind in kinds]})


def _list(config: Config, args: argparse.Namespace) -> None:
    with ready(config).db.read() as conn:
        schools = [tenants.get(conn, args.tenant)] if args.tenant else tenants.list_all(conn)
        files = [asdict(file) for school in schools for file in service.files(conn, school.tenant_id)]
    for file in files:
        del file["is_new"]
    show(files)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > PACKED_BYTES_MAX:
            raise CommandRefused(f"{path}: is larger than any day's statement")
        return path.read_bytes()
    except OSError as error:
        raise CommandRefused(f"{path}: cannot be read: {error.strerror}") from error
