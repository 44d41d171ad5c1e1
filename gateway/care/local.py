"""
Serves a snapshot on the box: a Unix socket for `watch` and `doctor`, HTTP on localhost for Prometheus.

Neither takes anything in but a request line, and neither can hold the gateway up.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from gateway.care import metrics
from gateway.care.snapshot import SOCKET, Snapshot

log = logging.getLogger(__name__)

_WAIT_S = 3.0
_REQUEST_BYTES_MAX = 8_192
#: a Unix socket's name has at most so many bytes
_NAME_MAX = 100


class LocalStatus:
    """The two servers. What cannot be served is logged and does not stop the gateway."""

    def __init__(self, state_dir: Path, metrics_port: int, snapshot: Callable[[], Snapshot]) -> None:
        self._path, self._port, self._snapshot = state_dir / SOCKET, metrics_port, snapshot
        self._servers: list[asyncio.Server] = []

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self._start()
            await asyncio.Event().wait()
        finally:
            self._stop()

    async def _start(self) -> None:
        await self._serve("status", self._start_status)
        if self._port:
            await self._serve("metrics", self._start_metrics)

    async def _serve(self, name: str, start: Callable[[], Awaitable[asyncio.Server]]) -> None:
        try:
            server = await start()
        except OSError as error:
            log.error("cannot be served here", extra={"what": name, "reason": str(error)})
            return
        self._servers.append(server)

    async def _start_status(self) -> asyncio.Server:
        if len(str(self._path)) > _NAME_MAX:
            raise OSError(f"{self._path} is too long a name for a socket")
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._status, self._path)
        self._path.chmod(0o600)
        return server

    async def _start_metrics(self) -> asyncio.Server:
        return await asyncio.start_server(self._metrics, "127.0.0.1", self._port, limit=_REQUEST_BYTES_MAX)

    def _stop(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._path.unlink(missing_ok=True)

    async def _status(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, msgspec.json.encode(self._snapshot()) + b"\n")

    async def _metrics(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = b""
        with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_WAIT_S):
                request = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = request.partition(b" ")
        if method == b"GET" and rest.split(b" ")[0] == b"/metrics":
            status, kind, body = "200 OK", metrics.CONTENT_TYPE, metrics.render(self._snapshot()).encode()
        else:
            status, kind, body = "404 Not Found", "text/plain", b"ask for /metrics\n"
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        await self._answer(writer, head.encode() + body)

    @staticmethod
    async def _answer(writer: asyncio.StreamWriter, data: bytes) -> None:
        with contextlib.suppress(TimeoutError, OSError):
            writer.write(data)
            async with asyncio.timeout(_WAIT_S):
                await writer.drain()
        writer.close()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_WAIT_S):
                await writer.wait_closed()
