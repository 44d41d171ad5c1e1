"""The student's own pages: wallet and top-up, history and bills, the code to show at readers, and settings."""

import io
import secrets

import segno
from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders import service as cardholders
from backend.cardholders.types import SignIn
from backend.errors import BackendError, NotFound
from backend.fleet import service as fleet
from backend.payments import service as payments
from backend.settlement import service as settlement
from backend.water_sessions import service as water_sessions
from backend.web.outlet_page import outlet_of
from backend.web.rendering import say
from backend.web.signed_in import FormIncomplete, Here, SentForm, SignedIn

router = APIRouter(include_in_schema=False)
TOP_UP_CHOICES_MINOR = (1_000, 2_000, 5_000, 10_000)
_TOP_UP_MIN_MINOR = 100
_TOP_UP_MAX_MINOR = 50_000
_ENTRIES = 20
_HISTORY = 50


class AmountInvalid(BackendError):
    """The amount lies outside what one top-up may be."""

    code = "amount_invalid"
    status = 422


def _outcome(conn: Connection, found: SignIn, top_up_id: str) -> str:
    """Return the state of the person's own top-up; empty for one that is not theirs or does not exist."""
    if not top_up_id:
        return ""
    try:
        made = payments.find_top_up(conn, found.tenant_id, top_up_id)
    except NotFound:
        return ""
    return made.state if made.cardholder_id == found.cardholder.cardholder_id else ""


def _wallet_page(here: Here, request: Request, found: SignedIn, refusal: BackendError | None = None) -> Response:
    person = found.cardholder
    with here.backend.db.read() as conn:
        outcome = _outcome(conn, found, request.query_params.get("topup", ""))
        wallet = payments.wallet(conn, found.tenant_id, person.cardholder_id)
        entries = payments.wallet_entries(conn, found.tenant_id, person.cardholder_id, _ENTRIES)
    return here.pages.render(
        request,
        "student/wallet.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        tab="wallet",
        wallet=wallet,
        entries=entries,
        choices=TOP_UP_CHOICES_MINOR,
        methods=("unionpay", "alipay"),
        top_up_id="tu_" + secrets.token_hex(12),
        outcome=outcome,
        said=say(refusal, here.pages.language(request)) if refusal is not None else None,
    )


@router.get("/wallet")
def wallet(here: Here, request: Request, found: SignedIn) -> Response:
    """Show the balance, what is held, and the latest movements."""
    return _wallet_page(here, request, found)


def parse_amount(text: str) -> int:
    """
    Return fen from an amount in fen as a form sends it.

    :raises AmountInvalid: if it is not a whole number within the limits of one top-up.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise AmountInvalid
    amount = int(text)
    if not _TOP_UP_MIN_MINOR <= amount <= _TOP_UP_MAX_MINOR:
        raise AmountInvalid
    return amount


@router.post("/wallet/top-up")
def top_up(here: Here, request: Request, found: SignedIn, form: SentForm) -> Response:
    """Top the wallet up once per form; the outcome is shown on the wallet page."""
    ctx = here.backend.context
    try:
        amount_minor = parse_amount(form.need("amount"))
        made = payments.top_up(
            ctx.db,
            ctx.providers,
            found.tenant_id,
            found.cardholder.cardholder_id,
            form.need("method"),
            amount_minor,
            form.need("top_up_id"),
            ctx.clock,
        )
    except BackendError as refusal:
        return _wallet_page(here, request, found, refusal)
    return RedirectResponse(f"/wallet?topup={made.top_up_id}", 303)


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
    if receipt.session.cardholder_id != found.cardholder.cardholder_id:
        raise water_sessions.WaterSessionUnknown
    return here.pages.render(
        request, "student/bill.html", now=here.now, tab="history", receipt=receipt, session=receipt.session
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
