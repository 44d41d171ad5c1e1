"""SQL of claim codes, certificates, births and configurations."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, select, update

from backend.db.insert import insert_once, upsert
from backend.fleet.enrollment_models import births, certificates, claim_codes, configurations, gateway_cares
from backend.fleet.models import faults, gateways


def lock_gateway(conn: Connection, tenant_id: str, gateway_id: str) -> None:
    """Wait until nobody else changes what hangs on a gateway; released at commit."""
    where = (gateways.c.tenant_id == tenant_id, gateways.c.gateway_id == gateway_id)
    conn.execute(select(gateways.c.gateway_id).where(*where).with_for_update())


def insert_code(conn: Connection, values: dict[str, Any]) -> None:
    """Store a claim code."""
    insert_once(conn, claim_codes, values)


def find_code(conn: Connection, tenant_id: str, code_sha256: str) -> RowMapping | None:
    """Return a claim code by its digest, if there is one."""
    where = (claim_codes.c.tenant_id == tenant_id, claim_codes.c.code_sha256 == code_sha256)
    return conn.execute(select(claim_codes).where(*where)).mappings().one_or_none()


def use_code(conn: Connection, tenant_id: str, code_sha256: str, *, used_for: str, serial: str, now: datetime) -> bool:
    """Mark a claim code as used and return whether it had not been."""
    where = (
        claim_codes.c.tenant_id == tenant_id,
        claim_codes.c.code_sha256 == code_sha256,
        claim_codes.c.used_at.is_(None),
    )
    values = {"used_at": now, "used_for_sha256": used_for, "serial": serial}
    return bool(conn.execute(update(claim_codes).where(*where).values(**values)).rowcount)


def insert_certificate(conn: Connection, values: dict[str, Any]) -> None:
    """Store a certificate."""
    insert_once(conn, certificates, values)


def find_certificate(conn: Connection, tenant_id: str, serial: str) -> RowMapping | None:
    """Return a certificate, if there is one."""
    where = (certificates.c.tenant_id == tenant_id, certificates.c.serial == serial)
    return conn.execute(select(certificates).where(*where)).mappings().one_or_none()


def find_certificates(conn: Connection, tenant_id: str, gateway_id: str | None, limit: int) -> list[RowMapping]:
    """Return certificates, the latest first."""
    query = select(certificates).where(certificates.c.tenant_id == tenant_id)
    if gateway_id is not None:
        query = query.where(certificates.c.gateway_id == gateway_id)
    ordered = query.order_by(certificates.c.issued_at.desc(), certificates.c.serial).limit(limit)
    return list(conn.execute(ordered).mappings())


def revoke(conn: Connection, tenant_id: str, gateway_id: str, now: datetime) -> list[str]:
    """Revoke the certificates of a gateway that are still good; return their serials."""
    where = (
        certificates.c.tenant_id == tenant_id,
        certificates.c.gateway_id == gateway_id,
        certificates.c.revoked_at.is_(None),
        certificates.c.not_after > now,
    )
    done = conn.execute(update(certificates).where(*where).values(revoked_at=now).returning(certificates.c.serial))
    return sorted(done.scalars())


def find_revoked(conn: Connection, tenant_id: str, now: datetime) -> list[RowMapping]:
    """Return revoked certificates that have not run out."""
    where = (
        certificates.c.tenant_id == tenant_id,
        certificates.c.revoked_at.is_not(None),
        certificates.c.not_after > now,
    )
    return list(conn.execute(select(certificates).where(*where).order_by(certificates.c.serial)).mappings())


def set_key(conn: Connection, tenant_id: str, gateway_id: str, public_key: str) -> None:
    """Store the key a gateway's records are signed with."""
    where = (gateways.c.tenant_id == tenant_id, gateways.c.gateway_id == gateway_id)
    conn.execute(update(gateways).where(*where).values(public_key=public_key))


def count_birth(conn: Connection, tenant_id: str, gateway_id: str, instance: str, now: datetime) -> bool:
    """Count a hello of a process and return whether it is its first."""
    where = (births.c.tenant_id == tenant_id, births.c.gateway_id == gateway_id, births.c.instance == instance)
    values = {"hellos": births.c.hellos + 1, "last_at": now}
    if conn.execute(update(births).where(*where).values(**values)).rowcount:
        return False
    row = {"tenant_id": tenant_id, "gateway_id": gateway_id, "instance": instance, "first_at": now, "last_at": now}
    return insert_once(conn, births, {**row, "hellos": 1})


def find_care(conn: Connection, tenant_id: str, gateway_id: str) -> RowMapping | None:
    """Return what is known of a gateway's births and configuration."""
    where = (gateway_cares.c.tenant_id == tenant_id, gateway_cares.c.gateway_id == gateway_id)
    return conn.execute(select(gateway_cares).where(*where)).mappings().one_or_none()


def find_cares(conn: Connection, tenant_id: str) -> list[RowMapping]:
    """Return what is known of all gateways' births and configurations."""
    query = select(gateway_cares).where(gateway_cares.c.tenant_id == tenant_id).order_by(gateway_cares.c.gateway_id)
    return list(conn.execute(query).mappings())


def save_care(conn: Connection, values: dict[str, Any]) -> None:
    """Store some of what is known of a gateway, leaving the rest."""
    upsert(conn, gateway_cares, values)


def insert_configuration(conn: Connection, values: dict[str, Any]) -> None:
    """Store a configuration."""
    insert_once(conn, configurations, values)


def latest_version(conn: Connection, tenant_id: str, gateway_id: str) -> int:
    """Return the highest version stored for a gateway; 0 when there is none."""
    where = (configurations.c.tenant_id == tenant_id, configurations.c.gateway_id == gateway_id)
    return conn.execute(select(func.max(configurations.c.version)).where(*where)).scalar_one() or 0


def find_configuration(conn: Connection, tenant_id: str, gateway_id: str, version: int) -> RowMapping | None:
    """Return one version of a gateway's configuration."""
    where = (
        configurations.c.tenant_id == tenant_id,
        configurations.c.gateway_id == gateway_id,
        configurations.c.version == version,
    )
    return conn.execute(select(configurations).where(*where)).mappings().one_or_none()


def find_unsent(conn: Connection, *, sent_before: datetime, limit: int) -> list[RowMapping]:
    """Return the newest configuration of each connected gateway that has not heard of it, unless it was just sent."""
    newest = (
        select(
            configurations.c.tenant_id, configurations.c.gateway_id, func.max(configurations.c.version).label("version")
        )
        .group_by(configurations.c.tenant_id, configurations.c.gateway_id)
        .subquery()
    )
    known = func.coalesce(gateway_cares.c.configuration_version, 0)
    query = (
        select(configurations)
        .join(
            newest,
            (newest.c.tenant_id == configurations.c.tenant_id)
            & (newest.c.gateway_id == configurations.c.gateway_id)
            & (newest.c.version == configurations.c.version),
        )
        .join(
            gateways,
            (gateways.c.tenant_id == configurations.c.tenant_id)
            & (gateways.c.gateway_id == configurations.c.gateway_id),
        )
        .outerjoin(
            gateway_cares,
            (gateway_cares.c.tenant_id == configurations.c.tenant_id)
            & (gateway_cares.c.gateway_id == configurations.c.gateway_id),
        )
        .where(
            gateways.c.connected.is_(True),
            known < configurations.c.version,
            configurations.c.sent_at.is_(None) | (configurations.c.sent_at < sent_before),
        )
        .order_by(configurations.c.tenant_id, configurations.c.gateway_id)
        .limit(limit)
    )
    return list(conn.execute(query).mappings())


def mark_configuration_sent(conn: Connection, tenant_id: str, gateway_id: str, version: int, now: datetime) -> None:
    """Note that a configuration was handed to the broker."""
    where = (
        configurations.c.tenant_id == tenant_id,
        configurations.c.gateway_id == gateway_id,
        configurations.c.version == version,
    )
    conn.execute(update(configurations).where(*where).values(sent_at=now))


def has_open_fault(conn: Connection, tenant_id: str, gateway_id: str, fault: str) -> bool:
    """Return whether a gateway's own fault of a kind is open."""
    where = (
        faults.c.tenant_id == tenant_id,
        faults.c.gateway_id == gateway_id,
        faults.c.device_id == "",
        faults.c.fault == fault,
        faults.c.cleared_at.is_(None),
    )
    return conn.execute(select(faults.c.fault_id).where(*where).limit(1)).first() is not None


def find_quiet_twins(conn: Connection, tenant_id: str, *, before: datetime, fault: str) -> list[str]:
    """Return the gateways with an open fault of a kind whose last turn of a twin was before a time."""
    query = (
        select(gateway_cares.c.gateway_id)
        .join(
            faults,
            (faults.c.tenant_id == gateway_cares.c.tenant_id) & (faults.c.gateway_id == gateway_cares.c.gateway_id),
        )
        .where(
            gateway_cares.c.tenant_id == tenant_id,
            gateway_cares.c.twin_at < before,
            faults.c.device_id == "",
            faults.c.fault == fault,
            faults.c.cleared_at.is_(None),
        )
        .distinct()
    )
    return sorted(conn.execute(query).scalars())


def forget_births(conn: Connection, tenant_id: str, before: datetime) -> None:
    """Forget processes that have not said hello for long."""
    conn.execute(delete(births).where(births.c.tenant_id == tenant_id, births.c.last_at < before))
