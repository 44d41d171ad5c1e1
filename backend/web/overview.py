"""The figures of the facilities overview, gathered once: tiles, table feet and exports say the same."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.fleet import rules as fleet_rules
from backend.fleet import service as fleet
from backend.fleet.types import Device, FaultRow, Place
from backend.metering import service as metering
from backend.tariffs import service as tariffs
from backend.tenants.service import Tenant
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import WaterSession
from backend.web.charts.bars import Bar, heat_step, spark
from backend.web.live import LiveHub
from backend.web.outlet_page import Figures, figures

_HOUR = timedelta(hours=1)
HOURS = 24


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """A building with what it used today; `bars` are the day's hours."""

    place: Place
    volume_ml: int
    captured_minor: int
    running: int
    online: int
    outlets: int
    temperature_decidegc: int | None
    by_hour_ml: tuple[int, ...]
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class RunningRow:
    """An outlet where water runs now."""

    device: Device
    place: str
    session: WaterSession
    figures: Figures
    flow_ml_per_min: int | None


@dataclass(frozen=True, slots=True)
class HourCell:
    """One building in one hour of today; `step` is one of ten, None for an hour that is still to come."""

    hour: int
    volume_ml: int
    step: int | None


@dataclass(frozen=True, slots=True)
class FaultLine:
    """An open fault with the device's name."""

    fault: FaultRow
    device: Device | None
    place: str


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the overview shows."""

    volume_ml: int
    captured_minor: int
    running: tuple[RunningRow, ...]
    outlets: int
    online: int
    flow_ml_per_min: int | None
    places: tuple[PlaceRow, ...]
    heat: tuple[tuple[Place, tuple[HourCell, ...]], ...]
    faults: tuple[FaultLine, ...]


def _buildings(places: list[Place]) -> list[Place]:
    found = [place for place in places if place.kind == "building"]
    return found or [place for place in places if place.parent_id is None]


def _inside(places: list[Place], root_id: str) -> set[str]:
    inside = {root_id}
    grown = True
    while grown:
        more = {place.place_id for place in places if place.parent_id in inside} - inside
        inside |= more
        grown = bool(more)
    return inside


def path_name(places: dict[str, Place], place_id: str, language: str) -> str:
    """Return a place as people say it: building, floor, room; the campus is left out."""
    names: list[str] = []
    current: str | None = place_id
    while current is not None and current in places and len(names) < 10:
        place = places[current]
        if place.kind != "campus" or not names:
            names.append(place.name_en if language == "en" and place.name_en else place.name)
        current = place.parent_id
    return " · ".join(reversed(names))


def around(places: dict[str, Place], device: Device, language: str) -> str:
    """Return where a device is, without the outlet or door that the device itself names."""
    place = places.get(device.place_id)
    if place is not None and place.kind in ("outlet", "door") and place.parent_id is not None:
        return path_name(places, place.parent_id, language)
    return path_name(places, device.place_id, language)


def is_online(device: Device, gateway: fleet.Gateway, now: datetime) -> bool:
    """Return whether a device could be used now, faults aside."""
    return fleet_rules.opening_obstacle(device, gateway, now) != "outlet_offline"


def _heat(rows: list[PlaceRow], hours_gone: int) -> tuple[tuple[Place, tuple[HourCell, ...]], ...]:
    largest = max((value for row in rows for value in row.by_hour_ml), default=0)
    return tuple(
        (
            row.place,
            tuple(
                HourCell(hour, value, heat_step(value, largest) if hour <= hours_gone else None)
                for hour, value in enumerate(row.by_hour_ml)
            ),
        )
        for row in rows
    )


def overview(conn: Connection, tenant: Tenant, hub: LiveHub, *, language: str, now: datetime) -> Overview:
    """Return today's figures of a school, its day in its own zone."""
    tenant_id = tenant.tenant_id
    local = now.astimezone(tenant.time_zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(now.tzinfo)
    places = fleet.places(conn, tenant_id)
    by_id = {place.place_id: place for place in places}
    outlets = fleet.devices(conn, tenant_id, kind="outlet")
    gateways = {gateway.gateway_id: gateway for gateway in fleet.gateways(conn, tenant_id)}
    online = {device.device_id for device in outlets if is_online(device, gateways[device.gateway_id], now)}
    sessions = water_sessions.live(conn, tenant_id)
    settled = water_sessions.ended(conn, tenant_id, since=midnight)
    hours = metering.consumption(conn, tenant_id, place_id=None, hour_from=midnight, hour_to=midnight + 24 * _HOUR)
    by_device = {device.device_id: device for device in fleet.devices(conn, tenant_id)}

    rows: list[PlaceRow] = []
    for building in _buildings(places):
        inside = _inside(places, building.place_id)
        here = [device for device in outlets if device.place_id in inside]
        ids = {device.device_id for device in here}
        if not here:
            continue
        by_hour = [0] * HOURS
        for hour in hours:
            index = (hour.hour - midnight) // _HOUR
            if hour.place_id == building.place_id and 0 <= index < HOURS:
                by_hour[index] += hour.volume_ml
        warm = [each.temperature_decidegc for each in here if each.temperature_decidegc is not None]
        rows.append(
            PlaceRow(
                place=building,
                volume_ml=sum(by_hour),
                captured_minor=sum(each.captured_minor or 0 for each in settled if each.device_id in ids),
                running=sum(1 for each in sessions if each.device_id in ids and each.opened_at is not None),
                online=len(online & ids),
                outlets=len(here),
                temperature_decidegc=sum(warm) // len(warm) if warm else None,
                by_hour_ml=tuple(by_hour),
                bars=spark(by_hour),
            )
        )
    running = tuple(
        RunningRow(
            device=by_device[session.device_id],
            place=around(by_id, by_device[session.device_id], language),
            session=session,
            figures=figures(
                hub, session, tariffs.version(conn, tenant_id, session.tariff_id, session.tariff_version), now
            ),
            flow_ml_per_min=hub.flow_now(tenant_id, [session.water_session_id]),
        )
        for session in sessions
    )
    faults = tuple(
        FaultLine(
            fault,
            by_device.get(fault.device_id),
            around(by_id, by_device[fault.device_id], language) if fault.device_id in by_device else "",
        )
        for fault in fleet.open_faults(conn, tenant_id)
    )
    return Overview(
        volume_ml=sum(row.volume_ml for row in rows),
        captured_minor=sum(row.captured_minor for row in rows),
        running=running,
        outlets=len(outlets),
        online=len(online),
        flow_ml_per_min=hub.flow_now(tenant_id, [session.water_session_id for session in sessions]) if sessions else 0,
        places=tuple(rows),
        heat=_heat(rows, local.hour),
        faults=faults,
    )
