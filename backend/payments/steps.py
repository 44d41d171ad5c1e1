"""
Applying what is heard of a step about an order (capture, void, undo, refund, or another look), in one transaction.

A step is settled once: whoever answers first, the call, a query, a notification or a statement, moves the ledger, and
everybody after finds it settled. What a provider refuses, or gives back although nobody is owed it any more, becomes a
case for a person.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from backend.ledger import service as ledger
from backend.payments import cases, orders, paid_otherwise, postings, queue_repository, refund_repository
from backend.payments.port import NOT_FOUND, Answer, Declined, Succeeded
from backend.payments.rules import WATCH_DELAYS, Source, back_off, happened_at, is_taken, reason_of, reference_of
from backend.payments.types import Authorization, Operation, TopUp

REFUND_SUFFIX = ".refund"
_REFUSALS = {"capture": "capture_refused", "refund": "refund_refused", "void": "void_refused", "undo": "void_refused"}


def apply_step(conn: Connection, seen: Operation, answer: Answer, *, source: Source, now: datetime) -> None:
    """Settle a step by an answer to it, or let it wait for the next attempt."""
    ledger.lock(conn, seen.tenant_id)
    current = queue_repository.find(conn, seen.tenant_id, seen.operation_id)
    assert current is not None, "an answer is about a stored step"
    if current.status == "done" or (current.status == "refused" and not _is_done_after_all(current, answer)):
        return
    found = orders.find(conn, seen.tenant_id, seen.order_id)
    if isinstance(answer, Succeeded):
        _succeed(conn, current, found, answer, source, now)
    elif isinstance(answer, Declined) and not (source is Source.NOTIFICATION and answer.reason == NOT_FOUND):
        _refuse(conn, current, found, answer, source, now)
    elif source in (Source.CALL, Source.QUERY):
        next_at = now + back_off(current.attempts)
        queue_repository.change(conn, seen.tenant_id, seen.operation_id, next_at=next_at, answer=reason_of(answer))


def _is_done_after_all(refused: Operation, answer: Answer) -> bool:
    """
    Return whether a provider has given back, or let go, what it had refused.

    A capture that was refused is written off and its hold is being let go; another amount is a person's case already.
    """
    if refused.kind == "capture" or refused.answer == "amount_differs":
        return False
    return isinstance(answer, Succeeded) and answer.status != "absent"


def _succeed(
    conn: Connection, seen: Operation, found: Authorization | TopUp, answer: Succeeded, source: Source, now: datetime
) -> None:
    if seen.kind == "undo":
        if answer.status != "absent":
            orders.mark_late(conn, found, source.value, now)
        _settle(conn, seen, "done", answer, source)
        close_cases(conn, seen, now)
        return
    assert isinstance(found, Authorization), "only authorizations are captured, voided and refunded"
    gives_back = seen.kind == "refund" or (seen.kind == "void" and postings.flow_of(found) == "charge_and_refund")
    if gives_back and answer.status == "absent":
        _refuse(conn, seen, found, Declined("absent"), source, now)
        return
    if (gives_back or seen.kind == "capture") and not _is_right_amount(conn, seen, found, answer, source, now):
        return
    if gives_back:
        settled_minor = paid_otherwise.settled_minor(conn, seen)
        at = happened_at(answer.at, not_before=seen.created_at, now=now)
        if not postings.given_back(conn, found, seen.operation_id, seen.amount_minor, now, settled_minor, at):
            open_case(conn, seen, found, "amount_differs", "not_owed", now)
        _mark_refund(conn, seen, "done")
    if seen.kind == "capture" and reference_of(answer):
        # From here on the order is what was captured: refunds are about that, not about the hold.
        orders.save(conn, replace(found, provider_ref=reference_of(answer)))
    _settle(conn, seen, "done", answer, source)
    close_cases(conn, seen, now)


def close_cases(
    conn: Connection,
    seen: Operation,
    now: datetime,
    *,
    note: str = cases.DONE_AFTER_ALL,
    closed_by: str = cases.BY_ITSELF,
) -> None:
    """Close what a person was to see to because of a step that is now done, or paid by hand."""
    kinds = (_REFUSALS[seen.kind], "unknown_abandoned")
    cases.close_open(conn, seen.tenant_id, kinds, seen.operation_id, closed_by=closed_by, note=note, now=now)


def _is_right_amount(
    conn: Connection, seen: Operation, found: Authorization, answer: Succeeded, source: Source, now: datetime
) -> bool:
    """Return whether a step was done over our amount; over another it is over for us and a case, nothing is booked."""
    if orders.check_amount(conn, found, seen.operation_id, answer, seen.amount_minor, source, now):
        return True
    _mark_refund(conn, seen, "refused", "amount_differs")
    _settle(conn, seen, "refused", Declined("amount_differs"), source)
    return False


def _refuse(
    conn: Connection, seen: Operation, found: Authorization | TopUp, answer: Declined, source: Source, now: datetime
) -> None:
    """Write a refused capture off and let its hold go, leave a refused refund payable, and open the case."""
    if seen.kind == "undo" and answer.reason == NOT_FOUND:
        _settle(conn, seen, "done", answer, source)
        return
    if seen.kind == "capture":
        assert isinstance(found, Authorization)
        postings.write_off(conn, found, seen.operation_id, seen.amount_minor, now)
        # What nobody takes any more would stay frozen at the payer's bank for weeks.
        orders.enqueue(
            conn,
            found,
            kind="void",
            operation_id=f"{found.auth_id}.void",
            next_at=now,
            now=now,
            amount_minor=found.amount_minor,
        )
    _mark_refund(conn, seen, "refused", answer.reason)
    _settle(conn, seen, "refused", answer, source)
    open_case(conn, seen, found, _REFUSALS[seen.kind], answer.reason, now)


def _mark_refund(conn: Connection, seen: Operation, state: str, reason: str | None = None) -> None:
    if seen.kind == "refund":
        refund_id = seen.operation_id.removesuffix(REFUND_SUFFIX)
        said = None if reason is None else reason[:64]
        refund_repository.set_refund(conn, seen.tenant_id, refund_id, state=state, reason=said)


def _settle(conn: Connection, seen: Operation, status: str, answer: Answer, source: Source) -> None:
    said = reason_of(answer) or reference_of(answer)
    queue_repository.settle(
        conn, seen.tenant_id, seen.operation_id, status=status, answer=said, answered_by=source.value
    )


def open_case(
    conn: Connection, seen: Operation, found: Authorization | TopUp, kind: str, reason: str, now: datetime
) -> None:
    """Open the case of an operation that a person must look at."""
    evidence: dict[str, str | int] = {
        "operation_id": seen.operation_id,
        "kind": seen.kind,
        "order_id": seen.order_id,
        "method": seen.method,
        "attempts": seen.attempts,
        "reason": reason,
    }
    if isinstance(found, Authorization):
        evidence["water_session_id"] = found.water_session_id
    cases.open_case(
        conn,
        tenant_id=seen.tenant_id,
        kind=kind,
        subject_id=seen.operation_id,
        amount_minor=seen.amount_minor,
        evidence=evidence,
        now=now,
    )


def abandon(conn: Connection, seen: Operation, now: datetime) -> None:
    """Stop asking about an operation nobody has answered for days: a statement or a person settles it."""
    ledger.lock(conn, seen.tenant_id)
    queue_repository.change(conn, seen.tenant_id, seen.operation_id, status="abandoned")
    if seen.kind != "watch":
        found = orders.find(conn, seen.tenant_id, seen.order_id)
        open_case(conn, seen, found, "unknown_abandoned", seen.answer, now)


def apply_watch(conn: Connection, seen: Operation, answer: Answer, now: datetime) -> None:
    """Look once more at an order given up: undo it if the provider has taken it after all, and look again later."""
    ledger.lock(conn, seen.tenant_id)
    if is_taken(answer):
        orders.late(conn, orders.find(conn, seen.tenant_id, seen.order_id), Source.QUERY, now)
    looks = seen.attempts + 1
    if looks < len(WATCH_DELAYS):
        next_at = now + WATCH_DELAYS[looks]
        queue_repository.change(conn, seen.tenant_id, seen.operation_id, next_at=next_at, answer=reason_of(answer))
    else:
        _settle(conn, seen, "done", answer, Source.QUERY)


def must_wait(conn: Connection, seen: Operation) -> bool:
    """Return whether a refund's capture is still on its way to the provider, which it must not overtake."""
    if seen.kind != "refund" or not seen.operation_id.endswith(REFUND_SUFFIX):
        return False
    captures = queue_repository.of_order(conn, seen.tenant_id, seen.order_id, "capture")
    return any(capture.status == "pending" for capture in captures)
