"""A student's disputes: the form behind a bill, what finance answered, and the list of them."""

import secrets
from datetime import datetime
from functools import partial

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.errors import BackendError, NotFound
from backend.payments import people_rules
from backend.payments import service as payments
from backend.payments.people_rules import DISPUTE_REASONS
from backend.settlement import service as settlement
from backend.water_sessions import disputing
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import WaterSession
from backend.web.rendering import say
from backend.web.signed_in import Form, Here, SentForm, SignedIn

router = APIRouter(include_in_schema=False)
_PAGE = 30
_UNDECIDED = ("open", "upheld")


def _obstacle(conn: Connection, session: WaterSession, mine: list[disputing.Dispute], now: datetime) -> str:
    """Return why a bill cannot be disputed now: open, running, free, returned, late or often; empty if it can."""
    if any(each.state in _UNDECIDED for each in mine):
        return "open"
    if session.state in ("voided", "refused") or session.captured_minor == 0:
        return "free"
    if session.settled_at is None:
        return "running"
    if payments.refundable_minor(conn, session.tenant_id, session.auth_id) <= 0:
        return "returned"
    if now - session.settled_at > people_rules.DISPUTE_WINDOW:
        return "late"
    return "often" if len(mine) >= people_rules.DISPUTES_PER_SESSION_MAX else ""


def _page(
    here: Here, request: Request, found: SignedIn, water_session_id: str, *,
    refusal: BackendError | None = None, sent: Form | None = None,
) -> Response:  # fmt: skip
    person = found.cardholder.cardholder_id
    with here.backend.db.read() as conn:
        receipt = settlement.receipt(conn, found.tenant_id, water_session_id)
        if receipt.session.cardholder_id != person:
            raise water_sessions.WaterSessionUnknown
        mine = disputing.disputes(
            conn, found.tenant_id, cardholder_id=person, water_session_id=water_session_id, limit=_PAGE
        )
        obstacle = _obstacle(conn, receipt.session, mine, here.now)
    return here.pages.render(
        request,
        "student/dispute.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        tab="history",
        receipt=receipt,
        session=receipt.session,
        disputes=mine,
        obstacle=obstacle,
        reasons=DISPUTE_REASONS,
        days_max=people_rules.DISPUTE_WINDOW.days,
        text_chars_max=people_rules.DISPUTE_TEXT_CHARS_MAX,
        dispute_id=secrets.token_hex(12),
        chosen=sent.get("reason") if sent is not None else "",
        text=sent.get("text") if sent is not None else "",
        said=say(refusal, here.pages.language(request)) if refusal is not None else None,
    )


@router.get("/history/{water_session_id}/dispute")
def dispute(here: Here, request: Request, found: SignedIn, water_session_id: str) -> Response:
    """Show what was said about a bill, or the form to say that it is wrong."""
    return _page(here, request, found, water_session_id)


@router.post("/history/{water_session_id}/dispute")
def open_dispute(here: Here, request: Request, found: SignedIn, form: SentForm, water_session_id: str) -> Response:
    """Dispute a bill once per form."""
    try:
        wanted = partial(
            disputing.open_dispute,
            tenant_id=found.tenant_id,
            dispute_id=f"dp_{form.need('dispute_id')[:40]}",
            water_session_id=water_session_id,
            cardholder_id=found.cardholder.cardholder_id,
            reason=form.need("reason"),
            text=_text(form),
            now=here.now,
        )
        payments.in_turn(here.backend.db, found.tenant_id, wanted)
    except NotFound:
        raise
    except BackendError as refusal:
        return _page(here, request, found, water_session_id, refusal=refusal, sent=form)
    return RedirectResponse(f"/history/{water_session_id}/dispute", 303)


def _text(form: Form) -> str:
    """Return what was written, each line's end as one character, as the browser counted it."""
    return form.get("text").replace("\r\n", "\n")


@router.get("/disputes")
def disputes(here: Here, request: Request, found: SignedIn) -> Response:
    """List the person's disputes with what came of them, newest first."""
    with here.backend.db.read() as conn:
        listed = disputing.disputes(conn, found.tenant_id, cardholder_id=found.cardholder.cardholder_id, limit=_PAGE)
    return here.pages.render(request, "student/disputes.html", now=here.now, tab="history", disputes=listed)
