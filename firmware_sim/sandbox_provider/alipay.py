"""
Alipay's gateway: one address, the `method` names the call, RSA2 both ways.

A request is verified over its sorted parameters without `sign`; an answer is signed over the raw JSON text of its
`…_response`. Notifications are forms signed without `sign` and `sign_type`.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from firmware_sim.sandbox_provider import alipay_files, signing
from firmware_sim.sandbox_provider.alipay_funds import Funds
from firmware_sim.sandbox_provider.alipay_trades import Trades
from firmware_sim.sandbox_provider.alipay_words import Reply, failed
from firmware_sim.sandbox_provider.desk import Desk
from firmware_sim.sandbox_provider.downloads import Downloads, asked_day
from firmware_sim.sandbox_provider.keyring import Merchant
from firmware_sim.sandbox_provider.kit import is_address, read_json, readable, yuan
from firmware_sim.sandbox_provider.scripts import Plan
from firmware_sim.sandbox_provider.store import Operation, Order
from firmware_sim.sandbox_provider.unionpay import read_form

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)


def text_to_sign(parameters: Mapping[str, str], *without: str) -> str:
    """Return the parameters that have a value, sorted, without some."""
    return "&".join(
        f"{name}={parameters[name]}" for name in sorted(parameters) if name not in without and parameters[name]
    )


class Alipay:
    """The HTTP side of the brand, and how it notifies."""

    schedule_s = (240, 600, 600, 3_600, 7_200, 21_600, 54_000)

    def __init__(self, desk: Desk, downloads: Downloads) -> None:
        self._desk = desk
        self._downloads = downloads
        funds, trades = Funds(desk), Trades(desk)
        self._calls: dict[str, tuple[str, Callable[..., tuple[str, str, Callable[[Plan, int], Reply]]]]] = {
            "alipay.fund.auth.order.freeze": ("authorize", funds.freeze),
            "alipay.fund.auth.order.unfreeze": ("void", funds.unfreeze),
            "alipay.fund.auth.operation.cancel": ("void", funds.cancel),
            "alipay.fund.auth.operation.detail.query": ("query", funds.query),
            "alipay.trade.pay": ("charge", trades.pay),
            "alipay.trade.query": ("query", trades.query),
            "alipay.trade.cancel": ("void", trades.cancel),
            "alipay.trade.refund": ("refund", trades.refund),
            "alipay.trade.fastpay.refund.query": ("query", trades.refund_query),
        }

    def _answer(self, method: str, reply: Reply) -> Response:
        name = f"{method.replace('.', '_')}_response"
        text = json.dumps(reply, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
        signature = signing.rsa_sign(self._desk.keyring.key("alipay"), text.encode())
        return Response(f'{{"{name}":{text},"sign":"{signature}"}}', media_type="application/json;charset=utf-8")

    async def gateway(self, request: Request) -> Response:
        """Answer one call."""
        asked = read_form(await request.body())
        if asked is None:
            return PlainTextResponse("not a form", 400)
        asked = {**dict(request.query_params), **asked}
        method = asked.get("method", "")
        merchant = self._desk.keyring.merchant("alipay", asked.get("app_id", ""))
        if merchant is None:
            return PlainTextResponse("isv.invalid-app-id", 400)
        if method not in self._calls and method != "alipay.data.dataservice.bill.downloadurl.query":
            return PlainTextResponse("isv.invalid-method", 400)
        problem, biz = self._problem(merchant, asked)
        if problem:
            return self._answer(method, failed(problem, code="40002"))
        if method == "alipay.data.dataservice.bill.downloadurl.query":
            return await self._bill(request, merchant, method, biz)
        verb, call = self._calls[method]
        try:
            order_no, operation_no, act = call(merchant, biz, asked.get("notify_url", ""))
        except ValueError as problem_with_field:
            return self._answer(method, failed(f"isv.invalid-parameter: {problem_with_field}", code="40002"))
        if biz.get("auth_no") and method == "alipay.trade.pay":
            verb = "capture"
        return await self._desk.perform(
            verb, order_no, operation_no, lambda plan, now_ms: self._answer(method, act(plan, now_ms))
        )

    def _problem(self, merchant: Merchant, asked: dict[str, str]) -> tuple[str, dict[str, Any]]:
        fixed = {"version": "1.0", "sign_type": "RSA2"}
        if any(asked.get(name) != value for name, value in fixed.items()):
            return "isv.invalid-version-or-sign-type", {}
        if asked.get("charset", "").lower() != "utf-8" or not _TIMESTAMP.fullmatch(asked.get("timestamp", "")):
            return "isv.invalid-charset-or-timestamp", {}
        text = text_to_sign(asked, "sign").encode()
        if not signing.rsa_verify(merchant.public_key, text, asked.get("sign", "")):
            return "isv.invalid-signature", {}
        if asked.get("notify_url") and not is_address(asked["notify_url"]):
            return "isv.invalid-notify-url", {}
        biz = read_json(asked.get("biz_content", ""))
        return ("", biz) if isinstance(biz, dict) else ("isv.invalid-biz-content", {})

    async def _bill(self, request: Request, merchant: Merchant, method: str, biz: dict[str, Any]) -> Response:
        day = asked_day(biz.get("bill_date"))
        if day is None or biz.get("bill_type") not in ("trade", "signcustomer"):
            return self._answer(method, failed("isv.invalid-parameter: bill_type or bill_date", code="40002"))

        def act(_plan: Plan, _now_ms: int) -> Response:
            name, content = alipay_files.statement(self._desk.store, merchant, day)
            url = self._downloads.offer(str(request.base_url), "alipay", merchant.merchant_id, name, content)
            return self._answer(method, {"code": "10000", "msg": "Success", "bill_download_url": url})

        return await self._desk.perform("statement", day.isoformat(), "", act)

    def body(self, order: Order, operation: Operation | None, twist: str, notify_id: str, now_ms: int) -> str:
        """Return a notification that a trade, a freeze or a step succeeded."""
        merchant = self._desk.keyring.merchant("alipay", order.merchant_id)
        assert merchant is not None
        more = 1 if twist == "changed_amount" else 0
        form = {
            "notify_id": notify_id, "notify_time": readable(now_ms), "charset": "utf-8", "version": "1.0",
            "app_id": "2021000000000000" if twist == "other_merchant" else order.merchant_id,
            "auth_app_id": "2021000000000000" if twist == "other_merchant" else order.merchant_id,
            **(_fund_news(order, operation, more, merchant) if _is_fund(order, operation)
               else _trade_news(order, operation, more, merchant)),
        }  # fmt: skip
        text = text_to_sign(form) + " " * (twist == "forged")
        signature = signing.rsa_sign(self._desk.keyring.key("alipay"), text.encode())
        return urlencode(
            {**{name: value for name, value in form.items() if value}, "sign_type": "RSA2", "sign": signature}
        )

    def headers(self, body: str, twist: str, now_ms: int) -> dict[str, str]:
        """Return the headers of a notification."""
        return {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Return whether the merchant took it: the plain word success, nothing else."""
        return status == 200 and body == b"success"


def _is_fund(order: Order, operation: Operation | None) -> bool:
    return order.kind == "hold" and (operation is None or operation.kind == "void")


def _fund_news(order: Order, operation: Operation | None, more: int, merchant: Merchant) -> dict[str, str]:
    found = operation if operation is not None else order
    held = order.amount_minor if order.status == "held" else 0
    freed = 0 if order.status in ("held", "waiting") else order.amount_minor - order.captured_minor
    return {
        "notify_type": "fund_auth_unfreeze" if operation is not None else "fund_auth_freeze",
        "auth_no": order.reference, "out_order_no": order.order_no,
        "operation_id": operation.reference if operation is not None else order.details["operation_id"],
        "out_request_no": operation.operation_no if operation is not None else order.details["request_no"],
        "operation_type": "UNFREEZE" if operation is not None else "FREEZE",
        "amount": yuan(found.amount_minor + more), "status": "SUCCESS", "gmt_create": readable(found.created_ms),
        "gmt_trans": readable(found.changed_ms), "payee_user_id": merchant.values["seller_id"],
        "payer_user_id": "2088000000000001", "total_freeze_amount": yuan(order.amount_minor),
        "total_unfreeze_amount": yuan(freed), "total_pay_amount": yuan(order.captured_minor), "rest_amount": yuan(held),
    }  # fmt: skip


def _trade_news(order: Order, operation: Operation | None, more: int, merchant: Merchant) -> dict[str, str]:
    news = {
        "notify_type": "trade_status_sync", "trade_no": order.reference, "out_trade_no": order.order_no,
        "seller_id": merchant.values["seller_id"], "buyer_id": "2088000000000001", "trade_status": "TRADE_SUCCESS",
        "total_amount": yuan(order.amount_minor + more), "receipt_amount": yuan(order.amount_minor + more),
        "gmt_create": readable(order.created_ms),
        "gmt_payment": readable(order.details.get("paid_ms", order.changed_ms)),
        "subject": str(order.details.get("subject", "")),
    }  # fmt: skip
    if operation is None:
        return news
    if operation.kind == "capture":
        total = yuan(operation.amount_minor + more)
        return news | {
            "trade_no": operation.reference, "out_trade_no": operation.operation_no, "total_amount": total,
            "receipt_amount": total, "gmt_create": readable(operation.created_ms),
            "gmt_payment": readable(operation.changed_ms), "subject": str(operation.details.get("subject", "")),
        }  # fmt: skip
    base = order.captured_minor if order.kind == "hold" else order.amount_minor
    returned = base if operation.kind == "cancel" else order.refunded_minor
    return news | {
        "trade_no": operation.details["trade_no"], "out_trade_no": operation.details["out_trade_no"],
        "total_amount": yuan(base), "receipt_amount": yuan(base), "out_biz_no": operation.details["request_no"],
        "trade_status": "TRADE_CLOSED" if returned >= base else "TRADE_SUCCESS",
        "refund_fee": yuan(returned + more), "gmt_refund": f"{readable(operation.changed_ms)}.000",
    }  # fmt: skip
