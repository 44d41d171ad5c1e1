"""A scripted day at the sandbox provider comes back whole through the importers: every order, amount and fee."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from backend.db import Database
from backend.payments import providers
from backend.payments.order_numbers import order_no
from backend.payments.port import Declined, Order, Payer, Provider, Step, Succeeded
from backend.statements import service as statements
from backend.statements.types import StatementLine
from firmware_sim.sandbox_provider.rows import fee_e5, fee_minor
from tests.fakes.sandbox_process import Sandbox, payment_code

TENANT = "gxu"
DAY = date(2026, 3, 1)
#: Noon of the day in Beijing.
NOON = datetime(2026, 3, 1, 4, tzinfo=UTC)
BRANDS = ("unionpay", "alipay", "wechat")


@dataclass
class Played:
    """What was played: the provider and, by brand, every movement (kind, number, amount) that must come back."""

    sandbox: Sandbox
    adapters: dict[str, Provider]
    moved: dict[str, Counter[tuple[str, str, int]]] = field(default_factory=dict)

    def expect(self, brand: str, kind: str, our_id: str, amount_minor: int) -> None:
        """Remember a movement."""
        self.moved.setdefault(brand, Counter())[kind, order_no(our_id), amount_minor] += 1


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Play a day at all three brands, with declines and lost requests between, and yield what it was."""
    sandbox = Sandbox(tmp_path_factory.mktemp("provider"))
    try:
        sandbox.start()
        yield _play(sandbox)
    finally:
        sandbox.kill()


def _play(sandbox: Sandbox) -> Played:
    sandbox.merchant(TENANT)
    sandbox.set_clock(NOON.isoformat())
    built = providers.build(
        sandbox.url, sandbox.secrets_dir, public_url="http://127.0.0.1:1", timeout_ms=3_000, clock=lambda: NOON
    )
    day = Played(sandbox, dict(built))
    for brand in BRANDS:
        _charges(day, brand)
        if brand != "wechat":
            _holds(day, brand)
    sandbox.set_clock((NOON + timedelta(days=1)).isoformat())
    sandbox.adjust("charge_unionpay_2", -99)
    sandbox.adjust("charge_unionpay_3", 40)
    sandbox.set_clock(NOON.isoformat())
    return day


def _answer(answer: Any) -> Succeeded:
    assert isinstance(answer, Succeeded), answer
    return answer


def _charges(day: Played, brand: str) -> None:
    provider = day.adapters[brand]
    for number, amount_minor in enumerate((1, 99, 150, 12_345), 1):
        order = Order(TENANT, f"charge_{brand}_{number}", "charge", amount_minor, NOON - timedelta(minutes=1))
        _answer(provider.charge(order, Payer(code=payment_code(brand))))
        day.expect(brand, "payment", order.order_id, amount_minor)
    for number, back_minor in enumerate((50, 100), 1):
        order = Order(TENANT, f"charge_{brand}_3", "charge", 150, NOON - timedelta(minutes=1))
        step = Step(f"refund_{brand}_{number}", "refund", back_minor, NOON)
        _answer(provider.refund(order, step))
        day.expect(brand, "refund", step.operation_id, -back_minor)
    order = Order(TENANT, f"charge_{brand}_4", "charge", 12_345, NOON - timedelta(minutes=1))
    _answer(provider.void(order, Step(f"void_{brand}_1", "void", 12_345, NOON)))
    day.expect(brand, "refund", f"void_{brand}_1" if brand == "unionpay" else order.order_id, -12_345)
    day.sandbox.script(f"declined_{brand}", "decline")
    declined = Order(TENANT, f"declined_{brand}", "charge", 77, NOON)
    assert isinstance(provider.charge(declined, Payer(code=payment_code(brand))), Declined)


def _holds(day: Played, brand: str) -> None:
    provider = day.adapters[brand]
    for number, taken_minor in enumerate((300, 120), 1):
        order = Order(TENANT, f"hold_{brand}_{number}", "hold", 300, NOON)
        held = _answer(provider.authorize(order, Payer(agreement="agr_1")))
        order = Order(TENANT, order.order_id, "hold", 300, NOON, held.reference)
        _answer(provider.capture(order, Step(f"capture_{brand}_{number}", "capture", taken_minor, NOON)))
        day.expect(brand, "payment" if brand == "alipay" else "completion", f"capture_{brand}_{number}", taken_minor)
        if brand == "unionpay":
            day.expect(brand, "hold", order.order_id, 300)
    released = Order(TENANT, f"released_{brand}", "hold", 300, NOON)
    held = _answer(provider.authorize(released, Payer(code=payment_code(brand))))
    released = Order(TENANT, released.order_id, "hold", 300, NOON, held.reference)
    _answer(provider.void(released, Step(f"release_{brand}", "void", 300, NOON)))
    if brand == "unionpay":
        day.expect(brand, "hold", released.order_id, 300)
        day.expect(brand, "release", f"release_{brand}", -300)


def _import(database: Database, played: Played, brand: str, day: date, tenant_id: str) -> list[StatementLine]:
    found = played.adapters[brand].statement(TENANT, day)
    assert found is not None
    name, data = found
    with database.write() as conn:
        file = statements.import_file(
            conn, tenant_id=tenant_id, method=brand, day=day, name=name, data=data, now=NOON + timedelta(days=3)
        )
        again = statements.import_file(
            conn, tenant_id=tenant_id, method=brand, day=day, name=name, data=data, now=NOON + timedelta(days=4)
        )
        lines = statements.unmatched(conn, tenant_id, brand, day, ())
    assert (file.is_new, again.is_new, file.line_count) == (True, False, len(lines))
    return lines


def _numbers(line: StatementLine) -> tuple[str, str, int]:
    kind = str(line.kind)
    own = line.operation_no if kind in ("refund", "completion", "release") else line.order_no
    return kind, own, line.amount_minor


class TestScriptedDay:
    @pytest.mark.parametrize("brand", BRANDS)
    def test_every_movement_comes_back_once(self, database: Database, played: Played, brand: str) -> None:
        lines = _import(database, played, brand, DAY, TENANT)

        found = Counter(_numbers(line) for line in lines)
        assert found == played.moved[brand]

    @pytest.mark.parametrize("brand", BRANDS)
    def test_fees_are_the_provider_s(self, database: Database, played: Played, brand: str) -> None:
        lines = _import(database, played, brand, DAY, TENANT)

        for line in lines:
            sign = 1 if line.amount_minor > 0 else -1
            exact = fee_e5 if brand == "wechat" else lambda which, amount: fee_minor(which, amount) * 1_000
            moves = line.kind not in ("hold", "release")
            assert line.fee_e5 == (sign * exact(brand, abs(line.amount_minor)) if moves else 0), line

    @pytest.mark.parametrize("brand", BRANDS)
    @pytest.mark.parametrize("day", [DAY - timedelta(days=1), date(2025, 12, 31), date(2024, 2, 29)])
    def test_a_day_without_business_is_a_file_too(
        self, database: Database, played: Played, brand: str, day: date
    ) -> None:
        assert _import(database, played, brand, day, TENANT) == []

    @pytest.mark.parametrize("brand", BRANDS)
    def test_the_file_is_the_same_each_time(self, played: Played, brand: str) -> None:
        assert played.adapters[brand].statement(TENANT, DAY) == played.adapters[brand].statement(TENANT, DAY)


class TestAdjustment:
    def test_stands_in_the_file_of_adjustments(self, database: Database, played: Played) -> None:
        lines = _import(database, played, "unionpay", DAY + timedelta(days=1), "adjusted")

        assert [line.amount_minor for line in lines if line.kind == "adjustment"] == [-99, 40]
