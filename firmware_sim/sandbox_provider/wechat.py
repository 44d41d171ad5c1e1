"""
WeChat Pay's APIv3: JSON, signed in headers both ways, notifications sealed with AES-256-GCM.

Code pay answers 202 USERPAYING while the payer confirms. A reverse is refused while the order is younger than 15 s;
later it closes the order or, when it was paid, gives the money back.
"""

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from firmware_sim.sandbox_provider import signing, wechat_files
from firmware_sim.sandbox_provider.desk import Desk
from firmware_sim.sandbox_provider.downloads import Downloads, asked_day
from firmware_sim.sandbox_provider.keyring import Merchant
from firmware_sim.sandbox_provider.kit import is_address, read_json, rfc3339
from firmware_sim.sandbox_provider.scripts import Plan
from firmware_sim.sandbox_provider.store import Operation, Order
from firmware_sim.sandbox_provider.wechat_words import as_dict, error_of, numbering, refund_told, transaction, whole

_SCHEMA = "WECHATPAY2-SHA256-RSA2048"
_FIELD = re.compile(r'(\w+)="([^"]*)"')
_NUMBER = re.compile(r"[A-Za-z0-9_*|@-]{6,64}", re.ASCII)
_SKEW_S_MAX = 300
_REVERSE_WITHIN_MS = 7 * 24 * 3_600_000


class WeChat:
    """The HTTP side of the brand, and how it notifies."""

    schedule_s = (
        15, 15, 30, 180, 600, 1_200, 1_800, 1_800, 1_800, 3_600, 10_800, 10_800, 10_800, 21_600, 21_600,
    )  # fmt: skip

    def __init__(self, desk: Desk, downloads: Downloads) -> None:
        self._desk = desk
        self._store = desk.store
        self._downloads = downloads

    def headers(self, body: str, twist: str, now_ms: int) -> dict[str, str]:
        """Return the headers of an answer or a notification: who signed it, when, and how."""
        timestamp, nonce = str(now_ms // 1000), secrets.token_hex(16)
        text = f"{timestamp}\n{nonce}\n{body}{' ' * (twist == 'forged')}\n"
        return {
            "content-type": "application/json; charset=utf-8",
            "wechatpay-timestamp": timestamp,
            "wechatpay-nonce": nonce,
            "wechatpay-serial": self._desk.keyring.wechat_serial,
            "wechatpay-signature": signing.rsa_sign(self._desk.keyring.key("wechat"), text.encode()),
            "wechatpay-signature-type": _SCHEMA,
        }

    def _answer(self, told: dict[str, Any], status: int = 200) -> Response:
        body = json.dumps(told, ensure_ascii=False)
        return Response(body, status, self.headers(body, "", self._desk.clock.now_ms()))

    def _refuse(self, status: int, code: str, message: str = "") -> Response:
        return self._answer({"code": code, "message": message or code}, status)

    def _merchant(self, request: Request, body: bytes) -> Merchant | None:
        """Return who signed a request, or None if nobody did who may."""
        schema, _, rest = request.headers.get("authorization", "").partition(" ")
        named = dict(_FIELD.findall(rest))
        merchant = self._desk.keyring.merchant("wechat", named.get("mchid", ""))
        stamp = named.get("timestamp", "")
        if schema != _SCHEMA or merchant is None or named.get("serial_no", "").upper() != merchant.values["serial_no"]:
            return None
        if not re.fullmatch(r"\d{10}", stamp, re.ASCII) or not named.get("nonce_str"):
            return None
        if not self._desk.clock.is_near(int(stamp), within_s=_SKEW_S_MAX):
            return None
        path = request.scope["raw_path"].decode("latin-1")
        query = request.scope["query_string"].decode("latin-1")
        target = f"{path}?{query}" if query else path
        for signed in {target, target.removeprefix("/wechat")}:  # the mount point is not part of the provider's address
            head = f"{request.method}\n{signed}\n{stamp}\n{named['nonce_str']}\n".encode()
            if signing.rsa_verify(merchant.public_key, head + body + b"\n", named.get("signature", "")):
                return merchant
        return None

    async def _received(self, request: Request) -> tuple[Merchant, dict[str, Any]] | Response:
        body = await request.body()
        merchant = self._merchant(request, body)
        if merchant is None:
            return self._refuse(401, "SIGN_ERROR", "签名错误")
        if request.method == "GET":
            return merchant, dict(request.query_params)
        asked = read_json(body)
        if not isinstance(asked, dict):
            return self._refuse(400, "PARAM_ERROR", "not a JSON object")
        return merchant, asked

    async def pay(self, request: Request) -> Response:
        """Take an amount by a code that the payer shows."""
        received = await self._received(request)
        if isinstance(received, Response):
            return received
        merchant, asked = received
        number, amount = asked.get("out_trade_no"), as_dict(asked.get("amount"))
        code, total = as_dict(asked.get("payer")).get("auth_code"), whole(amount.get("total"))
        notify_url = asked.get("notify_url") or ""
        if (asked.get("mchid"), asked.get("appid")) != (merchant.merchant_id, merchant.values["app_id"]):
            return self._refuse(400, "PARAM_ERROR", "mchid or appid")
        if not isinstance(number, str) or not _NUMBER.fullmatch(number) or len(number) > 32:
            return self._refuse(400, "PARAM_ERROR", "out_trade_no")
        if not total or amount.get("currency", "CNY") != "CNY" or not isinstance(code, str):
            return self._refuse(400, "PARAM_ERROR", "amount or payer")
        if not isinstance(asked.get("description"), str) or not asked["description"]:
            return self._refuse(400, "PARAM_ERROR", "description")
        if notify_url and not is_address(notify_url):
            return self._refuse(400, "PARAM_ERROR", "notify_url")
        draft = Order(
            brand="wechat", merchant_id=merchant.merchant_id, order_no=number, tenant_id=merchant.tenant_id,
            kind="charge", amount_minor=total, notify_url=notify_url,
            details={"subject": asked["description"][:127], "attach": str(asked.get("attach", ""))[:128],
                     "openid": f"o{secrets.token_hex(13)}"},
        )  # fmt: skip
        return await self._desk.perform("charge", number, "", self._paying(merchant, draft, code))

    def _paying(self, merchant: Merchant, draft: Order, code: str) -> Callable[[Plan, int], Response]:
        def act(plan: Plan, now_ms: int) -> Response:
            known = self._store.order("wechat", draft.merchant_id, draft.order_no)
            if known is not None and known.status == "voided":
                return self._refuse(400, "ORDER_REVERSED")
            if known is not None and known.amount_minor != draft.amount_minor:
                return self._refuse(403, "OUT_TRADE_NO_USED")
            if known is not None and known.times_taken:
                return self._refuse(400, "ORDER_PAID")
            order = known or self._desk.book.place(draft, plan, code, numbering(now_ms, "4200"), now_ms)
            if order.status == "waiting":
                return self._refuse(202, "USERPAYING", "用户支付中，需要输入密码")
            if order.status == "declined":
                return self._refuse(*error_of(order.reason))
            self._desk.tell(order)
            return self._answer(transaction(merchant, order))

        return act

    async def query(self, request: Request) -> Response:
        """Tell an order."""
        received = await self._received(request)
        if isinstance(received, Response):
            return received
        merchant, asked = received
        number = str(request.path_params["number"])
        if asked.get("mchid") != merchant.merchant_id:
            return self._refuse(400, "PARAM_ERROR", "mchid")

        def act(_plan: Plan, _now_ms: int) -> Response:
            order = self._store.order("wechat", merchant.merchant_id, number)
            if order is None or not order.kind:
                return self._refuse(404, "ORDER_NOT_EXIST", "订单不存在")
            return self._answer(transaction(merchant, order))

        return await self._desk.perform("query", number, "", act)

    async def reverse(self, request: Request) -> Response:
        """Undo an order whole: closed while it waits, given back when it was paid; a number nobody knows is closed."""
        received = await self._received(request)
        if isinstance(received, Response):
            return received
        merchant, asked = received
        number = str(request.path_params["number"])
        if asked.get("mchid") != merchant.merchant_id or asked.get("appid") != merchant.values["app_id"]:
            return self._refuse(400, "PARAM_ERROR", "mchid or appid")
        if not _NUMBER.fullmatch(number):
            return self._refuse(400, "PARAM_ERROR", "out_trade_no")

        def act(plan: Plan, now_ms: int) -> Response:
            told = {"appid": merchant.values["app_id"], "mchid": merchant.merchant_id, "out_trade_no": number}
            order = self._store.order("wechat", merchant.merchant_id, number)
            if order is None:
                order = Order(
                    brand="wechat", merchant_id=merchant.merchant_id, order_no=number, tenant_id=merchant.tenant_id,
                    kind="", amount_minor=0,
                )  # fmt: skip
                self._desk.book.bar(order, now_ms)
                return self._answer(told)
            if order.status in ("voided", "declined"):
                return self._answer(told)
            age_ms = now_ms - order.created_ms
            if age_ms < self._desk.options.reverse_after_s * 1000:
                return self._refuse(400, "INVALID_REQUEST", "请在支付15秒后再调用撤销")
            if age_ms > _REVERSE_WITHIN_MS:
                return self._refuse(400, "REVERSE_EXPIRE")
            operation = Operation(
                brand="wechat", merchant_id=merchant.merchant_id,
                operation_no=self._store.fresh_number("wechat", merchant.merchant_id, f"reverse:{number}"),
                order_no=number, kind="void", amount_minor=order.amount_minor,
            )  # fmt: skip
            self._desk.book.step(order, operation, plan, numbering(now_ms, "5030"), now_ms)
            if operation.status == "refused":
                return self._refuse(*error_of(operation.reason))
            return self._answer(told)

        return await self._desk.perform("void", number, "", act)

    async def refund(self, request: Request) -> Response:
        """Give part or all of an order back; repeatable by its number, with the same amount."""
        received = await self._received(request)
        if isinstance(received, Response):
            return received
        merchant, asked = received
        refund_no, amount = asked.get("out_refund_no"), as_dict(asked.get("amount"))
        total, back = whole(amount.get("total")), whole(amount.get("refund"))
        notify_url = asked.get("notify_url") or ""
        if not isinstance(refund_no, str) or not _NUMBER.fullmatch(refund_no):
            return self._refuse(400, "PARAM_ERROR", "out_refund_no")
        if not total or not back or amount.get("currency") != "CNY":
            return self._refuse(400, "PARAM_ERROR", "amount")
        if notify_url and not is_address(notify_url):
            return self._refuse(400, "PARAM_ERROR", "notify_url")
        found = self._paid_order(merchant, asked)
        order_no = found.order_no if found is not None else refund_no

        def act(plan: Plan, now_ms: int) -> Response:
            order = self._paid_order(merchant, asked)
            if order is None:
                return self._refuse(404, "RESOURCE_NOT_EXISTS", "订单不存在")
            operation = self._store.operation("wechat", merchant.merchant_id, refund_no)
            if operation is not None and (operation.order_no, operation.amount_minor) != (order.order_no, back):
                return self._refuse(400, "INVALID_REQUEST", "退款单号已用于其他退款")
            if operation is not None and operation.status == "refused":
                self._store.forget(operation)  # what failed is asked for again under its own number, says WeChat
                operation = None
            if operation is None:
                if total != order.amount_minor:
                    return self._refuse(400, "INVALID_REQUEST", "订单金额不一致")
                operation = Operation(
                    brand="wechat", merchant_id=merchant.merchant_id, operation_no=refund_no, order_no=order.order_no,
                    kind="refund", amount_minor=back, notify_url=notify_url,
                )  # fmt: skip
                self._desk.book.step(order, operation, plan, numbering(now_ms, "5030"), now_ms)
                if operation.status == "done":
                    self._desk.tell(order, operation)
            if operation.status == "refused":
                return self._refuse(*error_of(operation.reason))
            return self._answer(refund_told(order, operation))

        return await self._desk.perform("refund", order_no, refund_no, act)

    def _paid_order(self, merchant: Merchant, asked: dict[str, Any]) -> Order | None:
        number, reference = asked.get("out_trade_no"), asked.get("transaction_id")
        if isinstance(reference, str) and reference:
            return self._store.order_by_reference("wechat", merchant.merchant_id, reference)
        order = self._store.order("wechat", merchant.merchant_id, number) if isinstance(number, str) else None
        return order if order is not None and order.times_taken else None

    async def refund_query(self, request: Request) -> Response:
        """Tell a refund."""
        received = await self._received(request)
        if isinstance(received, Response):
            return received
        merchant, _ = received
        number = str(request.path_params["number"])
        found = self._store.operation("wechat", merchant.merchant_id, number)

        def act(_plan: Plan, _now_ms: int) -> Response:
            operation = self._store.operation("wechat", merchant.merchant_id, number)
            if operation is None or operation.kind != "refund":
                return self._refuse(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
            order = self._store.order("wechat", merchant.merchant_id, operation.order_no)
            assert order is not None
            return self._answer(refund_told(order, operation))

        order_no = found.order_no if found is not None else number
        return await self._desk.perform("query", order_no, number, act)

    async def bill(self, request: Request) -> Response:
        """Tell where the bill of a day can be fetched and its SHA-1 before packing."""
        received = await self._received(request)
        if isinstance(received, Response):
            return received
        merchant, asked = received
        day, packing = asked_day(asked.get("bill_date")), asked.get("tar_type", "")
        if day is None or packing not in ("", "GZIP") or asked.get("bill_type", "ALL") != "ALL":
            return self._refuse(400, "PARAM_ERROR", "bill_date, bill_type or tar_type")

        def act(_plan: Plan, _now_ms: int) -> Response:
            content = wechat_files.statement(self._store, merchant, day)
            name = f"{merchant.merchant_id}All{day.isoformat()}.csv" + (".gz" if packing else "")
            packed = wechat_files.packed(content) if packing else content
            url = self._downloads.offer(str(request.base_url), "wechat", merchant.merchant_id, name, packed)
            return self._answer(
                {"hash_type": "SHA1", "hash_value": wechat_files.sha1_hex(content), "download_url": url}
            )

        return await self._desk.perform("statement", day.isoformat(), "", act)

    async def download(self, request: Request) -> Response:
        """Answer with a bill offered before. The answer itself is not signed; its hash was."""
        received = await self._received(request)
        if isinstance(received, Response):
            return received
        merchant, asked = received
        found = self._downloads.fetch(str(asked.get("token", "")))
        if found is None or found.merchant_id != merchant.merchant_id:
            return self._refuse(404, "NO_STATEMENT_EXIST")
        return Response(found.content, media_type="application/octet-stream")

    def body(self, order: Order, operation: Operation | None, twist: str, notify_id: str, now_ms: int) -> str:
        """Return a notification that an order was paid or a refund went through, its resource sealed."""
        merchant = self._desk.keyring.merchant("wechat", order.merchant_id)
        assert merchant is not None
        told = transaction(merchant, order) | {"trade_state": "SUCCESS", "transaction_id": order.reference}
        if operation is not None:
            refund = refund_told(order, operation)
            told = {name: refund[name] for name in ("out_trade_no", "transaction_id", "out_refund_no", "refund_id")}
            told |= {"mchid": order.merchant_id, "refund_status": "SUCCESS", "success_time": rfc3339(now_ms)}
            told |= {"amount": refund["amount"], "user_received_account": refund["user_received_account"]}
        if twist == "changed_amount":
            told["amount"] = told["amount"] | {"total": told["amount"]["total"] + 1}
            if operation is not None:
                told["amount"] |= {"refund": told["amount"]["refund"] + 1}
        if twist == "other_merchant":
            told["mchid"] = "1600000000"
        kind, nonce = ("refund" if operation is not None else "transaction"), secrets.token_hex(6)
        sealed = signing.seal(
            merchant.values["apiv3.key"].encode(), nonce.encode(), kind.encode(), json.dumps(told).encode()
        )
        notice = {
            "id": notify_id, "create_time": rfc3339(now_ms), "resource_type": "encrypt-resource",
            "event_type": "REFUND.SUCCESS" if operation is not None else "TRANSACTION.SUCCESS",
            "summary": "退款成功" if operation is not None else "支付成功",
            "resource": {"original_type": kind, "algorithm": "AEAD_AES_256_GCM", "ciphertext": sealed,
                         "associated_data": kind, "nonce": nonce},
        }  # fmt: skip
        return json.dumps(notice, ensure_ascii=False)

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Return whether the merchant took it: 204, or 200 whose code, if it has one, is SUCCESS."""
        if status != 200:
            return status == 204
        if not body:
            return True
        said = read_json(body)
        return said is not None and bool(as_dict(said).get("code", "SUCCESS") == "SUCCESS")
