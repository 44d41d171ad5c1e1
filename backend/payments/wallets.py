"""The campus wallet as its owner and the rest of the backend see it, and two postings that are not a payment."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.errors import Conflict
from backend.ledger import chart
from backend.ledger import service as ledger
from backend.ledger.rules import Code, TransferKind, TransferRequest
from backend.ledger.service import StatementLine


@dataclass(frozen=True, slots=True)
class Wallet:
    """What a cardholder's wallet has, what of it is held for running water, and what is left to spend."""

    posted_minor: int
    held_minor: int
    available_minor: int


def wallet(conn: Connection, tenant_id: str, cardholder_id: str) -> Wallet:
    """Return a cardholder's wallet; one that was never used is empty."""
    try:
        found = ledger.balances(conn, tenant_id, chart.account_id("cardholder_wallet", cardholder_id))
    except ledger.AccountUnknown:
        return Wallet(0, 0, 0)
    return Wallet(found.posted_minor, found.held_minor, found.available_minor)


def wallet_entries(conn: Connection, tenant_id: str, cardholder_id: str, limit: int) -> list[StatementLine]:
    """Return the wallet's newest movements, newest first; plus means more in the wallet."""
    return ledger.statement(conn, tenant_id, chart.account_id("cardholder_wallet", cardholder_id), limit)


class TransferDiffers(Conflict):
    """This transfer id already stands for another amount or account."""

    code = "transfer_differs"


def _book(conn: Connection, tenant_id: str, request: TransferRequest, now: datetime) -> None:
    result = ledger.execute(conn, tenant_id, [request], now=now)[0]
    if result.code is Code.EXISTS_DIFFERENT:
        raise TransferDiffers(transfer_id=request.transfer_id)
    assert result.stands, result


def credit_wallet(
    conn: Connection,
    *,
    tenant_id: str,
    cardholder_id: str,
    amount_minor: int,
    transfer_id: str,
    now: datetime,
    memo: str = "",
) -> Wallet:
    """
    Return the wallet after an opening balance was credited from opening equity, once per transfer id.

    :raises TransferDiffers: if the id stands for something else.
    """
    request = TransferRequest(
        transfer_id=transfer_id,
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, tenant_id, "opening_equity"),
        credit_account_id=ledger.account(conn, tenant_id, "cardholder_wallet", cardholder_id),
        amount_minor=amount_minor,
        event_at=now,
        memo=memo,
    )
    _book(conn, tenant_id, request, now)
    return wallet(conn, tenant_id, cardholder_id)


def record_overrun(
    conn: Connection, tenant_id: str, water_session_id: str, amount_minor: int, transfer_id: str, now: datetime
) -> None:
    """
    Book what a water session cost beyond its hold as the operator's loss, once per transfer id.

    :raises TransferDiffers: if the id stands for something else.
    """
    request = TransferRequest(
        transfer_id=transfer_id,
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, tenant_id, "operator_loss"),
        credit_account_id=ledger.account(conn, tenant_id, "water_revenue"),
        amount_minor=amount_minor,
        event_at=now,
        reference=water_session_id,
        memo="overrun beyond the hold",
    )
    _book(conn, tenant_id, request, now)
