"""
How many requests a second the simulated bus answers: over a thousand outlets on 32 TCP ports in one process, asked by a
raw client, while the world moves on and some outlets run.

The server has one core and the client another, so that what is counted by the clock is what one core can serve. Asked
in two ways: one request in flight on each line, as a master on a serial line asks, and many, as the server's own limit.
What it does in a second of its own processor time does not depend on what else the machine is doing. The reference is a
server of the same kind that echoes frames and knows no device.
"""

import asyncio
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from firmware_sim.bus import LineServer
from firmware_sim.nvm import MemoryNvm
from firmware_sim.world import TICK_MS, World
from hardware.points import load
from tests.bench.figures import Figure

LINES, UNITS = 32, 40
IN_FLIGHT = 64
SECONDS = 4.0
GOAL = 20_000.0
#: of each line, the units with a running session
OPEN_UNITS = 2
_STATUS = bytes.fromhex("04 0064 001C")
_FLAGS = bytes.fromhex("02 0000 0010")


def plan() -> dict[str, Any]:
    """Return a site of outlets."""
    return {
        "seed": 7,
        "devices": [
            {
                "device_id": f"dev_{line}_{unit}",
                "line_id": f"l{line}",
                "unit": unit,
                "map_id": "chw.hwo1",
                "k_factor_pulses_per_m3": 450_000,
            }
            for line in range(LINES)
            for unit in range(1, UNITS + 1)
        ],
    }


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _open(world: World) -> None:
    """Start a session on the first outlets of each line."""
    command = load("chw.hwo1").block("cmd")
    for line in range(LINES):
        for unit in range(1, OPEN_UNITS + 1):
            token = unit
            values = {"cmd_token": token, "cmd_opcode": 1, "cmd_session": 7, "cmd_limit_volume": 200_000,
                      "cmd_limit_time": 1_800, "cmd_lease": 600, "cmd_idle": 600,
                      "cmd_commit": 0xA5C3 ^ token}  # fmt: skip
            data = b"".join(values.get(point.name, 0).to_bytes(point.words * 2, "big") for point in command.points)
            outlet = world.stations[f"dev_{line}_{unit}"].device
            assert outlet is not None
            outlet.write("holding", command.address, struct.unpack(">19H", data))


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def serve() -> None:
    """Run the site; print its ports when all outlets have booted; end when the input ends."""
    began_ms = _now_ms()
    world = World(plan(), open_nvm=lambda _: MemoryNvm(), now_ms=began_ms, unix_offset_ms=0)
    world.advance(began_ms + 500)
    _open(world)
    servers = [LineServer(world.lines[f"l{line}"], now_ms=_now_ms) for line in range(LINES)]
    ports = [await server.start("127.0.0.1", 0) for server in servers]
    echo = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    print(json.dumps({"ports": ports, "echo": echo.sockets[0].getsockname()[1]}), flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stopped.set)
    while not stopped.is_set():
        world.advance(_now_ms())
        await asyncio.sleep(TICK_MS / 1000)
    for server in servers:
        await server.stop()
    echo.close()


@contextmanager
def _site() -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.simulator_bus"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    cores = sorted(os.sched_getaffinity(0))
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        if len(cores) > 1:
            os.sched_setaffinity(process.pid, cores[:1])
            os.sched_setaffinity(0, cores[1:2])
        yield process, ready
    finally:
        os.sched_setaffinity(0, cores)
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Asker(asyncio.Protocol):
    """Keeps requests to one line in flight and counts bytes of answers, all of one length."""

    def __init__(self, request: bytes, answer_bytes: int, in_flight: int) -> None:
        self._request, self._answer_bytes, self._in_flight = request, answer_bytes, in_flight
        self._unit = 0
        self._bytes = 0
        self._open = 0
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask(self._in_flight)

    def _ask(self, count: int) -> None:
        frames = bytearray()
        for _ in range(count):
            self._unit = self._unit % UNITS + 1
            frames += struct.pack(">HHHB", self._unit, 0, len(self._request) + 1, self._unit) + self._request
        self._open += count
        self._transport.write(bytes(frames))

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        whole, self._bytes = divmod(self._bytes, self._answer_bytes)
        self.answers += whole
        self._open -= whole
        if self._open <= self._in_flight // 2:
            self._ask(self._in_flight - self._open)


async def _ask(
    ports: list[int], request: bytes, answer_bytes: int, in_flight: int, process: psutil.Process
) -> tuple[float, float]:
    """Return answers a second, and a second of the server's processor time."""
    loop = asyncio.get_running_loop()
    askers = []
    transports = []
    for port in ports:
        transport, asker = await loop.create_connection(
            lambda: _Asker(request, answer_bytes, in_flight), "127.0.0.1", port
        )
        askers.append(asker)
        transports.append(transport)
    await asyncio.sleep(0.5)
    before, busy, began = sum(asker.answers for asker in askers), process.cpu_times(), time.perf_counter()
    await asyncio.sleep(SECONDS)
    answers = sum(asker.answers for asker in askers) - before
    took, after = time.perf_counter() - began, process.cpu_times()
    for transport in transports:
        transport.abort()
    return answers / took, answers / (after.user + after.system - busy.user - busy.system)


def measure_simulator_bus() -> Iterator[Figure]:
    """Measure a site of its own."""
    own = "a core each" if len(os.sched_getaffinity(0)) > 1 else "one core together"
    with _site() as (popen, ready):
        process = psutil.Process(popen.pid)
        at_first = process.memory_info().rss / 1e6
        for in_flight, how in ((1, "one in flight a line"), (IN_FLIGHT, f"{IN_FLIGHT} in flight a line")):
            conditions = (
                f"{LINES * UNITS} outlets on {LINES} ports, {OPEN_UNITS * LINES} running; server and client {own}"
            )
            echo = [ready["echo"]] * LINES
            _, floor_busy = asyncio.run(_ask(echo, _STATUS, len(_STATUS) + 7, in_flight, process))
            for name, request, size in (("status block", _STATUS, 7 + 2 + 56), ("flags", _FLAGS, 7 + 2 + 2)):
                rate, busy = asyncio.run(_ask(ready["ports"], request, size, in_flight, process))
                yield Figure(f"simulated bus, {name}, {how}", rate, "req/s", "goal", GOAL, conditions)
                yield Figure(f"simulated bus, {name}, {how}, per busy core", busy, "req/s", "echo server", floor_busy,
                             conditions)  # fmt: skip
        at_last = process.memory_info().rss / 1e6
        yield Figure("simulated bus, memory after the load", at_last, "MB", "before it", at_first, conditions)


if __name__ == "__main__":
    asyncio.run(serve())
