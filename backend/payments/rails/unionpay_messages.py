"""
UnionPay acp 5.1.0: what is said and what it means. Pure.

A synchronous 00 means *accepted*, not done; what became of a message is the `origRespCode` of a query. 03, 04 and 05
leave it open, and so do 01, 12, 34 and 60 as the answer to the message itself.
"""

from collections.abc import Mapping
from datetime import date, datetime

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
from backend.payments.rails.amounts import BEIJING, compact_time, from_fen, from_trace_time
from backend.payments.rails.merchants import UnionPayMerchant

ACCEPTED = "00"
_OPEN = frozenset({"03", "04", "05"})
_NOT_SAID = _OPEN | {"01", "12", "34", "60"}
_NO_SUCH_ORDER = "34"
_NO_SUCH_FILE = "98"
_YUAN = "156"
_ORDER_STATUS = {"hold": "held", "charge": "charged"}
_STEP_STATUS = {"capture": "captured", "void": "voided", "refund": "refunded"}
_STATUS_OF_TYPE = {
    "01": "charged",
    "02": "held",
    "03": "captured",
    "04": "refunded",
    "31": "voided",
    "32": "voided",
    "33": "voided",
}
_ORDER_TYPES = ("01", "02")
#: The answer codes people meet, in words shared by all providers.
_REASONS = {
    "33": "over_limit",
    "61": "code_invalid",
    "64": "insufficient_funds",
    "69": "expired",
}


def reason_of(code: str) -> str:
    """Return why a message was refused, in stable words."""
    return _REASONS.get(code, f"unionpay_{code}"[:64])


def _common(merchant: UnionPayMerchant, txn_type: str, number: str, at: datetime) -> dict[str, str]:
    return {
        "version": "5.1.0",
        "encoding": "UTF-8",
        "txnType": txn_type,
        "txnSubType": "00",
        "bizType": "000000",
        "channelType": "08",
        "accessType": "0",
        "merId": merchant.mer_id,
        "orderId": number,
        "txnTime": compact_time(at),
    }


def order_fields(merchant: UnionPayMerchant, order: Order, payer: Payer, notify_url: str) -> dict[str, str]:
    """Return a new order: 02 holds, 01 takes; from the code shown or by the token of the agreement."""
    fields = _common(merchant, "02" if order.kind == "hold" else "01", order_no(order.order_id), order.ordered_at)
    fields |= {"txnAmt": str(order.amount_minor), "currencyCode": _YUAN, "backUrl": notify_url}
    if payer.code:
        return fields | {"txnSubType": "05" if order.kind == "hold" else "06", "qrNo": payer.code}
    return fields | {"txnSubType": "01", "bizType": "000902", "tokenPayData": f"{{token={payer.agreement}}}"}


def step_type(order: Order, step: Step) -> str:
    """Return the type of a step: 03 completes, 32 releases a hold, 31 undoes a charge of the same day, 04 refunds."""
    if step.kind == "capture":
        return "03"
    if step.kind == "refund":
        return "04"
    if order.kind == "hold":
        return "32"
    same_day = step.asked_at.astimezone(BEIJING).date() == order.ordered_at.astimezone(BEIJING).date()
    return "31" if same_day else "04"


def step_fields(
    merchant: UnionPayMerchant, order: Order, step: Step, reference: str, notify_url: str
) -> dict[str, str]:
    """Return a step about what UnionPay calls `reference`."""
    fields = _common(merchant, step_type(order, step), order_no(step.operation_id), step.asked_at)
    return fields | {
        "txnAmt": str(step.amount_minor),
        "currencyCode": _YUAN,
        "backUrl": notify_url,
        "origQryId": reference,
    }


def query_fields(merchant: UnionPayMerchant, number: str, at: datetime) -> dict[str, str]:
    """Return the question about a message, known by its number and time."""
    return _common(merchant, "00", number, at)


def file_fields(merchant: UnionPayMerchant, day: date, now: datetime) -> dict[str, str]:
    """Return the request for a day's file."""
    fields = _common(merchant, "76", "", now) | {"txnSubType": "01", "settleDate": day.strftime("%m%d")}
    return fields | {"fileType": "00", "orderId": ""}


def file_content(fields: Mapping[str, str]) -> tuple[str, str] | str:
    """Return a file's name and packed content; a text saying why when it has none, empty while there is no file."""
    if fields.get("respCode") == _NO_SUCH_FILE:
        return ""
    if fields.get("respCode") != ACCEPTED or not fields.get("fileContent"):
        return f"answer {fields.get('respCode', 'without a code')[:8]}"
    return fields.get("fileName", ""), fields["fileContent"]


def foreign(merchant: UnionPayMerchant, fields: Mapping[str, str], number: str, at: datetime) -> Unknown | None:
    """Return why an answer is not about our message, or None when it is."""
    if fields.get("merId") != merchant.mer_id:
        return Unknown("another_merchant")
    if fields.get("orderId") != number or fields.get("txnTime", compact_time(at)) != compact_time(at):
        return Unknown("another_order")
    return None


#: An order or step of this number is there already: what became of it must be asked.
NUMBER_KNOWN = Unknown("unionpay_12")


def accepted(fields: Mapping[str, str]) -> Unknown | Declined:
    """Return what the answer to an order or a step says: refused, or not known before it is asked about."""
    code = fields.get("respCode", "")
    if code == ACCEPTED:
        return Unknown("accepted")
    if code in _NOT_SAID or not code:
        return Unknown(f"unionpay_{code}")
    return Declined(reason_of(code))


def about_order(fields: Mapping[str, str], order: Order) -> Answer:
    """Return what the answer to a query says of an order."""
    return _became(fields, _ORDER_STATUS[order.kind], order.amount_minor)


def about_step(fields: Mapping[str, str], step: Step) -> Answer:
    """Return what the answer to a query says of a step."""
    return _became(fields, _STEP_STATUS[step.kind], step.amount_minor)


def _became(fields: Mapping[str, str], status: str, amount_minor: int) -> Answer:
    code = fields.get("respCode", "")
    if code == _NO_SUCH_ORDER:
        return Declined(NOT_FOUND)
    outcome = fields.get("origRespCode", "")
    if code != ACCEPTED or outcome in _OPEN or not outcome:
        return Unknown("waiting" if code == ACCEPTED else f"unionpay_{code}"[:64])
    if outcome != ACCEPTED:
        return Declined(reason_of(outcome))
    if fields.get("currencyCode") != _YUAN:
        return Unknown("currency_differs")
    if from_fen(fields.get("txnAmt")) != amount_minor:
        return Unknown("amount_differs")
    return Succeeded(status, amount_minor, fields.get("queryId", ""), _traced_at(fields))


def _traced_at(fields: Mapping[str, str]) -> datetime | None:
    return from_trace_time(fields.get("traceTime"), fields.get("txnTime"))


def notification(merchant: UnionPayMerchant, fields: Mapping[str, str]) -> Notification:
    """
    Return what a verified notification says. A step knows only its own number, not that of its order.

    :raises NotificationRefused: if it is about another merchant or currency, or says nothing usable.
    """
    if fields.get("merId") != merchant.mer_id:
        raise NotificationRefused("another_merchant")
    if fields.get("currencyCode") != _YUAN:
        raise NotificationRefused("currency_differs")
    txn_type, number, query_id = (fields.get(name, "") for name in ("txnType", "orderId", "queryId"))
    amount_minor = from_fen(fields.get("txnAmt"))
    code = fields.get("respCode", "")
    if txn_type not in _STATUS_OF_TYPE or not number or not query_id or amount_minor is None or not code:
        raise NotificationRefused("malformed")
    answer: Answer = Succeeded(_STATUS_OF_TYPE[txn_type], amount_minor, query_id, _traced_at(fields))
    if code != ACCEPTED:
        answer = Unknown(f"unionpay_{code}"[:64]) if code in _NOT_SAID else Declined(reason_of(code))
    is_order = txn_type in _ORDER_TYPES
    return Notification(
        notify_id=f"{txn_type}-{query_id}-{code}"[:128],
        order_no=number if is_order else "",
        operation_no="" if is_order else number,
        answer=answer,
    )
