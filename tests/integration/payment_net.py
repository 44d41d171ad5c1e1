"""
The network between a school and the sandbox provider, the school's mortal process, and where notifications arrive.

Everything real crosses sockets; what goes wrong on the way goes wrong at the test's command.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx
from sqlalchemy import Connection, event

from backend.db import Database
from backend.payments.port import Provider

_SHORT_S = 0.2
_UNIONPAY = {"01": "charge", "02": "authorize", "03": "capture", "04": "refund", "31": "void", "32": "void"}
_ALIPAY = {
    "alipay.fund.auth.order.freeze": "authorize",
    "alipay.fund.auth.order.unfreeze": "void",
    "alipay.fund.auth.operation.cancel": "void",
    "alipay.trade.cancel": "void",
    "alipay.trade.refund": "refund",
    "alipay.data.dataservice.bill.downloadurl.query": "statement",
}
_THANKS = {"unionpay": b"ok", "alipay": b"success", "wechat": b'{"code":"SUCCESS"}'}


class Crash(Exception):
    """The process died here."""


def call_of(request: httpx.Request) -> str:
    """Return which call of the port a request belongs to; a question is `query`."""
    path = request.url.path
    if path.startswith("/unionpay"):
        txn_type = parse_qs(request.content.decode())["txnType"][0]
        return {"00": "query", "76": "statement"}.get(txn_type) or _UNIONPAY[txn_type]
    if path.startswith("/alipay"):
        form = parse_qs(request.content.decode())
        method = form["method"][0] if form else "download"
        if method == "alipay.trade.pay":
            return "capture" if '"auth_no"' in form["biz_content"][0] else "charge"
        return _ALIPAY.get(method, "query" if form else "statement")
    if "bill" in path:
        return "statement"
    if request.method == "GET":
        return "query"
    return {"codepay": "charge", "reverse": "void", "refunds": "refund"}[path.rpartition("/")[2]]


class _Once(httpx.SyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body


class Net(httpx.BaseTransport):
    """The network between them. Refuses, garbles, holds or cuts short the next call of a kind, swallows questions."""

    def __init__(self, real: httpx.BaseTransport) -> None:
        self._real = real
        self._attacks: deque[tuple[str, str]] = deque()
        self._late: list[httpx.Request] = []
        self.questions_down = False
        #: Every call that went out, in order.
        self.calls: list[str] = []

    def forget(self) -> None:
        """Carry everything again, and count from here."""
        self._attacks.clear()
        self._late.clear()
        self.questions_down = False
        self.calls.clear()

    def deliver_late(self) -> None:
        """Let the requests that were held arrive now."""
        late, self._late = self._late, []
        for request in late:
            self._real.handle_request(request).read()

    def attack(self, call: str, how: str) -> None:
        """Spoil the next call of a kind: `refuse`, `short` (time out soon), `garble` (break the answer) or `late`."""
        self._attacks.append((call, how))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request."""
        call, how = call_of(request), ""
        if self._attacks and self._attacks[0][0] == call:
            how = self._attacks.popleft()[1]
        if call == "query" and self.questions_down:
            raise httpx.ReadTimeout("nobody answers questions", request=request)
        if how == "refuse":
            raise httpx.ConnectError("refused", request=request)
        self.calls.append(call)
        if how == "late":
            self._late.append(request)
            raise httpx.ReadTimeout("still under way", request=request)
        if how == "short":
            request.extensions["timeout"] = {**request.extensions["timeout"], "read": _SHORT_S}
        answer = self._real.handle_request(request)
        if how != "garble":
            return answer
        body = answer.read()
        middle = len(body) // 2
        garbled = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Once(garbled))


class Mortal:
    """An adapter whose process may die just before a call, or after its answer before anything is committed."""

    def __init__(self, provider: Provider, db: Database) -> None:
        self._provider = provider
        self._dies: tuple[str, str] | None = None
        self._at_commit = False
        event.listen(db.engine, "commit", self._commit)

    def die(self, call: str, when: str) -> None:
        """Die at the next call of a kind, `before_send` or `before_commit`."""
        self._dies = (call, when)

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._provider, name)
        if self._dies is None or name != self._dies[0]:
            return inner
        return lambda *given: self._fatal(inner, given)

    def _fatal(self, inner: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        assert self._dies is not None
        (_, when), self._dies = self._dies, None
        if when == "before_send":
            raise Crash
        answer = inner(*given)
        self._at_commit = True
        return answer

    def _commit(self, conn: Connection) -> None:
        if self._at_commit:
            self._at_commit = False
            conn.invalidate()  # the database sees the connection of a dead process break off
            raise Crash


class Listener:
    """Where providers send their notifications."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, str], bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                _, _, method, tenant_id = self.path.split("/")
                body = self.rfile.read(int(self.headers["content-length"]))
                listener.heard.append((method, tenant_id, dict(self.headers.items()), body))
                self.send_response(200)
                self.send_header("content-length", str(len(_THANKS[method])))
                self.end_headers()
                self.wfile.write(_THANKS[method])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
