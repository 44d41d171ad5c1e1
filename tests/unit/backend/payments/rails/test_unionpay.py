"""UnionPay's words: what is said, signed by whom, and what it means."""

import base64
import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import httpx
import pytest

from backend.payments.port import NOT_FOUND, Answer, Declined, NotificationRefused, Order, Payer, Succeeded, Unknown
from backend.payments.rails import unionpay_signing as signing
from backend.payments.rails.merchants import load_unionpay
from tests.unit.backend.payments.rails.parties import (
    CODES,
    HOLD,
    MER_ID,
    NOW,
    ORDER,
    PUBLIC_URL,
    SM3_SECRET,
    TENANT,
    World,
    certificate,
    folder,
    form_of,
    is_signed,
    sorted_text,
    step,
    unionpay_echo,
    unionpay_form,
)

DONE = {"origRespCode": "00", "txnAmt": "300", "currencyCode": "156", "queryId": "q1"}
HELD = Order(TENANT, HOLD.order_id, "hold", 300, NOW, "hold-query-id")


def world(tmp_path: Path, told: str, asked: Mapping[str, str], **fields: str) -> World:
    """Return a UnionPay that answers messages with a code, and questions with fields."""

    def answer(request: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
        if form_of(request)["txnType"] == "00":
            return 200, {}, unionpay_echo(request, **{"respCode": "00", **asked})
        return 200, {}, unionpay_echo(request, respCode=told)

    return World(tmp_path, "unionpay", answer, fields=fields)


class TestSm3Hex:
    def test_fits_the_published_vector(self) -> None:
        # GB/T 32905-2016, example 1.
        assert signing.sm3_hex(b"abc") == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


class TestCanonical:
    def test_sorts_and_leaves_out_what_is_empty(self) -> None:
        assert signing.canonical({"b": "2", "a": "1", "B": "=&", "c": "", "signature": "x"}) == b"B==&&a=1&b=2"


class TestSignedForm:
    def test_signs_the_hex_of_the_digest_with_rsa(self, tmp_path: Path) -> None:
        merchant = load_unionpay(folder(tmp_path, "unionpay"))

        form = dict(httpx.QueryParams(signing.signed_form(merchant, {"orderId": "1", "subject": "水 & 热"}).decode()))

        assert form["certId"] == str(certificate("merchant").serial_number)
        digest = hashlib.sha256(sorted_text(form, "signature")).hexdigest()
        is_signed("merchant", digest.encode(), form["signature"])

    def test_signs_with_sm3_and_the_digest_of_the_secret(self, tmp_path: Path) -> None:
        merchant = load_unionpay(folder(tmp_path, "unionpay", sign_method="12"))

        form = dict(httpx.QueryParams(signing.signed_form(merchant, {"orderId": "1"}).decode()))

        secret = signing.sm3_hex(SM3_SECRET)
        assert form["signature"] == signing.sm3_hex(f"orderId=1&signMethod=12&{secret}".encode())
        assert signing.is_theirs(merchant, form)
        assert not signing.is_theirs(merchant, form | {"orderId": "2"})
        assert not signing.is_theirs(merchant, form | {"signMethod": "01"})


class TestVerifiedAnswer:
    @pytest.mark.parametrize("escaped", [True, False])
    def test_takes_answers_escaped_or_not(self, tmp_path: Path, escaped: bool) -> None:
        merchant = load_unionpay(folder(tmp_path, "unionpay"))
        body = unionpay_form({"respMsg": "成功[0000000] {a=b}", "orderId": "1"}, escaped=escaped)

        fields = signing.verified_answer(merchant, body)

        assert fields is not None
        assert fields["respMsg"] == "成功[0000000] {a=b}"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"a=1&a=2",
            b"\xff",
            b"signature=&signMethod=01",
            b"signMethod=01&signature=!!",
            b"&".join([b"a=1"] * 300),
        ],
    )
    def test_takes_nothing_else(self, tmp_path: Path, body: bytes) -> None:
        assert signing.verified_answer(load_unionpay(folder(tmp_path, "unionpay")), body) is None

    @pytest.mark.parametrize("escaped", [True, False])
    @pytest.mark.parametrize("again", ["orderId=1", "orderId=2", "orderId=", "txnAmt=100"])
    def test_takes_no_field_twice_however_well_signed(self, tmp_path: Path, escaped: bool, again: str) -> None:
        merchant = load_unionpay(folder(tmp_path, "unionpay"))
        name, _, value = again.partition("=")
        signed = unionpay_form({"orderId": "1", "txnAmt": "100"}, escaped=escaped)
        assert signing.verified_answer(merchant, signed) is not None

        assert signing.verified_answer(merchant, signed + f"&{again}".encode()) is None
        assert signing.verified_answer(merchant, f"{again}&".encode() + signed) is None
        assert signing.form_fields(f"{name}={value}&{again}".encode()) is None
        assert signing.plain_fields(f"{name}={value}&{again}".encode()) is None

    def test_takes_nothing_of_another_key_or_method(self, tmp_path: Path) -> None:
        merchant = load_unionpay(folder(tmp_path, "unionpay"))

        assert signing.verified_answer(merchant, unionpay_form({"orderId": "1"}, signer="stranger")) is None
        assert signing.verified_answer(merchant, unionpay_form({"orderId": "1", "signMethod": "11"})) is None


class TestOrders:
    @pytest.mark.parametrize(
        ("told", "asked", "answer"),
        [
            ("00", DONE, Succeeded("charged", 300, "q1")),
            ("00", {"origRespCode": "05"}, Unknown("waiting")),
            ("00", {"respCode": "34"}, Unknown("accepted")),
            ("00", {"origRespCode": "64"}, Declined("insufficient_funds")),
            ("00", {"origRespCode": "77"}, Declined("unionpay_77")),
            ("00", {"respCode": "11"}, Unknown("unionpay_11")),
            ("00", {}, Unknown("waiting")),
            ("00", DONE | {"currencyCode": "840"}, Unknown("currency_differs")),
            ("00", DONE | {"txnAmt": "3.00"}, Unknown("amount_differs")),
            ("00", DONE | {"merId": "777290058110002"}, Unknown("another_merchant")),
            ("00", DONE | {"orderId": "auth0000000009"}, Unknown("another_order")),
            ("00", DONE | {"txnTime": "20260301200008"}, Unknown("another_order")),
            ("05", DONE, Succeeded("charged", 300, "q1")),
            ("12", DONE, Succeeded("charged", 300, "q1")),
            ("01", DONE, Succeeded("charged", 300, "q1")),
            ("64", DONE, Declined("insufficient_funds")),
            ("61", DONE, Declined("code_invalid")),
        ],
    )
    def test_mean_what_a_question_says(
        self, tmp_path: Path, told: str, asked: Mapping[str, str], answer: Answer
    ) -> None:
        assert world(tmp_path, told, asked).provider.charge(ORDER, Payer(code=CODES["unionpay"])) == answer

    @pytest.mark.parametrize("sign_method", ["01", "12"])
    def test_say_who_pays_what_to_whom(self, tmp_path: Path, sign_method: str) -> None:
        there = world(tmp_path, "00", DONE, sign_method=sign_method)

        there.provider.authorize(HOLD, Payer(agreement="agr_1"))
        there.provider.charge(ORDER, Payer(code=CODES["unionpay"]))

        hold, charge = [form for form in map(form_of, there.asked) if form["txnType"] != "00"]
        assert (hold["txnType"], hold["tokenPayData"], "qrNo" in hold) == ("02", "{token=agr_1}", False)
        assert {name: charge[name] for name in ("txnType", "orderId", "txnAmt", "qrNo", "backUrl", "txnTime")} == {
            "txnType": "01",
            "orderId": "auth0000000001",
            "txnAmt": "300",
            "qrNo": CODES["unionpay"],
            "backUrl": f"{PUBLIC_URL}/notify/unionpay/{TENANT}",
            "txnTime": "20260301200007",
        }
        assert str(there.asked[0].url) == "http://unionpay.example/base/gateway/api/backTransReq.do"


class TestSteps:
    @pytest.mark.parametrize(
        ("order", "kind", "after", "txn_type"),
        [
            (HELD, "capture", timedelta(hours=1), "03"),
            (HELD, "void", timedelta(days=3), "32"),
            (HELD, "refund", timedelta(days=3), "04"),
            (Order(TENANT, "auth_0000000003", "charge", 300, NOW, "r"), "void", timedelta(hours=3, minutes=59), "31"),
            (Order(TENANT, "auth_0000000003", "charge", 300, NOW, "r"), "void", timedelta(hours=4), "04"),
            (Order(TENANT, "auth_0000000003", "charge", 300, NOW, "r"), "refund", timedelta(), "04"),
        ],
    )
    def test_are_about_what_unionpay_calls_the_order(
        self, tmp_path: Path, order: Order, kind: str, after: timedelta, txn_type: str
    ) -> None:
        there = world(tmp_path, "00", DONE)
        asked = step(kind, after=after)

        answer = getattr(there.provider, kind)(order, asked)

        status = {"capture": "captured", "void": "voided", "refund": "refunded"}[kind]
        assert answer == Succeeded(status, 300, "q1")
        told = form_of(there.asked[0])
        assert (told["txnType"], told["origQryId"]) == (txn_type, order.provider_ref)

    def test_of_an_order_with_an_unknown_name_ask_for_it_first(self, tmp_path: Path) -> None:
        there = world(tmp_path, "00", DONE)

        assert there.provider.void(HOLD, step("void")) == Succeeded("voided", 300, "q1")
        assert [form_of(request)["txnType"] for request in there.asked] == ["00", "32", "00"]
        assert form_of(there.asked[1])["origQryId"] == "q1"

    @pytest.mark.parametrize(
        ("asked", "void", "capture"),
        [
            ({"respCode": "34"}, Succeeded("absent", 0), Declined(NOT_FOUND)),
            ({"origRespCode": "64"}, Succeeded("absent", 0), Declined("insufficient_funds")),
            ({"origRespCode": "05"}, Unknown("waiting"), Unknown("waiting")),
        ],
    )
    def test_of_an_order_that_is_not_there(
        self, tmp_path: Path, asked: Mapping[str, str], void: Answer, capture: Answer
    ) -> None:
        provider = world(tmp_path, "00", asked).provider

        assert provider.void(HOLD, step("void")) == void
        assert provider.capture(HOLD, step("capture")) == capture

    def test_refund_no_hold_before_its_capture_has_a_name(self, tmp_path: Path) -> None:
        there = world(tmp_path, "00", DONE)

        assert there.provider.refund(HOLD, step("refund")) == Unknown("reference_missing")
        assert there.asked == []

    def test_that_are_refused_are_declined(self, tmp_path: Path) -> None:
        assert world(tmp_path, "35", DONE).provider.void(HELD, step("void")) == Declined("unionpay_35")


class TestNotifications:
    GOOD: Mapping[str, str] = {
        "txnType": "03",
        "merId": MER_ID,
        "orderId": "opcapture00000001",
        "queryId": "q9",
        "txnAmt": "120",
        "currencyCode": "156",
        "respCode": "00",
    }

    def test_about_steps_know_the_step_only(self, tmp_path: Path) -> None:
        provider = world(tmp_path, "00", DONE).provider

        said = provider.read_notification(TENANT, {}, unionpay_form(self.GOOD))

        assert (said.order_no, said.operation_no) == ("", "opcapture00000001")
        assert said.answer == Succeeded("captured", 120, "q9")

    @pytest.mark.parametrize(
        ("code", "answer"), [("05", Unknown("unionpay_05")), ("64", Declined("insufficient_funds"))]
    )
    def test_may_bring_bad_news(self, tmp_path: Path, code: str, answer: Answer) -> None:
        provider = world(tmp_path, "00", DONE).provider

        assert provider.read_notification(TENANT, {}, unionpay_form({**self.GOOD, "respCode": code})).answer == answer

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("merId", "777290058110002", "another_merchant"),
            ("currencyCode", "840", "currency_differs"),
            ("txnAmt", "1.20", "malformed"),
            ("txnType", "99", "malformed"),
            ("orderId", "", "malformed"),
            ("queryId", "", "malformed"),
            ("respCode", "", "malformed"),
            ("signMethod", "12", "forged"),
        ],
    )
    def test_about_something_else_are_refused(self, tmp_path: Path, field: str, value: str, reason: str) -> None:
        provider = world(tmp_path, "00", DONE).provider

        with pytest.raises(NotificationRefused, match=reason):
            provider.read_notification(TENANT, {}, unionpay_form({**self.GOOD, field: value}))

    def test_of_a_stranger_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(NotificationRefused, match="forged"):
            world(tmp_path, "00", DONE).provider.read_notification(
                TENANT, {}, unionpay_form(self.GOOD, signer="stranger")
            )


class TestStatement:
    @pytest.mark.parametrize(
        ("content", "code", "found"),
        [
            ("zip", "00", True),
            ("", "98", False),
            ("", "00", False),
            ("cut", "00", False),
            ("not base64", "00", False),
        ],
    )
    def test_is_the_file_as_it_was_made(self, tmp_path: Path, content: str, code: str, found: bool) -> None:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("INN26022888ZM_777290058110001", b"S22 \xc4\xe3")
        packed = base64.b64encode(zlib.compress(made.getvalue())).decode()
        given = {"zip": packed, "cut": packed[: len(packed) // 8 * 4], "not base64": "§§"}.get(content, "")

        def answer(request: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
            form = form_of(request)
            assert (form["txnType"], form["settleDate"], form["fileType"]) == ("76", "0228", "00")
            return (
                200,
                {},
                unionpay_form({"respCode": code, "merId": MER_ID, "fileName": "a.zip", "fileContent": given}),
            )

        there = World(tmp_path, "unionpay", answer)

        file = there.provider.statement(TENANT, date(2026, 2, 28))
        assert file == (("a.zip", made.getvalue()) if found else None)
        assert there.asked[0].url.path == "/base/"
