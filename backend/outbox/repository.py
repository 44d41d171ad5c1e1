"""All SQL of the outbox and the inbox."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, and_, bindparam, delete, exists, func, or_, select, tuple_, update

from backend.db.keyed import insert_row, rows_where, set_where
from backend.outbox.models import commands, cursors, parked, records

Row = dict[str, Any]
_TURN = select(func.pg_advisory_xact_lock(func.hashtext("water_sessions"), func.hashtext(bindparam("tenant_id"))))

_SEQUENCES_AFTER = (
    select(records.c.sequence)
    .where(
        records.c.tenant_id == bindparam("tenant_id"),
        records.c.gateway_id == bindparam("gateway_id"),
        records.c.epoch == bindparam("epoch"),
        records.c.sequence > bindparam("after"),
    )
    .order_by(records.c.sequence)
    .limit(bindparam("limit", type_=Integer))
)


def take_turn(conn: Connection, tenant_id: str) -> None:
    """Wait until this transaction is the tenant's only one that changes sessions; SQLite has one writer anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(_TURN, {"tenant_id": tenant_id})


def insert_command(conn: Connection, values: Row) -> None:
    """Store a command."""
    insert_row(conn, commands, values)


def command(conn: Connection, tenant_id: str, cmd_id: str) -> Row | None:
    """Return a command or None."""
    row = rows_where(conn, commands, {"tenant_id": tenant_id, "cmd_id": cmd_id}).mappings().first()
    return None if row is None else dict(row)


def any_waiting(conn: Connection, now: datetime) -> bool:
    """Return whether some unsent, unexpired, unclaimed command exists."""
    waiting = select(commands.c.cmd_id).where(_claimable(now)).limit(1)
    return conn.execute(waiting).first() is not None


def _claimable(now: datetime) -> Any:
    free = or_(commands.c.claimed_until.is_(None), commands.c.claimed_until <= now)
    return and_(commands.c.sent_at.is_(None), commands.c.not_after > now, free)


def claim(conn: Connection, *, now: datetime, claimed_until: datetime, limit: int) -> list[Row]:
    """
    Return waiting commands, oldest sequence of each device first, and keep them from other workers until a time.

    A command behind one that another worker holds for the same device waits, so that they leave in sequence.
    """
    ahead = commands.alias()
    blocked = exists().where(
        ahead.c.tenant_id == commands.c.tenant_id,
        ahead.c.device_id == commands.c.device_id,
        ahead.c.sequence < commands.c.sequence,
        ahead.c.sent_at.is_(None),
        ahead.c.not_after > now,
        ahead.c.claimed_until > now,
    )
    query = (
        select(commands)
        .where(_claimable(now), ~blocked)
        .order_by(commands.c.device_id, commands.c.sequence)
        .limit(limit)
        .with_for_update(skip_locked=True, of=commands)
    )
    rows = [dict(row) for row in conn.execute(query).mappings()]
    if rows:
        keys = [(row["tenant_id"], row["cmd_id"]) for row in rows]
        conn.execute(
            update(commands)
            .where(tuple_(commands.c.tenant_id, commands.c.cmd_id).in_(keys))
            .values(claimed_until=claimed_until, attempts=commands.c.attempts + 1)
        )
    return rows


def mark_sent(conn: Connection, keys: list[tuple[str, str]], now: datetime) -> None:
    """Note that the broker took these commands."""
    conn.execute(
        update(commands)
        .where(tuple_(commands.c.tenant_id, commands.c.cmd_id).in_(keys), commands.c.sent_at.is_(None))
        .values(sent_at=now)
    )


def unmark_sent(conn: Connection, tenant_id: str, gateway_id: str, now: datetime) -> int:
    """Let a gateway's sent commands that are still good be sent again, and return how many there are."""
    return _unmark(conn, commands.c.tenant_id == tenant_id, commands.c.gateway_id == gateway_id, now=now)


def unmark_all_sent(conn: Connection, now: datetime) -> int:
    """Let every gateway's sent commands that are still good be sent again, and return how many there are."""
    return _unmark(conn, now=now)


def _unmark(conn: Connection, *which: Any, now: datetime) -> int:
    again = conn.execute(
        update(commands)
        .where(*which, commands.c.sent_at.is_not(None), commands.c.not_after > now)
        .values(sent_at=None, claimed_until=None)
    )
    return again.rowcount


def record_sha256(conn: Connection, tenant_id: str, gateway_id: str, epoch: str, sequence: int) -> str | None:
    """Return the digest of an accepted record or None."""
    key = {"tenant_id": tenant_id, "gateway_id": gateway_id, "epoch": epoch, "sequence": sequence}
    row = rows_where(conn, records, key).one_or_none()
    return None if row is None else row.sha256


def insert_record(conn: Connection, values: Row) -> None:
    """Store that a record was accepted."""
    insert_row(conn, records, values)


def cursor(conn: Connection, tenant_id: str, gateway_id: str, epoch: str) -> int | None:
    """Return the stored cursor of an epoch or None."""
    key = {"tenant_id": tenant_id, "gateway_id": gateway_id, "epoch": epoch}
    row = rows_where(conn, cursors, key).one_or_none()
    return None if row is None else row.acked_through


def sequences_after(conn: Connection, tenant_id: str, gateway_id: str, epoch: str, after: int, limit: int) -> list[int]:
    """Return accepted sequences above a cursor in order; gaps allowed."""
    given = {"tenant_id": tenant_id, "gateway_id": gateway_id, "epoch": epoch, "after": after, "limit": limit}
    return list(conn.execute(_SEQUENCES_AFTER, given).scalars())


def store_cursor(conn: Connection, tenant_id: str, gateway_id: str, epoch: str, acked_through: int) -> None:
    """Store a cursor, new or moved on."""
    key = {"tenant_id": tenant_id, "gateway_id": gateway_id, "epoch": epoch}
    if set_where(conn, cursors, key, {"acked_through": acked_through}) == 0:
        insert_row(conn, cursors, {**key, "acked_through": acked_through})


def insert_parked(conn: Connection, values: Row) -> None:
    """Store a record that could not be handled."""
    insert_row(conn, parked, values)


def parked_due(conn: Connection, now: datetime, limit: int) -> list[Row]:
    """Return parked records whose next try has come, oldest first."""
    query = select(parked).where(parked.c.retry_at <= now).order_by(parked.c.parked_at, parked.c.sequence).limit(limit)
    return [dict(row) for row in conn.execute(query).mappings()]


def parked_attempts(conn: Connection, row: Row) -> int | None:
    """Return how often a parked record was tried, or None when it is no longer parked; locked until commit."""
    return conn.execute(select(parked.c.attempts).where(_parked_key(row)).with_for_update()).scalar_one_or_none()


def _parked_key(row: Row) -> Any:
    return and_(*(parked.c[name] == row[name] for name in ("tenant_id", "gateway_id", "epoch", "sequence")))


def unpark(conn: Connection, row: Row) -> None:
    """Forget a parked record: it was handled."""
    conn.execute(delete(parked).where(_parked_key(row)))


def postpone_parked(conn: Connection, row: Row, *, reason: str, retry_at: datetime) -> None:
    """Note another failed try of a parked record."""
    conn.execute(
        update(parked).where(_parked_key(row)).values(reason=reason, attempts=row["attempts"] + 1, retry_at=retry_at)
    )
