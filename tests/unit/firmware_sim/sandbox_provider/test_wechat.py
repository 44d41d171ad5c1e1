"""WeChat Pay's APIv3 as the merchant meets it."""

import gzip
import hashlib
import json
import time
from typing import Any

import pytest

from firmware_sim.payment_codes import payment_code
from firmware_sim.sandbox_provider.wechat_files import HEADER, SUMMARY
from tests.unit.firmware_sim.sandbox_provider.rails import WeChatClient


def pay(wechat: WeChatClient, number: str = "order001", total: int = 150) -> dict[str, Any]:
    """Pay an order and return the transaction."""
    status, told = wechat.pay(number, total, payment_code("wechat"))
    assert status == 200, told
    return told


class TestPay:
    def test_an_order_is_taken_once(self, wechat: WeChatClient) -> None:
        told = pay(wechat)

        assert (told["trade_state"], told["amount"]["total"]) == ("SUCCESS", 150)
        assert wechat.pay("order001", 150, payment_code("wechat"))[1]["code"] == "ORDER_PAID"
        assert wechat.pay("order001", 151, payment_code("wechat"))[1]["code"] == "OUT_TRADE_NO_USED"
        assert wechat.query("order001") == (200, told)
        assert wechat.house.order("order001")["times_taken"] == 1

    @pytest.mark.parametrize("code", ["287894213623618861", "agr_1", "", "13" + "0" * 15])
    def test_a_code_of_another_brand_is_refused(self, wechat: WeChatClient, code: str) -> None:
        assert wechat.pay("order001", 150, code)[1]["code"] == "AUTH_CODE_INVALID"

    def test_a_waiting_payment_is_paid_by_and_by(self, wechat: WeChatClient) -> None:
        wechat.house.script("next", "waiting", seconds=30)

        assert wechat.pay("order001", 150, payment_code("wechat"))[1]["code"] == "USERPAYING"
        assert wechat.query("order001")[1]["trade_state"] == "USERPAYING"
        wechat.house.pass_time(31)
        wechat.house.wait_for("order001", "charged")
        assert wechat.query("order001")[1]["trade_state"] == "SUCCESS"

    def test_a_decline_has_a_reason(self, wechat: WeChatClient) -> None:
        wechat.house.script("next", "decline")

        assert wechat.pay("order001", 150, payment_code("wechat")) == (
            403, {"code": "NOT_ENOUGH", "message": "NOT_ENOUGH"},
        )  # fmt: skip
        assert wechat.query("order001")[1]["trade_state"] == "PAYERROR"

    @pytest.mark.parametrize(
        "change",
        [
            {"appid": "wx"},
            {"mchid": "1"},
            {"out_trade_no": "short"},
            {"out_trade_no": "x" * 33},
            {"out_trade_no": 5},
            {"description": ""},
            {"amount": {"total": 0}},
            {"amount": {"total": -1}},
            {"amount": {"total": 1.5}},
            {"amount": {"total": True}},
            {"amount": {"total": 5, "currency": "USD"}},
            {"amount": 5},
            {"payer": []},
            {"payer": {"auth_code": 5}},
            {"notify_url": "ftp://x"},
            {"notify_url": 5},
        ],
        ids=str,
    )
    def test_a_malformed_order_is_refused(self, wechat: WeChatClient, change: dict[str, Any]) -> None:
        status, told = wechat.pay("order001", 150, payment_code("wechat"), **change)

        assert (status, told["code"]) == (400, "PARAM_ERROR")
        assert wechat.house.orders() == []


class TestSignature:
    @pytest.mark.parametrize("seconds", [-400, 400])
    def test_stale_requests_are_refused(self, wechat: WeChatClient, seconds: int) -> None:
        path, body = "/wechat/v3/pay/transactions/codepay", b"{}"
        header = wechat.authorization("POST", path, body, at_s=int(time.time()) + seconds)

        assert wechat.raw("POST", path, body, header=header).status_code == 401

    def test_a_signature_is_good_for_its_request_only(self, wechat: WeChatClient) -> None:
        path = "/wechat/v3/pay/transactions/codepay"
        body = json.dumps(wechat.order("order001", 150, payment_code("wechat"))).encode()
        good = wechat.authorization("POST", path, body)

        for header in ("", "Basic x", "WECHATPAY2-SHA256-RSA2048 ", good.replace("serial_no", "serial"), good[:-30]):
            assert wechat.raw("POST", path, body, header=header or "-").status_code == 401
        assert wechat.raw("POST", path, body + b" ", header=good).status_code == 401
        assert wechat.raw("POST", "/wechat/v3/refund/domestic/refunds", body, header=good).status_code == 401
        assert wechat.house.orders() == []
        assert wechat.raw("POST", path, body, header=good).status_code == 200

    def test_the_mount_point_may_be_left_out(self, wechat: WeChatClient) -> None:
        path = f"/v3/pay/transactions/out-trade-no/order001?mchid={wechat.values['mch_id']}"

        answer = wechat.raw("GET", path, header=wechat.authorization("GET", path, b""))

        assert (answer.status_code, answer.json()["code"]) == (404, "ORDER_NOT_EXIST")

    @pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"nothing"])
    def test_nonsense_is_a_bad_request(self, wechat: WeChatClient, body: bytes) -> None:
        assert wechat.raw("POST", "/v3/pay/transactions/codepay", body).status_code == 400


class TestReverse:
    def test_gives_back_what_was_paid(self, wechat: WeChatClient) -> None:
        pay(wechat)

        assert wechat.reverse("order001")[0] == 200
        assert wechat.reverse("order001")[0] == 200
        assert wechat.query("order001")[1]["trade_state"] == "REVOKED"
        assert wechat.refund("order001", "refund01", 10, 150)[1]["code"] == "TRADE_ERROR"

    def test_closes_a_number_nobody_knows(self, wechat: WeChatClient) -> None:
        assert wechat.reverse("order001")[0] == 200

        assert wechat.pay("order001", 150, payment_code("wechat"))[1]["code"] == "ORDER_REVERSED"
        assert wechat.query("order001")[0] == 404

    def test_may_be_overtaken_by_the_payer(self, wechat: WeChatClient) -> None:
        wechat.house.script("next", "success_after_cancel", seconds=30)
        wechat.pay("order001", 150, payment_code("wechat"))

        assert wechat.reverse("order001")[0] == 200
        assert wechat.query("order001")[1]["trade_state"] == "REVOKED"
        wechat.house.pass_time(31)
        assert wechat.house.wait_for("order001", "charged")["times_taken"] == 1
        assert wechat.reverse("order001")[0] == 200
        assert wechat.query("order001")[1]["trade_state"] == "REVOKED"

    def test_is_refused_after_a_week(self, wechat: WeChatClient) -> None:
        wechat.house.client.post("/clock", json={"now": "2026-01-01T00:00:00+08:00"})
        clock_ms = wechat.house.client.post("/clock", json={"now": "2026-01-01T00:00:00+08:00"})
        assert clock_ms.status_code == 200
        wechat.house.client.post("/clock", json={"now": _now_iso(-8 * 86_400)})
        path, body = "/wechat/v3/pay/transactions/codepay", wechat.order("order001", 150, payment_code("wechat"))
        raw = json.dumps(body).encode()
        header = wechat.authorization("POST", path, raw, at_s=int(time.time()) - 8 * 86_400)
        assert wechat.raw("POST", path, raw, header=header).status_code == 200
        wechat.house.client.post("/clock", json={"now": _now_iso(0)})

        assert wechat.reverse("order001") == (400, {"code": "REVERSE_EXPIRE", "message": "REVERSE_EXPIRE"})


def _now_iso(ahead_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + ahead_s))


class TestRefund:
    def test_parts_add_up_to_the_order_and_no_further(self, wechat: WeChatClient) -> None:
        pay(wechat)

        assert wechat.refund("order001", "refund01", 50, 150)[1]["status"] == "SUCCESS"
        assert wechat.query("order001")[1]["trade_state"] == "REFUND"
        assert wechat.refund("order001", "refund02", 101, 150)[0] == 403
        assert wechat.refund("order001", "refund03", 100, 150)[1]["status"] == "SUCCESS"
        assert wechat.house.order("order001")["status"] == "refunded"

    def test_is_repeatable_with_the_same_amount(self, wechat: WeChatClient) -> None:
        pay(wechat)
        first = wechat.refund("order001", "refund01", 50, 150)

        assert wechat.refund("order001", "refund01", 50, 150) == first
        assert wechat.refund("order001", "refund01", 51, 150)[1]["code"] == "INVALID_REQUEST"
        assert wechat.house.order("order001")["refunded_minor"] == 50

    def test_names_the_order_s_total(self, wechat: WeChatClient) -> None:
        pay(wechat)

        assert wechat.refund("order001", "refund01", 50, 151)[1]["code"] == "INVALID_REQUEST"
        assert wechat.refund("order002", "refund01", 50, 150)[0] == 404

    def test_may_take_its_time_and_fail(self, wechat: WeChatClient) -> None:
        pay(wechat)
        wechat.house.script("refund01", "waiting", seconds=30, reason="limit")
        assert wechat.refund("order001", "refund01", 50, 150)[1]["status"] == "PROCESSING"

        wechat.house.pass_time(31)
        told = wechat.call("GET", "/v3/refund/domestic/refunds/refund01")[1]

        assert told["status"] == "CLOSED"
        assert wechat.house.order("order001")["refunded_minor"] == 0

    def test_of_an_unknown_number_is_not_found(self, wechat: WeChatClient) -> None:
        assert wechat.call("GET", "/v3/refund/domestic/refunds/refund01")[0] == 404


class TestBill:
    def _bill(self, wechat: WeChatClient, day: str) -> bytes:
        status, told = wechat.call("GET", f"/v3/bill/tradebill?bill_date={day}&tar_type=GZIP")
        assert (status, told["hash_type"]) == (200, "SHA1")
        url = told["download_url"].removeprefix("http://testserver")
        content = gzip.decompress(wechat.raw("GET", url).content)
        assert hashlib.sha1(content, usedforsecurity=False).hexdigest() == told["hash_value"]
        return content

    def test_has_back_ticks_five_decimals_and_totals(self, wechat: WeChatClient) -> None:
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
        pay(wechat, total=123)
        wechat.refund("order001", "refund01", 23, 123)

        content = self._bill(wechat, day)

        assert content.startswith(b"\xef\xbb\xbf")
        lines = content.decode("utf-8-sig").split("\r\n")
        assert (lines[0], lines[3], lines[5]) == (HEADER, SUMMARY, "")
        assert len(HEADER.split(",")) == 27
        rows = [line.split(",") for line in lines[1:3]]
        assert all(cell.startswith("`") for row in rows for cell in row)
        assert [(row[6], row[9], row[12], row[16], row[22]) for row in rows] == [
            ("`order001", "`SUCCESS", "`1.23", "`0.00", "`0.00738"),
            ("`order001", "`REFUND", "`0.00", "`0.23", "`-0.00138"),
        ]
        assert lines[4] == "`2,`1.23,`0.23,`0.00,`0.00600,`1.23,`0.23"

    def test_of_an_empty_day_has_totals_of_nothing(self, wechat: WeChatClient) -> None:
        lines = self._bill(wechat, "2026-01-01").decode("utf-8-sig").split("\r\n")

        assert lines == [HEADER, SUMMARY, "`0,`0.00,`0.00,`0.00,`0.00000,`0.00,`0.00", ""]

    @pytest.mark.parametrize(
        "query", ["bill_date=2026-02-30", "bill_date=", "tar_type=GZIP", "bill_date=2026-01-01&tar_type=ZIP"]
    )
    def test_of_no_day_is_refused(self, wechat: WeChatClient, query: str) -> None:
        assert wechat.call("GET", f"/v3/bill/tradebill?{query}")[0] == 400

    def test_is_not_found_without_its_token(self, wechat: WeChatClient) -> None:
        assert wechat.raw("GET", "/v3/billdownload/file?token=guess").status_code == 404
