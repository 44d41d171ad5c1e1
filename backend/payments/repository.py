"""All SQL of the payments."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.payments.models import authorizations, operations, top_ups
from backend.payments.rules import Authorization, Operation, State, TopUp, TopUpState

_AUTHORIZATION = [authorizations.c[field.name] for field in fields(Authorization)]
_TOP_UP = [top_ups.c[field.name] for field in fields(TopUp)]
_OPERATION = [operations.c[field.name] for field in fields(Operation)]


def _insert_new(conn: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    kind = postgresql if conn.dialect.name == "postgresql" else sqlite
    statement = kind.insert(table).values(values).on_conflict_do_nothing().returning(table.c.tenant_id)
    return conn.execute(statement).first() is not None


def _authorization(row: Row[Any]) -> Authorization:
    values = dict(row._mapping)
    return Authorization(**{**values, "state": State(values["state"])})


def add_authorization(conn: Connection, new: Authorization) -> bool:
    """Insert an authorization; return whether it was not there before."""
    return _insert_new(conn, authorizations, {**asdict(new), "state": new.state.value})


def authorization(conn: Connection, tenant_id: str, auth_id: str) -> Authorization | None:
    """Return an authorization, or None."""
    query = select(*_AUTHORIZATION).where(authorizations.c.tenant_id == tenant_id, authorizations.c.auth_id == auth_id)
    row = conn.execute(query).one_or_none()
    return None if row is None else _authorization(row)


def save_authorization(conn: Connection, changed: Authorization) -> None:
    """Store an authorization's state and what came with it."""
    conn.execute(
        update(authorizations)
        .where(authorizations.c.tenant_id == changed.tenant_id, authorizations.c.auth_id == changed.auth_id)
        .values(
            state=changed.state.value,
            reason=changed.reason,
            captured_minor=changed.captured_minor,
            capture_id=changed.capture_id,
            late_success=changed.late_success,
        )
    )


def held_past(conn: Connection, tenant_id: str, now: datetime, limit: int) -> list[Authorization]:
    """Return held authorizations whose time is over, oldest first."""
    query = (
        select(*_AUTHORIZATION)
        .where(authorizations.c.tenant_id == tenant_id, authorizations.c.state == State.HELD.value)
        .where(authorizations.c.expires_at <= now)
        .order_by(authorizations.c.expires_at, authorizations.c.auth_id)
        .limit(limit)
    )
    return [_authorization(row) for row in conn.execute(query)]


def _top_up(row: Row[Any]) -> TopUp:
    values = dict(row._mapping)
    return TopUp(**{**values, "state": TopUpState(values["state"])})


def add_top_up(conn: Connection, new: TopUp) -> bool:
    """Insert a top-up; return whether it was not there before."""
    return _insert_new(conn, top_ups, {**asdict(new), "state": new.state.value})


def top_up(conn: Connection, tenant_id: str, top_up_id: str) -> TopUp | None:
    """Return a top-up, or None."""
    query = select(*_TOP_UP).where(top_ups.c.tenant_id == tenant_id, top_ups.c.top_up_id == top_up_id)
    row = conn.execute(query).one_or_none()
    return None if row is None else _top_up(row)


def top_ups_of(conn: Connection, tenant_id: str, cardholder_id: str, limit: int) -> list[TopUp]:
    """Return a cardholder's newest top-ups, newest first."""
    query = (
        select(*_TOP_UP)
        .where(top_ups.c.tenant_id == tenant_id, top_ups.c.cardholder_id == cardholder_id)
        .order_by(top_ups.c.created_at.desc(), top_ups.c.top_up_id.desc())
        .limit(limit)
    )
    return [_top_up(row) for row in conn.execute(query)]


def save_top_up(conn: Connection, changed: TopUp) -> None:
    """Store a top-up's state and what came with it."""
    conn.execute(
        update(top_ups)
        .where(top_ups.c.tenant_id == changed.tenant_id, top_ups.c.top_up_id == changed.top_up_id)
        .values(state=changed.state.value, reason=changed.reason, late_success=changed.late_success)
    )


def add_operation(conn: Connection, new: Operation) -> bool:
    """Insert an operation; return whether it was not there before."""
    return _insert_new(conn, operations, asdict(new))


def operation(conn: Connection, tenant_id: str, operation_id: str) -> Operation | None:
    """Return an operation, or None."""
    query = select(*_OPERATION).where(operations.c.tenant_id == tenant_id, operations.c.operation_id == operation_id)
    row = conn.execute(query).one_or_none()
    return None if row is None else Operation(*row)


def count_operations(conn: Connection, tenant_id: str, order_id: str, kind: str) -> int:
    """Return how many operations of a kind an order has had."""
    query = select(func.count()).where(
        operations.c.tenant_id == tenant_id, operations.c.order_id == order_id, operations.c.kind == kind
    )
    return conn.execute(query).scalar_one()


def due_operations(conn: Connection, now: datetime, limit: int) -> list[Operation]:
    """Return pending operations of all tenants whose time has come, longest due first."""
    query = (
        select(*_OPERATION)
        .where(operations.c.status == "pending", operations.c.next_at <= now)
        .order_by(operations.c.next_at, operations.c.operation_id)
        .limit(limit)
    )
    return [Operation(*row) for row in conn.execute(query)]


def claim_operation(conn: Connection, seen: Operation, next_at: datetime) -> bool:
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
        .values(attempts=seen.attempts + 1, next_at=next_at)
    )
    return conn.execute(claimed).rowcount == 1


def set_operation(conn: Connection, tenant_id: str, operation_id: str, **values: Any) -> None:
    """Set columns of an operation that is still pending; one that is settled stays as it is."""
    conn.execute(
        update(operations)
        .where(
            operations.c.tenant_id == tenant_id,
            operations.c.operation_id == operation_id,
            operations.c.status == "pending",
        )
        .values(**values)
    )


def unsettled(conn: Connection, tenant_id: str) -> list[Operation]:
    """Return operations that were tried without a final answer, refused or abandoned, oldest first."""
    query = (
        select(*_OPERATION)
        .where(operations.c.tenant_id == tenant_id, operations.c.kind != "watch")
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


def late_successes(conn: Connection, tenant_id: str) -> int:
    """Return how many orders the provider took after we had given them up."""
    total = 0
    for table in (authorizations, top_ups):
        query = select(func.count()).where(table.c.tenant_id == tenant_id, table.c.late_success)
        total += conn.execute(query).scalar_one()
    return total
