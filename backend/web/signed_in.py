"""Who asks: the signed-in person of a request, the roles a page needs, and forms that are ours. Denies by default."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import Request

from backend.cardholders import service as cardholders
from backend.cardholders.types import Cardholder, SignIn
from backend.errors import BackendError, Forbidden
from backend.tenants import service as tenants
from backend.water_sessions.types import WaterSession
from backend.web.intake import is_storable
from backend.web.live import LiveHub, SharedLook
from backend.web.ports import WebBackend
from backend.web.rendering import SESSION_COOKIE, VISITOR_COOKIE, Pages

_FIELDS_MAX = 40


class SignInMissing(BackendError):
    """Nobody is signed in."""

    code = "sign_in_missing"
    status = 401


class RoleMissing(Forbidden):
    """The page needs a role that this person lacks."""

    code = "role_missing"


class FormIncomplete(BackendError):
    """A field of the form is missing or unreadable."""

    code = "form_incomplete"
    status = 422


@dataclass(frozen=True, slots=True)
class Site:
    """What every page works with."""

    backend: WebBackend
    pages: Pages
    hub: LiveHub
    looks: SharedLook[WaterSession]
    tallies: SharedLook[tuple[list[str], int]]

    @property
    def now(self) -> datetime:
        """Return the time by the context's clock."""
        return self.backend.context.clock()


def site(request: Request) -> Site:
    """Return the site a request came to."""
    return cast(Site, request.app.state.site)


def token_of(request: Request) -> str:
    """Return the sign-in token of a request: the bearer header for the API, the cookie for pages; else empty."""
    if request.url.path.startswith("/api/"):
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        return value.strip() if kind.lower() == "bearer" else ""
    return request.cookies.get(SESSION_COOKIE, "")


def sign_in_of(request: Request) -> SignIn:
    """
    Return who is signed in.

    :raises SignInMissing: if nobody is.
    :raises backend.cardholders.service.SignInExpired: if it was too long ago.
    """
    token = token_of(request)
    if not token:
        raise SignInMissing
    here = site(request)
    with here.backend.db.read() as conn:
        found = cardholders.signed_in(conn, token, here.now)
        tenant = tenants.get(conn, found.tenant_id)
    request.state.cardholder = found.cardholder
    request.state.tenant = tenant
    request.state.zone = tenant.time_zone
    return found


def require(*roles: str) -> Callable[..., SignIn]:
    """Return a dependency that lets a signed-in person through who has one of these roles."""

    def check(found: Annotated[SignIn, Depends(sign_in_of)]) -> SignIn:
        demand_role(found.cardholder, *roles)
        return found

    return check


def demand_role(person: Cardholder, *roles: str) -> None:
    """
    Return nothing if the person has one of the roles.

    :raises RoleMissing: otherwise, naming the roles.
    """
    if not person.roles & set(roles):
        raise RoleMissing(role=",".join(roles))


class Form:
    """The fields of a form that was proven to be ours."""

    def __init__(self, fields: dict[str, str], many: dict[str, list[str]]) -> None:
        self._fields = fields
        self._many = many

    def get(self, name: str, default: str = "") -> str:
        """Return a field's text, trimmed."""
        return self._fields.get(name, default).strip()

    def need(self, name: str) -> str:
        """
        Return a field's text.

        :raises FormIncomplete: if it is missing or empty.
        """
        text = self.get(name)
        if not text:
            raise FormIncomplete(f"{name} is missing", field=name)
        return text

    def every(self, name: str) -> list[str]:
        """Return all values of a field."""
        return self._many.get(name, [])


async def form_of(request: Request) -> Form:
    """
    Return the fields of a form that came from a page of ours in this browser session.

    :raises backend.web.security.FormRefused: if it did not.
    :raises FormIncomplete: if a field holds what is no text, whichever encoding the browser claims.
    """
    try:
        body = await request.form(max_fields=_FIELDS_MAX, max_files=0)
    except UnicodeError as error:
        raise FormIncomplete("the form is not readable") from error
    return proven_form(request, [(name, value) for name, value in body.multi_items() if isinstance(value, str)])


def proven_form(request: Request, texts: list[tuple[str, str]]) -> Form:
    """
    Return fields as a form, once they are proven to come from a page of ours in this browser session.

    :raises backend.web.security.FormRefused: if they do not.
    :raises FormIncomplete: if a field holds what is no text.
    """
    if not all(is_storable(name) and is_storable(value) for name, value in texts):
        raise FormIncomplete("the form holds what is no text")
    fields = dict(texts)
    browser = request.cookies.get(SESSION_COOKIE) or request.cookies.get(VISITOR_COOKIE) or ""
    site(request).pages.tokens.check(fields.get("form_token", ""), browser)
    many: dict[str, list[str]] = {}
    for name, value in texts:
        many.setdefault(name, []).append(value)
    return Form(fields, many)


SignedIn = Annotated[SignIn, Depends(sign_in_of)]
SentForm = Annotated[Form, Depends(form_of)]
Here = Annotated[Site, Depends(site)]
