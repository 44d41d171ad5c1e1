"""What a provider of each brand truthfully says of an order: for tests that are alike for all three."""

import json

import httpx

from backend.payments.order_numbers import order_no
from backend.payments.port import Order
from backend.payments.rails.amounts import compact_time
from tests.unit.backend.payments.rails.parties import (
    MCH_ID,
    ORDER,
    Handler,
    alipay_answer,
    alipay_form,
    form_of,
    unionpay_echo,
    unionpay_form,
    wechat_headers,
    wechat_message,
)
from tests.unit.backend.payments.rails.parties import MER_ID as UNIONPAY_MER_ID

NUMBER = order_no(ORDER.order_id)
#: When each of them says that it was paid, in Beijing: two seconds after it was ordered.
PAID_AT = "2026-03-01 20:00:09"


def unionpay(request: httpx.Request) -> tuple[int, dict[str, str], bytes]:
    """Return that the charge was accepted, and to a question that it was done."""
    if form_of(request)["txnType"] != "00":
        return 200, {}, unionpay_echo(request, respCode="00")
    more = {"origRespCode": "00", "txnAmt": "300", "currencyCode": "156", "queryId": "ref-1", "traceTime": "0301200009"}
    return 200, {}, unionpay_echo(request, respCode="00", **more)


def alipay(request: httpx.Request) -> tuple[int, dict[str, str], bytes]:
    """Return that the charge was paid."""
    node = {"code": "10000", "out_trade_no": NUMBER, "total_amount": "3.00", "trade_no": "ref-1"}
    node |= {"trade_status": "TRADE_SUCCESS", "gmt_payment": PAID_AT, "send_pay_date": PAID_AT}
    return 200, {}, alipay_answer(form_of(request)["method"], node)


def wechat_transaction(**more: object) -> bytes:
    """Return a transaction as WeChat tells it."""
    amount = {"total": 300, "currency": "CNY"}
    told = {"mchid": MCH_ID, "out_trade_no": NUMBER, "transaction_id": "ref-1", "trade_state": "SUCCESS"}
    told["success_time"] = f"{PAID_AT.replace(' ', 'T')}+08:00"
    return json.dumps({**told, "amount": amount, **more}).encode()


def wechat(request: httpx.Request) -> tuple[int, dict[str, str], bytes]:
    """Return that the charge was paid."""
    body = wechat_transaction()
    return 200, wechat_headers(body), body


TRUTHFUL: dict[str, Handler] = {"unionpay": unionpay, "alipay": alipay, "wechat": wechat}


def notified(method: str, order: Order = ORDER) -> tuple[dict[str, str], bytes]:
    """Return the headers and body of a notification that an order was paid."""
    number = order_no(order.order_id)
    if method == "unionpay":
        fields = {"txnType": "01", "orderId": number, "queryId": "ref-1", "txnAmt": "300", "respCode": "00"}
        fields |= {"txnTime": compact_time(order.ordered_at), "traceTime": "0301200009"}
        return {}, unionpay_form({**fields, "merId": UNIONPAY_MER_ID, "currencyCode": "156"})
    if method == "alipay":
        fields = {"out_trade_no": number, "trade_no": "ref-1", "total_amount": "3.00", "trade_status": "TRADE_SUCCESS"}
        fields["gmt_payment"] = PAID_AT
        return {}, alipay_form(**fields)
    body = wechat_message(json.loads(wechat_transaction()))
    return wechat_headers(body), body
