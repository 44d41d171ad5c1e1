"""
Credit of a campus wallet: how far below zero it may be spent, because finance proposed it and a second person agreed.

- It is an entry of the kind `credit_limit` (`staff_entries`), whose amount is the limit; no money moves. The newest
  agreed to is in force, a limit of zero takes the credit away, and none goes below what is owed already.
- With an end, the limit sinks from then on to what is owed, and on to zero with every payment.
- Who leaves while owing is paid nothing: their own money in other purses pays the debt first, what is left stays owed
  (the payout is `owes`, the wallet below zero is what the school may claim), and the limit is exactly that. When the
  wallet is even again, by a cash top-up of no more than the debt, a refund or a write-off by entry, so is the payout.

Credit buys water: it is never moved to another purse and never paid out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from backend.errors import BackendError
from backend.ledger import service as ledger
from backend.payments import people_repository as repository
from backend.payments.people_repository import payouts, staff_entries
from backend.payments.people_rules import WALLET
from backend.payments.wallets import purse_account

KIND = "credit_limit"
#: How far ahead an end may lie.
END_AHEAD_MAX = timedelta(days=5 * 366)
_REASON_CHARS_MAX = 240
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Credit:
    """A wallet's credit: the limit, what of it is owed, what is left to spend, and when the agreement ends."""

    limit_minor: int
    owed_minor: int
    left_minor: int
    ends_at: datetime | None


class CreditEndRefused(BackendError):
    """A credit ends in the future, within five years, or at no fixed time."""

    code = "credit_end_refused"
    status = 422


def check_end(ends_at: datetime | None, now: datetime) -> None:
    """
    Return nothing if a credit may end then.

    :raises CreditEndRefused: if that is over, or more than five years ahead.
    """
    if ends_at is not None and not now < ends_at <= now + END_AHEAD_MAX:
        raise CreditEndRefused


def owed_minor(conn: Connection, tenant_id: str, cardholder_id: str) -> int:
    """Return what a person owes: how far their wallet is below zero."""
    return max(-ledger.balances(conn, tenant_id, purse_account(WALLET, cardholder_id)).posted_minor, 0)


def credit(conn: Connection, tenant_id: str, cardholder_id: str) -> Credit | None:
    """Return a wallet's credit; None if it has none and owes nothing."""
    has = ledger.balances(conn, tenant_id, purse_account(WALLET, cardholder_id))
    limit_minor = has.available_minor - has.posted_minor + has.held_minor
    owed = max(-has.posted_minor, 0)
    if not limit_minor and not owed:
        return None
    agreed = _in_force(conn, tenant_id, cardholder_id)
    left_minor = min(limit_minor, max(has.available_minor, 0))
    return Credit(limit_minor, owed, left_minor, agreed["ends_at"] if agreed is not None else None)


def _in_force(conn: Connection, tenant_id: str, cardholder_id: str) -> RowMapping | None:
    rows = repository.find_by(conn, staff_entries, tenant_id, kind=KIND, cardholder_id=cardholder_id, state="executed")
    return rows[-1] if rows else None


def put_in_force(
    conn: Connection,
    *,
    tenant_id: str,
    entry_id: str,
    cardholder_id: str,
    limit_minor: int,
    reason: str,
    agreed_by: str,
    now: datetime,
) -> None:
    """
    Let a wallet be spent so far below zero, in place of what was agreed before.

    :raises backend.ledger.service.CreditInUse: if more than that is owed or held already.
    """
    for row in repository.find_by(
        conn, staff_entries, tenant_id, kind=KIND, cardholder_id=cardholder_id, state="executed"
    ):
        if row["entry_id"] != entry_id:
            repository.change(conn, staff_entries, tenant_id, row["entry_id"], state="ended")
    _set(conn, tenant_id, cardholder_id, limit_minor, agreed_by, reason, now)


def _set(
    conn: Connection, tenant_id: str, cardholder_id: str, limit_minor: int, set_by: str, reason: str, now: datetime
) -> None:
    account_id = purse_account(WALLET, cardholder_id)
    words = reason[:_REASON_CHARS_MAX]
    ledger.set_credit_limit(conn, tenant_id, account_id, limit_minor, set_by=set_by, reason=words, now=now)


def sink(conn: Connection, tenant_id: str, cardholder_id: str, *, set_by: str, reason: str, now: datetime) -> int:
    """Return a wallet's credit limit after lowering it to what is owed and held; it is never raised."""
    has = ledger.balances(conn, tenant_id, purse_account(WALLET, cardholder_id))
    limit_minor = has.available_minor - has.posted_minor + has.held_minor
    used_minor = max(has.held_minor - has.posted_minor, 0)
    if used_minor < limit_minor:
        _set(conn, tenant_id, cardholder_id, used_minor, set_by, reason, now)
    return min(used_minor, limit_minor)


def follow(conn: Connection, tenant_id: str, now: datetime) -> None:
    """
    Sink the limits whose time is over, and of those who left, to what is still owed; settle what is owed no more.

    Somebody does this every few seconds; it costs what is over and still owed, not what ever was.
    """
    over = repository.credits_over(conn, tenant_id, now, _AT_ONCE)
    owing = repository.find_by(conn, payouts, tenant_id, state="owes")
    if not over and not owing:
        return
    ledger.lock(conn, tenant_id)
    for row in over:
        if not sink(
            conn, tenant_id, row["cardholder_id"], set_by=row["decided_by"], reason="its end has come", now=now
        ):
            repository.change(conn, staff_entries, tenant_id, row["entry_id"], state="ended")
    for row in owing:
        sink(conn, tenant_id, row["cardholder_id"], set_by=row["proposed_by"], reason="has left", now=now)
        if not owed_minor(conn, tenant_id, row["cardholder_id"]):
            repository.change(conn, payouts, tenant_id, row["payout_id"], state="paid", paid_at=now)


def leave(conn: Connection, tenant_id: str, cardholder_id: str, *, closed_by: str, now: datetime) -> int:
    """Return what a leaver still owes, after their credit has sunk to it and every agreement has ended."""
    sink(conn, tenant_id, cardholder_id, set_by=closed_by, reason="has left", now=now)
    where = {"kind": KIND, "cardholder_id": cardholder_id, "state": "executed"}
    repository.change_by(conn, staff_entries, tenant_id, where, state="ended")
    where = {"cardholder_id": cardholder_id, "state": "owes"}
    repository.change_by(
        conn, payouts, tenant_id, where, state="paid", paid_at=now
    )  # the payout made now goes on with it
    return owed_minor(conn, tenant_id, cardholder_id)
