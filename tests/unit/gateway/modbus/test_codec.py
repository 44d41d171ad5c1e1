from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.modbus.codec import (
    CodecError,
    Value,
    crc16,
    decode,
    decode_block,
    encode,
    encode_block,
    integer,
    optional_integer,
    resolve,
    round_down,
)
from hardware.model import Point
from hardware.points import load, map_ids

MAPS = [load(map_id) for map_id in map_ids()]
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
        values: dict[str, Value] = dict(vector.given)
        if point.combine is not None:
            whole, part = (register_map.points[each] for each in point.combine)
            values[whole.name] = decode(whole, words(vector.raw[: 2 * whole.words]))
            values[part.name] = decode(part, words(vector.raw[2 * whole.words :]))
        else:
            values[point.name] = decode(point, [vector.raw[0]] if point.type == "bit" else words(vector.raw))
        found = resolve(register_map, point, values)
        expected = bytes.fromhex(vector.value) if point.type == "raw" else vector.value
        if point.type in ("f32", "sum") and expected is not None:
            assert isinstance(found, Fraction)
            assert abs(found - expected) <= abs(expected) / 1_000_000
        else:
            assert found == expected
        assert not isinstance(found, float)

    @pytest.mark.parametrize(
        ("point", "raw", "value"),
        [
            (TUF, "806B4212", Fraction(0x12806B, 1 << 18) + 32),  # low word first, from a flow meter's manual
            (TUF, "00007FC0", None),
            (TUF, "00007F80", None),
            (replace(TUF, nan=0xC61C3C00), "3C00C61C", None),
            (replace(U32, nan=0xFFFFFFFF, nan_also=(0xFFFFFFFE,)), "FFFFFFFE", None),
            (replace(U32, type="str", length=2, chars=1), "00410042", "AB"),
            (replace(U32, type="bcd32"), "12345678", 12_345_678),
            (replace(U32, byte_order="little"), "34127856", 0x12345678),
            (replace(U32, scale=Fraction(1, 10)), "00000007", Fraction(7, 10)),
            (replace(U32, nan=0xFFFFFFFF), "FFFFFFFF", None),
        ],
    )
    def test_orders_scales_and_sentinels(self, point: Point, raw: str, value: object) -> None:
        found = decode(point, words(bytes.fromhex(raw)))
        assert found == value

    @pytest.mark.parametrize(("point", "raw"), [(U32, "0001"), (replace(U32, type="bcd32"), "1234ABCD")])
    def test_refuses_what_does_not_fit(self, point: Point, raw: str) -> None:
        with pytest.raises(CodecError):
            decode(point, words(bytes.fromhex(raw)))


class TestEncode:
    @given(st.integers(0, 2**32 - 1), st.sampled_from(["big", "little"]), st.sampled_from(["big", "little"]))
    def test_decode_gives_back_what_was_encoded(self, value: int, word: Any, byte: Any) -> None:
        point = replace(U32, word_order=word, byte_order=byte)
        assert decode(point, encode(point, value)) == value

    @pytest.mark.parametrize("byte", ["big", "little"])
    @pytest.mark.parametrize("word", ["big", "little"])
    @pytest.mark.parametrize(
        ("type_", "value"), [("f32", Fraction(-73, 2)), ("bcd32", 12_345_678), ("i32", -5), ("f32", Fraction(0))]
    )
    def test_decode_gives_back_every_type(self, type_: str, value: Any, word: Any, byte: Any) -> None:
        point = replace(U32, type=type_, word_order=word, byte_order=byte)
        assert decode(point, encode(point, value)) == value

    def test_puts_a_part_of_a_register_where_it_belongs(self) -> None:
        point = replace(U32, type="u16", words=1, mask=0x0FF0, shift=4)
        assert encode(point, 0xAB) == [0x0AB0]
        with pytest.raises(CodecError):
            encode(point, 0x1AB)

    @pytest.mark.parametrize(
        ("type_", "value"), [("f32", Fraction(1, 10)), ("bcd32", 100_000_000), ("f32", Fraction(10) ** 60)]
    )
    def test_refuses_what_it_cannot_carry_exactly(self, type_: str, value: Any) -> None:
        with pytest.raises(CodecError):
            encode(replace(U32, type=type_), value)

    @pytest.mark.parametrize("value", [-1, 2**32, Fraction(1, 3), "text"])
    def test_refuses_what_does_not_fit(self, value: Any) -> None:
        with pytest.raises(CodecError):
            encode(U32, value)

    def test_pads_text(self) -> None:
        point = load("chw.hwo1").points["disp_text"]
        assert decode(point, encode(point, "你好")) == "你好"
        with pytest.raises(CodecError):
            encode(point, "x" * 33)


class TestRoundDown:
    @given(st.fractions(Fraction(1, 1000), 10**6))
    def test_a_float_is_never_above(self, value: Fraction) -> None:
        point = replace(U32, type="f32")
        carried = round_down(point, value)
        assert carried <= value
        assert decode(point, encode(point, carried)) == carried
        assert value - carried <= value / (1 << 22)

    def test_a_whole_number_loses_less_than_a_step(self) -> None:
        point = replace(U32, scale=Fraction(1, 10))
        assert round_down(point, Fraction(205, 100)) == 2


class TestResolve:
    @pytest.mark.parametrize(
        ("unit", "exponent", "expected"),
        [
            (0, 3, Fraction(2049, 2)),
            (1, 3, Fraction(2049, 2000)),
            (1, 6, Fraction(2049, 2)),
            (0, 0, Fraction(2049, 2000)),
        ],
    )
    def test_a_total_is_whole_and_part_in_the_unit_the_meter_is_set_to(
        self, unit: int, exponent: int, expected: Fraction
    ) -> None:
        meter = load("tuf.tuf2000f")
        values: dict[str, Value] = {"forward_whole": 1024, "forward_part": Fraction(1, 2)}
        values |= {"total_unit": unit, "total_exponent": exponent}
        assert resolve(meter, meter.points["forward_total"], values) == expected

    @pytest.mark.parametrize("change", [{"total_unit": 4}, {"total_unit": None}, {"total_exponent": 65_535}])
    def test_refuses_a_unit_or_power_that_makes_no_sense(self, change: dict[str, Value]) -> None:
        meter = load("tuf.tuf2000f")
        values: dict[str, Value] = {"forward_whole": 1, "forward_part": 0, "total_unit": 0, "total_exponent": 3}
        with pytest.raises(CodecError):
            resolve(meter, meter.points["forward_total"], values | change)

    def test_half_a_total_is_none(self) -> None:
        meter = load("tuf.tuf2000f")
        values: dict[str, Value] = {"forward_whole": 1, "forward_part": None, "total_unit": 0, "total_exponent": 3}
        assert resolve(meter, meter.points["forward_total"], values) is None


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
