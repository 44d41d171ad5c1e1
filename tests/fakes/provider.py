"""A payment provider in memory: the port's three answers on demand. It remembers what it took and what it was asked."""

from collections import deque
from dataclasses import dataclass, field

from backend.payments.port import NOT_FOUND, Answer, Declined, Succeeded, Unknown


@dataclass
class Order:
    """An order as the fake provider has it."""

    kind: str
    amount_minor: int
    status: str
    reason: str = ""
    captured_minor: int = 0


@dataclass
class FakeProvider:
    """
    Behaves well unless told otherwise.

    `behave` queues what happens to the next calls: `ok`, `decline`, `lost_request` (never arrives), `lost_answer`
    (done, answer lost), `late_request` (arrives when `deliver_late` is called).
    """

    method: str = "unionpay"
    #: Whether a void for an order it does not know keeps that order from arriving later.
    tombstones: bool = True
    orders: dict[tuple[str, str], Order] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    _behaviours: deque[str] = field(default_factory=deque)
    _late: list[tuple[str, tuple[str, str], int]] = field(default_factory=list)
    _done: dict[str, Answer] = field(default_factory=dict)

    def behave(self, *behaviours: str) -> None:
        """Say what happens to the next calls, one word each."""
        self._behaviours.extend(behaviours)

    def deliver_late(self) -> None:
        """Let the requests that were under way arrive now."""
        late, self._late = self._late, []
        for verb, key, amount_minor in late:
            self._new(verb, key, amount_minor, decline=False)

    def authorize(self, *, merchant_id: str, order_id: str, amount_minor: int) -> Answer:
        """Hold an amount for a new order."""
        return self._order("authorize", (merchant_id, order_id), amount_minor)

    def charge(self, *, merchant_id: str, order_id: str, amount_minor: int) -> Answer:
        """Take an amount at once for a new order."""
        return self._order("charge", (merchant_id, order_id), amount_minor)

    def capture(self, *, merchant_id: str, order_id: str, operation_id: str, amount_minor: int) -> Answer:
        """Take part or all of a held order and release the rest; repeatable with the same operation id."""
        return self._operate("capture", (merchant_id, order_id), operation_id, amount_minor)

    def void(self, *, merchant_id: str, order_id: str, operation_id: str) -> Answer:
        """Release a held order, or give back a charged one; repeatable with the same operation id."""
        return self._operate("void", (merchant_id, order_id), operation_id, 0)

    def query(self, *, merchant_id: str, order_id: str) -> Answer:
        """Ask what became of an order."""
        behaviour = self._next("query", order_id)
        order = self.orders.get((merchant_id, order_id))
        if behaviour in ("lost_request", "lost_answer"):
            return Unknown("timeout")
        return Declined(NOT_FOUND) if order is None else _told(order)

    def _next(self, verb: str, order_id: str) -> str:
        self.calls.append((verb, order_id))
        return self._behaviours.popleft() if self._behaviours else "ok"

    def _order(self, verb: str, key: tuple[str, str], amount_minor: int) -> Answer:
        behaviour = self._next(verb, key[1])
        if behaviour == "late_request":
            self._late.append((verb, key, amount_minor))
        if behaviour in ("late_request", "lost_request"):
            return Unknown("timeout")
        answer = self._new(verb, key, amount_minor, decline=behaviour == "decline")
        return Unknown("timeout") if behaviour == "lost_answer" else answer

    def _new(self, verb: str, key: tuple[str, str], amount_minor: int, *, decline: bool) -> Answer:
        if key not in self.orders:
            taken = "held" if verb == "authorize" else "charged"
            status, reason = ("declined", "insufficient_funds") if decline else (taken, "")
            self.orders[key] = Order(verb, amount_minor, status, reason)
        return _told(self.orders[key])

    def _operate(self, verb: str, key: tuple[str, str], operation_id: str, amount_minor: int) -> Answer:
        behaviour = self._next(verb, key[1])
        if behaviour == "lost_request":
            return Unknown("timeout")
        if operation_id not in self._done:
            self._done[operation_id] = (
                Declined("do_not_honor") if behaviour == "decline" else self._change(verb, key, amount_minor)
            )
        return Unknown("timeout") if behaviour == "lost_answer" else self._done[operation_id]

    def _change(self, verb: str, key: tuple[str, str], amount_minor: int) -> Answer:
        order = self.orders.get(key)
        if order is None:
            if verb == "void" and self.tombstones:
                self.orders[key] = Order("tombstone", 0, "declined", "canceled")
            return Succeeded("absent", 0) if verb == "void" else Declined(NOT_FOUND)
        if verb == "capture":
            if order.status != "held" or not 0 < amount_minor <= order.amount_minor:
                return Declined("not_capturable")
            order.status, order.captured_minor = "captured", amount_minor
        elif order.status == "captured":
            return Declined("is_captured")
        elif order.status in ("declined", "voided"):
            return Succeeded("absent", order.amount_minor)
        else:
            order.status = "voided"
        return _told(order)


def _told(order: Order) -> Answer:
    if order.status == "declined":
        return Declined(order.reason)
    return Succeeded(order.status, order.amount_minor)
