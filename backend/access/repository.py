"""SQL of the access slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, exists, select, update

from backend.access.models import decisions, doors, passages
from backend.db.insert import insert_once, upsert


def save_door(conn: Connection, values: dict[str, Any]) -> None:
    """Insert or update a door's policy."""
    upsert(conn, doors, values)


def find_door(conn: Connection, tenant_id: str, device_id: str) -> RowMapping | None:
    """Return a door's policy, if there is one."""
    where = (doors.c.tenant_id == tenant_id, doors.c.device_id == device_id)
    return conn.execute(select(doors).where(*where)).mappings().one_or_none()


def claim_request(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a request once, before it is decided; a repeat that comes at the same time waits here."""
    return insert_once(conn, decisions, values)


def finish_request(conn: Connection, tenant_id: str, request_id: str, values: dict[str, Any]) -> None:
    """Fill in the decision on a request that this transaction has claimed."""
    where = (decisions.c.tenant_id == tenant_id, decisions.c.request_id == request_id)
    conn.execute(update(decisions).where(*where).values(**values))


def find_answer(conn: Connection, tenant_id: str, request_id: str) -> str:
    """Return the answer that was given to a request."""
    where = (decisions.c.tenant_id == tenant_id, decisions.c.request_id == request_id)
    return str(conn.execute(select(decisions.c.answer).where(*where)).scalar_one())


def insert_passage(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a passage once; return whether it is new."""
    return insert_once(conn, passages, values)


def find_decisions(conn: Connection, tenant_id: str, device_id: str | None, limit: int) -> list[RowMapping]:
    """Return the latest decisions with what the door saw of each afterwards."""
    joined = decisions.outerjoin(
        passages,
        and_(passages.c.tenant_id == decisions.c.tenant_id, passages.c.passage_id == decisions.c.passage_id),
    )
    statement = (
        select(decisions, passages.c.outcome, passages.c.passed_at)
        .select_from(joined)
        .where(decisions.c.tenant_id == tenant_id)
        .order_by(decisions.c.decided_at.desc(), decisions.c.request_id.desc())
        .limit(limit)
    )
    if device_id is not None:
        statement = statement.where(decisions.c.device_id == device_id)
    return list(conn.execute(statement).mappings())


def find_ungranted_passages(conn: Connection, tenant_id: str, device_id: str | None, limit: int) -> list[RowMapping]:
    """Return the latest passages that no decision of ours granted."""
    granted = exists().where(
        decisions.c.tenant_id == passages.c.tenant_id, decisions.c.passage_id == passages.c.passage_id
    )
    statement = (
        select(passages)
        .where(passages.c.tenant_id == tenant_id, ~granted)
        .order_by(passages.c.passed_at.desc(), passages.c.event_id.desc())
        .limit(limit)
    )
    if device_id is not None:
        statement = statement.where(passages.c.device_id == device_id)
    return list(conn.execute(statement).mappings())


def find_passages_since(
    conn: Connection, tenant_id: str, device_ids: list[str], since: datetime
) -> list[tuple[str, str]]:
    """Return (direction, outcome) of the passages at some doors from an instant on, in order."""
    statement = (
        select(passages.c.direction, passages.c.outcome)
        .where(
            passages.c.tenant_id == tenant_id,
            passages.c.device_id.in_(device_ids),
            passages.c.passed_at >= since,
        )
        .order_by(passages.c.passed_at, passages.c.event_id)
    )
    return [(direction, outcome) for direction, outcome in conn.execute(statement)]
