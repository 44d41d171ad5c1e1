"""Alipay's fund authorization: freeze, unfreeze, cancel, and what became of either."""

from collections.abc import Callable
from typing import Any

from firmware_sim.sandbox_provider.alipay_words import (
    Reply,
    amount,
    done,
    failed,
    number,
    payer,
    reference,
    sub_code,
    text,
    waiting,
)
from firmware_sim.sandbox_provider.desk import Desk
from firmware_sim.sandbox_provider.keyring import Merchant
from firmware_sim.sandbox_provider.kit import readable, yuan
from firmware_sim.sandbox_provider.scripts import Plan
from firmware_sim.sandbox_provider.store import Operation, Order

Call = tuple[str, str, Callable[[Plan, int], Reply]]
_ORDER_STATES = {"waiting": "INIT", "held": "AUTHORIZED", "captured": "FINISH", "refunded": "FINISH"}


def _frozen(order: Order) -> Reply:
    state = {"waiting": "INIT", "voided": "CLOSED", "declined": "CLOSED"}.get(order.status, "SUCCESS")
    if order.times_taken:
        state = "SUCCESS"
    return {
        "auth_no": order.reference, "out_order_no": order.order_no, "operation_id": order.details["operation_id"],
        "out_request_no": order.details["request_no"], "amount": yuan(order.amount_minor), "status": state,
        "payer_user_id": "2088000000000001", "gmt_trans": readable(order.details.get("paid_ms", order.created_ms)),
        "pre_auth_type": "CREDIT_AUTH",
    }  # fmt: skip


class Funds:
    """Holds of the brand."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._store = desk.store

    def freeze(self, merchant: Merchant, biz: dict[str, Any], notify_url: str) -> Call:
        """Hold an amount. The same order and request again are told what is; anything else under the number is no."""
        order_no, request_no = number(biz, "out_order_no"), number(biz, "out_request_no")
        amount_minor = amount(biz, "amount")

        def act(plan: Plan, now_ms: int) -> Reply:
            order = self._store.order("alipay", merchant.merchant_id, order_no)
            if order is None:
                order = Order(
                    brand="alipay", merchant_id=merchant.merchant_id, order_no=order_no, tenant_id=merchant.tenant_id,
                    kind="hold", amount_minor=amount_minor, notify_url=notify_url,
                    details={"request_no": request_no, "subject": text(biz, "order_title"),
                             "operation_id": reference(now_ms, "3002", self._store.next_number())},
                )  # fmt: skip
                self._desk.book.place(order, plan, payer(biz), lambda n: reference(now_ms, "1002", n), now_ms)
                if order.times_taken:
                    self._desk.tell(order)
            elif (order.kind, order.amount_minor, order.details.get("request_no")) != (
                "hold",
                amount_minor,
                request_no,
            ):
                return failed("ORDER_ALREADY_CLOSED" if not order.kind else "ORDER_ALREADY_EXIST")
            if order.status == "waiting":
                return waiting(**_frozen(order))
            if order.times_taken:
                return done(**_frozen(order))
            return failed("ORDER_ALREADY_CLOSED" if order.status == "voided" else sub_code(order.reason))

        return order_no, request_no, act

    def unfreeze(self, merchant: Merchant, biz: dict[str, Any], notify_url: str) -> Call:
        """Release the whole rest of a hold; repeatable by its request number."""
        auth_no, request_no, amount_minor = text(biz, "auth_no"), number(biz, "out_request_no"), amount(biz, "amount")
        order = self._store.order_by_reference("alipay", merchant.merchant_id, auth_no)

        def act(plan: Plan, now_ms: int) -> Reply:
            order = self._store.order_by_reference("alipay", merchant.merchant_id, auth_no)
            if order is None or order.kind != "hold":
                return failed("AUTH_ORDER_NOT_EXIST")
            operation = self._store.operation("alipay", merchant.merchant_id, request_no)
            if operation is not None and operation.status == "refused":
                self._store.forget(operation)  # what failed is asked for again under its own number
                operation = None
            if operation is not None:
                same = (operation.kind, operation.order_no) == ("void", order.order_no)
                if not same or operation.amount_minor != amount_minor:
                    return failed("REQUEST_AMOUNT_DIFFERS")
            elif order.status != "held":
                return failed("AUTH_ORDER_HAS_FINISHED" if order.captured_minor else "AUTH_ORDER_HAS_CLOSED")
            elif amount_minor != order.amount_minor:
                return failed("UNFREEZE_AMOUNT_NOT_WHOLE_REST")
            else:
                operation = self._void(merchant, order, request_no, notify_url, plan, now_ms)
            if operation.status == "refused":
                return failed(sub_code(operation.reason))
            return done(
                auth_no=auth_no, out_order_no=order.order_no, operation_id=operation.reference,
                out_request_no=request_no, amount=yuan(amount_minor), gmt_trans=readable(operation.changed_ms),
                status="INIT" if operation.status == "waiting" else "SUCCESS",
            )  # fmt: skip

        return order.order_no if order is not None else request_no, request_no, act

    def _void(
        self, merchant: Merchant, order: Order, request_no: str, notify_url: str, plan: Plan, now_ms: int
    ) -> Operation:
        operation = Operation(
            brand="alipay", merchant_id=merchant.merchant_id, operation_no=request_no, order_no=order.order_no,
            kind="void", amount_minor=order.amount_minor, notify_url=notify_url,
        )  # fmt: skip
        self._desk.book.step(order, operation, plan, lambda n: reference(now_ms, "3002", n), now_ms)
        if operation.status == "done" and order.times_taken:
            self._desk.tell(order, operation)
        return operation

    def cancel(self, merchant: Merchant, biz: dict[str, Any], notify_url: str) -> Call:
        """Undo a freeze by its own numbers, whatever became of it; one that nobody knows cannot arrive later."""
        order_no, request_no = number(biz, "out_order_no"), number(biz, "out_request_no")

        def act(plan: Plan, now_ms: int) -> Reply:
            order = self._store.order("alipay", merchant.merchant_id, order_no)
            if order is None:
                order = Order(
                    brand="alipay", merchant_id=merchant.merchant_id, order_no=order_no, tenant_id=merchant.tenant_id,
                    kind="", amount_minor=0,
                )  # fmt: skip
                self._desk.book.bar(order, now_ms)
            if not order.kind:
                return done(out_order_no=order_no, out_request_no=request_no)
            if order.status in ("captured", "refunded"):
                return failed("AUTH_ORDER_HAS_FINISHED")
            was_held = order.status == "held"
            operation = None
            if order.status in ("held", "waiting"):
                cancel_no = self._store.fresh_number("alipay", merchant.merchant_id, f"cancel:{request_no}")
                operation = self._void(merchant, order, cancel_no, notify_url, plan, now_ms)
            if operation is not None and operation.status == "refused":
                return failed(sub_code(operation.reason))
            return done(
                auth_no=order.reference, out_order_no=order_no, operation_id=order.details["operation_id"],
                out_request_no=request_no, action="unfreeze" if was_held else "close",
            )  # fmt: skip

        return order_no, request_no, act

    def query(self, merchant: Merchant, biz: dict[str, Any], _notify_url: str) -> Call:
        """Tell an authorization and one operation of it: the freeze unless another is named."""
        auth_no, order_no = text(biz, "auth_no"), text(biz, "out_order_no")
        request_no, operation_id = text(biz, "out_request_no"), text(biz, "operation_id")
        if not (auth_no or order_no) or not (request_no or operation_id):
            raise ValueError("auth_no or out_order_no, and operation_id or out_request_no")
        found = self._find(merchant, auth_no, order_no)

        def act(_plan: Plan, _now_ms: int) -> Reply:
            order = self._find(merchant, auth_no, order_no)
            if order is None or order.kind != "hold":
                return failed("AUTH_ORDER_NOT_EXIST")
            shown = self._shown(merchant, order, request_no, operation_id)
            if shown is None:
                return failed("AUTH_OPERATION_NOT_EXIST")
            left = order.amount_minor if order.status == "held" else 0
            freed = order.amount_minor - order.captured_minor if order.times_taken and not left else 0
            return done(
                **shown, auth_no=order.reference, out_order_no=order.order_no,
                order_title=str(order.details.get("subject", "")), payer_user_id="2088000000000001",
                order_status=_ORDER_STATES.get(order.status, "CLOSED"),
                total_freeze_amount=yuan(order.amount_minor if order.times_taken else 0), rest_amount=yuan(left),
                total_pay_amount=yuan(order.captured_minor), total_unfreeze_amount=yuan(freed),
            )  # fmt: skip

        return found.order_no if found is not None else order_no or request_no, request_no, act

    def _find(self, merchant: Merchant, auth_no: str, order_no: str) -> Order | None:
        if auth_no:
            return self._store.order_by_reference("alipay", merchant.merchant_id, auth_no)
        return self._store.order("alipay", merchant.merchant_id, order_no)

    def _shown(self, merchant: Merchant, order: Order, request_no: str, operation_id: str) -> Reply | None:
        if request_no == order.details["request_no"] or operation_id == order.details["operation_id"]:
            frozen = _frozen(order)
            names = ("operation_id", "out_request_no", "amount", "status", "gmt_trans")
            return {name: frozen[name] for name in names} | {
                "operation_type": "FREEZE", "gmt_create": readable(order.created_ms),
            }  # fmt: skip
        where = ("alipay", merchant.merchant_id)
        operation = self._store.operation(*where, request_no) if request_no else None
        operation = operation or (self._store.operation_by_reference(*where, operation_id) if operation_id else None)
        if operation is None or operation.order_no != order.order_no:
            return None
        state = {"waiting": "INIT", "done": "SUCCESS", "voided": "SUCCESS"}.get(operation.status, "CLOSED")
        return {
            "operation_id": operation.reference, "out_request_no": operation.operation_no,
            "amount": yuan(operation.amount_minor), "status": state, "gmt_trans": readable(operation.changed_ms),
            "operation_type": {"void": "UNFREEZE", "capture": "PAY"}.get(operation.kind, "REFUND"),
            "gmt_create": readable(operation.created_ms),
        }  # fmt: skip
