"""Alipay (open platform) behind the port."""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from backend.kit.clock import Clock, utc_now
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
from backend.payments.rails import alipay_messages as messages
from backend.payments.rails.alipay_signing import signed_form, verified_answer, verified_notification
from backend.payments.rails.amounts import spaced_time
from backend.payments.rails.common import NOTIFICATION_BYTES_MAX, STATEMENT_BYTES_MAX, payer_problem
from backend.payments.rails.merchants import AlipayMerchant, Merchants
from backend.payments.rails.wire import Budget, Failure, Wire

_log = logging.getLogger(__name__)
_GATEWAY = "/gateway.do"
_FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
#: A trade can be cancelled for a day; an older one is refunded.
_CANCEL_WITHIN = timedelta(hours=24)
#: Payers may take this long over their password; it ends before we give the order up.
_PAY_WITHIN = "1m"

_Read = Callable[[Mapping[str, Any]], Answer]


class Alipay:
    """Alipay for every school that has an app there."""

    method = "alipay"

    def __init__(
        self, merchants: Merchants[AlipayMerchant], wire: Wire, *, public_url: str, clock: Clock = utc_now
    ) -> None:
        self._merchants = merchants
        self._wire = wire
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    def authorize(self, order: Order, payer: Payer) -> Answer:
        """Hold the amount of a new order (freeze)."""
        merchant = self._payable(order, payer)
        if isinstance(merchant, Declined):
            return merchant
        content = messages.freeze(merchant, order, payer) | {"pay_timeout": _PAY_WITHIN}
        return self._new(merchant, messages.FREEZE, order, content, lambda node: messages.after_freeze(node, order))

    def charge(self, order: Order, payer: Payer) -> Answer:
        """Take the amount of a new order at once (trade.pay)."""
        merchant = self._payable(order, payer)
        if isinstance(merchant, Declined):
            return merchant
        number = order_no(order.order_id)
        content = messages.pay(merchant, order, payer) | {"timeout_express": _PAY_WITHIN}
        return self._new(
            merchant,
            messages.PAY,
            order,
            content,
            lambda node: messages.after_pay(node, number, order.amount_minor, "charged"),
        )

    def capture(self, order: Order, step: Step) -> Answer:
        """Turn a freeze into a trade (PREAUTH_PAY); COMPLETE releases the rest."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        budget = self._wire.budget()
        auth_no = self._auth_no(merchant, order, budget)
        if not isinstance(auth_no, str):
            return auth_no
        number = order_no(step.operation_id)
        said = self._call(
            merchant,
            messages.PAY,
            messages.complete(merchant, step, auth_no),
            lambda node: messages.after_pay(node, number, step.amount_minor, "captured"),
            budget,
            notify=order.tenant_id,
        )
        return self._settled(said, lambda: self._ask_step(merchant, order, step, budget))

    def void(self, order: Order, step: Step) -> Answer:
        """Release a freeze, or cancel a trade; one older than a day is refunded whole."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        budget = self._wire.budget()
        if order.kind == "charge":
            if not _cancellable(order, step):
                return self._refund(merchant, order, step, budget)
            content = {"out_trade_no": order_no(order.order_id)}
            return self._plain(
                merchant, messages.CANCEL, content, lambda node: messages.after_cancel(node, order), budget
            )
        auth_no = self._auth_no(merchant, order, budget)
        if isinstance(auth_no, Declined):
            return Succeeded("absent", 0)
        if not isinstance(auth_no, str):
            return auth_no
        said = self._call(
            merchant,
            messages.UNFREEZE,
            messages.unfreeze(step, auth_no),
            lambda node: messages.after_unfreeze(node, step),
            budget,
            notify=order.tenant_id,
        )
        return self._settled(said, lambda: self._ask_step(merchant, order, step, budget))

    def refund(self, order: Order, step: Step) -> Answer:
        """Give part or all of it back. Of a captured hold, `provider_ref` must be what the capture is called."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        if order.kind == "hold" and not order.provider_ref:
            return Unknown("reference_missing")
        return self._refund(merchant, order, step, self._wire.budget())

    def query(self, order: Order) -> Answer:
        """Ask what became of an order."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        return self._ask(merchant, order, self._wire.budget())

    def query_step(self, order: Order, step: Step) -> Answer:
        """Ask what became of a step."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        return self._ask_step(merchant, order, step, self._wire.budget())

    def read_notification(self, tenant_id: str, headers: Mapping[str, str], body: bytes) -> Notification:
        """
        Return what a form posted to notify_url says.

        :raises NotificationRefused: if it is malformed, forged, or about another app, seller or currency.
        """
        merchant = self._merchants.find(tenant_id)
        if isinstance(merchant, str):
            raise NotificationRefused(merchant)
        fields = verified_notification(merchant, body) if len(body) <= NOTIFICATION_BYTES_MAX else None
        if fields is None:
            raise NotificationRefused("malformed")
        if not fields:
            raise NotificationRefused("forged")
        return messages.notification(merchant, fields)

    def acknowledgement(self, *, accepted: bool) -> tuple[int, str, bytes]:
        """Return 200 `success`, which stops the repetitions, or 400 `failure`."""
        return (200, "text/plain", b"success") if accepted else (400, "text/plain", b"failure")

    def statement(self, tenant_id: str, day: date) -> tuple[str, bytes] | None:
        """Return the ZIP with a day's trades, or None while there is none."""
        merchant = self._merchants.find(tenant_id)
        if isinstance(merchant, str):
            return None
        budget = self._wire.budget()
        content = {"bill_type": "trade", "bill_date": day.isoformat()}
        node = self._node(merchant, messages.BILL, content, budget)
        if isinstance(node, Failure | Unknown):
            _log.warning("no statement of %s for %s on %s: %s", self.method, tenant_id, day, node.reason)
            return None
        url = node.get("bill_download_url")
        if messages.refused(node) is not None or not isinstance(url, str):
            if messages.refused(node) != Declined(NOT_FOUND):
                _log.warning("no statement of %s for %s on %s: refused", self.method, tenant_id, day)
            return None
        reply = self._wire.send("GET", url, budget=budget, bytes_max=STATEMENT_BYTES_MAX)
        if isinstance(reply, Failure) or reply.status != 200 or not reply.body.startswith(b"PK"):
            _log.warning("no statement of %s for %s on %s: no file at its address", self.method, tenant_id, day)
            return None
        return f"{merchant.seller_id}_{day:%Y%m%d}.csv.zip", reply.body

    def _payable(self, order: Order, payer: Payer) -> AlipayMerchant | Declined:
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Declined(merchant)
        problem = payer_problem(self.method, payer)
        return Declined(problem) if problem else merchant

    def _new(
        self, merchant: AlipayMerchant, method: str, order: Order, content: Mapping[str, Any], read: _Read
    ) -> Answer:
        budget = self._wire.budget()
        said = self._call(merchant, method, content, read, budget, notify=order.tenant_id, fresh=True)
        return self._settled(said, lambda: self._ask(merchant, order, budget))

    def _settled(self, said: Answer, ask: Callable[[], Answer]) -> Answer:
        """Return what was said; when that leaves it open though we were heard, what a question brings."""
        if not isinstance(said, Unknown) or not said.reason.startswith("alipay_"):
            return said
        answer = ask()
        # What was just sent may not be on record yet; only a later question may believe that it is not there.
        return said if answer == Declined(NOT_FOUND) else answer

    def _refund(self, merchant: AlipayMerchant, order: Order, step: Step, budget: Budget) -> Answer:
        said = self._plain(
            merchant,
            messages.REFUND,
            messages.refund(order, step),
            lambda node: messages.after_refund(node, order, step),
            budget,
        )
        if said == Declined(NOT_FOUND) and step.kind == "void":
            return Succeeded("absent", 0)
        return self._settled(said, lambda: self._ask_refund(merchant, order, step, budget))

    def _auth_no(self, merchant: AlipayMerchant, order: Order, budget: Budget) -> str | Answer:
        """Return what Alipay calls a freeze, or why that is not known."""
        if order.provider_ref:
            return order.provider_ref
        asked = self._ask(merchant, order, budget)
        return asked.reference if isinstance(asked, Succeeded) and asked.reference else asked

    def _ask(self, merchant: AlipayMerchant, order: Order, budget: Budget) -> Answer:
        number = order_no(order.order_id)
        if order.kind == "hold":
            content = {"out_order_no": number, "out_request_no": number, "operation_type": "FREEZE"}
            return self._plain(
                merchant, messages.FREEZE_QUERY, content, lambda node: messages.after_freeze(node, order), budget
            )
        return self._ask_trade(merchant, number, order.amount_minor, "charged", budget)

    def _ask_trade(
        self, merchant: AlipayMerchant, number: str, amount_minor: int, status: str, budget: Budget
    ) -> Answer:
        return self._plain(
            merchant,
            messages.TRADE_QUERY,
            {"out_trade_no": number},
            lambda node: messages.after_trade_query(node, number, amount_minor, status),
            budget,
        )

    def _ask_step(self, merchant: AlipayMerchant, order: Order, step: Step, budget: Budget) -> Answer:
        if step.kind == "capture":
            return self._ask_trade(merchant, order_no(step.operation_id), step.amount_minor, "captured", budget)
        if step.kind == "refund" or (order.kind == "charge" and not _cancellable(order, step)):
            return self._ask_refund(merchant, order, step, budget)
        if order.kind == "hold":
            content = {
                "out_order_no": order_no(order.order_id),
                "out_request_no": order_no(step.operation_id),
                "operation_type": "UNFREEZE",
            }
            return self._plain(
                merchant, messages.FREEZE_QUERY, content, lambda node: messages.after_unfreeze(node, step), budget
            )
        return _cancelled(self._ask(merchant, order, budget))

    def _ask_refund(self, merchant: AlipayMerchant, order: Order, step: Step, budget: Budget) -> Answer:
        content = messages.trade(order) | {"out_request_no": order_no(step.operation_id)}
        return self._plain(
            merchant,
            messages.REFUND_QUERY,
            content,
            lambda node: messages.after_refund_query(node, order, step),
            budget,
        )

    def _plain(
        self, merchant: AlipayMerchant, method: str, content: Mapping[str, Any], read: _Read, budget: Budget
    ) -> Answer:
        return self._call(merchant, method, content, read, budget)

    def _call(
        self,
        merchant: AlipayMerchant,
        method: str,
        content: Mapping[str, Any],
        read: _Read,
        budget: Budget,
        *,
        notify: str = "",
        fresh: bool = False,
    ) -> Answer:
        node = self._node(merchant, method, content, budget, notify=notify)
        if isinstance(node, Failure):
            return node.answer(fresh=fresh)
        return node if isinstance(node, Unknown) else read(node)

    def _node(
        self, merchant: AlipayMerchant, method: str, content: Mapping[str, Any], budget: Budget, *, notify: str = ""
    ) -> Mapping[str, Any] | Failure | Unknown:
        fields = {
            "app_id": merchant.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": spaced_time(self._clock()),
            "version": "1.0",
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        if notify:
            fields["notify_url"] = f"{self._public_url}/notify/{self.method}/{notify}"
        url = self._merchants.address(merchant, _GATEWAY)
        reply = self._wire.send("POST", url, budget=budget, body=signed_form(merchant, fields), headers=_FORM)
        if isinstance(reply, Failure):
            return reply
        if reply.status != 200:
            return Unknown(f"http_{reply.status}")
        return verified_answer(merchant, method, reply.body) or Unknown("unsigned_answer")


def _cancellable(order: Order, step: Step) -> bool:
    return step.asked_at - order.ordered_at < _CANCEL_WITHIN


def _cancelled(trade: Answer) -> Answer:
    """Return what the state of a trade says of its cancellation."""
    if trade == Declined(NOT_FOUND):
        return Succeeded("absent", 0)
    if isinstance(trade, Declined):
        return Succeeded("absent", 0)
    if isinstance(trade, Succeeded):
        is_undone = trade.status == "refunded"
        return Succeeded("voided", trade.amount_minor, trade.reference) if is_undone else Declined(NOT_FOUND)
    return trade
