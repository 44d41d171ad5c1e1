"""The chart of accounts: which kinds exist, on which side they grow, and which may never run dry."""

from dataclasses import dataclass
from typing import Literal

Side = Literal["debit", "credit"]


@dataclass(frozen=True, slots=True)
class AccountRule:
    """How accounts of one kind behave: the side they grow on and whether their available amount may be negative."""

    normal_side: Side
    may_go_negative: bool


_OURS = AccountRule("credit", may_go_negative=True)
_OWED = AccountRule("credit", may_go_negative=False)
_ASSET = AccountRule("debit", may_go_negative=True)

CHART: dict[str, AccountRule] = {
    "cardholder_wallet": _OWED,
    "payment_clearing": _OWED,
    "provider_receivable": _ASSET,
    "operator_payable": _OURS,
    "water_revenue": _OURS,
    "subsidy_fund": _OWED,
    "voucher_fund": _OWED,
    "points_liability": _OWED,
    "escrow": _OWED,
    "refunds_payable": _OWED,
    "fees": _ASSET,
    "suspense": _OURS,
    "operator_loss": _ASSET,
    "opening_equity": _OURS,
}


def account_id(kind: str, owner_id: str = "") -> str:
    """Return the id of the account of a kind and owner: the same words always name the same account of a tenant."""
    assert kind in CHART, f"the chart has no {kind!r}"
    return f"{kind}/{owner_id}" if owner_id else kind
