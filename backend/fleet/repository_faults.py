"""SQL of the fleet slice: faults and their clearings."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from backend.db.insert import insert_once, upsert
from backend.fleet.models import fault_clearings, faults


def insert_fault(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a raised fault once; return whether it is new."""
    return insert_once(conn, faults, values)


def last_clearing(conn: Connection, tenant_id: str, gateway_id: str, device_id: str, fault: str) -> datetime | None:
    """Return when a fault was last cleared, by the gateway's clock."""
    where = (
        fault_clearings.c.tenant_id == tenant_id,
        fault_clearings.c.gateway_id == gateway_id,
        fault_clearings.c.device_id == device_id,
        fault_clearings.c.fault == fault,
    )
    return conn.execute(select(fault_clearings.c.cleared_at).where(*where)).scalar_one_or_none()


def clear(conn: Connection, tenant_id: str, gateway_id: str, device_id: str, fault: str, cleared_at: datetime) -> int:
    """Remember a clearing and end the open faults it belongs to; return how many."""
    known = last_clearing(conn, tenant_id, gateway_id, device_id, fault)
    if known is None or known < cleared_at:
        key = {"tenant_id": tenant_id, "gateway_id": gateway_id, "device_id": device_id, "fault": fault}
        upsert(conn, fault_clearings, {**key, "cleared_at": cleared_at})
    where = (
        faults.c.tenant_id == tenant_id,
        faults.c.gateway_id == gateway_id,
        faults.c.device_id == device_id,
        faults.c.fault == fault,
        faults.c.cleared_at.is_(None),
        faults.c.raised_at <= cleared_at,
    )
    return conn.execute(update(faults).where(*where).values(cleared_at=cleared_at)).rowcount


def find_faults(conn: Connection, tenant_id: str, *, only_open: bool, limit: int) -> list[RowMapping]:
    """Return faults of a tenant, latest first."""
    statement = select(faults).where(faults.c.tenant_id == tenant_id)
    if only_open:
        statement = statement.where(faults.c.cleared_at.is_(None))
    ordered = statement.order_by(faults.c.raised_at.desc(), faults.c.fault_id.desc()).limit(limit)
    return list(conn.execute(ordered).mappings())


def acknowledge(conn: Connection, tenant_id: str, fault_id: str, *, by: str, at: datetime) -> bool:
    """Note who has seen a fault first; return whether there is such a fault not yet acknowledged."""
    where = (faults.c.tenant_id == tenant_id, faults.c.fault_id == fault_id, faults.c.acknowledged_at.is_(None))
    return bool(conn.execute(update(faults).where(*where).values(acknowledged_by=by, acknowledged_at=at)).rowcount)
