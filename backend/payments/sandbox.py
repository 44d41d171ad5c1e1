"""
Adapter to the sandbox provider over HTTP. The only importer of httpx on the way to money.

Requests carry a time and an HMAC-SHA256 over time, path and body; answers carry one over the request's signature,
the status and the body, so an answer proves which question it belongs to. Whatever is not provably the provider's
answer is *unknown*. A connection that was never made is a decline for a new order: nothing was sent.
"""

import hashlib
import hmac
import json
import time
from typing import Any

import httpx

from backend.payments.port import Answer, Declined, Succeeded, Unknown

_STATUSES = ("held", "charged", "captured", "voided", "absent")


def sign(key: bytes, *parts: str) -> str:
    """Return the signature over lines of text, in hexadecimal."""
    return hmac.new(key, "\n".join(parts).encode(), hashlib.sha256).hexdigest()


def request_signature(key: bytes, *, timestamp: str, path: str, body: bytes) -> str:
    """Return what a request must carry in `x-signature`."""
    return sign(key, "request", timestamp, path, hashlib.sha256(body).hexdigest())


def response_signature(key: bytes, *, request_signature: str, status: int, body: bytes) -> str:
    """Return what the answer to a signed request must carry in `x-signature`."""
    return sign(key, "response", request_signature, str(status), hashlib.sha256(body).hexdigest())


class SandboxProvider:
    """One brand of the sandbox provider."""

    def __init__(
        self, method: str, *, url: str, key: bytes, timeout_ms: int, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._method = method
        self._key = key
        timeout = httpx.Timeout(timeout_ms / 1000, connect=min(timeout_ms, 2_000) / 1000)  # seconds, not money
        self._client = httpx.Client(base_url=url, timeout=timeout, trust_env=False, transport=transport)

    @property
    def method(self) -> str:
        """Return the payment method it serves."""
        return self._method

    def authorize(self, *, merchant_id: str, order_id: str, amount_minor: int) -> Answer:
        """Hold an amount for a new order."""
        return self._call(
            "authorize", fresh=True, merchant_id=merchant_id, order_id=order_id, amount_minor=amount_minor
        )

    def charge(self, *, merchant_id: str, order_id: str, amount_minor: int) -> Answer:
        """Take an amount at once for a new order."""
        return self._call("charge", fresh=True, merchant_id=merchant_id, order_id=order_id, amount_minor=amount_minor)

    def capture(self, *, merchant_id: str, order_id: str, operation_id: str, amount_minor: int) -> Answer:
        """Take part or all of a held order and release the rest; repeatable with the same operation id."""
        return self._call(
            "capture",
            merchant_id=merchant_id,
            order_id=order_id,
            operation_id=operation_id,
            amount_minor=amount_minor,
        )

    def void(self, *, merchant_id: str, order_id: str, operation_id: str) -> Answer:
        """Release a held order, or give back a charged one; repeatable with the same operation id."""
        return self._call("void", merchant_id=merchant_id, order_id=order_id, operation_id=operation_id)

    def query(self, *, merchant_id: str, order_id: str) -> Answer:
        """Ask what became of an order."""
        return self._call("query", merchant_id=merchant_id, order_id=order_id)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, verb: str, *, fresh: bool = False, **fields: str | int) -> Answer:
        path = f"/v1/{self._method}/{verb}"
        body = json.dumps(fields, sort_keys=True).encode()
        timestamp = str(int(time.time()))
        signature = request_signature(self._key, timestamp=timestamp, path=path, body=body)
        headers = {"content-type": "application/json", "x-timestamp": timestamp, "x-signature": signature}
        try:
            response = self._client.post(path, content=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Declined("provider_unreachable") if fresh else Unknown("unreachable")
        except httpx.TimeoutException:
            return Unknown("timeout")
        except httpx.HTTPError:
            return Unknown("broken_answer")
        expected = response_signature(
            self._key, request_signature=signature, status=response.status_code, body=response.content
        )
        if not hmac.compare_digest(expected, response.headers.get("x-signature", "")):
            return Unknown("unsigned_answer")
        return _read(response, order_id=str(fields["order_id"]))


def _read(response: httpx.Response, *, order_id: str) -> Answer:
    if response.status_code != httpx.codes.OK:
        return Unknown(f"http_{response.status_code}")
    try:
        answer: Any = response.json()
    except ValueError:
        return Unknown("malformed_answer")
    if not isinstance(answer, dict) or answer.get("order_id") != order_id:
        return Unknown("malformed_answer")
    match answer:
        case {"result": "succeeded", "status": str(status), "amount_minor": int(amount_minor)}:
            if status in _STATUSES:
                return Succeeded(status, amount_minor, str(answer.get("reference", "")))
        case {"result": "declined", "reason": str(reason)}:
            return Declined(reason)
    return Unknown("malformed_answer")
