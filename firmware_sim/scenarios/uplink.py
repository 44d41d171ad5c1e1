"""
A bad way between gateways and broker: cut, slow, with messages twice and connections lost before the answer.

A relay of our own on the loopback. What it does to a message is what MQTT lets happen: a message of quality 0 may be
lost; one of quality 1 may come twice, and a sender may lose the connection before it hears that it arrived, and sends
it again. Order within a connection is kept, as TCP keeps it. It runs in a thread of its own; its settings may be
changed at any time.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from firmware_sim.scenarios.mqtt_frames import CONNECT, PUBACK, PUBLISH, NotMqtt, Packet, take

_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the way does now."""

    cut: bool = False
    duplicate: float = 0.0
    lose: float = 0.0
    delay_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """
    Something on the way: a message `up` or `down` before it is handed on, or what befell one or a connection.

    `client` is the name under which a connection came. `twice`, `lost` and `broken` follow a message; `cut`,
    `refused` and `connected` are about the way itself.
    """

    what: str
    client: str = ""
    topic: str = ""
    payload: bytes = b""


def _unheard(passing: Passing) -> None:
    """Hear of something on the way and do nothing."""


@dataclass(slots=True)
class Tally:
    """What the way has done so far."""

    connections: int = 0
    refused: int = 0
    duplicated: int = 0
    dropped: int = 0
    broken: int = 0


@dataclass(slots=True)
class _Way:
    """One connection; its name is known from its first packet."""

    client: str = ""


class UplinkRelay:
    """Start it, point gateways at `port`, and change its weather."""

    def __init__(self, *, broker_port: int, seed: int, weather: Weather | None = None) -> None:
        self._broker_port = broker_port
        self._rng = random.Random(f"uplink-{seed}")
        self._weather = weather or Weather()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="uplink", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.tally = Tally()
        self.port = 0
        #: hears, in the relay's own thread, of everything on the way, before it arrives
        self.on_passing: Callable[[Passing], None] = _unheard

    def start(self, port: int = 0) -> int:
        """Listen on the loopback; return the port."""
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result(10)
        return self.port

    def stop(self) -> None:
        """Drop every connection and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def change(self, **weather: object) -> None:
        """Change some of the weather; a cut drops every connection at once."""
        self._weather = replace(self._weather, **weather)  # type: ignore[arg-type]
        if self._weather.cut:
            self.on_passing(Passing(what="cut"))
            self._loop.call_soon_threadsafe(self._drop)

    @property
    def weather(self) -> Weather:
        """Return the weather now."""
        return self._weather

    def _drop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _listen(self, port: int) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # a cut; the task ends here
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather.cut:
            self.tally.refused += 1
            self.on_passing(Passing(what="refused"))
            return
        self.tally.connections += 1
        self.on_passing(Passing(what="connected"))
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            return
        #: packet ids whose second answer the sender must not see
        up_twice: set[int] = set()
        down_twice: set[int] = set()
        way = _Way()
        ways = [
            asyncio.create_task(self._carry("up", way, reader, far_writer, up_twice, down_twice)),
            asyncio.create_task(self._carry("down", way, far_reader, writer, down_twice, up_twice)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ways:
                task.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()

    async def _carry(
        self, direction: str, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        twice: set[int], answers_twice: set[int],
    ) -> None:  # fmt: skip
        """Carry packets one way until either end is gone or the way breaks."""
        data = bytearray()
        with contextlib.suppress(ConnectionError, NotMqtt):
            while chunk := await reader.read(_READ_BYTES):
                data += chunk
                while (packet := take(data)) is not None:
                    if self._weather.delay_ms:
                        await asyncio.sleep(self._weather.delay_ms / 1000)
                    if not self._pass(direction, way, packet, writer, twice, answers_twice):
                        await writer.drain()
                        return
                await writer.drain()

    def _pass(
        self, direction: str, way: _Way, packet: Packet, writer: asyncio.StreamWriter, twice: set[int],
        answers_twice: set[int],
    ) -> bool:  # fmt: skip
        """Hand a packet on, or not, or twice; return False when the connection is to break now."""
        number = packet.packet_id()
        if packet.kind == CONNECT:
            way.client = packet.client_id()
        if packet.kind == PUBACK and number in answers_twice:
            answers_twice.discard(number)
            return True
        if packet.kind != PUBLISH:
            writer.write(packet.raw)
            return True
        weather = self._weather
        topic, payload = packet.message()
        if self._rng.random() < weather.lose:
            if packet.quality:
                self.on_passing(Passing(what=direction, client=way.client, topic=topic, payload=payload))
                self.on_passing(Passing(what="broken", client=way.client, topic=topic))
                self.tally.broken += 1
                writer.write(packet.raw)  # it arrives, but whoever sent it does not hear so
                return False
            self.tally.dropped += 1
            self.on_passing(Passing(what="lost", client=way.client, topic=topic))
            return True
        self.on_passing(Passing(what=direction, client=way.client, topic=topic, payload=payload))
        writer.write(packet.raw)
        if self._rng.random() < weather.duplicate:
            self.on_passing(Passing(what="twice", client=way.client, topic=topic))
            self.tally.duplicated += 1
            writer.write(packet.again())
            if number is not None:
                twice.add(number)
        return True
