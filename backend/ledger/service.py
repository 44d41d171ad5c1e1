"""
The ledger's use cases: execute a batch, read balances and statements, expire holds, prove the books.

A refused request changes nothing and is not stored: its only effect is its answer. Whoever must give the same refusal
twice (a declined authorization) keeps it in a row of its own in the same transaction, as `payments` does; storing
refusals here as well would give the same fact two homes and cost a row for each empty wallet.

`execute` takes the tenant's writer lock until the transaction ends, so that batches of any number of processes run
one after another and never deadlock among themselves. Whoever locks rows of its own in the same transaction calls
`lock` first, so that everybody queues at the same door.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.errors import NotFound
from backend.ledger import chart, repository
from backend.ledger.rules import Transfer, TransferKind, TransferRequest, TransferResult, decide

#: Bounds the statements a batch becomes; SQLite takes 32,766 parameters in one.
BATCH_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Balances:
    """What an account has, what of it is held, and what can still be taken."""

    posted_minor: int
    held_minor: int
    available_minor: int


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One transfer as an account's owner sees it: how it changed the balance, and how it changed what is held."""

    transfer_id: str
    kind: TransferKind
    change_minor: int
    held_change_minor: int
    counter_account_id: str
    reference: str
    memo: str
    event_at: datetime
    recorded_at: datetime


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


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """An account whose running sums are not what its transfers add up to."""

    account_id: str
    running: tuple[int, int, int, int]
    counted: tuple[int, int, int, int]


class AccountUnknown(NotFound):
    """There is no such ledger account."""

    code = "account_unknown"


def lock(conn: Connection, tenant_id: str) -> None:
    """Make this transaction the tenant's only ledger writer until it ends; taking it twice is harmless."""
    repository.lock_writer(conn, tenant_id)


def execute(
    conn: Connection, tenant_id: str, requests: Sequence[TransferRequest], *, now: datetime
) -> list[TransferResult]:
    """
    Return what became of each request, in order, having stored those that stand.

    Holds the tenant's writer lock until the transaction ends. At most `BATCH_MAX` requests; chains are not split.
    """
    assert len(requests) <= BATCH_MAX, "the caller cuts its batches"
    if not requests:
        return []
    repository.lock_writer(conn, tenant_id)
    decision = decide(repository.load_rows(conn, tenant_id, requests), requests, now=now)
    repository.store(conn, tenant_id, decision)
    return list(decision.results)


def account(conn: Connection, tenant_id: str, kind: str, owner_id: str = "") -> str:
    """Return the id of an account of the chart, opening it when it is missing."""
    key = chart.account_id(kind, owner_id)
    if not repository.load_accounts(conn, tenant_id, [key]):
        repository.lock_writer(conn, tenant_id)
        repository.create_account(conn, tenant_id, kind, owner_id)
    return key


def open_chart(conn: Connection, tenant_id: str, methods: Sequence[str] = ()) -> None:
    """Open the accounts a school has one of, and those of its payment methods; what is open already stays as it is."""
    repository.lock_writer(conn, tenant_id)
    for kind, rule in chart.CHART.items():
        owners = {"school": [""], "method": list(methods)}.get(rule.owner, [])
        for owner_id in owners:
            repository.create_account(conn, tenant_id, kind, owner_id)


def balances(conn: Connection, tenant_id: str, account_id: str) -> Balances:
    """
    Return an account's balances.

    :raises AccountUnknown: if it was never opened.
    """
    found = repository.load_accounts(conn, tenant_id, [account_id]).get(account_id)
    if found is None:
        raise AccountUnknown(account_id=account_id)
    return Balances(found.posted_minor, found.held_minor, found.available_minor)


def _line(transfer: Transfer, account_id: str, hold_minor: int) -> StatementLine:
    incoming = transfer.credit_account_id == account_id
    sign = (1 if incoming else -1) * (-1 if _grows_by_debit(account_id) else 1)
    posted = transfer.amount_minor if transfer.kind in (TransferKind.SINGLE, TransferKind.POST) else 0
    held = transfer.amount_minor if transfer.kind is TransferKind.PENDING else -hold_minor
    return StatementLine(
        transfer_id=transfer.transfer_id,
        kind=transfer.kind,
        change_minor=sign * posted,
        held_change_minor=held if sign < 0 else 0,
        counter_account_id=transfer.debit_account_id if incoming else transfer.credit_account_id,
        reference=transfer.reference,
        memo=transfer.memo,
        event_at=transfer.event_at,
        recorded_at=transfer.recorded_at,
    )


def _grows_by_debit(account_id: str) -> bool:
    return chart.CHART[account_id.partition("/")[0]].normal_side == "debit"


def statement(conn: Connection, tenant_id: str, account_id: str, limit: int) -> list[StatementLine]:
    """Return an account's newest movements, newest first, signed so that plus means more in the account."""
    newest = repository.statement(conn, tenant_id, account_id, limit)
    holds = repository.hold_amounts(conn, tenant_id, [row.pending_id for row in newest if row.pending_id])
    return [_line(row, account_id, holds.get(row.pending_id or "", 0)) for row in newest]


def transfers_of(conn: Connection, tenant_id: str, reference: str) -> list[Transfer]:
    """Return the transfers that carry a reference (a water session's id), oldest first."""
    return repository.by_reference(conn, tenant_id, reference)


def sums(conn: Connection, tenant_id: str) -> LedgerSums:
    """Return a tenant's totals over all accounts."""
    return LedgerSums(*repository.sums(conn, tenant_id))


def open_clearing(conn: Connection, tenant_id: str) -> list[tuple[str, int]]:
    """Return each reference (a water session's id) that left money in clearing, and how much: each is a break."""
    return repository.clearing_residues(conn, tenant_id)


def expire_due(conn: Connection, tenant_id: str, now: datetime, limit: int) -> list[TransferResult]:
    """Return what became of the oldest holds past their time, up to `limit`; their money is available again."""
    repository.lock_writer(conn, tenant_id)
    due = repository.due_holds(conn, tenant_id, now, min(limit, BATCH_MAX))
    requests = [
        TransferRequest(transfer_id=f"{hold}.expire", kind=TransferKind.EXPIRE, pending_id=hold, event_at=now)
        for hold in due
    ]
    return execute(conn, tenant_id, requests, now=now)


def verify(conn: Connection, tenant_id: str) -> list[Discrepancy]:
    """Return the accounts whose running sums are not what their transfers add up to; none when all is well."""
    counted = repository.recount(conn, tenant_id)
    found = []
    for row in repository.all_accounts(conn, tenant_id):
        running = (row.debits_pending, row.debits_posted, row.credits_pending, row.credits_posted)
        again = counted.pop(row.account_id, (0, 0, 0, 0))
        if running != again:
            found.append(Discrepancy(row.account_id, running, again))
    return found + [Discrepancy(key, (0, 0, 0, 0), again) for key, again in counted.items()]
