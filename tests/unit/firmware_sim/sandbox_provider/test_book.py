"""The rules of orders and steps, and that no sequence of requests breaks them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.payment_codes import payment_code
from firmware_sim.sandbox_provider.book import Book, payer_problem, step_problem
from firmware_sim.sandbox_provider.scripts import Plan
from firmware_sim.sandbox_provider.store import Operation, Order, Store

PLANS = (Plan(), Plan(decline="limit"), Plan(wait_ms=5), Plan(wait_ms=5, decline="limit"), Plan(late_ms=5))


def order(status: str = "", kind: str = "charge", amount: int = 100, **more: int) -> Order:
    """Return an order of one merchant."""
    return Order(
        brand="unionpay", merchant_id="m", order_no="o", tenant_id="t", kind=kind, amount_minor=amount, status=status,
        captured_minor=more.get("captured", 0), refunded_minor=more.get("refunded", 0),
    )  # fmt: skip


def step(kind: str, amount: int, number: str = "s") -> Operation:
    """Return a step of it."""
    return Operation(
        brand="unionpay", merchant_id="m", operation_no=number, order_no="o", kind=kind, amount_minor=amount
    )


class TestPayerProblem:
    @pytest.mark.parametrize("brand", ["unionpay", "alipay", "wechat"])
    def test_takes_codes_of_the_brand_only(self, brand: str) -> None:
        for other in ("unionpay", "alipay", "wechat"):
            assert (payer_problem(brand, payment_code(other)) == "") is (other == brand)

    @pytest.mark.parametrize(("brand", "problem"), [("unionpay", ""), ("alipay", ""), ("wechat", "code_invalid")])
    def test_takes_agreements_where_there_are_any(self, brand: str, problem: str) -> None:
        assert payer_problem(brand, "agr_1") == problem


class TestStepProblem:
    @pytest.mark.parametrize(
        ("of", "kind", "amount", "problem"),
        [
            (order("held", "hold"), "capture", 100, ""),
            (order("held", "hold"), "capture", 101, "exceeds_hold"),
            (order("held", "hold"), "capture", 0, "exceeds_hold"),
            (order("charged"), "capture", 5, "is_charged"),
            (order("captured", "hold", captured=60), "refund", 60, ""),
            (order("captured", "hold", captured=60), "refund", 61, "exceeds_paid"),
            (order("charged", refunded=60), "refund", 40, ""),
            (order("charged", refunded=60), "refund", 41, "exceeds_paid"),
            (order("charged", refunded=60), "void", 100, "is_charged"),
            (order("held", "hold"), "refund", 5, "is_held"),
            (order("voided"), "refund", 5, "is_voided"),
            (order("captured", "hold", captured=60), "void", 100, "is_captured"),
            (order("captured", "hold", captured=60), "restore", 60, ""),
            (order("captured", "hold", captured=60, refunded=1), "restore", 60, "is_captured"),
            (order("waiting"), "void", 100, ""),
        ],
    )
    def test_says_why_not(self, of: Order, kind: str, amount: int, problem: str) -> None:
        assert step_problem(of, kind, amount) == problem


def _naming() -> Callable[[int], str]:
    return str


class TestBook:
    @settings(max_examples=60, deadline=None)
    @given(
        kind=st.sampled_from(["hold", "charge"]),
        plan=st.sampled_from(PLANS),
        steps=st.lists(
            st.tuples(
                st.sampled_from(["capture", "void", "refund", "restore", "wait"]),
                st.integers(0, 130),
                st.sampled_from(PLANS),
            ),
            max_size=8,
        ),
    )
    def test_money_is_taken_once_and_never_more_given_back(
        self, tmp_path_factory: pytest.TempPathFactory, kind: str, plan: Plan, steps: list[tuple[str, int, Plan]]
    ) -> None:
        store = Store(tmp_path_factory.mktemp("book") / "provider.db")
        book = Book(store, waiting_ttl_ms=50)
        book.place(order(kind=kind), plan, "agr_1", _naming(), 0)

        for now_ms, (what, amount, how) in enumerate(steps, 1):
            now_ms *= 10
            book.settle_due(now_ms)
            found = store.order("unionpay", "m", "o")
            assert found is not None
            if what != "wait":
                book.step(found, step(what, amount, f"s{now_ms}"), how, _naming(), now_ms)
            seen = store.order("unionpay", "m", "o")
            assert seen is not None
            paid = seen.captured_minor if kind == "hold" else seen.amount_minor
            assert 0 <= seen.captured_minor <= seen.amount_minor
            assert 0 <= seen.refunded_minor <= paid
            assert seen.times_taken <= 1
            assert (seen.times_taken == 0) <= (seen.refunded_minor == seen.captured_minor == 0)
            assert (seen.status == "refunded") == (seen.refunded_minor == paid > 0)
        store.close()

    def test_state_survives_the_process(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "provider.db")
        Book(store, waiting_ttl_ms=50).place(order(), Plan(), "agr_1", _naming(), 7)
        with store.transaction():
            assert store.use_code("wechat", "130000000000000000", "o")
        store.close()

        again = Store(tmp_path / "provider.db")

        found = again.order("unionpay", "m", "o")
        assert found is not None
        assert (found.status, found.created_ms, found.details["paid_ms"]) == ("charged", 7, 7)
        assert not again.use_code("wechat", "130000000000000000", "another")
        assert again.next_number() == 2
        assert b"130000000000000000" not in (tmp_path / "provider.db").read_bytes()
        again.close()
