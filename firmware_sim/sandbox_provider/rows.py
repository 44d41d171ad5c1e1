"""What moved on one day at a merchant, for the brands' statement files, with the fees the brands take."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from firmware_sim.sandbox_provider.kit import BEIJING
from firmware_sim.sandbox_provider.store import Operation, Order, Store

#: What each brand takes of a payment, in 1/10,000.
FEE_E4 = {"unionpay": 38, "alipay": 60, "wechat": 60}


@dataclass(frozen=True, slots=True)
class Row:
    """One movement: an order taken (`operation` is None) or a step done."""

    order: Order
    operation: Operation | None
    kind: str
    amount_minor: int
    at_ms: int


def fee_minor(brand: str, amount_minor: int) -> int:
    """Return the fee of an amount in whole fen, half up."""
    return (amount_minor * FEE_E4[brand] + 5_000) // 10_000


def fee_e5(brand: str, amount_minor: int) -> int:
    """Return the exact fee of an amount in 1e-5 yuan; the rate must make it whole."""
    fee, rest = divmod(amount_minor * FEE_E4[brand], 10)
    assert rest == 0, "this rate needs more than five decimals"
    return fee


def day_bounds_ms(day: date) -> tuple[int, int]:
    """Return where a Beijing day begins and where the next one does."""
    start = datetime.combine(day, time(), BEIJING)
    return int(start.timestamp() * 1000), int((start + timedelta(days=1)).timestamp() * 1000)


def rows(store: Store, brand: str, merchant_id: str, day: date) -> list[Row]:
    """
    Return the movements of a day, oldest first.

    Releases of what was never taken are none. An order taken late is of the day it was taken.
    """
    from_ms, to_ms = day_bounds_ms(day)
    found: list[Row] = []
    for order in store.orders_between(brand, merchant_id, from_ms, to_ms):
        paid_ms = order.details.get("paid_ms", -1)
        if from_ms <= paid_ms < to_ms:
            found.append(Row(order, None, order.kind, order.amount_minor, paid_ms))
    for operation in store.operations_between(brand, merchant_id, from_ms, to_ms):
        done_ms = operation.details.get("done_ms", -1)
        its_order = store.order(brand, merchant_id, operation.order_no)
        if its_order is None or operation.status not in ("done", "voided") or not from_ms <= done_ms < to_ms:
            continue
        if operation.kind in ("void", "cancel") and its_order.details.get("paid_ms", done_ms + 1) > done_ms:
            continue
        found.append(Row(its_order, operation, operation.kind, operation.amount_minor, done_ms))
    return sorted(found, key=lambda row: row.at_ms)
