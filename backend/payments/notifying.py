"""
Taking providers' notifications: verified on their raw bytes, stored once, applied like any other answer.

Anyone can send here. What is not provably the provider's is counted in a case per day and changes nothing else. What is
verified is acknowledged, whatever followed from it, for it is stored and a repetition would say nothing new.
"""

import hashlib
import logging
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from backend.db import Database
from backend.errors import NotFound
from backend.kit.clock import Clock
from backend.payments import cases, orders, queue_repository, refund_repository, steps
from backend.payments.port import Notification, NotificationRefused, Provider, Succeeded
from backend.payments.rules import Source, is_taken
from backend.payments.turns import in_turn
from backend.payments.types import Ack

log = logging.getLogger(__name__)
#: How many different reasons a day's case of forged messages keeps, and how much of each.
_REASONS_MAX = 20
_REASON_CHARS_MAX = 200


class NotifierUnknown(NotFound):
    """No provider notifies us under this name."""

    code = "notifier_unknown"


def take_notification(
    db: Database,
    providers: Mapping[str, Provider],
    *,
    method: str,
    tenant_id: str,
    headers: Mapping[str, str],
    body: bytes,
    clock: Clock,
) -> Ack:
    """
    Return what a provider's message is answered with, after verifying, storing and applying it.

    The tenant is one that exists. A repetition changes nothing; another message under a known id is not believed.

    :raises NotifierUnknown: if there is no provider for the method.
    """
    provider = providers.get(method)
    if provider is None:
        raise NotifierUnknown(method=method)
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        said = provider.read_notification(tenant_id, lower, body)
    except NotificationRefused as refused:
        log.warning("notification refused", extra={"method": method, "reason": refused.reason})
        with db.write() as conn:
            _count_forged(conn, tenant_id, method, refused.reason, clock())
        return Ack(*provider.acknowledgement(accepted=False))
    in_turn(db, tenant_id, lambda conn: _take(conn, tenant_id, method, said, clock()))
    return Ack(*provider.acknowledgement(accepted=True))


def _count_forged(conn: Connection, tenant_id: str, method: str, reason: str, now: datetime) -> None:
    why = reason[:_REASON_CHARS_MAX]
    about = cases.open_case(
        conn,
        tenant_id=tenant_id,
        kind="notification_forged",
        subject_id=f"{method}/{now.date().isoformat()}",
        amount_minor=0,
        evidence={"method": method, "first_reason": why, "reasons": {why: 1}},
        now=now,
    )
    if about.times_seen > 1:
        counted = dict(about.evidence["reasons"])
        if why in counted or len(counted) < _REASONS_MAX:
            counted[why] = counted.get(why, 0) + 1
            cases.add_evidence(conn, about, reasons=counted)


def _digest(said: Notification) -> str:
    answer = said.answer
    if isinstance(answer, Succeeded):
        told = [answer.status, str(answer.amount_minor), answer.reference]
    else:
        told = [answer.reason]
    words = (said.order_no, said.operation_no, type(answer).__name__, *told)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _take(conn: Connection, tenant_id: str, method: str, said: Notification, now: datetime) -> None:
    digest = _digest(said)
    notify_id = said.notify_id[:160]
    is_new = refund_repository.add_notification(
        conn,
        tenant_id,
        method,
        notify_id,
        digest=digest,
        order_no=said.order_no[:64],
        operation_no=said.operation_no[:64],
        now=now,
    )
    if not is_new:
        if refund_repository.notification_digest(conn, tenant_id, method, notify_id) != digest:
            _not_believed(conn, tenant_id, method, said, "amount_differs", now)
        return
    outcome = _apply(conn, tenant_id, method, said, now)
    if outcome != "applied":
        refund_repository.set_outcome(conn, tenant_id, method, notify_id, outcome)


def _apply(conn: Connection, tenant_id: str, method: str, said: Notification, now: datetime) -> str:
    """Return what followed from a verified message that is new: applied, or unknown_order."""
    number = said.operation_no or said.order_no
    known = queue_repository.by_number(conn, tenant_id, method, number)
    if known is None:
        if is_taken(said.answer):
            _not_believed(conn, tenant_id, method, said, "statement_only", now)
        return "unknown_order"
    if known.operation_id == known.order_id:
        orders.apply_answer(conn, tenant_id, known.order_id, said.answer, source=Source.NOTIFICATION, now=now)
    else:
        steps.apply_step(conn, known, said.answer, source=Source.NOTIFICATION, now=now)
    return "applied"


def _not_believed(conn: Connection, tenant_id: str, method: str, said: Notification, kind: str, now: datetime) -> None:
    """Open the case of a verified message that does not fit what we know."""
    amount_minor = said.answer.amount_minor if isinstance(said.answer, Succeeded) else 0
    cases.open_case(
        conn,
        tenant_id=tenant_id,
        kind=kind,
        subject_id=f"{method}/{said.operation_no or said.order_no}",
        amount_minor=amount_minor,
        evidence={
            "method": method,
            "order_no": said.order_no,
            "operation_no": said.operation_no,
            "notify_id": said.notify_id,
            "said_minor": amount_minor,
            "said_by": Source.NOTIFICATION.value,
        },
        now=now,
    )
