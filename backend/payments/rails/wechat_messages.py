"""
WeChat Pay APIv3: what is said and what it means. Pure.

Payment codes are charged at once; there is no hold. A charge that waits for the payer's password is USERPAYING, a
reverse undoes a charge whatever became of it, and a refund is known by our own number.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from backend.payments.order_numbers import order_no
from backend.payments.port import (
    NOT_FOUND,
    Answer,
    Declined,
    Notification,
    NotificationRefused,
    Order,
    Payer,
    Step,
    Succeeded,
    Unknown,
)
from backend.payments.rails.amounts import from_rfc3339
from backend.payments.rails.merchants import WeChatMerchant

#: WeChat reverses a charge from 15 seconds after it arrived there, which is up to a time-out after we ordered it.
REVERSE_AFTER = timedelta(seconds=20)
#: A refusal to reverse before this is one that comes too early; the charge was sent later than it was ordered.
REVERSE_SURELY_AFTER = timedelta(minutes=2)
#: Up to here a charge is reversed, afterwards refunded.
REVERSE_WITHIN = timedelta(days=7)

_DESCRIPTION = "校园一卡通"
_CNY = "CNY"
_FEN_MAX = 10**13
#: Errors that do not mean it was not done: under way, done before, or nobody knows.
_OPEN = frozenset(
    {
        "USERPAYING",
        "SYSTEM_ERROR",
        "SYSTEMERROR",
        "BANK_ERROR",
        "BANKERROR",
        "ORDERPAID",
        "ORDER_PAID",
        "OUT_TRADE_NO_USED",
        "OUTTRADENOUSED",
        "FREQUENCY_LIMITED",
        "FREQUENCY_LIMIT_EXCEED",
        "RATELIMIT_EXCEEDED",
        "REVERSE_EXPIRE",
        "TRADE_OVERDUE",
    }
)
_NOT_THERE = frozenset({"ORDER_NOT_EXIST", "ORDERNOTEXIST", "RESOURCE_NOT_EXISTS", "NO_STATEMENT_EXIST"})
_REASONS = {
    "NOTENOUGH": "insufficient_funds",
    "NOT_ENOUGH": "insufficient_funds",
    "AUTHCODEEXPIRE": "code_expired",
    "AUTH_CODE_EXPIRED": "code_expired",
}
_STEP_STATUS = {"capture": "captured", "void": "voided", "refund": "refunded"}

Node = Mapping[str, Any]


def reason_of(code: str) -> str:
    """Return why a request was refused, in stable words."""
    return _REASONS.get(code, f"wechat_{code.lower()}"[:64])


def refused(status: int, node: Node) -> Declined | Unknown:
    """Return what an error means: theirs (5xx) and open ones say nothing, others are refusals."""
    code = node.get("code")
    if not isinstance(code, str) or not code:
        return Unknown(f"http_{status}")
    if code == "USERPAYING":
        return Unknown("waiting")
    if status >= 500 or status == 429 or code in _OPEN:
        return Unknown(reason_of(code))
    return Declined(NOT_FOUND if code in _NOT_THERE else reason_of(code))


#: A reverse that comes too late: the charge stands, or was undone before.
REVERSE_EXPIRED = Unknown(reason_of("REVERSE_EXPIRE"))


def charge(merchant: WeChatMerchant, order: Order, payer: Payer, notify_url: str) -> dict[str, Any]:
    """Return the body that takes an order's amount from the code shown."""
    return {
        "appid": merchant.app_id,
        "mchid": merchant.mch_id,
        "description": _DESCRIPTION,
        "out_trade_no": order_no(order.order_id),
        "notify_url": notify_url,
        "payer": {"auth_code": payer.code},
        "amount": {"total": order.amount_minor, "currency": _CNY},
        "scene_info": {"store_info": {"id": "campus"}},
    }


def reverse(merchant: WeChatMerchant) -> dict[str, Any]:
    """Return the body that undoes a charge named in the path."""
    return {"appid": merchant.app_id, "mchid": merchant.mch_id}


def refund(order: Order, step: Step, notify_url: str) -> dict[str, Any]:
    """Return the body that gives part or all of a charge back."""
    return {
        "out_trade_no": order_no(order.order_id),
        "out_refund_no": order_no(step.operation_id),
        "reason": _DESCRIPTION,
        "notify_url": notify_url,
        "amount": {"refund": step.amount_minor, "total": order.amount_minor, "currency": _CNY},
    }


def _fen(node: Node, name: str) -> int | None:
    amount = node.get("amount")
    value = amount.get(name) if isinstance(amount, dict) else None
    return value if type(value) is int and 0 <= value < _FEN_MAX else None


def _currency(node: Node) -> object:
    amount = node.get("amount")
    return amount.get("currency", _CNY) if isinstance(amount, dict) else _CNY


def _text(node: Node, name: str) -> str:
    value = node.get(name, "")
    return value if isinstance(value, str) else ""


def after_charge(merchant: WeChatMerchant, node: Node, order: Order) -> Answer:
    """Return what a transaction says of an order, in the answer to the charge or to a question."""
    if node.get("mchid") != merchant.mch_id or node.get("appid", merchant.app_id) != merchant.app_id:
        return Unknown("another_merchant")
    if node.get("out_trade_no") != order_no(order.order_id):
        return Unknown("another_order")
    reference = _text(node, "transaction_id")
    match node.get("trade_state"):
        case "SUCCESS" | "REFUND" as state:
            if _currency(node) != _CNY:
                return Unknown("currency_differs")
            if _fen(node, "total") != order.amount_minor:
                return Unknown("amount_differs")
            status, paid_at = "charged" if state == "SUCCESS" else "refunded", from_rfc3339(node.get("success_time"))
            return Succeeded(status, order.amount_minor, reference, paid_at)
        case "REVOKED" if reference:
            return Succeeded("voided", order.amount_minor, reference)
        case "CLOSED" | "REVOKED" | "PAYERROR" as state:
            return Declined(f"wechat_{state.lower()}")
    return Unknown("waiting")


def is_reversed(merchant: WeChatMerchant, node: Node, order: Order) -> bool:
    """Return whether the answer to a reverse is about our order. It does not tell whether anything had been paid."""
    return node.get("mchid") == merchant.mch_id and node.get("out_trade_no") == order_no(order.order_id)


def after_refund(node: Node, order: Order, step: Step) -> Answer:
    """Return what a refund says, in the answer to the request or to a question."""
    if node.get("out_refund_no") != order_no(step.operation_id):
        return Unknown("another_order")
    if node.get("out_trade_no") != order_no(order.order_id):
        return Unknown("another_order")
    match node.get("status"):
        case "SUCCESS":
            if _currency(node) != _CNY:
                return Unknown("currency_differs")
            if (_fen(node, "refund"), _fen(node, "total")) != (step.amount_minor, order.amount_minor):
                return Unknown("amount_differs")
            at = from_rfc3339(node.get("success_time"))
            return Succeeded(_STEP_STATUS[step.kind], step.amount_minor, _text(node, "refund_id"), at)
        case "CLOSED" | "ABNORMAL" as state:
            return Declined(f"wechat_refund_{state.lower()}")
    return Unknown("waiting")


def after_reversed(asked: Answer) -> Answer:
    """Return what the state of a charge says of its reverse: not found while it stands, waits, or may still arrive."""
    if isinstance(asked, Succeeded):
        is_undone = asked.status in ("refunded", "voided")
        return Succeeded("voided", asked.amount_minor, asked.reference) if is_undone else Declined(NOT_FOUND)
    if isinstance(asked, Declined) and asked.reason != NOT_FOUND:
        return Succeeded("absent", 0)
    return Declined(NOT_FOUND) if asked == Unknown("waiting") else asked


def notification(merchant: WeChatMerchant, notify_id: object, content: Node) -> Notification:
    """
    Return what the opened content of a verified notification says.

    :raises NotificationRefused: if it is about another merchant or currency, or says nothing usable.
    """
    if not isinstance(notify_id, str) or not 0 < len(notify_id) <= 128:
        raise NotificationRefused("malformed")
    if content.get("mchid") != merchant.mch_id or content.get("appid", merchant.app_id) != merchant.app_id:
        raise NotificationRefused("another_merchant")
    if _currency(content) != _CNY:
        raise NotificationRefused("currency_differs")
    number, refund_number = _text(content, "out_trade_no"), _text(content, "out_refund_no")
    if not number:
        raise NotificationRefused("malformed")
    amount_minor = _fen(content, "refund" if refund_number else "total")
    reference = _text(content, "refund_id" if refund_number else "transaction_id")
    state = _text(content, "refund_status" if refund_number else "trade_state")
    answer: Answer
    if state == "SUCCESS" and amount_minor is not None:
        at = from_rfc3339(content.get("success_time"))
        answer = Succeeded("refunded" if refund_number else "charged", amount_minor, reference, at)
    elif state in ("CLOSED", "ABNORMAL", "REVOKED", "PAYERROR"):
        answer = Declined(f"wechat_{'refund_' if refund_number else ''}{state.lower()}")
    elif state in ("PROCESSING", "USERPAYING", "NOTPAY", "ACCEPT", "REFUND"):
        answer = Unknown("waiting")
    else:
        raise NotificationRefused("malformed")
    return Notification(notify_id, number, refund_number, answer)
