"""Breaks of payouts by bank: what our books and the bank's statement do not agree on. Pure."""

from backend.payments.bank_rules import Mismatch
from backend.reconciliation.rules import FINANCE, Break


def of_mismatch(found: Mismatch) -> Break:
    """Return a mismatch as a break of finance's."""
    order = found.order
    subject = order.payout_id if order is not None else found.reference or "(none)"
    if found.line is None:
        assert found.since is not None, "what no line names lies in clearing since a moment"
        cause = f"in payout clearing since {found.since:%Y-%m-%d}, and no bank statement lists it"
        return Break("payout_unlisted", subject, found.amount_minor, 0, cause, FINANCE)
    number, day, named = found.line.provider_ref, found.line.day, found.line.order_no or "nothing"
    if order is None:
        subject = f"bank/{number}"
    if found.kind == "unknown":
        cause = f"transfer {number} of {day} is for no payout of ours; it names {named}"
    elif found.kind == "unapproved" and order is not None and order.channel == "cash":
        cause = f"transfer {number} of {day} is for a payout that goes in cash"
    elif found.kind == "unapproved":
        cause = f"transfer {number} of {day} is for a payout that no second person has agreed to"
    elif found.kind == "amount":
        cause = f"transfer {number} of {day} is over {-found.line.amount_minor}, the payout {_ordered(found)}"
    elif found.kind == "twice":
        cause = f"transfer {number} of {day} is for a payout that was settled before"
    else:
        cause = f"transfer {number} of {day} came back, and none of this number and amount had gone out"
    return Break(f"payout_{found.kind}", subject[:160], found.amount_minor, 0, cause, FINANCE)


def _ordered(found: Mismatch) -> int:
    assert found.order is not None, "an amount differs from an order's"
    return found.order.amount_minor
