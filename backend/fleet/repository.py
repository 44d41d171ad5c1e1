"""SQL of the fleet slice: places, gateways, devices. Faults are in `repository_faults`."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from backend.db.insert import next_number, upsert
from backend.fleet.models import command_sequences, devices, gateways, places

_DEVICE_FACTS = ("gateway_id", "place_id", "kind", "map_id", "name", "name_en", "scenario")


def find_place(conn: Connection, tenant_id: str, place_id: str) -> RowMapping | None:
    """Return a place's row, if there is one."""
    where = (places.c.tenant_id == tenant_id, places.c.place_id == place_id)
    return conn.execute(select(places).where(*where)).mappings().one_or_none()


def find_places(conn: Connection, tenant_id: str) -> list[RowMapping]:
    """Return all places of a tenant by id."""
    statement = select(places).where(places.c.tenant_id == tenant_id).order_by(places.c.place_id)
    return list(conn.execute(statement).mappings())


def save_place(conn: Connection, values: dict[str, Any]) -> None:
    """Insert or update a place."""
    upsert(conn, places, values)


def find_gateways(conn: Connection, tenant_id: str, gateway_id: str | None = None) -> list[RowMapping]:
    """Return a tenant's gateways by id, or the one asked for."""
    statement = select(gateways).where(gateways.c.tenant_id == tenant_id).order_by(gateways.c.gateway_id)
    if gateway_id is not None:
        statement = statement.where(gateways.c.gateway_id == gateway_id)
    return list(conn.execute(statement).mappings())


def save_gateway(conn: Connection, values: dict[str, Any]) -> None:
    """Insert a gateway, or bring place and key of the known one up to date."""
    volatile = [name for name in values if name not in ("tenant_id", "gateway_id", "place_id", "public_key")]
    upsert(conn, gateways, values, keep=volatile)


def update_gateway(conn: Connection, tenant_id: str, gateway_id: str, **values: Any) -> bool:
    """Set columns of a gateway and return whether there is one."""
    where = (gateways.c.tenant_id == tenant_id, gateways.c.gateway_id == gateway_id)
    return bool(conn.execute(update(gateways).where(*where).values(**values)).rowcount)


def find_devices(
    conn: Connection,
    *,
    tenant_id: str | None = None,
    device_id: str | None = None,
    kind: str | None = None,
    gateway_id: str | None = None,
    sticker_token: str | None = None,
) -> list[RowMapping]:
    """Return devices by id that have all the properties given; only a sticker may be looked up without a tenant."""
    assert tenant_id is not None or sticker_token is not None, "rows are read within one tenant"
    statement = select(devices).order_by(devices.c.device_id)
    wanted = (
        (devices.c.tenant_id, tenant_id),
        (devices.c.device_id, device_id),
        (devices.c.kind, kind),
        (devices.c.gateway_id, gateway_id),
        (devices.c.sticker_token, sticker_token),
    )
    for column, value in wanted:
        if value is not None:
            statement = statement.where(column == value)
    return list(conn.execute(statement).mappings())


def save_device(conn: Connection, values: dict[str, Any]) -> None:
    """Insert a device, or bring the known one's facts up to date; its sticker and its health stay."""
    keep = [name for name in values if name not in ("tenant_id", "device_id", *_DEVICE_FACTS)]
    upsert(conn, devices, values, keep=keep)


def update_device(conn: Connection, tenant_id: str, device_id: str, **values: Any) -> bool:
    """Set columns of a device and return whether there is one."""
    where = (devices.c.tenant_id == tenant_id, devices.c.device_id == device_id)
    return bool(conn.execute(update(devices).where(*where).values(**values)).rowcount)


def update_health(
    conn: Connection, tenant_id: str, gateway_id: str, device_id: str, *, health_at: datetime, values: dict[str, Any]
) -> bool:
    """Store a device's health unless a newer report is known; return whether it was stored."""
    where = (
        devices.c.tenant_id == tenant_id,
        devices.c.device_id == device_id,
        devices.c.gateway_id == gateway_id,
        devices.c.health_at.is_(None) | (devices.c.health_at <= health_at),
    )
    return bool(conn.execute(update(devices).where(*where).values(health_at=health_at, **values)).rowcount)


def next_command_sequence(conn: Connection, tenant_id: str, device_id: str) -> int:
    """Return the next command sequence of a device, atomically."""
    return next_number(conn, command_sequences, {"tenant_id": tenant_id, "device_id": device_id}, "sequence")
