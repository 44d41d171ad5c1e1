"""
Payouts by bank and the bank's own word for them: cleared when its statement lists them, owed again when they came back.

Postings, debit → credit, in the name of the payout, at the bank's time (e: the entry that ordered the transfer):

| what | transfer | from | to |
|---|---|---|---|
| the statement lists the transfer | e.cleared | payout_clearing | bank |
| the transfer came back | e.returned | bank | refunds_payable/payout; the payout is proposed again |
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from backend.ledger import chart
from backend.ledger import service as ledger
from backend.ledger.lines import StatementLine as LedgerLine
from backend.ledger.rules import TransferKind, TransferRequest
from backend.payments import people_repository as repository
from backend.payments.bank_rules import Booking, Compared, Mismatch, Order, Residue, compare
from backend.payments.people_repository import payouts, staff_entries
from backend.payments.people_rules import CHANNELS, PAYOUT_OWNER
from backend.statements import service as statements

METHOD = "bank"
_CLEARING = CHANNELS[METHOD]
_ALL = 10**9


def clear(conn: Connection, tenant_id: str, now: datetime) -> int:
    """Return how many payouts the bank's statements cleared or found returned, once each; mismatches change nothing."""
    ledger.lock(conn, tenant_id)
    if not statements.days(conn, tenant_id, METHOD):
        return 0
    booked, compared = _compare(conn, tenant_id, now)
    fresh = [each for each in compared.bookings if each.transfer_id not in booked]
    for each in fresh:
        _book(conn, tenant_id, each, now)
    return len(fresh)


def mismatches(conn: Connection, tenant_id: str, now: datetime) -> list[Mismatch]:
    """Return what payouts and the bank's statements do not agree on, as it stands when all that fits is booked."""
    return _compare(conn, tenant_id, now)[1].mismatches


def _compare(conn: Connection, tenant_id: str, now: datetime) -> tuple[frozenset[str], Compared]:
    clearing = _movements(conn, tenant_id, _CLEARING)
    bank = _movements(conn, tenant_id, "bank")
    booked = frozenset(each.transfer_id for each in (*clearing, *bank))
    compared = compare(
        _orders(conn, tenant_id),
        statements.lines_of_kinds(conn, tenant_id, METHOD, ("payout", "payout_return")),
        residues=_residues(clearing),
        booked=booked,
        explained=frozenset((each.reference, each.change_minor) for each in bank),
        now=now,
    )
    return booked, compared


def _movements(conn: Connection, tenant_id: str, account_id: str) -> list[LedgerLine]:
    """Return an account's movements; one that was never opened has none."""
    try:
        return ledger.statement(conn, tenant_id, account_id, _ALL)
    except ledger.AccountUnknown:
        return []


def _residues(clearing: Sequence[LedgerLine]) -> dict[str, Residue]:
    """Return what is left in clearing by reference; what is settled is left out."""
    found: dict[str, Residue] = {}
    for each in clearing:
        seen = found.get(each.reference, Residue(0, each.event_at))
        found[each.reference] = Residue(seen.amount_minor + each.change_minor, max(seen.moved_at, each.event_at))
    return {key: each for key, each in found.items() if each.amount_minor}


def _orders(conn: Connection, tenant_id: str) -> list[Order]:
    return [
        Order(
            entry_id=row["entry_id"],
            payout_id=row["subject_id"],
            amount_minor=row["amount_minor"],
            ordered_at=row["decided_at"]
            if (row["state"], row["credit_account_id"]) == ("executed", chart.account_id(_CLEARING))
            else None,
            channel=next(name for name, account in CHANNELS.items() if account == row["credit_account_id"]),
        )
        for row in repository.find_by(conn, staff_entries, tenant_id, kind="payout")
    ]


def _book(conn: Connection, tenant_id: str, booking: Booking, now: datetime) -> None:
    order, is_back = booking.order, booking.word == "returned"
    bank = ledger.account(conn, tenant_id, "bank")
    owed = ledger.account(conn, tenant_id, "refunds_payable", PAYOUT_OWNER)
    request = TransferRequest(
        transfer_id=booking.transfer_id,
        kind=TransferKind.SINGLE,
        debit_account_id=bank if is_back else ledger.account(conn, tenant_id, _CLEARING),
        credit_account_id=owed if is_back else bank,
        amount_minor=order.amount_minor,
        event_at=booking.line.happened_at,
        reference=order.payout_id,
        memo=f"payout {booking.word}",
    )
    (result,) = ledger.execute(conn, tenant_id, [request], now=now)
    assert result.stands, result
    if is_back:
        where = {"payout_id": order.payout_id, "entry_id": order.entry_id, "state": "paid"}
        repository.change_by(conn, payouts, tenant_id, where, state="payable", entry_id="", paid_at=None)
