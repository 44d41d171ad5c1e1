"""SQL of the queue: what is still to be said to or asked of providers, and the record of what was."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, text, update

from backend.db.insert import insert_once
from backend.payments.models import operations
from backend.payments.types import Operation

_OPERATION = [operations.c[field.name] for field in fields(Operation)]
_OPEN = ("pending", "abandoned")
#: As the index of those that are not done has it, word by word: SQLite takes the index for nothing else.
_NOT_DONE = text("status <> 'done'")


def add(conn: Connection, new: Operation) -> bool:
    """Insert an operation; return whether it was not there before."""
    return insert_once(conn, operations, asdict(new))


def find(conn: Connection, tenant_id: str, operation_id: str) -> Operation | None:
    """Return an operation, or None."""
    query = select(*_OPERATION).where(operations.c.tenant_id == tenant_id, operations.c.operation_id == operation_id)
    row = conn.execute(query).one_or_none()
    return None if row is None else Operation(*row)


def by_number(conn: Connection, tenant_id: str, method: str, number: str) -> Operation | None:
    """Return the operation that a provider knows by a number, or None."""
    query = select(*_OPERATION).where(
        operations.c.tenant_id == tenant_id,
        operations.c.number == number,
        operations.c.method == method,
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else Operation(*row)


def of_order(conn: Connection, tenant_id: str, order_id: str, kind: str) -> list[Operation]:
    """Return an order's operations of a kind, oldest first."""
    query = (
        select(*_OPERATION)
        .where(operations.c.tenant_id == tenant_id, operations.c.order_id == order_id, operations.c.kind == kind)
        .order_by(operations.c.created_at, operations.c.operation_id)
    )
    return [Operation(*row) for row in conn.execute(query)]


def due(conn: Connection, now: datetime, limit: int) -> list[Operation]:
    """Return pending operations of all tenants whose time has come, longest due first."""
    query = (
        select(*_OPERATION)
        .where(operations.c.status == "pending", operations.c.next_at <= now)
        .order_by(operations.c.next_at, operations.c.operation_id)
        .limit(limit)
    )
    return [Operation(*row) for row in conn.execute(query)]


def claim(conn: Connection, seen: Operation, now: datetime, next_at: datetime) -> bool:
    """Take one attempt at an operation for this process; return False when another was quicker."""
    claimed = (
        update(operations)
        .where(
            operations.c.tenant_id == seen.tenant_id,
            operations.c.operation_id == seen.operation_id,
            operations.c.status == "pending",
            operations.c.attempts == seen.attempts,
            operations.c.next_at == seen.next_at,
        )
        .values(attempts=seen.attempts + 1, asked_at=now, next_at=next_at)
    )
    return conn.execute(claimed).rowcount == 1


def change(conn: Connection, tenant_id: str, operation_id: str, **values: Any) -> None:
    """Set columns of an operation without a final answer; one that has it stays as it is."""
    _change(conn, tenant_id, operation_id, _OPEN, values)


def _change(
    conn: Connection, tenant_id: str, operation_id: str, statuses: Sequence[str], values: Mapping[str, Any]
) -> None:
    conn.execute(
        update(operations)
        .where(
            operations.c.tenant_id == tenant_id,
            operations.c.operation_id == operation_id,
            operations.c.status.in_(statuses),
        )
        .values(**values)
    )


def settle(conn: Connection, tenant_id: str, operation_id: str, *, status: str, answer: str, answered_by: str) -> None:
    """Store the final answer to an operation; done is done, while what was refused may yet be done."""
    values = {"status": status, "answer": answer, "answered_by": answered_by}
    _change(conn, tenant_id, operation_id, (*_OPEN, "refused"), values)


def ask_again(conn: Connection, tenant_id: str, operation_id: str, now: datetime) -> None:
    """Let an operation that was refused or abandoned come due as if it had never been sent."""
    values = {"status": "pending", "attempts": 0, "sent_at": None, "next_at": now, "answer": "", "answered_by": ""}
    _change(conn, tenant_id, operation_id, ("refused", "abandoned"), values)


def unsettled(conn: Connection, tenant_id: str) -> list[Operation]:
    """Return operations that were tried without a final answer, refused or abandoned, oldest first."""
    query = (
        select(*_OPERATION)
        .where(operations.c.tenant_id == tenant_id, operations.c.kind != "watch", _NOT_DONE)
        .where(
            or_(
                operations.c.status.in_(("refused", "abandoned")),
                and_(
                    operations.c.status == "pending", or_(operations.c.attempts > 0, operations.c.sent_at.is_not(None))
                ),
            )
        )
        .order_by(operations.c.created_at, operations.c.operation_id)
    )
    return [Operation(*row) for row in conn.execute(query)]


def without_answer(conn: Connection, tenant_id: str, method: str) -> list[Operation]:
    """Return what was sent to a provider and has no final answer, oldest first."""
    query = (
        select(*_OPERATION)
        .where(operations.c.tenant_id == tenant_id, operations.c.method == method, operations.c.kind != "watch")
        .where(_NOT_DONE, operations.c.status.in_(_OPEN), operations.c.sent_at.is_not(None))
        .order_by(operations.c.sent_at, operations.c.operation_id)
    )
    return [Operation(*row) for row in conn.execute(query)]


def refused_returns(conn: Connection, tenant_id: str, method: str, asked_from: datetime) -> list[Operation]:
    """Return what a provider refused to give back or let go when it was asked since a time, oldest first."""
    query = (
        select(*_OPERATION)
        .where(operations.c.tenant_id == tenant_id, operations.c.method == method)
        .where(operations.c.kind.in_(("refund", "void")), _NOT_DONE, operations.c.status == "refused")
        .where(operations.c.asked_at >= asked_from)
        .order_by(operations.c.asked_at, operations.c.operation_id)
    )
    return [Operation(*row) for row in conn.execute(query)]


def given_up(
    conn: Connection, tenant_id: str, method: str, sent_from: datetime, kinds: Sequence[str]
) -> list[Operation]:
    """Return intents sent since a time that ended without the provider's money being taken, oldest first."""
    query = (
        select(*_OPERATION)
        .where(operations.c.tenant_id == tenant_id, operations.c.method == method, operations.c.kind.in_(kinds))
        .where(operations.c.status == "done", operations.c.answer != "taken", operations.c.sent_at >= sent_from)
        .order_by(operations.c.sent_at, operations.c.operation_id)
    )
    return [Operation(*row) for row in conn.execute(query)]


def first_sent_at(conn: Connection, tenant_id: str, method: str) -> datetime | None:
    """Return when a provider was first told anything, or None if never."""
    query = select(func.min(operations.c.sent_at)).where(
        operations.c.tenant_id == tenant_id, operations.c.method == method
    )
    found: datetime | None = conn.execute(query).scalar_one()
    return found
