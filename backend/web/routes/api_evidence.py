"""The API of receipts: the signed evidence of a session, to take home and check offline, and the key to check it by."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from backend.settlement import receipt_file
from backend.tenants import service as tenants
from backend.water_sessions import service as water_sessions
from backend.web.signed_in import Here, SignedIn
from gateway.contract.signing import public_text

router = APIRouter(prefix="/api/v1", tags=["campustap"])
_STAFF = frozenset({"facilities", "admin", "finance"})
_START_MAX = 10_000_000


@router.get("/water-sessions/{water_session_id}/evidence", response_class=Response)
def evidence(
    here: Here,
    found: SignedIn,
    water_session_id: str,
    start: Annotated[int, Query(ge=0, le=_START_MAX)] = 0,
    limit: Annotated[int, Query(ge=1, le=receipt_file.PAGE_LINKS_MAX)] = receipt_file.PAGE_LINKS_MAX,
) -> Response:
    """Return a page of a settled session's receipt as a file; `next` in it is the `start` of the next page."""
    context = here.backend.context
    with here.backend.db.read() as conn:
        session = water_sessions.session(conn, found.tenant_id, water_session_id)
        if session.cardholder_id != found.cardholder.cardholder_id and not found.cardholder.roles & _STAFF:
            raise water_sessions.WaterSessionUnknown
        signing = context.signing(found.tenant_id)
        page = receipt_file.page(conn, signing, found.tenant_id, session.water_session_id, start=start, limit=limit)
    name = f"receipt-{session.water_session_id}{f'-{start}' if start else ''}.json"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(page, media_type="application/json", headers=headers)


@router.get("/receipt-keys/{tenant_id}")
def receipt_key(here: Here, tenant_id: str) -> dict[str, Any]:
    """Return the key a school signs its receipts with."""
    with here.backend.db.read() as conn:
        tenants.get(conn, tenant_id)
    kid, key = here.backend.context.signing(tenant_id)
    return {"tenant_id": tenant_id, "keys": {kid: public_text(key.public_key())}}
