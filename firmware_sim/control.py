"""
The control port: what people, water and electricians do, asked for as JSON lines, one answer per line.

Every answer has `ok`; a refusal carries `error` and changes nothing. This port is for the simulator's owner on the same
machine; the devices' own interface is the bus.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from firmware_sim.mailbox import CODE, UID
from firmware_sim.world import ControlRefused, World

LINE_BYTES_MAX = 64 * 1024
#: questions change nothing
_NO_STEPS = ("state",)


def handle(world: World, request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the answer to one request.

    :raises ControlRefused: when the site cannot do it.
    """
    device = request.get("device")
    match request.get("do"):
        case "tap":
            return {"mailbox_seq": world.present(device, source=UID, uid=_uid(request), side=request.get("side", "in"))}
        case "code":
            payload = str(request.get("text", "")).encode("utf-8")
            return {"mailbox_seq": world.present(device, source=CODE, payload=payload, side=request.get("side", "in"))}
        case "tap_flow":
            world.open_mixer(device, _flag(request, "open"))
        case "button":
            world.press_button(device)
        case "state":
            return {"at_ms": world.now_ms, "devices": world.state(device)}
        case "power_cut":
            hard = bool(request.get("hard", False))
            world.cut_power(device, _seconds(request), hard=hard, line_id=request.get("line"))
        case "noise":
            settings = request.get("settings", {})
            if not isinstance(settings, dict):
                raise ControlRefused("settings must be an object")
            world.set_noise(device, request.get("line"), settings)
        case "clock":
            world.set_clock(
                device,
                drift_ppm=_drift_ppm(request),
                has_battery=bool(request.get("battery", True)),
                lose=bool(request.get("lose", False)),
                line_id=request.get("line"),
            )
        case "fault":
            world.set_fault(device, request.get("fault"), _flag(request, "on"))
        case "pass":
            outcome = world.walk(device, request.get("direction"), force=bool(request.get("force", False)))
            if outcome == "locked":
                raise ControlRefused(f"{device} is locked in that direction")
            return {"outcome": outcome}
        case "silent":
            world.set_silent(device, _flag(request, "on"))
        case other:
            raise ControlRefused(f"cannot do {other!r}")
    return {}


def _uid(request: Mapping[str, Any]) -> bytes:
    try:
        uid = bytes.fromhex(str(request.get("uid")))
    except ValueError as error:
        raise ControlRefused(f"uid {request.get('uid')!r} is not hexadecimal") from error
    if not 4 <= len(uid) <= 10:
        raise ControlRefused("a uid has 4 to 10 bytes")
    return uid


def _flag(request: Mapping[str, Any], name: str) -> bool:
    value = request.get(name)
    if not isinstance(value, bool):
        raise ControlRefused(f"{name} must be true or false")
    return value


def _drift_ppm(request: Mapping[str, Any]) -> float:
    value = request.get("drift_ppm", 0)
    if not isinstance(value, int | float) or isinstance(value, bool) or not -100_000 <= value <= 100_000:
        raise ControlRefused("drift_ppm must be a number from -100000 to 100000")
    return float(value)


def _seconds(request: Mapping[str, Any]) -> float:
    value = request.get("seconds", 1)
    if not isinstance(value, int | float) or not 0 <= value <= 86_400:
        raise ControlRefused("seconds must be a number from 0 to 86400")
    return float(value)


class ControlServer:
    """Listens on 127.0.0.1."""

    def __init__(self, world: World, *, catch_up: Callable[[], None]) -> None:
        """`catch_up` brings the world to the present before it is asked anything."""
        self._world = world
        self._catch_up = catch_up
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int) -> int:
        """Listen; return the port, which the system chose when 0 was asked for."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=LINE_BYTES_MAX)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line beyond the limit
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _note(self, request: Mapping[str, Any]) -> None:
        where = request.get("device") or request.get("line") or ""
        given = {name: value for name, value in request.items() if name not in ("do", "device", "line")}
        self._world.on_step(str(request["do"]), str(where), {"given": given})

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ControlRefused("a request is a JSON object")
            self._catch_up()
            answer = {"ok": True, **handle(self._world, request)}
            if request["do"] not in _NO_STEPS:
                self._note(request)
            return answer
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            return {"ok": False, "error": f"not JSON: {error}"}
        except ControlRefused as refusal:
            return {"ok": False, "error": str(refusal)}
