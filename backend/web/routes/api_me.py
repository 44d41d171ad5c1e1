"""The API of the signed-in person: the running session, the student code, the cards; and of the desk: passages."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from backend.access import service as access
from backend.cardholders import service as cardholders
from backend.cardholders.types import SignIn
from backend.water_sessions import service as water_sessions
from backend.web.signed_in import Here, SignedIn, require

router = APIRouter(prefix="/api/v1", tags=["campustap"])
Desk = Annotated[SignIn, Depends(require("gate_desk", "admin"))]


@router.get("/me/water-session")
def live(here: Here, found: SignedIn) -> dict[str, Any]:
    """Return the person's session that has not ended, or null."""
    with here.backend.db.read() as conn:
        session = water_sessions.live_of_cardholder(conn, found.tenant_id, found.cardholder.cardholder_id)
    return {"water_session": None if session is None else asdict(session)}


@router.get("/me/code")
def code(here: Here, found: SignedIn) -> dict[str, Any]:
    """Return a fresh student code and when it expires; each code opens one thing once."""
    with here.backend.db.write() as conn:
        made = cardholders.student_code(
            conn, here.backend.context.secrets_dir, found.tenant_id, found.cardholder.cardholder_id, here.now
        )
    return {"text": made.text, "expires_at": made.expires_at}


@router.post("/me/cards/freeze")
def freeze(here: Here, found: SignedIn) -> dict[str, Any]:
    """Freeze every card of the person; codes on the phone still work."""
    with here.backend.db.write() as conn:
        cards = [
            each.credential_id
            for each in cardholders.credentials(conn, found.tenant_id, found.cardholder.cardholder_id)
            if each.kind == "uid"
        ]
        for credential_id in cards:
            cardholders.freeze_credential(conn, found.tenant_id, credential_id, here.now)
    return {"frozen": cards}


@router.get("/passages")
def passages(
    here: Here, found: Desk, device_id: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 60
) -> list[dict[str, Any]]:
    """List decisions with what the door saw afterwards, newest first; names are masked."""
    with here.backend.db.read() as conn:
        return [asdict(row) for row in access.recent_passages(conn, found.tenant_id, device_id, limit)]
