"""UnionPay (acp 5.1.0) behind the port."""

import base64
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import partial

from backend.kit.clock import Clock, utc_now
from backend.payments.order_numbers import STEP_NUMBERS_MAX, order_no, step_id
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
from backend.payments.rails import unionpay_messages as messages
from backend.payments.rails.common import NOTIFICATION_BYTES_MAX, STATEMENT_BYTES_MAX, inflated, payer_problem
from backend.payments.rails.merchants import Merchants, UnionPayMerchant
from backend.payments.rails.unionpay_signing import form_fields, is_theirs, signed_form, verified_answer
from backend.payments.rails.wire import Budget, Failure, Wire

_log = logging.getLogger(__name__)
_BACK = "/gateway/api/backTransReq.do"
_QUERY = "/gateway/api/queryTrans.do"
_FORM = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
#: Pauses before asking what became of a message that was accepted.
_ASK_AFTER_MS = (0, 200, 500, 1_000)


class UnionPay:
    """UnionPay for every school that has a merchant there."""

    method = "unionpay"

    def __init__(
        self, merchants: Merchants[UnionPayMerchant], wire: Wire, *, public_url: str, clock: Clock = utc_now
    ) -> None:
        self._merchants = merchants
        self._wire = wire
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    def authorize(self, order: Order, payer: Payer) -> Answer:
        """Hold the amount of a new order (02)."""
        return self._order(order, payer)

    def charge(self, order: Order, payer: Payer) -> Answer:
        """Take the amount of a new order at once (01)."""
        return self._order(order, payer)

    def capture(self, order: Order, step: Step) -> Answer:
        """Complete a held order (03); the rest is released by its bank."""
        return self._step(order, step)

    def void(self, order: Order, step: Step) -> Answer:
        """Release a held order (32), or undo a charged one: 31 on its day, afterwards a refund of the whole (04)."""
        return self._step(order, step)

    def refund(self, order: Order, step: Step) -> Answer:
        """Give part or all of it back (04). Of a captured hold, `provider_ref` must be what the capture is called."""
        if order.kind == "hold" and not order.provider_ref:
            return Unknown("reference_missing")
        return self._step(order, step)

    def query(self, order: Order) -> Answer:
        """Ask what became of an order."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        return self._ask_order(merchant, order, self._wire.budget())

    def query_step(self, order: Order, step: Step) -> Answer:
        """Ask what became of a step."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        return self._ask_step(merchant, step, self._wire.budget())

    def read_notification(self, tenant_id: str, headers: Mapping[str, str], body: bytes) -> Notification:
        """
        Return what a form posted to backUrl says.

        :raises NotificationRefused: if it is malformed, forged, or about another merchant or currency.
        """
        merchant = self._merchants.find(tenant_id)
        if isinstance(merchant, str):
            raise NotificationRefused(merchant)
        fields = form_fields(body) if len(body) <= NOTIFICATION_BYTES_MAX else None
        if fields is None:
            raise NotificationRefused("malformed")
        if not is_theirs(merchant, fields):
            raise NotificationRefused("forged")
        return messages.notification(merchant, fields)

    def acknowledgement(self, *, accepted: bool) -> tuple[int, str, bytes]:
        """Return 200 `ok`, which stops the repetitions, or 400."""
        return (200, "text/plain", b"ok") if accepted else (400, "text/plain", b"fail")

    def merchant_no(self, tenant_id: str) -> str:
        """Return the number the provider knows a school by; empty for a school it does not know."""
        merchant = self._merchants.find(tenant_id)
        return "" if isinstance(merchant, str) else merchant.mer_id

    def statement(self, tenant_id: str, day: date) -> tuple[str, bytes] | None:
        """Return the ZIP with a day's files (76), or None while there is none."""
        merchant = self._merchants.find(tenant_id)
        if isinstance(merchant, str):
            return None
        sent = self._send(
            merchant,
            "/",
            messages.file_fields(merchant, day, self._clock()),
            self._wire.budget(),
            bytes_max=STATEMENT_BYTES_MAX,
        )
        if isinstance(sent, Failure | Unknown):
            _log.warning("no statement of %s for %s on %s: %s", self.method, tenant_id, day, sent.reason)
            return None
        content = messages.file_content(sent)
        if isinstance(content, str):
            if content:
                _log.warning("no statement of %s for %s on %s: %s", self.method, tenant_id, day, content)
            return None
        try:
            packed = base64.b64decode(content[1], validate=True)
        except ValueError:
            packed = b""
        data = inflated(packed, zlib.MAX_WBITS)
        if data is None:
            _log.warning("no statement of %s for %s on %s: broken content", self.method, tenant_id, day)
            return None
        return content[0] or f"{merchant.mer_id}_{day:%Y%m%d}.zip", data

    def _order(self, order: Order, payer: Payer) -> Answer:
        problem = payer_problem(self.method, payer)
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Declined(merchant)
        if problem:
            return Declined(problem)
        budget = self._wire.budget()
        fields = messages.order_fields(merchant, order, payer, self._notify_url(order.tenant_id))
        told = self._tell(merchant, fields, order_no(order.order_id), order.ordered_at, budget, fresh=True)
        if told == messages.NUMBER_KNOWN:
            told = None
        return self._follow(told, lambda: self._ask_order(merchant, order, budget), budget)

    def _step(self, order: Order, step: Step) -> Answer:
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        budget = self._wire.budget()
        reference = order.provider_ref
        if not reference:
            asked = self._ask_order(merchant, order, budget)
            if isinstance(asked, Declined) and step.kind == "void":
                return Succeeded("absent", 0)
            if not isinstance(asked, Succeeded):
                return asked
            reference = asked.reference
        return self._say_step(merchant, order, step, reference, budget)

    def _say_step(self, merchant: UnionPayMerchant, order: Order, step: Step, reference: str, budget: Budget) -> Answer:
        """Say a step under the first number it was not refused under; what is accepted is not repeated."""
        answer: Answer = Unknown("unionpay_12")
        for named in _rounds(step):
            fields = messages.step_fields(merchant, order, named, reference, self._notify_url(order.tenant_id))
            told = self._tell(merchant, fields, order_no(named.operation_id), named.asked_at, budget)
            is_known = told == messages.NUMBER_KNOWN
            answer = self._follow(None if is_known else told, partial(self._ask_one, merchant, named, budget), budget)
            if not is_known or not _is_refused(answer):
                break
        return answer

    def _follow(self, told: Answer | None, ask: Callable[[], Answer], budget: Budget) -> Answer:
        """Return what is known: `told` when that settles it, otherwise what asking brings in the time there is."""
        if told is not None:
            return told
        answer: Answer = Unknown("accepted")
        for wait_ms in _ASK_AFTER_MS:
            if not budget.pause(wait_ms):
                break
            answer = ask()
            if not isinstance(answer, Unknown):
                break
        # A message just accepted may not be on record yet; only a later question may believe that it is not there.
        return Unknown("accepted") if answer == Declined(NOT_FOUND) else answer

    def _tell(
        self,
        merchant: UnionPayMerchant,
        fields: Mapping[str, str],
        number: str,
        at: datetime,
        budget: Budget,
        *,
        fresh: bool = False,
    ) -> Answer | None:
        """Return the answer to an order or a step, that its number is known, or None when it has to be asked about."""
        sent = self._send(merchant, _BACK, fields, budget)
        if isinstance(sent, Failure):
            return sent.answer(fresh=fresh)
        if isinstance(sent, Unknown):
            return sent
        answer = messages.foreign(merchant, sent, number, at) or messages.accepted(sent)
        if answer == messages.NUMBER_KNOWN:
            return answer
        if isinstance(answer, Unknown) and answer.reason.startswith(("accepted", "unionpay_")):
            return None
        return answer

    def _ask_order(self, merchant: UnionPayMerchant, order: Order, budget: Budget) -> Answer:
        asked = self._ask(merchant, order_no(order.order_id), order.ordered_at, budget)
        return asked if isinstance(asked, Unknown) else messages.about_order(asked, order)

    def _ask_step(self, merchant: UnionPayMerchant, step: Step, budget: Budget) -> Answer:
        """Ask under each number in turn: behind a refusal there may be another round."""
        answer: Answer = Declined(NOT_FOUND)
        for named in _rounds(step):
            asked = self._ask_one(merchant, named, budget)
            if asked == Declined(NOT_FOUND):
                break
            answer = asked
            if not _is_refused(answer):
                break
        return answer

    def _ask_one(self, merchant: UnionPayMerchant, step: Step, budget: Budget) -> Answer:
        asked = self._ask(merchant, order_no(step.operation_id), step.asked_at, budget)
        return asked if isinstance(asked, Unknown) else messages.about_step(asked, step)

    def _ask(
        self, merchant: UnionPayMerchant, number: str, at: datetime, budget: Budget
    ) -> Mapping[str, str] | Unknown:
        sent = self._send(merchant, _QUERY, messages.query_fields(merchant, number, at), budget)
        if isinstance(sent, Failure):
            return Unknown(sent.reason)
        if isinstance(sent, Unknown):
            return sent
        return messages.foreign(merchant, sent, number, at) or sent

    def _send(
        self,
        merchant: UnionPayMerchant,
        path: str,
        fields: Mapping[str, str],
        budget: Budget,
        **limits: int,
    ) -> Mapping[str, str] | Failure | Unknown:
        url = self._merchants.address(merchant, path)
        body = signed_form(merchant, {name: value for name, value in fields.items() if value})
        reply = self._wire.send("POST", url, budget=budget, body=body, headers=_FORM, **limits)
        if isinstance(reply, Failure):
            return reply
        if reply.status != 200:
            return Unknown(f"http_{reply.status}")
        return verified_answer(merchant, reply.body) or Unknown("unsigned_answer")

    def _notify_url(self, tenant_id: str) -> str:
        return f"{self._public_url}/notify/{self.method}/{tenant_id}"


def _rounds(step: Step) -> Iterator[Step]:
    """Yield a step under each of its names; a capture is said once."""
    for round_number in range(1 if step.kind == "capture" else STEP_NUMBERS_MAX):
        yield replace(step, operation_id=step_id(step.operation_id, round_number))


def _is_refused(answer: Answer) -> bool:
    return isinstance(answer, Declined) and answer.reason != NOT_FOUND
