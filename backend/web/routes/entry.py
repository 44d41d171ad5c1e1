"""Signing in and out, language and theme, and the first page for each role."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders import service as cardholders
from backend.errors import BackendError
from backend.fleet import service as fleet
from backend.tenants import service as tenants
from backend.water_sessions import service as water_sessions
from backend.web.i18n import LANGUAGES
from backend.web.outlet_page import outlet_of
from backend.web.rendering import LANGUAGE_COOKIE, SESSION_COOKIE, THEME_COOKIE, THEMES, VISITOR_COOKIE, say
from backend.web.signed_in import Here, SentForm, SignedIn, Site

router = APIRouter(include_in_schema=False)
_YEAR_S = 365 * 24 * 3600
_HOMES = (
    ("facilities", "/facilities"),
    ("admin", "/admin/protections"),
    ("approver", "/admin/protections"),
    ("finance", "/finance"),
    ("gate_desk", "/gate"),
)


def local_path(text: str) -> str:
    """Return an address of ours to go back to; anything that could lead elsewhere becomes the first page."""
    is_ours = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if is_ours and len(text) <= 500 else "/"


def _sticker_tenant(here: Site, next_path: str) -> str | None:
    """Return the school of the sticker that somebody is on the way to, if there is one."""
    parts = next_path.split("?")[0].split("/")
    if len(parts) < 3 or parts[1] != "w":
        return None
    with here.backend.db.read() as conn:
        try:
            return fleet.device_by_sticker(conn, parts[2]).tenant_id
        except fleet.OutletUnknown:
            return None


def _login_page(
    here: Site,
    request: Request,
    *,
    next_path: str,
    login: str = "",
    refusal: BackendError | None = None,
    expired: bool = False,
    tenant_id: str = "",
) -> Response:
    with here.backend.db.read() as conn:
        schools = tenants.list_all(conn)
    chosen = tenant_id or _sticker_tenant(here, next_path) or (schools[0].tenant_id if len(schools) == 1 else "")
    visitor = request.cookies.get(VISITOR_COOKIE) or secrets.token_urlsafe(16)
    request.state.browser = request.cookies.get(SESSION_COOKIE) or visitor
    language = here.pages.language(request)
    if expired and refusal is None:
        refusal = cardholders.SignInExpired()
    page = here.pages.render(
        request,
        "login.html",
        status=refusal.status if refusal is not None and not expired else 200,
        schools=schools,
        chosen=chosen,
        login=login,
        next_path=next_path,
        said=say(refusal, language) if refusal is not None else None,
    )
    _set(page, here, VISITOR_COOKIE, visitor, None)
    return page


def _set(response: Response, here: Site, name: str, value: str, age_s: int | None) -> None:
    secure = here.backend.config.public_url.startswith("https:")
    response.set_cookie(name, value, max_age=age_s, httponly=True, samesite="lax", secure=secure)


@router.get("/login")
def login_page(
    here: Here, request: Request, next_path: Annotated[str, Query(alias="next")] = "/", expired: int = 0
) -> Response:
    """Show the sign-in form."""
    return _login_page(here, request, next_path=local_path(next_path), expired=bool(expired))


@router.post("/login")
def login(here: Here, request: Request, form: SentForm) -> Response:
    """Sign somebody in and send them where they were going."""
    next_path = local_path(form.get("next", "/"))
    now = here.now
    try:
        with here.backend.db.write() as conn:
            found = cardholders.sign_in(conn, form.need("tenant"), form.need("login"), form.need("password"), now)
    except BackendError as refusal:
        if refusal.code == "form_incomplete":
            refusal.status = 422
        return _login_page(
            here, request, next_path=next_path, login=form.get("login"), refusal=refusal, tenant_id=form.get("tenant")
        )
    answer = RedirectResponse(next_path, 303)
    _set(answer, here, SESSION_COOKIE, found.token, int((found.expires_at - now).total_seconds()) + 24 * 3600)
    return answer


@router.post("/logout")
def logout(here: Here, request: Request, form: SentForm) -> Response:
    """Sign out."""
    token = request.cookies.get(SESSION_COOKIE, "")
    if token:
        with here.backend.db.write() as conn:
            cardholders.sign_out(conn, token, here.now)
    answer = RedirectResponse(local_path(form.get("next", "/login")), 303)
    answer.delete_cookie(SESSION_COOKIE)
    return answer


@router.post("/preferences")
def preferences(
    here: Here,
    back: Annotated[str, Form()] = "/",
    language: Annotated[str, Form()] = "",
    theme: Annotated[str, Form()] = "",
) -> Response:
    """Remember a language or a theme; nothing that needs protection, so that it works before signing in."""
    answer = RedirectResponse(local_path(back), 303)
    if language in LANGUAGES:
        _set(answer, here, LANGUAGE_COOKIE, language, _YEAR_S)
    if theme in THEMES:
        _set(answer, here, THEME_COOKIE, theme, _YEAR_S)
    return answer


@router.get("/")
def first_page(here: Here, request: Request, found: SignedIn) -> Response:
    """Send staff to their desk; show students how to begin and where water runs or ran."""
    person = found.cardholder
    if "student" not in person.roles:
        for role, address in _HOMES:
            if role in person.roles:
                return RedirectResponse(address, 303)
    with here.backend.db.read() as conn:
        sessions = water_sessions.history(conn, found.tenant_id, person.cardholder_id, 20)
        seen = dict.fromkeys(session.device_id for session in sessions)
        outlets = [outlet_of(conn, fleet.device(conn, found.tenant_id, device_id)) for device_id in list(seen)[:4]]
        running = water_sessions.live_of_cardholder(conn, found.tenant_id, person.cardholder_id)
    live_device = running.device_id if running is not None else ""
    return here.pages.render(request, "student/home.html", tab="water", outlets=outlets, live_device=live_device)
