"""
What a provider's answer means for an order of ours (an authorization or a top-up charge). Pure.

An order that was sent and not answered is asked about. *Not found* is believed only after `GIVE_UP_AFTER`: until then
our request may still be under way. Once we gave an order up (declined or voided it), a success is *late*: it is undone
at the provider and counted, and never reaches the books.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from backend.payments.port import NOT_FOUND, Answer, Declined, Succeeded

#: An authorization nobody sent by then was forgotten by a process that died; it can be declined without asking.
NEVER_SENT_AFTER = timedelta(seconds=30)
#: How long the process that sends an order has it to itself; longer than any call may take.
FIRST_QUERY_AFTER = timedelta(seconds=8)
GIVE_UP_AFTER = timedelta(seconds=45)
ABANDON_AFTER = timedelta(days=3)
_BACK_OFF_S = (1, 2, 4, 8, 15, 30, 60, 120, 300)
#: When an order given up is looked at again, counted from the previous look.
WATCH_DELAYS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=24))
_TAKEN = ("held", "charged", "captured")


class State(StrEnum):
    """Where an authorization is. `unknown` means sent and not answered; nobody may send it again."""

    REQUESTED = "requested"
    HELD = "held"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    CAPTURED = "captured"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Authorization:
    """Money promised for one water session."""

    tenant_id: str
    auth_id: str
    water_session_id: str
    cardholder_id: str
    method: str
    amount_minor: int
    captured_minor: int
    state: State
    reason: str
    created_at: datetime
    expires_at: datetime
    capture_id: str | None = None
    late_success: bool = False


class TopUpState(StrEnum):
    """Where a top-up is. `checking` means the provider has not said yet."""

    CHECKING = "checking"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class TopUp:
    """Money a cardholder moves from an external provider into the wallet."""

    tenant_id: str
    top_up_id: str
    cardholder_id: str
    method: str
    amount_minor: int
    state: TopUpState
    reason: str
    created_at: datetime
    late_success: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """Something still to be said to or asked of a provider, or the record that it was."""

    tenant_id: str
    operation_id: str
    kind: str
    order_id: str
    method: str
    amount_minor: int
    status: str
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    next_at: datetime
    answer: str


class Verdict(StrEnum):
    """What to do about an order after an answer."""

    TAKE = "take"
    DECLINE = "decline"
    GIVE_UP = "give_up"
    WAIT = "wait"


def is_taken(answer: Answer) -> bool:
    """Return whether the provider says it holds or has taken money for the order."""
    return isinstance(answer, Succeeded) and answer.status in _TAKEN


def judge(answer: Answer, *, amount_minor: int, asked: bool, sent_at: datetime, now: datetime) -> Verdict:
    """
    Return what an answer means for an order that is still open.

    `asked` says whether it answers a query or the order itself. A success over another amount is not ours to believe.
    """
    if isinstance(answer, Succeeded):
        if answer.status in _TAKEN:
            return Verdict.TAKE if answer.amount_minor == amount_minor else Verdict.WAIT
        return Verdict.DECLINE
    if isinstance(answer, Declined):
        if asked and answer.reason == NOT_FOUND:
            return Verdict.GIVE_UP if now - sent_at >= GIVE_UP_AFTER else Verdict.WAIT
        return Verdict.DECLINE
    return Verdict.WAIT


def reason_of(answer: Answer) -> str:
    """Return an answer in a few stable words, for the record."""
    words = answer.status if isinstance(answer, Succeeded) else answer.reason
    return words[:64]


def back_off(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts before the next."""
    return timedelta(seconds=_BACK_OFF_S[min(attempts, len(_BACK_OFF_S) - 1)])


def next_question(*, attempts: int, sent_at: datetime, now: datetime) -> datetime:
    """Return when to ask about an open order again: backing off, but never past the moment it may be given up."""
    give_up_at = sent_at + GIVE_UP_AFTER
    at = now + back_off(attempts)
    return give_up_at if now < give_up_at < at else at
