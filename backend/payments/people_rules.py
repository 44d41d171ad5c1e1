"""
Rules of the money that people move: limits, which purse may give to which, why a leaver must wait. Pure.

Postings, debit → credit; a transfer's id is made of the id of whoever began it (e: entry, p: payout, t: transfer):

| what | transfer | from | to |
|---|---|---|---|
| cash top-up, when approved | e.entry | cash | cardholder_wallet/person |
| manual entry, when approved | e.entry | as proposed | as proposed |
| refund, when approved | `payments.request_refund` as rf_e | | |
| purse transfer, at once | t.move | one purse of the person | another of theirs |
| credit limit, when approved | none: it says how far below zero the wallet may be spent | | |
| leaver's debt, at once | p.*purse*.debt | their own money in another purse | their wallet |
| leaver's own money, at once | p.*purse*.own | the purse | refunds_payable/payout |
| the school's money, at once | p.*purse*.returned | the leaver's purse | the scheme's fund: subsidy_fund/school, … |
| payout, when approved | e.entry | refunds_payable/payout | cash, or payout_clearing by bank |
| payout the bank lists, or gave back | e.cleared, e.returned | as `bank_payouts` says | |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

WALLET, VOUCHER, SUBSIDY = "wallet", "voucher", "subsidy"
#: Under this owner, a scheme's account is the school's fund, from which people are given and to which it returns.
FUND_OWNER = "school"
FUND_KINDS = frozenset({"subsidy_fund", "voucher_fund"})
PAYOUT_OWNER = "payout"

PROPOSAL_LIFE = timedelta(days=7)
REASON_CHARS_MIN = 10
REASON_CHARS_MAX = 500

EntryKind = Literal["cash_top_up", "manual", "refund", "payout", "credit_limit"]
#: The smallest and largest amount of one entry. A payout is whatever the person has; a limit of zero ends a credit.
LIMITS_MINOR: dict[str, tuple[int, int]] = {
    "cash_top_up": (100, 50_000),
    "manual": (1, 10_000_000),
    "refund": (1, 50_000),
    "payout": (1, 10**10),
    "credit_limit": (0, 50_000),
}

#: What the owner of an account reads beside the movement.
MEMOS = {"cash_top_up": "cash top-up", "manual": "entry by finance", "payout": "payout"}

#: Who may propose and who may approve. The one who proposed never approves.
PROPOSERS = frozenset({"finance"})
APPROVERS = frozenset({"approver", "finance"})

TRANSFER_MINOR_MAX = 1_000_000
#: `any`: all that is available. `own`: only what came there from the wallet, so that the school's money stays scheme
#: money and one's own stays one's own.
Share = Literal["any", "own"]
#: Which purse may give to which. A pair that is missing is refused.
PAIRS: dict[tuple[str, str], Share] = {(WALLET, VOUCHER): "any", (VOUCHER, WALLET): "own"}
#: Schools with a table of their own, by tenant.
PAIRS_OF_TENANT: dict[str, dict[tuple[str, str], Share]] = {}

DISPUTE_WINDOW = timedelta(days=30)
DISPUTES_PER_SESSION_MAX = 3
DISPUTE_REASONS = ("no_water", "wrong_amount", "not_me", "too_cold", "other")
DISPUTE_TEXT_CHARS_MAX = 1_000
ANSWER_CHARS_MIN = 5
_NO_WATER_ML = 500
_TOO_COLD_DECIDEGC = 320

#: How a leaver is paid, and the account the money leaves by.
CHANNELS = {"cash": "cash", "bank": "payout_clearing"}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a leaver cannot be paid yet: its kind and what it is about."""

    kind: str
    subject_id: str


def pairs(tenant_id: str) -> dict[tuple[str, str], Share]:
    """Return which purse may give to which at a school, and how much of it."""
    return PAIRS_OF_TENANT.get(tenant_id, PAIRS)


Move = Literal["own_in", "own_out", "spent", "refunded", "given"]


def own_minor(moves: Iterable[tuple[Move, int]]) -> int:
    """
    Return how much of a scheme purse is the person's own money, from everything that moved it, oldest first.

    The school's money is spent first, so that nobody loses their own; a refund gives back their own first.
    """
    own = scheme = own_spent = 0
    for move, amount_minor in moves:
        if move == "own_in":
            own += amount_minor
        elif move == "own_out":
            own -= amount_minor
        elif move == "given":
            scheme += amount_minor
        elif move == "refunded":
            back = min(own_spent, amount_minor)
            own, own_spent, scheme = own + back, own_spent - back, scheme + amount_minor - back
        else:
            of_scheme = min(scheme, amount_minor)
            of_own = min(own, amount_minor - of_scheme)
            scheme, own, own_spent = scheme - of_scheme, own - of_own, own_spent + of_own
    return max(own, 0)


def is_reason(text: str) -> bool:
    """Return whether somebody else can understand why: 10 to 500 characters without the space around them."""
    return REASON_CHARS_MIN <= len(text.strip()) <= REASON_CHARS_MAX


def suggested_minor(
    reason: str, *, captured_minor: int, volume_ml: int | None, temperature_decidegc: int | None
) -> int | None:
    """
    Return what the meter itself says a dispute is worth, or None when a person must weigh it.

    All of it when next to no water was counted for somebody without water, or when what ran was cold.
    """
    if reason == "no_water" and volume_ml is not None and volume_ml <= _NO_WATER_ML:
        return captured_minor
    if reason == "too_cold" and temperature_decidegc is not None and temperature_decidegc < _TOO_COLD_DECIDEGC:
        return captured_minor
    return None
