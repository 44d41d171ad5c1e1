"""
What every answer carries and every form must prove. Pure ASGI: nothing here buffers a stream.

The policy allows our own files and nothing else: no inline script or style, no other host, no frame.
"""

import hashlib
import secrets

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import BackendError

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
#: On every answer.
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_FORM_AGE_MAX_S = 12 * 3600


class SecurityHeaders:
    """Adds the policy, a request id and `no-store` to every answer that does not say otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                headers["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_headers)


class FormRefused(BackendError):
    """The form does not come from a page of ours, or it was open for too long."""

    code = "form_refused"
    status = 403


class FormTokens:
    """Tokens that tie a form to the browser session it was rendered for."""

    def __init__(self, secret: bytes) -> None:
        self._serializer = URLSafeTimedSerializer(
            secret, salt="campustap-form", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def issue(self, browser: str) -> str:
        """Return a token for the forms of a browser session."""
        return self._serializer.dumps(hashlib.sha256(browser.encode()).hexdigest()[:32])

    def check(self, token: str, browser: str) -> None:
        """
        Return nothing if the token was issued to this browser session in the last twelve hours.

        :raises FormRefused: otherwise.
        """
        try:
            bound = self._serializer.loads(token, max_age=_FORM_AGE_MAX_S)
        except BadSignature as error:
            raise FormRefused("the form token is not ours or too old") from error
        if not browser or not secrets.compare_digest(bound, hashlib.sha256(browser.encode()).hexdigest()[:32]):
            raise FormRefused("the form belongs to another browser session")
