"""Stickers for outlets: which buildings and floors have how many, and their sheets as PDF."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from backend.cardholders.types import SignIn
from backend.fleet import service as fleet
from backend.fleet.labels import counts, labels
from backend.fleet.sticker_sheet import PER_PAGE, draw, leads_nowhere
from backend.web.overview import path_name
from backend.web.signed_in import Here, require

router = APIRouter(prefix="/facilities/stickers", include_in_schema=False)
Staff = Annotated[SignIn, Depends(require("facilities", "admin"))]
#: drawing takes some milliseconds a label; the command prints more
LABELS_MAX = 1_000


@router.get("")
def show(here: Here, request: Request, found: Staff) -> Response:
    """List the places that have outlets, each with its sheet."""
    language = here.pages.language(request)
    with here.backend.db.read() as conn:
        places = {place.place_id: place for place in fleet.places(conn, found.tenant_id)}
        rows = [
            (each.place, path_name(places, each.place.place_id, language), each.outlets, -(-each.outlets // PER_PAGE))
            for each in counts(conn, found.tenant_id)
        ]
    return here.pages.render(
        request,
        "staff/stickers.html",
        now=here.now,
        nav="devices",
        rows=rows,
        labels_max=LABELS_MAX,
        leads_nowhere=leads_nowhere(here.backend.config.public_url),
    )


@router.get("/{place_id}.pdf")
def sheet(here: Here, found: Staff, place_id: str) -> Response:
    """Send the sheets of one place of the own school."""
    with here.backend.db.read() as conn:
        place = fleet.place(conn, found.tenant_id, place_id)
        wanted = labels(
            conn, found.tenant_id, here.backend.config.public_url, place_id=place.place_id, labels_max=LABELS_MAX
        )
    pdf = draw(wanted, title=f"{place.name} {place.name_en}".strip())
    # an id is what the school chose; a header takes letters and digits only
    name = "".join(char if char.isascii() and char.isalnum() else "-" for char in place.place_id)
    headers = {"Content-Disposition": f'attachment; filename="stickers-{name}.pdf"'}
    return Response(pdf, media_type="application/pdf", headers=headers)
