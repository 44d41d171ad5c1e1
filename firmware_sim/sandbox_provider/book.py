"""
What happens to orders and steps at any provider; the brands differ in words only.

An order exists once per merchant and number, a step once per number; who asks again is told what is. A payer's money
is taken when an order becomes held or charged, `times_taken` counts it. A waiting order is paid, declined or expires
by itself; one that was canceled may still be paid late, when a script says so.
"""

import re
from collections.abc import Callable

from firmware_sim.sandbox_provider.scripts import Plan
from firmware_sim.sandbox_provider.store import Operation, Order, Store

#: One-time payment codes by brand; an agreement is any text that begins with `agr_`.
CODES = {
    "unionpay": re.compile(r"62\d{14,18}", re.ASCII),
    "alipay": re.compile(r"(2[5-9]|30)\d{14,22}", re.ASCII),
    "wechat": re.compile(r"1[0-5]\d{16}", re.ASCII),
}
_TAKEN = ("held", "charged")


def payer_problem(brand: str, payer: str) -> str:
    """Return why a payer's code or agreement is no good at a brand, or nothing. WeChat takes codes only."""
    if payer.startswith("agr_") and brand != "wechat":
        return ""
    return "" if CODES[brand].fullmatch(payer) else "code_invalid"


def step_problem(order: Order, kind: str, amount_minor: int) -> str:
    """Return why a step cannot be done to an order, or nothing."""
    if kind == "capture":
        if order.status != "held":
            return f"is_{order.status}"
        return "" if 0 < amount_minor <= order.amount_minor else "exceeds_hold"
    if kind == "refund":
        if order.status not in ("charged", "captured", "refunded"):
            return f"is_{order.status}"
        left = (order.captured_minor if order.kind == "hold" else order.amount_minor) - order.refunded_minor
        return "" if 0 < amount_minor <= left else "exceeds_paid"
    if kind == "restore":
        return "" if order.status == "captured" and not order.refunded_minor else f"is_{order.status}"
    if order.status in ("captured", "refunded") or order.refunded_minor:
        return f"is_{order.status}"
    return ""


def _apply(order: Order, kind: str, amount_minor: int, now_ms: int) -> None:
    order.changed_ms = now_ms
    if kind == "capture":
        order.status, order.captured_minor = "captured", amount_minor
    elif kind == "restore":
        order.status, order.captured_minor = "held", 0
    elif kind == "refund":
        order.refunded_minor += amount_minor
        base = order.captured_minor if order.kind == "hold" else order.amount_minor
        if order.refunded_minor == base:
            order.status = "refunded"
    elif order.status != "declined":
        late = order.status == "waiting" and order.late_ms is not None
        order.status, order.reason = "voided", order.reason or "canceled"
        if late:
            assert order.late_ms is not None
            order.due_ms, order.due_to = now_ms + order.late_ms, "late"
        elif order.due_to != "late":
            order.due_ms, order.due_to = None, ""


class Book:
    """The provider's side of every order."""

    def __init__(self, store: Store, *, waiting_ttl_ms: int) -> None:
        self._store = store
        self._waiting_ttl_ms = waiting_ttl_ms

    def place(self, order: Order, plan: Plan, payer: str, name: Callable[[int], str], now_ms: int) -> Order:
        """Return a new order as it became; `name` makes the provider's own number from a fresh one."""
        order.reference = name(self._store.next_number())
        order.created_ms = order.changed_ms = now_ms
        order.manner = plan.manner
        problem = payer_problem(order.brand, payer)
        if not problem and not payer.startswith("agr_"):
            problem = "" if self._store.use_code(order.brand, payer, order.order_no) else "code_used"
        taken = "held" if order.kind == "hold" else "charged"
        if plan.wait_ms is not None and not problem:
            order.status, order.due_to = "waiting", f"declined:{plan.decline}" if plan.decline else "paid"
            order.due_ms = now_ms + min(plan.wait_ms, self._waiting_ttl_ms)
            if plan.wait_ms > self._waiting_ttl_ms:
                order.due_to = "declined:expired"
        elif plan.late_ms is not None and not problem:
            order.status, order.late_ms = "waiting", plan.late_ms
            order.due_ms, order.due_to = now_ms + self._waiting_ttl_ms, "declined:expired"
        elif problem or plan.decline:
            order.status, order.reason = "declined", problem or plan.decline
        else:
            order.status, order.times_taken = taken, 1
            order.details["paid_ms"] = now_ms
        self._store.add(order)
        return order

    def bar(self, order: Order, now_ms: int) -> None:
        """Remember that an order nobody knows was canceled, so that it cannot arrive later."""
        order.status, order.reason = "voided", "canceled"
        order.created_ms = order.changed_ms = now_ms
        self._store.add(order)

    def step(
        self, order: Order, operation: Operation, plan: Plan, name: Callable[[int], str], now_ms: int
    ) -> Operation:
        """Return a new step of an order as it became, having done it if it can be done."""
        operation.reference = name(self._store.next_number())
        operation.created_ms = operation.changed_ms = now_ms
        operation.manner = plan.manner
        problem = plan.decline if plan.wait_ms is None else ""
        problem = problem or step_problem(order, operation.kind, operation.amount_minor)
        if problem:
            operation.status, operation.reason = "refused", problem
        else:
            if plan.late_ms is not None and operation.kind == "void" and order.late_ms is None:
                order.late_ms = plan.late_ms
            _apply(order, operation.kind, operation.amount_minor, now_ms)
            operation.status = "done"
            operation.details["done_ms"] = now_ms
            if plan.wait_ms is not None:  # done on the books at once, confirmed or taken back later
                operation.status, operation.due_ms = "waiting", now_ms + plan.wait_ms
                operation.due_to = f"refused:{plan.decline}" if plan.decline else "done"
            self._store.save(order)
        self._store.add(operation)
        return operation

    def settle_due(self, now_ms: int) -> list[tuple[Order, Operation | None]]:
        """Return the orders and steps that succeeded by themselves since last asked."""
        succeeded: list[tuple[Order, Operation | None]] = []
        for order in self._store.due_orders(now_ms):
            due, order.due_ms, order.due_to = order.due_to, None, ""
            order.changed_ms = now_ms
            if due in ("paid", "late"):
                order.status, order.reason = "held" if order.kind == "hold" else "charged", ""
                order.times_taken += 1
                order.details["paid_ms"] = now_ms
                order.late_ms = None
                succeeded.append((order, None))
            else:
                order.status, order.reason = "declined", due.partition(":")[2]
            self._store.save(order)
        for operation in self._store.due_operations(now_ms):
            found = self._store.order(operation.brand, operation.merchant_id, operation.order_no)
            assert found is not None
            due, operation.due_ms, operation.due_to = operation.due_to, None, ""
            operation.changed_ms = now_ms
            operation.status, _, operation.reason = due.partition(":")
            if operation.status == "refused":
                _take_back(found, operation, now_ms)
                self._store.save(found)
            else:
                operation.details["done_ms"] = now_ms
                succeeded.append((found, operation))
            self._store.save(operation)
        return succeeded


def _take_back(order: Order, operation: Operation, now_ms: int) -> None:
    order.changed_ms = now_ms
    if operation.kind == "refund":
        order.refunded_minor -= operation.amount_minor
        order.status = "captured" if order.kind == "hold" else "charged"
    elif operation.kind == "capture":
        order.status, order.captured_minor = "held", 0
    elif order.times_taken:
        order.status, order.reason = "held" if order.kind == "hold" else "charged", ""
