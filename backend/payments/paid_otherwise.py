"""
What staff paid by hand of what a provider did not give back.

Money owed to payers is owed one by one, though it lies in one account per method: an entry that takes from there names
the step it pays (or the step's case), and pays no more than that step owes. A step settled so is not asked for again,
and what its provider gives after all is nobody's: it goes to suspense.
"""

from sqlalchemy import Connection

from backend.errors import Conflict
from backend.ledger import chart
from backend.payments import orders, postings, queue_repository
from backend.payments import people_repository as repository
from backend.payments.capabilities import EXTERNAL_METHODS
from backend.payments.types import Authorization, Operation

_PAYABLE = frozenset(chart.account_id("refunds_payable", method) for method in EXTERNAL_METHODS)


class NotPayable(Conflict):
    """Name the refund that was refused, or its case; an entry pays no more than what it still owes."""

    code = "not_payable"


def touches(*account_ids: str) -> bool:
    """Return whether one of the accounts holds what is owed to payers by way of a provider."""
    return not _PAYABLE.isdisjoint(account_ids)


def operation_named(conn: Connection, tenant_id: str, subject_id: str) -> str:
    """Return the id of the step that an entry is about, given it or one of its cases."""
    row = repository.find(conn, repository.cases, tenant_id, subject_id)
    return subject_id if row is None else str(row["subject_id"])


def settled_minor(conn: Connection, seen: Operation, *, but_entry_id: str = "", proposed_too: bool = False) -> int:
    """Return how much of a step staff have paid by hand, or are about to."""
    states = ("executed", "proposed") if proposed_too else ("executed",)
    rows = repository.find_by(
        conn,
        repository.staff_entries,
        seen.tenant_id,
        kind="manual",
        subject_id=seen.operation_id,
        debit_account_id=chart.account_id("refunds_payable", seen.method),
    )
    return sum(int(row["amount_minor"]) for row in rows if row["state"] in states and row["entry_id"] != but_entry_id)


def owes_payer(conn: Connection, seen: Operation) -> bool:
    """Return whether a step gives a payer money back; what only lets a hold go owes nothing."""
    found = orders.find(conn, seen.tenant_id, seen.order_id)
    return isinstance(found, Authorization) and (
        seen.kind == "refund" or (seen.kind == "void" and postings.flow_of(found) == "charge_and_refund")
    )


def check(
    conn: Connection, tenant_id: str, entry_id: str, subject_id: str, debit: str, credit: str, amount_minor: int
) -> Operation:
    """
    Return the step that an entry pays by hand instead of its provider.

    :raises NotPayable: unless it takes from what is owed, names a step that its provider refused or never answered, and
        pays no more than is left of it.
    """
    seen = queue_repository.find(conn, tenant_id, subject_id) if subject_id else None
    if (
        seen is None
        or seen.status not in ("refused", "abandoned")
        or debit != chart.account_id("refunds_payable", seen.method)
        or touches(credit)
        or not owes_payer(conn, seen)
    ):
        raise NotPayable(subject_id=subject_id, left_minor=0)
    left = seen.amount_minor - settled_minor(conn, seen, but_entry_id=entry_id, proposed_too=True)
    if amount_minor > left:
        raise NotPayable(subject_id=subject_id, left_minor=max(left, 0))
    return seen
