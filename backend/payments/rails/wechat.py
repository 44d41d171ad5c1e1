"""WeChat Pay (APIv3, payment codes) behind the port."""

import hashlib
import json
import logging
import zlib
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

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
from backend.payments.rails import wechat_messages as messages
from backend.payments.rails.common import (
    NOTIFICATION_BYTES_MAX,
    STATEMENT_BYTES_MAX,
    inflated,
    payer_problem,
)
from backend.payments.rails.merchants import Merchants, WeChatMerchant
from backend.payments.rails.wechat_signing import authorization, opened, why_not_theirs
from backend.payments.rails.wire import Budget, Failure, Reply, Wire

_log = logging.getLogger(__name__)
_CODEPAY = "/v3/pay/transactions/codepay"
_TRADES = "/v3/pay/transactions/out-trade-no/"
_REFUNDS = "/v3/refund/domestic/refunds"
_BILL = "/v3/bill/tradebill"
_GZIP_BITS = 16 + zlib.MAX_WBITS
_SHA1_CHARS = 40


class WeChat:
    """WeChat Pay for every school that has a merchant there."""

    method = "wechat"

    def __init__(
        self, merchants: Merchants[WeChatMerchant], wire: Wire, *, public_url: str, clock: Clock = utc_now
    ) -> None:
        self._merchants = merchants
        self._wire = wire
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    def authorize(self, order: Order, payer: Payer) -> Answer:
        """Decline: payment codes are charged, never held."""
        return Declined("hold_not_offered")

    def charge(self, order: Order, payer: Payer) -> Answer:
        """Take the amount of a new order from the code shown (codepay)."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Declined(merchant)
        problem = payer_problem(self.method, payer) or ("" if payer.code else "code_needed")
        if problem:
            return Declined(problem)
        budget = self._wire.budget()
        body = messages.charge(merchant, order, payer, self._notify_url(order.tenant_id))
        sent = self._send(merchant, "POST", _CODEPAY, body, budget)
        if isinstance(sent, Failure):
            return sent.answer(fresh=True)
        if isinstance(sent, Unknown):
            return sent
        status, node = sent
        answer = messages.after_charge(merchant, node, order) if status == 200 else messages.refused(status, node)
        if isinstance(answer, Unknown) and answer.reason.startswith("wechat_"):
            asked = self._ask(merchant, order, budget)
            # What was just sent may not be on record yet; only a later question may believe that it is not there.
            return answer if asked == Declined(NOT_FOUND) else asked
        return Unknown(answer.reason) if answer == Declined(NOT_FOUND) else answer

    def capture(self, order: Order, step: Step) -> Answer:
        """Decline: there is nothing held to take."""
        return Declined("hold_not_offered")

    def void(self, order: Order, step: Step) -> Answer:
        """
        Undo a charge whole, whatever became of it (reverse); one older than a week is refunded, also when it was first
        asked for earlier.

        Asked too early it is unknown, so that it is asked again: no reverse is sent in the first seconds.
        """
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
        age = self._clock() - order.ordered_at
        if age < messages.REVERSE_AFTER:
            return Unknown("too_early")
        budget = self._wire.budget()
        if not _reversible(order, step):
            return self._refund(merchant, order, step, budget)
        path = f"{_TRADES}{order_no(order.order_id)}/reverse"
        sent = self._send(merchant, "POST", path, messages.reverse(merchant), budget)
        if isinstance(sent, Failure | Unknown):
            return Unknown(sent.reason)
        status, node = sent
        if status == 200 and not messages.is_reversed(merchant, node, order):
            return Unknown("another_order")
        if status == 200:
            asked = self._ask(merchant, order, budget)
            undone = Succeeded("absent", 0) if asked == Declined(NOT_FOUND) else messages.after_reversed(asked)
            return Unknown("reversing") if undone == Declined(NOT_FOUND) else undone
        answer = messages.refused(status, node)
        if answer == Declined(NOT_FOUND):
            return Succeeded("absent", 0)
        if answer == messages.REVERSE_EXPIRED:
            undone = messages.after_reversed(self._ask(merchant, order, budget))
            return undone if isinstance(undone, Succeeded) else self._refund(merchant, order, step, budget)
        is_early = isinstance(answer, Declined) and age < messages.REVERSE_SURELY_AFTER
        return Unknown("too_early") if is_early else answer

    def refund(self, order: Order, step: Step) -> Answer:
        """Give part or all of a charge back."""
        merchant = self._merchants.find(order.tenant_id)
        if isinstance(merchant, str):
            return Unknown(merchant)
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
        budget = self._wire.budget()
        if step.kind == "void" and _reversible(order, step):
            return messages.after_reversed(self._ask(merchant, order, budget))
        sent = self._send(merchant, "GET", f"{_REFUNDS}/{order_no(step.operation_id)}", None, budget)
        if isinstance(sent, Failure | Unknown):
            return Unknown(sent.reason)
        status, node = sent
        return messages.after_refund(node, order, step) if status == 200 else messages.refused(status, node)

    def read_notification(self, tenant_id: str, headers: Mapping[str, str], body: bytes) -> Notification:
        """
        Return what a message posted to notify_url says.

        :raises NotificationRefused: if it is malformed, forged, stale, or about another merchant or currency.
        """
        merchant = self._merchants.find(tenant_id)
        if isinstance(merchant, str):
            raise NotificationRefused(merchant)
        if len(body) > NOTIFICATION_BYTES_MAX:
            raise NotificationRefused("malformed")
        if problem := why_not_theirs(merchant, headers, body, self._clock()):
            raise NotificationRefused(problem)
        message = _node(body)
        content = opened(merchant.apiv3_key, message.get("resource")) if message else None
        if message is None or content is None:
            raise NotificationRefused("malformed")
        return messages.notification(merchant, message.get("id"), content)

    def acknowledgement(self, *, accepted: bool) -> tuple[int, str, bytes]:
        """Return 200 with the code SUCCESS, which stops the repetitions, or 400 with FAIL."""
        if accepted:
            return 200, "application/json", b'{"code":"SUCCESS"}'
        return 400, "application/json", b'{"code":"FAIL","message":"refused"}'

    def merchant_no(self, tenant_id: str) -> str:
        """Return the number the provider knows a school by; empty for a school it does not know."""
        merchant = self._merchants.find(tenant_id)
        return "" if isinstance(merchant, str) else merchant.mch_id

    def statement(self, tenant_id: str, day: date) -> tuple[str, bytes] | None:
        """Return the CSV of a day's trades, unpacked and equal to its published SHA-1; None while there is none."""
        merchant = self._merchants.find(tenant_id)
        if isinstance(merchant, str):
            return None
        data = self._statement(merchant, day)
        if isinstance(data, str):
            if data != NOT_FOUND:
                _log.warning("no statement of %s for %s on %s: %s", self.method, tenant_id, day, data)
            return None
        return f"{merchant.mch_id}All{day.isoformat()}.csv", data

    def _statement(self, merchant: WeChatMerchant, day: date) -> bytes | str:
        budget = self._wire.budget()
        sent = self._send(merchant, "GET", f"{_BILL}?bill_date={day.isoformat()}&tar_type=GZIP", None, budget)
        if isinstance(sent, Failure | Unknown):
            return sent.reason
        status, node = sent
        if status != 200:
            return messages.refused(status, node).reason
        match node:
            case {"download_url": str(url), "hash_type": "SHA1", "hash_value": str(hash_value)}:
                pass
            case _:
                return "malformed answer"
        if not _same_origin(url, self._merchants.address(merchant, "")):
            return "its address is not the provider's"
        reply = self._request(merchant, "GET", url, b"", budget, bytes_max=STATEMENT_BYTES_MAX)
        if isinstance(reply, Failure):
            return reply.reason
        data = inflated(reply.body, _GZIP_BITS) if reply.status == 200 else None
        if data is None:
            return "broken content"
        is_whole = len(hash_value) == _SHA1_CHARS and hashlib.sha1(data).hexdigest() == hash_value.lower()
        return data if is_whole else "the hash differs"

    def _refund(self, merchant: WeChatMerchant, order: Order, step: Step, budget: Budget) -> Answer:
        body = messages.refund(order, step, self._notify_url(order.tenant_id))
        sent = self._send(merchant, "POST", _REFUNDS, body, budget)
        if isinstance(sent, Failure | Unknown):
            return Unknown(sent.reason)
        status, node = sent
        return messages.after_refund(node, order, step) if status == 200 else messages.refused(status, node)

    def _ask(self, merchant: WeChatMerchant, order: Order, budget: Budget) -> Answer:
        path = f"{_TRADES}{order_no(order.order_id)}?mchid={merchant.mch_id}"
        sent = self._send(merchant, "GET", path, None, budget)
        if isinstance(sent, Failure | Unknown):
            return Unknown(sent.reason)
        status, node = sent
        return messages.after_charge(merchant, node, order) if status == 200 else messages.refused(status, node)

    def _send(
        self, merchant: WeChatMerchant, method: str, path: str, content: Mapping[str, Any] | None, budget: Budget
    ) -> tuple[int, Mapping[str, Any]] | Failure | Unknown:
        """Return the status and content of an answer that is provably the provider's, errors included."""
        body = b"" if content is None else json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        reply = self._request(merchant, method, self._merchants.address(merchant, path), body, budget)
        if isinstance(reply, Failure):
            return reply
        if why_not_theirs(merchant, reply.headers, reply.body, self._clock()):
            return Unknown("unsigned_answer")
        node = _node(reply.body)
        return Unknown("malformed_answer") if node is None else (reply.status, node)

    def _request(
        self, merchant: WeChatMerchant, method: str, url: str, body: bytes, budget: Budget, **limits: int
    ) -> Reply | Failure:
        headers = {
            "accept": "application/json",
            "content-type": "application/json",
            "authorization": authorization(merchant, method=method, url=url, body=body, now=self._clock()),
        }
        return self._wire.send(method, url, budget=budget, body=body, headers=headers, **limits)

    def _notify_url(self, tenant_id: str) -> str:
        return f"{self._public_url}/notify/{self.method}/{tenant_id}"


def _reversible(order: Order, step: Step) -> bool:
    return step.asked_at - order.ordered_at <= messages.REVERSE_WITHIN


def _same_origin(url: str, base: str) -> bool:
    try:
        one, other = urlsplit(url), urlsplit(base)
    except ValueError:
        return False
    return (one.scheme, one.netloc) == (other.scheme, other.netloc)


def _node(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
