"""
Applying a provider's answer to the order it is about, inside one transaction.

An order is an authorization or a top-up charge. Its intent is an operation of the same id, stored before anything is
sent; while the order is open, that intent is what gets asked about. Everything here runs under the tenant's ledger
lock, so the answer to the call, the answer to a query and a void meet one after another.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from backend.ledger import service as ledger
from backend.payments import postings, repository
from backend.payments.port import Answer, Declined, Succeeded
from backend.payments.rules import (
    NEVER_SENT_AFTER,
    WATCH_DELAYS,
    Authorization,
    Operation,
    State,
    TopUp,
    TopUpState,
    Verdict,
    back_off,
    is_taken,
    judge,
    next_question,
    reason_of,
)

TOP_UP_PREFIX = "tu_"


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
    """Store something to be said to or asked of the order's provider; the same operation id is stored once."""
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
        next_at=next_at,
        answer="",
    )
    repository.add_operation(conn, operation)


def order_id(order: Authorization | TopUp) -> str:
    """Return what the provider knows an order by."""
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


def _is_open(order: Authorization | TopUp) -> bool:
    return order.state in (State.UNKNOWN, TopUpState.CHECKING)


def apply_answer(
    conn: Connection, tenant_id: str, order: str, answer: Answer, *, asked: bool, now: datetime
) -> Authorization | TopUp:
    """Return the order as it is after an answer to its own call, or (`asked`) to a query about it."""
    ledger.lock(conn, tenant_id)
    found = find(conn, tenant_id, order)
    intent = repository.operation(conn, tenant_id, order)
    assert intent is not None, "an order is stored with its intent"
    if not _is_open(found):
        gave_up = found.state in (State.DECLINED, State.VOIDED, TopUpState.DECLINED) and intent.answer != "taken"
        return _late(conn, found, now) if gave_up and is_taken(answer) else found
    sent_at = intent.sent_at or intent.created_at
    verdict = judge(answer, amount_minor=found.amount_minor, asked=asked, sent_at=sent_at, now=now)
    if verdict is Verdict.WAIT:
        next_at = next_question(attempts=intent.attempts if asked else 0, sent_at=sent_at, now=now)
        repository.set_operation(conn, tenant_id, order, next_at=next_at, answer=reason_of(answer))
        return found
    if verdict is Verdict.TAKE:
        if isinstance(found, Authorization) and now >= found.expires_at:
            _close_intent(conn, found, "expired")
            return _late(conn, _save(conn, replace(found, state=State.DECLINED, reason="expired")), now)
        _close_intent(conn, found, "taken")
        return _take(conn, found, now)
    _close_intent(conn, found, reason_of(answer))
    declined = _decline(conn, found, reason_of(answer))
    if verdict is Verdict.GIVE_UP:
        give_up(conn, declined, now)
    return declined


def _close_intent(conn: Connection, order: Authorization | TopUp, answer: str) -> None:
    repository.set_operation(conn, order.tenant_id, order_id(order), status="done", answer=answer)


def _save(conn: Connection, order: Authorization | TopUp) -> Authorization | TopUp:
    if isinstance(order, Authorization):
        repository.save_authorization(conn, order)
    else:
        repository.save_top_up(conn, order)
    return order


def _take(conn: Connection, order: Authorization | TopUp, now: datetime) -> Authorization | TopUp:
    if isinstance(order, TopUp):
        postings.credit_top_up(conn, order, now)
        return _save(conn, replace(order, state=TopUpState.SUCCEEDED, reason=""))
    result = postings.hold(conn, order, now)
    assert result.stands, result
    return _save(conn, replace(order, state=State.HELD, reason=""))


def _decline(conn: Connection, order: Authorization | TopUp, reason: str) -> Authorization | TopUp:
    if isinstance(order, TopUp):
        return _save(conn, replace(order, state=TopUpState.DECLINED, reason=reason))
    return _save(conn, replace(order, state=State.DECLINED, reason=reason))


def give_up(conn: Connection, order: Authorization | TopUp, now: datetime) -> None:
    """Ask the provider to undo an order nobody knows the fate of, and look at it again for a day."""
    _undo(conn, order, now)
    first_look = now + WATCH_DELAYS[0]
    enqueue(conn, order, kind="watch", operation_id=f"{order_id(order)}.watch", next_at=first_look, now=now)


def _undo(conn: Connection, order: Authorization | TopUp, now: datetime) -> None:
    number = repository.count_operations(conn, order.tenant_id, order_id(order), "undo") + 1
    enqueue(conn, order, kind="undo", operation_id=f"{order_id(order)}.undo{number}", next_at=now, now=now)


def _late(conn: Connection, order: Authorization | TopUp, now: datetime) -> Authorization | TopUp:
    _undo(conn, order, now)
    return _save(conn, replace(order, late_success=True))


def apply_never_sent(conn: Connection, tenant_id: str, order: str, now: datetime) -> None:
    """Decline an authorization that was stored and then forgotten before it was sent."""
    ledger.lock(conn, tenant_id)
    found = find(conn, tenant_id, order)
    if found.state is State.REQUESTED and now - found.created_at >= NEVER_SENT_AFTER:
        _close_intent(conn, found, "never_sent")
        _decline(conn, found, "never_sent")


def apply_capture(conn: Connection, seen: Operation, answer: Answer, now: datetime) -> None:
    """Settle a queued capture; what the provider refuses to pay out is the operator's loss."""
    ledger.lock(conn, seen.tenant_id)
    if isinstance(answer, Succeeded):
        _settle(conn, seen, "done", answer)
    elif isinstance(answer, Declined):
        current = repository.operation(conn, seen.tenant_id, seen.operation_id)
        found = find(conn, seen.tenant_id, seen.order_id)
        assert current is not None
        assert isinstance(found, Authorization)
        if current.status == "pending":
            postings.write_off(conn, found, seen.operation_id, seen.amount_minor, now)
        _settle(conn, seen, "refused", answer)
    else:
        _retry(conn, seen, answer, now)


def apply_void(conn: Connection, seen: Operation, answer: Answer, now: datetime) -> None:
    """Settle a queued void or undo; an undo that found money taken is counted as a late success."""
    ledger.lock(conn, seen.tenant_id)
    if isinstance(answer, Succeeded):
        if seen.kind == "undo" and answer.status == "voided":
            _save(conn, replace(find(conn, seen.tenant_id, seen.order_id), late_success=True))
        _settle(conn, seen, "done", answer)
    elif isinstance(answer, Declined):
        nothing_there = seen.kind == "undo" and answer.reason == "not_found"
        _settle(conn, seen, "done" if nothing_there else "refused", answer)
    else:
        _retry(conn, seen, answer, now)


def apply_watch(conn: Connection, seen: Operation, answer: Answer, now: datetime) -> None:
    """Look once more at an order given up: undo it if the provider has taken it after all, and look again later."""
    ledger.lock(conn, seen.tenant_id)
    if is_taken(answer):
        _late(conn, find(conn, seen.tenant_id, seen.order_id), now)
    looks = seen.attempts + 1
    if looks < len(WATCH_DELAYS):
        next_at = now + WATCH_DELAYS[looks]
        repository.set_operation(conn, seen.tenant_id, seen.operation_id, next_at=next_at, answer=reason_of(answer))
    else:
        _settle(conn, seen, "done", answer)


def _settle(conn: Connection, seen: Operation, status: str, answer: Answer) -> None:
    repository.set_operation(conn, seen.tenant_id, seen.operation_id, status=status, answer=reason_of(answer))


def _retry(conn: Connection, seen: Operation, answer: Answer, now: datetime) -> None:
    next_at = now + back_off(seen.attempts)
    repository.set_operation(conn, seen.tenant_id, seen.operation_id, next_at=next_at, answer=reason_of(answer))
