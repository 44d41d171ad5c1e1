"""A read worked out once says what the register file says, address by address."""

import pytest

from firmware_sim.block_reads import block_read
from firmware_sim.device import Device
from firmware_sim.pdu import answer
from firmware_sim.registers import register_file
from tests.unit.firmware_sim.rig import Bench, DoorBench


def device_of(map_id: str) -> Device:
    if map_id == "chw.acr1":
        return DoorBench().reader
    bench = Bench().ready()
    bench.open()
    bench.run(2_000)
    bench.outlet.mailboxes["mbx"].post(source=3, uid=b"\x01\x02", payload=b"code", now_ms=bench.now_ms, unix_time=5)
    return bench.outlet


@pytest.mark.parametrize("map_id", ["chw.acr1", "chw.hwo1"])
class TestBlockRead:
    def test_agrees_with_the_register_file_on_every_block(self, map_id: str) -> None:
        device = device_of(map_id)
        file = register_file(device.map)
        worked_out = 0
        for block in device.map.blocks:
            known = block_read(type(device), device.map, block.table, block.address, block.words)
            if known is None:
                continue
            worked_out += 1
            slowly = file.read(block.table, block.address, block.words, device._value)
            assert known.words(device) == slowly, block.id

        assert worked_out >= 6

    def test_agrees_on_every_range_of_the_status(self, map_id: str) -> None:
        device = device_of(map_id)
        whole = device.read("input", 100, 28)

        for first in range(28):
            for count in range(1, 29 - first):
                assert device.read("input", 100 + first, count) == whole[first : first + count]

    def test_leaves_holes_bits_and_halves_to_the_register_file(self, map_id: str) -> None:
        device = device_of(map_id)
        kind, register_map = type(device), device.map

        assert block_read(kind, register_map, "discrete", 0, 16) is None
        assert block_read(kind, register_map, "input", 120, 20) is None
        assert block_read(kind, register_map, "input", 103, 1) is None


class TestRemembering:
    def test_shows_every_change_at_once(self) -> None:
        bench = Bench().ready()
        status, flags = bytes.fromhex("04 0064 001C"), bytes.fromhex("02 0000 0010")

        def both() -> tuple[bytes, bytes]:
            return answer(bench.outlet, status, bench.now_ms), answer(bench.outlet, flags, bench.now_ms)

        before = both()
        assert both() == before
        bench.outlet.mailboxes["mbx"].post(source=1, uid=b"\x01", payload=b"", now_ms=bench.now_ms, unix_time=1)
        posted = both()
        assert posted[1] != before[1]
        bench.outlet.force_fault("LOW_SUPPLY", True)
        faulted = both()
        assert faulted[0] != posted[0]
        bench.open()
        opened = both()
        assert opened[0] != faulted[0]
        bench.run(10, step_ms=10)
        assert both()[0] != opened[0]

    def test_lets_the_age_of_the_link_show(self) -> None:
        bench = Bench().ready()
        status = bytes.fromhex("04 0069 0001")
        ages = []
        for pause_ms in (100, 100, 5_000, 5_000, 40_000, 100):
            bench.now_ms += pause_ms
            ages.append(answer(bench.outlet, status, bench.now_ms)[-1])

        assert ages == [0, 0, 5, 5, 40, 0]
