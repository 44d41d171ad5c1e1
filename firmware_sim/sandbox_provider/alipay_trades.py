"""Alipay's trades: pay by code, agreement or authorization, query, cancel, refund, refund query."""

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
_CANCEL_WITHIN_MS = 24 * 3_600_000


class Trade:
    """A trade, which is a charged order or the capture of a hold."""

    def __init__(self, order: Order, capture: Operation | None) -> None:
        self.order = order
        self.capture = capture
        self.number = capture.operation_no if capture is not None else order.order_no
        self.reference = capture.reference if capture is not None else order.reference
        self.amount_minor = capture.amount_minor if capture is not None else order.amount_minor

    @property
    def state(self) -> str:
        """Return its `trade_status`."""
        if self.capture is not None and self.capture.status != "done":
            return "WAIT_BUYER_PAY" if self.capture.status == "waiting" else "TRADE_CLOSED"
        states = {"waiting": "WAIT_BUYER_PAY", "charged": "TRADE_SUCCESS", "captured": "TRADE_SUCCESS"}
        return states.get(self.order.status, "TRADE_CLOSED")

    @property
    def paid_ms(self) -> int | None:
        """Return when it was paid, or None."""
        found = self.capture.details.get("done_ms") if self.capture is not None else self.order.details.get("paid_ms")
        return int(found) if found is not None else None

    def told(self) -> Reply:
        """Return what pay and query say of it."""
        reply: Reply = {
            "trade_no": self.reference, "out_trade_no": self.number, "buyer_logon_id": "138****0001",
            "buyer_user_id": "2088000000000001", "total_amount": yuan(self.amount_minor),
            "receipt_amount": yuan(self.amount_minor if self.paid_ms is not None else 0),
        }  # fmt: skip
        return reply


class Trades:
    """Charges, captures and refunds of the brand."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._store = desk.store

    def _find(self, merchant: Merchant, biz: dict[str, Any]) -> Trade | None:
        where = ("alipay", merchant.merchant_id)
        trade_no, number_ = text(biz, "trade_no"), text(biz, "out_trade_no")
        if not trade_no and not number_:
            raise ValueError("trade_no or out_trade_no")
        if trade_no:
            order = self._store.order_by_reference(*where, trade_no)
            capture = None if order is not None else self._store.operation_by_reference(*where, trade_no)
        else:
            order = self._store.order(*where, number_)
            capture = None if order is not None else self._store.operation(*where, number_)
        if capture is not None and capture.kind == "capture":
            order = self._store.order(*where, capture.order_no)
            assert order is not None
            return Trade(order, capture)
        return Trade(order, None) if order is not None and order.kind == "charge" else None

    def pay(self, merchant: Merchant, biz: dict[str, Any], notify_url: str) -> Call:
        """Take an amount, or part of a hold when an `auth_no` is given. A number is good for one trade."""
        number_, amount_minor = number(biz, "out_trade_no"), amount(biz, "total_amount")
        auth_no = text(biz, "auth_no")
        if auth_no and (biz.get("product_code") != "PREAUTH_PAY" or biz.get("auth_confirm_mode") != "COMPLETE"):
            raise ValueError("product_code PREAUTH_PAY with auth_confirm_mode COMPLETE")
        held = self._store.order_by_reference("alipay", merchant.merchant_id, auth_no) if auth_no else None

        def act(plan: Plan, now_ms: int) -> Reply:
            where = ("alipay", merchant.merchant_id, number_)
            if self._store.order(*where) is not None or self._store.operation(*where) is not None:
                return self._again(merchant, number_, amount_minor)
            details = {"subject": text(biz, "subject")}
            if not auth_no:
                order = Order(
                    brand="alipay", merchant_id=merchant.merchant_id, order_no=number_, tenant_id=merchant.tenant_id,
                    kind="charge", amount_minor=amount_minor, notify_url=notify_url, details=details,
                )  # fmt: skip
                self._desk.book.place(order, plan, payer(biz), lambda n: reference(now_ms, "2200", n), now_ms)
                if order.times_taken:
                    self._desk.tell(order)
                return self._paid(Trade(order, None), order.reason)
            order_held = self._store.order_by_reference("alipay", merchant.merchant_id, auth_no)
            if order_held is None or order_held.kind != "hold":
                return failed("ACQ.AUTH_NO_ERROR")
            operation = Operation(
                brand="alipay", merchant_id=merchant.merchant_id, operation_no=number_, order_no=order_held.order_no,
                kind="capture", amount_minor=amount_minor, notify_url=notify_url, details=details,
            )  # fmt: skip
            self._desk.book.step(order_held, operation, plan, lambda n: reference(now_ms, "2200", n), now_ms)
            if operation.status == "done":
                self._desk.tell(order_held, operation)
            return self._paid(Trade(order_held, operation), operation.reason)

        return held.order_no if held is not None else number_, number_, act

    def _paid(self, trade: Trade, reason: str) -> Reply:
        if trade.state == "WAIT_BUYER_PAY":
            return waiting(**trade.told())
        if trade.paid_ms is None:
            return failed(sub_code(reason))
        return done(
            **trade.told(), gmt_payment=readable(trade.paid_ms),
            fund_bill_list=[{"fund_channel": "ALIPAYACCOUNT", "amount": yuan(trade.amount_minor)}],
        )  # fmt: skip

    def _again(self, merchant: Merchant, number_: str, amount_minor: int) -> Reply:
        trade = self._find(merchant, {"out_trade_no": number_})
        if trade is None:
            order = self._store.order("alipay", merchant.merchant_id, number_)
            barred = order is not None and not order.kind
            return failed("ACQ.TRADE_HAS_CLOSE" if barred else "ACQ.CONTEXT_INCONSISTENT")
        if trade.amount_minor != amount_minor:
            return failed("ACQ.CONTEXT_INCONSISTENT")
        if trade.state == "WAIT_BUYER_PAY":
            return waiting(**trade.told())
        if trade.state == "TRADE_SUCCESS":
            return failed("ACQ.TRADE_HAS_SUCCESS")
        reason = trade.capture.reason if trade.capture is not None else trade.order.reason
        return failed(sub_code(reason) if reason and trade.paid_ms is None else "ACQ.TRADE_HAS_CLOSE")

    def query(self, merchant: Merchant, biz: dict[str, Any], _notify_url: str) -> Call:
        """Tell a trade; only TRADE_SUCCESS and TRADE_FINISHED mean money."""
        found = self._find(merchant, biz)

        def act(_plan: Plan, _now_ms: int) -> Reply:
            trade = self._find(merchant, biz)
            if trade is None:
                return failed("ACQ.TRADE_NOT_EXIST")
            paid = {"send_pay_date": readable(trade.paid_ms)} if trade.paid_ms is not None else {}
            return done(**trade.told(), trade_status=trade.state, **paid)

        order_no = found.order.order_no if found is not None else text(biz, "out_trade_no")
        return order_no, found.number if found is not None else "", act

    def cancel(self, merchant: Merchant, biz: dict[str, Any], _notify_url: str) -> Call:
        """Undo a trade: close it while it waits, give back what was paid; a number nobody knows is closed for good."""
        found = self._find(merchant, biz)
        order_no = found.order.order_no if found is not None else number(biz, "out_trade_no")

        def act(plan: Plan, now_ms: int) -> Reply:
            trade = self._find(merchant, biz)
            if trade is None:
                if self._store.order("alipay", merchant.merchant_id, order_no) is None:
                    order = Order(
                        brand="alipay", merchant_id=merchant.merchant_id, order_no=order_no,
                        tenant_id=merchant.tenant_id, kind="", amount_minor=0,
                    )  # fmt: skip
                    self._desk.book.bar(order, now_ms)
                return done(out_trade_no=order_no, retry_flag="N")
            told = {"trade_no": trade.reference, "out_trade_no": trade.number, "retry_flag": "N"}
            cancel_no = self._store.fresh_number("alipay", merchant.merchant_id, f"cancel:{trade.number}")
            was_paid = trade.paid_ms is not None
            if trade.state == "TRADE_CLOSED":
                return done(**told, action="refund" if was_paid else "close")
            if now_ms - (trade.capture or trade.order).created_ms > _CANCEL_WITHIN_MS:
                return failed("ACQ.TRADE_CANCEL_TIME_OUT")
            operation = self._undo(merchant, trade, cancel_no, plan, now_ms)
            if operation.status == "refused":
                return failed(sub_code(operation.reason))
            return done(**told, action="refund" if was_paid else "close")

        return order_no, "", act

    def _undo(self, merchant: Merchant, trade: Trade, cancel_no: str, plan: Plan, now_ms: int) -> Operation:
        """Do a cancel: a refund of what is left when something was captured or given back before, else a void."""
        order = trade.order
        partly = trade.capture is not None or order.refunded_minor > 0
        operation = Operation(
            brand="alipay", merchant_id=merchant.merchant_id, operation_no=cancel_no, order_no=order.order_no,
            kind="refund" if partly else "void", amount_minor=trade.amount_minor - order.refunded_minor,
            details={"trade_no": trade.reference, "out_trade_no": trade.number, "request_no": trade.number},
        )  # fmt: skip
        self._desk.book.step(order, operation, plan, lambda n: reference(now_ms, "3002", n), now_ms)
        if operation.status == "done" and operation.kind == "void":
            operation.kind = "cancel"
            self._store.save(operation)
        if operation.status == "done" and trade.paid_ms is not None:
            self._desk.tell(order, operation)
        return operation

    def refund(self, merchant: Merchant, biz: dict[str, Any], notify_url: str) -> Call:
        """Give part or all of a trade back; repeatable by its request number, with the same amount."""
        amount_minor = amount(biz, "refund_amount")
        found = self._find(merchant, biz)
        request_no = number(biz, "out_request_no") if biz.get("out_request_no") else number(biz, "out_trade_no")
        key = request_no if biz.get("out_request_no") else f"whole:{request_no}"

        def act(plan: Plan, now_ms: int) -> Reply:
            trade = self._find(merchant, biz)
            if trade is None:
                return failed("ACQ.TRADE_NOT_EXIST")
            operation = self._store.operation("alipay", merchant.merchant_id, key)
            if operation is not None and operation.status == "refused":
                self._store.forget(operation)  # what failed is asked for again under its own number
                operation = None
            changed = operation is None
            if operation is None:
                operation = Operation(
                    brand="alipay", merchant_id=merchant.merchant_id, operation_no=key,
                    order_no=trade.order.order_no, kind="refund", amount_minor=amount_minor, notify_url=notify_url,
                    details={"trade_no": trade.reference, "out_trade_no": trade.number, "request_no": request_no},
                )  # fmt: skip
                self._desk.book.step(trade.order, operation, plan, lambda n: reference(now_ms, "3002", n), now_ms)
                if operation.status == "done":
                    self._desk.tell(trade.order, operation)
            elif (operation.kind, operation.order_no, operation.amount_minor) != (
                "refund", trade.order.order_no, amount_minor,
            ):  # fmt: skip
                return failed("ACQ.DISCORDANT_REPEAT_REQUEST")
            if operation.status == "refused":
                return failed(sub_code(operation.reason))
            return done(
                trade_no=trade.reference, out_trade_no=trade.number, buyer_logon_id="138****0001",
                fund_change="Y" if changed and operation.status == "done" else "N",
                refund_fee=yuan(trade.order.refunded_minor), gmt_refund_pay=readable(operation.changed_ms),
            )  # fmt: skip

        return found.order.order_no if found is not None else request_no, request_no, act

    def refund_query(self, merchant: Merchant, biz: dict[str, Any], _notify_url: str) -> Call:
        """Tell a refund; of one that is not done nothing is told."""
        request_no = number(biz, "out_request_no")
        found = self._find(merchant, biz)

        def act(_plan: Plan, _now_ms: int) -> Reply:
            trade = self._find(merchant, biz)
            if trade is None:
                return failed("ACQ.TRADE_NOT_EXIST")
            where = ("alipay", merchant.merchant_id)
            operation = self._store.operation(*where, request_no) or self._store.operation(
                *where, f"whole:{request_no}"
            )
            if operation is None or operation.kind != "refund" or operation.order_no != trade.order.order_no:
                return done()
            if operation.status != "done":
                return done()
            return done(
                trade_no=trade.reference, out_trade_no=trade.number, out_request_no=request_no,
                total_amount=yuan(trade.amount_minor), refund_amount=yuan(operation.amount_minor),
                refund_status="REFUND_SUCCESS",
            )  # fmt: skip

        return found.order.order_no if found is not None else request_no, request_no, act
