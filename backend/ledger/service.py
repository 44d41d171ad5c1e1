"""
The ledger's use cases: execute a batch, read balances and statements, expire holds, prove the books.

A refused request changes nothing and is not stored: its only effect is its answer. Whoever must give the same refusal
twice (a declined authorization) keeps it in a row of its own in the same transaction, as `payments` does; storing
refusals here as well would give the same fact two homes and cost a row for each empty wallet.

`execute` takes the tenant's writer lock until the transaction ends, so that batches of any number of processes run
one after another and never deadlock among themselves. Whoever locks rows of its own in the same transaction calls
`lock` first, so that everybody queues at the same door. Who has many small batches gives them to a `Batcher`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.errors import Conflict, NotFound
from backend.ledger import audit_repository as audit
from backend.ledger import chart, repository
from backend.ledger import credit_repository as credit
from backend.ledger import history_repository as history
from backend.ledger.execution import finish, prepare
from backend.ledger.history_repository import Place
from backend.ledger.lines import Period, StatementLine, change_minor, grows_by_debit, line
from backend.ledger.memory import Memory
from backend.ledger.proof import (
    Discrepancy,
    ResidueDiscrepancy,
    last_number,
    verified_number,
    verify,
    verify_clearing,
    verify_new,
)
from backend.ledger.rules import (
    Transfer,
    TransferKind,
    TransferRequest,
    TransferResult,
    empty_account,
)

__all__ = [
    "BATCH_MAX",
    "Balances",
    "Discrepancy",
    "LedgerSums",
    "Period",
    "Place",
    "ResidueDiscrepancy",
    "StatementLine",
    "last_number",
    "verified_number",
    "verify",
    "verify_clearing",
    "verify_new",
]

#: Bounds the transaction a batch becomes, and so how long everybody else waits for it.
BATCH_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Balances:
    """What an account has, what of it is held, and what can still be taken."""

    posted_minor: int
    held_minor: int
    available_minor: int


@dataclass(frozen=True, slots=True)
class LedgerSums:
    """A tenant's totals. Debits equal credits, posted and pending alike, or the books are broken."""

    debits_posted: int
    credits_posted: int
    debits_pending: int
    credits_pending: int

    @property
    def balanced(self) -> bool:
        """Return whether debits equal credits on both counts."""
        return self.debits_posted == self.credits_posted and self.debits_pending == self.credits_pending


def lock(conn: Connection, tenant_id: str) -> None:
    """Make this transaction the tenant's only ledger writer until it ends; taking it twice is harmless."""
    repository.lock_writer(conn, tenant_id)


def execute(
    conn: Connection,
    tenant_id: str,
    requests: Sequence[TransferRequest],
    *,
    now: datetime,
    memory: Memory | None = None,
) -> list[TransferResult]:
    """
    Return what became of each request, in order, having stored those that stand.

    Accounts of the chart that were never used are opened by their first movement. Holds the tenant's writer lock until
    the transaction ends. At most `BATCH_MAX` requests; chains are not split. A `memory` of the same tenant and database
    spares reading what the last batch left.
    """
    assert len(requests) <= BATCH_MAX, "the caller cuts its batches"
    if not requests:
        return []
    memory = Memory() if memory is None else memory
    before = repository.lock_writer(conn, tenant_id)
    repository.refresh(conn, tenant_id, memory, before)
    return finish(conn, tenant_id, before, prepare(conn, tenant_id, requests, memory, now=now))


def account(conn: Connection, tenant_id: str, kind: str, owner_id: str = "") -> str:
    """Return the id of an account of the chart. It costs nothing: the first movement opens what is missing."""
    return chart.account_id(kind, owner_id)


def open_chart(conn: Connection, tenant_id: str, methods: Sequence[str] = ()) -> None:
    """Open the accounts a school has one of, and those of its payment methods; what is open already stays as it is."""
    books = repository.lock_writer(conn, tenant_id)
    keys = [chart.account_id(kind) for kind, rule in chart.CHART.items() if rule.owner == "school"]
    for kind, rule in chart.CHART.items():
        keys += [chart.account_id(kind, method) for method in methods if rule.owner == "method"]
    repository.open_accounts(conn, tenant_id, [one for key in keys if (one := empty_account(key)) is not None])
    repository.set_books(conn, tenant_id, repository.stamped(books))


class AccountUnknown(NotFound):
    """There is no such ledger account."""

    code = "account_unknown"


def balances(conn: Connection, tenant_id: str, account_id: str) -> Balances:
    """
    Return an account's balances; one that was never used is empty.

    :raises AccountUnknown: if the chart has no such account.
    """
    return balances_of(conn, tenant_id, [account_id])[0]


def balances_of(conn: Connection, tenant_id: str, account_ids: Sequence[str]) -> list[Balances]:
    """
    Return the balances of several accounts, in their order; those that were never used are empty.

    :raises AccountUnknown: if the chart has no such account.
    """
    stored = repository.load_accounts(conn, tenant_id, account_ids)
    found = []
    for account_id in account_ids:
        one = stored.get(account_id) or empty_account(account_id)
        if one is None:
            raise AccountUnknown(account_id=account_id)
        found.append(Balances(one.posted_minor, one.held_minor, one.available_minor))
    return found


class CreditInUse(Conflict):
    """The account already owes more than this limit would allow."""

    code = "credit_in_use"


def set_credit_limit(
    conn: Connection, tenant_id: str, account_id: str, limit_minor: int, *, set_by: str, reason: str, now: datetime
) -> None:
    """
    Let an account be taken below zero down to a limit, and record who allowed it and why.

    :raises AccountUnknown: if the chart has no such account.
    :raises CreditInUse: if what is already owed exceeds the limit.
    """
    assert limit_minor >= 0, "a limit says how far below zero, as a positive amount"
    books = repository.lock_writer(conn, tenant_id)
    found = repository.load_accounts(conn, tenant_id, [account_id]).get(account_id)
    there = found or empty_account(account_id)
    if there is None:
        raise AccountUnknown(account_id=account_id)
    if not there.may_go_negative and there.available_minor - there.credit_limit_minor + limit_minor < 0:
        raise CreditInUse(account_id=account_id, limit_minor=limit_minor)
    if found is None:
        repository.open_accounts(conn, tenant_id, [there])
    credit.set_limit(conn, tenant_id, account_id, there.version + 1, limit_minor, set_by, reason, now)
    books = replace(books, credit_version=books.credit_version + 1)
    repository.set_books(conn, tenant_id, repository.stamped(books))


def statement(
    conn: Connection,
    tenant_id: str,
    account_id: str,
    limit: int,
    *,
    before: Place | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[StatementLine]:
    """
    Return an account's newest movements by when they happened, newest first; plus means more in the account.

    The page after a line begins `before` that line's `place`. A period is from `since` up to, not including, `until`.
    Each line's balance counts down from the present one, so a far page costs a sum over what came after it.
    """
    rows = history.statement_rows(conn, tenant_id, account_id, limit, before, since, until)
    holds = history.hold_amounts(conn, tenant_id, [row.pending_id for _, row in rows if row.pending_id])
    later = 0
    if before is not None or until is not None:
        later = history.credits_less_debits(conn, tenant_id, account_id, since=until, before=before)
        later = -later if grows_by_debit(account_id) else later
    balance_minor = balances(conn, tenant_id, account_id).posted_minor - later
    found = []
    for number, row in rows:
        hold_minor = holds.get(row.pending_id or "", 0)
        found.append(line(number, row, account_id, hold_minor=hold_minor, balance_minor=balance_minor))
        balance_minor -= change_minor(row, account_id)
    return found


def period(conn: Connection, tenant_id: str, account_id: str, since: datetime, until: datetime) -> Period:
    """Return an account's opening and closing balance of a period, by when things happened, and what moved between."""
    later = history.credits_less_debits(conn, tenant_id, account_id, since=until, before=None)
    debited, credited = history.turnover(conn, tenant_id, account_id, since, until)
    by_debit = grows_by_debit(account_id)
    closing_minor = balances(conn, tenant_id, account_id).posted_minor - (-later if by_debit else later)
    came, went = (debited, credited) if by_debit else (credited, debited)
    return Period(closing_minor - came + went, came, went, closing_minor)


def transfers_of(conn: Connection, tenant_id: str, reference: str) -> list[Transfer]:
    """Return the transfers that carry a reference (a water session's id), oldest first."""
    return history.by_reference(conn, tenant_id, reference)


def sums(conn: Connection, tenant_id: str) -> LedgerSums:
    """Return a tenant's totals over all accounts."""
    debits_pending, debits_posted, credits_pending, credits_posted = audit.totals(conn, tenant_id)
    return LedgerSums(debits_posted, credits_posted, debits_pending, credits_pending)


def open_clearing(conn: Connection, tenant_id: str) -> list[tuple[str, int]]:
    """Return each reference (a water session's id) that left money in clearing, and how much: each is a break."""
    return history.uneven_references(conn, tenant_id)


def expire_due(conn: Connection, tenant_id: str, now: datetime, limit: int) -> list[TransferResult]:
    """
    Return what became of the oldest holds past their time, up to `limit`; their money is available again.

    Each hold is looked at once when its time has come, however long the history grows.
    """
    limit = min(limit, BATCH_MAX)
    expired_to = repository.lock_writer(conn, tenant_id).expired_to
    due = repository.due_holds(conn, tenant_id, expired_to, now, limit)
    requests = [
        TransferRequest(transfer_id=f"{hold}.expire", kind=TransferKind.EXPIRE, pending_id=hold, event_at=now)
        for hold, _ in due
    ]
    results = execute(conn, tenant_id, requests, now=now)
    assert all(result.stands for result in results), results
    reached = now if len(due) < limit else due[-1][1] - timedelta(milliseconds=1)
    if reached > expired_to:
        books = repository.lock_writer(conn, tenant_id)
        repository.set_books(conn, tenant_id, replace(books, expired_to=reached))
    return results
