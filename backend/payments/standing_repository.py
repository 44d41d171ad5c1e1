"""SQL of what finance sees at a glance: sums over everything, and lists that are longer than a page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, select

from backend.db.insert import upsert
from backend.payments import people_repository
from backend.payments.models import authorizations, proofs, refunds
from backend.payments.people_models import cases, staff_entries


def held_in(conn: Connection, tenant_id: str, since: datetime | None, before: datetime | None) -> tuple[int, int]:
    """Return how many holds began from one moment up to, not including, another, and what they come to."""
    table = authorizations
    query = select(func.count(), func.coalesce(func.sum(table.c.amount_minor), 0)).where(
        table.c.tenant_id == tenant_id, table.c.state == "held"
    )
    if since is not None:
        query = query.where(table.c.created_at >= since)
    if before is not None:
        query = query.where(table.c.created_at < before)
    count, amount = conn.execute(query).one()
    return int(count), int(amount)


def oldest_held(conn: Connection, tenant_id: str, limit: int) -> list[str]:
    """Return the ids of the authorizations that have held money longest, oldest first."""
    table = authorizations
    query = (
        select(table.c.auth_id)
        .where(table.c.tenant_id == tenant_id, table.c.state == "held")
        .order_by(table.c.created_at, table.c.auth_id)
        .limit(limit)
    )
    return list(conn.execute(query).scalars())


def open_cases(conn: Connection, tenant_id: str) -> list[tuple[str, int, int, datetime]]:
    """Return for each kind with open cases: how many, what they come to, and when the oldest began."""
    query = (
        select(cases.c.kind, func.count(), func.sum(cases.c.amount_minor), func.min(cases.c.created_at))
        .where(cases.c.tenant_id == tenant_id, cases.c.state == "open")
        .group_by(cases.c.kind)
        .order_by(func.min(cases.c.created_at), cases.c.kind)
    )
    return [(kind, int(count), int(amount), since) for kind, count, amount, since in conn.execute(query)]


def waiting_entries(conn: Connection, tenant_id: str, now: datetime) -> tuple[int, int]:
    """Return how many entries wait for a second person, and what they come to."""
    query = select(func.count(), func.coalesce(func.sum(staff_entries.c.amount_minor), 0)).where(
        and_(
            staff_entries.c.tenant_id == tenant_id,
            staff_entries.c.state == "proposed",
            staff_entries.c.expires_at > now,
        )
    )
    count, amount = conn.execute(query).one()
    return int(count), int(amount)


def unpaid_refunds(conn: Connection, tenant_id: str) -> tuple[int, int]:
    """Return how many refunds have not arrived, and what they come to."""
    query = select(func.count(), func.coalesce(func.sum(refunds.c.amount_minor), 0)).where(
        refunds.c.tenant_id == tenant_id, refunds.c.state != "done"
    )
    count, amount = conn.execute(query).one()
    return int(count), int(amount)


def newest_refunds(
    conn: Connection, tenant_id: str, *, state: str | None, after: str, limit: int
) -> Sequence[RowMapping]:
    """Return refunds newest first; `after` is the id of the last refund of the page before."""
    wanted: list[Any] = people_repository.equal(refunds, state=state)
    return people_repository.newest(conn, refunds, tenant_id, *wanted, after=after, limit=limit)


def set_proof(conn: Connection, values: dict[str, Any]) -> None:
    """Write down how far a school's books were proven."""
    upsert(conn, proofs, values)


def proof(conn: Connection, tenant_id: str) -> RowMapping | None:
    """Return how far a school's books were proven, or None."""
    return conn.execute(select(proofs).where(proofs.c.tenant_id == tenant_id)).mappings().one_or_none()
