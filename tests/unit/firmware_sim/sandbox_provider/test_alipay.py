"""Alipay's gateway as the merchant meets it."""

import io
import zipfile
from typing import Any

import pytest

from firmware_sim.payment_codes import payment_code
from tests.unit.firmware_sim.sandbox_provider.rails import AlipayClient

FREEZE = "alipay.fund.auth.order.freeze"
UNFREEZE = "alipay.fund.auth.order.unfreeze"
FREEZE_CANCEL = "alipay.fund.auth.operation.cancel"
FREEZE_QUERY = "alipay.fund.auth.operation.detail.query"
PAY = "alipay.trade.pay"
QUERY = "alipay.trade.query"
CANCEL = "alipay.trade.cancel"
REFUND = "alipay.trade.refund"
REFUND_QUERY = "alipay.trade.fastpay.refund.query"
BILL = "alipay.data.dataservice.bill.downloadurl.query"


def freeze(alipay: AlipayClient, number: str, amount: str = "3.00", **more: Any) -> dict[str, Any]:
    """Return the answer to a freeze by agreement."""
    payer = {"agreement_params": {"agreement_no": "agr_1"}}
    return alipay.call(FREEZE, out_order_no=number, out_request_no=number, amount=amount, **(payer | more))


def pay(alipay: AlipayClient, number: str, amount: str = "1.50", **more: Any) -> dict[str, Any]:
    """Return the answer to a payment by code."""
    payer = {"auth_code": payment_code("alipay"), "scene": "bar_code"}
    return alipay.call(PAY, out_trade_no=number, total_amount=amount, subject="热水", **(payer | more))


def complete(alipay: AlipayClient, auth_no: str, number: str, amount: str) -> dict[str, Any]:
    """Return the answer to a capture."""
    return alipay.call(
        PAY,
        out_trade_no=number,
        total_amount=amount,
        auth_no=auth_no,
        subject="热水",
        product_code="PREAUTH_PAY",
        auth_confirm_mode="COMPLETE",
    )


def said(answer: dict[str, Any]) -> tuple[str, str]:
    """Return code and sub code."""
    return answer["code"], answer.get("sub_code", "")


class TestFreeze:
    def test_is_repeatable_and_bound_to_its_amount(self, alipay: AlipayClient) -> None:
        first = freeze(alipay, "hold0001")

        assert (first["code"], first["status"], first["amount"]) == ("10000", "SUCCESS", "3.00")
        assert freeze(alipay, "hold0001") == first
        assert said(freeze(alipay, "hold0001", "3.01")) == ("40004", "ORDER_ALREADY_EXIST")
        assert alipay.house.order("hold0001")["times_taken"] == 1

    def test_a_capture_completes_it(self, alipay: AlipayClient) -> None:
        held = freeze(alipay, "hold0001")
        taken = complete(alipay, held["auth_no"], "capture01", "1.20")

        told = alipay.call(FREEZE_QUERY, out_order_no="hold0001", out_request_no="hold0001")

        assert taken["code"] == "10000"
        assert (told["order_status"], told["total_pay_amount"], told["rest_amount"], told["total_unfreeze_amount"]) == (
            "FINISH", "1.20", "0.00", "1.80",
        )  # fmt: skip
        assert said(complete(alipay, held["auth_no"], "capture01", "1.20")) == ("40004", "ACQ.TRADE_HAS_SUCCESS")
        assert said(complete(alipay, held["auth_no"], "capture01", "1.21")) == ("40004", "ACQ.CONTEXT_INCONSISTENT")
        assert said(complete(alipay, held["auth_no"], "capture02", "0.10"))[0] == "40004"
        assert alipay.house.order("hold0001")["captured_minor"] == 120

    def test_a_capture_beyond_it_is_refused(self, alipay: AlipayClient) -> None:
        held = freeze(alipay, "hold0001")

        assert said(complete(alipay, held["auth_no"], "capture01", "3.01")) == ("40004", "ACQ.AUTH_AMOUNT_NOT_ENOUGH")

    def test_an_unfreeze_is_repeatable(self, alipay: AlipayClient) -> None:
        held = freeze(alipay, "hold0001")
        asked = {"auth_no": held["auth_no"], "out_request_no": "free0001", "amount": "3.00"}
        first = alipay.call(UNFREEZE, **asked)

        assert (first["code"], first["status"]) == ("10000", "SUCCESS")
        assert alipay.call(UNFREEZE, **asked) == first
        assert alipay.call(UNFREEZE, **(asked | {"amount": "2.00"}))["code"] == "40004"
        assert alipay.call(UNFREEZE, **(asked | {"out_request_no": "free0002"}))["sub_code"] == "AUTH_ORDER_HAS_CLOSED"
        assert alipay.house.order("hold0001")["status"] == "voided"

    def test_a_cancel_bars_a_freeze_nobody_knows(self, alipay: AlipayClient) -> None:
        canceled = alipay.call(FREEZE_CANCEL, out_order_no="hold0001", out_request_no="hold0001")

        assert (canceled["code"], canceled.get("action")) == ("10000", None)
        assert said(freeze(alipay, "hold0001")) == ("40004", "ORDER_ALREADY_CLOSED")

    def test_a_cancel_releases_one_that_stands(self, alipay: AlipayClient) -> None:
        freeze(alipay, "hold0001")

        canceled = alipay.call(FREEZE_CANCEL, out_order_no="hold0001", out_request_no="hold0001")
        again = alipay.call(FREEZE_CANCEL, out_order_no="hold0001", out_request_no="hold0001")

        assert (canceled["action"], again["code"]) == ("unfreeze", "10000")
        assert alipay.house.order("hold0001")["status"] == "voided"

    def test_a_canceled_freeze_may_succeed_late(self, alipay: AlipayClient) -> None:
        alipay.house.script("next", "success_after_cancel", seconds=30)
        asked = {"out_order_no": "hold0001", "out_request_no": "hold0001"}

        assert freeze(alipay, "hold0001")["code"] == "10003"
        assert alipay.call(FREEZE_CANCEL, **asked)["action"] == "close"
        alipay.house.pass_time(31)
        alipay.house.wait_for("hold0001", "held")
        assert alipay.call(FREEZE_CANCEL, **asked)["action"] == "unfreeze"
        assert alipay.house.order("hold0001")["status"] == "voided"

    @pytest.mark.parametrize(
        ("asked", "sub_code"),
        [
            ({"out_order_no": "nobody01", "out_request_no": "nobody01"}, "AUTH_ORDER_NOT_EXIST"),
            ({"out_order_no": "hold0001", "out_request_no": "nobody01"}, "AUTH_OPERATION_NOT_EXIST"),
            ({"out_order_no": "hold0001"}, "isv.invalid-parameter"),
        ],
    )
    def test_a_question_about_nothing_says_so(self, alipay: AlipayClient, asked: dict[str, str], sub_code: str) -> None:
        freeze(alipay, "hold0001")

        assert alipay.call(FREEZE_QUERY, **asked)["sub_code"] == sub_code


class TestTrade:
    def test_a_payment_is_taken_once(self, alipay: AlipayClient) -> None:
        paid = pay(alipay, "trade0001")

        assert (paid["code"], paid["total_amount"]) == ("10000", "1.50")
        assert said(pay(alipay, "trade0001")) == ("40004", "ACQ.TRADE_HAS_SUCCESS")
        assert alipay.call(QUERY, out_trade_no="trade0001")["trade_status"] == "TRADE_SUCCESS"
        assert alipay.call(QUERY, trade_no=paid["trade_no"])["out_trade_no"] == "trade0001"
        assert alipay.house.order("trade0001")["times_taken"] == 1

    @pytest.mark.parametrize("code", ["133669690919523161", "2812345", "", "6212345678901234567"])
    def test_a_code_of_another_brand_is_refused(self, alipay: AlipayClient, code: str) -> None:
        assert said(pay(alipay, "trade0001", auth_code=code)) == ("40004", "ACQ.PAYMENT_AUTH_CODE_INVALID")

    def test_a_waiting_payment_is_paid_by_and_by(self, alipay: AlipayClient) -> None:
        alipay.house.script("next", "waiting", seconds=30)

        assert pay(alipay, "trade0001")["code"] == "10003"
        assert alipay.call(QUERY, out_trade_no="trade0001")["trade_status"] == "WAIT_BUYER_PAY"
        alipay.house.pass_time(31)
        alipay.house.wait_for("trade0001", "charged")

    def test_a_payment_nobody_confirms_expires(self, alipay: AlipayClient) -> None:
        alipay.house.script("next", "waiting", seconds=100)
        pay(alipay, "trade0001")

        alipay.house.pass_time(61)
        assert alipay.house.wait_for("trade0001", "declined")["reason"] == "expired"
        assert alipay.call(QUERY, out_trade_no="trade0001")["trade_status"] == "TRADE_CLOSED"

    def test_a_cancel_closes_or_gives_back(self, alipay: AlipayClient) -> None:
        pay(alipay, "trade0001")
        alipay.house.script("trade0002", "waiting", seconds=100)
        pay(alipay, "trade0002")

        actions = [
            alipay.call(CANCEL, out_trade_no=number).get("action") for number in ("trade0001", "trade0002", "trade0003")
        ]

        assert actions == ["refund", "close", None]
        assert alipay.call(CANCEL, out_trade_no="trade0001")["action"] == "refund"
        assert said(pay(alipay, "trade0003")) == ("40004", "ACQ.TRADE_HAS_CLOSE")
        assert alipay.call(QUERY, out_trade_no="trade0001")["send_pay_date"]
        assert "send_pay_date" not in alipay.call(QUERY, out_trade_no="trade0002")

    def test_a_canceled_payment_may_succeed_late(self, alipay: AlipayClient) -> None:
        alipay.house.script("next", "success_after_cancel", seconds=30)
        pay(alipay, "trade0001")

        assert alipay.call(CANCEL, out_trade_no="trade0001")["action"] == "close"
        assert alipay.call(QUERY, out_trade_no="trade0001")["trade_status"] == "TRADE_CLOSED"
        alipay.house.pass_time(31)
        alipay.house.wait_for("trade0001", "charged")
        assert alipay.call(QUERY, out_trade_no="trade0001")["trade_status"] == "TRADE_SUCCESS"
        assert alipay.call(CANCEL, out_trade_no="trade0001")["action"] == "refund"
        assert alipay.house.order("trade0001")["status"] == "voided"

    def test_a_cancel_comes_within_a_day(self, alipay: AlipayClient) -> None:
        pay(alipay, "trade0001")
        alipay.house.client.post("/clock", json={"now": "2100-01-01T00:00:00+08:00"})

        assert said(alipay.call(CANCEL, out_trade_no="trade0001")) == ("40004", "ACQ.TRADE_CANCEL_TIME_OUT")


class TestRefund:
    def refund(self, alipay: AlipayClient, request: str, amount: str, trade: str = "trade0001") -> dict[str, Any]:
        return alipay.call(REFUND, out_trade_no=trade, refund_amount=amount, out_request_no=request)

    def test_parts_add_up_to_the_trade_and_no_further(self, alipay: AlipayClient) -> None:
        pay(alipay, "trade0001")

        first, second = self.refund(alipay, "back0001", "0.50"), self.refund(alipay, "back0002", "1.00")

        assert [(told["fund_change"], told["refund_fee"]) for told in (first, second)] == [("Y", "0.50"), ("Y", "1.50")]
        assert said(self.refund(alipay, "back0003", "0.01"))[0] == "40004"
        assert alipay.call(QUERY, out_trade_no="trade0001")["trade_status"] == "TRADE_CLOSED"

    def test_is_repeatable_with_the_same_amount(self, alipay: AlipayClient) -> None:
        pay(alipay, "trade0001")
        self.refund(alipay, "back0001", "0.50")

        assert self.refund(alipay, "back0001", "0.50")["fund_change"] == "N"
        assert said(self.refund(alipay, "back0001", "0.60")) == ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST")
        assert alipay.house.order("trade0001")["refunded_minor"] == 50

    def test_is_told_once_it_is_done(self, alipay: AlipayClient) -> None:
        pay(alipay, "trade0001")
        alipay.house.script("back0001", "waiting", seconds=30)
        self.refund(alipay, "back0001", "0.50")
        asked = {"out_trade_no": "trade0001", "out_request_no": "back0001"}

        assert alipay.call(REFUND_QUERY, **asked) == {"code": "10000", "msg": "Success"}
        alipay.house.pass_time(31)
        told = alipay.call(REFUND_QUERY, **asked)
        assert (told["refund_status"], told["refund_amount"]) == ("REFUND_SUCCESS", "0.50")

    def test_a_capture_is_given_back_as_the_trade_it_is(self, alipay: AlipayClient) -> None:
        held = freeze(alipay, "hold0001")
        complete(alipay, held["auth_no"], "capture01", "1.20")

        assert self.refund(alipay, "back0001", "0.20", "capture01")["code"] == "10000"
        assert alipay.call(CANCEL, out_trade_no="capture01")["action"] == "refund"
        order = alipay.house.order("hold0001")
        assert (order["status"], order["refunded_minor"]) == ("refunded", 120)

    def test_a_trade_that_is_none_has_none(self, alipay: AlipayClient) -> None:
        assert said(self.refund(alipay, "back0001", "0.50")) == ("40004", "ACQ.TRADE_NOT_EXIST")


class TestGateway:
    @pytest.mark.parametrize(
        "change",
        [
            {"sign": "AAAA"},
            {"sign": ""},
            {"biz_content": '{"out_trade_no":"x"}'},
            {"timestamp": "today"},
            {"sign_type": "RSA"},
            {"charset": "gbk"},
            {"notify_url": "http://elsewhere/"},
        ],
        ids=str,
    )
    def test_changed_parameters_are_refused(self, alipay: AlipayClient, change: dict[str, str]) -> None:
        biz = {"out_trade_no": "trade0001", "total_amount": "1.00", "auth_code": payment_code("alipay")}

        answer = alipay.post(alipay.fields(PAY, biz) | change)

        assert answer.json()["alipay_trade_pay_response"]["code"] == "40002"
        assert alipay.house.orders() == []

    @pytest.mark.parametrize(
        "biz",
        [
            {"total_amount": "1.00"},
            {"out_trade_no": "a b", "total_amount": "1.00"},
            {"out_trade_no": "x" * 65, "total_amount": "1.00"},
            {"out_trade_no": 7, "total_amount": "1.00"},
            {"out_trade_no": "trade0001", "total_amount": "0.00"},
            {"out_trade_no": "trade0001", "total_amount": "-1.00"},
            {"out_trade_no": "trade0001", "total_amount": "1.005"},
            {"out_trade_no": "trade0001", "total_amount": "1e2"},
            {"out_trade_no": "trade0001", "total_amount": True},
            {"out_trade_no": "trade0001", "total_amount": []},
            {"out_trade_no": "trade0001", "total_amount": "1.00", "auth_no": "x"},
        ],
        ids=str,
    )
    def test_malformed_content_is_refused(self, alipay: AlipayClient, biz: dict[str, Any]) -> None:
        assert said(alipay.call(PAY, **biz)) == ("40002", "isv.invalid-parameter")
        assert alipay.house.orders() == []

    @pytest.mark.parametrize(
        "change",
        [{"app_id": "nobody"}, {"app_id": "../../x"}, {"method": "alipay.trade.print"}, {"method": ""}],
        ids=str,
    )
    def test_strangers_and_unknown_methods_are_bad_requests(self, alipay: AlipayClient, change: dict[str, str]) -> None:
        assert alipay.post(alipay.fields(PAY, {}) | change).status_code == 400

    def test_content_that_is_no_object_is_refused(self, alipay: AlipayClient) -> None:
        for text in ("[]", "nothing", "null", '"x"'):
            answer = alipay.post(alipay.fields(PAY, {}, biz_content=text))
            assert answer.json()["alipay_trade_pay_response"]["sub_code"] == "isv.invalid-biz-content"


class TestBill:
    def test_has_gbk_names_without_the_flag_and_totals(self, alipay: AlipayClient) -> None:
        alipay.house.client.post("/clock", json={"now": "2026-03-01T12:00:00+08:00"})
        pay(alipay, "trade0001", "100.00")
        alipay.call(REFUND, out_trade_no="trade0001", refund_amount="40.00", out_request_no="back0001")

        url = alipay.call(BILL, bill_type="trade", bill_date="2026-03-01")["bill_download_url"]
        data = alipay.house.client.get(url).content

        assert data.count("业务明细".encode("gbk")) >= 2
        archive = zipfile.ZipFile(io.BytesIO(data))
        assert all(not info.flag_bits & 0x800 for info in archive.infolist())
        lines = archive.read(archive.infolist()[0]).decode("gbk").split("\r\n")
        assert [line[:1] for line in lines[:4]] == ["#"] * 4
        assert [len(line.split(",")) for line in lines[4:7]] == [25, 25, 25]
        payment, refund = lines[5].split(","), lines[6].split(",")
        assert (payment[1], payment[2], payment[11], payment[22]) == ("trade0001\t", "交易", "100.00", "-0.60")
        assert (refund[2], refund[11], refund[21], refund[22]) == ("退款", "-40.00", "back0001\t", "0.24")
        assert "#交易合计：1笔，商家实收共100.00元，商家优惠共0.00元" in lines

    @pytest.mark.parametrize("day", ["2026-02-30", "yesterday", "", "20260301"])
    def test_of_no_day_is_refused(self, alipay: AlipayClient, day: str) -> None:
        assert alipay.call(BILL, bill_type="trade", bill_date=day)["code"] == "40002"

    def test_is_not_found_without_its_token(self, alipay: AlipayClient) -> None:
        assert alipay.house.client.get("/alipay/bill?token=guess").status_code == 404
