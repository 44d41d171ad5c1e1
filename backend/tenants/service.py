"""Use cases of the tenants slice: which schools there are."""

from dataclasses import asdict, dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from backend.errors import NotFound
from backend.tenants import repository


@dataclass(frozen=True, slots=True)
class Tenant:
    """A school. `zone` is the IANA name in which its calendar, opening hours and grants are read."""

    tenant_id: str
    name: str
    name_en: str
    zone: str = "Asia/Shanghai"
    currency: str = "CNY"

    @property
    def time_zone(self) -> ZoneInfo:
        """Return the zone that local days and hours are read in."""
        return ZoneInfo(self.zone)


class TenantUnknown(NotFound):
    """No such school."""

    code = "tenant_unknown"


def get(conn: Connection, tenant_id: str) -> Tenant:
    """
    Return a tenant.

    :raises TenantUnknown: if there is none with this id.
    """
    row = repository.find(conn, tenant_id)
    if row is None:
        raise TenantUnknown(f"no tenant {tenant_id!r}")
    return Tenant(**row)


def list_all(conn: Connection) -> list[Tenant]:
    """Return all tenants by id."""
    return [Tenant(**row) for row in repository.find_all(conn)]


def create(conn: Connection, tenant: Tenant) -> None:
    """
    Store a tenant; the same id again brings its names up to date.

    :raises zoneinfo.ZoneInfoNotFoundError: if the zone is not an IANA name.
    """
    assert tenant.time_zone is not None
    repository.save(conn, asdict(tenant))
