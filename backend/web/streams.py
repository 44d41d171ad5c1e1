"""Streams of events to a browser: a look at a steady pace, while the sign-in lasts, a few for each person."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from backend.errors import BackendError
from backend.web.signed_in import sign_in_of

SEATS_PER_PERSON = 5
SEATS_MAX = 5_000
_HEARTBEAT_S = 15
_RECHECK_S = 60.0
_RETRY_MS = 3_000


class TooManyStreams(BackendError):
    """Too many live views are open."""

    code = "too_many_streams"
    status = 429


class Seats:
    """Counts who listens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}

    def take(self, person: str) -> None:
        """
        Count one more listener.

        :raises TooManyStreams: if the person, or everybody together, has too many.
        """
        with self._lock:
            mine = self._taken.get(person, 0)
            if mine >= SEATS_PER_PERSON or sum(self._taken.values()) >= SEATS_MAX:
                raise TooManyStreams
            self._taken[person] = mine + 1

    def leave(self, person: str) -> None:
        """Count one less."""
        with self._lock:
            left = self._taken.get(person, 0) - 1
            if left > 0:
                self._taken[person] = left
            else:
                self._taken.pop(person, None)


def stream(
    request: Request,
    look: Callable[[], dict[str, Any] | None],
    *,
    every_s: float = 1.0,
    is_over: Callable[[dict[str, Any]], bool] = lambda _: False,
) -> EventSourceResponse:
    """
    Return a stream that sends what `look` returns, when it differs from the last time; None ends it.

    :raises TooManyStreams: if this person listens too often already.
    """
    seats: Seats = request.app.state.seats
    person: str = request.state.cardholder.cardholder_id
    seats.take(person)

    async def events() -> AsyncIterator[ServerSentEvent]:
        last = ""
        number = 0
        waited_s = 0.0
        try:
            while True:
                if waited_s >= _RECHECK_S:
                    waited_s = 0.0
                    await run_in_threadpool(sign_in_of, request)
                seen = await run_in_threadpool(look)
                if seen is None:
                    return
                text = json.dumps(seen, ensure_ascii=False, separators=(",", ":"))
                if text != last:
                    last = text
                    number += 1
                    yield ServerSentEvent(data=text, id=str(number), retry=_RETRY_MS)
                if is_over(seen):
                    return
                await asyncio.sleep(every_s)
                waited_s += every_s
        except BackendError:
            return
        finally:
            seats.leave(person)

    return EventSourceResponse(events(), ping=_HEARTBEAT_S)
