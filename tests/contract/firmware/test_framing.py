"""RTU on the wire: frames end by silence, gaps spoil them, and what is no good frame to this unit meets silence."""

import ctypes
import random
from collections.abc import Iterator

import pytest

from firmware_sim.codec import crc16
from hardware.firmware_ref.host import Firmware, Sample
from tests.contract.firmware.steps import Frame, read, write, write_one
from tests.contract.firmware.twins import LABEL

#: at 38,400 baud: fixed times of the serial line specification
T15_US, T35_US = 750, 1_750
READ = Frame(read(4, 100, 2)).adu()


class Wire:
    """A powered firmware and the microseconds of its line."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.firmware = Firmware(library, LABEL)
        self.sample = Sample(temp=400, temp_in=-32768, supply_mv=24_000, backup_mv=3_300)
        self.firmware.power_up(1_000, None, self.sample)
        self.firmware.tick(1_300, self.sample)
        self.now_us = 2_000_000

    def bytes_at(self, data: bytes, gap_us: int) -> None:
        """Put bytes on the line after a silence."""
        self.now_us += gap_us
        self.firmware.feed(data, self.now_us)

    def wait(self, us: int) -> bytes:
        """Let time pass; return what the firmware sent."""
        self.now_us += us
        return self.firmware.look(self.now_us)

    def ask(self, data: bytes) -> bytes:
        """Put a frame on a quiet line and wait long enough for any answer."""
        self.bytes_at(data, 10_000)
        return self.wait(T35_US) + self.wait(150_000)

    def errors(self) -> int:
        """Return the count of bad frames."""
        return self.firmware.peek("input", 162, 1)[0]

    def frames(self) -> int:
        """Return the count of good frames to this unit."""
        high, low = self.firmware.peek("input", 163, 2)
        return high << 16 | low


@pytest.fixture
def wire(library: ctypes.CDLL) -> Iterator[Wire]:
    """Return a wire."""
    made = Wire(library)
    yield made
    made.firmware.close()


class TestSilence:
    def test_of_three_and_a_half_characters_ends_a_frame(self, wire: Wire) -> None:
        wire.bytes_at(READ, 10_000)

        assert wire.wait(T35_US - 1) == b""
        assert wire.frames() == 0
        wire.wait(1)
        assert wire.frames() == 1

    def test_the_answer_waits_for_the_turnaround_time(self, wire: Wire) -> None:
        wire.bytes_at(READ, 10_000)
        assert wire.wait(T35_US) == b""

        assert wire.wait(4_999) == b""
        assert len(wire.wait(1)) == 9

    def test_inside_a_frame_up_to_one_and_a_half_characters_is_borne(self, wire: Wire) -> None:
        wire.bytes_at(READ[:3], 10_000)
        wire.bytes_at(READ[3:], T15_US)

        wire.wait(T35_US)
        assert (wire.frames(), wire.errors()) == (1, 0)

    def test_inside_a_frame_beyond_that_spoils_it(self, wire: Wire) -> None:
        wire.bytes_at(READ[:3], 10_000)
        wire.bytes_at(READ[3:], T15_US + 1)

        assert wire.wait(200_000) == b""
        assert (wire.frames(), wire.errors()) == (0, 1)
        assert wire.ask(READ)

    def test_after_half_a_frame_lets_the_next_one_through(self, wire: Wire) -> None:
        wire.bytes_at(READ[:5], 10_000)
        wire.bytes_at(READ, T35_US)

        assert wire.wait(T35_US) + wire.wait(100_000)
        assert (wire.frames(), wire.errors()) == (1, 1)

    @pytest.mark.parametrize(("baud", "t35_us"), [(96, 4_010), (192, 2_005), (1_152, 1_750)])
    def test_is_longer_on_a_slower_line(self, wire: Wire, baud: int, t35_us: int) -> None:
        for request in (write_one(1, 0x55AA), write_one(3, baud)):
            assert wire.ask(Frame(request).adu())
        wire.firmware.pull_the_plug()
        wire.firmware.power_up(5_000, None, wire.sample)
        wire.now_us = 6_000_000

        wire.bytes_at(READ, 0)
        wire.wait(t35_us - 1)
        assert wire.frames() == 0
        wire.wait(1)
        assert wire.frames() == 1


class TestNoAnswer:
    @pytest.mark.parametrize(
        ("data", "counted"),
        [
            (Frame(read(4, 100, 2), unit=2).adu(), 0),
            (Frame(read(4, 100, 2), unit=0).adu(), 0),
            (Frame(read(4, 100, 2), good=False).adu(), 1),
            (READ + READ, 1),
            (READ[:-1], 1),
            (READ + b"\xff", 1),
            (b"\1\4\0", 1),
            (bytes(300), 1),
        ],
        ids=["other_unit", "broadcast_read", "bad_crc", "glued", "short", "long", "three_bytes", "endless"],
    )
    def test_to_what_is_no_good_frame_to_this_unit(self, wire: Wire, data: bytes, counted: int) -> None:
        assert wire.ask(data) == b""
        assert (wire.frames(), wire.errors()) == (0, counted)
        assert wire.ask(READ)

    def test_to_a_broadcast_that_sets_the_clock(self, wire: Wire) -> None:
        assert wire.ask(Frame(write(69, 0x6B03, 0x6600, 0), unit=0).adu()) == b""

        assert wire.firmware.peek("input", 156, 3) == [0x6B03, 0x6600, 2]

    def test_to_noise(self, wire: Wire) -> None:
        chance = random.Random(5)
        for _ in range(300):
            noise = chance.randbytes(chance.randint(1, 300))
            if len(noise) >= 4 and crc16(noise[:-2]).to_bytes(2, "little") == noise[-2:]:
                continue
            assert wire.ask(noise) == b""
        assert wire.ask(READ)


class TestLengths:
    @pytest.mark.parametrize(
        ("pdu", "answer_bytes"),
        [
            (read(3, 400, 125), 255),
            (read(4, 200, 117), 239),
            (read(2, 0, 16), 7),
            (read(3, 400, 126), 5),
            (read(2, 0, 2_001), 5),
            (b"\x17" + bytes.fromhex("0190 007D 0042 0002 04 0000 0001"), 255),
        ],
        ids=["125_words", "mailbox", "16_bits", "126_words", "2001_bits", "log_window"],
    )
    def test_of_answers(self, wire: Wire, pdu: bytes, answer_bytes: int) -> None:
        answer = wire.ask(Frame(pdu).adu())

        assert len(answer) == answer_bytes
        assert crc16(answer[:-2]).to_bytes(2, "little") == answer[-2:]
