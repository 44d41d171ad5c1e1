"""
What a provider's answer means for an order of ours (an authorization or a top-up charge). Pure.

An order that was sent and not answered is asked about. *Not found* is believed only after `GIVE_UP_AFTER`: until then
our request may still be under way. Once we gave an order up (declined or voided it), a success is *late*: it is undone
at the provider, becomes a case, and never reaches the books.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from backend.payments.port import NOT_FOUND, Answer, Declined, Succeeded
from backend.payments.types import Authorization as Authorization
from backend.payments.types import Operation as Operation
from backend.payments.types import Part as Part
from backend.payments.types import Refund as Refund
from backend.payments.types import State as State
from backend.payments.types import TopUp as TopUp
from backend.payments.types import TopUpState as TopUpState

#: An authorization nobody sent by then was forgotten by a process that died; it can be declined without asking.
NEVER_SENT_AFTER = timedelta(seconds=30)
#: How long the process that sends an order has it to itself; longer than any call may take.
FIRST_QUERY_AFTER = timedelta(seconds=8)
GIVE_UP_AFTER = timedelta(seconds=45)
ABANDON_AFTER = timedelta(days=3)
#: By how much the clocks of devices and providers may be slow, also because some write whole seconds.
CLOCK_SLACK = timedelta(minutes=1)
_BACK_OFF_S = (1, 2, 4, 8, 15, 30, 60, 120, 300)
#: When an order given up is looked at again, counted from the previous look.
WATCH_DELAYS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=24))
_TAKEN = ("held", "charged", "captured")
#: What tells the code of one brand from another's; a hint that keeps a code from being shown to the wrong provider.
_PAYER_CODES = {
    "wechat": re.compile(r"1[0-5]\d{16}"),
    "alipay": re.compile(r"(2[5-9]|30)\d{14,22}"),
    "unionpay": re.compile(r"62\d{14,18}"),
}
#: The campus purses in the order in which they are spent.
SPEND_ORDER = ("subsidy", "voucher", "wallet")


class Source(StrEnum):
    """Who said what became of an operation."""

    CALL = "call"
    QUERY = "query"
    NOTIFICATION = "notification"
    STATEMENT = "statement"


class Verdict(StrEnum):
    """What to do about an order after an answer."""

    TAKE = "take"
    DECLINE = "decline"
    GIVE_UP = "give_up"
    #: The provider has taken something else than was ordered.
    DIFFERS = "differs"
    WAIT = "wait"


def is_payer_code(method: str, code: str) -> bool:
    """Return whether a text can be a payer's one-time code for a method."""
    pattern = _PAYER_CODES.get(method)
    return pattern is not None and pattern.fullmatch(code) is not None and code.isascii()


def spread(amount_minor: int, available: Mapping[str, int]) -> list[tuple[str, int]] | None:
    """Return which purse gives how much, in the order they are spent; None if all together have too little."""
    found = []
    for purse in SPEND_ORDER:
        part = min(amount_minor, max(available.get(purse, 0), 0))
        if part > 0:
            found.append((purse, part))
            amount_minor -= part
    return found if amount_minor == 0 else None


def split_capture(parts: Sequence[Part], amount_minor: int) -> list[tuple[Part, int]]:
    """Return how much of an amount is taken from each part of a hold, in the order of the parts."""
    taken = []
    for part in parts:
        share = min(part.held_minor, amount_minor)
        taken.append((part, share))
        amount_minor -= share
    assert amount_minor == 0, "no more is captured than is held"
    return taken


def happened_at(said_at: datetime | None, *, not_before: datetime, now: datetime) -> datetime:
    """
    Return when something happened that is posted now: what the evidence says, within what is possible.

    The evidence (a device's clock, a provider's) is believed from `not_before` (when the money was held, or the order
    made) up to now. Up to a minute too early is a slow clock and means `not_before`; anything else, and no evidence,
    means now: a nonsensical clock moves no money into another day.
    """
    if said_at is None or said_at > now or said_at < not_before - CLOCK_SLACK:
        return now
    return min(max(said_at, not_before), now)


def said_at(answer: Answer) -> datetime | None:
    """Return when a provider says that something happened, if it does."""
    return answer.at if isinstance(answer, Succeeded) else None


def is_taken(answer: Answer) -> bool:
    """Return whether the provider says it holds or has taken money for the order."""
    return isinstance(answer, Succeeded) and answer.status in _TAKEN


def judge(answer: Answer, *, amount_minor: int, source: Source, sent_at: datetime, now: datetime) -> Verdict:
    """
    Return what an answer means for an order that is still open.

    A success over another amount is not ours to believe. What is in no statement was not taken so far; it is given up,
    so that it cannot be taken later either.
    """
    if isinstance(answer, Succeeded):
        if answer.status in _TAKEN:
            return Verdict.TAKE if answer.amount_minor == amount_minor else Verdict.DIFFERS
        return Verdict.DECLINE
    if isinstance(answer, Declined):
        if source is Source.STATEMENT:
            return Verdict.GIVE_UP
        if source is not Source.CALL and answer.reason == NOT_FOUND:
            return Verdict.GIVE_UP if now - sent_at >= GIVE_UP_AFTER else Verdict.WAIT
        return Verdict.DECLINE
    return Verdict.WAIT


def reason_of(answer: Answer) -> str:
    """Return an answer in a few stable words, for the record."""
    words = answer.status if isinstance(answer, Succeeded) else answer.reason
    return words[:64]


def reference_of(answer: Answer) -> str:
    """Return what the provider calls the order, or nothing when it has not said."""
    return answer.reference[:96] if isinstance(answer, Succeeded) else ""


def back_off(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts before the next."""
    return timedelta(seconds=_BACK_OFF_S[min(attempts, len(_BACK_OFF_S) - 1)])


def next_question(*, attempts: int, sent_at: datetime, now: datetime) -> datetime:
    """Return when to ask about an open order again: backing off, but never past the moment it may be given up."""
    give_up_at = sent_at + GIVE_UP_AFTER
    at = now + back_off(attempts)
    return give_up_at if now < give_up_at < at else at
