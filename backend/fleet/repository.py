"""SQL of the fleet slice: places, gateways, devices. Faults are in `repository_faults`."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, update

from backend.db.insert import next_number, upsert
from backend.db.keyed import rows_where, set_where
from backend.fleet.models import command_sequences, devices, gateways, places

_DEVICE_FACTS = ("gateway_id", "place_id", "kind", "map_id", "name", "name_en", "scenario")


def find_place(conn: Connection, tenant_id: str, place_id: str) -> RowMapping | None:
    """Return a place's row, if there is one."""
    return rows_where(conn, places, {"tenant_id": tenant_id, "place_id": place_id}).mappings().one_or_none()


def find_places(conn: Connection, tenant_id: str) -> list[RowMapping]:
    """Return all places of a tenant by id."""
    return list(rows_where(conn, places, {"tenant_id": tenant_id}, order=("place_id",)).mappings())


def save_place(conn: Connection, values: dict[str, Any]) -> None:
    """Insert or update a place."""
    upsert(conn, places, values)


def find_gateways(conn: Connection, tenant_id: str, gateway_id: str | None = None) -> list[RowMapping]:
    """Return a tenant's gateways by id, or the one asked for."""
    keys = {"tenant_id": tenant_id} | ({} if gateway_id is None else {"gateway_id": gateway_id})
    return list(rows_where(conn, gateways, keys, order=("gateway_id",)).mappings())


def save_gateway(conn: Connection, values: dict[str, Any]) -> None:
    """Insert a gateway, or bring place and key of the known one up to date."""
    volatile = [name for name in values if name not in ("tenant_id", "gateway_id", "place_id", "public_key")]
    upsert(conn, gateways, values, keep=volatile)


def update_gateway(conn: Connection, tenant_id: str, gateway_id: str, **values: Any) -> bool:
    """Set columns of a gateway and return whether there is one."""
    return bool(set_where(conn, gateways, {"tenant_id": tenant_id, "gateway_id": gateway_id}, values))


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
    wanted = {
        "tenant_id": tenant_id,
        "device_id": device_id,
        "kind": kind,
        "gateway_id": gateway_id,
        "sticker_token": sticker_token,
    }
    keys = {name: value for name, value in wanted.items() if value is not None}
    return list(rows_where(conn, devices, keys, order=("device_id",)).mappings())


def save_device(conn: Connection, values: dict[str, Any]) -> None:
    """Insert a device, or bring the known one's facts up to date; its sticker and its health stay."""
    keep = [name for name in values if name not in ("tenant_id", "device_id", *_DEVICE_FACTS)]
    upsert(conn, devices, values, keep=keep)


def update_device(conn: Connection, tenant_id: str, device_id: str, **values: Any) -> bool:
    """Set columns of a device and return whether there is one."""
    return bool(set_where(conn, devices, {"tenant_id": tenant_id, "device_id": device_id}, values))


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
