"""SQL of refunds, of payers' agreements, and of what providers notified us of."""

from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from backend.db.insert import insert_once, upsert
from backend.payments.models import notifications, payers
from backend.payments.models import refunds as refunds_table
from backend.payments.types import Refund

_REFUND = [refunds_table.c[field.name] for field in fields(Refund)]


def add_refund(conn: Connection, new: Refund) -> None:
    """Insert a refund."""
    insert_once(conn, refunds_table, asdict(new))


def refund(conn: Connection, tenant_id: str, refund_id: str) -> Refund | None:
    """Return a refund, or None."""
    query = select(*_REFUND).where(refunds_table.c.tenant_id == tenant_id, refunds_table.c.refund_id == refund_id)
    row = conn.execute(query).one_or_none()
    return None if row is None else Refund(*row)


def refunds(
    conn: Connection, tenant_id: str, *, auth_id: str | None, cardholder_id: str | None, limit: int
) -> list[Refund]:
    """Return refunds, newest first, of one authorization or cardholder if given."""
    query = select(*_REFUND).where(refunds_table.c.tenant_id == tenant_id)
    if auth_id is not None:
        query = query.where(refunds_table.c.auth_id == auth_id)
    if cardholder_id is not None:
        query = query.where(refunds_table.c.cardholder_id == cardholder_id)
    query = query.order_by(refunds_table.c.created_at.desc(), refunds_table.c.refund_id.desc()).limit(limit)
    return [Refund(*row) for row in conn.execute(query)]


def refunded_minor(conn: Connection, tenant_id: str, auth_id: str) -> int:
    """Return how much of an authorization was given back or is owed back."""
    query = select(func.coalesce(func.sum(refunds_table.c.amount_minor), 0)).where(
        refunds_table.c.tenant_id == tenant_id, refunds_table.c.auth_id == auth_id
    )
    return int(conn.execute(query).scalar_one())


def set_refund(conn: Connection, tenant_id: str, refund_id: str, *, state: str, reason: str | None = None) -> None:
    """Store a refund's state, and why if that is new."""
    values = {"state": state} if reason is None else {"state": state, "reason": reason}
    conn.execute(
        update(refunds_table)
        .where(refunds_table.c.tenant_id == tenant_id, refunds_table.c.refund_id == refund_id)
        .values(values)
    )


def bind_payer(
    conn: Connection, tenant_id: str, cardholder_id: str, method: str, agreement: str, now: datetime
) -> None:
    """Store a standing agreement in place of the one before."""
    key = {"tenant_id": tenant_id, "cardholder_id": cardholder_id, "method": method}
    upsert(conn, payers, {**key, "agreement": agreement, "bound_at": now})


def payer_agreement(conn: Connection, tenant_id: str, cardholder_id: str, method: str) -> str:
    """Return a cardholder's standing agreement for a method; nothing if there is none."""
    query = select(payers.c.agreement).where(
        payers.c.tenant_id == tenant_id, payers.c.cardholder_id == cardholder_id, payers.c.method == method
    )
    return conn.execute(query).scalar_one_or_none() or ""


def add_notification(
    conn: Connection,
    tenant_id: str,
    method: str,
    notify_id: str,
    *,
    digest: str,
    order_no: str,
    operation_no: str,
    now: datetime,
) -> bool:
    """Insert a notification; return whether it was not there before. A repeat is counted."""
    key = {"tenant_id": tenant_id, "method": method, "notify_id": notify_id}
    said = {"digest": digest, "order_no": order_no, "operation_no": operation_no, "outcome": "applied"}
    if insert_once(conn, notifications, {**key, **said, "received_at": now, "repeats": 0}):
        return True
    _set_notification(conn, tenant_id, method, notify_id, repeats=notifications.c.repeats + 1)
    return False


def _set_notification(conn: Connection, tenant_id: str, method: str, notify_id: str, **values: object) -> None:
    conn.execute(
        update(notifications)
        .where(
            notifications.c.tenant_id == tenant_id,
            notifications.c.method == method,
            notifications.c.notify_id == notify_id,
        )
        .values(**values)
    )


def set_outcome(conn: Connection, tenant_id: str, method: str, notify_id: str, outcome: str) -> None:
    """Store what followed from a notification."""
    _set_notification(conn, tenant_id, method, notify_id, outcome=outcome)


def notification_digest(conn: Connection, tenant_id: str, method: str, notify_id: str) -> str:
    """Return what a known notification says, as its digest."""
    query = select(notifications.c.digest).where(
        notifications.c.tenant_id == tenant_id,
        notifications.c.method == method,
        notifications.c.notify_id == notify_id,
    )
    return str(conn.execute(query).scalar_one())
