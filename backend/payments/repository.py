"""SQL of authorizations with their parts, and of top-ups."""

from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from backend.db.insert import insert_once
from backend.db.keyed import rows_where, set_where
from backend.payments.models import authorizations, top_ups
from backend.payments.models import parts as parts_table
from backend.payments.types import Authorization, Part, State, TopUp, TopUpState

_AUTHORIZATION = [authorizations.c[field.name] for field in fields(Authorization)]
_ONE_AUTHORIZATION = select(*_AUTHORIZATION).where(
    authorizations.c.tenant_id == bindparam("tenant_id"), authorizations.c.auth_id == bindparam("auth_id")
)
_TOP_UP = [top_ups.c[field.name] for field in fields(TopUp)]


def _authorization(row: Row[Any]) -> Authorization:
    values = dict(row._mapping)
    return Authorization(**{**values, "state": State(values["state"])})


def add_authorization(conn: Connection, new: Authorization) -> bool:
    """Insert an authorization; return whether it was not there before."""
    return insert_once(conn, authorizations, {**asdict(new), "state": new.state.value})


def authorization(conn: Connection, tenant_id: str, auth_id: str) -> Authorization | None:
    """Return an authorization, or None."""
    row = conn.execute(_ONE_AUTHORIZATION, {"tenant_id": tenant_id, "auth_id": auth_id}).one_or_none()
    return None if row is None else _authorization(row)


def save_authorization(conn: Connection, changed: Authorization) -> None:
    """Store an authorization's state and what came with it."""
    values = {
        "state": changed.state.value,
        "reason": changed.reason,
        "captured_minor": changed.captured_minor,
        "capture_id": changed.capture_id,
        "late_success": changed.late_success,
        "provider_ref": changed.provider_ref,
    }
    set_where(conn, authorizations, {"tenant_id": changed.tenant_id, "auth_id": changed.auth_id}, values)


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


def in_state(conn: Connection, tenant_id: str, state: State, limit: int) -> list[Authorization]:
    """Return authorizations in a state, oldest first."""
    query = (
        select(*_AUTHORIZATION)
        .where(authorizations.c.tenant_id == tenant_id, authorizations.c.state == state.value)
        .order_by(authorizations.c.created_at, authorizations.c.auth_id)
        .limit(limit)
    )
    return [_authorization(row) for row in conn.execute(query)]


def add_parts(conn: Connection, auth: Authorization, shares: list[tuple[str, int]]) -> None:
    """Store which purse gives how much, in this order."""
    rows = [
        {
            "tenant_id": auth.tenant_id,
            "auth_id": auth.auth_id,
            "position": position,
            "purse": purse,
            "held_minor": held_minor,
            "captured_minor": 0,
            "refunded_minor": 0,
        }
        for position, (purse, held_minor) in enumerate(shares)
    ]
    conn.execute(insert(parts_table), rows)


def parts(conn: Connection, tenant_id: str, auth_id: str) -> list[Part]:
    """Return which purse gave how much, in the order they are spent."""
    return [part for part, _ in parts_and_refunds(conn, tenant_id, auth_id)]


def parts_and_refunds(conn: Connection, tenant_id: str, auth_id: str) -> list[tuple[Part, int]]:
    """Return the parts, each with how much of it was given back."""
    rows = rows_where(conn, parts_table, {"tenant_id": tenant_id, "auth_id": auth_id}, order=("position",))
    return [(Part(row.purse, row.held_minor, row.captured_minor), row.refunded_minor) for row in rows]


def set_part(conn: Connection, auth: Authorization, purse: str, **values: int) -> None:
    """Set the amounts of one part."""
    keys = {"tenant_id": auth.tenant_id, "auth_id": auth.auth_id, "purse": purse}
    set_where(conn, parts_table, keys, values)


def _top_up(row: Row[Any]) -> TopUp:
    values = dict(row._mapping)
    return TopUp(**{**values, "state": TopUpState(values["state"])})


def add_top_up(conn: Connection, new: TopUp) -> bool:
    """Insert a top-up; return whether it was not there before."""
    return insert_once(conn, top_ups, {**asdict(new), "state": new.state.value})


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
        .values(
            state=changed.state.value,
            reason=changed.reason,
            late_success=changed.late_success,
            provider_ref=changed.provider_ref,
        )
    )


def late_successes(conn: Connection, tenant_id: str) -> int:
    """Return how many orders the provider took after we had given them up."""
    total = 0
    for table in (authorizations, top_ups):
        query = select(func.count()).where(table.c.tenant_id == tenant_id, table.c.late_success)
        total += conn.execute(query).scalar_one()
    return total


def is_cardholder_open(conn: Connection, tenant_id: str, cardholder_id: str) -> bool:
    """Return whether a cardholder has an authorization or a top-up whose end is not known yet."""
    waiting = (State.REQUESTED.value, State.UNKNOWN.value, State.HELD.value)
    of_auth = select(authorizations.c.auth_id).where(
        authorizations.c.tenant_id == tenant_id,
        authorizations.c.cardholder_id == cardholder_id,
        authorizations.c.state.in_(waiting),
    )
    of_top_up = select(top_ups.c.top_up_id).where(
        top_ups.c.tenant_id == tenant_id,
        top_ups.c.cardholder_id == cardholder_id,
        top_ups.c.state == TopUpState.CHECKING.value,
    )
    return any(conn.execute(query.limit(1)).first() is not None for query in (of_auth, of_top_up))
