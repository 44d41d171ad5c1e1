"""Alipay's words: what is said, signed by whom, and what it means."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.payments.port import NOT_FOUND, Answer, Declined, NotificationRefused, Order, Payer, Succeeded, Unknown
from backend.payments.rails import alipay_signing as signing
from backend.payments.rails.merchants import load_alipay
from tests.unit.backend.payments.rails.parties import (
    APP_ID,
    CODES,
    HOLD,
    NOW,
    ORDER,
    PUBLIC_URL,
    SELLER_ID,
    TENANT,
    World,
    alipay_answer,
    alipay_form,
    folder,
    form_of,
    is_signed,
    sign,
    sorted_text,
    step,
)

Node = dict[str, Any]
HELD = Order(TENANT, HOLD.order_id, "hold", 300, NOW, "2026auth")
CAPTURED = Order(TENANT, HOLD.order_id, "hold", 300, NOW, "2026trade")
OK = {"code": "10000"}
FROZEN = OK | {
    "out_order_no": "auth0000000002",
    "amount": "3.00",
    "status": "SUCCESS",
    "auth_no": "2026auth",
    "order_status": "AUTHORIZED",
}
PAID = OK | {
    "out_trade_no": "auth0000000001",
    "total_amount": "3.00",
    "trade_no": "t1",
    "trade_status": "TRADE_SUCCESS",
}


def failed(sub_code: str, code: str = "40004") -> Node:
    """Return a refusal."""
    return {"code": code, "msg": "Business Failed", "sub_code": sub_code}


def world(tmp_path: Path, **nodes: Node) -> World:
    """Return an Alipay that answers each method, named by its last words, with a node."""

    def answer(request: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
        method = form_of(request)["method"]
        name = next(name for name in nodes if method.replace(".", "_").endswith(name))
        return 200, {}, alipay_answer(method, nodes[name])

    return World(tmp_path, "alipay", answer)


def said(world: World, number: int = 0) -> tuple[str, Node]:
    """Return the method and content of a request that was made."""
    form = form_of(world.asked[number])
    return form["method"], json.loads(form["biz_content"])


class TestVerifiedAnswer:
    METHOD = "alipay.trade.query"

    def signed(self, text: str) -> bytes:
        """Return an answer over a text as it stands."""
        return f'{{"alipay_trade_query_response":{text},"sign":"{sign("provider", text.encode())}"}}'.encode()

    @pytest.mark.parametrize(
        "text",
        [
            '{"a":"1"}',
            '{ "a" : "1"  }',
            '{"a":"\\u0031","b":"{\\"}\\\\"}',
            '{"a":"1","b":{"c":[1,{"d":null}]}}',
            '{"a":"1","é":"水\\/"}',
        ],
    )
    def test_is_verified_over_the_text_as_it_was_sent(self, tmp_path: Path, text: str) -> None:
        merchant = load_alipay(folder(tmp_path, "alipay"))

        for body in (self.signed(text), b"\n " + self.signed(text).replace(b',"sign"', b' ,\r\n"sign"') + b" "):
            node = signing.verified_answer(merchant, self.METHOD, body)
            assert node is not None
            assert node["a"] == "1"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b"[]",
            b'{"alipay_trade_query_response":{"a":"1"}}',
            b'{"alipay_trade_query_response":{"a":"1"},"sign":"!"}',
            b'{"alipay_trade_query_response":"text","sign":"QUJD"}',
            b'{"alipay_trade_query_response":' + b"[" * 100_000,
            b'{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"sign":""}',
        ],
    )
    def test_that_is_malformed_or_unsigned_is_nothing(self, tmp_path: Path, body: bytes) -> None:
        assert signing.verified_answer(load_alipay(folder(tmp_path, "alipay")), self.METHOD, body) is None

    def test_is_for_this_method_once_and_by_this_key(self, tmp_path: Path) -> None:
        merchant, good = load_alipay(folder(tmp_path, "alipay")), self.signed('{"a":"1"}')
        twice = good[:-1] + b',"alipay_trade_query_response":{"a":"2"}}'

        assert signing.verified_answer(merchant, "alipay.trade.pay", good) is None
        assert signing.verified_answer(merchant, self.METHOD, twice) is None
        assert signing.verified_answer(merchant, self.METHOD, good + b"{}") is None
        assert signing.verified_answer(merchant, self.METHOD, alipay_answer(self.METHOD, OK, signer="stranger")) is None

    def test_may_be_an_error_of_the_gateway(self, tmp_path: Path) -> None:
        body = self.signed('{"code":"40002"}').replace(b"alipay_trade_query_response", b"error_response")

        assert signing.verified_answer(load_alipay(folder(tmp_path, "alipay")), self.METHOD, body) == {"code": "40002"}


class TestRequests:
    def test_are_signed_and_say_who_pays_what_to_whom(self, tmp_path: Path) -> None:
        there = world(tmp_path, freeze=FROZEN, pay=PAID)

        there.provider.authorize(HOLD, Payer(agreement="agr_1"))
        there.provider.charge(ORDER, Payer(code=CODES["alipay"]))

        for request in there.asked:
            form = form_of(request)
            is_signed("merchant", sorted_text(form, "sign"), form["sign"])
            assert (form["app_id"], form["timestamp"]) == (APP_ID, "2026-03-01 20:00:07")
            assert form["notify_url"] == f"{PUBLIC_URL}/notify/alipay/{TENANT}"
        method, content = said(there, 0)
        assert (method, content["agreement_params"]) == ("alipay.fund.auth.order.freeze", {"agreement_no": "agr_1"})
        assert (content["amount"], content["payee_user_id"], "auth_code" in content) == ("3.00", SELLER_ID, False)
        method, content = said(there, 1)
        assert (method, content["scene"], content["auth_code"]) == ("alipay.trade.pay", "bar_code", CODES["alipay"])
        assert content["total_amount"] == "3.00"


class TestCharges:
    @pytest.mark.parametrize(
        ("node", "asked", "answer"),
        [
            (PAID, {}, Succeeded("charged", 300, "t1")),
            ({"code": "10003", "out_trade_no": "auth0000000001"}, {}, Unknown("waiting")),
            ({"code": "20000"}, PAID, Succeeded("charged", 300, "t1")),
            ({"code": "20000"}, failed("ACQ.TRADE_NOT_EXIST"), Unknown("alipay_20000")),
            (failed("ACQ.SYSTEM_ERROR"), PAID, Succeeded("charged", 300, "t1")),
            (failed("ACQ.TRADE_HAS_SUCCESS"), PAID, Succeeded("charged", 300, "t1")),
            (failed("ACQ.BUYER_BALANCE_NOT_ENOUGH"), {}, Declined("insufficient_funds")),
            (failed("ACQ.PAYMENT_AUTH_CODE_INVALID"), {}, Declined("code_expired")),
            (failed("isv.invalid-signature", "40002"), {}, Declined("alipay_invalid-signature")),
            (PAID | {"total_amount": "3.01"}, {}, Unknown("amount_differs")),
            (PAID | {"total_amount": 3.0}, {}, Unknown("amount_differs")),
            (PAID | {"trans_currency": "USD"}, {}, Unknown("currency_differs")),
            (PAID | {"out_trade_no": "auth0000000009"}, {}, Unknown("another_order")),
            (OK, {}, Unknown("another_order")),
            ({}, {}, Unknown("unsigned_answer")),
        ],
    )
    def test_mean_what_their_code_says(self, tmp_path: Path, node: Node, asked: Node, answer: Answer) -> None:
        there = world(tmp_path, trade_pay=node, trade_query=asked)

        assert there.provider.charge(ORDER, Payer(code=CODES["alipay"])) == answer

    @pytest.mark.parametrize(
        ("node", "answer"),
        [
            (PAID, Succeeded("charged", 300, "t1")),
            (PAID | {"trade_status": "TRADE_FINISHED"}, Succeeded("charged", 300, "t1")),
            (PAID | {"trade_status": "WAIT_BUYER_PAY"}, Unknown("waiting")),
            (PAID | {"trade_status": "TRADE_CLOSED"}, Declined("alipay_closed")),
            (
                PAID | {"trade_status": "TRADE_CLOSED", "send_pay_date": "2026-03-01 20:00:09"},
                Succeeded("refunded", 300, "t1"),
            ),
            (failed("ACQ.TRADE_NOT_EXIST"), Declined(NOT_FOUND)),
            (PAID | {"total_amount": "2.99"}, Unknown("amount_differs")),
        ],
    )
    def test_are_asked_about(self, tmp_path: Path, node: Node, answer: Answer) -> None:
        assert world(tmp_path, trade_query=node).provider.query(ORDER) == answer

    @pytest.mark.parametrize(
        ("node", "answer"),
        [
            (OK | {"out_trade_no": "auth0000000001", "action": "refund"}, Succeeded("voided", 300, "")),
            (OK | {"out_trade_no": "auth0000000001", "action": "close"}, Succeeded("absent", 0, "")),
            (OK | {"out_trade_no": "auth0000000001"}, Succeeded("absent", 0, "")),
            (OK | {"out_trade_no": "auth0000000001", "retry_flag": "Y"}, Unknown("retry")),
            (OK | {"out_trade_no": "auth0000000009"}, Unknown("another_order")),
            (failed("ACQ.TRADE_NOT_EXIST"), Succeeded("absent", 0)),
            (failed("ACQ.SELLER_BALANCE_NOT_ENOUGH"), Declined("alipay_seller_balance_not_enough")),
        ],
    )
    def test_are_cancelled_within_a_day(self, tmp_path: Path, node: Node, answer: Answer) -> None:
        assert world(tmp_path, trade_cancel=node).provider.void(ORDER, step("void")) == answer

    def test_are_refunded_after_a_day(self, tmp_path: Path) -> None:
        refunded = OK | {"out_trade_no": "auth0000000001", "fund_change": "Y", "refund_fee": "3.00", "trade_no": "t1"}
        there = world(tmp_path, trade_refund=refunded)

        answer = there.provider.void(ORDER, step("void", after=timedelta(hours=24)))

        assert answer == Succeeded("voided", 300, "t1")

    @pytest.mark.parametrize(
        ("node", "answer"),
        [
            (PAID, Declined(NOT_FOUND)),
            (PAID | {"trade_status": "TRADE_CLOSED"}, Succeeded("absent", 0)),
            (PAID | {"trade_status": "TRADE_CLOSED", "send_pay_date": "x"}, Succeeded("voided", 300, "t1")),
            (failed("ACQ.TRADE_NOT_EXIST"), Declined(NOT_FOUND)),
            (PAID | {"trade_status": "WAIT_BUYER_PAY"}, Declined(NOT_FOUND)),
            ({"code": "20000"}, Unknown("alipay_20000")),
        ],
    )
    def test_tell_whether_they_were_cancelled(self, tmp_path: Path, node: Node, answer: Answer) -> None:
        assert world(tmp_path, trade_query=node).provider.query_step(ORDER, step("void")) == answer


class TestRefunds:
    GOOD: Node = OK | {"out_trade_no": "auth0000000001", "fund_change": "Y", "refund_fee": "1.00", "trade_no": "t1"}
    TOLD: Node = OK | {
        "out_trade_no": "auth0000000001",
        "out_request_no": "oprefund00000001",
        "refund_amount": "1.00",
        "refund_status": "REFUND_SUCCESS",
        "trade_no": "t1",
    }

    @pytest.mark.parametrize(
        ("node", "told", "answer"),
        [
            (GOOD, {}, Succeeded("refunded", 100, "t1")),
            (GOOD | {"refund_fee": "2.50"}, {}, Succeeded("refunded", 100, "t1")),
            (GOOD | {"fund_change": "N"}, TOLD, Succeeded("refunded", 100, "t1")),
            (GOOD | {"fund_change": "N"}, OK, Unknown("alipay_refund_open")),
            (GOOD | {"refund_fee": "0.99"}, OK, Unknown("alipay_refund_open")),
            (GOOD | {"fund_change": "N"}, TOLD | {"refund_amount": "1.01"}, Unknown("amount_differs")),
            (GOOD | {"fund_change": "N"}, TOLD | {"refund_status": "REFUND_FAIL"}, Unknown("waiting")),
            (GOOD | {"out_trade_no": "x"}, {}, Unknown("another_order")),
            (failed("ACQ.SYSTEM_ERROR"), TOLD, Succeeded("refunded", 100, "t1")),
            (failed("ACQ.SELLER_BALANCE_NOT_ENOUGH"), {}, Declined("alipay_seller_balance_not_enough")),
        ],
    )
    def test_are_done_when_funds_changed(self, tmp_path: Path, node: Node, told: Node, answer: Answer) -> None:
        there = world(tmp_path, trade_refund=node, refund_query=told)

        assert there.provider.refund(ORDER, step("refund", 100)) == answer

    def test_of_a_capture_name_its_trade(self, tmp_path: Path) -> None:
        there = world(tmp_path, trade_refund={**self.GOOD, "trade_no": "2026trade"})

        assert there.provider.refund(CAPTURED, step("refund", 100)) == Succeeded("refunded", 100, "2026trade")
        assert said(there)[1] == {
            "trade_no": "2026trade",
            "refund_amount": "1.00",
            "out_request_no": "oprefund00000001",
        }
        assert there.provider.refund(HOLD, step("refund", 100)) == Unknown("reference_missing")


class TestHolds:
    @pytest.mark.parametrize(
        ("node", "answer"),
        [
            (FROZEN, Succeeded("held", 300, "2026auth")),
            (FROZEN | {"status": "INIT"}, Unknown("waiting")),
            (FROZEN | {"code": "10003", "status": "INIT"}, Unknown("waiting")),
            (FROZEN | {"status": "CLOSED"}, Declined("alipay_closed")),
            (FROZEN | {"order_status": "FINISH", "total_pay_amount": "1.20"}, Succeeded("captured", 300, "2026auth")),
            (FROZEN | {"order_status": "CLOSED", "total_pay_amount": "0.00"}, Succeeded("voided", 300, "2026auth")),
            (FROZEN | {"amount": "2.00"}, Unknown("amount_differs")),
            (failed("AUTH_ORDER_NOT_EXIST"), Declined(NOT_FOUND)),
        ],
    )
    def test_are_asked_about(self, tmp_path: Path, node: Node, answer: Answer) -> None:
        assert world(tmp_path, detail_query=node).provider.query(HOLD) == answer

    def test_are_captured_as_a_trade_that_releases_the_rest(self, tmp_path: Path) -> None:
        paid = PAID | {"out_trade_no": "opcapture00000001", "total_amount": "1.20"}
        there = world(tmp_path, trade_pay=paid, detail_query=FROZEN)

        for order in (HELD, HOLD):
            assert there.provider.capture(order, step("capture", 120)) == Succeeded("captured", 120, "t1")
            content = said(there, -1)[1]
            assert (content["auth_no"], content["product_code"], content["auth_confirm_mode"]) == (
                "2026auth",
                "PREAUTH_PAY",
                "COMPLETE",
            )

    def test_are_unfrozen_when_they_have_a_name_and_cancelled_when_not(self, tmp_path: Path) -> None:
        unfrozen = OK | {"out_request_no": "opvoid00000001", "amount": "3.00", "status": "SUCCESS", "operation_id": "o"}
        cancelled = OK | {"out_order_no": "auth0000000002", "action": "unfreeze", "auth_no": "2026auth"}
        there = world(tmp_path, unfreeze=unfrozen, operation_cancel=cancelled)

        assert there.provider.void(HELD, step("void")) == Succeeded("voided", 300, "o")
        assert there.provider.void(HOLD, step("void")) == Succeeded("voided", 300, "2026auth")
        assert [said(there, number)[0] for number in (0, 1)] == [
            "alipay.fund.auth.order.unfreeze",
            "alipay.fund.auth.operation.cancel",
        ]

    @pytest.mark.parametrize(
        ("node", "answer"),
        [
            (OK | {"out_order_no": "auth0000000002", "action": "close"}, Succeeded("absent", 0, "")),
            (OK | {"out_order_no": "auth0000000009", "action": "unfreeze"}, Unknown("another_order")),
            (failed("AUTH_ORDER_NOT_EXIST"), Succeeded("absent", 0)),
            (failed("SYSTEM_ERROR"), Unknown("alipay_40004")),
            (failed("AUTH_ORDER_HAS_FINISHED"), Declined("alipay_auth_order_has_finished")),
        ],
    )
    def test_that_were_never_frozen_are_absent(self, tmp_path: Path, node: Node, answer: Answer) -> None:
        assert world(tmp_path, operation_cancel=node).provider.void(HOLD, step("void")) == answer


class TestNotifications:
    PAID: Mapping[str, str] = {
        "out_trade_no": "n1",
        "total_amount": "3.00",
        "trade_no": "t",
        "trade_status": "TRADE_SUCCESS",
    }
    FROZEN: Mapping[str, str] = {
        "out_order_no": "n1",
        "out_request_no": "r1",
        "operation_type": "FREEZE",
        "operation_id": "o",
        "auth_no": "a",
        "amount": "3.00",
        "status": "SUCCESS",
    }

    @pytest.mark.parametrize(
        ("base", "fields", "numbers", "answer"),
        [
            (PAID, {}, ("n1", ""), Succeeded("charged", 300, "t")),
            (PAID, {"trade_status": "TRADE_CLOSED"}, ("n1", ""), Declined("alipay_closed")),
            (PAID, {"trade_status": "WAIT_BUYER_PAY"}, ("n1", ""), Unknown("waiting")),
            (PAID, {"out_biz_no": "r9", "refund_fee": "1.00"}, ("n1", "r9"), Unknown("alipay_refund_notified")),
            (FROZEN, {}, ("n1", ""), Succeeded("held", 300, "a")),
            (FROZEN, {"operation_type": "UNFREEZE"}, ("n1", "r1"), Succeeded("voided", 300, "o")),
            (FROZEN, {"status": "CLOSED"}, ("n1", ""), Declined("alipay_closed")),
            (FROZEN, {"status": "INIT"}, ("n1", ""), Unknown("waiting")),
        ],
    )
    def test_say_what_became_of_what(
        self, tmp_path: Path, base: Mapping[str, str], fields: dict[str, str], numbers: tuple[str, str], answer: Answer
    ) -> None:
        found = world(tmp_path).provider.read_notification(TENANT, {}, alipay_form(**{**base, **fields}))

        assert (found.notify_id, found.order_no, found.operation_no, found.answer) == ("n1", *numbers, answer)

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"app_id": "2021000000000009"}, "another_merchant"),
            ({"seller_id": "2088000000000009"}, "another_merchant"),
            ({"trans_currency": "USD"}, "currency_differs"),
            ({"notify_id": ""}, "malformed"),
            ({"notify_id": "x" * 129}, "malformed"),
            ({"out_trade_no": ""}, "malformed"),
            ({"total_amount": "3"}, ""),
            ({"total_amount": "3,00"}, "malformed"),
            ({"trade_status": "RICH"}, "malformed"),
            ({"sign_type": "RSA"}, "forged"),
        ],
    )
    def test_about_something_else_are_refused(self, tmp_path: Path, fields: dict[str, str], reason: str) -> None:
        body = alipay_form(**{**self.PAID, **fields})
        provider = world(tmp_path).provider

        if not reason:
            assert provider.read_notification(TENANT, {}, body).answer == Succeeded("charged", 300, "t")
            return
        with pytest.raises(NotificationRefused, match=reason):
            provider.read_notification(TENANT, {}, body)

    def test_of_a_stranger_or_with_a_field_twice_are_refused(self, tmp_path: Path) -> None:
        provider = world(tmp_path).provider

        with pytest.raises(NotificationRefused, match="forged"):
            provider.read_notification(TENANT, {}, alipay_form(signer="stranger", **self.PAID))
        with pytest.raises(NotificationRefused, match="malformed"):
            provider.read_notification(TENANT, {}, alipay_form(**self.PAID) + b"&total_amount=4.00")


class TestStatement:
    @pytest.mark.parametrize(
        ("node", "status", "content", "found"),
        [
            (OK | {"bill_download_url": "http://bill.example/x?token=1"}, 200, b"PK\x03\x04 zip", True),
            (OK | {"bill_download_url": "http://bill.example/x?token=1"}, 200, b"<html>", False),
            (OK | {"bill_download_url": "http://bill.example/x?token=1"}, 404, b"PK", False),
            (OK, 200, b"PK", False),
            (failed("isp.bill_not_exist".upper()), 200, b"PK", False),
        ],
    )
    def test_is_the_zip_at_the_address(
        self, tmp_path: Path, node: Node, status: int, content: bytes, found: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        def answer(request: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
            if request.method == "GET":
                return status, {}, content
            assert said(there)[1] == {"bill_type": "trade", "bill_date": "2026-02-28"}
            return 200, {}, alipay_answer(form_of(request)["method"], node)

        there = World(tmp_path, "alipay", answer)

        with caplog.at_level("INFO"):
            file = there.provider.statement(TENANT, date(2026, 2, 28))

        assert file == ((f"{SELLER_ID}_20260228.csv.zip", content) if found else None)
        assert "token" not in caplog.text
