"""
What a gateway's hellos tell beyond its devices: which process speaks, and with which configuration.

Each process mints an instance name. When a process comes back after another one has spoken under the same name, two
boxes hold one certificate and take the broker's connection from each other in turns. That is counted and stands as a
fault of the gateway until an hour has passed without it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.fleet import enrollment_repository, repository_faults
from backend.kit.clock import from_epoch_ms
from backend.kit.ids import new_id
from gateway.contract.provisioning import Birth

CERTIFICATE_SHARED = "certificate_shared"
TWIN_QUIET = timedelta(hours=1)
_REMEMBERED = timedelta(days=30)
_COUNT_MAX = 2**31 - 1
_LATEST_MS = 4_102_444_800_000  # the year 2100


@dataclass(frozen=True, slots=True)
class GatewayCare:
    """What is known of a gateway beyond its place, key and journal."""

    tenant_id: str
    gateway_id: str
    instance: str = ""
    #: how often a process came back after another one had spoken under the same name, and when last
    twin_turns: int = 0
    twin_at: datetime | None = None
    #: how often it says that somebody took its connection
    takeovers: int = 0
    certificate_not_after: datetime | None = None
    configuration_version: int = 0
    #: local, waiting, trial, applied, rolled_back or refused; empty when it never said
    configuration_state: str = ""
    configuration_detail: str = ""
    configuration_running: int = 0
    configuration_at: datetime | None = None


def is_twin(*, instance: str, is_first: bool, last_instance: str) -> bool:
    """Return whether a hello shows that two processes go by one name: one came back after the other had spoken."""
    return not is_first and last_instance not in ("", instance)


def _count(value: int) -> int:
    return min(max(value, 0), _COUNT_MAX)


def record(conn: Connection, tenant_id: str, birth: Birth, now: datetime) -> bool:
    """Take in what a hello says of process and configuration; return whether it comes from a twin."""
    instance = (birth.instance or birth.journal_epoch)[:64]
    enrollment_repository.lock_gateway(conn, tenant_id, birth.gateway)
    known = care(conn, tenant_id, birth.gateway)
    is_first = enrollment_repository.count_birth(conn, tenant_id, birth.gateway, instance, now)
    twin = is_twin(instance=instance, is_first=is_first, last_instance=known.instance)
    values = {
        "tenant_id": tenant_id,
        "gateway_id": birth.gateway,
        "instance": instance,
        "twin_turns": known.twin_turns + twin,
        "twin_at": now if twin else known.twin_at,
        "takeovers": _count(birth.takeovers),
    }
    if 0 < birth.certificate_not_after_ms < _LATEST_MS:
        values["certificate_not_after"] = from_epoch_ms(birth.certificate_not_after_ms)
    if birth.configuration is not None:
        values |= {
            "configuration_version": _count(birth.configuration.version),
            "configuration_state": birth.configuration.state[:16],
            "configuration_detail": birth.configuration.detail[:500],
            "configuration_running": _count(birth.configuration.running_version),
            "configuration_at": now,
        }
    enrollment_repository.save_care(conn, values)
    if twin:
        _raise(conn, tenant_id, birth.gateway, f"{instance} came back after {known.instance}", now)
    return twin


def _raise(conn: Connection, tenant_id: str, gateway_id: str, detail: str, now: datetime) -> None:
    if enrollment_repository.has_open_fault(conn, tenant_id, gateway_id, CERTIFICATE_SHARED):
        return
    repository_faults.insert_fault(
        conn,
        {
            "tenant_id": tenant_id,
            "fault_id": new_id("ev"),
            "gateway_id": gateway_id,
            "device_id": "",
            "fault": CERTIFICATE_SHARED,
            "detail": f"two boxes hold one certificate: {detail}"[:500],
            "raised_at": now,
            "recorded_at": now,
        },
    )


def settle(conn: Connection, tenant_id: str, now: datetime) -> int:
    """End the faults of gateways whose twin has been quiet for an hour; return how many. Forgets old processes."""
    quiet = enrollment_repository.find_quiet_twins(conn, tenant_id, before=now - TWIN_QUIET, fault=CERTIFICATE_SHARED)
    for gateway_id in quiet:
        repository_faults.clear(conn, tenant_id, gateway_id, "", CERTIFICATE_SHARED, now)
    enrollment_repository.forget_births(conn, tenant_id, now - _REMEMBERED)
    return len(quiet)


def care(conn: Connection, tenant_id: str, gateway_id: str) -> GatewayCare:
    """Return what is known of a gateway; all empty when it never said anything."""
    row = enrollment_repository.find_care(conn, tenant_id, gateway_id)
    return GatewayCare(**row) if row is not None else GatewayCare(tenant_id, gateway_id)


def cares(conn: Connection, tenant_id: str) -> dict[str, GatewayCare]:
    """Return what is known of a tenant's gateways, by gateway."""
    return {row["gateway_id"]: GatewayCare(**row) for row in enrollment_repository.find_cares(conn, tenant_id)}
