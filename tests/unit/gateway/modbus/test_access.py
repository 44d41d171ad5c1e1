import asyncio
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path

import pytest

from firmware_sim.map_device import MapDevice
from gateway.modbus.access import PointAccess, SnapshotTorn, firmware_number
from gateway.modbus.bus import Declined, Priority
from gateway.modbus.codec import CodecError
from hardware.model import RegisterMap
from hardware.points import load
from tests.unit.gateway.devices.map_rig import HEAD, Hand, line_of, map_in

#: every odd thing a write can be
ODD = (
    HEAD.format(id="acme.odd", title="Odd writes")
    + """
bus = { functions = [1, 3, 5, 6, 15, 16, 22, 23], gap = 4, max_read = 6 }
order = { word = "big", byte = "big" }
caps = { deadman = "none" }

[[blocks]]
id = "regs"
table = "holding"
at = 0
points = [
    { n = "single", t = "u16", a = "rw", fc = 6, max = 100 },
    { n = "many", t = "u16", a = "rw", fc = 16 },
    { n = "both", t = "u16", a = "rw", fc = 23 },
    { n = "high", t = "u16", a = "rw", mask = 0xFF00, shift = 8 },
    { n = "low", t = "u16", off = 3, a = "rw", mask = 0x00FF },
    { n = "flags", t = "u16", a = "w1c" },
    { n = "power", t = "i16" },
    { n = "scaled", t = "u16", a = "rw", sf = "power", unit = "L" },
    { n = "status", t = "u16", off = 9 },
    { n = "command", t = "u16", off = 9, a = "w" },
    { n = "last", t = "u16", off = 12 },
]

[[blocks]]
id = "coils"
table = "coil"
at = 0
points = [
    { n = "one", t = "bit", a = "rw", fc = 5 },
    { n = "two", t = "bit", a = "rw", fc = 15 },
]

[[blocks]]
id = "frame"
table = "holding"
at = 50
write = "all_or_nothing"
points = [
    { n = "first", t = "u16", a = "rw" },
    { n = "second", t = "u32", a = "rw" },
]

[[blocks]]
id = "snap"
table = "holding"
at = 200
sync = "begin"
points = [
    { n = "begin", t = "u16", role = "snapshot_begin" },
    { n = "inside", t = "u16", off = 7 },
    { n = "end", t = "u16", role = "snapshot_end" },
]

[[vectors]]
point = "single"
raw = "0007"
value = 7

[[vectors]]
point = "high"
raw = "1B02"
value = 27
"""
)


def run(register_map: RegisterMap, work: Callable[[PointAccess, MapDevice], Awaitable[None]]) -> None:
    async def inside() -> None:
        device = MapDevice(register_map)
        async with line_of({1: device}, Hand()) as bus:
            await work(PointAccess(bus, 1, register_map), device)

    asyncio.run(inside())


class TestWrite:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("single", 7, ("holding", 0, (7,))),
            ("many", 8, ("holding", 1, (8,))),
            ("both", 9, ("holding", 2, (9,))),
            ("one", 1, ("coil", 0, (1,))),
            ("two", 1, ("coil", 1, (1,))),
            ("command", 5, ("holding", 9, (5,))),
            ("scaled", Fraction(3, 100), ("holding", 6, (3,))),
        ],
    )
    def test_uses_the_function_code_of_the_map(
        self, tmp_path: Path, name: str, value: int | Fraction, expected: tuple[str, int, tuple[int, ...]]
    ) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            device.put("power", -2)
            await access.write(name, value, Priority.OPEN)
            assert device.writes == [expected]

        run(map_in(tmp_path, ODD), work)

    def test_leaves_the_rest_of_a_register_alone(self, tmp_path: Path) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            device.put("high", 0x1B)
            device.put("low", 0x02)
            device._owners["holding", 3] = [access._map.points["high"]]
            await access.write("high", 0x1C, Priority.OPEN)
            assert (device.raw("high"), device.raw("low")) == (0x1C, 0x02)

        run(map_in(tmp_path, ODD), work)
        run(map_in(tmp_path, ODD.replace(", 22", "")), work)

    @pytest.mark.parametrize(
        ("name", "value"), [("status", 1), ("single", 101), ("single", Fraction(1, 2)), ("high", 256)]
    )
    def test_sends_nothing_that_does_not_fit(self, tmp_path: Path, name: str, value: int | Fraction) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            with pytest.raises(CodecError):
                await access.write(name, value, Priority.OPEN)
            assert device.writes == []

        run(map_in(tmp_path, ODD), work)

    def test_a_timed_coil_takes_its_number(self) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            await access.write("pulse_1", Fraction(7, 10), Priority.OPEN)
            assert device.writes == [("coil", 0x0200, (7,))]

        run(load("waveshare.relay8"), work)

    def test_a_block_is_written_in_one_request(self, tmp_path: Path) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            await access.write_block("frame", {"first": 1, "second": 0x20003}, Priority.OPEN)
            assert device.writes == [("holding", 50, (1, 2, 3))]

        run(map_in(tmp_path, ODD), work)


class TestAcknowledge:
    def test_clears_the_bits_that_were_seen(self, tmp_path: Path) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            device.put("flags", 0b1011)
            await access.acknowledge("flags", 0b0011, Priority.OPEN)
            assert device.raw("flags") == 0b1000

        run(map_in(tmp_path, ODD), work)


class TestRead:
    def test_what_is_written_is_not_what_is_read(self, tmp_path: Path) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            device.put("status", 3)
            await access.write("command", 5, Priority.OPEN)
            assert await access.read_one("status", Priority.HOT) == 3
            with pytest.raises(CodecError, match="command cannot be read"):
                await access.read_one("command", Priority.HOT)

        run(map_in(tmp_path, ODD), work)

    def test_splits_once_a_device_does_not_let_itself_be_read_over_holes(self, tmp_path: Path) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            device.put("last", 4)
            for _ in range(2):
                assert await access.read(["status", "last"], Priority.HOT) == {"status": 0, "last": 4}
            assert access._over_holes is False

        run(map_in(tmp_path, ODD), work)

    def test_passes_on_a_refusal_that_is_no_hole(self, tmp_path: Path) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            del device._memory["holding", 0]
            with pytest.raises(Declined):
                await access.read_one("single", Priority.HOT)

        run(map_in(tmp_path, ODD), work)

    @pytest.mark.parametrize("torn", [False, True])
    def test_reads_a_snapshot_until_it_is_whole(self, tmp_path: Path, torn: bool) -> None:
        async def work(access: PointAccess, device: MapDevice) -> None:
            access._over_holes = False
            device.put("begin", 5)
            device.put("end", 4 if torn else 5)
            if torn:
                with pytest.raises(SnapshotTorn):
                    await access.read_one("inside", Priority.HOT)
            else:
                assert await access.read_one("inside", Priority.HOT) == 0

        run(map_in(tmp_path, ODD), work)


class TestFirmwareNumber:
    def test_compares_as_numbers(self) -> None:
        assert firmware_number("1.10.0") > firmware_number("1.9") > firmware_number("")
