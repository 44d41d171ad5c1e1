"""
UnionPay's acp 5.1.0: forms in and out, signed over the sorted fields with RSA (method 01) or SM3 (method 12).

`00` says that a request was accepted; what became of it says the query, or the notification to `backUrl`. A number
used twice is answered with 12, whatever it says the second time.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from firmware_sim.sandbox_provider import signing, unionpay_files
from firmware_sim.sandbox_provider.desk import Desk
from firmware_sim.sandbox_provider.keyring import Merchant
from firmware_sim.sandbox_provider.kit import at, compact, is_address
from firmware_sim.sandbox_provider.scripts import Plan
from firmware_sim.sandbox_provider.store import Operation, Order

Form = dict[str, str]
_FIELDS_MAX = 64
_WORDS = {
    "00": "成功", "05": "交易已受理，请稍后查询交易结果", "10": "报文格式错误", "11": "验证签名失败", "12": "重复交易",
    "13": "报文交易要素缺失", "30": "交易未通过，请尝试使用其他银联卡支付", "33": "交易金额超限", "34": "查无此交易",
    "35": "原交易不存在或状态不正确", "36": "与原交易信息不符", "38": "银联风险受限", "61": "输入的付款码无效",
    "62": "交易失败，发卡银行不支持该商户", "63": "卡状态不正确", "64": "卡上的余额不足", "69": "您的输入超时",
    "98": "文件不存在",
}  # fmt: skip
_CODES = {
    "insufficient_funds": "64", "code_invalid": "61", "code_used": "61", "expired": "69", "risk": "38", "limit": "33",
    "card_status": "63", "canceled": "30", "exceeds_hold": "33", "exceeds_paid": "33",
}  # fmt: skip
_NEEDED = ("version", "encoding", "signMethod", "txnType", "bizType", "accessType", "merId", "orderId", "txnTime")
_SHAPES = {
    "orderId": re.compile(r"[A-Za-z0-9]{8,40}"),
    "txnTime": re.compile(r"\d{14}", re.ASCII),
    "txnAmt": re.compile(r"[1-9]\d{0,11}", re.ASCII),
    "currencyCode": re.compile("156"),
    "version": re.compile(r"5\.1\.0"),
    "encoding": re.compile("UTF-8"),
}
_ORDERS = {"01": ("charge", "charge"), "02": ("authorize", "hold")}
_STEPS = {"03": "capture", "31": "void", "32": "void", "33": "restore", "04": "refund"}
_VERBS = {"03": "capture", "31": "void", "32": "void", "33": "void", "04": "refund"}
_AGREEMENT = re.compile(r"agr_[\w-]{1,60}", re.ASCII)


def code_of(reason: str) -> str:
    """Return the response code for a reason; a reason of two digits is one."""
    if re.fullmatch(r"\d\d", reason, re.ASCII):
        return reason
    return _CODES.get(reason, "35" if reason.startswith("is_") else "62")


def text_to_sign(form: Mapping[str, str]) -> str:
    """Return the fields that have a value, sorted, without the signature."""
    return "&".join(f"{name}={form[name]}" for name in sorted(form) if name != "signature" and form[name])


def read_form(body: bytes) -> Form | None:
    """Return the fields of a form, or None if it is none."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        return None
    form = dict(pairs)
    return form if len(form) == len(pairs) else None


def _real_time(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007 - only whether it is one
    except ValueError:
        return False
    return True


def _payer(asked: Form) -> str:
    if asked.get("qrNo"):
        return asked["qrNo"]
    found = _AGREEMENT.search(" ".join(asked.get(name, "") for name in ("tokenPayData", "accNo", "reserved")))
    return found[0] if found else ""


class UnionPay:
    """The HTTP side of the brand, and how it notifies."""

    schedule_s = (60, 120, 240, 300)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._store = desk.store

    def _verified(self, merchant: Merchant, form: Form) -> bool:
        text, signature = text_to_sign(form), form.get("signature", "")
        if form.get("signMethod") == "01":
            known = form.get("certId") == merchant.values["cert_id"]
            digest = signing.sha256_hex(text.encode()).encode()
            return known and signing.rsa_verify(merchant.public_key, digest, signature)
        if form.get("signMethod") == "12":
            secret = signing.sm3_hex(merchant.values["sm3.secret"].encode())
            return signature == signing.sm3_hex(f"{text}&{secret}".encode())
        return False

    def signed(self, merchant: Merchant, form: Form, *, forged: bool = False) -> str:
        """Return a form as it goes out, signed by the method it names."""
        form = {name: value for name, value in form.items() if value}
        if form["signMethod"] == "12":
            secret = signing.sm3_hex(merchant.values["sm3.secret"].encode())
            form["signature"] = signing.sm3_hex(f"{text_to_sign(form)}&{secret}{' ' * forged}".encode())
        else:
            form["signPubKeyCert"] = self._desk.keyring.unionpay_certificate
            digest = signing.sha256_hex((text_to_sign(form) + " " * forged).encode())
            form["signature"] = signing.rsa_sign(self._desk.keyring.key("unionpay"), digest.encode())
        return urlencode(form)

    def _answer(self, merchant: Merchant, asked: Form, code: str, **more: str) -> Response:
        names = (
            "version", "encoding", "signMethod", "txnType", "txnSubType", "bizType", "accessType", "merId", "orderId",
            "txnTime", "txnAmt", "currencyCode", "origQryId", "settleDate", "fileType",
        )  # fmt: skip
        form = {name: asked[name] for name in names if asked.get(name)}
        form |= {"respCode": code, "respMsg": _WORDS.get(code, "交易失败"), **more}
        return Response(self.signed(merchant, form), media_type="application/x-www-form-urlencoded")

    async def _received(self, request: Request, needed: tuple[str, ...]) -> tuple[Merchant, Form, str] | Response:
        """Return who asks what and the code to refuse it with, or an answer for somebody unknown."""
        form = read_form(await request.body())
        if form is None:
            return PlainTextResponse("Invalid request: not a form", 400)
        merchant = self._desk.keyring.merchant("unionpay", form.get("merId", ""))
        if merchant is None or form.get("signMethod") not in ("01", "12"):
            return PlainTextResponse("Invalid request: merId or signMethod", 400)
        if not self._verified(merchant, form):
            return merchant, form, "11"
        if any(not form.get(name) for name in needed):
            return merchant, form, "13"
        misshapen = any(form.get(name) and not shape.fullmatch(form[name]) for name, shape in _SHAPES.items())
        misshapen = misshapen or bool(form.get("backUrl") and not is_address(form["backUrl"]))
        return merchant, form, "10" if misshapen or not _real_time(form["txnTime"]) else ""

    async def trans(self, request: Request) -> Response:
        """Answer a new order or a step: types 01, 02, 03, 04, 31, 32 and 33."""
        received = await self._received(request, (*_NEEDED, "txnAmt", "currencyCode"))
        if isinstance(received, Response):
            return received
        merchant, asked, refusal = received
        kind, number = asked.get("txnType", ""), asked.get("orderId", "")
        if refusal:
            return self._answer(merchant, asked, refusal)
        if kind in _ORDERS:
            return await self._desk.perform(_ORDERS[kind][0], number, "", self._placing(merchant, asked))
        if kind not in _STEPS:
            return self._answer(merchant, asked, "10")
        if not asked.get("origQryId"):
            return self._answer(merchant, asked, "13")
        order, _ = self._original(merchant, kind, asked["origQryId"])
        order_no = order.order_no if order else number
        return await self._desk.perform(_VERBS[kind], order_no, number, self._stepping(merchant, asked))

    def _is_known(self, merchant: Merchant, number: str) -> bool:
        where = ("unionpay", merchant.merchant_id, number)
        return self._store.order(*where) is not None or self._store.operation(*where) is not None

    def _placing(self, merchant: Merchant, asked: Form) -> Callable[[Plan, int], Response]:
        def act(plan: Plan, now_ms: int) -> Response:
            if self._is_known(merchant, asked["orderId"]):
                return self._answer(merchant, asked, "12")
            order = Order(
                brand="unionpay", merchant_id=merchant.merchant_id, order_no=asked["orderId"],
                tenant_id=merchant.tenant_id, kind=_ORDERS[asked["txnType"]][1], amount_minor=int(asked["txnAmt"]),
                notify_url=asked.get("backUrl", ""), details=_details(asked),
            )  # fmt: skip
            order = self._desk.book.place(order, plan, _payer(asked), _numbering(now_ms), now_ms)
            if order.status == "declined":
                return self._answer(merchant, asked, code_of(order.reason), queryId=order.reference)
            if order.times_taken:
                self._desk.tell(order)
            return self._answer(merchant, asked, "05" if order.status == "waiting" else "00", queryId=order.reference)

        return act

    def _original(self, merchant: Merchant, kind: str, query_id: str) -> tuple[Order | None, Operation | None]:
        """Return the order that a step is about, and the completion if it is about one."""
        where = ("unionpay", merchant.merchant_id)
        order = self._store.order_by_reference(*where, query_id)
        wanted = {"03": ("hold",), "32": ("hold",), "31": ("charge",), "04": ("charge",), "33": ()}[kind]
        if order is not None:
            return (order, None) if order.kind in wanted else (None, None)
        completion = self._store.operation_by_reference(*where, query_id)
        if (
            completion is None
            or kind not in ("33", "04")
            or (completion.kind, completion.status) != ("capture", "done")
        ):
            return None, None
        return self._store.order(*where, completion.order_no), completion

    def _stepping(self, merchant: Merchant, asked: Form) -> Callable[[Plan, int], Response]:
        def act(plan: Plan, now_ms: int) -> Response:
            if self._is_known(merchant, asked["orderId"]):
                return self._answer(merchant, asked, "12")
            order, completion = self._original(merchant, asked["txnType"], asked["origQryId"])
            kind, amount_minor = _STEPS[asked["txnType"]], int(asked["txnAmt"])
            if order is None or (kind == "void" and order.status in ("declined", "voided")):
                return self._answer(merchant, asked, "35")
            whole = completion.amount_minor if completion is not None else order.amount_minor
            if kind in ("void", "restore") and amount_minor != whole:
                return self._answer(merchant, asked, "36")
            operation = Operation(
                brand="unionpay", merchant_id=merchant.merchant_id, operation_no=asked["orderId"],
                order_no=order.order_no, kind=kind, amount_minor=amount_minor, notify_url=asked.get("backUrl", ""),
                details={
                    **_details(asked),
                    "original_no": completion.operation_no if completion is not None else order.order_no,
                },
            )  # fmt: skip
            operation = self._desk.book.step(order, operation, plan, _numbering(now_ms), now_ms)
            if operation.status == "refused":
                return self._answer(merchant, asked, code_of(operation.reason), queryId=operation.reference)
            if kind == "restore" and completion is not None:
                completion.status = "voided"
                self._store.save(completion)
            if operation.status == "done":
                self._desk.tell(order, operation)
            return self._answer(
                merchant, asked, "05" if operation.status == "waiting" else "00", queryId=operation.reference
            )

        return act

    async def query(self, request: Request) -> Response:
        """Answer what became of an order or a step: type 00."""
        received = await self._received(request, _NEEDED)
        if isinstance(received, Response):
            return received
        merchant, asked, refusal = received
        if refusal or asked["txnType"] != "00":
            return self._answer(merchant, asked, refusal or "10")
        where = ("unionpay", merchant.merchant_id, asked["orderId"])
        operation = self._store.operation(*where)

        def act(_plan: Plan, now_ms: int) -> Response:
            found = self._store.order(*where) or self._store.operation(*where)
            if found is None or found.details["txn_time"] != asked["txnTime"]:
                return self._answer(merchant, asked, "34")
            return self._answer(merchant, asked, "00", **_result(found))

        order_no = operation.order_no if operation is not None else asked["orderId"]
        return await self._desk.perform("query", order_no, asked["orderId"], act)

    async def file(self, request: Request) -> Response:
        """Answer with the statement of a day: type 76."""
        needed = ("version", "encoding", "signMethod", "txnType", "merId", "txnTime", "settleDate", "fileType")
        received = await self._received(request, needed)
        if isinstance(received, Response):
            return received
        merchant, asked, refusal = received
        day = unionpay_files.day_meant(asked.get("settleDate", ""), at(self._desk.clock.now_ms()).date())
        if refusal or asked["txnType"] != "76" or asked["fileType"] != "00" or day is None:
            return self._answer(merchant, asked, refusal or "10")

        def act(_plan: Plan, _now_ms: int) -> Response:
            name, content = unionpay_files.statement(self._store, merchant.merchant_id, day)
            return self._answer(merchant, asked, "00", fileName=name, fileContent=unionpay_files.packed(content))

        return await self._desk.perform("statement", day.isoformat(), "", act)

    def body(self, order: Order, operation: Operation | None, twist: str, notify_id: str, now_ms: int) -> str:
        """Return a notification. The brand has no id for it; its text is the same on every repetition."""
        merchant = self._desk.keyring.merchant("unionpay", order.merchant_id)
        assert merchant is not None
        found = operation if operation is not None else order
        amount_minor = found.amount_minor + (1 if twist == "changed_amount" else 0)
        form = {
            "version": "5.1.0", "encoding": "UTF-8", "signMethod": found.details["sign_method"],
            "txnType": found.details["txn_type"], "txnSubType": found.details["txn_sub_type"],
            "bizType": found.details["biz_type"], "accessType": "0",
            "merId": "777000000000000" if twist == "other_merchant" else order.merchant_id,
            "orderId": operation.operation_no if operation is not None else order.order_no,
            "txnTime": found.details["txn_time"], "currencyCode": "156", "respCode": "00", "respMsg": "Success!",
            **_result(found), "txnAmt": str(amount_minor), "settleAmt": str(amount_minor), "origRespCode": "",
            "origRespMsg": "", "origQryId": found.details.get("orig_qry_id", ""),
        }  # fmt: skip
        return self.signed(merchant, form, forged=twist == "forged")

    def headers(self, body: str, twist: str, now_ms: int) -> dict[str, str]:
        """Return the headers of a notification."""
        return {"content-type": "application/x-www-form-urlencoded;charset=UTF-8"}

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Return whether the merchant took it: any 200 does."""
        return status == 200


def _details(asked: Form) -> dict[str, str]:
    return {
        "txn_time": asked["txnTime"], "txn_type": asked["txnType"], "txn_sub_type": asked.get("txnSubType", ""),
        "biz_type": asked.get("bizType", ""), "sign_method": asked["signMethod"],
        "orig_qry_id": asked.get("origQryId", ""),
    }  # fmt: skip


def _numbering(now_ms: int) -> Callable[[int], str]:
    return lambda number: f"{compact(now_ms)}{number % 10_000_000:07d}"


def _result(found: Order | Operation) -> Form:
    """Return what the provider says of an order or a step: its result as `origRespCode`, amounts and settlement."""
    if found.status == "waiting":
        code = "05"
    elif found.status in ("declined", "refused"):
        code = code_of(found.reason)
    elif isinstance(found, Order) and not found.times_taken:
        code = code_of("canceled")
    else:
        code = "00"
    return {
        "queryId": found.reference, "txnAmt": str(found.amount_minor), "currencyCode": "156",
        "traceNo": found.reference[-6:], "traceTime": compact(found.created_ms)[4:],
        "settleAmt": str(found.amount_minor), "settleCurrencyCode": "156",
        "settleDate": compact(found.created_ms)[4:8], "origRespCode": code, "origRespMsg": _WORDS.get(code, "交易失败"),
    }  # fmt: skip
