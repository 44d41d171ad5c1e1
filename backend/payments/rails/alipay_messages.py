"""
Alipay open platform: what is said and what it means. Pure.

Code 10000 is done, 10003 waits for the payer, 20000 says nothing, 40004 is a refusal named by `sub_code`. A hold is a
freeze, its capture a trade of its own (PREAUTH_PAY, COMPLETE: the rest is unfrozen), its release an unfreeze.
"""

from collections.abc import Mapping
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
from backend.payments.rails.amounts import from_spaced_time, from_yuan, to_yuan
from backend.payments.rails.merchants import AlipayMerchant

FREEZE = "alipay.fund.auth.order.freeze"
UNFREEZE = "alipay.fund.auth.order.unfreeze"
FREEZE_CANCEL = "alipay.fund.auth.operation.cancel"
FREEZE_QUERY = "alipay.fund.auth.operation.detail.query"
PAY = "alipay.trade.pay"
TRADE_QUERY = "alipay.trade.query"
CANCEL = "alipay.trade.cancel"
REFUND = "alipay.trade.refund"
REFUND_QUERY = "alipay.trade.fastpay.refund.query"
BILL = "alipay.data.dataservice.bill.downloadurl.query"

_DONE = "10000"
_WAITING = "10003"
_REFUSED = frozenset({"40001", "40002", "40003", "40004", "40006"})
_SUBJECT = "校园一卡通"
_CURRENCIES = ("trans_currency", "pay_currency", "settle_currency", "refund_currency")
_NOT_THERE = ("TRADE_NOT_EXIST", "ORDER_NOT_EXIST", "OPERATION_NOT_EXIST", "BILL_NOT_EXIST")
#: Refusals that do not mean it was not done: it was done before, is under way, or nobody knows.
_OPEN = ("SYSTEM_ERROR", "UNKNOW", "TRADE_HAS_SUCCESS", "CONTEXT_INCONSISTENT", "ALREADY_EXIST", "REQUEST_PROCESSING")
_REASONS = {
    "ACQ.BUYER_BALANCE_NOT_ENOUGH": "insufficient_funds",
    "ACQ.PAYMENT_AUTH_CODE_INVALID": "code_expired",
    "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR": "over_limit",
}
_STEP_STATUS = {"capture": "captured", "void": "voided", "refund": "refunded"}

Node = Mapping[str, Any]


def _text(node: Node, name: str) -> str:
    value = node.get(name, "")
    return value if isinstance(value, str) else ""


def is_missing(sub_code: str) -> bool:
    """Return whether a refusal says that there is no such thing."""
    return sub_code.endswith(_NOT_THERE)


def reason_of(sub_code: str) -> str:
    """Return why a request was refused, in stable words."""
    plain = sub_code.rpartition(".")[2].lower()
    return _REASONS.get(sub_code, f"alipay_{plain}"[:64])


def refused(node: Node) -> Declined | Unknown | None:
    """Return what a code other than done means, or None when it is done."""
    code, sub_code = _text(node, "code"), _text(node, "sub_code")
    if code == _DONE:
        return None
    if code == _WAITING:
        return Unknown("waiting")
    if code not in _REFUSED or any(word in sub_code.upper() for word in _OPEN):
        return Unknown(f"alipay_{code}"[:64])
    return Declined(NOT_FOUND if is_missing(sub_code) else reason_of(sub_code or code))


def _checked(node: Node, *, number: tuple[str, str], amount: tuple[str, int | None]) -> Unknown | None:
    """Return why a node is not about our request, or None when it is. A pair is a field's name and what it must be."""
    if _text(node, number[0]) != number[1]:
        return Unknown("another_order")
    if any(_text(node, name) not in ("", "CNY") for name in _CURRENCIES):
        return Unknown("currency_differs")
    if amount[1] is not None and from_yuan(node.get(amount[0])) != amount[1]:
        return Unknown("amount_differs")
    return None


def freeze(merchant: AlipayMerchant, order: Order, payer: Payer) -> dict[str, Any]:
    """Return the content that holds an order's amount."""
    number = order_no(order.order_id)
    content = {
        "out_order_no": number,
        "out_request_no": number,
        "order_title": _SUBJECT,
        "amount": to_yuan(order.amount_minor),
        "product_code": "PRE_AUTH",
        "trans_currency": "CNY",
        "payee_user_id": merchant.seller_id,
    }
    return content | _payer(payer, "auth_code_type")


def pay(merchant: AlipayMerchant, order: Order, payer: Payer) -> dict[str, Any]:
    """Return the content that takes an order's amount."""
    content = {
        "out_trade_no": order_no(order.order_id),
        "subject": _SUBJECT,
        "total_amount": to_yuan(order.amount_minor),
        "trans_currency": "CNY",
        "seller_id": merchant.seller_id,
        "product_code": "FACE_TO_FACE_PAYMENT" if payer.code else "GENERAL_WITHHOLDING",
    }
    return content | _payer(payer, "scene")


def _payer(payer: Payer, kind: str) -> dict[str, Any]:
    if payer.code:
        return {"auth_code": payer.code, kind: "bar_code"}
    return {"agreement_params": {"agreement_no": payer.agreement}}


def complete(merchant: AlipayMerchant, step: Step, auth_no: str) -> dict[str, Any]:
    """Return the content that captures a freeze and releases its rest."""
    return {
        "out_trade_no": order_no(step.operation_id),
        "subject": _SUBJECT,
        "total_amount": to_yuan(step.amount_minor),
        "trans_currency": "CNY",
        "seller_id": merchant.seller_id,
        "product_code": "PREAUTH_PAY",
        "auth_no": auth_no,
        "auth_confirm_mode": "COMPLETE",
    }


def unfreeze(step: Step, auth_no: str) -> dict[str, Any]:
    """Return the content that releases a freeze."""
    return {
        "auth_no": auth_no,
        "out_request_no": order_no(step.operation_id),
        "amount": to_yuan(step.amount_minor),
        "remark": _SUBJECT,
    }


def cancel_freeze(order: Order) -> dict[str, Any]:
    """Return the content that undoes a freeze whatever became of it."""
    number = order_no(order.order_id)
    return {"out_order_no": number, "out_request_no": number, "remark": _SUBJECT}


def trade(order: Order) -> dict[str, Any]:
    """Return what names a trade that can be refunded: a charge by our number, a capture by what Alipay calls it."""
    if order.kind == "hold":
        return {"trade_no": order.provider_ref}
    return {"out_trade_no": order_no(order.order_id)}


def refund(order: Order, step: Step) -> dict[str, Any]:
    """Return the content that gives money back."""
    number = order_no(step.operation_id)
    return trade(order) | {"refund_amount": to_yuan(step.amount_minor), "out_request_no": number}


def after_freeze(node: Node, order: Order) -> Answer:
    """Return what the answer to a freeze, or to the question about it, says of the order."""
    if said := refused(node):
        return said
    wrong = _checked(node, number=("out_order_no", order_no(order.order_id)), amount=("amount", order.amount_minor))
    if wrong:
        return wrong
    if _text(node, "status") == "CLOSED":
        return Declined("alipay_closed")
    if _text(node, "status") != "SUCCESS":
        return Unknown("waiting")
    status = "held"
    if _text(node, "order_status") in ("FINISH", "CLOSED"):
        status = "captured" if from_yuan(node.get("total_pay_amount")) else "voided"
    return Succeeded(status, order.amount_minor, _text(node, "auth_no"), from_spaced_time(node.get("gmt_trans")))


def after_unfreeze(node: Node, step: Step) -> Answer:
    """Return what the answer to an unfreeze, or to the question about it, says of the step."""
    if said := refused(node):
        return said
    number = ("out_request_no", order_no(step.operation_id))
    if wrong := _checked(node, number=number, amount=("amount", step.amount_minor)):
        return wrong
    if _text(node, "status") != "SUCCESS":
        return Declined("alipay_closed") if _text(node, "status") == "CLOSED" else Unknown("waiting")
    return Succeeded("voided", step.amount_minor, _text(node, "operation_id"), from_spaced_time(node.get("gmt_trans")))


def after_freeze_cancel(node: Node, order: Order) -> Answer:
    """Return what the answer to the cancellation of a freeze says: released, or closed before anything was frozen."""
    said = refused(node)
    if said == Declined(NOT_FOUND):
        return Succeeded("absent", 0)
    if said:
        return said
    if wrong := _checked(node, number=("out_order_no", order_no(order.order_id)), amount=("", None)):
        return wrong
    if _text(node, "action") == "unfreeze":
        return Succeeded("voided", order.amount_minor, _text(node, "auth_no"))
    return Succeeded("absent", 0, _text(node, "auth_no"))


def after_pay(node: Node, number: str, amount_minor: int, status: str) -> Answer:
    """Return what the answer to a payment says."""
    if said := refused(node):
        return said
    if wrong := _checked(node, number=("out_trade_no", number), amount=("total_amount", amount_minor)):
        return wrong
    return Succeeded(status, amount_minor, _text(node, "trade_no"), from_spaced_time(node.get("gmt_payment")))


def after_trade_query(node: Node, number: str, amount_minor: int, status: str) -> Answer:
    """Return what the answer to a question about a trade says: only SUCCESS and FINISHED are paid."""
    if said := refused(node):
        return said
    if wrong := _checked(node, number=("out_trade_no", number), amount=("total_amount", amount_minor)):
        return wrong
    match _text(node, "trade_status"):
        case "TRADE_SUCCESS" | "TRADE_FINISHED":
            paid_at = from_spaced_time(node.get("send_pay_date"))
            return Succeeded(status, amount_minor, _text(node, "trade_no"), paid_at)
        case "TRADE_CLOSED" if node.get("send_pay_date"):
            return Succeeded("refunded", amount_minor, _text(node, "trade_no"))
        case "TRADE_CLOSED":
            return Declined("alipay_closed")
    return Unknown("waiting")


def after_cancel(node: Node, order: Order) -> Answer:
    """Return what the answer to a cancellation says: refunded, or closed before anything was paid."""
    said = refused(node)
    if said == Declined(NOT_FOUND):
        return Succeeded("absent", 0)
    if said:
        return said
    if wrong := _checked(node, number=("out_trade_no", order_no(order.order_id)), amount=("", None)):
        return wrong
    if _text(node, "retry_flag") == "Y":
        return Unknown("retry")
    if _text(node, "action") == "refund":
        return Succeeded("voided", order.amount_minor, _text(node, "trade_no"))
    return Succeeded("absent", 0, _text(node, "trade_no"))


def after_refund(node: Node, order: Order, step: Step) -> Answer:
    """Return what the answer to a refund says: only a change of funds proves it, `refund_fee` is the sum so far."""
    if said := refused(node):
        return said
    name, number = next(iter(trade(order).items()))
    if wrong := _checked(node, number=(name, number), amount=("", None)):
        return wrong
    total_minor = from_yuan(node.get("refund_fee"))
    if _text(node, "fund_change") != "Y" or total_minor is None or total_minor < step.amount_minor:
        return Unknown("alipay_refund_open")
    return Succeeded(_STEP_STATUS[step.kind], step.amount_minor, _text(node, "trade_no"))


def after_refund_query(node: Node, order: Order, step: Step) -> Answer:
    """Return what the answer to a question about a refund says."""
    if said := refused(node):
        return said
    if not _text(node, "out_request_no"):
        return Declined(NOT_FOUND)
    number = ("out_request_no", order_no(step.operation_id))
    if wrong := _checked(node, number=number, amount=("refund_amount", step.amount_minor)):
        return wrong
    if _text(node, "refund_status") not in ("", "REFUND_SUCCESS"):
        return Unknown("waiting")
    at = from_spaced_time(node.get("gmt_refund_pay"))
    return Succeeded(_STEP_STATUS[step.kind], step.amount_minor, _text(node, "trade_no"), at)


def notification(merchant: AlipayMerchant, fields: Mapping[str, str]) -> Notification:
    """
    Return what a verified notification says. A capture is a trade like any other: it carries the capture's number.

    :raises NotificationRefused: if it is about another merchant or currency, or says nothing usable.
    """
    if fields.get("app_id") != merchant.app_id or fields.get("seller_id", merchant.seller_id) != merchant.seller_id:
        raise NotificationRefused("another_merchant")
    if any(fields.get(name, "CNY") not in ("", "CNY") for name in _CURRENCIES):
        raise NotificationRefused("currency_differs")
    notify_id = fields.get("notify_id", "")
    if not notify_id or len(notify_id) > 128:
        raise NotificationRefused("malformed")
    if fields.get("out_trade_no"):
        return _about_trade(notify_id, fields)
    if fields.get("out_order_no"):
        return _about_freeze(notify_id, fields)
    raise NotificationRefused("malformed")


def _about_trade(notify_id: str, fields: Mapping[str, str]) -> Notification:
    number = fields["out_trade_no"]
    if fields.get("out_biz_no") and fields.get("refund_fee"):
        # The sum of all refunds so far, not this one's amount: a reason to ask, not an answer.
        return Notification(notify_id, number, fields["out_biz_no"], Unknown("alipay_refund_notified"))
    amount_minor = from_yuan(fields.get("total_amount"))
    if amount_minor is None:
        raise NotificationRefused("malformed")
    match fields.get("trade_status"):
        case "TRADE_SUCCESS" | "TRADE_FINISHED":
            paid_at = from_spaced_time(fields.get("gmt_payment"))
            answer: Answer = Succeeded("charged", amount_minor, fields.get("trade_no", ""), paid_at)
        case "TRADE_CLOSED":
            answer = Declined("alipay_closed")
        case "WAIT_BUYER_PAY":
            answer = Unknown("waiting")
        case _:
            raise NotificationRefused("malformed")
    return Notification(notify_id, number, "", answer)


def _about_freeze(notify_id: str, fields: Mapping[str, str]) -> Notification:
    number, request = fields["out_order_no"], fields.get("out_request_no", "")
    amount_minor = from_yuan(fields.get("amount"))
    kind = fields.get("operation_type", "")
    if amount_minor is None or kind not in ("FREEZE", "UNFREEZE", "PAY") or not request:
        raise NotificationRefused("malformed")
    is_order = kind == "FREEZE"
    status = {"FREEZE": "held", "UNFREEZE": "voided", "PAY": "captured"}[kind]
    reference = fields.get("auth_no" if is_order else "operation_id", "")
    match fields.get("status"):
        case "SUCCESS":
            at = from_spaced_time(fields.get("gmt_trans"))
            answer: Answer = Succeeded(status, amount_minor, reference, at)
        case "CLOSED":
            answer = Declined("alipay_closed")
        case "INIT":
            answer = Unknown("waiting")
        case _:
            raise NotificationRefused("malformed")
    return Notification(notify_id, number, "" if is_order else request, answer)
