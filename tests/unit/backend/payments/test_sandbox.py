"""The adapter against answers nobody should believe."""

import json
from collections.abc import Callable

import httpx
import pytest

from backend.payments.port import Answer, Declined, Succeeded, Unknown
from backend.payments.sandbox import SandboxProvider, response_signature

KEY = b"k" * 32
GOOD = {"result": "succeeded", "status": "held", "amount_minor": 5, "reference": "r", "order_id": "o"}


def adapter(handler: Callable[[httpx.Request], httpx.Response]) -> SandboxProvider:
    """Return an adapter whose wire is a function."""
    transport = httpx.MockTransport(handler)
    return SandboxProvider("alipay", url="http://provider", key=KEY, timeout_ms=100, transport=transport)


def ask(handler: Callable[[httpx.Request], httpx.Response]) -> Answer:
    """Return the adapter's answer to a query."""
    return adapter(handler).query(merchant_id="m", order_id="o")


def signed(body: bytes, status: int = 200, key: bytes = KEY) -> Callable[[httpx.Request], httpx.Response]:
    """Return a wire that answers a body with a fitting signature."""

    def answer(request: httpx.Request) -> httpx.Response:
        signature = response_signature(key, request_signature=request.headers["x-signature"], status=status, body=body)
        return httpx.Response(status, content=body, headers={"x-signature": signature})

    return answer


class TestAnswers:
    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            (json.dumps(GOOD).encode(), Succeeded("held", 5, "r")),
            (b'{"result": "declined", "reason": "no", "order_id": "o"}', Declined("no")),
            (b"", Unknown("malformed_answer")),
            (b"[]", Unknown("malformed_answer")),
            (b"\xff\xfe", Unknown("malformed_answer")),
            (b'{"order_id": "o"}', Unknown("malformed_answer")),
            (json.dumps(GOOD | {"order_id": "another"}).encode(), Unknown("malformed_answer")),
            (json.dumps(GOOD | {"status": "rich"}).encode(), Unknown("malformed_answer")),
            (json.dumps(GOOD | {"amount_minor": "5"}).encode(), Unknown("malformed_answer")),
            (json.dumps(GOOD | {"amount_minor": 5.0}).encode(), Unknown("malformed_answer")),
        ],
    )
    def test_a_signed_body_is_read_strictly(self, body: bytes, answer: Answer) -> None:
        assert ask(signed(body)) == answer

    def test_a_failure_of_theirs_is_unknown(self) -> None:
        assert ask(signed(b"{}", status=503)) == Unknown("http_503")

    def test_an_answer_signed_by_another_key_is_unknown(self) -> None:
        assert ask(signed(json.dumps(GOOD).encode(), key=b"x" * 32)) == Unknown("unsigned_answer")

    def test_an_unsigned_answer_is_unknown(self) -> None:
        assert ask(lambda _: httpx.Response(200, json=GOOD)) == Unknown("unsigned_answer")

    def test_a_changed_amount_is_unknown(self) -> None:
        def tamper(request: httpx.Request) -> httpx.Response:
            honest = signed(json.dumps(GOOD).encode())(request)
            return httpx.Response(200, content=json.dumps(GOOD | {"amount_minor": 1}), headers=honest.headers)

        assert ask(tamper) == Unknown("unsigned_answer")

    def test_the_answer_to_another_question_is_unknown(self) -> None:
        answers: list[httpx.Response] = []

        def replay(request: httpx.Request) -> httpx.Response:
            answers.append(signed(json.dumps(GOOD).encode())(request))
            return httpx.Response(200, content=answers[0].content, headers=answers[0].headers)

        provider = adapter(replay)
        assert isinstance(provider.query(merchant_id="m", order_id="o"), Succeeded)
        assert provider.charge(merchant_id="m", order_id="o", amount_minor=5) == Unknown("unsigned_answer")


class TestLostCalls:
    @pytest.mark.parametrize(
        ("error", "answer"),
        [
            (httpx.ReadTimeout("slow"), Unknown("timeout")),
            (httpx.WriteTimeout("slow"), Unknown("timeout")),
            (httpx.PoolTimeout("busy"), Unknown("timeout")),
            (httpx.ReadError("cut"), Unknown("broken_answer")),
            (httpx.RemoteProtocolError("noise"), Unknown("broken_answer")),
            (httpx.ConnectError("nobody"), Declined("provider_unreachable")),
            (httpx.ConnectTimeout("nobody"), Declined("provider_unreachable")),
        ],
    )
    def test_a_new_order_is_declined_only_if_it_never_left(self, error: Exception, answer: Answer) -> None:
        def fail(_: httpx.Request) -> httpx.Response:
            raise error

        assert adapter(fail).authorize(merchant_id="m", order_id="o", amount_minor=5) == answer
        assert adapter(fail).charge(merchant_id="m", order_id="o", amount_minor=5) == answer

    def test_a_question_or_an_operation_is_never_declined_for_the_wire(self) -> None:
        def fail(_: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("nobody")

        provider = adapter(fail)
        assert provider.query(merchant_id="m", order_id="o") == Unknown("unreachable")
        assert provider.void(merchant_id="m", order_id="o", operation_id="v") == Unknown("unreachable")
        assert provider.capture(merchant_id="m", order_id="o", operation_id="c", amount_minor=5) == Unknown(
            "unreachable"
        )
