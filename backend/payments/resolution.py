"""
Working off what is still to be said to or asked of providers. Any number of workers may run this.

Each attempt is claimed in its own transaction, made outside any, and settled in another. Between claim and settling
the operation is out of the others' way for as long as a call can take; if this process dies, it comes due again.
"""

from collections.abc import Mapping

from backend.db import Database
from backend.kit.clock import Clock
from backend.payments import orders, repository
from backend.payments.port import Answer, Provider
from backend.payments.rules import ABANDON_AFTER, FIRST_QUERY_AFTER, Operation


def resolve_due(db: Database, providers: Mapping[str, Provider], *, clock: Clock, limit: int) -> int:
    """Return how many due operations were attempted, at most `limit`: captures, voids, and questions about unknowns."""
    with db.read() as conn:
        due = repository.due_operations(conn, clock(), limit)
    return sum(_attempt(db, providers, operation, clock) for operation in due)


def _attempt(db: Database, providers: Mapping[str, Provider], seen: Operation, clock: Clock) -> bool:
    now = clock()
    with db.write() as conn:
        if not repository.claim_operation(conn, seen, now + FIRST_QUERY_AFTER):
            return False
        if seen.kind == "authorize" and seen.sent_at is None:
            orders.apply_never_sent(conn, seen.tenant_id, seen.order_id, now)
            return True
        if now - seen.created_at >= ABANDON_AFTER:
            repository.set_operation(conn, seen.tenant_id, seen.operation_id, status="abandoned")
            return True
    answer = _ask(providers[seen.method], seen)
    with db.write() as conn:
        now = clock()
        if seen.kind in ("authorize", "charge"):
            orders.apply_answer(conn, seen.tenant_id, seen.order_id, answer, asked=True, now=now)
        elif seen.kind == "capture":
            orders.apply_capture(conn, seen, answer, now)
        elif seen.kind == "watch":
            orders.apply_watch(conn, seen, answer, now)
        else:
            orders.apply_void(conn, seen, answer, now)
    return True


def _ask(provider: Provider, seen: Operation) -> Answer:
    if seen.kind == "capture":
        return provider.capture(
            merchant_id=seen.tenant_id,
            order_id=seen.order_id,
            operation_id=seen.operation_id,
            amount_minor=seen.amount_minor,
        )
    if seen.kind in ("void", "undo"):
        return provider.void(merchant_id=seen.tenant_id, order_id=seen.order_id, operation_id=seen.operation_id)
    return provider.query(merchant_id=seen.tenant_id, order_id=seen.order_id)
