"""
The ledger's one decision: which of a batch of requests become transfers, and what the accounts then hold.

Pure: rows in, rows out. Requests are taken in order, and each sees what those before it did.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from backend.kit.clock import epoch_ms
from backend.ledger.rules import (
    AMOUNT_MINOR_MAX,
    Account,
    Code,
    Decision,
    Rows,
    Transfer,
    TransferKind,
    TransferRequest,
    TransferResult,
    empty_account,
)

_MOVEMENTS = (TransferKind.SINGLE, TransferKind.PENDING)
# To look a member of an enumeration up takes longer than all else that is done with it here.
_SINGLE, _PENDING, _POST, _EXPIRE, _OK = (
    TransferKind.SINGLE,
    TransferKind.PENDING,
    TransferKind.POST,
    TransferKind.EXPIRE,
    Code.OK,
)


class _Book:
    """The rows as they stand in the middle of a batch, and the way back to where a chain began."""

    def __init__(self, rows: Rows) -> None:
        self.accounts = dict(rows.accounts)
        self.transfers = dict(rows.transfers)
        self.resolutions = dict(rows.resolutions)
        self.inserted: list[Transfer] = []
        #: For each inserted transfer, its two accounts as they were before it.
        self._before: list[tuple[tuple[str, Account | None], tuple[str, Account | None]]] = []

    def account(self, account_id: str) -> Account | None:
        """Return an account, fresh from the chart if it was never used."""
        return self.accounts.get(account_id) or empty_account(account_id)

    def record(self, drawn: Transfer, debit: Account, credit: Account) -> None:
        """Take in a transfer and its two accounts as they are after it."""
        debit_id, credit_id, known = drawn.debit_account_id, drawn.credit_account_id, self.accounts
        self._before.append(((debit_id, known.get(debit_id)), (credit_id, known.get(credit_id))))
        known[debit_id] = debit
        known[credit_id] = credit
        self.transfers[drawn.transfer_id] = drawn
        self.inserted.append(drawn)
        if drawn.pending_id is not None:
            self.resolutions[drawn.pending_id] = drawn.transfer_id

    def go_back(self, count: int) -> None:
        """Forget the transfers after the first `count`."""
        while len(self.inserted) > count:
            drawn = self.inserted.pop()
            del self.transfers[drawn.transfer_id]
            if drawn.pending_id is not None:
                del self.resolutions[drawn.pending_id]
            for account_id, before in self._before.pop():
                if before is None:
                    del self.accounts[account_id]
                else:
                    self.accounts[account_id] = before


def decide(rows: Rows, requests: Sequence[TransferRequest], *, now: datetime) -> Decision:
    """Return what a batch of requests does to the rows it touches. `rows` is not changed."""
    assert not requests or not requests[-1].linked, "a chain ends with a request that is not linked"
    book = _Book(rows)
    results: list[TransferResult] = []
    for chain in _chains(requests):
        if len(chain) == 1:
            results.append(_one(book, chain[0], now))
        else:
            results.extend(_together(book, chain, now))
    changed = tuple(row for key, row in book.accounts.items() if row is not rows.accounts.get(key))
    return Decision(tuple(results), tuple(book.inserted), changed)


def _chains(requests: Sequence[TransferRequest]) -> Iterator[list[TransferRequest]]:
    chain: list[TransferRequest] = []
    for request in requests:
        chain.append(request)
        if not request.linked:
            yield chain
            chain = []


def _together(book: _Book, chain: list[TransferRequest], now: datetime) -> list[TransferResult]:
    count = len(book.inserted)
    results = [_one(book, request, now) for request in chain]
    codes = {result.code for result in results}
    if codes == {Code.OK}:
        return results
    book.go_back(count)
    known = [request.transfer_id in book.transfers for request in chain]
    if codes == {Code.EXISTS} and all(known):
        return results
    failed_at = next((index for index, result in enumerate(results) if not result.stands), len(results))
    return [
        result
        if index == failed_at or (result.code is Code.EXISTS and known[index])
        else TransferResult(result.transfer_id, Code.LINKED_FAILED)
        for index, result in enumerate(results)
    ]


def _one(book: _Book, request: TransferRequest, now: datetime) -> TransferResult:
    stored = book.transfers.get(request.transfer_id)
    if stored is not None:
        if not _same_body(stored, request):
            return TransferResult(request.transfer_id, Code.EXISTS_DIFFERENT)
        return TransferResult(request.transfer_id, Code.EXISTS, stored.amount_minor, stored.recorded_at)
    moving = request.kind in _MOVEMENTS
    drawn = _draw_movement(request, now) if moving else _draw_resolution(book, request, now)
    if isinstance(drawn, Code):
        return TransferResult(request.transfer_id, drawn)
    debit, credit = book.account(drawn.debit_account_id), book.account(drawn.credit_account_id)
    if debit is None or credit is None:
        return TransferResult(request.transfer_id, Code.ACCOUNT_UNKNOWN)
    pending, posted = _amounts(book, drawn)
    debit, credit = debit.debited(pending, posted), credit.credited(pending, posted)
    if not (debit.is_sound and credit.is_sound):
        return TransferResult(request.transfer_id, Code.INSUFFICIENT)
    book.record(drawn, debit, credit)
    return TransferResult(drawn.transfer_id, _OK, drawn.amount_minor, drawn.recorded_at)


def _draw_movement(request: TransferRequest, now: datetime) -> Transfer | Code:
    if request.pending_id is not None:
        return Code.NOT_PENDING
    if not 1 <= request.amount_minor <= AMOUNT_MINOR_MAX:
        return Code.INVALID_AMOUNT
    if request.debit_account_id == request.credit_account_id:
        return Code.SAME_ACCOUNT
    return Transfer(
        transfer_id=request.transfer_id,
        kind=request.kind,
        debit_account_id=request.debit_account_id,
        credit_account_id=request.credit_account_id,
        amount_minor=request.amount_minor,
        pending_id=None,
        expires_at=request.expires_at if request.kind is _PENDING else None,
        event_at=request.event_at,
        recorded_at=now,
        reference=request.reference,
        memo=request.memo,
    )


def _draw_resolution(book: _Book, request: TransferRequest, now: datetime) -> Transfer | Code:
    hold = book.transfers.get(request.pending_id or "")
    if hold is None or hold.kind is not _PENDING:
        return Code.NOT_PENDING
    if hold.transfer_id in book.resolutions:
        return Code.ALREADY_RESOLVED
    if request.kind is _EXPIRE and (hold.expires_at is None or now < hold.expires_at):
        return Code.NOT_DUE
    amount_minor = request.amount_minor
    if request.kind is not _POST:
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


def _amounts(book: _Book, drawn: Transfer) -> tuple[int, int]:
    """Return how a transfer changes what is pending and what is posted, on both its accounts."""
    if drawn.kind is _SINGLE:
        return 0, drawn.amount_minor
    if drawn.pending_id is None:
        return drawn.amount_minor, 0
    hold_minor = book.transfers[drawn.pending_id].amount_minor
    return -hold_minor, drawn.amount_minor if drawn.kind is _POST else 0


def _same_body(stored: Transfer, request: TransferRequest) -> bool:
    if stored.kind is not request.kind or stored.pending_id != request.pending_id or stored.memo != request.memo:
        return False
    if stored.pending_id is not None:
        amount_minor = request.amount_minor or (0 if request.kind is _POST else stored.amount_minor)
        return amount_minor == stored.amount_minor and request.reference in ("", stored.reference)
    expires_at = request.expires_at if request.kind is _PENDING else None
    return (
        stored.debit_account_id == request.debit_account_id
        and stored.credit_account_id == request.credit_account_id
        and stored.amount_minor == request.amount_minor
        and stored.reference == request.reference
        and _millis(stored.expires_at) == _millis(expires_at)
    )


def _millis(moment: datetime | None) -> int | None:
    return None if moment is None else epoch_ms(moment)
