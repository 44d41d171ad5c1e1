"""Alipay (open platform) behind the port."""

import logging
from collections.abc import Mapping
from datetime import date
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
from backend.payments.rails.alipay_gateway import Gateway, Read, cancellable
from backend.payments.rails.alipay_signing import verified_notification
from backend.payments.rails.common import NOTIFICATION_BYTES_MAX, STATEMENT_BYTES_MAX, payer_problem
from backend.payments.rails.merchants import AlipayMerchant, Merchants
from backend.payments.rails.wire import Failure, Wire

_log = logging.getLogger(__name__)
_PATH = "/gateway.do"
#: Payers may take this long over their password; it ends before we give the order up.
_PAY_WITHIN = "1m"


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
        gateway = self._payable(order, payer)
        if isinstance(gateway, Declined):
            return gateway
        content = messages.freeze(gateway.merchant, order, payer) | {"pay_timeout": _PAY_WITHIN}

        def read(node: messages.Node) -> Answer:
            return messages.after_freeze(node, order)

        return self._new(gateway, messages.FREEZE, order, content, read)

    def charge(self, order: Order, payer: Payer) -> Answer:
        """Take the amount of a new order at once (trade.pay)."""
        gateway = self._payable(order, payer)
        if isinstance(gateway, Declined):
            return gateway
        content = messages.pay(gateway.merchant, order, payer) | {"timeout_express": _PAY_WITHIN}
        number = order_no(order.order_id)

        def read(node: messages.Node) -> Answer:
            return messages.after_pay(node, number, order.amount_minor, "charged")

        return self._new(gateway, messages.PAY, order, content, read)

    def capture(self, order: Order, step: Step) -> Answer:
        """Turn a freeze into a trade (PREAUTH_PAY); COMPLETE releases the rest."""
        gateway = self._gateway(order.tenant_id)
        if not isinstance(gateway, Gateway):
            return Unknown(gateway)
        auth_no = order.provider_ref
        if not auth_no:
            asked = gateway.ask(order)
            if not isinstance(asked, Succeeded):
                return asked
            auth_no = asked.reference
        number = order_no(step.operation_id)
        said = gateway.call(
            messages.PAY,
            messages.complete(gateway.merchant, step, auth_no),
            lambda node: messages.after_pay(node, number, step.amount_minor, "captured"),
            notify_url=self._notify_url(order.tenant_id),
        )
        return gateway.settle(said, lambda: gateway.ask_step(order, step))

    def void(self, order: Order, step: Step) -> Answer:
        """Release a freeze, or cancel a trade; one older than a day is refunded whole."""
        gateway = self._gateway(order.tenant_id)
        if not isinstance(gateway, Gateway):
            return Unknown(gateway)
        if order.kind == "hold":
            return self._release(gateway, order, step)
        if not cancellable(order, step):
            return self._refund(gateway, order, step)
        content = {"out_trade_no": order_no(order.order_id)}
        return gateway.call(messages.CANCEL, content, lambda node: messages.after_cancel(node, order))

    def refund(self, order: Order, step: Step) -> Answer:
        """Give part or all of it back. Of a captured hold, `provider_ref` must be what the capture is called."""
        gateway = self._gateway(order.tenant_id)
        if not isinstance(gateway, Gateway):
            return Unknown(gateway)
        if order.kind == "hold" and not order.provider_ref:
            return Unknown("reference_missing")
        return self._refund(gateway, order, step)

    def query(self, order: Order) -> Answer:
        """Ask what became of an order."""
        gateway = self._gateway(order.tenant_id)
        return gateway.ask(order) if isinstance(gateway, Gateway) else Unknown(gateway)

    def query_step(self, order: Order, step: Step) -> Answer:
        """Ask what became of a step."""
        gateway = self._gateway(order.tenant_id)
        return gateway.ask_step(order, step) if isinstance(gateway, Gateway) else Unknown(gateway)

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

    def merchant_no(self, tenant_id: str) -> str:
        """Return the number the provider knows a school by; empty for a school it does not know."""
        gateway = self._gateway(tenant_id)
        return gateway.merchant.seller_id if isinstance(gateway, Gateway) else ""

    def statement(self, tenant_id: str, day: date) -> tuple[str, bytes] | None:
        """Return the ZIP with a day's trades, or None while there is none."""
        gateway = self._gateway(tenant_id)
        if not isinstance(gateway, Gateway):
            return None
        data = self._statement(gateway, day)
        if isinstance(data, str):
            if data != NOT_FOUND:
                _log.warning("no statement of %s for %s on %s: %s", self.method, tenant_id, day, data)
            return None
        return f"{gateway.merchant.seller_id}_{day:%Y%m%d}.csv.zip", data

    def _statement(self, gateway: Gateway, day: date) -> bytes | str:
        node = gateway.node(messages.BILL, {"bill_type": "trade", "bill_date": day.isoformat()})
        if isinstance(node, Failure | Unknown):
            return node.reason
        if said := messages.refused(node):
            return said.reason
        url = node.get("bill_download_url")
        if not isinstance(url, str):
            return "no address"
        reply = self._wire.send("GET", url, budget=self._wire.budget(), bytes_max=STATEMENT_BYTES_MAX)
        if isinstance(reply, Failure):
            return reply.reason
        is_zip = reply.status == 200 and reply.body.startswith(b"PK")
        return reply.body if is_zip else "no file at its address"

    def _gateway(self, tenant_id: str) -> Gateway | str:
        """Return the gateway for one call, or why the school has none."""
        merchant = self._merchants.find(tenant_id)
        if isinstance(merchant, str):
            return merchant
        url = self._merchants.address(merchant, _PATH)
        return Gateway(merchant, url, self._wire, self._wire.budget(), self._clock)

    def _payable(self, order: Order, payer: Payer) -> Gateway | Declined:
        gateway = self._gateway(order.tenant_id)
        if not isinstance(gateway, Gateway):
            return Declined(gateway)
        problem = payer_problem(self.method, payer)
        return Declined(problem) if problem else gateway

    def _new(self, gateway: Gateway, method: str, order: Order, content: Mapping[str, Any], read: Read) -> Answer:
        notify_url = self._notify_url(order.tenant_id)
        said = gateway.call(method, content, read, notify_url=notify_url, fresh=True)
        return gateway.settle(said, lambda: gateway.ask(order))

    def _release(self, gateway: Gateway, order: Order, step: Step) -> Answer:
        """Unfreeze what Alipay has told us it froze; cancel what it has not, which then cannot arrive any more."""
        notify_url = self._notify_url(order.tenant_id)
        if not order.provider_ref:
            content = messages.cancel_freeze(order)
            return gateway.call(
                messages.FREEZE_CANCEL,
                content,
                lambda node: messages.after_freeze_cancel(node, order),
                notify_url=notify_url,
            )
        said = gateway.call(
            messages.UNFREEZE,
            messages.unfreeze(step, order.provider_ref),
            lambda node: messages.after_unfreeze(node, step),
            notify_url=notify_url,
        )
        return gateway.settle(said, lambda: gateway.ask_step(order, step))

    def _refund(self, gateway: Gateway, order: Order, step: Step) -> Answer:
        content = messages.refund(order, step)
        said = gateway.call(messages.REFUND, content, lambda node: messages.after_refund(node, order, step))
        if said == Declined(NOT_FOUND) and step.kind == "void":
            return Succeeded("absent", 0)
        return gateway.settle(said, lambda: gateway.ask_refund(order, step))

    def _notify_url(self, tenant_id: str) -> str:
        return f"{self._public_url}/notify/{self.method}/{tenant_id}"
