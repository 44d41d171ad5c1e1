"""The provider's order book."""

from pathlib import Path
from typing import Any

import pytest

from firmware_sim.sandbox_orders import OrderBook

ASKED = {"merchant_id": "m", "order_id": "o", "amount_minor": 300}


@pytest.fixture
def book(tmp_path: Path) -> OrderBook:
    """Return an empty order book."""
    return OrderBook(tmp_path / "provider.db")


def operation(verb: str, operation_id: str, **more: Any) -> dict[str, Any]:
    """Return a request about order `o`."""
    return {"merchant_id": "m", "order_id": "o", "operation_id": operation_id, **more}


class TestHandle:
    def test_an_order_sent_again_is_taken_once(self, book: OrderBook) -> None:
        first = book.handle("alipay", "authorize", ASKED)

        assert first == book.handle("alipay", "authorize", ASKED)
        assert [(order["status"], order["times_taken"]) for order in book.orders("m")] == [("held", 1)]

    @pytest.mark.parametrize("change", [{"amount_minor": 301}, {"verb": "charge"}])
    def test_another_order_under_its_id_is_declined(self, book: OrderBook, change: dict[str, Any]) -> None:
        book.handle("alipay", "authorize", ASKED)
        verb = change.pop("verb", "authorize")

        assert book.handle("alipay", verb, ASKED | change)["reason"] == "order_differs"

    def test_brands_share_nothing(self, book: OrderBook) -> None:
        book.handle("alipay", "authorize", ASKED)

        assert book.handle("unionpay", "query", {"merchant_id": "m", "order_id": "o"})["reason"] == "not_found"

    def test_an_operation_id_answers_as_before_and_stands_for_one_thing(self, book: OrderBook) -> None:
        book.handle("alipay", "authorize", ASKED)
        first = book.handle("alipay", "capture", operation("capture", "c", amount_minor=100))

        assert book.handle("alipay", "capture", operation("capture", "c", amount_minor=100)) == first
        other = book.handle("alipay", "capture", operation("capture", "c", amount_minor=101))
        assert other["reason"] == "operation_differs"
        assert book.orders()[0]["captured_minor"] == 100

    def test_a_declined_order_stays_declined(self, book: OrderBook) -> None:
        book.handle("alipay", "charge", ASKED, decline="insufficient_funds")

        assert book.handle("alipay", "charge", ASKED)["reason"] == "insufficient_funds"
        assert book.handle("alipay", "query", {"merchant_id": "m", "order_id": "o"})["result"] == "declined"
        assert book.orders()[0]["times_taken"] == 0

    def test_a_void_leaves_a_tombstone(self, book: OrderBook) -> None:
        assert book.handle("alipay", "void", operation("void", "v"))["status"] == "absent"
        assert book.handle("alipay", "authorize", ASKED)["reason"] == "canceled"
        assert book.orders()[0]["times_taken"] == 0

    def test_everything_survives_a_restart(self, tmp_path: Path) -> None:
        book = OrderBook(tmp_path / "provider.db")
        book.handle("alipay", "authorize", ASKED)
        book.add_script("next", "", {"behaviour": "decline"})
        before = book.orders()
        book.close()

        again = OrderBook(tmp_path / "provider.db")
        assert again.orders() == before
        assert again.take_script("o", "capture") == {"behaviour": "decline"}


class TestTakeScript:
    def test_each_is_taken_once_and_by_what_it_matches(self, book: OrderBook) -> None:
        book.add_script("o", "capture", {"behaviour": "delay"})
        book.add_script("next", "", {"behaviour": "decline"})

        assert book.take_script("other", "capture") == {"behaviour": "decline"}
        assert book.take_script("o", "void") == {}
        assert book.take_script("o", "capture") == {"behaviour": "delay"}
        assert book.take_script("o", "capture") == {}
