"""WeChat Pay's words: what is said, signed by whom and when, and what it means."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backend.payments.port import NOT_FOUND, Answer, Declined, NotificationRefused, Payer, Succeeded, Unknown
from backend.payments.rails.wechat_signing import opened
from tests.unit.backend.payments.rails.brands import wechat_transaction
from tests.unit.backend.payments.rails.parties import (
    APIV3_KEY,
    CODES,
    HOLD,
    MCH_ID,
    NOW,
    ORDER,
    PUBLIC_URL,
    TENANT,
    WX_APP_ID,
    World,
    certificate,
    is_signed,
    one_bit_wrong,
    step,
    wechat_headers,
    wechat_message,
)

LATER = NOW + timedelta(seconds=30)
REVERSED = json.dumps({"mchid": MCH_ID, "out_trade_no": "auth0000000001"}).encode()


def refused(code: str) -> bytes:
    """Return a refusal."""
    return json.dumps({"code": code, "message": "no"}).encode()


def world(tmp_path: Path, *answers: tuple[int, bytes]) -> World:
    """Return a WeChat that gives these answers, one after the other, the last one again and again."""
    there = World(tmp_path, "wechat", lambda _: (500, {}, b""))

    def answer(_: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
        status, body = answers[min(len(there.asked), len(answers)) - 1]
        return status, wechat_headers(body, at=there.now), body

    there.answer = answer
    return there


class TestOpened:
    def test_fits_the_published_vector_of_the_cipher(self) -> None:
        # The GCM specification's test case 16: AES-256 with a nonce of 96 bits and associated data.
        key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
        text = bytes.fromhex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        )
        sealed = bytes.fromhex(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            "76fc6ece0f4e1768cddf8853bb2d551b"
        )
        nonce = bytes.fromhex("cafebabefacedbaddecaf888")

        assert AESGCM(key).decrypt(nonce, sealed, bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")) == text

    @pytest.mark.parametrize(
        "change",
        [
            {"algorithm": "AEAD_SM4_GCM"},
            {"nonce": "short"},
            {"nonce": "nonce0000013"},
            {"nonce": 12},
            {"associated_data": "refund"},
            {"associated_data": 1},
            {"ciphertext": ""},
            {"ciphertext": "!"},
            {"ciphertext": "AAAA"},
            {"ciphertext": None},
        ],
    )
    def test_refuses_what_was_not_sealed_so(self, change: dict[str, Any]) -> None:
        good = json.loads(wechat_message({"a": 1}))["resource"]

        assert opened(APIV3_KEY, good) == {"a": 1}
        assert opened(APIV3_KEY, good | change) is None
        assert opened(APIV3_KEY[::-1], good) is None

    @pytest.mark.parametrize("at", range(0, 200, 7))
    def test_refuses_one_wrong_bit(self, at: int) -> None:
        good = json.loads(wechat_message({"a": 1}))["resource"]
        sealed = one_bit_wrong(base64.b64decode(good["ciphertext"]), at)

        assert opened(APIV3_KEY, good | {"ciphertext": base64.b64encode(sealed).decode()}) is None

    @pytest.mark.parametrize("resource", [None, [], "text", {}, {"algorithm": "AEAD_AES_256_GCM"}])
    def test_refuses_what_is_no_resource(self, resource: object) -> None:
        assert opened(APIV3_KEY, resource) is None


class TestRequests:
    def test_are_signed_with_time_and_serial(self, tmp_path: Path) -> None:
        there = world(tmp_path, (200, wechat_transaction()))

        there.provider.charge(ORDER, Payer(code=CODES["wechat"]))
        there.provider.query(ORDER)

        charge, query = there.asked
        assert query.url.raw_path == f"/base/v3/pay/transactions/out-trade-no/auth0000000001?mchid={MCH_ID}".encode()
        for request in there.asked:
            schema, _, rest = request.headers["authorization"].partition(" ")
            named = dict(re.findall(r'(\w+)="([^"]*)"', rest))
            assert (schema, named["mchid"]) == ("WECHATPAY2-SHA256-RSA2048", MCH_ID)
            assert int(named["serial_no"], 16) == certificate("merchant").serial_number
            assert named["timestamp"] == str(int(NOW.timestamp()))
            lines = (request.method, request.url.raw_path.decode(), named["timestamp"], named["nonce_str"])
            text = "".join(f"{line}\n" for line in lines).encode() + request.content + b"\n"
            is_signed("merchant", text, named["signature"])
        body = json.loads(charge.content)
        assert (body["appid"], body["payer"], body["amount"]) == (
            WX_APP_ID,
            {"auth_code": CODES["wechat"]},
            {"total": 300, "currency": "CNY"},
        )
        assert body["notify_url"] == f"{PUBLIC_URL}/notify/wechat/{TENANT}"


class TestAnswers:
    @pytest.mark.parametrize(
        ("change", "at"),
        [
            ({"serial": "5157F09EFDC096DE15EBE81A47057A7232F1B8E2"}, timedelta()),
            ({"serial": ""}, timedelta()),
            ({"signature": ""}, timedelta()),
            ({"nonce": "abc124"}, timedelta()),
            ({"timestamp": "now"}, timedelta()),
            ({"signature-type": "WECHATPAY2-SM2-WITH-SM3"}, timedelta()),
            ({}, timedelta(minutes=5, seconds=1)),
            ({}, -timedelta(minutes=5, seconds=1)),
        ],
    )
    def test_of_another_serial_or_time_are_unknown(self, tmp_path: Path, change: dict[str, str], at: timedelta) -> None:
        body = wechat_transaction()
        there = World(tmp_path, "wechat", lambda _: (200, wechat_headers(body, at=NOW + at, **change), body))

        assert there.provider.query(ORDER) == Unknown("unsigned_answer")
        with pytest.raises(NotificationRefused, match=r"unsigned|wrong_serial|stale|forged"):
            there.provider.read_notification(TENANT, wechat_headers(body, at=NOW + at, **change), body)

    @pytest.mark.parametrize("at", [timedelta(minutes=5), -timedelta(minutes=5)])
    def test_within_five_minutes_are_believed(self, tmp_path: Path, at: timedelta) -> None:
        body = wechat_transaction()
        there = World(tmp_path, "wechat", lambda _: (200, wechat_headers(body, at=NOW + at), body))

        assert there.provider.query(ORDER) == Succeeded("charged", 300, "ref-1")


class TestCharges:
    @pytest.mark.parametrize(
        ("status", "body", "asked", "answer"),
        [
            (200, wechat_transaction(), (500, b"{}"), Succeeded("charged", 300, "ref-1")),
            (202, refused("USERPAYING"), (500, b"{}"), Unknown("waiting")),
            (200, wechat_transaction(trade_state="USERPAYING"), (500, b"{}"), Unknown("waiting")),
            (500, refused("SYSTEM_ERROR"), (200, wechat_transaction()), Succeeded("charged", 300, "ref-1")),
            (400, refused("ORDER_PAID"), (200, wechat_transaction()), Succeeded("charged", 300, "ref-1")),
            (500, refused("SYSTEM_ERROR"), (404, refused("ORDER_NOT_EXIST")), Unknown("wechat_system_error")),
            (403, refused("NOT_ENOUGH"), (500, b"{}"), Declined("insufficient_funds")),
            (400, refused("AUTH_CODE_EXPIRED"), (500, b"{}"), Declined("code_expired")),
            (400, refused("PARAM_ERROR"), (500, b"{}"), Declined("wechat_param_error")),
            (404, refused("ORDER_NOT_EXIST"), (500, b"{}"), Unknown(NOT_FOUND)),
            (400, b"{}", (500, b"{}"), Unknown("http_400")),
            (200, b"[]", (500, b"{}"), Unknown("malformed_answer")),
            (200, wechat_transaction(mchid="1600000002"), (500, b"{}"), Unknown("another_merchant")),
            (200, wechat_transaction(appid="wx9"), (500, b"{}"), Unknown("another_merchant")),
            (200, wechat_transaction(out_trade_no="x"), (500, b"{}"), Unknown("another_order")),
            (200, wechat_transaction(amount={"total": 301}), (500, b"{}"), Unknown("amount_differs")),
            (200, wechat_transaction(amount={"total": 300.0}), (500, b"{}"), Unknown("amount_differs")),
            (200, wechat_transaction(amount={"total": True}), (500, b"{}"), Unknown("amount_differs")),
            (
                200,
                wechat_transaction(amount={"total": 300, "currency": "USD"}),
                (500, b"{}"),
                Unknown("currency_differs"),
            ),
        ],
    )
    def test_mean_what_is_said(
        self, tmp_path: Path, status: int, body: bytes, asked: tuple[int, bytes], answer: Answer
    ) -> None:
        there = world(tmp_path, (status, body), asked)

        assert there.provider.charge(ORDER, Payer(code=CODES["wechat"])) == answer

    @pytest.mark.parametrize(
        ("status", "body", "answer"),
        [
            (200, wechat_transaction(), Succeeded("charged", 300, "ref-1")),
            (200, wechat_transaction(trade_state="REFUND"), Succeeded("refunded", 300, "ref-1")),
            (200, wechat_transaction(trade_state="REVOKED"), Succeeded("voided", 300, "ref-1")),
            (200, wechat_transaction(trade_state="REVOKED", transaction_id=""), Declined("wechat_revoked")),
            (200, wechat_transaction(trade_state="CLOSED"), Declined("wechat_closed")),
            (200, wechat_transaction(trade_state="PAYERROR"), Declined("wechat_payerror")),
            (200, wechat_transaction(trade_state="NOTPAY"), Unknown("waiting")),
            (200, wechat_transaction(trade_state=7), Unknown("waiting")),
            (404, refused("ORDER_NOT_EXIST"), Declined(NOT_FOUND)),
            (429, refused("FREQUENCY_LIMITED"), Unknown("wechat_frequency_limited")),
        ],
    )
    def test_are_asked_about(self, tmp_path: Path, status: int, body: bytes, answer: Answer) -> None:
        assert world(tmp_path, (status, body)).provider.query(ORDER) == answer

    def test_need_a_code_and_hold_nothing(self, tmp_path: Path) -> None:
        there = world(tmp_path, (200, wechat_transaction()))

        assert there.provider.charge(ORDER, Payer(agreement="agr_1")) == Declined("code_needed")
        assert there.provider.authorize(HOLD, Payer(code=CODES["wechat"])) == Declined("hold_not_offered")
        assert there.provider.capture(HOLD, step("capture")) == Declined("hold_not_offered")
        assert there.asked == []


class TestReverse:
    @pytest.mark.parametrize("seconds", [0, 14, 15, 19])
    def test_is_not_asked_for_too_early(self, tmp_path: Path, seconds: int) -> None:
        there = world(tmp_path, (200, REVERSED))
        there.now = NOW + timedelta(seconds=seconds)

        assert there.provider.void(ORDER, step("void")) == Unknown("too_early")
        assert there.asked == []

    @pytest.mark.parametrize(
        ("after", "answers", "answer"),
        [
            (
                30,
                [(200, REVERSED), (200, wechat_transaction(trade_state="REVOKED"))],
                Succeeded("voided", 300, "ref-1"),
            ),
            (30, [(200, REVERSED), (200, wechat_transaction(trade_state="REFUND"))], Succeeded("voided", 300, "ref-1")),
            (30, [(200, REVERSED), (200, wechat_transaction(trade_state="CLOSED"))], Succeeded("absent", 0)),
            (30, [(200, REVERSED), (404, refused("ORDER_NOT_EXIST"))], Succeeded("absent", 0)),
            (30, [(200, REVERSED), (500, refused("SYSTEM_ERROR"))], Unknown("wechat_system_error")),
            (30, [(200, REVERSED), (200, wechat_transaction())], Unknown("reversing")),
            (30, [(200, REVERSED), (200, wechat_transaction(trade_state="USERPAYING"))], Unknown("reversing")),
            (30, [(200, REVERSED.replace(b"0001", b"0002"))], Unknown("another_order")),
            (30, [(404, refused("ORDER_NOT_EXIST"))], Succeeded("absent", 0)),
            (30, [(400, refused("INVALID_REQUEST"))], Unknown("too_early")),
            (121, [(400, refused("INVALID_REQUEST"))], Declined("wechat_invalid_request")),
            (30, [(500, refused("SYSTEM_ERROR"))], Unknown("wechat_system_error")),
        ],
    )
    def test_tells_whether_anything_had_been_paid(
        self, tmp_path: Path, after: int, answers: list[tuple[int, bytes]], answer: Answer
    ) -> None:
        there = world(tmp_path, *answers)
        there.now = NOW + timedelta(seconds=after)

        assert there.provider.void(ORDER, step("void")) == answer

    @pytest.mark.parametrize(
        ("status", "body", "answer"),
        [
            (200, wechat_transaction(), Declined(NOT_FOUND)),
            (200, wechat_transaction(trade_state="REVOKED"), Succeeded("voided", 300, "ref-1")),
            (200, wechat_transaction(trade_state="CLOSED"), Succeeded("absent", 0)),
            (404, refused("ORDER_NOT_EXIST"), Declined(NOT_FOUND)),
            (200, wechat_transaction(trade_state="USERPAYING"), Declined(NOT_FOUND)),
            (500, refused("SYSTEM_ERROR"), Unknown("wechat_system_error")),
        ],
    )
    def test_is_asked_about(self, tmp_path: Path, status: int, body: bytes, answer: Answer) -> None:
        assert world(tmp_path, (status, body)).provider.query_step(ORDER, step("void")) == answer

    def test_gives_way_to_a_refund_after_a_week(self, tmp_path: Path) -> None:
        amount = {"refund": 300, "total": 300, "currency": "CNY"}
        told = {"out_refund_no": "opvoid00000001", "out_trade_no": "auth0000000001", "refund_id": "r", "amount": amount}
        there = world(tmp_path, (200, json.dumps(told | {"status": "SUCCESS"}).encode()))
        there.now = NOW + timedelta(days=8)

        assert there.provider.void(ORDER, step("void", after=timedelta(days=8))) == Succeeded("voided", 300, "r")
        assert there.asked[0].url.path == "/base/v3/refund/domestic/refunds"


class TestRefunds:
    GOOD: Mapping[str, Any] = {
        "out_refund_no": "oprefund00000001",
        "out_trade_no": "auth0000000001",
        "refund_id": "r",
        "status": "SUCCESS",
        "amount": {"refund": 100, "total": 300, "currency": "CNY"},
    }

    @pytest.mark.parametrize(
        ("change", "answer"),
        [
            ({}, Succeeded("refunded", 100, "r")),
            ({"status": "PROCESSING"}, Unknown("waiting")),
            ({"status": "CLOSED"}, Declined("wechat_refund_closed")),
            ({"status": "ABNORMAL"}, Declined("wechat_refund_abnormal")),
            ({"amount": {"refund": 101, "total": 300}}, Unknown("amount_differs")),
            ({"amount": {"refund": 100, "total": 301}}, Unknown("amount_differs")),
            ({"amount": {"refund": 100, "total": 300, "currency": "HKD"}}, Unknown("currency_differs")),
            ({"out_refund_no": "x"}, Unknown("another_order")),
            ({"out_trade_no": "x"}, Unknown("another_order")),
        ],
    )
    def test_mean_what_is_said(self, tmp_path: Path, change: dict[str, Any], answer: Answer) -> None:
        there = world(tmp_path, (200, json.dumps({**self.GOOD, **change}).encode()))

        assert there.provider.refund(ORDER, step("refund", 100)) == answer
        assert there.provider.query_step(ORDER, step("refund", 100)) == answer
        assert there.asked[1].url.path == "/base/v3/refund/domestic/refunds/oprefund00000001"

    def test_that_are_not_there_are_not_found(self, tmp_path: Path) -> None:
        there = world(tmp_path, (404, refused("RESOURCE_NOT_EXISTS")))

        assert there.provider.query_step(ORDER, step("refund", 100)) == Declined(NOT_FOUND)


class TestNotifications:
    PAID: Mapping[str, Any] = json.loads(wechat_transaction())
    REFUNDED: Mapping[str, Any] = {
        "mchid": MCH_ID,
        "out_trade_no": "n1",
        "out_refund_no": "r1",
        "refund_id": "r",
        "refund_status": "SUCCESS",
        "amount": {"total": 300, "refund": 100},
    }

    def read(self, tmp_path: Path, content: Mapping[str, Any]) -> Any:
        """Return what a sealed and signed content says."""
        body = wechat_message(content)
        return world(tmp_path, (200, b"{}")).provider.read_notification(TENANT, wechat_headers(body), body)

    @pytest.mark.parametrize(
        ("base", "change", "numbers", "answer"),
        [
            (PAID, {}, ("auth0000000001", ""), Succeeded("charged", 300, "ref-1")),
            (PAID, {"trade_state": "PAYERROR"}, ("auth0000000001", ""), Declined("wechat_payerror")),
            (PAID, {"trade_state": "USERPAYING"}, ("auth0000000001", ""), Unknown("waiting")),
            (REFUNDED, {}, ("n1", "r1"), Succeeded("refunded", 100, "r")),
            (REFUNDED, {"refund_status": "ABNORMAL"}, ("n1", "r1"), Declined("wechat_refund_abnormal")),
        ],
    )
    def test_say_what_became_of_what(
        self, tmp_path: Path, base: Mapping[str, Any], change: dict[str, Any], numbers: tuple[str, str], answer: Answer
    ) -> None:
        found = self.read(tmp_path, {**base, **change})

        assert (found.notify_id, found.order_no, found.operation_no, found.answer) == ("EV-1", *numbers, answer)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"mchid": "1600000002"}, "another_merchant"),
            ({"appid": "wx9"}, "another_merchant"),
            ({"amount": {"total": 300, "currency": "USD"}}, "currency_differs"),
            ({"amount": {"total": "300"}}, "malformed"),
            ({"amount": {"total": -300}}, "malformed"),
            ({"amount": None}, "malformed"),
            ({"out_trade_no": ""}, "malformed"),
            ({"trade_state": "RICH"}, "malformed"),
        ],
    )
    def test_about_something_else_are_refused(self, tmp_path: Path, change: dict[str, Any], reason: str) -> None:
        with pytest.raises(NotificationRefused, match=reason):
            self.read(tmp_path, {**self.PAID, **change})

    def test_sealed_with_another_key_are_refused(self, tmp_path: Path) -> None:
        body = wechat_message(self.PAID, apiv3_key=b"x" * 32)

        with pytest.raises(NotificationRefused, match="malformed"):
            world(tmp_path, (200, b"{}")).provider.read_notification(TENANT, wechat_headers(body), body)


class TestStatement:
    CONTENT = "\ufeff交易时间,公众账号ID\r\n".encode()

    @pytest.mark.parametrize(
        ("packed", "hash_of", "url", "found"),
        [
            (gzip.compress(CONTENT, mtime=0), CONTENT, "http://wechat.example/x?token=1", True),
            (gzip.compress(CONTENT, mtime=0), CONTENT + b"x", "http://wechat.example/x?token=1", False),
            (gzip.compress(CONTENT, mtime=0)[:-9], CONTENT, "http://wechat.example/x?token=1", False),
            (CONTENT, CONTENT, "http://wechat.example/x?token=1", False),
            (gzip.compress(CONTENT, mtime=0), CONTENT, "http://elsewhere.example/x?token=1", False),
            (gzip.compress(CONTENT, mtime=0), CONTENT, "http://[", False),
        ],
    )
    def test_is_unpacked_and_equal_to_its_hash(
        self, tmp_path: Path, packed: bytes, hash_of: bytes, url: str, found: bool
    ) -> None:
        hash_value = hashlib.sha1(hash_of, usedforsecurity=False).hexdigest()
        told = json.dumps({"hash_type": "SHA1", "hash_value": hash_value, "download_url": url}).encode()
        there = world(tmp_path, (200, told), (200, packed))

        file = there.provider.statement(TENANT, date(2026, 2, 28))

        assert file == ((f"{MCH_ID}All2026-02-28.csv", self.CONTENT) if found else None)
        assert there.asked[0].url.query == b"bill_date=2026-02-28&tar_type=GZIP"

    @pytest.mark.parametrize("code", ["NO_STATEMENT_EXIST", "SYSTEM_ERROR"])
    def test_that_is_not_there_is_nothing(self, tmp_path: Path, code: str) -> None:
        assert world(tmp_path, (400, refused(code))).provider.statement(TENANT, date(2026, 2, 28)) is None
