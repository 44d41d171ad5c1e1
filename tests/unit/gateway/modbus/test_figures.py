import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.modbus.codec import CodecError, decode_block, integer
from gateway.modbus.figures import Figures
from hardware.points import load

STATUS = load("chw.hwo1").block("st")
WANTED = {"state": 1, "faults": 1, "sess_elapsed": 1, "flow": 1_000, "temp_out": 10, "total_pulses": 1, "snap_end": 1}


class TestFigures:
    @given(st.lists(st.integers(0, 0xFFFF), min_size=28, max_size=28))
    def test_are_what_the_codec_says(self, words: list[int]) -> None:
        found = Figures(STATUS, WANTED).read(words)

        values = decode_block(STATUS, words)
        expected = {
            name: integer(values, name, per_unit=per_unit)
            for name, per_unit in WANTED.items()
            if values[name] is not None
        }
        assert found == expected

    @given(st.lists(st.integers(0, 0xFFFF), min_size=28, max_size=28))
    def test_are_the_same_from_bytes(self, words: list[int]) -> None:
        figures, data = Figures(STATUS, WANTED), struct.pack(">28H", *words)

        assert figures.read_bytes(data) == figures.read(words)

    @given(st.lists(st.integers(0, 0xFFFF), min_size=28, max_size=28), st.integers(0, 27), st.integers(1, 0xFFFF))
    def test_tell_any_change_by_what_is_raw(self, words: list[int], at: int, change: int) -> None:
        figures = Figures(STATUS, WANTED)
        address = STATUS.address + at
        points = [STATUS.point(name) for name in WANTED]
        is_wanted = any(point.address <= address < point.address + point.words for point in points)
        before = figures.raw(struct.pack(">28H", *words))
        words[at] ^= change

        assert (figures.raw(struct.pack(">28H", *words)) != before) == is_wanted

    @pytest.mark.parametrize("size", [0, 55, 57])
    def test_need_the_bytes_of_the_whole_block(self, size: int) -> None:
        with pytest.raises(CodecError, match="takes 56 bytes"):
            Figures(STATUS, WANTED).raw(bytes(size))

    def test_leave_out_what_the_device_has_no_value_for(self) -> None:
        words = [0] * 28
        words[14], words[15] = 0xFFFF, 0x8000

        assert {"flow", "temp_out"}.isdisjoint(Figures(STATUS, WANTED).read(words))

    def test_are_rounded_down(self) -> None:
        words = [0] * 28
        words[12:14] = [0, 19]
        assert STATUS.point("sess_elapsed").scale == Fraction(1, 10)

        assert Figures(STATUS, WANTED).read(words)["sess_elapsed"] == 1

    @pytest.mark.parametrize("count", [0, 27, 29])
    def test_need_the_whole_block(self, count: int) -> None:
        with pytest.raises(CodecError, match="takes 28 registers"):
            Figures(STATUS, WANTED).read([0] * count)

    def test_refuse_what_is_no_plain_number(self) -> None:
        with pytest.raises(CodecError, match="vendor"):
            Figures(load("chw.hwo1").block("id"), {"vendor": 1})
