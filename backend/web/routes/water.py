"""The page behind a sticker: start water, watch it, stop it, see the bill. Plain forms; scripts only enliven it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders.types import SignIn
from backend.errors import BackendError
from backend.payments import service as payments
from backend.tariffs import service as tariffs
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import StartRequest, WaterSession
from backend.web import outlet_page
from backend.web.outlet_page import MOVING, Outlet
from backend.web.payer_codes import asks_code, code_of
from backend.web.rendering import say
from backend.web.signed_in import Here, SentForm, SignedIn, Site
from backend.web.streams import stream

router = APIRouter(prefix="/w/{token}", include_in_schema=False)
_LOOK_S = 0.5


class PresenceMissing(BackendError):
    """Whoever starts water must say that they stand at the outlet."""

    code = "presence_missing"
    status = 422


class NotYourSession(water_sessions.WaterSessionUnknown):
    """The session is somebody else's: the same answer as for one that does not exist."""


def _own_session(conn: Connection, found: SignIn, outlet: Outlet, water_session_id: str) -> WaterSession:
    session = water_sessions.session(conn, found.tenant_id, water_session_id)
    if session.cardholder_id != found.cardholder.cardholder_id or session.device_id != outlet.device.device_id:
        raise NotYourSession("no such session of yours at this outlet")
    return session


def _idle(
    here: Site, request: Request, found: SignIn, outlet: Outlet, *, token: str, refusal: BackendError | None = None,
    chosen: str = ""
) -> Response:  # fmt: skip
    now = here.now
    with here.backend.db.read() as conn:
        offer = outlet_page.offer(conn, outlet, found.cardholder, now)
        accepted = [method.method for method in offer.methods if method.accepted]
        with_code = {method for method in accepted if asks_code(conn, found, method)}
    language = here.pages.language(request)
    shown = refusal or offer.obstacle
    return here.pages.render(
        request,
        "student/outlet.html",
        status=refusal.status if refusal is not None else 200,
        now=now,
        tab="water",
        view="idle",
        is_moving=False,
        outlet=outlet,
        token=token,
        offer=offer,
        said=say(shown, language) if shown is not None else None,
        is_blocked=offer.obstacle is not None,
        chosen=chosen if chosen in accepted else offer.suggested,
        deposits=[method for method in accepted if payments.is_deposit(method)],
        with_code=with_code,
    )


def _session_page(here: Site, request: Request, outlet: Outlet, session: WaterSession, token: str) -> Response:
    now = here.now
    view = outlet_page.view_of(session)
    with here.backend.db.read() as conn:
        tariff = tariffs.version(conn, session.tenant_id, session.tariff_id, session.tariff_version)
        wallet = payments.wallet(conn, session.tenant_id, session.cardholder_id)
        money = payments.outcome(conn, session.tenant_id, session.auth_id)
    said = None
    if view == "refused":
        said = say(_Refused(session.refusal), here.pages.language(request))
    return here.pages.render(
        request,
        "student/session.html",
        now=now,
        tab="water",
        view=view,
        is_moving=view in MOVING,
        outlet=outlet,
        token=token,
        session=session,
        tariff=tariff,
        wallet=wallet,
        money=money,
        is_deposit=payments.is_deposit(session.method),
        said=said,
        figures=outlet_page.figures(here.hub, session, tariff, now),
    )


class _Refused(BackendError):
    """A session that ended refused, with the code it was refused with."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code if code in ("payment_declined", "payment_unknown") else "valve_refused"


@router.get("")
def show(
    here: Here, request: Request, found: SignedIn, token: str, session_id: Annotated[str, Query(alias="s")] = ""
) -> Response:
    """Show an outlet, or the person's own session there."""
    with here.backend.db.read() as conn:
        outlet = outlet_page.outlet_by_sticker(conn, found.tenant_id, token)
        if session_id:
            session = _own_session(conn, found, outlet, session_id)
        else:
            own = water_sessions.live_of_cardholder(conn, found.tenant_id, found.cardholder.cardholder_id)
            if own is not None and own.device_id == outlet.device.device_id:
                return RedirectResponse(f"/w/{token}?s={own.water_session_id}", 303)
    if session_id:
        return _session_page(here, request, outlet, session, token)
    return _idle(here, request, found, outlet, token=token)


@router.post("/start")
def start(here: Here, request: Request, found: SignedIn, form: SentForm, token: str) -> Response:
    """Start water once; the same form sent twice leads to the same session."""
    person = found.cardholder
    with here.backend.db.read() as conn:
        outlet = outlet_page.outlet_by_sticker(conn, found.tenant_id, token)
        method = form.get("method", water_sessions.WALLET)
        is_asked = asks_code(conn, found, method)
    try:
        if form.get("presence") != outlet.device.device_id:
            raise PresenceMissing
        started = water_sessions.request_start(
            here.backend.context,
            StartRequest(
                tenant_id=found.tenant_id,
                request_id=form.need("request_id")[:64],
                device_id=outlet.device.device_id,
                cardholder_id=person.cardholder_id,
                method=method,
            ),
            payer_code=code_of(form, is_asked=is_asked),
        )
    except BackendError as refusal:
        return _idle(here, request, found, outlet, token=token, refusal=refusal, chosen=method)
    return RedirectResponse(f"/w/{token}?s={started.water_session_id}", 303)


@router.post("/stop")
def stop(here: Here, found: SignedIn, form: SentForm, token: str) -> Response:
    """Ask for the end of the person's own session; asking twice changes nothing."""
    with here.backend.db.read() as conn:
        outlet = outlet_page.outlet_by_sticker(conn, found.tenant_id, token)
        session = _own_session(conn, found, outlet, form.need("s"))
    water_sessions.request_stop(
        here.backend.context, found.tenant_id, session.water_session_id, found.cardholder.cardholder_id, "remote"
    )
    return RedirectResponse(f"/w/{token}?s={session.water_session_id}", 303)


@router.get("/live")
def live(
    here: Here, request: Request, found: SignedIn, token: str, session_id: Annotated[str, Query(alias="s")]
) -> Response:
    """Stream the live figures of the person's own session until it is over."""
    with here.backend.db.read() as conn:
        outlet = outlet_page.outlet_by_sticker(conn, found.tenant_id, token)
        first = _own_session(conn, found, outlet, session_id)
        tariff = tariffs.version(conn, found.tenant_id, first.tariff_id, first.tariff_version)
    formats = here.pages.formats(request)

    def read() -> WaterSession:
        with here.backend.db.read() as conn:
            return water_sessions.session(conn, found.tenant_id, session_id)

    def look() -> dict[str, Any]:
        session = here.looks.get(f"{found.tenant_id}/{session_id}", read)
        view = outlet_page.view_of(session)
        shown = outlet_page.figures(here.hub, session, tariff, here.now)
        return {
            "view": view,
            "litres": formats.litres(shown.volume_ml),
            "cost": formats.money(shown.charge_minor),
            "temperature": formats.degrees(shown.temperature_decidegc),
            "time": formats.minutes(shown.elapsed_s),
            "used": shown.used_permille,
            "paused": shown.is_paused,
            "fresh": shown.is_fresh,
        }

    return stream(request, look, every_s=_LOOK_S, is_over=lambda seen: seen["view"] not in MOVING)
