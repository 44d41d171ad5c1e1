import asyncio
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.config import Line
from gateway.modbus.bus import Bus, Declined, NoAnswer, NotTried, Priority
from gateway.modbus.codec import crc16
from tests.patience import PATIENCE_S


class RegisterServer:
    """A Modbus TCP server of a few lines: 1 answers with the address, 2 never, 3 declines, 4 talks nonsense."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        for link in list(self._links):
            link.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.add(writer)
        try:
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                pdu = await reader.readexactly(length - 1)
                function, address, count = struct.unpack(">BHH", pdu[:5])
                self.asked.append((unit, address))
                await self.gate.wait()
                if unit == 2:
                    continue
                answer = bytes([function, 2 * count]) + struct.pack(f">{count}H", *range(address, address + count))
                if unit == 3:
                    answer = bytes([function | 0x80, 2])
                writer.write(struct.pack(">HHHB", tid, 7 if unit == 4 else 0, len(answer) + 1, unit) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._links.discard(writer)
            writer.close()


def on_a_line(work: Callable[[Bus, RegisterServer], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        server = RegisterServer()
        await server.start()
        bus = Bus(Line(line_id="l1", transport="tcp", host="127.0.0.1", port=server.port, timeout_ms=50))
        bus.start()
        try:
            await work(bus, server)
        finally:
            await bus.stop()
            await server.stop()

    asyncio.run(run())


async def read(bus: Bus, unit: int, address: int, priority: Priority = Priority.SLOW) -> list[int]:
    return await bus.read_input(unit, address, 2, priority)


class TestBus:
    def test_reads(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            assert await read(bus, 1, 100) == [100, 101]

        on_a_line(work)

    def test_serves_the_more_urgent_first(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            await read(bus, 1, 0)
            server.gate.clear()
            first = asyncio.create_task(read(bus, 1, 1))
            await asyncio.sleep(0.01)
            rest = [
                asyncio.create_task(read(bus, 1, 10 + priority, priority))
                for priority in sorted(Priority, reverse=True)
            ]
            await asyncio.sleep(0.01)
            server.gate.set()
            await asyncio.gather(first, *rest)
            assert [address for _, address in server.asked if address >= 10] == [10 + p for p in sorted(Priority)]

        on_a_line(work)

    def test_an_exception_of_the_device_is_no_silence(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            for _ in range(4):
                with pytest.raises(Declined, match="exception 2"):
                    await read(bus, 3, 0)
            assert bus.unit(3).failures == 0

        on_a_line(work)

    def test_leaves_a_silent_unit_alone_but_still_tries_to_close_it(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            for _ in range(2):
                with pytest.raises(NoAnswer):
                    await read(bus, 2, 0)
            with pytest.raises(NoAnswer):  # the one probe
                await read(bus, 2, 0)
            asked = len(server.asked)
            for _ in range(10):
                with pytest.raises(NotTried):
                    await read(bus, 2, 0)
            assert len(server.asked) == asked
            assert await read(bus, 1, 5) == [5, 6]
            with pytest.raises(NoAnswer):
                await read(bus, 2, 0, Priority.CLOSE)
            assert bus.errors == 4

        on_a_line(work)

    def test_comes_back_with_the_line(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            assert await read(bus, 1, 0) == [0, 1]
            await server.stop()
            with pytest.raises((NoAnswer, NotTried)):
                await read(bus, 1, 0)
            await server.start(server.port)
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        assert await read(bus, 1, 0, Priority.CLOSE) == [0, 1]
                    except (NoAnswer, NotTried):
                        await asyncio.sleep(0.02)
                    else:
                        break

        on_a_line(work)


class TestCrcErrors:
    def test_counts_answers_that_are_no_frame_each_try_of_them(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            with pytest.raises(NoAnswer):
                await read(bus, 4, 0)
            with pytest.raises(NoAnswer):
                await read(bus, 2, 0)
            assert await read(bus, 1, 0) == [0, 1]
            assert (bus.unit(4).crc_errors, bus.unit(2).crc_errors, bus.unit(1).crc_errors) == (2, 0, 0)

        on_a_line(work)

    def test_counts_a_wrong_checksum_and_takes_the_repeated_answer(self) -> None:
        async def run() -> None:
            sent = 0

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal sent
                while frame := await reader.read(8):
                    body = bytes([frame[0], frame[1], 4, 0, 1, 0, 2])
                    sent += 1
                    writer.write(body + (crc16(body) ^ (sent == 1)).to_bytes(2, "little"))
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            bus = Bus(Line(line_id="l1", transport="rtu_tcp", host="127.0.0.1", port=port, timeout_ms=50))
            bus.start()
            assert await read(bus, 1, 0) == [1, 2]
            assert (bus.unit(1).crc_errors, bus.unit(1).failures) == (1, 0)
            await bus.stop()
            server.close()

        asyncio.run(run())


class TestLook:
    def test_asks_once_briefly_and_leaves_no_trace(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            await read(bus, 1, 0)
            begun = asyncio.get_running_loop().time()
            for _ in range(6):
                with pytest.raises(NoAnswer):
                    await bus.look(2, 0, 2, is_quiet=lambda: True)
            assert asyncio.get_running_loop().time() - begun < 0.9
            assert server.asked.count((2, 0)) == 6
            assert (bus.errors, bus.unit(2).failures, bus.unit(2).timeouts) == (0, 0, 0)
            assert await bus.look(1, 5, 2, is_quiet=lambda: True) == [5, 6]
            with pytest.raises(Declined):
                await bus.look(3, 0, 2, is_quiet=lambda: True)

        on_a_line(work)

    def test_stands_behind_everything_and_gives_up_when_the_line_is_no_longer_quiet(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            await read(bus, 1, 0)
            server.gate.clear()
            quiet = True
            first = asyncio.create_task(read(bus, 1, 1))
            await asyncio.sleep(0.01)
            look = asyncio.create_task(bus.look(1, 99, 2, is_quiet=lambda: quiet))
            await asyncio.sleep(0.01)
            tap = asyncio.create_task(read(bus, 1, 50, Priority.SLOW))
            await asyncio.sleep(0)
            quiet = False
            server.gate.set()
            await asyncio.gather(first, tap)
            with pytest.raises(NotTried):
                await look
            assert (1, 99) not in server.asked

        on_a_line(work)

    def test_does_not_open_a_line(self) -> None:
        async def work(bus: Bus, server: RegisterServer) -> None:
            with pytest.raises(NotTried):
                await bus.look(1, 0, 2, is_quiet=lambda: True)
            assert not server.asked

        on_a_line(work)
