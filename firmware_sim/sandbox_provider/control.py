"""The doors for tests and people: scripts, the orders as they are, notifications again or spoilt, adjustments, time."""

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from firmware_sim.sandbox_provider import scripts
from firmware_sim.sandbox_provider.desk import Desk
from firmware_sim.sandbox_provider.kit import number_of, read_json, rfc3339
from firmware_sim.sandbox_provider.notices import TWISTS
from firmware_sim.sandbox_provider.store import Operation, Order

_AGAIN = ("again", "reordered", *TWISTS)


def _told(desk: Desk, order: Order) -> dict[str, Any]:
    operations = [
        {
            "operation_no": operation.operation_no, "kind": operation.kind, "amount_minor": operation.amount_minor,
            "status": operation.status, "reason": operation.reason, "reference": operation.reference,
            "created_at": rfc3339(operation.created_ms),
        }
        for operation in desk.store.operations_of(order)
    ]  # fmt: skip
    return {
        "brand": order.brand, "tenant_id": order.tenant_id, "merchant_id": order.merchant_id,
        "order_no": order.order_no, "kind": order.kind, "amount_minor": order.amount_minor,
        "captured_minor": order.captured_minor, "refunded_minor": order.refunded_minor, "status": order.status,
        "reason": order.reason, "reference": order.reference, "times_taken": order.times_taken,
        "notify_url": order.notify_url, "created_at": rfc3339(order.created_ms), "operations": operations,
    }  # fmt: skip


async def _json(request: Request) -> Any:
    return read_json(await request.body())


def _problem(message: str, status: int = 400) -> Response:
    return JSONResponse({"error": message}, status)


class Control:
    """The endpoints without signatures."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def script(self, request: Request) -> Response:
        """Take a script for a request to come."""
        wanted = await _json(request)
        problem = scripts.problem(wanted)
        if problem:
            return _problem(problem)
        self._desk.scripts.add(wanted)
        return JSONResponse({"scripted": wanted["match"]})

    async def orders(self, request: Request) -> Response:
        """Tell what the provider has on its books, of a merchant or since a time if asked so, and what is under way."""
        self._desk.settle_due()
        since_ms = request.query_params.get("since_ms", "0")
        if not since_ms.isdecimal():
            return _problem("since_ms is a number of milliseconds since 1970")
        found = self._desk.store.orders(request.query_params.get("merchant_id", ""))
        found = [order for order in found if order.created_ms >= int(since_ms)]
        told = [_told(self._desk, order) for order in found]
        number = request.query_params.get("order_no", "")
        if number:
            told = [order for order in told if order["order_no"] in (number, number_of(number))]
        return JSONResponse(
            {"orders": told, "in_flight": self._desk.in_flight, "notifying": self._desk.notices.pending()}
        )

    def _find(self, match: str) -> tuple[Order, Operation | None] | None:
        found = self._desk.store.orders_numbered((match, number_of(match)))
        if found:
            return found[0], None
        for order in self._desk.store.orders():
            for operation in self._desk.store.operations_of(order):
                if operation.operation_no in (match, number_of(match)):
                    return order, operation
        return None

    async def notify(self, request: Request) -> Response:
        """Send the notifications of an order now: again, in reverse order, or one that is spoilt."""
        wanted = await _json(request)
        if not isinstance(wanted, dict):
            return _problem("an object with order_no and behaviour is wanted")
        match = wanted.get("order_no", wanted.get("match"))
        behaviour = str(wanted.get("behaviour", "again")).removeprefix("notify_")
        if not isinstance(match, str) or not match or behaviour not in _AGAIN:
            return _problem(f"order_no, and behaviour: one of {', '.join(_AGAIN)}")
        found = self._find(match)
        if found is None:
            return _problem("no such order", 404)
        order, operation = found
        if behaviour in TWISTS or not self._desk.notices.of(order):
            self._desk.notices.add(order, operation, twist=behaviour if behaviour in TWISTS else "")
            made = self._desk.notices.last(order)
            if made is None:
                return _problem("the order has no address to notify", 409)
            self._desk.notices.silence(made)
            rows = [made]
        else:
            rows = self._desk.notices.of(order)
            if operation is not None:
                rows = [row for row in rows if row["operation_no"] == operation.operation_no]
        deliveries = [await self._desk.notices.send(row) for row in (rows[::-1] if behaviour == "reordered" else rows)]
        return JSONResponse(
            {
                "sent": [
                    {
                        "notify_id": delivery.notify_id, "operation_no": delivery.operation_no,
                        "status": delivery.status, "acknowledged": delivery.acknowledged,
                    }
                    for delivery in deliveries
                ]
            }
        )  # fmt: skip

    async def adjust(self, request: Request) -> Response:
        """Book an adjustment of a UnionPay order, as banks do after a dispute; negative takes from the merchant."""
        wanted = await _json(request)
        if not isinstance(wanted, dict) or not isinstance(wanted.get("order_no"), str):
            return _problem("order_no and amount_minor are wanted")
        amount = wanted.get("amount_minor")
        found = self._find(wanted["order_no"])
        if isinstance(amount, bool) or not isinstance(amount, int) or not 0 < abs(amount) < 10**12:
            return _problem("amount_minor: fen, not 0")
        if found is None or found[0].brand != "unionpay":
            return _problem("no such UnionPay order", 404)
        order, now_ms = found[0], self._desk.clock.now_ms()
        number = self._desk.store.next_number()
        operation = Operation(
            brand=order.brand, merchant_id=order.merchant_id, operation_no=f"adjustment:{number}",
            order_no=order.order_no, kind="adjustment", amount_minor=amount, status="done",
            reference=f"{number:021d}", details={"done_ms": now_ms}, created_ms=now_ms, changed_ms=now_ms,
        )  # fmt: skip
        self._desk.store.add(operation)
        return JSONResponse({"adjusted": order.order_no, "operation_no": operation.operation_no})

    async def clock(self, request: Request) -> Response:
        """Set the provider's clock, so that a day of any date can be played."""
        wanted = await _json(request)
        try:
            now = datetime.fromisoformat(wanted["now"])
        except (TypeError, KeyError, ValueError):
            return _problem("now: an ISO 8601 time with its offset")
        if now.tzinfo is None:
            return _problem("now: an ISO 8601 time with its offset")
        self._desk.clock.set(now)
        self._desk.settle_due()
        return JSONResponse({"now": rfc3339(self._desk.clock.now_ms())})
