"""How WeChat Pay tells orders, refunds and refusals."""

import re
from collections.abc import Callable
from typing import Any

from firmware_sim.sandbox_provider.keyring import Merchant
from firmware_sim.sandbox_provider.kit import compact, rfc3339
from firmware_sim.sandbox_provider.store import Operation, Order

#: Reason to status and code.
_ERRORS = {
    "insufficient_funds": (403, "NOT_ENOUGH"), "code_invalid": (400, "AUTH_CODE_INVALID"),
    "code_used": (400, "AUTH_CODE_EXPIRED"), "expired": (400, "ORDER_CLOSED"), "canceled": (400, "ORDER_REVERSED"),
    "risk": (403, "RULE_LIMIT"), "limit": (403, "RULE_LIMIT"), "exceeds_paid": (403, "NOT_ENOUGH"),
}  # fmt: skip
_STATES = {
    "waiting": "USERPAYING", "charged": "SUCCESS", "refunded": "REFUND", "voided": "REVOKED", "declined": "PAYERROR",
}  # fmt: skip


def error_of(reason: str) -> tuple[int, str]:
    """Return the HTTP status and code for a reason; a reason in capitals is a code."""
    if re.fullmatch(r"[A-Z][A-Z_]+", reason, re.ASCII):
        return 403, reason
    return _ERRORS.get(reason, (400, "TRADE_ERROR"))


def _state(order: Order) -> str:
    return "REFUND" if order.refunded_minor else _STATES[order.status]


def whole(value: object) -> int:
    """Return a positive whole number as it is and 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**12 else 0


def as_dict(value: object) -> dict[str, Any]:
    """Return an object as it is and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def transaction(merchant: Merchant, order: Order) -> dict[str, Any]:
    """Return an order as pay, query and notification tell it."""
    told: dict[str, Any] = {
        "appid": merchant.values["app_id"], "mchid": order.merchant_id, "out_trade_no": order.order_no,
        "trade_type": "MICROPAY", "trade_state": _state(order), "trade_state_desc": order.reason or _state(order),
        "attach": str(order.details.get("attach", "")),
        "amount": {"total": order.amount_minor, "currency": "CNY"},
    }  # fmt: skip
    if order.times_taken:
        told |= {
            "transaction_id": order.reference, "bank_type": "OTHERS",
            "success_time": rfc3339(order.details["paid_ms"]), "payer": {"openid": order.details["openid"]},
        }  # fmt: skip
        told["amount"] |= {"payer_total": order.amount_minor, "payer_currency": "CNY"}
    return told


def refund_told(order: Order, operation: Operation) -> dict[str, Any]:
    """Return a refund as its call, its query and its notification tell it."""
    status = {"done": "SUCCESS", "waiting": "PROCESSING"}.get(operation.status, "CLOSED")
    told: dict[str, Any] = {
        "refund_id": operation.reference, "out_refund_no": operation.operation_no, "transaction_id": order.reference,
        "out_trade_no": order.order_no, "channel": "ORIGINAL", "user_received_account": "支付用户零钱",
        "create_time": rfc3339(operation.created_ms), "status": status, "funds_account": "AVAILABLE",
        "amount": {
            "total": order.amount_minor, "refund": operation.amount_minor, "payer_total": order.amount_minor,
            "payer_refund": operation.amount_minor, "settlement_refund": operation.amount_minor,
            "settlement_total": order.amount_minor, "discount_refund": 0, "currency": "CNY",
        },
    }  # fmt: skip
    if status == "SUCCESS":
        told["success_time"] = rfc3339(operation.changed_ms)
    return told


def numbering(now_ms: int, kind: str) -> Callable[[int], str]:
    """Return how numbers of a day are made: for payments (4200) and refunds (5030)."""
    return lambda number: f"{kind}{compact(now_ms)[:8]}{number:016d}"
