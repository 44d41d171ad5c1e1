"""Finding the tariff for an outlet at a moment, adding versions, ending them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from backend.errors import BackendError, Conflict, NotFound
from backend.tariffs import repository, rules
from backend.tariffs.rules import TariffVersion


class TariffMissing(Conflict):
    """Nothing says what water costs here now."""

    code = "tariff_missing"


def applicable(
    conn: Connection, tenant_id: str, *, place_ids: Sequence[str], scenario: str, at: datetime
) -> TariffVersion:
    """
    Return the version in force for a scenario at a moment; of several places on the path the deepest wins.

    `place_ids` is the path of the outlet, root first.

    :raises TariffMissing: if no place on the path has one.
    """
    versions = repository.at_places(conn, tenant_id, place_ids=place_ids, scenario=scenario, at=at)
    found = rules.deepest(versions, place_ids=place_ids, at=at)
    if found is None:
        raise TariffMissing(scenario=scenario)
    return found


class TariffUnknown(NotFound):
    """There is no such tariff version."""

    code = "tariff_unknown"


def version(conn: Connection, tenant_id: str, tariff_id: str, version: int) -> TariffVersion:
    """
    Return one version, whether or not it is still in force.

    :raises TariffUnknown: if there is none.
    """
    found = repository.find(conn, tenant_id, tariff_id, version)
    if found is None:
        raise TariffUnknown(tariff_id=tariff_id, version=version)
    return found


def versions(conn: Connection, tenant_id: str) -> list[TariffVersion]:
    """Return all versions of a tenant, by place, scenario and beginning."""
    return repository.of_tenant(conn, tenant_id)


class TariffOverlap(Conflict):
    """Another version already covers part of this period at the same place."""

    code = "tariff_overlap"


class TariffMalformed(BackendError):
    """A tariff's figures must not be negative, its limits must be positive and its period must not be empty."""

    code = "tariff_malformed"


def add(conn: Connection, new: TariffVersion) -> None:
    """
    Store a version. Storing the very same version again changes nothing.

    :raises TariffMalformed: if a figure or the period makes no sense.
    :raises TariffOverlap: if another version of this place and scenario claims a common moment, or the number is taken.
    """
    if not _is_sensible(new):
        raise TariffMalformed(tariff_id=new.tariff_id, version=new.version)
    repository.lock(conn, new.tenant_id)
    there = repository.find(conn, new.tenant_id, new.tariff_id, new.version)
    if there == new:
        return
    others = repository.at_places(conn, new.tenant_id, place_ids=[new.place_id], scenario=new.scenario)
    for other in [*([there] if there else []), *(other for other in others if rules.overlaps(new, other))]:
        raise TariffOverlap(tariff_id=other.tariff_id, version=other.version)
    repository.add(conn, new)


def _is_sensible(new: TariffVersion) -> bool:
    figures = (new.price_minor_per_m3, new.fixed_minor, new.minimum_minor, new.free_below_ml, new.minimum_hold_minor)
    limits = (new.volume_limit_ml, new.duration_limit_s, new.idle_limit_s)
    in_order = new.active_to is None or new.active_from < new.active_to
    return in_order and min(figures) >= 0 and min(limits) > 0


class TariffEnded(Conflict):
    """A version can only be ended in the future, after it began and before it ends already."""

    code = "tariff_ended"


def end(
    conn: Connection, tenant_id: str, tariff_id: str, number: int, *, active_to: datetime, now: datetime
) -> TariffVersion:
    """
    Return a version with an earlier end, so that a next one can follow. The past is never rated again.

    :raises TariffUnknown: if there is no such version.
    :raises TariffEnded: if the new end is past, not after the beginning, or later than the present end.
    """
    repository.lock(conn, tenant_id)
    found = version(conn, tenant_id, tariff_id, number)
    too_late = found.active_to is not None and found.active_to < active_to
    if active_to < now or active_to <= found.active_from or too_late:
        raise TariffEnded(tariff_id=tariff_id, version=number)
    repository.end(conn, found, active_to)
    return version(conn, tenant_id, tariff_id, number)
