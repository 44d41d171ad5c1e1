"""What every provider behind the port does alike: the fake in memory and the real adapter against the sandbox."""

import itertools
from collections.abc import Iterator

import pytest

from backend.payments import providers
from backend.payments.port import Declined, Provider, Succeeded
from tests.fakes.provider import FakeProvider
from tests.fakes.sandbox_process import Sandbox

_orders = itertools.count()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Yield a running sandbox provider."""
    running = Sandbox(tmp_path_factory.mktemp("provider"))
    running.start()
    yield running
    running.kill()


@pytest.fixture(params=["fake", "sandbox"])
def provider(request: pytest.FixtureRequest, sandbox: Sandbox) -> Provider:
    """Return a provider of each kind."""
    if request.param == "fake":
        return FakeProvider()
    return providers.build(sandbox.url, sandbox.folder / "secrets")["unionpay"]


@pytest.fixture
def order_id() -> str:
    """Return an order id nobody used."""
    return f"order-{next(_orders)}"


def figures(answer: object) -> tuple[str, int] | str:
    """Return a success as status and amount, a decline as `declined`."""
    if isinstance(answer, Succeeded):
        return answer.status, answer.amount_minor
    assert isinstance(answer, Declined), answer
    return "declined"


class TestProviders:
    def test_a_hold_is_captured_in_part_and_once(self, provider: Provider, order_id: str) -> None:
        order = {"merchant_id": "m", "order_id": order_id}

        assert figures(provider.authorize(**order, amount_minor=300)) == ("held", 300)
        assert figures(provider.query(**order)) == ("held", 300)
        for _ in range(2):
            captured = provider.capture(**order, operation_id=f"{order_id}.c", amount_minor=120)
            assert figures(captured) == ("captured", 300)
        assert figures(provider.query(**order)) == ("captured", 300)
        assert figures(provider.capture(**order, operation_id=f"{order_id}.c2", amount_minor=1)) == "declined"
        assert figures(provider.void(**order, operation_id=f"{order_id}.v")) == "declined"

    def test_more_than_the_hold_is_not_captured(self, provider: Provider, order_id: str) -> None:
        order = {"merchant_id": "m", "order_id": order_id}
        provider.authorize(**order, amount_minor=300)

        assert figures(provider.capture(**order, operation_id=f"{order_id}.c", amount_minor=301)) == "declined"
        assert figures(provider.query(**order)) == ("held", 300)

    @pytest.mark.parametrize("verb", ["authorize", "charge"])
    def test_a_void_releases_or_gives_back_once(self, provider: Provider, order_id: str, verb: str) -> None:
        order = {"merchant_id": "m", "order_id": order_id}
        getattr(provider, verb)(**order, amount_minor=300)

        for _ in range(2):
            assert figures(provider.void(**order, operation_id=f"{order_id}.v")) == ("voided", 300)
        assert figures(provider.query(**order)) == ("voided", 300)
        assert figures(provider.void(**order, operation_id=f"{order_id}.v2")) == ("absent", 300)

    def test_an_order_sent_again_is_the_same_order(self, provider: Provider, order_id: str) -> None:
        order = {"merchant_id": "m", "order_id": order_id}

        assert {figures(provider.charge(**order, amount_minor=300)) for _ in range(2)} == {("charged", 300)}

    def test_a_void_of_nothing_keeps_the_order_out(self, provider: Provider, order_id: str) -> None:
        order = {"merchant_id": "m", "order_id": order_id}

        assert provider.query(**order) == Declined("not_found")
        assert figures(provider.void(**order, operation_id=f"{order_id}.v")) == ("absent", 0)
        assert provider.authorize(**order, amount_minor=300) == Declined("canceled")

    def test_merchants_share_nothing(self, provider: Provider, order_id: str) -> None:
        provider.charge(merchant_id="one", order_id=order_id, amount_minor=5)

        assert provider.query(merchant_id="other", order_id=order_id) == Declined("not_found")
