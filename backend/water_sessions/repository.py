"""All SQL of water sessions."""

from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, CursorResult, RowMapping, Select, bindparam, delete, select, type_coerce

from backend.db.keyed import insert_row, rows_where, set_where
from backend.kit.clock import epoch_ms
from backend.water_sessions.machine import LIVE, State
from backend.water_sessions.models import taps, waiting_starts
from backend.water_sessions.models import water_sessions as table
from backend.water_sessions.types import WaitingStart, WaterSession

_FIELDS = tuple(field.name for field in fields(WaterSession))
_LIVE = sorted(state.value for state in LIVE)
_LIVE_HERE = select(table).where(table.c.tenant_id == bindparam("tenant_id"), table.c.state.in_(_LIVE))
_LIVE_OF_CARDHOLDER = _LIVE_HERE.where(table.c.cardholder_id == bindparam("cardholder_id"))
_LIVE_OF_DEVICE = _LIVE_HERE.where(table.c.device_id == bindparam("device_id"))


def _session(row: RowMapping) -> WaterSession:
    return WaterSession(**{**{name: row[name] for name in _FIELDS}, "state": State(row["state"])})


def _first(rows: CursorResult[Any]) -> WaterSession | None:
    row = rows.mappings().first()
    return None if row is None else _session(row)


def _many(conn: Connection, query: Select[Any]) -> list[WaterSession]:
    return [_session(row) for row in conn.execute(query).mappings()]


def store(conn: Connection, session: WaterSession) -> None:
    """
    Store a new session.

    :raises sqlalchemy.exc.IntegrityError: if the outlet or the cardholder has a live one, or the request is known.
    """
    values = {name: getattr(session, name) for name in _FIELDS}
    insert_row(conn, table, {**values, "state": session.state.value})


def change(conn: Connection, tenant_id: str, water_session_id: str, **values: Any) -> None:
    """Set columns of a session."""
    set_where(conn, table, {"tenant_id": tenant_id, "water_session_id": water_session_id}, values)


def find(conn: Connection, tenant_id: str, water_session_id: str, *, lock: bool = False) -> WaterSession | None:
    """Return a session or None; locked until the end of the transaction if asked."""
    keys = {"tenant_id": tenant_id, "water_session_id": water_session_id}
    return _first(rows_where(conn, table, keys, lock=lock))


def by_request(conn: Connection, tenant_id: str, request_id: str) -> WaterSession | None:
    """Return the session a request started or None."""
    return _first(rows_where(conn, table, {"tenant_id": tenant_id, "request_id": request_id}))


def live_of_cardholder(conn: Connection, tenant_id: str, cardholder_id: str) -> WaterSession | None:
    """Return a cardholder's live session or None."""
    return _first(conn.execute(_LIVE_OF_CARDHOLDER, {"tenant_id": tenant_id, "cardholder_id": cardholder_id}))


def live_of_device(conn: Connection, tenant_id: str, device_id: str) -> WaterSession | None:
    """Return an outlet's live session or None."""
    return _first(conn.execute(_LIVE_OF_DEVICE, {"tenant_id": tenant_id, "device_id": device_id}))


def live(conn: Connection, tenant_id: str) -> list[WaterSession]:
    """Return a tenant's live sessions, oldest first."""
    condition = (table.c.tenant_id == tenant_id, table.c.state.in_(_LIVE))
    return _many(conn, select(table).where(*condition).order_by(table.c.requested_at, table.c.water_session_id))


def history(
    conn: Connection, tenant_id: str, cardholder_id: str, *, limit: int, before: datetime | None
) -> list[WaterSession]:
    """Return a cardholder's sessions, newest first, requested before a time if given."""
    query = select(table).where(table.c.tenant_id == tenant_id, table.c.cardholder_id == cardholder_id)
    if before is not None:
        query = query.where(table.c.requested_at < before)
    return _many(conn, query.order_by(table.c.requested_at.desc(), table.c.water_session_id.desc()).limit(limit))


def ended(conn: Connection, tenant_id: str, *, device_id: str | None, since: datetime | None) -> list[WaterSession]:
    """Return sessions with a register pair, by closing time, of one outlet or since a time if asked."""
    query = select(table).where(table.c.tenant_id == tenant_id, table.c.closing_pulses.is_not(None))
    if device_id is not None:
        query = query.where(table.c.device_id == device_id)
    if since is not None:
        query = query.where(table.c.closed_at >= since)
    return _many(conn, query.order_by(table.c.closed_at, table.c.water_session_id))


def asking(conn: Connection, limit: int) -> list[WaterSession]:
    """Return sessions of all tenants whose payment is being asked, oldest first."""
    query = select(table).where(table.c.state == State.REQUESTED.value)
    return _many(conn, query.order_by(table.c.requested_at).limit(limit))


def unopened(conn: Connection, *, authorized_before: datetime, limit: int) -> list[WaterSession]:
    """Return live sessions of all tenants that were authorized before a time and not heard to open, oldest first."""
    names = sorted({state.value for state in LIVE} - {State.REQUESTED.value})
    query = select(table).where(
        table.c.state.in_(names), table.c.opened_at.is_(None), table.c.authorized_at < authorized_before
    )
    return _many(conn, query.order_by(table.c.requested_at).limit(limit))


def unclosed(conn: Connection, *, asked_before: datetime, limit: int) -> list[WaterSession]:
    """Return sessions of all tenants asked to close before a time and not heard to have ended, oldest first."""
    query = select(table).where(table.c.state == State.CLOSING.value, table.c.close_requested_at <= asked_before)
    return _many(conn, query.order_by(table.c.requested_at).limit(limit))


def revoked(conn: Connection, *, since: datetime, asked_before: datetime, limit: int) -> list[WaterSession]:
    """Return sessions of all tenants that were given up, yet reported open, and not heard to have ended."""
    query = select(table).where(
        table.c.state.in_([State.REFUSED.value, State.VOIDED.value]),
        table.c.requested_at >= since,
        table.c.opened_at.is_not(None),
        table.c.closing_pulses.is_(None),
        table.c.close_requested_at <= asked_before,
    )
    return _many(conn, query.order_by(table.c.requested_at).limit(limit))


def overdue(conn: Connection, *, now: datetime, grace_s: int, limit: int) -> list[WaterSession]:
    """Return live sessions of all tenants open for longer than their time limit and a grace, oldest first."""
    limit_ms = type_coerce(table.c.opened_at, BigInteger) + (table.c.duration_limit_s + grace_s) * 1000
    query = select(table).where(table.c.state.in_(_LIVE), table.c.opened_at.is_not(None), limit_ms <= epoch_ms(now))
    return _many(conn, query.order_by(table.c.requested_at).limit(limit))


def tap_answer(conn: Connection, tenant_id: str, request_id: str) -> str | None:
    """Return the answer a tap was given or None."""
    row = rows_where(conn, taps, {"tenant_id": tenant_id, "request_id": request_id}).one_or_none()
    return None if row is None else row.answer


def store_tap(conn: Connection, tenant_id: str, request_id: str, *, answer: str, now: datetime) -> None:
    """Store the answer a tap was given."""
    values = {"tenant_id": tenant_id, "request_id": request_id, "answer": answer, "answered_at": now}
    insert_row(conn, taps, values)


def delete_taps(conn: Connection, *, before: datetime) -> None:
    """Forget answers given before a time."""
    conn.execute(delete(taps).where(taps.c.answered_at < before))


def store_waiting(conn: Connection, start: WaitingStart) -> None:
    """Store the start that waits at an outlet in place of the one that waited before."""
    remove_waiting(conn, start.tenant_id, start.device_id)
    insert_row(conn, waiting_starts, asdict(start))


def remove_waiting(conn: Connection, tenant_id: str, device_id: str) -> None:
    """Forget what waits at an outlet."""
    conn.execute(
        delete(waiting_starts).where(
            waiting_starts.c.tenant_id == tenant_id, waiting_starts.c.device_id == device_id
        )
    )  # fmt: skip


def waiting(conn: Connection, tenant_id: str, device_id: str) -> WaitingStart | None:
    """Return the start that waits at an outlet or None."""
    row = rows_where(conn, waiting_starts, {"tenant_id": tenant_id, "device_id": device_id}).mappings().first()
    return None if row is None else WaitingStart(**row)
