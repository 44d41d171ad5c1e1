"""Devices of other makers move as their documents say, as the gateway reads them."""

import struct
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from firmware_sim.makers import (
    CardReader,
    PulseCounter,
    SharkyMeter,
    SupercalMeter,
    SutoMeter,
    TufMeter,
    device_of,
)
from firmware_sim.map_device import MapDevice, MapLine, MapLineServer
from firmware_sim.relays import Relays
from gateway.modbus.codec import decode
from hardware.points import load, map_ids

OTHERS = [map_id for map_id in map_ids() if not map_id.startswith("chw.")]
#: half a liter a second: 1.8 cubic meters an hour
FLOW = 500


def words(device: MapDevice, name: str) -> list[int]:
    point = device.map.points[name]
    return device.read(point.table, point.address, point.words)


def shown(device: MapDevice, name: str) -> float:
    value = decode(device.map.points[name], words(device, name))
    assert isinstance(value, int | float | Fraction)
    return float(value)


class TestDeviceOf:
    @pytest.mark.parametrize("map_id", OTHERS)
    def test_knows_the_behavior_of_every_map_we_ship(self, map_id: str) -> None:
        device = device_of(load(map_id))

        assert type(device) is not MapDevice
        device.tick(1_000)
        for block in device.map.blocks:
            if all(point.readable for point in block.points):
                assert len(device.read(block.table, block.points[0].address, 1)) == 1


class TestTufMeter:
    def meter(self) -> TufMeter:
        device = device_of(load("tuf.tuf2000f"))
        assert isinstance(device, TufMeter)
        return device

    def test_splits_its_totals_and_moves_with_the_flow(self) -> None:
        meter = self.meter()
        meter.set_flow(FLOW, 0)
        meter.tick(7_200_000)
        meter.set_flow(-FLOW, 7_200_000)
        meter.tick(7_200_000 + 3_000_000)

        assert shown(meter, "forward_whole") == 3
        assert shown(meter, "forward_part") == pytest.approx(0.6, abs=1e-5)
        assert shown(meter, "reverse_whole") == 1
        assert shown(meter, "reverse_part") == pytest.approx(0.5, abs=1e-5)
        assert shown(meter, "flow") == pytest.approx(-1.8)

    def test_shows_its_numbers_low_word_first(self) -> None:
        meter = self.meter()
        meter.temp_hot_degc = struct.unpack(">f", bytes.fromhex("4212806B"))[0]
        meter.set_flow(FLOW, 0)

        assert words(meter, "temp_supply") == [0x806B, 0x4212]

    def test_keeps_the_last_sixteen_comings_and_goings(self) -> None:
        meter = self.meter()
        at = datetime(2026, 11, 22, 7, 59, 30, tzinfo=UTC)
        meter.note_power(came=True, at=at)
        meter.note_power(came=False, at=at + timedelta(hours=1), error=5)

        assert [shown(meter, name) for name in ("on_minute_second", "on_day_hour", "on_year_month")] == [
            5930,
            2207,
            2611,
        ]
        assert [shown(meter, name) for name in ("off_day_hour", "off_error")] == [2208, 5]
        assert shown(meter, "power_log_pointer") == 2
        for hour in range(2, 34):
            meter.note_power(came=hour % 2 == 0, at=at + timedelta(hours=hour))
        assert shown(meter, "power_log_pointer") == 2
        assert shown(meter, "on_day_hour") == 2315
        assert meter.read("holding", 3_584 + 4 * 31, 1) == [0x5930]

    def test_leaves_a_place_empty_when_a_going_was_not_seen(self) -> None:
        meter = self.meter()
        at = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)
        meter.note_power(came=True, at=at)
        meter.note_power(came=True, at=at)

        assert shown(meter, "power_log_pointer") == 3
        assert words(meter, "off_day_hour") == [0]


class TestMeters:
    def test_supercal_names_its_units_and_counts_heat(self) -> None:
        meter = device_of(load("sontex.supercal531"))
        assert isinstance(meter, SupercalMeter)
        meter.set_flow(FLOW, 0)
        meter.tick(3_600_000)

        assert shown(meter, "flow") == pytest.approx(1.8)
        assert struct.unpack(">f", struct.pack(">2H", *words(meter, "volume")))[0] == pytest.approx(1.8)
        assert shown(meter, "energy") == pytest.approx(1.8 * 25 * 1.163, rel=1e-6)
        assert shown(meter, "temp_difference") == 25
        assert shown(meter, "volume_unit") != shown(meter, "energy_unit")

    def test_sharky_says_everything_twice(self) -> None:
        meter = device_of(load("diehl.sharky775"))
        assert isinstance(meter, SharkyMeter)
        meter.temp_hot_degc = 41.75
        meter.set_flow(FLOW, 0)
        meter.tick(9_000_000)

        for name in ("energy", "volume", "power", "flow", "temp_supply", "temp_return", "temp_difference"):
            assert shown(meter, name) == int(shown(meter, f"{name}_float")), name
        assert shown(meter, "volume_float") == pytest.approx(4.5)
        assert shown(meter, "temp_supply") == 41

    def test_suto_counts_each_way_and_tells_which(self) -> None:
        meter = device_of(load("suto.s401"))
        assert isinstance(meter, SutoMeter)
        meter.set_flow(FLOW, 0)
        meter.set_flow(-FLOW, 10_500)
        meter.tick(13_000)

        assert [shown(meter, name) for name in ("consumption", "reverse_consumption", "flow_direction")] == [5, 1, 1]
        assert shown(meter, "flow") == pytest.approx(1.8)


class TestPulseCounter:
    def counter(self) -> PulseCounter:
        device = device_of(load("wirenboard.wbmcm8"))
        assert isinstance(device, PulseCounter)
        return device

    def test_counts_each_input_by_itself_and_knows_its_rate(self) -> None:
        counter = self.counter()
        counter.set_rate(1, Fraction(15, 2), 0)
        counter.close_contact(8, 3, 2_000)
        counter.tick(3_000)

        assert [shown(counter, f"count_{n}") for n in (1, 2, 8)] == [22, 0, 3]
        assert shown(counter, "frequency_1") == 7.5

    def test_starts_over_on_command_and_after_the_greatest_number(self) -> None:
        counter = self.counter()
        counter.close_contact(2, (1 << 32) + 5, 0)
        assert shown(counter, "count_2") == 5
        counter.write("holding", 100, [1])

        assert shown(counter, "count_2") == 0


class TestCardReader:
    def test_shows_a_card_for_as_long_as_it_is_there(self) -> None:
        reader = device_of(load("technotrade.vrd485"))
        assert isinstance(reader, CardReader)
        reader.hold(bytes.fromhex("A41E45C6"))
        assert reader.read("holding", 2, 2) == [0xA41E, 0x45C6]
        reader.write("holding", 2, [0, 0])
        reader.tick(249)
        assert reader.read("holding", 2, 2) == [0, 0]
        reader.tick(250)
        assert reader.read("holding", 2, 2) == [0xA41E, 0x45C6]
        reader.take_away()

        assert reader.read("holding", 2, 2) == [0, 0]


class TestRelays:
    def board(self, map_id: str) -> tuple[Relays, MapLineServer, list[int]]:
        device = device_of(load(map_id))
        assert isinstance(device, Relays)
        now = [0]
        return device, MapLineServer(MapLine({1: device}), now_ms=lambda: now[0]), now

    def test_ends_each_one_shot_by_itself(self) -> None:
        board, server, now = self.board("waveshare.relay8")
        board.flow_ml_per_s = 100
        assert server.respond(1, bytes.fromhex("05 0200 0007")) == bytes.fromhex("05 0200 0007")
        assert server.respond(1, bytes.fromhex("05 0201 0014")) == bytes.fromhex("05 0201 0014")
        assert server.respond(1, bytes.fromhex("01 0000 0008")) == bytes.fromhex("01 01 03")
        now[0] = 699
        assert server.respond(1, bytes.fromhex("01 0000 0008")) == bytes.fromhex("01 01 03")
        now[0] = 700
        assert server.respond(1, bytes.fromhex("01 0000 0008")) == bytes.fromhex("01 01 02")
        now[0] = 5_000

        assert server.respond(1, bytes.fromhex("01 0000 0008")) == bytes.fromhex("01 01 00")
        assert board.volume_ml == 70
        assert not board.is_open

    def test_switches_all_at_once(self) -> None:
        board, server, _ = self.board("waveshare.relay8")
        server.respond(1, bytes.fromhex("05 00FF FF00"))
        assert [board.is_on(number) for number in range(1, 9)] == [True] * 8
        server.respond(1, bytes.fromhex("05 00FF 0000"))

        assert not any(board.is_on(number) for number in range(1, 9))

    def test_lets_go_of_everything_when_nobody_polls(self) -> None:
        board, server, now = self.board("wirenboard.wbmr6")
        server.respond(1, bytes.fromhex("06 0008 000A"))
        server.respond(1, bytes.fromhex("0F 0000 0006 01 3F"))
        now[0] = 9_000
        assert server.respond(1, bytes.fromhex("01 0000 0006")) == bytes.fromhex("01 01 3F")
        board.tick(18_999)
        assert board.is_on(6)
        board.tick(19_000)

        assert not any(board.is_on(number) for number in range(1, 7))
        assert not board.is_open

    def test_stays_as_it_is_without_a_watchdog(self) -> None:
        board, server, _ = self.board("wirenboard.wbmr6")
        server.respond(1, bytes.fromhex("05 0002 FF00"))
        board.tick(86_400_000)

        assert board.is_on(3)
