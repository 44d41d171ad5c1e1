"""The chart of accounts: which kinds exist, whose they are, on which side they grow, and which may never run dry."""

from dataclasses import dataclass
from typing import Literal

Side = Literal["debit", "credit"]
#: Whom an account is kept for. `school` has one of the kind; the others have one for each owner.
Owner = Literal["school", "method", "cardholder", "issuer"]


@dataclass(frozen=True, slots=True)
class AccountRule:
    """How accounts of one kind behave: the side they grow on and whether their available amount may be negative."""

    normal_side: Side
    may_go_negative: bool
    owner: Owner
    #: Whether what a reference (a water session's id) brings in must also leave: what stays is a break.
    clears: bool = False


CHART: dict[str, AccountRule] = {
    # What a cardholder has: never below zero, whatever else is wrong.
    "cardholder_wallet": AccountRule("credit", may_go_negative=False, owner="cardholder"),
    "subsidy_fund": AccountRule("credit", may_go_negative=False, owner="cardholder"),
    "voucher_fund": AccountRule("credit", may_go_negative=False, owner="cardholder"),
    "points_liability": AccountRule("credit", may_go_negative=False, owner="cardholder"),
    # What is underway, or promised to somebody.
    "payment_clearing": AccountRule("credit", may_go_negative=False, owner="method", clears=True),
    "refunds_payable": AccountRule("credit", may_go_negative=False, owner="method"),
    "escrow": AccountRule("credit", may_go_negative=False, owner="issuer"),
    "payout_clearing": AccountRule("credit", may_go_negative=False, owner="school"),
    # Where money is, or who owes it.
    "provider_receivable": AccountRule("debit", may_go_negative=True, owner="method"),
    "cash": AccountRule("debit", may_go_negative=True, owner="school"),
    "bank": AccountRule("debit", may_go_negative=True, owner="school"),
    "fees": AccountRule("debit", may_go_negative=True, owner="method"),
    "operator_loss": AccountRule("debit", may_go_negative=True, owner="school"),
    # Where it comes from in the end.
    "operator_payable": AccountRule("credit", may_go_negative=True, owner="school"),
    "water_revenue": AccountRule("credit", may_go_negative=True, owner="school"),
    "suspense": AccountRule("credit", may_go_negative=True, owner="school"),
    "opening_equity": AccountRule("credit", may_go_negative=True, owner="school"),
}


def account_id(kind: str, owner_id: str = "") -> str:
    """Return the id of the account of a kind and owner: the same words always name the same account of a tenant."""
    assert kind in CHART, f"the chart has no {kind!r}"
    assert owner_id or CHART[kind].owner != "cardholder", f"a {kind!r} is somebody's"
    return f"{kind}/{owner_id}" if owner_id else kind


def rule_of(account_id: str) -> AccountRule | None:
    """Return the rule for an account's id, or nothing if the chart has no such account."""
    kind, slash, owner_id = account_id.partition("/")
    rule = CHART.get(kind)
    if rule is None or bool(slash) != bool(owner_id) or (rule.owner == "cardholder" and not owner_id):
        return None
    return rule
