"""UnionPay's acp as the merchant meets it."""

import base64
import io
import zipfile
import zlib
from urllib.parse import urlencode

import pytest

from firmware_sim.payment_codes import payment_code
from tests.unit.firmware_sim.sandbox_provider.rails import TIME, House, UnionPayClient


class TestTrans:
    @pytest.mark.parametrize("method", ["01", "12"], ids=["rsa", "sm3"])
    def test_an_order_is_taken_and_answered_by_the_same_method(self, unionpay: UnionPayClient, method: str) -> None:
        answer = unionpay.pay("order00001", 150, signMethod=method)

        assert (answer["respCode"], answer["signMethod"], answer["orderId"]) == ("00", method, "order00001")
        assert unionpay.query("order00001", signMethod=method)["origRespCode"] == "00"
        assert unionpay.house.order("order00001")["times_taken"] == 1

    def test_a_number_used_twice_is_a_duplicate(self, unionpay: UnionPayClient) -> None:
        first = unionpay.pay("order00001", 150)

        assert unionpay.pay("order00001", 150)["respCode"] == "12"
        assert unionpay.send("04", "order00001", 150, origQryId=first["queryId"])["respCode"] == "12"
        assert unionpay.house.order("order00001")["times_taken"] == 1

    def test_a_hold_is_completed_given_back_in_part_and_restored(self, unionpay: UnionPayClient) -> None:
        held = unionpay.pay("hold000001", 300, "02")
        completed = unionpay.send("03", "complete01", 120, origQryId=held["queryId"])

        assert unionpay.send("03", "complete02", 10, origQryId=held["queryId"])["respCode"] == "35"
        assert unionpay.send("04", "refund0001", 121, origQryId=completed["queryId"])["respCode"] == "33"
        assert unionpay.send("33", "undo000001", 120, origQryId=completed["queryId"])["respCode"] == "00"
        assert unionpay.house.order("hold000001")["status"] == "held"
        assert unionpay.send("04", "refund0002", 20, origQryId=completed["queryId"])["respCode"] == "35"
        assert unionpay.send("32", "release001", 300, origQryId=held["queryId"])["respCode"] == "00"
        assert unionpay.house.order("hold000001")["status"] == "voided"

    @pytest.mark.parametrize(
        ("kind", "amount", "code"),
        [
            ("32", 150, "35"),
            ("03", 150, "35"),
            ("31", 149, "36"),
            ("31", 150, "00"),
            ("04", 151, "33"),
            ("04", 9, "00"),
        ],
    )
    def test_a_step_must_fit_its_original(self, unionpay: UnionPayClient, kind: str, amount: int, code: str) -> None:
        paid = unionpay.pay("order00001", 150)

        assert unionpay.send(kind, "step000001", amount, origQryId=paid["queryId"])["respCode"] == code

    def test_a_void_happens_once(self, unionpay: UnionPayClient) -> None:
        paid = unionpay.pay("order00001", 150)
        unionpay.send("31", "void000001", 150, origQryId=paid["queryId"])

        assert unionpay.send("31", "void000002", 150, origQryId=paid["queryId"])["respCode"] == "35"
        assert unionpay.send("04", "refund0001", 1, origQryId=paid["queryId"])["respCode"] == "35"

    def test_a_completion_beyond_the_hold_is_refused(self, unionpay: UnionPayClient) -> None:
        held = unionpay.pay("hold000001", 300, "02")

        assert unionpay.send("03", "complete01", 301, origQryId=held["queryId"])["respCode"] == "33"

    @pytest.mark.parametrize(
        ("payer", "code"),
        [
            ({"qrNo": payment_code("unionpay")}, "00"),
            ({"qrNo": payment_code("wechat")}, "61"),
            ({"qrNo": "62"}, "61"),
            ({"accNo": "agr_9"}, "00"),
            ({}, "61"),
        ],
    )
    def test_the_payer_s_code_is_of_the_brand(self, unionpay: UnionPayClient, payer: dict[str, str], code: str) -> None:
        assert unionpay.send("01", "order00001", 5, **payer)["respCode"] == code

    def test_a_code_pays_once(self, unionpay: UnionPayClient) -> None:
        code = payment_code("unionpay")

        assert unionpay.send("01", "order00001", 5, qrNo=code)["respCode"] == "00"
        assert unionpay.send("01", "order00002", 5, qrNo=code)["respCode"] == "61"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"version": "5.0.0"}, "10"),
            ({"encoding": "GBK"}, "10"),
            ({"txnAmt": "1.50"}, "10"),
            ({"txnAmt": "0"}, "10"),
            ({"txnAmt": "-5"}, "10"),
            ({"txnAmt": ""}, "13"),
            ({"currencyCode": "840"}, "10"),
            ({"orderId": "short"}, "10"),
            ({"orderId": "order_0001"}, "10"),
            ({"txnTime": "20261322200000"}, "10"),
            ({"txnTime": "today"}, "10"),
            ({"txnType": "99"}, "10"),
            ({"txnType": "04"}, "13"),
            ({"backUrl": "ftp://x/"}, "10"),
            ({"certId": "1"}, "11"),
        ],
    )
    def test_a_malformed_message_is_refused(self, unionpay: UnionPayClient, change: dict[str, str], code: str) -> None:
        fields = unionpay.fields("01", "order00001", txnAmt="150", currencyCode="156", qrNo=payment_code("unionpay"))

        answer = unionpay.post("/gateway/api/backTransReq.do", unionpay.signed(fields | change))

        assert answer["respCode"] == code
        assert unionpay.house.orders() == []

    def test_a_changed_message_is_refused(self, unionpay: UnionPayClient) -> None:
        signed = unionpay.signed(unionpay.fields("01", "order00001", txnAmt="150", currencyCode="156", accNo="agr_1"))

        for change in ({"txnAmt": "151"}, {"signature": "AAAA"}, {"signature": "not base64!"}, {"signature": ""}):
            assert unionpay.post("/gateway/api/backTransReq.do", signed | change)["respCode"] == "11"
        assert unionpay.house.orders() == []

    @pytest.mark.parametrize(
        "body", [b"", b"\xff\xfe", b"{}", b"merId=1&merId=2", b"merId=..%2F..%2Fx&signMethod=01", b"a=" * 100]
    )
    def test_nonsense_is_a_bad_request(self, house: House, body: bytes) -> None:
        for path in ("/gateway/api/backTransReq.do", "/gateway/api/queryTrans.do", "/"):
            assert house.client.post(f"/unionpay{path}", content=body).status_code == 400

    def test_a_large_body_is_too_large(self, house: House) -> None:
        answer = house.client.post("/unionpay/gateway/api/backTransReq.do", content=urlencode({"a": "x" * 70_000}))

        assert answer.status_code == 413


class TestQuery:
    def test_an_unknown_order_is_not_there(self, unionpay: UnionPayClient) -> None:
        assert unionpay.query("order00001")["respCode"] == "34"

    def test_the_time_belongs_to_the_order(self, unionpay: UnionPayClient) -> None:
        unionpay.pay("order00001", 150)

        assert unionpay.query("order00001", txnTime="20261122200001")["respCode"] == "34"

    def test_tells_amount_and_settlement(self, unionpay: UnionPayClient) -> None:
        unionpay.pay("order00001", 150)

        answer = unionpay.query("order00001")

        assert (answer["respCode"], answer["origRespCode"], answer["txnAmt"], answer["currencyCode"]) == (
            "00", "00", "150", "156",
        )  # fmt: skip
        assert answer["txnTime"] == TIME

    def test_a_step_is_known_by_its_own_number(self, unionpay: UnionPayClient) -> None:
        paid = unionpay.pay("order00001", 150)
        unionpay.send("04", "refund0001", 50, origQryId=paid["queryId"])

        assert (unionpay.query("refund0001")["origRespCode"], unionpay.query("refund0001")["txnAmt"]) == ("00", "50")


class TestScripts:
    def test_a_decline_stays_one(self, unionpay: UnionPayClient) -> None:
        unionpay.house.script("order_00001", "decline", reason="limit")

        assert unionpay.pay("order00001", 150)["respCode"] == "33"
        assert unionpay.query("order00001")["origRespCode"] == "33"
        assert unionpay.house.order("order00001")["times_taken"] == 0

    def test_a_waiting_payment_is_paid_by_and_by(self, unionpay: UnionPayClient) -> None:
        unionpay.house.script("next", "waiting", seconds=30)

        assert unionpay.pay("order00001", 150)["respCode"] == "05"
        assert unionpay.query("order00001")["origRespCode"] == "05"
        unionpay.house.pass_time(31)
        unionpay.house.wait_for("order00001", "charged")
        assert unionpay.query("order00001")["origRespCode"] == "00"

    def test_a_canceled_payment_may_succeed_late(self, unionpay: UnionPayClient) -> None:
        unionpay.house.script("next", "success_after_cancel", seconds=30)
        waiting = unionpay.pay("hold000001", 300, "02")

        assert unionpay.send("32", "release001", 300, origQryId=waiting["queryId"])["respCode"] == "00"
        assert unionpay.query("hold000001")["origRespCode"] == "30"
        unionpay.house.pass_time(31)
        assert unionpay.house.wait_for("hold000001", "held")["times_taken"] == 1
        assert unionpay.query("hold000001")["origRespCode"] == "00"

    def test_twice_is_once(self, unionpay: UnionPayClient) -> None:
        unionpay.house.script("next", "duplicate")

        assert unionpay.pay("order00001", 150)["respCode"] == "12"
        assert unionpay.house.order("order00001")["times_taken"] == 1

    def test_lost_requests_and_answers_differ(self, unionpay: UnionPayClient) -> None:
        unionpay.house.script("lost00001", "timeout_before", seconds=0)
        unionpay.house.script("lost00002", "timeout_after", seconds=0)
        fields = unionpay.fields("01", "lost00001", txnAmt="150", currencyCode="156", accNo="agr_1")

        answer = unionpay.house.client.post(
            "/unionpay/gateway/api/backTransReq.do", content=urlencode(unionpay.signed(fields))
        )
        unionpay.pay("lost00002", 150)

        assert answer.status_code == 504
        assert [order["order_no"] for order in unionpay.house.orders()] == ["lost00002"]


class TestFile:
    def _file(self, unionpay: UnionPayClient, day: str) -> dict[str, bytes]:
        fields = unionpay.fields("76", "", settleDate=day, fileType="00", txnSubType="01")
        answer = unionpay.post("/", unionpay.signed(fields))
        assert answer["respCode"] == "00", answer
        archive = zipfile.ZipFile(io.BytesIO(zlib.decompress(base64.b64decode(answer["fileContent"]))))
        return {info.filename: archive.read(info) for info in archive.infolist()}

    def test_lines_are_as_wide_as_specified(self, unionpay: UnionPayClient) -> None:
        unionpay.house.client.post("/clock", json={"now": "2026-03-01T12:00:00+08:00"})
        paid = unionpay.pay("order00001", 150)
        unionpay.send("04", "refund0001", 50, origQryId=paid["queryId"])
        unionpay.house.client.post("/adjustment", json={"order_no": "order00001", "amount_minor": -7})

        files = self._file(unionpay, "0301")

        mer_id = unionpay.values["mer_id"]
        assert sorted(files) == [f"INN26030188ZME_{mer_id}", f"INN26030188ZM_{mer_id}"]
        payments = files[f"INN26030188ZM_{mer_id}"].split(b"\r\n")
        assert [len(line) for line in payments] == [607, 607, 0]
        assert payments[0][:3] == b"S22"
        assert payments[1][:3] == b"S30"
        assert [len(line) for line in files[f"INN26030188ZME_{mer_id}"].split(b"\r\n")] == [339, 0]

    def test_another_day_is_empty(self, unionpay: UnionPayClient) -> None:
        unionpay.pay("order00001", 150)

        assert set(self._file(unionpay, "0229").values()) == {b""}

    @pytest.mark.parametrize("day", ["0230", "1301", "13", "abcd", ""])
    def test_a_day_that_is_none_is_refused(self, unionpay: UnionPayClient, day: str) -> None:
        fields = unionpay.fields("76", "", settleDate=day, fileType="00")

        assert unionpay.post("/", unionpay.signed(fields))["respCode"] in ("10", "13")
