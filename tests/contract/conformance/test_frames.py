"""What is on the wire: refusals, lengths beyond the greatest, silence, damage, pieces, glue and gaps; byte by byte."""

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.contract.conformance.targets import ABSENT, GAP_S, MEMORY, OUTLET, TRANSPORTS, SimTarget
from tests.contract.conformance.wire import Wire, crc

Line = tuple[SimTarget, Wire]
READ_MAGIC = bytes.fromhex("04 0000 0002")
MAGIC = bytes.fromhex("04 04 43485731")
SERIAL = [transport for transport in TRANSPORTS if transport != "tcp"]


@pytest.fixture
def connect() -> Iterator[Callable[[str], Line]]:
    """Yield what starts a target on a transport and opens a wire to it."""
    with ExitStack() as stack:

        def start(transport: str) -> Line:
            target = SimTarget(transport)
            target.start()
            stack.callback(target.stop)
            wire = Wire(target.address, transport)
            stack.callback(wire.close)
            return target, wire

        yield start


def test_the_check_bytes_of_published_frames() -> None:
    assert crc(bytes.fromhex("01 03 00 00 00 0A")) == bytes.fromhex("C5 CD")
    assert crc(bytes.fromhex("0C 14 07 06 0004 0001 0008")) == bytes.fromhex("C9 18")
    assert crc(bytes.fromhex("F7 14 07 06 0003 0000 0004")) == bytes.fromhex("59 3B")
    assert crc(bytes.fromhex("01 03 00 00 00 05")) == bytes.fromhex("85 C9")  # a public tutorial has 84 4D


@pytest.mark.parametrize("transport", TRANSPORTS)
class TestRefusals:
    @pytest.mark.parametrize("function", [7, 8, 20, 24, 43, 65, 100], ids=lambda number: f"fc{number}")
    def test_of_functions_nobody_has(self, connect: Callable[[str], Line], transport: str, function: int) -> None:
        _, wire = connect(transport)

        assert wire.ask(OUTLET, bytes([function, 0, 0, 0, 1]), 2) == bytes([function | 0x80, 1])
        assert wire.ask(OUTLET, READ_MAGIC, 6) == MAGIC

    @pytest.mark.parametrize(
        ("unit", "pdu", "code"),
        [
            (MEMORY, "01 0000 07D1", 3),
            (MEMORY, "02 0000 07D1", 3),
            (MEMORY, "03 0000 007E", 3),
            (MEMORY, "04 0000 007E", 3),
            (MEMORY, "04 0000 0000", 3),
            (MEMORY, "04 FFFF 0002", 2),
            (MEMORY, "05 0000 0001", 3),
            (MEMORY, "0F 0000 07B1 F7" + 247 * "00", 3),
            (MEMORY, "0F 0000 0009 01 00", 3),
            (MEMORY, "10 0000 0000 00", 3),
            (MEMORY, "10 0000 0002 02 0001", 3),
            (MEMORY, "10 FFFF 0002 04 0001 0002", 2),
            (MEMORY, "17 0000 007E 0000 0001 02 0001", 3),
            (MEMORY, "17 0000 0001 0000 0000 00", 3),
            (MEMORY, "17 0000 0001 0000 0002 02 0001", 3),
            (OUTLET, "16 0000 FFFF 0000", 2),
            (OUTLET, "17 0120 0008 0100 0012 24" + 36 * "00", 3),
        ],
    )
    def test_of_what_is_out_of_bounds(
        self, connect: Callable[[str], Line], transport: str, unit: int, pdu: str, code: int
    ) -> None:
        target, wire = connect(transport)
        request = bytes.fromhex(pdu)

        assert wire.ask(unit, request, 2) == bytes([request[0] | 0x80, code])
        assert target.line.memory.writes == 0
        assert wire.ask(OUTLET, READ_MAGIC, 6) == MAGIC

    @pytest.mark.parametrize(
        "pdu",
        ["10 0000 007C F8" + 124 * "0001", "17 0000 0001 0000 007A F4" + 122 * "0001"],
        ids=["fc16 of 124", "fc23 of 122"],
    )
    def test_of_frames_longer_than_any(self, connect: Callable[[str], Line], transport: str, pdu: str) -> None:
        """A frame that no buffer must hold is refused, unheard, or ends the connection; it is not obeyed."""
        target, wire = connect(transport)
        request = bytes.fromhex(pdu)

        wire.send(wire.frame(MEMORY, request))

        heard = wire.receive(9 if transport == "tcp" else 5, within_s=0.3)
        assert not heard or bytes([request[0] | 0x80, 3]) in heard
        assert target.line.memory.writes == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
class TestSilence:
    def test_of_everybody_at_a_broadcast(self, connect: Callable[[str], Line], transport: str) -> None:
        target, wire = connect(transport)
        clock = bytes.fromhex("10 0045 0003 06 70000000 01F4")
        not_for_all = [READ_MAGIC, bytes.fromhex("06 0059 0007"), bytes.fromhex("05 0000 FF00"),
                       bytes.fromhex("10 0059 0001 02 0007"), clock[:5]]  # fmt: skip

        for pdu in [clock, *not_for_all]:
            wire.send(wire.frame(0, pdu))
            assert wire.is_silent()

        assert wire.ask(OUTLET, READ_MAGIC, 6) == MAGIC
        assert target.bench.value("unix_time") == target.line.twin.value("unix_time") == 0x70000000
        assert target.bench.outlet.unix_ms() == 0x70000000 * 1000 + 500
        assert (target.bench.value("buzzer"), target.bench.outlet.coils["identify"]) == (0, False)

    def test_of_an_absent_unit(self, connect: Callable[[str], Line], transport: str) -> None:
        _, wire = connect(transport)

        for unit in (ABSENT, 248, 255):
            wire.send(wire.frame(unit, READ_MAGIC))
            assert wire.is_silent()

        assert wire.ask(OUTLET, READ_MAGIC, 6) == MAGIC


@pytest.mark.parametrize("transport", SERIAL)
class TestDamage:
    @pytest.mark.parametrize("at", range(8))
    def test_of_any_byte_is_met_with_silence(self, connect: Callable[[str], Line], transport: str, at: int) -> None:
        target, wire = connect(transport)
        heard = target.bench.outlet.frames
        frame = bytearray(wire.frame(OUTLET, bytes.fromhex("06 0059 0007")))
        frame[at] ^= 0x10

        wire.send(bytes(frame))

        assert wire.is_silent(for_s=0.1)
        assert target.bench.outlet.frames == heard
        assert target.bench.value("buzzer") == 0
        time.sleep(2 * GAP_S)  # what was garbled may look like the front of a longer frame: it ends with the silence
        assert wire.ask(OUTLET, READ_MAGIC, 6) == MAGIC

    @pytest.mark.parametrize("cut", range(1, 8))
    def test_of_a_frame_cut_short_ends_with_the_silence_after_it(
        self, connect: Callable[[str], Line], transport: str, cut: int
    ) -> None:
        _, wire = connect(transport)

        wire.send(wire.frame(OUTLET, READ_MAGIC)[:cut])
        assert wire.is_silent(for_s=4 * GAP_S)

        assert wire.ask(OUTLET, READ_MAGIC, 6) == MAGIC

    def test_of_noise_without_end_does_not_last_longer_than_the_noise(
        self, connect: Callable[[str], Line], transport: str
    ) -> None:
        target, wire = connect(transport)

        for _ in range(20):
            wire.send(bytes(range(1, 251)))
        assert not target.bench.outlet.dispense
        wire.receive(10_000, within_s=4 * GAP_S)  # an answer to anything in there is an exception at most

        assert wire.ask(OUTLET, READ_MAGIC, 6) == MAGIC


@pytest.mark.parametrize("transport", TRANSPORTS)
class TestPieces:
    def test_arrive_as_one_frame_when_no_silence_is_between(
        self, connect: Callable[[str], Line], transport: str
    ) -> None:
        _, wire = connect(transport)
        frame = wire.frame(OUTLET, READ_MAGIC)

        for at in range(len(frame)):
            wire.send(frame[at : at + 1])

        assert wire.answer(OUTLET, 6) == MAGIC

    def test_glued_frames_are_each_answered_or_not_at_all(self, connect: Callable[[str], Line], transport: str) -> None:
        _, wire = connect(transport)
        write = bytes.fromhex("06 0059 0007")

        wire.send(wire.frame(OUTLET, write) + wire.frame(OUTLET, READ_MAGIC))
        size = 2 * 7 + 5 + 6 if transport == "tcp" else 2 * 3 + 5 + 6
        heard = wire.receive(size, within_s=1.0)

        assert len(heard) in (0, size)
        time.sleep(2 * GAP_S)
        assert wire.ask(OUTLET, READ_MAGIC, 6) == MAGIC


class TestHeader:
    """Of Modbus TCP, which has no check bytes: what does not fit ends the connection."""

    @pytest.mark.parametrize(
        "header",
        [
            struct.pack(">HHHB", 1, 1, 6, OUTLET),
            struct.pack(">HHHB", 1, 0, 0, OUTLET),
            struct.pack(">HHHB", 1, 0, 1, OUTLET),
            struct.pack(">HHHB", 1, 0, 255, OUTLET),
            struct.pack(">HHHB", 1, 0, 0xFFFF, OUTLET),
        ],
        ids=["protocol 1", "length 0", "length 1", "length 255", "length 65535"],
    )
    def test_out_of_bounds_is_not_answered(self, connect: Callable[[str], Line], header: bytes) -> None:
        target, wire = connect("tcp")

        wire.send(header + READ_MAGIC)

        assert wire.is_silent()
        fresh = Wire(target.address, "tcp")
        assert fresh.ask(OUTLET, READ_MAGIC, 6) == MAGIC
        fresh.close()
