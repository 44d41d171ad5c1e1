"""A payment provider in memory: the port's three answers on demand. It remembers what it took and what it was asked."""

import hashlib
import hmac
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from backend.payments.order_numbers import order_no
from backend.payments.port import (
    NOT_FOUND,
    Answer,
    Declined,
    Notification,
    NotificationRefused,
    Order,
    Payer,
    Step,
    Succeeded,
    Unknown,
)

_SECRET = b"only the fake provider signs with this"


@dataclass
class FakeOrder:
    """An order as the fake provider has it."""

    kind: str
    amount_minor: int
    status: str
    reason: str = ""
    captured_minor: int = 0
    refunded_minor: int = 0

    @property
    def owed_minor(self) -> int:
        """Return what the provider owes the merchant for it."""
        if self.status == "captured":
            return self.captured_minor - self.refunded_minor
        return self.amount_minor - self.refunded_minor if self.status == "charged" else 0


@dataclass(frozen=True)
class Row:
    """A line for the daily statement; `amount_minor` is positive when it comes to the merchant."""

    tenant_id: str
    at: datetime
    kind: str
    order_no: str
    operation_no: str
    amount_minor: int


@dataclass
class FakeProvider:
    """
    Behaves well unless told otherwise.

    `behave` queues what happens to the next calls: `ok`, `decline`, `lost_request` (never arrives), `lost_answer`
    (done, answer lost), `late_request` (arrives when `deliver_late` is called), `waiting` (a new order that the payer
    has yet to confirm, done when `confirm` is called).
    """

    method: str = "unionpay"
    #: Whether a void for an order it does not know keeps that order from arriving later.
    tombstones: bool = True
    clock: Callable[[], datetime] = lambda: datetime(2026, 1, 1, tzinfo=UTC)
    orders: dict[tuple[str, str], FakeOrder] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    payers: list[Payer] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    #: What `statement` returns, by day.
    files: dict[date, tuple[str, bytes]] = field(default_factory=dict)
    _behaviours: deque[str] = field(default_factory=deque)
    _late: list[Callable[[], object]] = field(default_factory=list)
    steps: dict[tuple[str, str], Answer] = field(default_factory=dict)

    def behave(self, *behaviours: str) -> None:
        """Say what happens to the next calls, one word each."""
        self._behaviours.extend(behaviours)

    def forget_behaviours(self) -> None:
        """Behave well again."""
        self._behaviours.clear()

    def deliver_late(self) -> None:
        """Let the requests that were under way arrive now."""
        late, self._late = self._late, []
        for arrive in late:
            arrive()

    def confirm(self) -> None:
        """Let every payer who was asked confirm."""
        for key, order in self.orders.items():
            if order.status == "waiting":
                self._finish(key, order)

    def owed_minor(self, tenant_id: str) -> int:
        """Return what the provider owes a merchant in all."""
        return sum(order.owed_minor for (tenant, _), order in self.orders.items() if tenant == tenant_id)

    def authorize(self, order: Order, payer: Payer) -> Answer:
        """Hold the amount of a new order."""
        return self._order("authorize", order, payer)

    def charge(self, order: Order, payer: Payer) -> Answer:
        """Take the amount of a new order at once."""
        return self._order("charge", order, payer)

    def capture(self, order: Order, step: Step) -> Answer:
        """Take part or all of a held order and release the rest; repeatable with the same step."""
        return self._operate("capture", order, step)

    def void(self, order: Order, step: Step) -> Answer:
        """Release a held order, or undo a charged one whole; repeatable with the same step."""
        return self._operate("void", order, step)

    def refund(self, order: Order, step: Step) -> Answer:
        """Give part or all of a charged or captured order back; repeatable with the same step."""
        return self._operate("refund", order, step)

    def query(self, order: Order) -> Answer:
        """Ask what became of an order."""
        behaviour = self._next("query", order.order_id)
        found = self.orders.get((order.tenant_id, order.order_id))
        if behaviour in ("lost_request", "lost_answer"):
            return Unknown("timeout")
        return Declined(NOT_FOUND) if found is None else _told(found)

    def query_step(self, order: Order, step: Step) -> Answer:
        """Ask what became of a step."""
        behaviour = self._next("query_step", order.order_id)
        if behaviour in ("lost_request", "lost_answer"):
            return Unknown("timeout")
        return self.steps.get((order.tenant_id, step.operation_id), Declined(NOT_FOUND))

    def message(
        self,
        tenant_id: str,
        order_id: str,
        *,
        notify_id: str = "n1",
        operation_id: str = "",
        amount_minor: int | None = None,
        status: str = "",
    ) -> tuple[dict[str, str], bytes]:
        """Return the headers and body of a notification about what is so now, or about what is claimed."""
        answer = self.steps[tenant_id, operation_id] if operation_id else _told(self.orders[tenant_id, order_id])
        result: dict[str, object] = {"declined": answer.reason} if isinstance(answer, Declined) else {}
        if isinstance(answer, Succeeded) or status:
            said_minor = answer.amount_minor if isinstance(answer, Succeeded) else 0
            result = {
                "status": status or (answer.status if isinstance(answer, Succeeded) else ""),
                "amount_minor": said_minor if amount_minor is None else amount_minor,
            }
        body = json.dumps(
            {
                "tenant_id": tenant_id,
                "notify_id": notify_id,
                "order_no": order_no(order_id),
                "operation_no": order_no(operation_id) if operation_id else "",
                **result,
            }
        ).encode()
        return {"X-Signature": _sign(body)}, body

    def read_notification(self, tenant_id: str, headers: Mapping[str, str], body: bytes) -> Notification:
        """Return what a message says, after verifying it on its raw bytes."""
        if not hmac.compare_digest(headers.get("x-signature", ""), _sign(body)):
            raise NotificationRefused("signature")
        said = json.loads(body)
        if said["tenant_id"] != tenant_id:
            raise NotificationRefused("merchant")
        answer: Answer = Unknown("waiting")
        if "declined" in said:
            answer = Declined(said["declined"])
        elif said.get("status") not in (None, "waiting"):
            answer = Succeeded(said["status"], said["amount_minor"], f"ref-{said['order_no']}")
        return Notification(said["notify_id"], said["order_no"], said["operation_no"], answer)

    def acknowledgement(self, *, accepted: bool) -> tuple[int, str, bytes]:
        """Return what tells the provider to stop or go on notifying."""
        return (200, "text/plain", b"ok") if accepted else (400, "text/plain", b"fail")

    def merchant_no(self, tenant_id: str) -> str:
        """Know every school, by no number."""
        return ""

    def statement(self, tenant_id: str, day: date) -> tuple[str, bytes] | None:
        """Return the daily statement file, or None while there is none."""
        self.calls.append(("statement", f"{tenant_id}/{day}"))
        return self.files.get(day)

    def _next(self, verb: str, order_id: str) -> str:
        self.calls.append((verb, order_id))
        return self._behaviours.popleft() if self._behaviours else "ok"

    def _order(self, verb: str, order: Order, payer: Payer) -> Answer:
        assert bool(payer.code) != bool(payer.agreement), "one payer, named in one way"
        assert order.kind == ("hold" if verb == "authorize" else "charge")
        self.payers.append(payer)
        behaviour = self._next(verb, order.order_id)
        if behaviour == "late_request":
            self._late.append(lambda: self._new(order, "ok"))
        if behaviour in ("late_request", "lost_request"):
            return Unknown("timeout")
        answer = self._new(order, behaviour)
        return Unknown("timeout") if behaviour == "lost_answer" else answer

    def _new(self, order: Order, behaviour: str) -> Answer:
        key = (order.tenant_id, order.order_id)
        if key not in self.orders:
            new = FakeOrder(order.kind, order.amount_minor, "waiting")
            self.orders[key] = new
            if behaviour == "decline":
                new.status, new.reason = "declined", "insufficient_funds"
            elif behaviour != "waiting":
                self._finish(key, new)
        return _told(self.orders[key])

    def _finish(self, key: tuple[str, str], order: FakeOrder) -> None:
        order.status = "held" if order.kind == "hold" else "charged"
        if order.kind == "charge":
            self._write(key, "payment", "", order.amount_minor)

    def _write(self, key: tuple[str, str], kind: str, operation_id: str, amount_minor: int) -> None:
        number = order_no(operation_id) if operation_id else ""
        self.rows.append(Row(key[0], self.clock(), kind, order_no(key[1]), number, amount_minor))

    def _operate(self, verb: str, order: Order, step: Step) -> Answer:
        behaviour = self._next(verb, order.order_id)
        assert step.kind == verb
        if behaviour == "late_request":
            self._late.append(lambda: self._step(order, step, "ok"))
        if behaviour in ("lost_request", "late_request"):
            return Unknown("timeout")
        answer = self._step(order, step, behaviour)
        return Unknown("timeout") if behaviour == "lost_answer" else answer

    def _step(self, order: Order, step: Step, behaviour: str) -> Answer:
        key = (order.tenant_id, step.operation_id)
        if key not in self.steps or isinstance(self.steps[key], Declined):
            if behaviour == "decline":
                self.steps[key] = Declined("do_not_honor")
            else:
                self.steps[key] = self._change((order.tenant_id, order.order_id), step)
        return self.steps[key]

    def _change(self, key: tuple[str, str], step: Step) -> Answer:
        order = self.orders.get(key)
        if order is None:
            if step.kind == "void" and self.tombstones:
                self.orders[key] = FakeOrder("tombstone", 0, "declined", "canceled")
            return Succeeded("absent", 0) if step.kind == "void" else Declined(NOT_FOUND)
        if step.kind == "capture":
            if order.status != "held" or not 0 < step.amount_minor <= order.amount_minor:
                return Declined("not_capturable")
            order.status, order.captured_minor = "captured", step.amount_minor
            self._write(key, "completion", step.operation_id, step.amount_minor)
            return Succeeded("captured", step.amount_minor, "ref")
        if step.kind == "refund":
            if not 0 < step.amount_minor <= order.owed_minor:
                return Declined("not_refundable")
            order.refunded_minor += step.amount_minor
            self._write(key, "refund", step.operation_id, -step.amount_minor)
            return Succeeded("refunded", step.amount_minor, "ref")
        return self._void(key, order, step)

    def _void(self, key: tuple[str, str], order: FakeOrder, step: Step) -> Answer:
        if order.status == "captured" or order.refunded_minor:
            return Declined("is_captured")
        if order.status in ("declined", "voided"):
            return Succeeded("absent", 0)
        if order.status == "charged":
            self._write(key, "refund", step.operation_id, -order.amount_minor)
        if order.status == "waiting":
            order.status, order.reason = "declined", "canceled"
            return Succeeded("absent", 0)
        order.status = "voided"
        return Succeeded("voided", order.amount_minor, "ref")


def _sign(body: bytes) -> str:
    return hmac.new(_SECRET, body, hashlib.sha256).hexdigest()


def _told(order: FakeOrder) -> Answer:
    if order.status == "declined":
        return Declined(order.reason)
    if order.status == "waiting":
        return Unknown("waiting")
    return Succeeded(order.status, order.amount_minor, "ref")
