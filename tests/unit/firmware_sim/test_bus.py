"""The line, as independent peers see it: pymodbus, libmodbus (mbpoll) and raw sockets."""

import asyncio
import shutil
import struct
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from firmware_sim.bus import LineServer
from firmware_sim.codec import crc16
from firmware_sim.pdu import Unit
from tests.patience import PATIENCE_S
from tests.unit.firmware_sim.rig import OPEN, Bench

T = TypeVar("T")


class OneUnit:
    """A line with one outlet at unit 3."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.silent = False

    def unit(self, unit_id: int) -> Unit | None:
        return self.bench.outlet if unit_id == 3 and not self.silent else None

    def units(self) -> Sequence[Unit]:
        return [self.bench.outlet]


def served(body: Callable[[int, OneUnit], Awaitable[T]], *, rtu: bool = False) -> T:
    """Run `body` against a fresh line on a port of the system's choice."""

    async def run() -> T:
        line = OneUnit(Bench().ready())
        server = LineServer(line, now_ms=lambda: line.bench.now_ms, rtu=rtu)
        port = await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await body(port, line)
        finally:
            await server.stop()

    return asyncio.run(run())


class TestWithPymodbus:
    @pytest.mark.parametrize("rtu", [False, True], ids=["tcp", "rtu over tcp"])
    def test_reads_identity_opens_and_sees_the_flags(self, rtu: bool) -> None:
        async def body(port: int, line: OneUnit) -> None:
            framer = FramerType.RTU if rtu else FramerType.SOCKET
            client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=PATIENCE_S, retries=0, framer=framer)
            assert await client.connect()
            identity = await client.read_input_registers(0, count=45, device_id=3)
            assert identity.registers[:3] == [0x4348, 0x5731, 0x4801]
            frame = line.bench.frame("OPEN", token=9, **OPEN)
            result = await client.readwrite_registers(
                read_address=288, read_count=8, write_address=256, values=frame, device_id=3
            )
            assert result.registers[:2] == [9, 2]
            line.bench.run(1_000)
            flags = await client.read_discrete_inputs(0, count=16, device_id=3)
            assert flags.bits[:3] == [True, True, True]
            refused = await client.write_register(256, 1, device_id=3)
            assert refused.isError()
            assert refused.exception_code == 3
            assert not (await client.write_coil(0, True, device_id=3)).isError()
            assert (await client.read_coils(0, count=2, device_id=3)).bits[:2] == [True, False]
            assert (await client.read_holding_registers(400, count=125, device_id=3)).registers[3] == 2
            client.close()

        served(body, rtu=rtu)

    def test_an_absent_unit_is_silent(self) -> None:
        async def body(port: int, line: OneUnit) -> None:
            client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=0.2, retries=0)
            await client.connect()
            with pytest.raises(ModbusIOException):
                await client.read_input_registers(0, count=1, device_id=4)
            line.silent = True
            with pytest.raises(ModbusIOException):
                await client.read_input_registers(0, count=1, device_id=3)
            client.close()

        served(body)


async def talk(port: int, *pieces: bytes, want: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = await reader.readexactly(want) if want else await reader.read()
    writer.close()
    return answer


def mbap(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


READ_MAGIC = bytes.fromhex("0400000002")
MAGIC = bytes.fromhex("040443485731")


class TestWithRawBytes:
    def test_answers_requests_in_flight_in_order_and_in_pieces(self) -> None:
        async def body(port: int, line: OneUnit) -> bytes:
            stream = b"".join(mbap(number, 3, READ_MAGIC) for number in range(1, 6))
            return await talk(port, stream[:7], stream[7:20], stream[20:], want=5 * 13)

        assert served(body) == b"".join(mbap(number, 3, MAGIC) for number in range(1, 6))

    @pytest.mark.parametrize("bad", [b"\x00\x01\x00\x01\x00\x06\x03\x04", b"\x00\x01\x00\x00\xff\xff\x03\x04"])
    def test_drops_a_peer_that_does_not_speak_modbus(self, bad: bytes) -> None:
        async def body(port: int, line: OneUnit) -> bytes:
            try:
                return await talk(port, bad + b"\0" * 8, want=0)
            except ConnectionError:
                return b""

        assert served(body) == b""

    def test_takes_a_broadcast_clock_in_silence(self) -> None:
        async def body(port: int, line: OneUnit) -> int:
            pdu = bytes.fromhex("10004500030670000000") + b"\x00\x00"
            answer = await talk(port, mbap(1, 0, pdu) + mbap(2, 3, READ_MAGIC), want=13)
            assert answer == mbap(2, 3, MAGIC)
            return line.bench.value("unix_time")

        assert served(body) == 0x70000000

    def test_rtu_ignores_a_wrong_checksum_and_goes_on(self) -> None:
        def rtu_frame(damage: int) -> bytes:
            body = b"\x03" + READ_MAGIC
            return body + (crc16(body) ^ damage).to_bytes(2, "little")

        async def body(port: int, line: OneUnit) -> bytes:
            return await talk(port, rtu_frame(1), rtu_frame(0), want=9)

        assert served(body, rtu=True)[:7] == b"\x03" + MAGIC


@pytest.fixture
def line_port() -> Iterator[int]:
    """Yield the port of a line served from another thread, for peers that are processes."""
    ready, ports, loop = threading.Event(), [], asyncio.new_event_loop()
    server: list[LineServer] = []

    async def start() -> None:
        line = OneUnit(Bench().ready())
        server.append(LineServer(line, now_ms=lambda: line.bench.now_ms))
        ports.append(await server[0].start("127.0.0.1", 0))
        ready.set()

    loop.create_task(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert ready.wait(PATIENCE_S)
    yield ports[0]
    asyncio.run_coroutine_threadsafe(server[0].stop(), loop).result(PATIENCE_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE_S)
    loop.close()


def mbpoll(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("mbpoll")
    assert program, "mbpoll is missing: apt-get install mbpoll"
    command = [program, "-m", "tcp", "-p", str(port), "-0", "-1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def values(output: str) -> dict[int, str]:
    """Return address → printed value."""
    lines = [line.split(":", 1) for line in output.splitlines() if line.startswith("[")]
    return {int(address.strip("[] ")): value.strip() for address, value in lines}


class TestWithLibmodbus:
    def test_reads_identity_and_status(self, line_port: int) -> None:
        identity = mbpoll(line_port, "-a", "3", "-r", "0", "-c", "45", "-t", "3:hex", "127.0.0.1")
        status = mbpoll(line_port, "-a", "3", "-r", "100", "-c", "28", "-t", "3", "127.0.0.1")

        assert identity.returncode == status.returncode == 0
        assert [values(identity.stdout)[n] for n in range(3)] == ["0x4348", "0x5731", "0x4801"]
        assert values(status.stdout)[101] == "1"
        assert values(status.stdout)[100] == values(status.stdout)[127]

    def test_reads_the_k_factor_as_one_number(self, line_port: int) -> None:
        read = mbpoll(line_port, "-a", "3", "-r", "41", "-c", "1", "-t", "3:int", "-B", "127.0.0.1")

        assert values(read.stdout)[41] == "450000"

    def test_is_told_of_an_illegal_address_and_of_silence(self, line_port: int) -> None:
        illegal = mbpoll(line_port, "-a", "3", "-r", "45", "-c", "1", "-t", "3", "127.0.0.1")
        silent = mbpoll(line_port, "-a", "9", "-r", "0", "-c", "1", "-t", "3", "-o", "0.3", "127.0.0.1")

        assert "Illegal data address" in illegal.stderr
        assert "timed out" in silent.stderr

    def test_writes_registers(self, line_port: int) -> None:
        written = mbpoll(line_port, "-a", "3", "-r", "89", "-t", "4", "127.0.0.1", "1", "2")
        read = mbpoll(line_port, "-a", "3", "-r", "89", "-c", "2", "-t", "4", "127.0.0.1")

        assert written.returncode == 0
        assert values(read.stdout) == {89: "1", 90: "2"}
