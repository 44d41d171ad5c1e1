"""
Working off what is still to be said to or asked of providers. Any number of workers may run this.

Each attempt is claimed in one transaction, made outside any, and settled in another; both are shared with whatever else
of the school waits for its turn. Between claim and settling
the operation is out of the others' way for as long as a call can take; if this process dies, it comes due again.

An order is only ever asked about. A step whose answer is missing is asked about too, and said again, the same step,
when the provider has not heard of it.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.db import POISON, Database
from backend.errors import Conflict
from backend.kit.clock import Clock
from backend.payments import orders, queue_repository, steps
from backend.payments.port import NOT_FOUND, Answer, Declined, Order, Provider, Step
from backend.payments.rules import ABANDON_AFTER, FIRST_QUERY_AFTER, Source, back_off
from backend.payments.turns import in_turn
from backend.payments.types import Authorization, Operation, TopUp

log = logging.getLogger(__name__)

_INTENTS = ("authorize", "charge")
#: How long a person who wants to know now must wait after the last question.
ASK_AGAIN_AFTER = timedelta(seconds=10)


def resolve_due(db: Database, providers: Mapping[str, Provider], *, clock: Clock, limit: int) -> int:
    """Return how many due operations were attempted, at most `limit`: steps, and questions about unknowns."""
    with db.read() as conn:
        due = queue_repository.due(conn, clock(), limit)
    return sum(_survived(db, providers, operation, clock) for operation in due)


def _survived(db: Database, providers: Mapping[str, Provider], seen: Operation, clock: Clock) -> bool:
    """Attempt an operation; one that runs into a bug waits ever longer for a mended release and stops no other."""
    try:
        return _attempt(db, providers, seen, clock)
    except POISON:
        log.exception("operation not handled", extra={"tenant": seen.tenant_id, "operation": seen.operation_id})
    with db.write() as conn:
        current = queue_repository.find(conn, seen.tenant_id, seen.operation_id)
        if current is not None and current.status == "pending":
            now, attempts = clock(), max(current.attempts, seen.attempts + 1)
            queue_repository.change(
                conn, seen.tenant_id, seen.operation_id, attempts=attempts, next_at=now + back_off(attempts)
            )
    return True


class AskedJustNow(Conflict):
    """The provider was asked a moment ago; its answer is not waited for twice."""

    code = "asked_just_now"


def ask_now(db: Database, providers: Mapping[str, Provider], tenant_id: str, order_id: str, *, clock: Clock) -> bool:
    """
    Return whether the provider was asked about an order just now, ahead of its turn; False when it is settled already.

    :raises AskedJustNow: if it was asked, or the order sent, less than `ASK_AGAIN_AFTER` ago.
    """
    with db.write() as conn:
        now = clock()
        seen = queue_repository.find(conn, tenant_id, order_id)
        if seen is None or seen.kind not in _INTENTS or seen.status != "pending":
            return False
        last = seen.asked_at or seen.sent_at or seen.created_at
        if now - last < ASK_AGAIN_AFTER:
            raise AskedJustNow(order_id=order_id)
    return _attempt(db, providers, seen, clock)


def _attempt(db: Database, providers: Mapping[str, Provider], seen: Operation, clock: Clock) -> bool:
    is_ours, found = in_turn(db, seen.tenant_id, lambda conn: _claim(conn, seen, clock()))
    if found is None:
        return is_ours
    order, provider = orders.order_of(found), providers[seen.method]
    if seen.kind in _INTENTS or seen.kind == "watch":
        answer, source = provider.query(order), Source.QUERY
    else:
        answer, source = _take_step(provider, order, orders.step_of(seen, found), is_new=seen.sent_at is None)
    in_turn(db, seen.tenant_id, lambda conn: _settle(conn, seen, answer, source, clock()))
    return True


def _claim(conn: Connection, seen: Operation, now: datetime) -> tuple[bool, Authorization | TopUp | None]:
    """Return whether an operation is ours to attempt, and its order unless the attempt is over without the provider."""
    if not queue_repository.claim(conn, seen, now, now + FIRST_QUERY_AFTER):
        return False, None
    if _needs_no_call(conn, seen, now):
        return True, None
    return True, orders.find(conn, seen.tenant_id, seen.order_id)


def _settle(conn: Connection, seen: Operation, answer: Answer, source: Source, now: datetime) -> None:
    if seen.kind in _INTENTS:
        orders.apply_answer(conn, seen.tenant_id, seen.order_id, answer, source=source, now=now)
    elif seen.kind == "watch":
        steps.apply_watch(conn, seen, answer, now)
    else:
        steps.apply_step(conn, seen, answer, source=source, now=now)


def _needs_no_call(conn: Connection, seen: Operation, now: datetime) -> bool:
    """Return whether an attempt is over without the provider: never sent, asked for too long, or not its turn yet."""
    if seen.kind in _INTENTS and seen.sent_at is None:
        orders.apply_never_sent(conn, seen.tenant_id, seen.order_id, now)
        return True
    if seen.attempts > 0 and now - (seen.sent_at or seen.created_at) >= ABANDON_AFTER:
        steps.abandon(conn, seen, now)
        return True
    if steps.must_wait(conn, seen):
        queue_repository.change(conn, seen.tenant_id, seen.operation_id, next_at=now + back_off(seen.attempts))
        return True
    if seen.sent_at is None and seen.kind != "watch":
        queue_repository.change(conn, seen.tenant_id, seen.operation_id, sent_at=now)
    return False


def _take_step(provider: Provider, order: Order, step: Step, *, is_new: bool) -> tuple[Answer, Source]:
    """Return the provider's answer to a step, and to what: one that may have been heard is asked about first."""
    if not is_new:
        answer = provider.query_step(order, step)
        if answer != Declined(NOT_FOUND):
            return answer, Source.QUERY
    if step.kind == "capture":
        return provider.capture(order, step), Source.CALL
    if step.kind == "refund":
        return provider.refund(order, step), Source.CALL
    return provider.void(order, step), Source.CALL
