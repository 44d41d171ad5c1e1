"""Use cases of the metering slice: keep readings, say what was consumed where and when, find unexplained flow."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, RowMapping

from backend.errors import BackendError
from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms
from backend.metering import repository, rules
from backend.metering.rules import Movement, Reading, Usage
from gateway.contract.units import InvalidKFactor

__all__ = [
    "CAUSES",
    "HourRow",
    "Movement",
    "Reading",
    "ReadingMalformed",
    "Usage",
    "consumption",
    "correct",
    "gaps",
    "latest",
    "movements",
    "readings_by_device",
    "record",
]

CAUSES = frozenset({"opening", "closing", "scheduled", "boot", "unbilled_flow"})
_READING_FIELDS = tuple(field.name for field in fields(Reading))
_LATEST_TIES_MAX = 8


class ReadingMalformed(BackendError):
    """A reading's cause is not one that is known."""

    code = "reading_malformed"


@dataclass(frozen=True, slots=True)
class HourRow:
    """What a place, with all that lies in it, consumed in the hour from `hour` on."""

    place_id: str
    hour: datetime
    volume_ml: int


def _reading(row: RowMapping) -> Reading:
    return Reading(**{name: row[name] for name in _READING_FIELDS})


def record(conn: Connection, reading: Reading) -> bool:
    """
    Store a reading and return whether it is new. It is the same one if device, cause and reference are, or, without
    a reference, the time.

    :raises ReadingMalformed: if the cause is unknown.
    :raises backend.metering.rules.InvalidRegister: if the register does not fit 64 bits.
    :raises gateway.contract.units.InvalidKFactor: if it is not positive: the register would mean nothing.
    """
    return repository.insert_reading(conn, _checked(reading))


def correct(conn: Connection, reading: Reading) -> None:
    """
    Store a reading in place of one that only stood in for it.

    :raises ReadingMalformed: and what else `record` raises.
    """
    repository.replace_reading(conn, _checked(reading))


def _checked(reading: Reading) -> dict[str, Any]:
    if reading.cause not in CAUSES:
        raise ReadingMalformed(f"unknown cause {reading.cause!r}")
    if not 0 <= reading.register_pulses < rules.WRAP:
        raise rules.InvalidRegister(f"register {reading.register_pulses} does not fit 64 bits")
    if reading.k_factor_pulses_per_m3 <= 0:
        raise InvalidKFactor(f"K-factor must be positive, not {reading.k_factor_pulses_per_m3}")
    reference = reading.reference or str(epoch_ms(reading.read_at))
    return {**asdict(reading), "reference": reference}


def latest(conn: Connection, tenant_id: str, device_id: str) -> Reading | None:
    """Return a device's latest reading, if there is one."""
    rows = [_reading(row) for row in repository.find_latest(conn, tenant_id, device_id, _LATEST_TIES_MAX)]
    return rules.in_order(rows)[-1] if rows else None


def movements(
    conn: Connection,
    tenant_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    device_ids: list[str] | None = None,
) -> Iterator[tuple[str, list[Movement]]]:
    """Yield each device with what its register moved between neighboring readings in a period, edges included."""
    rows = repository.find_readings(conn, tenant_id, since=since, until=until, device_ids=device_ids)
    for device_id, group in groupby((_reading(row) for row in rows), key=lambda reading: reading.device_id):
        yield device_id, rules.movements(rules.in_order(list(group)))


def gaps(
    conn: Connection, tenant_id: str, *, since: datetime | None = None, until: datetime | None = None
) -> list[Movement]:
    """Return the movements of registers that lie in no session: leaks, tests, tampering, or readings that were lost."""
    return [
        movement
        for _, moved in movements(conn, tenant_id, since=since, until=until)
        for movement in moved
        if not movement.water_session_id and (movement.usage.pulses or movement.usage.note)
    ]


def _ancestors(conn: Connection, tenant_id: str, root_id: str | None) -> dict[str, list[str]]:
    """Return for each place in a subtree the places, up to the subtree's root, that its water counts for."""
    parents = {place.place_id: place.parent_id for place in fleet.places(conn, tenant_id)}
    inside: dict[str, list[str]] = {}
    for place_id in parents:
        chain: list[str] = []
        current: str | None = place_id
        while current is not None and current != root_id and len(chain) < len(parents):
            chain.append(current)
            current = parents.get(current)
        if root_id is None or current == root_id:
            inside[place_id] = chain if root_id is None else [*chain, root_id]
    return inside


def consumption(
    conn: Connection, tenant_id: str, *, place_id: str | None, hour_from: datetime, hour_to: datetime
) -> list[HourRow]:
    """
    Return what each place of a subtree (None: of the whole school) consumed in each hour from `hour_from` up to, not
    including, `hour_to`, by place and hour; hours without any are left out. A place includes all that lies in it.
    From register differences: what lies between two readings is spread over the time between them.
    """
    if place_id is not None:
        fleet.place(conn, tenant_id, place_id)
    inside = _ancestors(conn, tenant_id, place_id)
    place_of = {
        device.device_id: device.place_id for device in fleet.devices(conn, tenant_id) if device.place_id in inside
    }
    first, end = rules.hour_of(hour_from), hour_to
    volumes: dict[tuple[str, datetime], int] = defaultdict(int)
    for device_id, moved in movements(conn, tenant_id, since=first, until=end):
        for movement in moved if device_id in place_of else []:
            for hour, volume in rules.volumes_by_hour(movement):
                for counted_for in inside[place_of[device_id]] if volume and first <= hour < end else []:
                    volumes[counted_for, hour] += volume
    return [HourRow(place, hour, volume) for (place, hour), volume in sorted(volumes.items())]


def readings_by_device(conn: Connection, tenant_id: str) -> dict[str, list[Reading]]:
    """Return all readings of a tenant by device, each device's as they happened."""
    rows = repository.find_readings(conn, tenant_id)
    grouped = groupby((_reading(row) for row in rows), key=lambda reading: reading.device_id)
    return {device_id: rules.in_order(list(group)) for device_id, group in grouped}
