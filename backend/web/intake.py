"""
What may come in at all, checked before any page or database sees it. Pure ASGI.

Text that no database column can hold (U+0000, lone surrogates), bytes that are not UTF-8, JSON nested beyond reason and
bodies beyond a megabyte are refused here, so that no page needs to think of them. Addresses that take files are an
exception: what comes is counted on its way, and read only once the page knows who sends it.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import BackendError

BODY_BYTES_MAX = 1_000_000
#: Moments that may be asked for: a conversion between zones never leaves the calendar.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)


class Malformed(BackendError):
    """The request lacks something or is not readable."""

    code = "form_incomplete"
    status = 422


class TooLarge(BackendError):
    """The request's body is larger than anything we take."""

    code = "too_large"
    status = 413


def is_storable(text: str) -> bool:
    """Return whether every database can hold a text: no U+0000 and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def is_askable(moment: datetime) -> bool:
    """Return whether a moment lies between 1970 and 2100; one without a zone counts as UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return EARLIEST <= aware <= LATEST


def _askable(moment: datetime) -> datetime:
    if not is_askable(moment):
        raise ValueError("the moment lies outside 1970 to 2100")
    return moment


#: A moment in a query or a body of the API.
Moment = Annotated[datetime, AfterValidator(_askable)]


def _is_plain(encoded: bytes) -> bool:
    """Return whether percent-encoded bytes stand for text that can be stored."""
    try:
        return is_storable(unquote_to_bytes(encoded).decode())
    except UnicodeDecodeError:
        return False


def _is_plain_json(body: bytes) -> bool:
    """Return whether a body is JSON whose texts can all be stored."""
    try:
        left: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return False
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            left += each
        elif isinstance(each, str) and not is_storable(each):
            return False
    return True


def _refuse_body(scope: Scope, kind: str, body: bytes) -> None:
    """Raise Malformed for a body that cannot be read, or whose text cannot be stored."""
    if not body:
        return
    if kind == "application/x-www-form-urlencoded":
        is_good = _is_plain(body)
    elif kind.endswith("json") or scope["path"].startswith("/api/"):
        is_good = _is_plain_json(body)
    else:
        is_good = b"\0" not in body
    if not is_good:
        raise Malformed("the body is not readable")


async def _read(receive: Receive, limit_bytes: int) -> bytes | None:
    """
    Return a request's whole body; None if the sender left before its end.

    :raises TooLarge: as soon as it is larger than allowed.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > limit_bytes:
            raise TooLarge
        if not message.get("more_body", False):
            return body


def _counted(receive: Receive, limit_bytes: int) -> Receive:
    """Return what hands a body on part by part, and raises TooLarge as soon as it is larger than allowed."""
    left = limit_bytes

    async def next_part() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLarge
        return message

    return next_part


class Intake:
    """Refuses requests that nothing behind it should have to read, in the words that `answer` finds."""

    def __init__(
        self,
        app: ASGIApp,
        answer: Callable[[Request, Exception], Response],
        uploads: Mapping[str, int] | None = None,
    ) -> None:
        self._app = app
        self._answer = answer
        #: Addresses that take files, with the largest body of each in bytes.
        self._uploads = dict(uploads or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request on, its body read and checked, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        file_bytes_max = self._uploads.get(scope["path"]) if kind == "multipart/form-data" else None
        try:
            if not (is_storable(scope["path"]) and _is_plain(scope.get("query_string", b""))):
                raise Malformed("the address is not readable")
            length = headers.get("content-length", "0")
            bytes_max = file_bytes_max or BODY_BYTES_MAX
            if length.isascii() and length.isdigit() and (len(length) > 15 or int(length) > bytes_max):
                raise TooLarge
            if file_bytes_max is not None:
                await self._app(scope, _counted(receive, file_bytes_max), send)
                return
            has_body = length != "0" or "transfer-encoding" in headers or scope["method"] not in ("GET", "HEAD")
            if not has_body:
                await self._app(scope, receive, send)
                return
            body = await _read(receive, BODY_BYTES_MAX)
            if body is None:
                return
            _refuse_body(scope, kind, body)
        except (Malformed, TooLarge) as refusal:
            await self._answer(Request(scope), refusal)(scope, receive, send)
            return
        sent: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return sent.pop() if sent else await receive()

        await self._app(scope, again, send)
