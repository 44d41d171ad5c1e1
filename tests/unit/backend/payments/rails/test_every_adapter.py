"""What holds for all adapters: nothing is believed that is not provably theirs and about us, nothing is raised."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from backend.payments.port import Declined, NotificationRefused, Order, Payer, Succeeded, Unknown
from tests.unit.backend.payments.rails.brands import NUMBER, TRUTHFUL, notified
from tests.unit.backend.payments.rails.parties import (
    CODES,
    NOW,
    ORDER,
    TENANT,
    World,
    one_bit_wrong,
    private_pem,
    step,
)

METHODS = list(TRUTHFUL)
PAID = Succeeded("charged", 300, "ref-1")
_QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def world(tmp_path: Path, method: str) -> World:
    """Return a provider that tells the truth until the test says otherwise."""
    return World(tmp_path, method, TRUTHFUL[method])


def paying(method: str) -> Payer:
    """Return a payer of a brand."""
    return Payer(code=CODES[method])


@pytest.mark.parametrize("method", METHODS)
class TestAnswers:
    def test_that_are_theirs_are_believed(self, world: World, method: str) -> None:
        provider = world.provider

        assert provider.charge(ORDER, paying(method)) == PAID
        assert provider.query(ORDER) == PAID

    def test_say_when_it_was_paid(self, world: World, method: str) -> None:
        provider = world.provider
        told = provider.read_notification(TENANT, *notified(method)).answer

        for answer in (provider.charge(ORDER, paying(method)), provider.query(ORDER), told):
            assert answer == PAID
            assert isinstance(answer, Succeeded)
            assert answer.at == NOW + timedelta(seconds=2)

    @_QUICK
    @given(at=st.integers(min_value=0, max_value=100_000))
    def test_with_one_wrong_bit_are_unknown(self, world: World, method: str, at: int) -> None:
        def answer(request: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
            status, headers, body = TRUTHFUL[method](request)
            return status, headers, one_bit_wrong(body, at)

        world.answer = answer

        said = world.provider.query(ORDER)

        assert isinstance(said, Unknown) or said == PAID  # a bit of the wrapping that nobody signs

    @_QUICK
    @given(body=st.binary(max_size=300) | st.text(alphabet='{}[]":,&=%\\a1', max_size=120).map(str.encode))
    def test_of_anybody_are_unknown_and_raise_nothing(self, world: World, method: str, body: bytes) -> None:
        world.answer = lambda _: (200, {}, body)
        provider = world.provider

        assert isinstance(provider.query(ORDER), Unknown)
        assert isinstance(provider.charge(ORDER, paying(method)), Unknown)
        for kind in ("void", "refund"):
            assert isinstance(provider.refund(ORDER, step(kind)), Unknown)
            assert isinstance(provider.query_step(ORDER, step(kind)), Unknown)
        assert provider.statement(TENANT, NOW.date()) is None

    @pytest.mark.parametrize("status", [204, 301, 400, 404, 500, 503])
    def test_without_a_signature_are_unknown_whatever_their_status(
        self, world: World, method: str, status: int
    ) -> None:
        world.answer = lambda _: (status, {"location": "http://elsewhere/"}, b"{}")
        provider = world.provider

        assert isinstance(provider.charge(ORDER, paying(method)), Unknown)

    def test_about_another_amount_or_order_are_unknown(self, world: World, method: str) -> None:
        provider = world.provider
        other_amount = Order(TENANT, ORDER.order_id, "charge", 301, NOW)

        assert provider.query(other_amount) == Unknown("amount_differs")
        if method != "unionpay":  # its sandbox here answers with the number asked for
            assert provider.query(Order(TENANT, "auth_other_order", "charge", 300, NOW)) == Unknown("another_order")

    def test_that_are_too_long_are_not_read(self, world: World, method: str) -> None:
        world.answer = lambda _: (200, {}, b" " * 300_000)
        provider = world.provider

        assert provider.query(ORDER) == Unknown("oversized_answer")


@pytest.mark.parametrize("method", METHODS)
class TestConnections:
    @pytest.mark.parametrize(
        ("error", "fresh", "later"),
        [
            (httpx.ConnectError("no"), Declined("provider_unreachable"), Unknown("unreachable")),
            (httpx.ConnectTimeout("no"), Declined("provider_unreachable"), Unknown("unreachable")),
            (httpx.ReadTimeout("no"), Unknown("timeout"), Unknown("timeout")),
            (httpx.WriteTimeout("no"), Unknown("timeout"), Unknown("timeout")),
            (httpx.ReadError("no"), Unknown("broken_answer"), Unknown("broken_answer")),
            (httpx.RemoteProtocolError("no"), Unknown("broken_answer"), Unknown("broken_answer")),
        ],
    )
    def test_that_fail_decline_only_what_was_never_sent(
        self, world: World, method: str, error: httpx.HTTPError, fresh: object, later: object
    ) -> None:
        def answer(_: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
            raise error

        world.answer = answer
        provider = world.provider

        assert provider.charge(ORDER, paying(method)) == fresh
        assert provider.query(ORDER) == later
        assert provider.refund(ORDER, step("refund")) == later
        assert provider.query_step(ORDER, step("refund")) == later


@pytest.mark.parametrize("method", METHODS)
class TestPayers:
    @pytest.mark.parametrize(
        ("payer", "reason"),
        [
            (Payer(), "payer_unbound"),
            (Payer(code="SC1:AEAAOAICAMCAKBQHBADQV4OAAD4HSNFBWHCBGLEQ75CUG"), "unsupported_code"),
            (Payer(code="hQVDUFYwMQ=="), "unsupported_code"),
        ],
    )
    def test_who_cannot_pay_are_declined_unsent(self, world: World, method: str, payer: Payer, reason: str) -> None:
        assert world.provider.charge(ORDER, payer) == Declined(reason)
        assert world.asked == []

    def test_are_named_in_no_log_and_no_repr(self, world: World, method: str, caplog: pytest.LogCaptureFixture) -> None:
        payer = paying(method)
        with caplog.at_level(logging.DEBUG):
            world.provider.charge(ORDER, payer)
            world.answer = lambda _: (500, {}, b"")
            world.provider.charge(ORDER, payer)

        shown = caplog.text + repr(payer)
        assert payer.code not in shown
        assert private_pem("merchant").decode()[40:80] not in shown


def _fields(body: bytes) -> list[tuple[str, str]]:
    """Return what a form says, however it is spelled."""
    return parse_qsl(body.decode("latin-1"), keep_blank_values=True)


@pytest.mark.parametrize("method", METHODS)
class TestNotifications:
    def test_that_are_theirs_are_read(self, world: World, method: str) -> None:
        provider = world.provider

        first, again = (provider.read_notification(TENANT, *notified(method)) for _ in range(2))

        assert (first.order_no, first.operation_no, first.answer) == (NUMBER, "", PAID)
        assert first.notify_id == again.notify_id != ""

    @_QUICK
    @given(at=st.integers(min_value=0, max_value=100_000))
    def test_with_one_wrong_bit_are_refused(self, world: World, method: str, at: int) -> None:
        provider = world.provider
        headers, body = notified(method)
        wrong = one_bit_wrong(body, at)
        assume(method == "wechat" or _fields(wrong) != _fields(body))  # %2b and %2B are one letter of a form

        with pytest.raises(NotificationRefused):
            provider.read_notification(TENANT, headers, wrong)

    @_QUICK
    @given(
        headers=st.dictionaries(st.sampled_from(["timestamp", "nonce", "signature", "serial"]), st.text(max_size=20)),
        body=st.binary(max_size=300) | st.text(alphabet='{}[]":,&=%\\a1', max_size=120).map(str.encode),
    )
    def test_of_anybody_are_refused_and_raise_nothing_else(
        self, world: World, method: str, headers: dict[str, str], body: bytes
    ) -> None:
        provider = world.provider
        named = {f"wechatpay-{name}": value for name, value in headers.items()}

        with pytest.raises(NotificationRefused):
            provider.read_notification(TENANT, named, body)

    def test_that_are_too_long_or_for_nobody_are_refused(self, world: World, method: str) -> None:
        provider = world.provider
        headers, body = notified(method)

        with pytest.raises(NotificationRefused, match="malformed"):
            provider.read_notification(TENANT, headers, body + b" " * 70_000)
        with pytest.raises(NotificationRefused, match="method_not_configured"):
            provider.read_notification("south_campus", headers, body)

    def test_are_acknowledged_in_their_words(self, world: World, method: str) -> None:
        provider = world.provider

        accepted = {"unionpay": b"ok", "alipay": b"success", "wechat": b'{"code":"SUCCESS"}'}
        assert provider.acknowledgement(accepted=True)[0::2] == (200, accepted[method])
        assert provider.acknowledgement(accepted=False)[0] == 400
