"""Proving the books: the running figures counted again from the transfers, all of them or those since the last time."""

from dataclasses import dataclass

from sqlalchemy import Connection

from backend.ledger import audit_repository as audit
from backend.ledger import chart, repository


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """An account whose running sums are not what its transfers add up to."""

    account_id: str
    running: tuple[int, int, int, int]
    counted: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ResidueDiscrepancy:
    """A reference on a clearing account that is kept as leaving something else than its transfers leave."""

    account_id: str
    reference: str
    kept_minor: int
    counted_minor: int


def verify(conn: Connection, tenant_id: str) -> list[Discrepancy]:
    """Return the accounts whose running sums are not what all their transfers add up to; none when all is well."""
    counted = audit.recount(conn, tenant_id)
    found = []
    for account_id, running in audit.running_sums(conn, tenant_id).items():
        again = counted.pop(account_id, (0, 0, 0, 0))
        if running != again:
            found.append(Discrepancy(account_id, running, again))
    return found + [Discrepancy(key, (0, 0, 0, 0), again) for key, again in counted.items()]


def verify_new(conn: Connection, tenant_id: str) -> list[Discrepancy]:
    """
    Return what `verify` would, having counted only the transfers since the last time nothing was found.

    Holds the tenant's writer lock until the transaction ends.
    """
    repository.lock_writer(conn, tenant_id)
    found = [Discrepancy(*each) for each in audit.differing(conn, tenant_id)]
    if not found:
        audit.set_checkpoints(conn, tenant_id)
    return found


def verified_number(conn: Connection, tenant_id: str) -> int:
    """Return the number of the transfer up to which `verify_new` has found nothing wrong."""
    return audit.verified_number(conn, tenant_id)


def last_number(conn: Connection, tenant_id: str) -> int:
    """Return the number of the newest transfer: what is recorded from now on has a higher one."""
    return audit.last_number(conn, tenant_id)


def verify_clearing(conn: Connection, tenant_id: str) -> list[ResidueDiscrepancy]:
    """Return where `open_clearing` does not tell what all transfers leave; none when all is well."""
    kept = audit.kept_residues(conn, tenant_id)
    counted = audit.recounted_residues(conn, tenant_id, [kind for kind, rule in chart.CHART.items() if rule.clears])
    return [
        ResidueDiscrepancy(*key, kept.get(key, 0), counted.get(key, 0))
        for key in sorted(kept.keys() | counted.keys())
        if kept.get(key, 0) != counted.get(key, 0)
    ]
