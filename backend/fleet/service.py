"""Use cases of the fleet slice: find outlets and doors, take in what gateways say of themselves and their devices."""

from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Connection, RowMapping

from backend.errors import NotFound
from backend.fleet import repository, repository_faults, rules, stickers
from backend.fleet.types import Device, FaultRow, Gateway, Place
from backend.kit.clock import from_epoch_ms
from gateway.contract.events import FaultCleared, FaultRaised
from gateway.contract.messages import HealthReport, Hello

__all__ = [
    "Device",
    "DeviceUnknown",
    "FaultRow",
    "FaultUnknown",
    "Gateway",
    "GatewayUnknown",
    "OutletUnknown",
    "Place",
    "PlaceUnknown",
    "acknowledge_fault",
    "add_device",
    "add_gateway",
    "add_place",
    "clear_fault",
    "device",
    "device_by_sticker",
    "devices",
    "gateway",
    "gateways",
    "next_command_sequence",
    "open_faults",
    "place",
    "place_path",
    "places",
    "raise_fault",
    "recent_faults",
    "record_gone",
    "record_health",
    "record_hello",
]

_PLACE_DEPTH_MAX = 32
_FAULTS_LIMIT = 1_000
_COUNT_MAX = 2**31
_DEVICE_FIELDS = tuple(field.name for field in fields(Device))
_GATEWAY_FIELDS = tuple(field.name for field in fields(Gateway))
_FAULT_FIELDS = tuple(field.name for field in fields(FaultRow))


class OutletUnknown(NotFound):
    """No outlet has this code."""

    code = "outlet_unknown"


class DeviceUnknown(NotFound):
    """No such device."""

    code = "device_unknown"


class PlaceUnknown(NotFound):
    """No such place."""

    code = "place_unknown"


class GatewayUnknown(NotFound):
    """No such gateway."""

    code = "gateway_unknown"


class FaultUnknown(NotFound):
    """No such fault waits to be acknowledged."""

    code = "fault_unknown"


def _device(row: RowMapping) -> Device:
    return Device(**{**{name: row[name] for name in _DEVICE_FIELDS}, "faults": tuple(row["faults"])})


def _gateway(row: RowMapping) -> Gateway:
    return Gateway(**{name: row[name] for name in _GATEWAY_FIELDS})


def device_by_sticker(conn: Connection, sticker_token: str) -> Device:
    """
    Return the outlet whose sticker carries a token.

    :raises OutletUnknown: alike for a malformed token, an unknown one and a device that is not an outlet.
    """
    rows = []
    if stickers.is_well_formed(sticker_token):
        rows = repository.find_devices(conn, sticker_token=sticker_token, kind="outlet")
    if not rows:
        raise OutletUnknown
    return _device(rows[0])


def device(conn: Connection, tenant_id: str, device_id: str) -> Device:
    """
    Return a device.

    :raises DeviceUnknown: if this tenant has none with this id.
    """
    rows = repository.find_devices(conn, tenant_id=tenant_id, device_id=device_id)
    if not rows:
        raise DeviceUnknown(f"no device {device_id!r}")
    return _device(rows[0])


def devices(
    conn: Connection, tenant_id: str, *, kind: str | None = None, gateway_id: str | None = None
) -> list[Device]:
    """Return a tenant's devices by id, of one kind or one gateway if asked."""
    rows = repository.find_devices(conn, tenant_id=tenant_id, kind=kind, gateway_id=gateway_id)
    return [_device(row) for row in rows]


def place(conn: Connection, tenant_id: str, place_id: str) -> Place:
    """
    Return a place.

    :raises PlaceUnknown: if this tenant has none with this id.
    """
    row = repository.find_place(conn, tenant_id, place_id)
    if row is None:
        raise PlaceUnknown(f"no place {place_id!r}")
    return Place(**row)


def places(conn: Connection, tenant_id: str) -> list[Place]:
    """Return all places of a tenant by id."""
    return [Place(**row) for row in repository.find_places(conn, tenant_id)]


def place_path(conn: Connection, tenant_id: str, place_id: str) -> list[Place]:
    """
    Return a place with all it lies in, root first.

    :raises PlaceUnknown: if this tenant has none with this id.
    """
    path = [place(conn, tenant_id, place_id)]
    while path[-1].parent_id is not None:
        assert len(path) < _PLACE_DEPTH_MAX, "the place tree has a loop"
        path.append(place(conn, tenant_id, path[-1].parent_id))
    return path[::-1]


def gateway(conn: Connection, tenant_id: str, gateway_id: str) -> Gateway:
    """
    Return a gateway.

    :raises GatewayUnknown: if this tenant has none with this id.
    """
    rows = repository.find_gateways(conn, tenant_id, gateway_id)
    if not rows:
        raise GatewayUnknown(f"no gateway {gateway_id!r}")
    return _gateway(rows[0])


def gateways(conn: Connection, tenant_id: str) -> list[Gateway]:
    """Return a tenant's gateways by id."""
    return [_gateway(row) for row in repository.find_gateways(conn, tenant_id)]


def next_command_sequence(conn: Connection, tenant_id: str, device_id: str) -> int:
    """Return the next number for a command to a device: greater than all before, atomically."""
    return repository.next_command_sequence(conn, tenant_id, device_id)


def add_place(conn: Connection, new: Place) -> None:
    """Store a place; the same id again brings it up to date."""
    assert new.parent_id != new.place_id, "a place cannot lie in itself"
    repository.save_place(conn, asdict(new))


def add_gateway(conn: Connection, new: Gateway) -> None:
    """Store a gateway; the same id again brings its place and key up to date."""
    repository.save_gateway(conn, asdict(new))


def add_device(conn: Connection, new: Device) -> Device:
    """Store a device and return it as stored; the same id again keeps its sticker and health. No token makes one."""
    token = new.sticker_token or stickers.new_token()
    repository.save_device(conn, {**asdict(new), "faults": list(new.faults), "sticker_token": token})
    return device(conn, new.tenant_id, new.device_id)


def record_hello(conn: Connection, tenant_id: str, hello: Hello, now: datetime) -> None:
    """
    Take in a gateway's birth. A hello older than the last one changes nothing.

    :raises GatewayUnknown: if this tenant has no such gateway.
    """
    rows = repository.find_gateways(conn, tenant_id, hello.gateway)
    if not rows:
        raise GatewayUnknown(f"no gateway {hello.gateway!r}")
    hello_at = rules.reported_at(from_epoch_ms(hello.at_ms), now)
    if rules.is_stale(reported_at=hello_at, known_at=rows[0]["hello_at"]):
        return
    repository.update_gateway(
        conn,
        tenant_id,
        hello.gateway,
        software=hello.software[:100],
        journal_epoch=hello.journal_epoch,
        journal_sequence=hello.journal_sequence,
        journal_waiting=None,
        connected=True,
        last_seen_at=now,
        hello_at=hello_at,
        hello_received_at=now,
    )


def record_gone(conn: Connection, tenant_id: str, gateway_id: str, now: datetime) -> None:
    """
    Take in a gateway's last will. One older than the last hello is of a previous connection and changes nothing.

    :raises GatewayUnknown: if this tenant has no such gateway.
    """
    rows = repository.find_gateways(conn, tenant_id, gateway_id)
    if not rows:
        raise GatewayUnknown(f"no gateway {gateway_id!r}")
    if not rules.is_stale(reported_at=now, known_at=rows[0]["hello_received_at"]):
        repository.update_gateway(conn, tenant_id, gateway_id, connected=False)


def record_health(conn: Connection, tenant_id: str, report: HealthReport, now: datetime) -> tuple[str, ...]:
    """
    Take in what a gateway knows of its devices and return the ids of devices that are not its own.

    A report older than the one known, of the gateway or of a device, changes nothing.

    :raises GatewayUnknown: if this tenant has no such gateway.
    """
    rows = repository.find_gateways(conn, tenant_id, report.gateway)
    if not rows:
        raise GatewayUnknown(f"no gateway {report.gateway!r}")
    health_at = rules.reported_at(from_epoch_ms(report.at_ms), now)
    if rules.is_stale(reported_at=health_at, known_at=rows[0]["health_at"]):
        return ()
    repository.update_gateway(
        conn,
        tenant_id,
        report.gateway,
        connected=True,
        last_seen_at=now,
        health_at=health_at,
        journal_waiting=min(max(report.journal_waiting, 0), _COUNT_MAX),
    )
    own = {row["device_id"] for row in repository.find_devices(conn, tenant_id=tenant_id, gateway_id=report.gateway)}
    for health in sorted(report.devices, key=lambda each: each.device):  # one order of locks for all writers
        if health.device not in own:
            continue
        values = {
            "state": health.state[:16],
            "last_answer_at": from_epoch_ms(health.last_answer_at_ms) if health.last_answer_at_ms else None,
            "valve_open": health.valve_open,
            "faults": list(health.faults),
            "register_pulses": health.register_pulses,
            "temperature_decidegc": health.temperature_decidegc,
            "evidence": health.evidence[:200],
            "health_received_at": now,
        }
        repository.update_health(conn, tenant_id, report.gateway, health.device, health_at=health_at, values=values)
    return tuple(sorted({health.device for health in report.devices} - own))


def _apply_fault(
    conn: Connection, tenant_id: str, gateway_id: str, device_id: str, fault: str, at: datetime, *, on: bool
) -> None:
    """Bring a device's faults up to date with an event, unless a later health report has spoken."""
    rows = repository.find_devices(conn, tenant_id=tenant_id, device_id=device_id, gateway_id=gateway_id)
    if rows and not rules.is_stale(reported_at=at, known_at=rows[0]["health_at"]):
        current = set(rows[0]["faults"])
        changed = current | {fault} if on else current - {fault}
        repository.update_device(conn, tenant_id, device_id, faults=sorted(changed))


def raise_fault(conn: Connection, tenant_id: str, gateway_id: str, event: FaultRaised, now: datetime) -> None:
    """Store a fault once; if its clearing has arrived before it, it is stored as cleared."""
    raised_at = from_epoch_ms(event.at_ms)
    fault = event.fault.value
    cleared_at = repository_faults.last_clearing(conn, tenant_id, gateway_id, event.device, fault)
    is_over = cleared_at is not None and cleared_at >= raised_at
    is_new = repository_faults.insert_fault(
        conn,
        {
            "tenant_id": tenant_id,
            "fault_id": event.event_id,
            "gateway_id": gateway_id,
            "device_id": event.device,
            "fault": fault,
            "detail": event.detail[:500],
            "raised_at": raised_at,
            "cleared_at": cleared_at if is_over else None,
            "recorded_at": now,
        },
    )
    if is_new and not is_over and event.device:
        _apply_fault(conn, tenant_id, gateway_id, event.device, fault, raised_at, on=True)


def clear_fault(conn: Connection, tenant_id: str, gateway_id: str, event: FaultCleared, now: datetime) -> None:
    """End the open faults of this kind that were raised no later than the clearing. Repeating it changes nothing."""
    cleared_at = from_epoch_ms(event.at_ms)
    assert now.tzinfo is not None
    repository_faults.clear(conn, tenant_id, gateway_id, event.device, event.fault.value, cleared_at)
    if event.device:
        _apply_fault(conn, tenant_id, gateway_id, event.device, event.fault.value, cleared_at, on=False)


def _fault(row: RowMapping) -> FaultRow:
    return FaultRow(**{name: row[name] for name in _FAULT_FIELDS})


def open_faults(conn: Connection, tenant_id: str) -> list[FaultRow]:
    """Return a tenant's faults that are not cleared, latest first."""
    rows = repository_faults.find_faults(conn, tenant_id, only_open=True, limit=_FAULTS_LIMIT)
    return [_fault(row) for row in rows]


def recent_faults(conn: Connection, tenant_id: str, limit: int = 100) -> list[FaultRow]:
    """Return a tenant's latest faults, cleared ones included."""
    rows = repository_faults.find_faults(conn, tenant_id, only_open=False, limit=limit)
    return [_fault(row) for row in rows]


def acknowledge_fault(conn: Connection, tenant_id: str, fault_id: str, by_cardholder_id: str, now: datetime) -> None:
    """
    Note who has seen a fault; it stays open until it clears.

    :raises FaultUnknown: if there is none with this id that is not yet acknowledged.
    """
    if not repository_faults.acknowledge(conn, tenant_id, fault_id, by=by_cardholder_id, at=now):
        raise FaultUnknown(f"no fault {fault_id!r} waits to be acknowledged")
