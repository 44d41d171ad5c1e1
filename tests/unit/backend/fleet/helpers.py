"""A small campus for fleet tests."""

from sqlalchemy import Connection

from backend.fleet import service
from backend.fleet.types import Device, Gateway, Place
from backend.kit.clock import epoch_ms
from backend.tenants.service import Tenant, create
from gateway.contract.messages import DeviceHealth, HealthReport, Hello
from tests.factories import NOW

TENANT = "gxu"


def outlet(
    device_id: str = "dev_1", *, gateway_id: str = "gw_1", place_id: str = "pl_o1", kind: str = "outlet"
) -> Device:
    """Return a device that has never been heard of."""
    return Device(
        tenant_id=TENANT,
        device_id=device_id,
        gateway_id=gateway_id,
        place_id=place_id,
        kind=kind,
        map_id="chw.hwo1",
        name="101 号淋浴",
        name_en="Shower 101",
        sticker_token="",
        scenario="hot_water" if kind == "outlet" else "access",
    )


def add_campus(conn: Connection) -> Device:
    """Store a tenant, a path of places down to an outlet, a gateway and the outlet, which is returned."""
    create(conn, Tenant(TENANT, "桂湖大学", "Guihu University"))
    path = [("pl_c", None, "campus"), ("pl_b1", "pl_c", "building"), ("pl_b1_f1", "pl_b1", "floor")]
    path += [("pl_o1", "pl_b1_f1", "outlet"), ("pl_o2", "pl_b1_f1", "outlet"), ("pl_b2", "pl_c", "building")]
    path += [("pl_o3", "pl_b2", "outlet"), ("pl_gate", "pl_c", "door")]
    for place_id, parent_id, kind in path:
        service.add_place(conn, Place(TENANT, place_id, parent_id, kind, place_id, place_id))
    service.add_gateway(conn, Gateway(TENANT, "gw_1", "pl_b1", "key"))
    return service.add_device(conn, outlet())


def hello(*, at_ms: int | None = None, software: str = "1.0") -> Hello:
    """Return a gateway's birth."""
    return Hello(
        gateway="gw_1",
        at_ms=epoch_ms(NOW) if at_ms is None else at_ms,
        software=software,
        contract="v1",
        journal_epoch="ep_1",
        journal_sequence=0,
        maps={},
        devices=["dev_1"],
    )


def report(
    *, at_ms: int | None = None, device: str = "dev_1", state: str = "online", faults: list[str] | None = None
) -> HealthReport:
    """Return a health report on one device."""
    at_ms = epoch_ms(NOW) if at_ms is None else at_ms
    health = DeviceHealth(
        device=device,
        state=state,
        last_answer_at_ms=at_ms,
        evidence="flags read",
        faults=faults or [],
        register_pulses=42,
    )
    return HealthReport(gateway="gw_1", at_ms=at_ms, devices=[health])
