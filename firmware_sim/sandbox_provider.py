"""
A payment provider that does not exist, as its own HTTP service: holds, captures, voids, charges and queries for the
brands UnionPay and Alipay, signed both ways, scripted to fail in every way a real one does.

    POST /v1/{brand}/{authorize|charge|capture|void|query}     signed; JSON in and out
    POST /script  {"match": order id or "next", "verb": "" or one, "behaviour": …, "seconds": n, "reason": …}
    GET  /orders  what it has taken and how many calls are under way, for tests and statements

Behaviours, each for one request: `decline` says no · `delay` waits, then does it · `timeout_before` never does it and
never answers · `timeout_after` does it and never answers · `duplicate` does it twice, as a re-sending proxy would.
With `reason`, what is done is a decline.

Run it with `python -m firmware_sim.sandbox_provider --port 8090 --secrets DIR --state FILE`.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from firmware_sim.sandbox_orders import OrderBook

BRANDS = ("unionpay", "alipay")
BEHAVIOURS = ("decline", "delay", "timeout_before", "timeout_after", "duplicate")
_FIELDS: dict[str, dict[str, type]] = {
    "authorize": {"merchant_id": str, "order_id": str, "amount_minor": int},
    "charge": {"merchant_id": str, "order_id": str, "amount_minor": int},
    "capture": {"merchant_id": str, "order_id": str, "operation_id": str, "amount_minor": int},
    "void": {"merchant_id": str, "order_id": str, "operation_id": str},
    "query": {"merchant_id": str, "order_id": str},
}
_BODY_BYTES_MAX = 4_096
_CLOCK_SKEW_S_MAX = 300
_SILENCE_S = 30
_SILENCE_S_MAX = 3_600


def load_or_create_secret(secrets_dir: Path) -> bytes:
    """Return the 32 bytes both sides sign with, from `provider_hmac.secret`, making them (mode 0600) when missing."""
    path = secrets_dir / "provider_hmac.secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(32))
        try:
            path.hardlink_to(fresh)  # whoever starts first makes it; the other reads it
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()


def _sign(key: bytes, *parts: str) -> str:
    return hmac.new(key, "\n".join(parts).encode(), hashlib.sha256).hexdigest()


def _problem(verb: str, asked: Any) -> str:
    if not isinstance(asked, dict) or set(asked) != set(_FIELDS[verb]):
        return "wrong fields"
    for name, kind in _FIELDS[verb].items():
        if type(asked[name]) is not kind or asked[name] in ("", 0) or (kind is int and asked[name] < 0):
            return f"{name} is malformed"
    return ""


def _is_script(wanted: dict[str, Any]) -> bool:
    seconds = wanted.get("seconds", 0)
    words = (wanted.get("match"), wanted.get("verb", ""), wanted.get("reason", ""))
    return (
        wanted.get("behaviour") in BEHAVIOURS
        and all(isinstance(word, str) for word in words)
        and isinstance(seconds, int | float)
        and 0 <= seconds <= _SILENCE_S_MAX
    )


class Service:
    """The HTTP side: signatures, scripted behaviour, and the order book behind them."""

    def __init__(self, key: bytes, book: OrderBook) -> None:
        self._key = key
        self._book = book
        self._in_flight = 0

    async def call(self, request: Request) -> Response:
        """Answer one signed request."""
        brand, verb = request.path_params["brand"], request.path_params["verb"]
        if brand not in BRANDS or verb not in _FIELDS:
            return JSONResponse({"error": "unknown brand or verb"}, status_code=404)
        body = await request.body()
        signature = request.headers.get("x-signature", "")
        refusal = self._refusal(request, signature, body)
        if refusal:
            return JSONResponse({"error": refusal}, status_code=401)
        try:
            asked = json.loads(body)
        except ValueError:
            asked = None
        problem = _problem(verb, asked)
        if problem:
            return self._signed({"error": problem}, signature, status=400)
        script = self._book.take_script(asked["order_id"], verb)
        self._in_flight += 1
        try:
            return self._signed(await self._behave(brand, verb, asked, script), signature)
        finally:
            self._in_flight -= 1

    def _refusal(self, request: Request, signature: str, body: bytes) -> str:
        timestamp = request.headers.get("x-timestamp", "")
        if len(body) > _BODY_BYTES_MAX:
            return "body too large"
        if not timestamp.isascii() or not timestamp.isdigit():
            return "no timestamp"
        if abs(time.time() - int(timestamp)) > _CLOCK_SKEW_S_MAX:
            return "stale timestamp"
        expected = _sign(self._key, "request", timestamp, request.url.path, hashlib.sha256(body).hexdigest())
        return "" if hmac.compare_digest(expected.encode(), signature.encode()) else "bad signature"

    async def _behave(self, brand: str, verb: str, asked: dict[str, Any], script: dict[str, Any]) -> dict[str, Any]:
        behaviour, silence_s = script.get("behaviour", ""), script.get("seconds", _SILENCE_S)
        decline = str(script.get("reason", "insufficient_funds" if behaviour == "decline" else ""))
        if behaviour == "timeout_before":
            await asyncio.sleep(silence_s)
            return {"error": "gateway timeout"}
        if behaviour == "delay":
            await asyncio.sleep(silence_s)
        answer = self._book.handle(brand, verb, asked, decline=decline)
        if behaviour == "duplicate":
            answer = self._book.handle(brand, verb, asked, decline=decline)
        if behaviour == "timeout_after":
            await asyncio.sleep(silence_s)
        return answer

    def _signed(self, answer: dict[str, Any], request_signature: str, *, status: int = 200) -> Response:
        body = json.dumps(answer).encode()
        signature = _sign(self._key, "response", request_signature, str(status), hashlib.sha256(body).hexdigest())
        return Response(body, status, {"x-signature": signature}, media_type="application/json")

    async def script(self, request: Request) -> Response:
        """Take a script for a request to come."""
        try:
            wanted = json.loads(await request.body())
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict) or not _is_script(wanted):
            return JSONResponse({"error": f"match and one of {', '.join(BEHAVIOURS)}"}, status_code=400)
        self._book.add_script(wanted["match"], wanted.get("verb", ""), wanted)
        return JSONResponse({"scripted": wanted["match"]})

    async def orders(self, request: Request) -> Response:
        """Tell what the provider has on its books."""
        orders = self._book.orders(request.query_params.get("merchant_id", ""))
        return JSONResponse({"orders": orders, "in_flight": self._in_flight})


def build(secrets_dir: Path, state: Path) -> Starlette:
    """Return the application over a secrets folder and a state file."""
    service = Service(load_or_create_secret(secrets_dir), OrderBook(state))
    return Starlette(
        routes=[
            Route("/v1/{brand}/{verb}", service.call, methods=["POST"]),
            Route("/script", service.script, methods=["POST"]),
            Route("/orders", service.orders, methods=["GET"]),
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped and return the exit status."""
    parser = argparse.ArgumentParser(prog="sandbox-provider", description="A payment provider for trying things out.")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--secrets", type=Path, required=True, help="folder with provider_hmac.secret")
    parser.add_argument("--state", type=Path, required=True, help="SQLite file that survives restarts")
    options = parser.parse_args(argv)
    uvicorn.run(
        build(options.secrets, options.state),
        host="127.0.0.1",
        port=options.port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
