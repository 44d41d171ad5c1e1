"""
The ledger's one decision: which of a batch of requests become transfers, and what the accounts then hold.

Pure: rows in, rows out. Requests are taken in order, and each sees what those before it did.

- A *single* moves money at once. A *pending* holds it; a later *post* takes part or all of the hold and releases the
  rest, a *void* or *expire* releases all of it. A hold is resolved once.
- `expires_at` says from when a hold may be expired. Until an *expire* is recorded the hold stands and may be posted.
- The same id with the same body answers `exists` and changes nothing, whatever the accounts hold now; with another
  body it answers `exists_different`. When it happened (`event_at`) and `linked` are not part of the body.
- Requests marked `linked` form a chain with the one after them: all become transfers or none does.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from backend.kit.clock import epoch_ms

#: A hundred million yuan: far above any real amount, far below what 64 bits overflow at.
AMOUNT_MINOR_MAX = 10**10


class TransferKind(StrEnum):
    """What a transfer does."""

    SINGLE = "single"
    PENDING = "pending"
    POST = "post"
    VOID = "void"
    EXPIRE = "expire"


class Code(StrEnum):
    """What became of a request. `ok` and `exists` mean the transfer stands; all others changed nothing."""

    OK = "ok"
    EXISTS = "exists"
    EXISTS_DIFFERENT = "exists_different"
    INSUFFICIENT = "insufficient"
    INVALID_AMOUNT = "invalid_amount"
    ACCOUNT_UNKNOWN = "account_unknown"
    SAME_ACCOUNT = "same_account"
    NOT_PENDING = "not_pending"
    ALREADY_RESOLVED = "already_resolved"
    EXCEEDS_PENDING = "exceeds_pending"
    NOT_DUE = "not_due"
    LINKED_FAILED = "linked_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest:
    """
    What the initiator asks for. The id is the initiator's and is the same on every retry.

    Accounts and amount are given for *single* and *pending*; `pending_id` for *post* (with the amount, at least 1),
    *void* and *expire* (amount 0: they release the whole hold). A resolution without a reference takes its hold's.
    """

    transfer_id: str
    kind: TransferKind
    event_at: datetime
    debit_account_id: str = ""
    credit_account_id: str = ""
    amount_minor: int = 0
    pending_id: str | None = None
    expires_at: datetime | None = None
    reference: str = ""
    memo: str = ""
    linked: bool = False


@dataclass(frozen=True, slots=True)
class TransferResult:
    """The answer to one request; the figures are those of the stored transfer, or zero when none stands."""

    transfer_id: str
    code: Code
    amount_minor: int = 0
    recorded_at: datetime | None = None

    @property
    def stands(self) -> bool:
        """Return whether the transfer is on the books, now or from before."""
        return self.code in (Code.OK, Code.EXISTS)


@dataclass(frozen=True, slots=True)
class Account:
    """An account's rule and running sums."""

    account_id: str
    normal_side: str
    may_go_negative: bool
    credit_limit_minor: int = 0
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    version: int = 0

    @property
    def posted_minor(self) -> int:
        """Return the balance without holds, on the account's normal side."""
        net = self.credits_posted - self.debits_posted
        return net if self.normal_side == "credit" else -net

    @property
    def held_minor(self) -> int:
        """Return what is held against the account: pending movements away from its normal side."""
        return self.debits_pending if self.normal_side == "credit" else self.credits_pending

    @property
    def available_minor(self) -> int:
        """Return what can still be taken, credit limit included. Expected money (pending in) does not count."""
        return self.posted_minor - self.held_minor + self.credit_limit_minor

    @property
    def is_sound(self) -> bool:
        """Return whether the account's rule allows these sums."""
        return self.may_go_negative or self.available_minor >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A stored transfer. A resolution repeats its hold's accounts; void and expire repeat its amount."""

    transfer_id: str
    kind: TransferKind
    debit_account_id: str
    credit_account_id: str
    amount_minor: int
    pending_id: str | None
    expires_at: datetime | None
    event_at: datetime
    recorded_at: datetime
    reference: str
    memo: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Every stored row a batch touches: its accounts, its ids and holds, and how those holds were resolved."""

    accounts: Mapping[str, Account]
    transfers: Mapping[str, Transfer]
    #: pending_id → transfer_id of its resolution
    resolutions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """One result per request, in order; the transfers to insert; the accounts that changed, with their new sums."""

    results: tuple[TransferResult, ...]
    transfers: tuple[Transfer, ...]
    accounts: tuple[Account, ...]


class _Book:
    """The rows as they stand in the middle of a batch."""

    def __init__(
        self,
        accounts: MutableMapping[str, Account],
        transfers: MutableMapping[str, Transfer],
        resolutions: MutableMapping[str, str],
    ) -> None:
        self.accounts, self.transfers, self.resolutions = accounts, transfers, resolutions

    def overlay(self) -> "_Book":
        """Return a book that reads through to this one and keeps its own writes."""
        return _Book(ChainMap({}, self.accounts), ChainMap({}, self.transfers), ChainMap({}, self.resolutions))

    def absorb(self, top: "_Book") -> None:
        """Take over the writes of an overlay."""
        for mine, theirs in (
            (self.accounts, top.accounts),
            (self.transfers, top.transfers),
            (self.resolutions, top.resolutions),
        ):
            assert isinstance(theirs, ChainMap)
            mine.update(theirs.maps[0])


def decide(rows: Rows, requests: Sequence[TransferRequest], *, now: datetime) -> Decision:
    """Return what a batch of requests does to the rows it touches. `rows` is not changed."""
    assert not requests or not requests[-1].linked, "a chain ends with a request that is not linked"
    book = _Book(dict(rows.accounts), dict(rows.transfers), dict(rows.resolutions))
    results: list[TransferResult] = []
    for chain in _chains(requests):
        if len(chain) == 1:
            results.append(_one(book, chain[0], now))
        else:
            results.extend(_together(book, chain, now))
    inserted = tuple(row for key, row in book.transfers.items() if key not in rows.transfers)
    changed = tuple(row for key, row in book.accounts.items() if row is not rows.accounts.get(key))
    return Decision(tuple(results), inserted, changed)


def _chains(requests: Sequence[TransferRequest]) -> Iterator[list[TransferRequest]]:
    chain: list[TransferRequest] = []
    for request in requests:
        chain.append(request)
        if not request.linked:
            yield chain
            chain = []


def _together(book: _Book, chain: list[TransferRequest], now: datetime) -> list[TransferResult]:
    trial = book.overlay()
    results = [_one(trial, request, now) for request in chain]
    codes = {result.code for result in results}
    if codes == {Code.OK}:
        book.absorb(trial)
        return results
    if codes == {Code.EXISTS} and all(request.transfer_id in book.transfers for request in chain):
        return results
    failed_at = next((index for index, result in enumerate(results) if not result.stands), len(results))
    return [
        result
        if index == failed_at or (result.code is Code.EXISTS and result.transfer_id in book.transfers)
        else TransferResult(result.transfer_id, Code.LINKED_FAILED)
        for index, result in enumerate(results)
    ]


def _one(book: _Book, request: TransferRequest, now: datetime) -> TransferResult:
    stored = book.transfers.get(request.transfer_id)
    if stored is not None:
        if not _same_body(stored, request):
            return TransferResult(request.transfer_id, Code.EXISTS_DIFFERENT)
        return TransferResult(request.transfer_id, Code.EXISTS, stored.amount_minor, stored.recorded_at)
    resolving = request.kind in (TransferKind.POST, TransferKind.VOID, TransferKind.EXPIRE)
    drawn = _draw_resolution(book, request, now) if resolving else _draw_movement(book, request, now)
    if isinstance(drawn, Code):
        return TransferResult(request.transfer_id, drawn)
    moved = _moved(book, drawn)
    if not all(account.is_sound for account in moved):
        return TransferResult(request.transfer_id, Code.INSUFFICIENT)
    for account in moved:
        book.accounts[account.account_id] = account
    book.transfers[drawn.transfer_id] = drawn
    if drawn.pending_id is not None:
        book.resolutions[drawn.pending_id] = drawn.transfer_id
    return TransferResult(drawn.transfer_id, Code.OK, drawn.amount_minor, drawn.recorded_at)


def _draw_movement(book: _Book, request: TransferRequest, now: datetime) -> Transfer | Code:
    if request.pending_id is not None:
        return Code.NOT_PENDING
    if not 1 <= request.amount_minor <= AMOUNT_MINOR_MAX:
        return Code.INVALID_AMOUNT
    if request.debit_account_id == request.credit_account_id:
        return Code.SAME_ACCOUNT
    if request.debit_account_id not in book.accounts or request.credit_account_id not in book.accounts:
        return Code.ACCOUNT_UNKNOWN
    return Transfer(
        transfer_id=request.transfer_id,
        kind=request.kind,
        debit_account_id=request.debit_account_id,
        credit_account_id=request.credit_account_id,
        amount_minor=request.amount_minor,
        pending_id=None,
        expires_at=request.expires_at if request.kind is TransferKind.PENDING else None,
        event_at=request.event_at,
        recorded_at=now,
        reference=request.reference,
        memo=request.memo,
    )


def _draw_resolution(book: _Book, request: TransferRequest, now: datetime) -> Transfer | Code:
    hold = book.transfers.get(request.pending_id or "")
    if hold is None or hold.kind is not TransferKind.PENDING:
        return Code.NOT_PENDING
    if hold.transfer_id in book.resolutions:
        return Code.ALREADY_RESOLVED
    if request.kind is TransferKind.EXPIRE and (hold.expires_at is None or now < hold.expires_at):
        return Code.NOT_DUE
    amount_minor = request.amount_minor
    if request.kind is not TransferKind.POST:
        if amount_minor not in (0, hold.amount_minor):
            return Code.INVALID_AMOUNT
        amount_minor = hold.amount_minor
    if amount_minor < 1:
        return Code.INVALID_AMOUNT
    if amount_minor > hold.amount_minor:
        return Code.EXCEEDS_PENDING
    return Transfer(
        transfer_id=request.transfer_id,
        kind=request.kind,
        debit_account_id=hold.debit_account_id,
        credit_account_id=hold.credit_account_id,
        amount_minor=amount_minor,
        pending_id=hold.transfer_id,
        expires_at=None,
        event_at=request.event_at,
        recorded_at=now,
        reference=request.reference or hold.reference,
        memo=request.memo,
    )


def _moved(book: _Book, drawn: Transfer) -> tuple[Account, Account]:
    posted = drawn.amount_minor if drawn.kind in (TransferKind.SINGLE, TransferKind.POST) else 0
    if drawn.kind is TransferKind.PENDING:
        pending = drawn.amount_minor
    else:
        pending = -book.transfers[drawn.pending_id].amount_minor if drawn.pending_id is not None else 0
    debit, credit = book.accounts[drawn.debit_account_id], book.accounts[drawn.credit_account_id]
    return (
        replace(
            debit,
            debits_pending=debit.debits_pending + pending,
            debits_posted=debit.debits_posted + posted,
            version=debit.version + 1,
        ),
        replace(
            credit,
            credits_pending=credit.credits_pending + pending,
            credits_posted=credit.credits_posted + posted,
            version=credit.version + 1,
        ),
    )


def _same_body(stored: Transfer, request: TransferRequest) -> bool:
    if stored.kind is not request.kind or stored.pending_id != request.pending_id or stored.memo != request.memo:
        return False
    if stored.pending_id is not None:
        amount_minor = request.amount_minor or (0 if request.kind is TransferKind.POST else stored.amount_minor)
        return amount_minor == stored.amount_minor and request.reference in ("", stored.reference)
    expires_at = request.expires_at if request.kind is TransferKind.PENDING else None
    return (
        stored.debit_account_id == request.debit_account_id
        and stored.credit_account_id == request.credit_account_id
        and stored.amount_minor == request.amount_minor
        and stored.reference == request.reference
        and _millis(stored.expires_at) == _millis(expires_at)
    )


def _millis(moment: datetime | None) -> int | None:
    return None if moment is None else epoch_ms(moment)
