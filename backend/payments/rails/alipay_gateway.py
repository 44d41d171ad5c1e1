"""Alipay's one address: signed calls, answers that are provably theirs, and the questions that settle what is open."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from backend.kit.clock import Clock
from backend.payments.order_numbers import order_no
from backend.payments.port import NOT_FOUND, Answer, Declined, Order, Step, Succeeded, Unknown
from backend.payments.rails import alipay_messages as messages
from backend.payments.rails.alipay_signing import signed_form, verified_answer
from backend.payments.rails.amounts import spaced_time
from backend.payments.rails.merchants import AlipayMerchant
from backend.payments.rails.wire import Budget, Failure, Wire

_FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
#: A trade can be cancelled for a day; an older one is refunded.
_CANCEL_WITHIN = timedelta(hours=24)

Read = Callable[[Mapping[str, Any]], Answer]


def cancellable(order: Order, step: Step) -> bool:
    """Return whether a step that undoes an order whole comes in time to be a cancellation."""
    return step.asked_at - order.ordered_at < _CANCEL_WITHIN


class Gateway:
    """What one merchant says and asks within the time of one call."""

    def __init__(self, merchant: AlipayMerchant, url: str, wire: Wire, budget: Budget, clock: Clock) -> None:
        self.merchant = merchant
        self._url = url
        self._wire = wire
        self._budget = budget
        self._clock = clock

    def node(
        self, method: str, content: Mapping[str, Any], *, notify_url: str = ""
    ) -> messages.Node | Failure | Unknown:
        """Return what answers a method, once it is provably the provider's."""
        fields = {
            "app_id": self.merchant.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": spaced_time(self._clock()),
            "version": "1.0",
            "notify_url": notify_url,
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        body = signed_form(self.merchant, {name: value for name, value in fields.items() if value})
        reply = self._wire.send("POST", self._url, budget=self._budget, body=body, headers=_FORM)
        if isinstance(reply, Failure):
            return reply
        if reply.status != 200:
            return Unknown(f"http_{reply.status}")
        return verified_answer(self.merchant, method, reply.body) or Unknown("unsigned_answer")

    def call(
        self, method: str, content: Mapping[str, Any], read: Read, *, notify_url: str = "", fresh: bool = False
    ) -> Answer:
        """Return what the answer to a method means; `fresh` is a new order, of which nothing has been sent before."""
        node = self.node(method, content, notify_url=notify_url)
        if isinstance(node, Failure):
            return node.answer(fresh=fresh)
        return node if isinstance(node, Unknown) else read(node)

    def settle(self, said: Answer, ask: Callable[[], Answer]) -> Answer:
        """Return what was said; when that leaves it open though we were heard, what a question brings."""
        if not isinstance(said, Unknown) or not said.reason.startswith("alipay_"):
            return said
        answer = ask()
        # What was just sent may not be on record yet; only a later question may believe that it is not there.
        return said if answer == Declined(NOT_FOUND) else answer

    def ask(self, order: Order) -> Answer:
        """Return what became of an order."""
        number = order_no(order.order_id)
        if order.kind == "hold":
            content = {"out_order_no": number, "out_request_no": number, "operation_type": "FREEZE"}
            return self.call(messages.FREEZE_QUERY, content, lambda node: messages.after_freeze(node, order))
        return self._ask_trade(number, order.amount_minor, "charged")

    def ask_step(self, order: Order, step: Step) -> Answer:
        """Return what became of a step."""
        if step.kind == "capture":
            return self._ask_trade(order_no(step.operation_id), step.amount_minor, "captured")
        if step.kind == "refund":
            return self.ask_refund(order, step)
        if order.kind == "hold":
            return self._ask_release(order, step)
        return _undone(self.ask(order)) if cancellable(order, step) else self.ask_refund(order, step)

    def ask_refund(self, order: Order, step: Step) -> Answer:
        """Return what became of a refund."""
        content = messages.trade(order) | {"out_request_no": order_no(step.operation_id)}
        return self.call(messages.REFUND_QUERY, content, lambda node: messages.after_refund_query(node, order, step))

    def _ask_trade(self, number: str, amount_minor: int, status: str) -> Answer:
        def read(node: messages.Node) -> Answer:
            return messages.after_trade_query(node, number, amount_minor, status)

        return self.call(messages.TRADE_QUERY, {"out_trade_no": number}, read)

    def _ask_release(self, order: Order, step: Step) -> Answer:
        """Return what became of a release: known by its own number when it was an unfreeze, else by its freeze."""
        content = {
            "out_order_no": order_no(order.order_id),
            "out_request_no": order_no(step.operation_id),
            "operation_type": "UNFREEZE",
        }
        told = self.call(messages.FREEZE_QUERY, content, lambda node: messages.after_unfreeze(node, step))
        return _undone(self.ask(order)) if told == Declined(NOT_FOUND) else told


def _undone(order: Answer) -> Answer:
    """Return what the state of an order says of undoing it; not found while it stands, waits, or may still arrive."""
    if isinstance(order, Succeeded):
        is_undone = order.status in ("refunded", "voided")
        return Succeeded("voided", order.amount_minor, order.reference) if is_undone else Declined(NOT_FOUND)
    if isinstance(order, Declined) and order.reason != NOT_FOUND:
        return Succeeded("absent", 0)
    return Declined(NOT_FOUND) if order == Unknown("waiting") else order
