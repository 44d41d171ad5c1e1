"""The simulator's own codec agrees with every golden vector of every map."""

import pytest

from firmware_sim.codec import bytes_of, crc16, decode, encode, words_of
from hardware.model import Point, Vector
from hardware.points import MAPS_DIR, load
from hardware.vectors import crc16_modbus

CASES = [
    (load(path.stem), vector)
    for path in sorted(MAPS_DIR.glob("chw.*.toml"))
    for vector in load(path.stem).vectors
    if vector.point in load(path.stem).points
]


def raw_of(point: Point, vector: Vector) -> int | str | bytes | None:
    if vector.value is None or isinstance(vector.value, bool):
        return vector.value
    if isinstance(vector.value, str):
        return bytes.fromhex(vector.value) if point.type == "raw" else vector.value
    return int(vector.value / point.scale)


class TestDecode:
    @pytest.mark.parametrize(("register_map", "vector"), CASES, ids=lambda case: getattr(case, "point", None))
    def test_agrees_with_the_golden_vector(self, register_map: object, vector: Vector) -> None:
        point = register_map.points[vector.point]  # type: ignore[attr-defined]
        if point.type == "bit":
            return

        assert decode(point, words_of(vector.raw)) == raw_of(point, vector)


class TestEncode:
    @pytest.mark.parametrize(("register_map", "vector"), CASES, ids=lambda case: getattr(case, "point", None))
    def test_agrees_with_the_golden_vector(self, register_map: object, vector: Vector) -> None:
        point = register_map.points[vector.point]  # type: ignore[attr-defined]
        if point.type == "bit":
            return

        assert bytes_of(encode(point, raw_of(point, vector))) == vector.raw

    @pytest.mark.parametrize(
        ("name", "value"),
        [("state", 65_536), ("state", -1), ("temp_out", 32_768), ("state", None), ("vendor", "x" * 17)],
    )
    def test_refuses_what_does_not_fit(self, name: str, value: int | str | None) -> None:
        with pytest.raises(ValueError, match=r"fit|nan"):
            encode(load("chw.hwo1").points[name], value)


class TestCrc16:
    def test_agrees_with_the_independent_one(self) -> None:
        for length in range(40):
            data = bytes(length * 7 + number & 0xFF for number in range(length))
            assert crc16(data) == crc16_modbus(data)
