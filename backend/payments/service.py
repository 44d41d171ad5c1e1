"""
The payments' use cases, each in a module of its own and offered through this one.

Authorizations live in `authorizing`, purses in `wallets`, top-ups, refunds, notifications, the queue (`resolution`) and
what daily statements settle (`from_statements`) beside it.
"""

from sqlalchemy import Connection

from backend.payments import queue_repository, repository
from backend.payments.authorizing import (
    AuthorizationCaptured,
    AuthorizationDiffers,
    AuthorizationNotHeld,
    AuthorizationUnknown,
    CaptureDiffers,
    CaptureExceedsHold,
    MethodUnknown,
    authorization,
    capture,
    expire_due,
    holds,
    open_authorization,
    perform,
    void,
)
from backend.payments.capabilities import MATRIX
from backend.payments.cases import open_case
from backend.payments.from_statements import fetch_statements, resolve_from_statements
from backend.payments.notifying import NotifierUnknown, take_notification
from backend.payments.orders import OrderNumberTaken
from backend.payments.outcomes import Outcome, outcome, parts
from backend.payments.payers import (
    PayerAgreementRefused,
    PayerCodeMalformed,
    bind_payer,
    check_code,
    payer_agreement,
)
from backend.payments.refunding import (
    RefundAmountRefused,
    RefundDiffers,
    RefundExceedsCapture,
    RefundUnknown,
    refund,
    refundable_minor,
    refunds,
    request_refund,
)
from backend.payments.resolution import AskedJustNow, ask_now, resolve_due
from backend.payments.rules import happened_at
from backend.payments.top_ups import ReportTooEarly, find_top_up, question, report_missing, top_up, top_ups
from backend.payments.turns import in_turn
from backend.payments.types import Ack, Authorization, Operation, Part, Refund, State, TopUp, TopUpState
from backend.payments.wallets import (
    Purse,
    TransferDiffers,
    Wallet,
    credit_wallet,
    purse_account,
    purse_entries,
    purses,
    record_overrun,
    take_overrun_back,
    wallet,
    wallet_entries,
)

__all__ = [
    "Ack",
    "AskedJustNow",
    "Authorization",
    "AuthorizationCaptured",
    "AuthorizationDiffers",
    "AuthorizationNotHeld",
    "AuthorizationUnknown",
    "CaptureDiffers",
    "CaptureExceedsHold",
    "MethodUnknown",
    "NotifierUnknown",
    "Operation",
    "OrderNumberTaken",
    "Outcome",
    "Part",
    "PayerAgreementRefused",
    "PayerCodeMalformed",
    "Purse",
    "Refund",
    "RefundAmountRefused",
    "RefundDiffers",
    "RefundExceedsCapture",
    "RefundUnknown",
    "ReportTooEarly",
    "State",
    "TopUp",
    "TopUpState",
    "TransferDiffers",
    "Wallet",
    "ask_now",
    "authorization",
    "bind_payer",
    "capture",
    "check_code",
    "credit_wallet",
    "expire_due",
    "fetch_statements",
    "find_top_up",
    "happened_at",
    "holds",
    "in_turn",
    "is_cardholder_open",
    "is_deposit",
    "late_successes",
    "open_authorization",
    "open_case",
    "outcome",
    "parts",
    "payer_agreement",
    "perform",
    "purse_account",
    "purse_entries",
    "purses",
    "question",
    "record_overrun",
    "refund",
    "refundable_minor",
    "refunds",
    "report_missing",
    "request_refund",
    "resolve_due",
    "resolve_from_statements",
    "take_notification",
    "take_overrun_back",
    "top_up",
    "top_ups",
    "unknowns",
    "void",
    "wallet",
    "wallet_entries",
]


def is_deposit(method: str) -> bool:
    """Return whether a method cannot hold, so that the worst case is taken at the start and the rest given back."""
    return MATRIX[method].flow == "charge_and_refund"


def unknowns(conn: Connection, tenant_id: str) -> list[Operation]:
    """Return what providers were asked and have not settled, refused or never answered, oldest first."""
    return queue_repository.unsettled(conn, tenant_id)


def late_successes(conn: Connection, tenant_id: str) -> int:
    """Return how many orders a provider took after we had given them up; each was undone there."""
    return repository.late_successes(conn, tenant_id)


def is_cardholder_open(conn: Connection, tenant_id: str, cardholder_id: str) -> bool:
    """Return whether a cardholder has an authorization or a top-up whose end is not known yet."""
    return repository.is_cardholder_open(conn, tenant_id, cardholder_id)
