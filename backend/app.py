"""The HTTP process: pages, API, static files and the live hub put together."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from backend.cardholders.service import SignInExpired
from backend.errors import BackendError, NotFound
from backend.tenants import keys
from backend.web import assets
from backend.web.intake import Intake, Malformed, TooLarge
from backend.web.live import LiveHub, NoTelemetry, SharedLook, TelemetrySource
from backend.web.ports import WebBackend
from backend.web.rendering import SESSION_COOKIE, Pages, say
from backend.web.routes import (
    admin,
    api,
    api_evidence,
    api_gateways,
    api_me,
    api_money,
    api_protections,
    entry,
    facilities,
    finance,
    finance_disputes,
    finance_entries,
    finance_statements,
    gate,
    money,
    notify,
    stickers,
    student,
    water,
)
from backend.web.security import HEADERS, FormTokens, SecurityHeaders
from backend.web.signed_in import SignInMissing, Site
from backend.web.streams import Seats

log = logging.getLogger(__name__)
_LOOK_FRESH_S = 0.4
_TALLY_FRESH_S = 1.5


class MethodNotAllowed(BackendError):
    """The address exists, but not for this method."""

    code = "method_not_allowed"
    status = 405


class Internal(BackendError):
    """A bug of ours; what it was is in the log under the request id."""

    code = "internal"
    status = 500


class MediaUnsupported(BackendError):
    """The body is of a kind that this address does not read."""

    code = "media_unsupported"
    status = 415


_FRAMEWORK: dict[int, type[BackendError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: MediaUnsupported,
}


def _back_to(request: Request) -> str:
    """Return the page to come back to after signing in: this one, or the one whose form was sent."""
    if request.method == "GET":
        return request.url.path + (f"?{request.url.query}" if request.url.query else "")
    referer = urlsplit(request.headers.get("referer", ""))
    is_ours = referer.netloc == request.headers.get("host", "")
    return (referer.path + (f"?{referer.query}" if referer.query else "")) if is_ours and referer.path else "/"


def answer_refusal(request: Request, error: Exception) -> Response:
    """Return a refusal: JSON with both languages for the API, the sign-in page if that helps, else a page in words."""
    assert isinstance(error, BackendError)
    site: Site = request.app.state.site
    if request.url.path.startswith("/api/"):
        zh, en = say(error, "zh"), say(error, "en")
        body = {
            "code": error.code,
            "message_zh": f"{zh.what}{zh.next}",
            "message_en": f"{en.what} {en.next}",
            "details": error.details or {},
        }
        return JSONResponse(body, error.status)
    if isinstance(error, SignInMissing | SignInExpired):
        expired = "&expired=1" if isinstance(error, SignInExpired) else ""
        answer = RedirectResponse(f"/login?next={quote(_back_to(request), safe='/')}{expired}", 303)
        if expired:
            answer.delete_cookie(SESSION_COOKIE)
        return answer
    said = say(error, site.pages.language(request))
    return site.pages.render(request, "refusal.html", status=error.status, said=said, status_code=error.status)


def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = _FRAMEWORK.get(error.status_code)
    refusal: BackendError = known() if known is not None else Malformed() if error.status_code < 500 else Internal()
    if known is None:
        refusal.status = error.status_code
    return answer_refusal(request, refusal)


def _answer_malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0] if error.errors() else {}
    return answer_refusal(request, Malformed(field=".".join(str(part) for part in first.get("loc", ()))))


def _answer_bug(request: Request, error: Exception) -> Response:
    log.error("request failed", exc_info=error, extra={"request_id": getattr(request.state, "request_id", "")})
    answer = answer_refusal(request, Internal())
    # Starlette answers bugs outside our own middleware, so the headers are put on here.
    answer.headers.update({**HEADERS, "cache-control": "no-store"})
    answer.headers["x-request-id"] = getattr(request.state, "request_id", "")
    return answer


def create_app(backend: WebBackend | None = None, telemetry: TelemetrySource | None = None) -> FastAPI:
    """
    Return the application over a backend; without one, over what the environment describes.

    Telemetry is what live pages listen to. Without a source they show what the database knows.
    """
    if backend is None:
        from backend.bootstrap.container import open_backend

        backend = open_backend()
    source = telemetry or NoTelemetry()
    hub = LiveHub(backend.context.clock)
    folder = assets.static_folder()
    statics = f"/s/{assets.digest(folder)}"
    tokens = FormTokens(keys.secret(backend.config.secrets_dir, "web-form-tokens"))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        source.start(hub.take)
        try:
            yield
        finally:
            source.stop()

    app = FastAPI(
        title="CampusTap",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.site = Site(
        backend,
        Pages(statics=statics, tokens=tokens),
        hub,
        SharedLook(fresh_s=_LOOK_FRESH_S, entries_max=5_000),
        SharedLook(fresh_s=_TALLY_FRESH_S),
    )
    app.state.seats = Seats()
    for module in (
        entry,
        student,
        money,
        water,
        facilities,
        stickers,
        gate,
        admin,
        finance,
        finance_entries,
        finance_disputes,
        finance_statements,
        api,
        api_me,
        api_money,
        api_protections,
        notify,
        api_evidence,
        api_gateways,
    ):
        app.include_router(module.router)

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        """Say that the process answers and its database does."""
        with backend.db.read() as conn:
            conn.exec_driver_sql("SELECT 1")
        return {"status": "ok"}

    app.mount(statics, assets.ImmutableFiles(directory=folder), name="static")
    app.add_exception_handler(BackendError, answer_refusal)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_malformed)
    app.add_exception_handler(Exception, _answer_bug)
    app.add_middleware(Intake, answer=answer_refusal, uploads=finance_statements.UPLOADS)
    app.add_middleware(GZipMiddleware, minimum_size=600)
    app.add_middleware(SecurityHeaders)
    return app
