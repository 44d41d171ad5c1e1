"""The facilities' pages: today's overview with live flow, and the health of every device."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders.types import SignIn
from backend.fleet import service as fleet
from backend.tenants import service as tenants
from backend.water_sessions import service as water_sessions
from backend.web.charts.line import line
from backend.web.live import LiveHub
from backend.web.overview import around, is_online, overview
from backend.web.signed_in import Here, SentForm, require
from backend.web.streams import stream

router = APIRouter(prefix="/facilities", include_in_schema=False)
Staff = Annotated[SignIn, Depends(require("facilities", "admin"))]
_REFRESH_S = 2.0


def _flow_line(hub: LiveHub, tenant_id: str) -> Any:
    points = hub.flow_history(tenant_id)
    return line([None if point.flow_ml_per_min is None else point.flow_ml_per_min / 1000 for point in points])


@router.get("")
def show(here: Here, request: Request, found: Staff) -> Response:
    """Show today's overview."""
    now = here.now
    language = here.pages.language(request)
    with here.backend.db.read() as conn:
        tenant = tenants.get(conn, found.tenant_id)
        seen = overview(conn, tenant, here.hub, language=language, now=now)
    return here.pages.render(
        request,
        "staff/overview.html",
        now=now,
        nav="overview",
        seen=seen,
        flow=_flow_line(here.hub, found.tenant_id),
    )


@router.get("/live")
def live(here: Here, request: Request, found: Staff) -> Response:
    """Stream the tiles, the flow line and a sign that the tables have changed."""
    formats = here.pages.formats(request)

    def read() -> tuple[list[str], int]:
        with here.backend.db.read() as conn:
            running = [each.water_session_id for each in water_sessions.live(conn, found.tenant_id)]
            return running, len(fleet.open_faults(conn, found.tenant_id))

    def look() -> dict[str, Any]:
        running, faults = here.tallies.get(found.tenant_id, read)
        flow = here.hub.flow_now(found.tenant_id, running) if running else 0
        drawn = _flow_line(here.hub, found.tenant_id)
        return {
            "flow": "–" if flow is None else formats.number(flow / 1000, 1),
            "running": str(len(running)),
            "faults": str(faults),
            "stroke": drawn.stroke,
            "area": drawn.area,
            "ticks": [[tick.at, tick.text] for tick in drawn.ticks],
            "version": "-".join(sorted(running)),
            "at": formats.time(here.now),
        }

    return stream(request, look, every_s=_REFRESH_S)


@router.get("/devices")
def devices(here: Here, request: Request, found: Staff, q: str = "", state: str = "") -> Response:
    """List every device with its state, what that rests on, and how old it is."""
    now = here.now
    language = here.pages.language(request)
    with here.backend.db.read() as conn:
        everything = fleet.devices(conn, found.tenant_id)
        places = {place.place_id: place for place in fleet.places(conn, found.tenant_id)}
        gateways = {gateway.gateway_id: gateway for gateway in fleet.gateways(conn, found.tenant_id)}
    rows = []
    for device in everything:
        place = around(places, device, language)
        # A gateway that is gone says nothing about its devices: the last word it had is not today's state.
        known = device.state if is_online(device, gateways[device.gateway_id], now) else "silent"
        text = " ".join((device.device_id, device.name, device.name_en, place, known, *device.faults)).lower()
        if q.strip().lower() in text and state in ("", known):
            rows.append((device, place, known))
    return here.pages.render(
        request,
        "staff/devices.html",
        now=now,
        nav="devices",
        rows=rows,
        total=len(everything),
        gateways=list(gateways.values()),
        q=q,
        state=state,
    )


@router.post("/stop")
def stop(here: Here, found: Staff, form: SentForm) -> Response:
    """Ask for the end of somebody's session from the desk."""
    water_sessions.request_stop(
        here.backend.context, found.tenant_id, form.need("water_session_id"), found.cardholder.cardholder_id, "remote"
    )
    return RedirectResponse("/facilities", 303)


@router.post("/faults/acknowledge")
def acknowledge(here: Here, found: Staff, form: SentForm) -> Response:
    """Note who has seen a fault."""
    with here.backend.db.write() as conn:
        fleet.acknowledge_fault(conn, found.tenant_id, form.need("fault_id"), found.cardholder.cardholder_id, here.now)
    return RedirectResponse("/facilities#faults", 303)
