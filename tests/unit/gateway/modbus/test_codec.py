from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.modbus.codec import (
    CodecError,
    crc16,
    decode,
    decode_block,
    encode,
    encode_block,
    integer,
    optional_integer,
)
from hardware.model import Point
from hardware.points import load

MAPS = [load("chw.hwo1"), load("chw.acr1")]
TUF = Point(name="t", block="b", table="holding", address=0, words=2, type="f32", word_order="little")
U32 = Point(name="u", block="b", table="holding", address=0, words=2, type="u32")


def words(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]


class TestDecode:
    @pytest.mark.parametrize(("register_map", "number"), [(m, n) for m in MAPS for n in range(len(m.vectors))])
    def test_agrees_with_the_golden_vectors(self, register_map: Any, number: int) -> None:
        vector = register_map.vectors[number]
        block, _, name = vector.point.rpartition(".")
        point = register_map.layouts[block].point(name) if block else register_map.points[vector.point]
        if point.type == "bit":
            return
        found = decode(point, words(vector.raw))
        expected = bytes.fromhex(vector.value) if point.type == "raw" else vector.value
        assert found == expected

    @pytest.mark.parametrize(
        ("point", "raw", "value"),
        [
            (TUF, "806B4212", 36.625),  # low word first, from a flow meter's manual
            (replace(U32, type="bcd32"), "12345678", 12_345_678),
            (replace(U32, byte_order="little"), "34127856", 0x12345678),
            (replace(U32, scale=Fraction(1, 10)), "00000007", Fraction(7, 10)),
            (replace(U32, nan=0xFFFFFFFF), "FFFFFFFF", None),
        ],
    )
    def test_orders_scales_and_sentinels(self, point: Point, raw: str, value: object) -> None:
        found = decode(point, words(bytes.fromhex(raw)))
        assert found == (pytest.approx(value, abs=1e-3) if isinstance(value, float) else value)

    @pytest.mark.parametrize(("point", "raw"), [(U32, "0001"), (replace(U32, type="bcd32"), "1234ABCD")])
    def test_refuses_what_does_not_fit(self, point: Point, raw: str) -> None:
        with pytest.raises(CodecError):
            decode(point, words(bytes.fromhex(raw)))


class TestEncode:
    @given(st.integers(0, 2**32 - 1), st.sampled_from(["big", "little"]), st.sampled_from(["big", "little"]))
    def test_decode_gives_back_what_was_encoded(self, value: int, word: Any, byte: Any) -> None:
        point = replace(U32, word_order=word, byte_order=byte)
        assert decode(point, encode(point, value)) == value

    @pytest.mark.parametrize("value", [-1, 2**32, Fraction(1, 3), "text"])
    def test_refuses_what_does_not_fit(self, value: Any) -> None:
        with pytest.raises(CodecError):
            encode(U32, value)

    def test_pads_text(self) -> None:
        point = load("chw.hwo1").points["disp_text"]
        assert decode(point, encode(point, "你好")) == "你好"
        with pytest.raises(CodecError):
            encode(point, "x" * 33)


class TestEncodeBlock:
    def test_fills_the_command_frame(self) -> None:
        block = load("chw.hwo1").block("cmd")
        frame = encode_block(block, {"cmd_token": 1, "cmd_opcode": 1, "cmd_session": 0x12345678, "cmd_commit": 0xA5C2})
        assert len(frame) == 19
        assert frame[:4] == [1, 1, 0x1234, 0x5678]
        assert frame[18] == 0xA5C2


class TestDecodeBlock:
    def test_refuses_a_short_answer(self) -> None:
        with pytest.raises(CodecError):
            decode_block(load("chw.hwo1").block("st"), [0] * 27)


class TestInteger:
    def test_counts_in_the_unit_asked_for(self) -> None:
        assert integer({"temp": Fraction(385, 10)}, "temp", per_unit=10) == 385
        assert integer({"k": Fraction(450)}, "k", per_unit=1000) == 450_000

    @pytest.mark.parametrize("value", [None, "text", 1.5])
    def test_refuses_what_is_no_number(self, value: Any) -> None:
        with pytest.raises(CodecError):
            integer({"x": value}, "x")

    def test_optional_passes_no_value_on(self) -> None:
        assert optional_integer({"x": None}, "x") is None


class TestCrc16:
    @pytest.mark.parametrize(("frame", "crc"), [("01030000000A", "C5CD"), ("010300000005", "85C9")])
    def test_known_frames(self, frame: str, crc: str) -> None:
        assert crc16(bytes.fromhex(frame)).to_bytes(2, "little").hex().upper() == crc
