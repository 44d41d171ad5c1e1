"""What every provider behind the port does alike: the fake in memory, and the adapters against the sandbox process."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from backend.payments import providers
from backend.payments.capabilities import MATRIX
from backend.payments.port import Answer, Declined, Order, Payer, Provider, Step, Succeeded, Unknown
from firmware_sim import sandbox_keys
from tests.fakes.provider import FakeProvider
from tests.fakes.sandbox_process import Sandbox

TENANTS = ("north_campus", "south_campus")
_CODES = {"unionpay": "62{:017d}", "alipay": "28{:016d}", "wechat": "13{:016d}"}
_numbers = itertools.count(1)


@dataclass
class Time:
    """The time at both ends of the wire, moved by hand."""

    sandbox: Sandbox
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """Return the time it is."""
        return datetime.now(UTC) + self.ahead

    def pass_by(self, interval: timedelta) -> None:
        """Let time pass."""
        self.ahead += interval
        body = {"now": self.now().isoformat()}
        assert httpx.post(f"{self.sandbox.url}/clock", json=body, trust_env=False).status_code == 200


@pytest.fixture(scope="module")
def passing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Time]:
    """Yield the time of a running sandbox where both tenants are merchants; the second signs with SM3."""
    running = Sandbox(tmp_path_factory.mktemp("provider"))
    for tenant_id in TENANTS:
        sandbox_keys.make(running.folder / "secrets", tenant_id, running.url)
    toml = running.folder / "secrets" / "providers" / TENANTS[1] / "unionpay" / "merchant.toml"
    toml.write_text(toml.read_text().replace('sign_method = "01"', 'sign_method = "12"'))
    running.start()
    yield Time(running)
    running.kill()


@dataclass
class Bench:
    """A provider under test, its orders, and the time."""

    provider: Provider
    tenant_id: str
    passing: Time
    kinds: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = ("hold", "charge") if MATRIX[self.provider.method].hold else ("charge",)

    def payer(self) -> Payer:
        """Return somebody with a code nobody used."""
        return Payer(code=_CODES[self.provider.method].format(next(_numbers)))

    def order(self, kind: str, amount_minor: int = 300, tenant_id: str = "") -> Order:
        """Return an order nobody has placed yet."""
        assert kind in ("hold", "charge")
        order_id = f"auth_{next(_numbers):020d}"
        return Order(tenant_id or self.tenant_id, order_id, kind, amount_minor, self.passing.now())  # type: ignore[arg-type]

    def place(self, order: Order, payer: Payer | None = None) -> Answer:
        """Return the answer to an order."""
        verb = self.provider.authorize if order.kind == "hold" else self.provider.charge
        return verb(order, payer or self.payer())

    def placed(self, kind: str, amount_minor: int = 300) -> Order:
        """Return an order that was placed and taken, old enough for anything."""
        order = self.order(kind, amount_minor)
        answer = self.place(order)
        assert figures(answer) == ("held" if kind == "hold" else "charged", amount_minor)
        assert isinstance(answer, Succeeded)
        self.passing.pass_by(timedelta(seconds=30))
        return Order(order.tenant_id, order.order_id, order.kind, amount_minor, order.ordered_at, answer.reference)

    def step(self, kind: str, amount_minor: int) -> Step:
        """Return a step nobody has asked for yet."""
        return Step(f"op_{next(_numbers):020d}", kind, amount_minor, self.passing.now())  # type: ignore[arg-type]


@pytest.fixture(params=["fake", "unionpay", "unionpay_sm3", "alipay", "wechat"])
def bench(request: pytest.FixtureRequest, passing: Time) -> Bench:
    """Return a provider of each kind."""
    if request.param == "fake":
        return Bench(FakeProvider(), TENANTS[0], passing)
    built = providers.build(
        passing.sandbox.url,
        passing.sandbox.folder / "secrets",
        public_url="http://127.0.0.1:9",
        timeout_ms=4_000,
        clock=passing.now,
    )
    tenant_id = TENANTS[1] if request.param == "unionpay_sm3" else TENANTS[0]
    return Bench(built[request.param.removesuffix("_sm3")], tenant_id, passing)


def figures(answer: object) -> tuple[str, int] | str:
    """Return a success as status and amount, a decline as `declined`."""
    if isinstance(answer, Succeeded):
        return answer.status, answer.amount_minor
    assert isinstance(answer, Declined), answer
    return "declined"


class TestHolds:
    def test_are_captured_in_part_and_once(self, bench: Bench) -> None:
        if "hold" not in bench.kinds:
            assert bench.place(bench.order("hold")) == Declined("hold_not_offered")
            return
        order, capture = bench.placed("hold"), bench.step("capture", 120)

        assert figures(bench.provider.query(order)) == ("held", 300)
        assert bench.provider.query_step(order, capture) == Declined("not_found")
        for _ in range(2):
            assert figures(bench.provider.capture(order, capture)) == ("captured", 120)
            assert figures(bench.provider.query_step(order, capture)) == ("captured", 120)
        assert figures(bench.provider.capture(order, bench.step("capture", 1))) == "declined"
        assert figures(bench.provider.void(order, bench.step("void", 300))) == "declined"

    def test_of_which_more_is_taken_stay(self, bench: Bench) -> None:
        if "hold" not in bench.kinds:
            return
        order = bench.placed("hold")

        assert figures(bench.provider.capture(order, bench.step("capture", 301))) == "declined"
        assert figures(bench.provider.query(order)) == ("held", 300)

    def test_that_were_captured_are_given_back_by_what_the_capture_is_called(self, bench: Bench) -> None:
        if "hold" not in bench.kinds:
            return
        order = bench.placed("hold")
        captured = bench.provider.capture(order, bench.step("capture", 120))
        assert isinstance(captured, Succeeded)
        assert captured.reference
        order = Order(order.tenant_id, order.order_id, "hold", 300, order.ordered_at, captured.reference)
        some, rest = bench.step("refund", 50), bench.step("refund", 70)

        for step, amount_minor in ((some, 50), (some, 50), (rest, 70)):
            assert figures(bench.provider.refund(order, step)) == ("refunded", amount_minor)
        assert figures(bench.provider.query_step(order, rest)) == ("refunded", 70)
        assert figures(bench.provider.refund(order, bench.step("refund", 1))) == "declined"


class TestOrders:
    def test_are_undone_once(self, bench: Bench) -> None:
        for kind in bench.kinds:
            order, void = bench.placed(kind), bench.step("void", 300)

            assert bench.provider.query_step(order, void) == Declined("not_found")
            for _ in range(2):
                assert figures(bench.provider.void(order, void)) == ("voided", 300)
                assert figures(bench.provider.query_step(order, void)) == ("voided", 300)

    def test_are_undone_though_nobody_said_what_they_are_called(self, bench: Bench) -> None:
        for kind in bench.kinds:
            placed = bench.placed(kind)
            order = Order(placed.tenant_id, placed.order_id, placed.kind, 300, placed.ordered_at)

            assert figures(bench.provider.void(order, bench.step("void", 300))) == ("voided", 300)

    def test_that_never_arrived_are_absent(self, bench: Bench) -> None:
        for kind in bench.kinds:
            order = bench.order(kind)
            bench.passing.pass_by(timedelta(seconds=30))

            assert bench.provider.query(order) == Declined("not_found")
            assert figures(bench.provider.void(order, bench.step("void", 300))) == ("absent", 0)

    def test_are_known_by_number_and_merchant(self, bench: Bench) -> None:
        order = bench.placed("charge")
        other = Order(next(t for t in TENANTS if t != order.tenant_id), order.order_id, "charge", 300, order.ordered_at)

        assert figures(bench.provider.query(order)) == ("charged", 300)
        assert bench.provider.query(other) == Declined("not_found")

    def test_sent_again_are_the_same(self, bench: Bench) -> None:
        order, payer = bench.order("charge"), bench.payer()

        assert {figures(bench.place(order, payer)) for _ in range(2)} == {("charged", 300)}

    def test_are_given_back_in_parts_and_no_more_than_was_taken(self, bench: Bench) -> None:
        order, first, second = bench.placed("charge"), bench.step("refund", 100), bench.step("refund", 200)

        assert bench.provider.query_step(order, first) == Declined("not_found")
        for step in (first, first, second):
            assert figures(bench.provider.refund(order, step)) == ("refunded", step.amount_minor)
        assert figures(bench.provider.query_step(order, second)) == ("refunded", 200)
        assert figures(bench.provider.refund(order, bench.step("refund", 1))) == "declined"


class TestAgreements:
    def test_pay_where_they_are_taken(self, bench: Bench) -> None:
        for kind in bench.kinds:
            answer = bench.place(bench.order(kind), Payer(agreement="agr_0001"))

            expected = (
                "declined" if bench.provider.method == "wechat" else ("held" if kind == "hold" else "charged", 300)
            )
            assert figures(answer) == expected


class TestCodes:
    def test_pay_once(self, bench: Bench) -> None:
        if isinstance(bench.provider, FakeProvider):
            return
        payer = bench.payer()

        answers = [bench.place(bench.order("charge"), payer) for _ in range(2)]

        assert [figures(answer) for answer in answers] == [("charged", 300), "declined"]

    def test_of_another_brand_are_not_sent(self, bench: Bench) -> None:
        if isinstance(bench.provider, FakeProvider):
            return
        foreign = next(code for method, code in _CODES.items() if method != bench.provider.method).format(7)

        order = bench.order("charge")

        assert bench.place(order, Payer(code=foreign)) == Declined("unsupported_code")
        assert bench.provider.query(order) == Declined("not_found")


class TestStrangers:
    def test_are_declined_before_anything_is_sent_and_nothing_else_is_said_of_them(self, bench: Bench) -> None:
        if isinstance(bench.provider, FakeProvider):
            return
        order = bench.order("charge", tenant_id="elsewhere")

        assert bench.place(order) == Declined("method_not_configured")
        assert bench.provider.query(order) == Unknown("method_not_configured")
        assert bench.provider.refund(order, bench.step("refund", 1)) == Unknown("method_not_configured")
        assert bench.provider.statement("elsewhere", bench.passing.now().date()) is None
