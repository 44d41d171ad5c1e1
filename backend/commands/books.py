"""`campustap books …`: counts a school's ledger again, what is new or all of it."""

import argparse
from dataclasses import asdict
from typing import Any

from backend.commands.common import ready, show
from backend.config import Config
from backend.ledger import service as ledger
from backend.payments import proving
from backend.tenants import service as tenants

DO_NOT_ADD_UP = 1


def add_to(commands: Any) -> None:
    """Add `books` to the parser of commands."""
    actions = commands.add_parser("books", help="the ledger of a school").add_subparsers(dest="action", required=True)
    proof = actions.add_parser("prove", help="count again what came since the last proof, as the worker does")
    proof.add_argument("tenant", metavar="TENANT")
    proof.add_argument("--all", action="store_true", help="count everything again, clearing included; changes nothing")
    proof.set_defaults(run=_prove)


def _prove(config: Config, args: argparse.Namespace) -> int:
    """Print how far the books are proven and what does not add up; return 1 if anything does not, else 0."""
    backend = ready(config)
    with backend.db.write(snapshot=args.all) as conn:  # a proof waits for its turn instead
        tenants.get(conn, args.tenant)
        clearing: list[ledger.ResidueDiscrepancy] = []
        if args.all:
            found = ledger.verify(conn, args.tenant)
            clearing = ledger.verify_clearing(conn, args.tenant)
        else:
            found = proving.prove(conn, args.tenant, backend.context.clock())
        last = proving.last(conn, args.tenant)
    show(
        {
            "proof": None if last is None else asdict(last),
            "accounts": [asdict(each) for each in found],
            "clearing": [asdict(each) for each in clearing],
        }
    )
    return DO_NOT_ADD_UP if found or clearing else 0
