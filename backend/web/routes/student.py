"""The student's own pages: history and bills, the code to show at readers, and settings."""

import io

import segno
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders import service as cardholders
from backend.errors import BackendError
from backend.fleet import service as fleet
from backend.settlement import service as settlement
from backend.water_sessions import disputing
from backend.water_sessions import service as water_sessions
from backend.web.outlet_page import outlet_of
from backend.web.rendering import say
from backend.web.signed_in import FormIncomplete, Here, SentForm, SignedIn

router = APIRouter(include_in_schema=False)
_HISTORY = 50


@router.get("/history")
def history(here: Here, request: Request, found: SignedIn) -> Response:
    """List the person's water sessions, newest first."""
    with here.backend.db.read() as conn:
        sessions = water_sessions.history(conn, found.tenant_id, found.cardholder.cardholder_id, _HISTORY)
        outlets = {
            device_id: outlet_of(conn, fleet.device(conn, found.tenant_id, device_id))
            for device_id in {session.device_id for session in sessions}
        }
    return here.pages.render(
        request, "student/history.html", now=here.now, tab="history", sessions=sessions, outlets=outlets
    )


@router.get("/history/{water_session_id}")
def bill(here: Here, request: Request, found: SignedIn, water_session_id: str) -> Response:
    """Show one bill with everything it rests on."""
    with here.backend.db.read() as conn:
        receipt = settlement.receipt(conn, found.tenant_id, water_session_id)
        told = disputing.disputes(conn, found.tenant_id, water_session_id=water_session_id, limit=1)
    if receipt.session.cardholder_id != found.cardholder.cardholder_id:
        raise water_sessions.WaterSessionUnknown
    return here.pages.render(
        request,
        "student/bill.html",
        now=here.now,
        tab="history",
        receipt=receipt,
        session=receipt.session,
        is_disputed=bool(told),
    )


@router.get("/code")
def code(here: Here, request: Request, found: SignedIn) -> Response:
    """Show the code that readers know the person by, with its countdown."""
    now = here.now
    ctx = here.backend.context
    said, picture, seconds = None, "", 0
    try:
        with here.backend.db.read() as conn:
            drawn = cardholders.student_code(
                conn, ctx.secrets_dir, found.tenant_id, found.cardholder.cardholder_id, now
            )
    except BackendError as refusal:
        said = say(refusal, here.pages.language(request))
    else:
        file = io.BytesIO()
        segno.make(drawn.text, error="m", micro=False).save(
            file, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=3, svgclass="qr", lineclass=None
        )
        picture = file.getvalue().decode()
        seconds = max(1, int((drawn.expires_at - now).total_seconds()) + 1)
    return here.pages.render(
        request, "student/code.html", now=now, tab="code", picture=picture, seconds=seconds, said=said
    )


@router.get("/me")
def me(here: Here, request: Request, found: SignedIn) -> Response:
    """Show settings and the person's credentials."""
    with here.backend.db.read() as conn:
        mine = cardholders.credentials(conn, found.tenant_id, found.cardholder.cardholder_id)
    return here.pages.render(request, "student/me.html", now=here.now, tab="me", credentials=mine)


@router.post("/me/credentials")
def freeze(here: Here, found: SignedIn, form: SentForm) -> Response:
    """Freeze or unfreeze one of the person's own credentials."""
    wanted, credential_id = form.need("do"), form.need("credential_id")
    if wanted not in ("freeze", "unfreeze"):
        raise FormIncomplete(field="do")
    with here.backend.db.write() as conn:
        mine = cardholders.credentials(conn, found.tenant_id, found.cardholder.cardholder_id)
        if credential_id not in {each.credential_id for each in mine}:
            raise cardholders.CredentialUnknown
        change = cardholders.freeze_credential if wanted == "freeze" else cardholders.unfreeze_credential
        change(conn, found.tenant_id, credential_id, here.now)
    return RedirectResponse("/me", 303)
