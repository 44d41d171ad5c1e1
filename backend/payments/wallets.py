"""The campus purses as their owner and the rest of the backend see them, and two postings that are not a payment."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.errors import Conflict
from backend.ledger import chart
from backend.ledger import service as ledger
from backend.ledger.rules import Code, TransferKind, TransferRequest
from backend.ledger.service import Place, StatementLine
from backend.payments.postings import PURSE_KINDS
from backend.payments.rules import SPEND_ORDER


@dataclass(frozen=True, slots=True)
class Wallet:
    """What a cardholder's purses have together, what of it is held for running water, and what is left to spend."""

    posted_minor: int
    held_minor: int
    available_minor: int


@dataclass(frozen=True, slots=True)
class Purse:
    """One campus purse: subsidy, voucher or wallet."""

    purse: str
    posted_minor: int
    held_minor: int
    available_minor: int


def purse_account(purse: str, cardholder_id: str) -> str:
    """Return the ledger account of a cardholder's purse."""
    return chart.account_id(PURSE_KINDS[purse], cardholder_id)


def purses(conn: Connection, tenant_id: str, cardholder_id: str) -> list[Purse]:
    """Return a cardholder's purses in the order they are spent; one that was never used is empty."""
    accounts = [purse_account(purse, cardholder_id) for purse in SPEND_ORDER]
    return [
        Purse(purse, has.posted_minor, has.held_minor, has.available_minor)
        for purse, has in zip(SPEND_ORDER, ledger.balances_of(conn, tenant_id, accounts), strict=True)
    ]


def wallet(conn: Connection, tenant_id: str, cardholder_id: str) -> Wallet:
    """Return what a cardholder's spendable purses have together."""
    found = purses(conn, tenant_id, cardholder_id)
    return Wallet(
        sum(purse.posted_minor for purse in found),
        sum(purse.held_minor for purse in found),
        sum(purse.available_minor for purse in found),
    )


def purse_entries(
    conn: Connection, tenant_id: str, cardholder_id: str, purse: str, limit: int, *, before: Place | None = None
) -> list[StatementLine]:
    """Return a purse's newest movements, or those before a place, newest first; plus means more in the purse."""
    return ledger.statement(conn, tenant_id, purse_account(purse, cardholder_id), limit, before=before)


def wallet_entries(conn: Connection, tenant_id: str, cardholder_id: str, limit: int) -> list[StatementLine]:
    """
    Return the newest movements of all purses by when they happened, newest first; plus means more in a purse.

    They stand in the order of each purse's own statement, so that the balance after each line fits the one below it.
    """
    entries = [entry for purse in SPEND_ORDER for entry in purse_entries(conn, tenant_id, cardholder_id, purse, limit)]
    return sorted(entries, key=lambda entry: (entry.event_at, entry.number), reverse=True)[:limit]


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
    purse: str = "wallet",
) -> Wallet:
    """
    Return the purses' sum after an opening balance of one of them was credited from opening equity, once per id.

    :raises TransferDiffers: if the id stands for something else.
    """
    request = TransferRequest(
        transfer_id=transfer_id,
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, tenant_id, "opening_equity"),
        credit_account_id=ledger.account(conn, tenant_id, PURSE_KINDS[purse], cardholder_id),
        amount_minor=amount_minor,
        event_at=now,
        memo=memo,
    )
    _book(conn, tenant_id, request, now)
    return wallet(conn, tenant_id, cardholder_id)


def record_overrun(
    conn: Connection,
    tenant_id: str,
    water_session_id: str,
    amount_minor: int,
    transfer_id: str,
    now: datetime,
    at: datetime | None = None,
) -> None:
    """
    Book what a water session cost beyond its hold as the operator's loss, once per transfer id.

    It stands in the books where it happened: `at` (of `rules.happened_at`), or now.

    :raises TransferDiffers: if the id stands for something else.
    """
    request = TransferRequest(
        transfer_id=transfer_id,
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, tenant_id, "operator_loss"),
        credit_account_id=ledger.account(conn, tenant_id, "water_revenue"),
        amount_minor=amount_minor,
        event_at=at or now,
        reference=water_session_id,
        memo="overrun beyond the hold",
    )
    _book(conn, tenant_id, request, now)


def take_overrun_back(
    conn: Connection, tenant_id: str, water_session_id: str, amount_minor: int, transfer_id: str, now: datetime
) -> None:
    """
    Take back, by an entry of its own, what was booked too much as the operator's loss, once per transfer id.

    :raises TransferDiffers: if the id stands for something else.
    """
    request = TransferRequest(
        transfer_id=transfer_id,
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, tenant_id, "water_revenue"),
        credit_account_id=ledger.account(conn, tenant_id, "operator_loss"),
        amount_minor=amount_minor,
        event_at=now,
        reference=water_session_id,
        memo="less was lost than a reading said",
    )
    _book(conn, tenant_id, request, now)
