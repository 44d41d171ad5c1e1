"""All SQL of the tariffs."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from backend.tariffs.models import tariff_versions
from backend.tariffs.rules import TariffVersion

_KEY = ("tenant_id", "tariff_id", "version")
_COLUMNS = [tariff_versions.c[field.name] for field in fields(TariffVersion)]
_ONE = select(*_COLUMNS).where(*[tariff_versions.c[name] == bindparam(name) for name in _KEY])
_AT_PLACES = select(*_COLUMNS).where(
    tariff_versions.c.tenant_id == bindparam("tenant_id"),
    tariff_versions.c.scenario == bindparam("scenario"),
    tariff_versions.c.place_id.in_(bindparam("place_ids", expanding=True)),
)
_AT_PLACES_THEN = _AT_PLACES.where(
    tariff_versions.c.active_from <= bindparam("at"),
    or_(tariff_versions.c.active_to.is_(None), tariff_versions.c.active_to > bindparam("at")),
)


def lock(conn: Connection, tenant_id: str) -> None:
    """Make this transaction the tenant's only writer of tariffs until it ends; on SQLite it already is."""
    if conn.dialect.name == "postgresql":
        digest = hashlib.sha256(f"tariffs:{tenant_id}".encode()).digest()
        conn.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True))))


def add(conn: Connection, version: TariffVersion) -> None:
    """Insert a version."""
    conn.execute(insert(tariff_versions).values(asdict(version)))


def end(conn: Connection, version: TariffVersion, active_to: datetime) -> None:
    """Set where a version's period ends."""
    conn.execute(
        update(tariff_versions)
        .where(
            tariff_versions.c.tenant_id == version.tenant_id,
            tariff_versions.c.tariff_id == version.tariff_id,
            tariff_versions.c.version == version.version,
        )
        .values(active_to=active_to)
    )


def find(conn: Connection, tenant_id: str, tariff_id: str, version: int) -> TariffVersion | None:
    """Return one version, or None."""
    given = {"tenant_id": tenant_id, "tariff_id": tariff_id, "version": version}
    row = conn.execute(_ONE, given).one_or_none()
    return None if row is None else TariffVersion(*row)


def at_places(
    conn: Connection, tenant_id: str, *, place_ids: Sequence[str], scenario: str, at: datetime | None = None
) -> list[TariffVersion]:
    """Return the versions for a scenario at exactly these places; with `at`, only those whose period contains it."""
    given = {"tenant_id": tenant_id, "scenario": scenario, "place_ids": list(place_ids)}
    rows = conn.execute(_AT_PLACES, given) if at is None else conn.execute(_AT_PLACES_THEN, {**given, "at": at})
    return [TariffVersion(*row) for row in rows]


def of_tenant(conn: Connection, tenant_id: str) -> list[TariffVersion]:
    """Return all versions of a tenant, by place, scenario and beginning."""
    query = select(*_COLUMNS).where(tariff_versions.c.tenant_id == tenant_id)
    order = (tariff_versions.c.place_id, tariff_versions.c.scenario, tariff_versions.c.active_from)
    return [TariffVersion(*row) for row in conn.execute(query.order_by(*order))]
