"""
The ledger's words: what is asked, what is stored, what an account is, what is answered.

- A *single* moves money at once. A *pending* holds it; a later *post* takes part or all of the hold and releases the
  rest, a *void* or *expire* releases all of it. A hold is resolved once.
- `expires_at` says from when a hold may be expired. Until an *expire* is recorded the hold stands and may be posted.
- The same id with the same body answers `exists` and changes nothing, whatever the accounts hold now; with another
  body it answers `exists_different`. When it happened (`event_at`) and `linked` are not part of the body.
- Requests marked `linked` form a chain with the one after them: all become transfers or none does.

`backend.ledger.decision` says what becomes of requests; the types here are msgspec structs because a busy second makes
a hundred thousand of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from backend.ledger import chart

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


_OK, _EXISTS = Code.OK, Code.EXISTS  # to look a member of an enumeration up takes longer than all else about it


class TransferRequest(Struct, frozen=True, kw_only=True, gc=False):
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


class TransferResult(Struct, frozen=True, gc=False):
    """The answer to one request; the figures are those of the stored transfer, or zero when none stands."""

    transfer_id: str
    code: Code
    amount_minor: int = 0
    recorded_at: datetime | None = None

    @property
    def stands(self) -> bool:
        """Return whether the transfer is on the books, now or from before."""
        return self.code is _OK or self.code is _EXISTS


class Account(Struct, frozen=True, gc=False):
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

    def debited(self, pending: int, posted: int) -> "Account":
        """Return the account after a movement on its debit side."""
        return Account(
            self.account_id,
            self.normal_side,
            self.may_go_negative,
            self.credit_limit_minor,
            self.debits_pending + pending,
            self.debits_posted + posted,
            self.credits_pending,
            self.credits_posted,
            self.version + 1,
        )

    def credited(self, pending: int, posted: int) -> "Account":
        """Return the account after a movement on its credit side."""
        return Account(
            self.account_id,
            self.normal_side,
            self.may_go_negative,
            self.credit_limit_minor,
            self.debits_pending,
            self.debits_posted,
            self.credits_pending + pending,
            self.credits_posted + posted,
            self.version + 1,
        )


def empty_account(account_id: str) -> Account | None:
    """Return an account of the chart as it is before money ever moved, or nothing if the chart has no such account."""
    rule = chart.rule_of(account_id)
    return None if rule is None else Account(account_id, rule.normal_side, rule.may_go_negative)


class Transfer(Struct, frozen=True, kw_only=True, gc=False):
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
    """
    Every stored row a batch touches: its accounts, its ids and holds, and how those holds were resolved.

    An account of the chart that is not among them was never used and is opened by its first movement.
    """

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


_CLEARING = tuple(f"{kind}/" for kind, rule in chart.CHART.items() if rule.clears)


def left_on_clearing(transfers: Iterable[Transfer]) -> dict[tuple[str, str], int]:
    """Return what transfers leave on accounts that clear, by account and reference; what comes out even is left out."""
    left: dict[tuple[str, str], int] = {}
    for one in transfers:
        if one.kind in (TransferKind.SINGLE, TransferKind.POST):
            if one.credit_account_id.startswith(_CLEARING):
                key = one.credit_account_id, one.reference
                left[key] = left.get(key, 0) + one.amount_minor
            if one.debit_account_id.startswith(_CLEARING):
                key = one.debit_account_id, one.reference
                left[key] = left.get(key, 0) - one.amount_minor
    return {key: minor for key, minor in left.items() if minor}
