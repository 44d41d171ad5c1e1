"""
A serial line inside TCP that flips bits, and loses, delays and doubles what comes back, by a seed.

What it does not do is repeat an answer when the next question is already out: a serial frame says nothing of the
question it answers, so one of the same unit, function and length could not be told from the right one by anybody.
"""

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishaps:
    """How bad a line is: chances for one bit, and for one whole answer."""

    bit_error: float = 1e-4
    lost: float = 0.0
    late: float = 0.0
    doubled: float = 0.0
    late_s: float = 0.3


class NoisyLine:
    """Stands between a gateway and the devices."""

    def __init__(self, port: int, mishaps: Mishaps, rng: random.Random) -> None:
        self._port, self._mishaps, self._rng = port, mishaps, rng
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: bits until the next one flips
        self._next = self._gap()
        #: frames by direction, bits that flipped, and what else happened
        self.counts: Counter[str] = Counter()

    def _gap(self) -> int:
        return int(self._rng.expovariate(self._mishaps.bit_error)) if self._mishaps.bit_error else 1 << 62

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _flip(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        while self._next < 8 * len(damaged):
            damaged[self._next // 8] ^= 1 << self._next % 8
            self.counts["bits flipped"] += 1
            self._next += 1 + self._gap()
        self._next -= 8 * len(damaged)
        self.counts["frames damaged"] += bytes(damaged) != data
        return bytes(damaged)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._down(reader, far_writer))
                group.create_task(self._up(far_reader, writer, group))
        except* (ConnectionError, EOFError):
            self.counts["connections ended"] += 1
        finally:
            for each in (writer, far_writer):
                each.close()
                with contextlib.suppress(ConnectionError):
                    await each.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        data = await reader.read(4096)
        if not data:
            raise EOFError
        return data

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(self._flip(await self._read(reader)))
            self.counts["requests"] += 1
            await asyncio.sleep(0)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, group: asyncio.TaskGroup) -> None:
        while True:
            data = self._flip(await self._read(reader))
            self.counts["answers"] += 1
            chance = self._rng.random()
            for what, share in (
                ("lost", self._mishaps.lost),
                ("late", self._mishaps.late),
                ("doubled", self._mishaps.doubled),
            ):
                if chance < share:
                    self.counts[what] += 1
                    break
                chance -= share
            else:
                what = ""
            if what == "late":
                group.create_task(self._later(writer, data))
            elif what == "doubled":
                writer.write(data + data)
            elif what != "lost":
                writer.write(data)

    async def _later(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        await asyncio.sleep(self._mishaps.late_s)
        writer.write(data)
