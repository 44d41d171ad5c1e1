"""Golden bytes of real devices decode to what their manuals say."""

from dataclasses import replace
from fractions import Fraction

import pytest

from hardware.model import Point
from hardware.vectors import agrees, crc16_modbus, decode, in_big_order


def point(type_: str, **changes: object) -> Point:
    words = {"u16": 1, "i16": 1, "bcd16": 1, "u64": 4, "f64": 4, "raw": 2, "str": 2}.get(type_, 2)
    base = Point(name="p", block="b", table="holding", address=0, words=words, type=type_)
    return replace(base, **changes)  # type: ignore[arg-type]


class TestDecode:
    def test_reads_the_low_word_first_float_of_an_ultrasonic_meter(self) -> None:
        assert decode(point("f32", word_order="little"), bytes.fromhex("806B4212")) == pytest.approx(36.625, abs=1e-3)

    def test_reads_a_card_number_as_raw_bytes(self) -> None:
        assert decode(point("raw", length=4), bytes.fromhex("A41E45C6")) == "A41E45C6"

    @pytest.mark.parametrize(
        ("type_", "raw", "value"),
        [
            ("u16", "FFFF", 65535),
            ("i16", "FFFF", -1),
            ("i32", "FFFFFFFE", -2),
            ("u64", "0000000100000000", 1 << 32),
            ("bcd16", "1234", 1234),
            ("bcd32", "00012345", 12345),
        ],
    )
    def test_reads_integers_exactly(self, type_: str, raw: str, value: int) -> None:
        assert decode(point(type_), bytes.fromhex(raw)) == Fraction(value)

    def test_scales_without_rounding(self) -> None:
        assert decode(point("u16", scale=Fraction(1, 65536)), b"\x00\x03") == Fraction(3, 65536)

    def test_masks_before_it_scales(self) -> None:
        assert decode(point("u16", mask=0xF000, shift=12, scale=Fraction(1, 2)), b"\x30\x09") == Fraction(3, 2)

    def test_gives_none_for_the_nan(self) -> None:
        assert decode(point("i16", nan=-32768), b"\x80\x00") is None

    @pytest.mark.parametrize(("type_", "raw"), [("u16", "00"), ("u32", "0001"), ("bcd16", "12AB"), ("bit", "02")])
    def test_refuses_what_cannot_be(self, type_: str, raw: str) -> None:
        with pytest.raises(ValueError, match=r"bytes|literal|bit"):
            decode(point(type_), bytes.fromhex(raw))


class TestInBigOrder:
    @pytest.mark.parametrize(
        ("word", "byte", "raw"),
        [("big", "big", "01020304"), ("little", "big", "03040102"), ("big", "little", "02010403"),
         ("little", "little", "04030201")],
    )  # fmt: skip
    def test_undoes_every_order(self, word: str, byte: str, raw: str) -> None:
        ordered = in_big_order(point("u32", word_order=word, byte_order=byte), bytes.fromhex(raw))

        assert ordered == bytes.fromhex("01020304")


class TestAgrees:
    def test_does_not_take_a_flag_for_a_number(self) -> None:
        assert not agrees(point("u16"), Fraction(1), True)
        assert agrees(point("u16"), Fraction(1), Fraction(1))


class TestCrc16Modbus:
    @pytest.mark.parametrize(
        ("frame", "crc"), [("01030000000A", "C5CD"), ("0C14070600040001" + "0008", "C918"), ("010300000005", "85C9")]
    )
    def test_gives_the_bytes_on_the_wire(self, frame: str, crc: str) -> None:
        assert crc16_modbus(bytes.fromhex(frame)).to_bytes(2, "little").hex().upper() == crc
