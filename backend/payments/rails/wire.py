"""
HTTP to providers. The only importer of httpx on the way to money.

A call has a budget of time shared by all its requests, reads a bounded body as raw bytes (no decompression, no
redirects) and raises nothing: what went wrong is a `Failure`, which knows whether anything can have been sent.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from backend.payments.port import Answer, Declined, Unknown

# Addresses of statement files carry a token that opens them; httpx would log it.
logging.getLogger("httpx").setLevel(logging.WARNING)

_CONNECT_MS_MAX = 2_000
_ANSWER_BYTES_MAX = 256 * 1024
_NS_PER_MS = 1_000_000


class Budget:
    """The time one call to a provider may take, over all the requests it makes."""

    def __init__(self, time_ms: int) -> None:
        self._until_ns = time.monotonic_ns() + time_ms * _NS_PER_MS

    def left_ms(self) -> int:
        """Return how much time is left, at least zero."""
        return max(0, (self._until_ns - time.monotonic_ns()) // _NS_PER_MS)

    def pause(self, wait_ms: int) -> bool:
        """Return whether there is time left after waiting; without waiting when there would be none."""
        if wait_ms >= self.left_ms():
            return False
        time.sleep(wait_ms / 1000)
        return True


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """What came back, not yet proven to be the provider's. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing usable came back. `sent` is whether the request can have reached the provider."""

    reason: str
    sent: bool = True

    def answer(self, *, fresh: bool = False) -> Answer:
        """Return what it means: a decline for a fresh order of which nothing was sent, otherwise unknown."""
        return Declined("provider_unreachable") if fresh and not self.sent else Unknown(self.reason)


class Wire:
    """The connections to one provider, shared by all threads."""

    def __init__(self, *, timeout_ms: int, transport: httpx.BaseTransport | None = None) -> None:
        self._timeout_ms = timeout_ms
        self._client = httpx.Client(
            trust_env=False,
            follow_redirects=False,
            transport=transport,
            headers={"accept-encoding": "identity", "user-agent": "campustap"},
        )

    def budget(self) -> Budget:
        """Return the time a call may take that starts now."""
        return Budget(self._timeout_ms)

    def send(
        self,
        method: str,
        url: str,
        *,
        budget: Budget,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        bytes_max: int = _ANSWER_BYTES_MAX,
    ) -> Reply | Failure:
        """Return what a request brought back."""
        left_ms = budget.left_ms()
        if left_ms == 0:
            return Failure("timeout", sent=False)
        timeout = httpx.Timeout(left_ms / 1000, connect=min(left_ms, _CONNECT_MS_MAX) / 1000)
        try:
            with self._client.stream(method, url, content=body, headers=headers, timeout=timeout) as response:
                read = bytearray()
                for chunk in response.iter_raw():
                    read += chunk
                    if len(read) > bytes_max:
                        return Failure("oversized_answer")
                    if budget.left_ms() == 0:
                        return Failure("timeout")
                found = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, found, bytes(read))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Failure("unreachable", sent=False)
        except httpx.TimeoutException:
            return Failure("timeout")
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            return Failure("address_wrong", sent=False)
        except httpx.HTTPError:
            return Failure("broken_answer")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
