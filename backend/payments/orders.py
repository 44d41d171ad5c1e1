"""
Applying what is heard of an order, inside one transaction.

An order is an authorization or a top-up charge. Its intent is an operation of the same id, stored before anything is
sent; while the order is open, that intent is what gets asked about. Everything here runs under the tenant's ledger
lock, so the answer to the call, to a query, a notification, a statement and a void meet one after another.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from backend.errors import Conflict
from backend.ledger import service as ledger
from backend.payments import cases, postings, queue_repository, repository
from backend.payments.capabilities import MATRIX
from backend.payments.order_numbers import order_no
from backend.payments.port import Answer, Order, Step, Succeeded
from backend.payments.rules import (
    NEVER_SENT_AFTER,
    WATCH_DELAYS,
    Source,
    Verdict,
    happened_at,
    is_taken,
    judge,
    next_question,
    reason_of,
    reference_of,
    said_at,
)
from backend.payments.types import Authorization, Operation, State, TopUp, TopUpState

TOP_UP_PREFIX = "tu_"


class OrderNumberTaken(Conflict):
    """Another order already goes by this number at the provider."""

    code = "order_number_taken"


def enqueue(
    conn: Connection,
    order: Authorization | TopUp,
    *,
    kind: str,
    operation_id: str,
    next_at: datetime,
    now: datetime,
    amount_minor: int = 0,
) -> None:
    """
    Store something to be said to or asked of the order's provider; the same operation id is stored once.

    :raises OrderNumberTaken: if the provider would take it for another one.
    """
    operation = Operation(
        tenant_id=order.tenant_id,
        operation_id=operation_id,
        kind=kind,
        order_id=order_id(order),
        method=order.method,
        amount_minor=amount_minor,
        status="pending",
        attempts=0,
        created_at=now,
        sent_at=None,
        asked_at=None,
        next_at=next_at,
        answer="",
        answered_by="",
        number=order_no(operation_id),
    )
    is_new = queue_repository.add(conn, operation)
    if not is_new and queue_repository.find(conn, order.tenant_id, operation_id) is None:
        raise OrderNumberTaken(operation_id=operation_id)


def order_id(order: Authorization | TopUp) -> str:
    """Return our id of an order."""
    return order.auth_id if isinstance(order, Authorization) else order.top_up_id


def find(conn: Connection, tenant_id: str, order: str) -> Authorization | TopUp:
    """Return the authorization or top-up of an order id; it exists, or an operation names nothing."""
    found: Authorization | TopUp | None
    if order.startswith(TOP_UP_PREFIX):
        found = repository.top_up(conn, tenant_id, order)
    else:
        found = repository.authorization(conn, tenant_id, order)
    assert found is not None, f"an operation names {order!r}, which is not there"
    return found


def order_of(found: Authorization | TopUp) -> Order:
    """Return an order as the port speaks of it."""
    is_hold = isinstance(found, Authorization) and MATRIX[found.method].flow == "provider_hold"
    return Order(
        tenant_id=found.tenant_id,
        order_id=order_id(found),
        kind="hold" if is_hold else "charge",
        amount_minor=found.amount_minor,
        ordered_at=found.created_at,
        provider_ref=found.provider_ref,
    )


def step_of(seen: Operation, found: Authorization | TopUp) -> Step:
    """Return an operation about an order as the port speaks of it; a void names the whole."""
    if seen.kind == "capture":
        return Step(seen.operation_id, "capture", seen.amount_minor, seen.created_at)
    if seen.kind == "refund":
        return Step(seen.operation_id, "refund", seen.amount_minor, seen.created_at)
    return Step(seen.operation_id, "void", found.amount_minor, seen.created_at)


def _is_open(order: Authorization | TopUp) -> bool:
    return order.state in (State.UNKNOWN, TopUpState.CHECKING)


def apply_answer(
    conn: Connection, tenant_id: str, order: str, answer: Answer, *, source: Source, now: datetime
) -> Authorization | TopUp:
    """Return the order as it is after what somebody said about it."""
    ledger.lock(conn, tenant_id)
    found = find(conn, tenant_id, order)
    intent = queue_repository.find(conn, tenant_id, order)
    assert intent is not None, "an order is stored with its intent"
    if not _is_open(found):
        gave_up = found.state in (State.DECLINED, State.VOIDED, TopUpState.DECLINED) and intent.answer != "taken"
        if gave_up and intent.sent_at is not None and is_taken(answer):
            return late(conn, found, source, now)
        if isinstance(answer, Succeeded) and answer.status in ("held", "charged"):
            check_amount(conn, found, order, answer, found.amount_minor, source, now)
        return found
    sent_at = intent.sent_at or intent.created_at
    verdict = judge(answer, amount_minor=found.amount_minor, source=source, sent_at=sent_at, now=now)
    if verdict in (Verdict.WAIT, Verdict.DIFFERS):
        check_amount(conn, found, order, answer, found.amount_minor, source, now)
        if source in (Source.CALL, Source.QUERY):
            next_at = next_question(attempts=intent.attempts, sent_at=sent_at, now=now)
            queue_repository.change(conn, tenant_id, order, next_at=next_at, answer=reason_of(answer))
        return found
    if intent.status == "abandoned" or isinstance(found, TopUp):
        _close_cases(conn, found, now)
    if verdict is Verdict.TAKE:
        found = replace(found, provider_ref=reference_of(answer) or found.provider_ref)
        if isinstance(found, Authorization) and now >= found.expires_at:
            _close_intent(conn, found, "expired", source)
            return late(conn, replace(found, state=State.DECLINED, reason="expired"), source, now)
        _close_intent(conn, found, "taken", source)
        return _take(conn, found, now, happened_at(said_at(answer), not_before=found.created_at, now=now))
    _close_intent(conn, found, reason_of(answer), source)
    declined = decline(conn, found, reason_of(answer))
    if verdict is Verdict.GIVE_UP:
        give_up(conn, declined, now)
    return declined


def check_amount(
    conn: Connection,
    order: Authorization | TopUp,
    subject_id: str,
    answer: Answer,
    expected_minor: int,
    source: Source,
    now: datetime,
) -> bool:
    """Return whether an answer is about the amount we know; another one becomes a case, and nothing else follows."""
    if not isinstance(answer, Succeeded) or answer.amount_minor == expected_minor:
        return True
    evidence = {
        "order_id": order_id(order),
        "method": order.method,
        "said_minor": answer.amount_minor,
        "expected_minor": expected_minor,
        "said_by": source.value,
        "reference": reference_of(answer),
    }
    cases.open_case(
        conn,
        tenant_id=order.tenant_id,
        kind="amount_differs",
        subject_id=subject_id,
        amount_minor=abs(answer.amount_minor - expected_minor),
        evidence=evidence,
        now=now,
    )
    return False


def _close_cases(conn: Connection, order: Authorization | TopUp, now: datetime) -> None:
    """Close what a person was to see to because nobody knew what became of an order."""
    kinds, note = ("unknown_abandoned", "top_up_missing"), cases.KNOWN_AFTER_ALL
    cases.close_open(conn, order.tenant_id, kinds, order_id(order), closed_by=cases.BY_ITSELF, note=note, now=now)


def _close_intent(conn: Connection, order: Authorization | TopUp, answer: str, source: Source) -> None:
    queue_repository.change(
        conn, order.tenant_id, order_id(order), status="done", answer=answer, answered_by=source.value
    )


def save(conn: Connection, order: Authorization | TopUp) -> Authorization | TopUp:
    """Return an order after storing its state."""
    if isinstance(order, Authorization):
        repository.save_authorization(conn, order)
    else:
        repository.save_top_up(conn, order)
    return order


def _take(conn: Connection, order: Authorization | TopUp, now: datetime, at: datetime) -> Authorization | TopUp:
    if isinstance(order, TopUp):
        postings.credit_top_up(conn, order, now, at)
        return save(conn, replace(order, state=TopUpState.SUCCEEDED, reason=""))
    postings.hold_at_provider(conn, order, now, at)
    return save(conn, replace(order, state=State.HELD, reason=""))


def decline(conn: Connection, order: Authorization | TopUp, reason: str) -> Authorization | TopUp:
    """Return an order after declining it."""
    if isinstance(order, TopUp):
        return save(conn, replace(order, state=TopUpState.DECLINED, reason=reason))
    return save(conn, replace(order, state=State.DECLINED, reason=reason))


def decline_unsent(conn: Connection, order: Authorization | TopUp, reason: str) -> Authorization | TopUp:
    """Return an order after declining it before anything was sent."""
    _close_intent(conn, order, reason, Source.CALL)
    return decline(conn, order, reason)


def give_up(conn: Connection, order: Authorization | TopUp, now: datetime) -> None:
    """Ask the provider to undo an order nobody knows the fate of, and look at it again for a day."""
    _undo(conn, order, now)
    first_look = now + WATCH_DELAYS[0]
    enqueue(conn, order, kind="watch", operation_id=f"{order_id(order)}.watch", next_at=first_look, now=now)


def _undo(conn: Connection, order: Authorization | TopUp, now: datetime) -> None:
    undos = queue_repository.of_order(conn, order.tenant_id, order_id(order), "undo")
    # An order is taken once at most. Some providers go on calling it taken after it was undone.
    if any(undo.status == "pending" or undo.answer == "voided" for undo in undos):
        return
    enqueue(
        conn,
        order,
        kind="undo",
        operation_id=f"{order_id(order)}.undo{len(undos) + 1}",
        next_at=now,
        now=now,
        amount_minor=order.amount_minor,
    )


def late(conn: Connection, order: Authorization | TopUp, source: Source, now: datetime) -> Authorization | TopUp:
    """Return an order that was taken after we had given it up: it is undone at the provider and becomes a case."""
    _undo(conn, order, now)
    return mark_late(conn, order, source.value, now)


def mark_late(conn: Connection, order: Authorization | TopUp, said_by: str, now: datetime) -> Authorization | TopUp:
    """Return an order after noting that the provider had taken it too late."""
    cases.open_case(
        conn,
        tenant_id=order.tenant_id,
        kind="late_success",
        subject_id=order_id(order),
        amount_minor=order.amount_minor,
        evidence={"method": order.method, "state": order.state.value, "reason": order.reason, "said_by": said_by},
        now=now,
    )
    return save(conn, replace(order, late_success=True))


def apply_never_sent(conn: Connection, tenant_id: str, order: str, now: datetime) -> None:
    """Decline an authorization that was stored and then forgotten before it was sent."""
    ledger.lock(conn, tenant_id)
    found = find(conn, tenant_id, order)
    if found.state is State.REQUESTED and now - found.created_at >= NEVER_SENT_AFTER:
        decline_unsent(conn, found, "never_sent")
