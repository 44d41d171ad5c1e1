"""A number of two registers in every order of words and bytes: put there by our code, read by peers, and back."""

import asyncio
import dataclasses
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import minimalmodbus
import pytest

from firmware_sim.map_device import put_in_order, take_from_order
from gateway.modbus.bus import Priority
from gateway.modbus.codec import decode, encode
from hardware.model import Order, Point
from tests.contract.conformance.masters import gateway_on
from tests.contract.conformance.servers import LibmodbusServer
from tests.contract.conformance.targets import MEMORY, SimTarget
from tests.contract.conformance.voices import Libmodbus, Voice, ask

Meet = Callable[[str, str], tuple[SimTarget, Voice]]
BIG = bytes.fromhex("4212806B")  # 36.6254 degrees; a meter's maker prints it as 80 6B 42 12
VALUE = struct.unpack(">f", BIG)[0]
ORDERS: dict[str, tuple[Order, Order, str]] = {
    "ABCD": ("big", "big", "4212 806B"),
    "BADC": ("big", "little", "1242 6B80"),
    "CDAB": ("little", "big", "806B 4212"),
    "DCBA": ("little", "little", "6B80 1242"),
}
MINIMALMODBUS = {
    "ABCD": minimalmodbus.BYTEORDER_BIG,
    "BADC": minimalmodbus.BYTEORDER_BIG_SWAP,
    "CDAB": minimalmodbus.BYTEORDER_LITTLE_SWAP,
    "DCBA": minimalmodbus.BYTEORDER_LITTLE,
}
EACH = pytest.mark.parametrize("order", ORDERS)


def point_in(order: str) -> Point:
    """Return a float point whose words and bytes are in an order."""
    word, byte, _ = ORDERS[order]
    return Point(
        name="t", block="b", table="holding", address=500, words=2, type="f32", word_order=word, byte_order=byte
    )


def golden(order: str) -> list[int]:
    """Return the two registers by the book."""
    return [int(word, 16) for word in ORDERS[order][2].split()]


@EACH
class TestSimulator:
    def test_puts_and_takes_numbers_by_the_book(self, order: str) -> None:
        assert put_in_order(point_in(order), BIG) == golden(order)
        assert take_from_order(point_in(order), golden(order)) == BIG

    def test_is_understood_by_libmodbus(self, meet: Meet, order: str) -> None:
        target, voice = meet("libmodbus", "tcp")
        assert isinstance(voice, Libmodbus)
        target.do(lambda: target.line.memory.write("holding", 500, put_in_order(point_in(order), BIG)))

        assert voice.floats(ask(voice, MEMORY, 3, 500, 2))[order] == pytest.approx(VALUE)

    def test_is_understood_by_minimalmodbus(self, meet: Meet, order: str) -> None:
        target, _ = meet("minimalmodbus", "pty")
        target.do(lambda: target.line.memory.write("holding", 500, put_in_order(point_in(order), BIG)))
        peer = minimalmodbus.Instrument(str(target.address), MEMORY)
        peer.serial.timeout = 20

        read = peer.read_float(500, byteorder=MINIMALMODBUS[order])
        peer.serial.close()

        assert read == pytest.approx(VALUE)


@EACH
class TestGateway:
    def test_decodes_and_encodes_by_the_book(self, order: str) -> None:
        assert float(decode(point_in(order), golden(order)) or 0) == pytest.approx(VALUE)
        assert encode(point_in(order), Fraction(VALUE)) == golden(order)

    def test_understands_what_libmodbus_serves(self, peers: dict[str, Path], order: str) -> None:
        point = dataclasses.replace(point_in(order), address=900 + 2 * list(ORDERS).index(order))

        async def work() -> list[int]:
            async with gateway_on(LibmodbusServer(peers["server"], "tcp")) as bus:
                return await bus.read_input(1, point.address, 2, Priority.HOT)

        assert decode(point, asyncio.run(work())) == Fraction(VALUE)
