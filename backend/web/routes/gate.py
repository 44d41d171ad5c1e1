"""The gate and library desk: the last result in huge letters, the latest passages, how many are inside."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from backend.access import service as access
from backend.cardholders.types import SignIn
from backend.fleet import service as fleet
from backend.fleet.types import Device
from backend.web import words
from backend.web.overview import around, is_online
from backend.web.signed_in import Here, Site, require
from backend.web.streams import stream

router = APIRouter(prefix="/gate", include_in_schema=False)
Desk = Annotated[SignIn, Depends(require("gate_desk", "facilities", "admin"))]
PASSAGES = 60


def _door(here: Site, tenant_id: str, device_id: str) -> Device:
    with here.backend.db.read() as conn:
        device = fleet.device(conn, tenant_id, device_id)
    if device.kind != "door":
        raise access.DoorUnknown
    return device


@router.get("")
def doors(here: Here, request: Request, found: Desk) -> Response:
    """List the doors of the school."""
    language = here.pages.language(request)
    with here.backend.db.read() as conn:
        places = {place.place_id: place for place in fleet.places(conn, found.tenant_id)}
        rows = [
            (device, around(places, device, language)) for device in fleet.devices(conn, found.tenant_id, kind="door")
        ]
    return here.pages.render(request, "staff/doors.html", now=here.now, nav="gate", rows=rows)


@router.get("/{device_id}")
def desk(here: Here, request: Request, found: Desk, device_id: str) -> Response:
    """Show one door's desk."""
    device = _door(here, found.tenant_id, device_id)
    now = here.now
    with here.backend.db.read() as conn:
        rows = access.recent_passages(conn, found.tenant_id, device_id, PASSAGES)
        inside = access.occupancy(conn, found.tenant_id, [device_id], now)
        gateway = fleet.gateway(conn, found.tenant_id, device.gateway_id)
    return here.pages.render(
        request,
        "staff/desk.html",
        now=now,
        nav="gate",
        device=device,
        rows=rows,
        last=rows[0] if rows else None,
        inside=inside,
        is_online=is_online(device, gateway, now),
    )


@router.get("/{device_id}/live")
def live(here: Here, request: Request, found: Desk, device_id: str) -> Response:
    """Stream a sign of each new line, so that the page fetches itself again, and the refusal to be announced."""
    _door(here, found.tenant_id, device_id)
    formats = here.pages.formats(request)

    def look() -> dict[str, Any]:
        with here.backend.db.read() as conn:
            rows = access.recent_passages(conn, found.tenant_id, device_id, 1)
        if not rows:
            return {"version": ""}
        last = rows[0]
        said = "" if last.granted else f"{formats.name(last)} {words.word('passage', last.reason, formats.language)}"
        return {"version": f"{last.at.timestamp()}-{last.outcome}", "refused": said.strip()}

    return stream(request, look, every_s=0.5)
