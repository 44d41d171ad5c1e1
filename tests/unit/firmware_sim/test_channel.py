"""A line with a speed, with mishaps, on a terminal: what masters hear and when."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from firmware_sim.bus import LineServer
from firmware_sim.framing import rtu, tcp
from firmware_sim.timing import Timing
from tests.patience import PATIENCE_S
from tests.unit.firmware_sim.rig import OPEN, Bench
from tests.unit.firmware_sim.test_bus import OneUnit

MAGIC_PDU = bytes.fromhex("04 0000 0002")
MAGIC = bytes.fromhex("04 04 43485731")
SLOW = Timing(baud=1_200)


def served(
    body: Callable[[LineServer, int, OneUnit], Awaitable[None]], *, is_rtu: bool, timing: Timing | None = None
) -> None:
    async def run() -> None:
        line = OneUnit(Bench().ready())
        line.bench.outlet.frames = 0
        server = LineServer(line, now_ms=lambda: line.bench.now_ms, rtu=is_rtu, timing=timing)
        port = await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await body(server, port, line)
        finally:
            await server.stop()

    asyncio.run(run())


class TestTurns:
    def test_let_each_exchange_take_its_time_whoever_asks(self) -> None:
        async def body(server: LineServer, port: int, line: OneUnit) -> None:
            del server, line
            loop = asyncio.get_running_loop()
            masters = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            began = loop.time()
            for _, writer in masters:
                writer.write(tcp(1, 3, MAGIC_PDU) + tcp(2, 3, MAGIC_PDU))
            for reader, writer in masters:
                assert await reader.readexactly(26) == tcp(1, 3, MAGIC) + tcp(2, 3, MAGIC)
                writer.close()
            least = 4 * SLOW.exchange_s(8, 9) - SLOW.t35_s
            assert loop.time() - began >= least

        served(body, is_rtu=False, timing=SLOW)

    def test_do_nothing_before_the_request_has_arrived(self) -> None:
        async def body(server: LineServer, port: int, line: OneUnit) -> None:
            del server
            loop = asyncio.get_running_loop()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            frame = line.bench.frame("OPEN", token=9, **OPEN)
            data = b"".join(word.to_bytes(2, "big") for word in frame)
            request = bytes.fromhex("17 0120 0008 0100 0013 26") + data
            began = loop.time()
            writer.write(rtu(3, request))
            while not line.bench.outlet.dispense:
                await asyncio.sleep(0.01)
            opened_s = loop.time() - began
            answer = await reader.readexactly(21)
            answered_s = loop.time() - began
            assert answer[3:7] == bytes.fromhex("0009 0002")
            assert opened_s >= SLOW.wire_s(51)
            assert answered_s >= SLOW.exchange_s(51, 21) - SLOW.t35_s
            writer.close()

        served(body, is_rtu=True, timing=SLOW)


class TestNoiseOnALine:
    def test_may_be_switched_while_it_runs(self) -> None:
        async def body(server: LineServer, port: int, line: OneUnit) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            server.set_noise({"glued": 1.0}, 3)
            writer.write(tcp(1, 3, MAGIC_PDU))
            while line.bench.outlet.frames < 1:
                await asyncio.sleep(0.01)
            server.set_noise({"duplicated": 1.0}, 3)
            writer.write(tcp(2, 3, MAGIC_PDU))
            assert await reader.readexactly(39) == tcp(1, 3, MAGIC) + tcp(2, 3, MAGIC) * 2
            server.set_noise({"late": 1.0, "late_ms": 50}, 3)
            writer.write(tcp(3, 3, MAGIC_PDU))
            assert await reader.readexactly(13) == tcp(3, 3, MAGIC)
            server.set_noise({}, 3)
            assert server.is_plain
            writer.write(tcp(4, 3, MAGIC_PDU))
            assert await reader.readexactly(13) == tcp(4, 3, MAGIC)
            with pytest.raises(ValueError, match="no noise is called"):
                server.set_noise({"loud": 1})
            writer.close()

        served(body, is_rtu=False)

    def test_is_counted_by_the_units_that_hear_it(self) -> None:
        async def body(server: LineServer, port: int, line: OneUnit) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            server.set_noise({"ber": 1.0})
            writer.write(rtu(3, MAGIC_PDU))
            while not server.bad_frames:
                await asyncio.sleep(0.01)
            server.set_noise({})
            writer.write(rtu(3, MAGIC_PDU))
            assert await reader.readexactly(9) == rtu(3, MAGIC)
            assert line.bench.value("rx_crc_errors") == 1
            assert line.bench.value("rx_frames") == 1
            writer.close()

        served(body, is_rtu=True)


class TestTerminal:
    async def _ask(self, fd: int, request: bytes, size: int) -> bytes:
        loop, heard = asyncio.get_running_loop(), bytearray()
        arrived = asyncio.Event()

        def read() -> None:
            heard.extend(os.read(fd, 256))
            if len(heard) >= size:
                arrived.set()

        loop.add_reader(fd, read)
        os.write(fd, request)
        await arrived.wait()
        loop.remove_reader(fd)
        return bytes(heard)

    @pytest.mark.parametrize("timing", [None, Timing(baud=9_600)], ids=["at once", "9600 baud"])
    def test_answers_whoever_opens_it_one_after_the_other(self, tmp_path: Path, timing: Timing | None) -> None:
        async def body(server: LineServer, port: int, line: OneUnit) -> None:
            del port, line
            link = tmp_path / "ttyBUS0"
            path = server.open_terminal(link)
            assert path == str(link)
            for _ in range(2):
                fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
                assert await self._ask(fd, rtu(3, MAGIC_PDU), 9) == rtu(3, MAGIC)
                os.close(fd)
            await server.stop()
            assert not link.is_symlink()

        served(body, is_rtu=True, timing=timing)

    def test_shares_the_line_with_the_network(self) -> None:
        async def body(server: LineServer, port: int, line: OneUnit) -> None:
            fd = os.open(server.open_terminal(), os.O_RDWR | os.O_NOCTTY)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await self._ask(fd, rtu(3, MAGIC_PDU), 9) == rtu(3, MAGIC)
            writer.write(rtu(3, MAGIC_PDU))
            assert await reader.readexactly(9) == rtu(3, MAGIC)
            assert line.bench.outlet.frames == 2
            writer.close()
            os.close(fd)

        served(body, is_rtu=True)

    def test_loses_what_nobody_reads(self) -> None:
        async def body(server: LineServer, port: int, line: OneUnit) -> None:
            del port
            fd = os.open(server.open_terminal(), os.O_RDWR | os.O_NOCTTY)
            block = bytes.fromhex("03 0190 007D")
            for number in range(1, 60):
                os.write(fd, rtu(3, block))
                while line.bench.outlet.frames < number:
                    await asyncio.sleep(0.001)
            os.close(fd)

        served(body, is_rtu=True)
