"""
Money on its way back to a person: refunds, and deposits or their rests, until the provider has given them back.

What a provider refuses to give back stays owed and is a case. Somebody of finance may have the provider asked again
from there; nothing is owed twice by asking, for the step keeps its number.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from backend.errors import Conflict
from backend.ledger import service as ledger
from backend.payments import cases, entry_checks, paid_otherwise, people_rules, queue_repository, refund_repository
from backend.payments import people_repository as repository
from backend.payments.capabilities import EXTERNAL_METHODS, MATRIX
from backend.payments.cases import Case
from backend.payments.steps import REFUND_SUFFIX
from backend.payments.types import Operation, Refund

#: Cases of money that a provider was to give back and did not.
_OWED_KINDS = ("refund_refused", "void_refused", "amount_differs", "unknown_abandoned")
#: Those of them in which the provider can be asked to do what it did not.
ASKABLE_KINDS = frozenset({"refund_refused", "void_refused", "unknown_abandoned"})
_STEPS = ("refund", "void", "undo")
_REFUNDS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Returning:
    """Money a person is owed back: `requested` from the provider, or `refused` by it, so that finance sees to it."""

    operation_id: str
    water_session_id: str
    method: str
    amount_minor: int
    state: Literal["requested", "refused"]
    since: datetime


def is_owed(conn: Connection, refund: Refund) -> bool:
    """Return whether a refund that its provider refused must still be paid by another way: its case is open."""
    subject_id = f"{refund.refund_id}{REFUND_SUFFIX}"  # the case is about what the provider was told
    return is_case_open(conn, refund.tenant_id, subject_id)


def is_case_open(conn: Connection, tenant_id: str, operation_id: str) -> bool:
    """Return whether a person must still see to what a provider did not give back, or gave back otherwise."""
    found = [cases.case_of(conn, tenant_id, kind, operation_id) for kind in _OWED_KINDS]
    return any(each is not None and each.state == "open" for each in found)


def returning(conn: Connection, tenant_id: str, cardholder_id: str) -> list[Returning]:
    """Return what a person still gets back from providers, oldest first, without what finance paid otherwise."""
    found = []
    for refund in refund_repository.refunds(
        conn, tenant_id, auth_id=None, cardholder_id=cardholder_id, limit=_REFUNDS_MAX
    ):
        state: Literal["requested", "refused"] = "requested" if refund.state == "requested" else "refused"
        if refund.state == "requested" or (refund.state == "refused" and is_owed(conn, refund)):
            operation_id = f"{refund.refund_id}{REFUND_SUFFIX}"
            where = (refund.water_session_id, refund.method, refund.amount_minor, state, refund.created_at)
            found.append(Returning(operation_id, *where))
    deposits = [method for method in EXTERNAL_METHODS if MATRIX[method].flow == "charge_and_refund"]
    for row in repository.returns(conn, tenant_id, cardholder_id, deposits, REFUND_SUFFIX):
        is_pending = row["status"] == "pending"
        if is_pending or is_case_open(conn, tenant_id, row["operation_id"]):
            state = "requested" if is_pending else "refused"
            where = (row["water_session_id"], row["method"], row["amount_minor"], state, row["created_at"])
            found.append(Returning(row["operation_id"], *where))
    return sorted(found, key=lambda each: (each.since, each.operation_id))


class CaseNotAskable(Conflict):
    """There is nothing left in this case that its provider could be asked to do."""

    code = "case_not_askable"


def may_ask_again(conn: Connection, about: Case) -> bool:
    """Return whether a case is about a step that its provider refused or never answered, and that is still owed."""
    return _askable(conn, about) is not None


def _askable(conn: Connection, about: Case) -> Operation | None:
    if about.state != "open" or about.kind not in ASKABLE_KINDS:
        return None
    seen = queue_repository.find(conn, about.tenant_id, about.subject_id)
    if seen is None or seen.kind not in _STEPS or seen.status not in ("refused", "abandoned"):
        return None
    return seen if _is_still_owed(conn, seen) else None


def _is_still_owed(conn: Connection, seen: Operation) -> bool:
    """Return whether the books still owe what a step would give back, and nobody paid any of it by hand."""
    if not paid_otherwise.owes_payer(conn, seen):
        return True
    if paid_otherwise.settled_minor(conn, seen) > 0:
        return False
    payable = ledger.account(conn, seen.tenant_id, "refunds_payable", seen.method)
    return ledger.balances(conn, seen.tenant_id, payable).available_minor >= seen.amount_minor


def ask_again(conn: Connection, *, tenant_id: str, case_id: str, asked_by: str, now: datetime) -> Operation:
    """
    Return a case's step after having its provider asked once more, soon and as if for the first time.

    The case stays open until the provider has done it, or a person closes it; who asked is kept with its evidence.

    :raises backend.payments.cases.CaseUnknown: if this tenant has none with this id.
    :raises backend.payments.entry_checks.StaffRoleMissing: if the one who asks is neither of finance nor an approver.
    :raises CaseNotAskable: if it is closed, about something else, being asked already, or paid otherwise meanwhile.
    """
    ledger.lock(conn, tenant_id)
    entry_checks.demand_staff(conn, tenant_id, asked_by, people_rules.PROPOSERS | people_rules.APPROVERS)
    about = cases.case(conn, tenant_id, case_id)
    seen = _askable(conn, about)
    if seen is None:
        raise CaseNotAskable(case_id=case_id)
    queue_repository.ask_again(conn, tenant_id, seen.operation_id, now)
    if seen.kind == "refund" and seen.operation_id.endswith(REFUND_SUFFIX):
        refund_repository.set_refund(conn, tenant_id, seen.operation_id.removesuffix(REFUND_SUFFIX), state="requested")
    cases.add_evidence(conn, about, asked_again_by=asked_by, asked_again_at=now.isoformat(timespec="seconds"))
    again = queue_repository.find(conn, tenant_id, seen.operation_id)
    assert again is not None, "it was just changed"
    return again
