import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from gateway.config import Line
from gateway.modbus import functions
from gateway.modbus.bus import Bus, NoAnswer, NotTried, Priority
from gateway.modbus.frames import Questions, TcpAnswer
from gateway.modbus.tcp import SILENT_MAX
from tests.patience import PATIENCE_S

Frame = tuple[int, int, bytes]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            await asyncio.sleep(0.002)


class Peer:
    """The other side of a line: it keeps what is asked, and says exactly what a test tells it to."""

    def __init__(self) -> None:
        self.asked: list[Frame] = []
        self.connections = 0
        self.auto = True
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writer = writer
        try:
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                pdu = await reader.readexactly(length - 1)
                self.asked.append((tid, unit, pdu))
                if self.auto:
                    self.answer(tid, unit, words(unit, pdu))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def answer(self, tid: int, unit: int, pdu: bytes) -> None:
        self.say(struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu)

    def say(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def hang_up(self) -> None:
        assert self._writer is not None
        self._writer.close()


def words(unit: int, pdu: bytes) -> bytes:
    """Return an answer of as many words as were asked for, each the unit."""
    (count,) = struct.unpack_from(">H", pdu, 3)
    return bytes((pdu[0], 2 * count)) + struct.pack(">H", unit) * count


def on_a_line(
    work: Callable[[Bus, Peer], Awaitable[None]], *, in_flight: int = 1, timeout_ms: int = 20_000, auto: bool = True
) -> None:
    async def run() -> None:
        peer = Peer()
        peer.auto = auto
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        line = Line(
            line_id="l1", transport="tcp", host="127.0.0.1", port=port, timeout_ms=timeout_ms, in_flight=in_flight
        )
        bus = Bus(line)
        bus.start()
        try:
            await work(bus, peer)
        finally:
            await bus.stop()
            server.close()

    asyncio.run(run())


def read(bus: Bus, unit: int, count: int = 2) -> "asyncio.Task[list[int]]":
    return asyncio.create_task(bus.read_input(unit, 100, count, Priority.HOT))


class TestQuestions:
    @pytest.mark.parametrize(
        ("ours", "library"),
        [
            (Questions.read_coils(5, count=9, device_id=1), ReadCoilsRequest(address=5, count=9)),
            (Questions.read_discrete_inputs(0, count=16, device_id=1), ReadDiscreteInputsRequest(address=0, count=16)),
            (
                Questions.read_holding_registers(64, count=2, device_id=1),
                ReadHoldingRegistersRequest(address=64, count=2),
            ),
            (
                Questions.read_input_registers(100, count=28, device_id=1),
                ReadInputRegistersRequest(address=100, count=28),
            ),
            (Questions.write_coil(7, True, device_id=1), WriteSingleCoilRequest(address=7, bits=[True])),
            (Questions.write_coil(7, False, device_id=1), WriteSingleCoilRequest(address=7, bits=[False])),
            (Questions.write_register(90, 513, device_id=1), WriteSingleRegisterRequest(address=90, registers=[513])),
            (
                Questions.write_coils(3, [True, False, True] * 3, device_id=1),
                WriteMultipleCoilsRequest(address=3, bits=[True, False, True] * 3),
            ),
            (
                Questions.write_registers(256, list(range(19)), device_id=1),
                WriteMultipleRegistersRequest(address=256, registers=list(range(19))),
            ),
            (
                Questions.mask_write_register(address=4, and_mask=0xF2, or_mask=0x25, device_id=1),
                MaskWriteRegisterRequest(address=4, and_mask=0xF2, or_mask=0x25),
            ),
            (
                Questions.readwrite_registers(
                    read_address=288, read_count=8, write_address=256, values=[1, 2, 3], device_id=1
                ),
                ReadWriteMultipleRegistersRequest(
                    read_address=288, read_count=8, write_address=256, write_registers=[1, 2, 3]
                ),
            ),
        ],
    )
    def test_are_the_bytes_of_the_library(self, ours: bytes, library: ModbusPDU) -> None:
        assert ours == bytes((library.function_code,)) + library.encode()


class TestTcpAnswer:
    def test_takes_words_apart(self) -> None:
        assert TcpAnswer(b"\x04\x04\x12\x34\xff\xff").registers == (0x1234, 0xFFFF)

    def test_takes_bits_apart(self) -> None:
        bits = TcpAnswer(b"\x02\x02\x01\x82").bits

        assert [at for at, bit in enumerate(bits) if bit] == [0, 9, 15]

    def test_knows_an_exception(self) -> None:
        answer = TcpAnswer(b"\x84\x02")

        assert (answer.isError(), answer.exception_code) == (True, 2)

    @pytest.mark.parametrize(
        "pdu", [b"\x04\x04\x00\x01", b"\x04\x03\x00\x01\x00", b"\x02\x05\x00", b"\x84", b"\x84\x02\x00", b"\x04"]
    )
    def test_refuses_what_is_not_as_long_as_it_says(self, pdu: bytes) -> None:
        with pytest.raises((ValueError, IndexError)):
            TcpAnswer(pdu)


class TestInFlight:
    def test_one_after_another_unless_the_line_says_more(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            tasks = [read(bus, unit) for unit in (1, 2, 3)]
            for number in (1, 2, 3):
                await until(lambda number=number: len(peer.asked) >= number)  # type: ignore[misc]
                await asyncio.sleep(0.02)
                assert len(peer.asked) == number
                tid, unit, pdu = peer.asked[-1]
                peer.answer(tid, unit, words(unit, pdu))
            assert await asyncio.gather(*tasks) == [[1, 1], [2, 2], [3, 3]]

        on_a_line(work, auto=False)

    def test_several_units_at_once_and_answers_in_any_order(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            tasks = [read(bus, unit) for unit in range(1, 7)]
            await until(lambda: len(peer.asked) == 4)
            for tid, unit, pdu in reversed(peer.asked[:4]):
                peer.answer(tid, unit, words(unit, pdu))
            await until(lambda: len(peer.asked) == 6)
            for tid, unit, pdu in peer.asked[4:]:
                peer.answer(tid, unit, words(unit, pdu))
            assert await asyncio.gather(*tasks) == [[unit, unit] for unit in range(1, 7)]

        on_a_line(work, in_flight=4, auto=False)

    def test_never_two_to_the_same_unit(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            tasks = [read(bus, 1), read(bus, 1), read(bus, 2)]
            await until(lambda: len(peer.asked) == 2)
            assert sorted(unit for _, unit, _ in peer.asked) == [1, 2]
            for tid, unit, pdu in list(peer.asked):
                peer.answer(tid, unit, words(unit, pdu))
            await until(lambda: len(peer.asked) == 3)
            tid, unit, pdu = peer.asked[-1]
            assert unit == 1
            peer.answer(tid, unit, words(unit, pdu))
            await asyncio.gather(*tasks)

        on_a_line(work, in_flight=8, auto=False)

    def test_busy_time_is_counted_once_however_many_are_under_way(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            began = asyncio.get_running_loop().time()
            await asyncio.gather(*(read(bus, unit) for unit in range(1, 17)))
            assert bus.requests == 16
            assert 0 < bus.busy_s <= asyncio.get_running_loop().time() - began

        on_a_line(work, in_flight=16)


class TestRequests:
    def test_a_relay_that_takes_a_time_is_told_it_with_function_code_5(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            task = asyncio.create_task(functions.write_delay(bus, 3, 0x0200, 70, Priority.OPEN))
            await until(lambda: bool(peer.asked))
            tid, unit, pdu = peer.asked[0]
            assert (unit, pdu) == (3, b"\x05\x02\x00\x00\x46")
            peer.answer(tid, unit, pdu)
            await task

        on_a_line(work, auto=False)

    def test_what_cannot_be_put_into_a_frame_keeps_nobody_waiting(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            with pytest.raises(NotTried, match="frame"):
                await bus.write(1, 0, [70_000], Priority.OPEN)
            assert await read(bus, 1) == [1, 1]

        on_a_line(work)


class TestHeard:
    def test_a_late_answer_is_nobodys(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            task = read(bus, 1)
            await until(lambda: bool(peer.asked))
            tid, unit, pdu = peer.asked[0]
            peer.answer(tid - 1 & 0xFFFF, unit, words(9, pdu))
            peer.answer(tid, unit, words(unit, pdu))
            assert await task == [1, 1]
            assert bus.unit(1).crc_errors == 0

        on_a_line(work, auto=False)

    def test_frames_may_come_in_pieces_or_glued(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            tasks = [read(bus, 1), read(bus, 2)]
            await until(lambda: len(peer.asked) == 2)
            frames = b""
            for tid, unit, pdu in peer.asked:
                body = words(unit, pdu)
                frames += struct.pack(">HHHB", tid, 0, len(body) + 1, unit) + body
            for piece in (frames[:3], frames[3:9], frames[9:14], frames[14:]):
                peer.say(piece)
                await asyncio.sleep(0.01)
            assert await asyncio.gather(*tasks) == [[1, 1], [2, 2]]

        on_a_line(work, in_flight=2, auto=False)

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda tid, unit, pdu: struct.pack(">HHHB", tid, 0, 7, unit + 1) + words(unit, pdu),
            lambda tid, unit, pdu: struct.pack(">HHHB", tid, 0, 7, unit) + b"\x03" + words(unit, pdu)[1:],
            lambda tid, unit, pdu: struct.pack(">HHHB", tid, 0, 5, unit) + b"\x04\x04\x00\x00",
            lambda tid, unit, pdu: struct.pack(">HHHB", tid, 7, 7, unit) + words(unit, pdu),
            lambda tid, unit, pdu: struct.pack(">HHHB", tid, 0, 0, unit) + words(unit, pdu),
            lambda tid, unit, pdu: struct.pack(">HHHB", tid, 0, 9_000, unit) + words(unit, pdu),
            lambda tid, unit, pdu: struct.pack(">HHHB", tid, 0, 7, unit) + b"\x04",
        ],
        ids=["unit", "function", "length", "protocol", "empty", "too long", "cut short"],
    )
    def test_what_is_no_answer_is_counted_and_asked_again(self, wrong: Callable[[int, int, bytes], bytes]) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            task = read(bus, 1)
            await until(lambda: bool(peer.asked))
            peer.say(wrong(*peer.asked[0]))
            await until(lambda: len(peer.asked) == 2)
            tid, unit, pdu = peer.asked[1]
            peer.answer(tid, unit, words(unit, pdu))
            assert await task == [1, 1]
            assert (bus.unit(1).crc_errors, bus.unit(1).failures) == (1, 0)

        on_a_line(work, auto=False, timeout_ms=400)


class TestConnection:
    def test_lost_means_not_known_to_have_arrived_and_is_made_anew(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            tasks = [read(bus, 1), read(bus, 2)]
            await until(lambda: len(peer.asked) == 2)
            peer.hang_up()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(each) for each in found] == [NoAnswer, NoAnswer]
            peer.auto = True
            assert await read(bus, 1) == [1, 1]
            assert peer.connections == 2

        on_a_line(work, in_flight=2, auto=False)

    def test_that_says_nothing_any_more_is_made_anew(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            for unit in range(1, SILENT_MAX + 1):
                with pytest.raises(NoAnswer):
                    await read(bus, unit)
            peer.auto = True
            async with asyncio.timeout(PATIENCE_S):
                while peer.connections < 2:
                    try:
                        await bus.read_input(200, 0, 1, Priority.CLOSE)
                    except (NoAnswer, NotTried):
                        await asyncio.sleep(0.01)

        on_a_line(work, auto=False, timeout_ms=20)

    def test_stopping_tells_everybody(self) -> None:
        async def work(bus: Bus, peer: Peer) -> None:
            tasks = [read(bus, 1), read(bus, 2)]
            await until(lambda: len(peer.asked) == 1)
            await bus.stop()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(each) for each in found] == [NoAnswer, NotTried]

        on_a_line(work, auto=False)
