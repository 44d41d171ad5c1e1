"""
Devices of other makers, each from nothing but its map: a simulated one on Modbus TCP and on a serial line, read by the
gateway's own code and by libmodbus, which knows nothing of ours.
"""

import asyncio
import os
import threading
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.codec import bytes_of, words_of
from firmware_sim.map_device import MapDevice, MapLine, MapLineServer
from gateway.config import Line
from gateway.contract.commands import OpenValve
from gateway.contract.events import CommandRefused, MeterRead, RefusalCode
from gateway.devices.mapped import MappedOutlet
from gateway.kit import now_ms
from gateway.modbus.access import PointAccess
from gateway.modbus.bus import Bus, Declined, Priority
from gateway.modbus.codec import CodecError, encode
from hardware.model import Point, RegisterMap, Vector
from hardware.points import load, map_ids
from hardware.vectors import agrees
from tests.fakes.gateway_site import GatewaySite
from tests.fakes.libmodbus import LibmodbusPeer, PeerRefused
from tests.patience import PATIENCE_S
from tests.unit.gateway.devices.map_rig import CREDIT, ONE_SHOT, PLAIN, WATCHDOG, Hand, map_in, opening

UNIT = 7
OTHERS = [map_id for map_id in map_ids() if not map_id.startswith("chw.")]
WIRES = ("tcp", "serial")


class Wire:
    """A device, the line it is on, and everything the masters sent."""

    def __init__(self, device: MapDevice, clock: Callable[[], int], *, serial: bool) -> None:
        self.device = device
        self.server = MapLineServer(MapLine({UNIT: device}), now_ms=clock, rtu=serial)
        self.sent = bytearray()
        self.bus: Bus
        self.peer_address: tuple[str, int] | str = ""
        self._waiting: dict[int, bytearray] = {}

    def take(self, master: int) -> None:
        """Answer what came in on a serial line."""
        data = os.read(master, 4096)
        self.sent += data
        waiting = self._waiting.setdefault(master, bytearray())
        waiting += data
        os.write(master, self.server.consume(waiting) or b"")

    async def ask_peer(self, work: Callable[[LibmodbusPeer], Any]) -> Any:
        """Let libmodbus do something, in a thread of its own."""

        def with_peer() -> Any:
            peer = LibmodbusPeer(self.peer_address, UNIT)
            try:
                return work(peer)
            finally:
                peer.close()

        return await asyncio.to_thread(with_peer)


@asynccontextmanager
async def wired(device: MapDevice, kind: str, clock: Callable[[], int] = now_ms) -> AsyncIterator[Wire]:
    """Yield a device on a line with a bus to it, over TCP or over a pair of terminals with serial frames."""
    wire = Wire(device, clock, serial=kind == "serial")
    loop = asyncio.get_running_loop()
    if kind == "tcp":
        port = await wire.server.start("127.0.0.1", 0)
        line = Line(line_id="l1", transport="tcp", host="127.0.0.1", port=port, timeout_ms=1_000)
        wire.peer_address = ("127.0.0.1", port)
        ports: list[tuple[int, int]] = []
    else:
        ports = [os.openpty(), os.openpty()]  # a line has one master: the gateway and the peer each get a line
        for master, slave in ports:
            tty.setraw(slave)
            loop.add_reader(master, wire.take, master)
        path, wire.peer_address = (os.ttyname(slave) for _, slave in ports)
        line = Line(line_id="l1", transport="serial", path=path, baud=9600, parity="N", timeout_ms=1_000)
    wire.bus = Bus(line)
    wire.bus.start()
    try:
        yield wire
    finally:
        await wire.bus.stop()
        for master, slave in ports:
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)
        await wire.server.stop()


def on_wire(register_map: RegisterMap, kind: str, work: Callable[[Wire], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with wired(MapDevice(register_map), kind) as wire:
            await work(wire)

    asyncio.run(inside())


def parts_of(register_map: RegisterMap, point: Point) -> list[Point]:
    """Return the points whose registers a value is made of."""
    return [register_map.points[name] for name in point.combine] if point.combine else [point]


async def check_reading(wire: Wire, vector: Vector) -> None:
    """Show golden bytes; the gateway must read their meaning, and libmodbus the very bytes."""
    register_map = wire.device.map
    point = register_map.points[vector.point]
    wire.device.put_vector(vector)
    found = await PointAccess(wire.bus, UNIT, register_map).read_one(point.name, Priority.HOT)
    if point.type == "bit":
        assert found == int(bool(vector.value))
    elif isinstance(found, bytes):
        assert found.hex().upper() == vector.value
    else:
        meaning = Fraction(found) if isinstance(found, int) else found
        assert agrees(point, meaning, vector.value)
    seen = b""
    for part in parts_of(register_map, point):
        words = await wire.ask_peer(lambda peer, p=part: peer.read(p.table, p.address, p.words))
        seen += bytes(words) if point.type == "bit" else bytes_of(words)
    assert seen == vector.raw


async def check_writing(wire: Wire, vector: Vector) -> None:
    """Write what golden bytes mean; the device must get the very bytes."""
    point = wire.device.map.points[vector.point]
    assert isinstance(vector.value, Fraction)
    await PointAccess(wire.bus, UNIT, wire.device.map).write(point.name, vector.value, Priority.OPEN)
    table, address, words = wire.device.writes[-1]
    assert (table, address, bytes_of(words)) == (point.table, point.address, vector.raw)


class TestGoldenVectors:
    @pytest.mark.parametrize("kind", WIRES)
    @pytest.mark.parametrize("map_id", OTHERS)
    def test_travel_both_ways_and_a_stranger_sees_the_same_bytes(self, map_id: str, kind: str) -> None:
        register_map = load(map_id)

        async def work(wire: Wire) -> None:
            for vector in register_map.vectors:
                readable = register_map.points[vector.point].readable
                await (check_reading if readable else check_writing)(wire, vector)

        on_wire(register_map, kind, work)

    def test_there_are_at_least_six_devices_and_each_has_two(self) -> None:
        assert len(OTHERS) >= 6
        assert all(len(load(map_id).vectors) >= 2 for map_id in OTHERS)
        assert all(load(map_id).source[0].get("page") for map_id in OTHERS)


class TestEveryPoint:
    @pytest.mark.parametrize("kind", WIRES)
    @pytest.mark.parametrize("map_id", OTHERS)
    def test_can_be_read_by_both_and_holes_are_refused(self, map_id: str, kind: str) -> None:
        register_map = load(map_id)
        unknown_units = {
            p.name for p in register_map.points.values() if p.units and not register_map.unit_codes[p.units]
        }

        async def work(wire: Wire) -> None:
            access = PointAccess(wire.bus, UNIT, register_map)
            names = [p.name for p in register_map.points.values() if p.readable and p.name not in unknown_units]
            values = await access.read(names, Priority.SLOW)
            assert set(values) == set(names)
            assert not any(isinstance(value, float) for value in values.values())
            for name in unknown_units:
                with pytest.raises(CodecError, match=r"unit code 0 of \w+ is not in"):
                    await access.read_one(name, Priority.SLOW)
            for block in register_map.blocks:
                first = next((p for p in block.points if p.readable and p.words), None)
                if first is not None:
                    words = await wire.ask_peer(lambda peer, p=first: peer.read(p.table, p.address, p.words))
                    assert len(words) == first.words
            table = register_map.blocks[0].table
            with pytest.raises(PeerRefused, match="Illegal data address"):
                await wire.ask_peer(lambda peer: peer.read(table, 0xEE00, 1))

        on_wire(register_map, kind, work)


class TestFrames:
    def test_the_gateway_asks_as_the_flow_meters_manual_prints_it(self) -> None:
        names = ["flow", "energy_flow", "velocity", "sound_speed", "forward_whole"]

        async def work(wire: Wire) -> None:
            await PointAccess(wire.bus, UNIT, wire.device.map).read(names, Priority.HOT)
            assert wire.sent[1:6] == bytes.fromhex("030000000A")  # 01 03 00 00 00 0A C5 CD, of unit 1

        on_wire(load("tuf.tuf2000f"), "serial", work)

    def test_the_gateway_triggers_a_relay_as_its_maker_prints_it(self) -> None:
        async def work(wire: Wire) -> None:
            access = PointAccess(wire.bus, UNIT, wire.device.map)
            await access.write("pulse_1", Fraction(7, 10), Priority.OPEN)
            assert wire.sent[1:6] == bytes.fromhex("0502000007")  # 01 05 02 00 00 07 8D B0, of unit 1
            assert wire.device.is_open

        on_wire(load("waveshare.relay8"), "serial", work)

    @pytest.mark.parametrize("frame", ["010502000007 8DB0", "01030000000A C5CD"])
    def test_printed_frames_are_answered_and_one_with_a_wrong_checksum_is_not(self, frame: str) -> None:
        relay = "0502" in frame
        device = MapDevice(load("waveshare.relay8" if relay else "tuf.tuf2000f"))
        server = MapLineServer(MapLine({1: device}), now_ms=now_ms, rtu=True)

        assert server.consume(bytearray(bytes.fromhex(frame)))
        assert not server.consume(bytearray(bytes.fromhex("010300000005844D")))  # right would be 85 C9
        assert server.bad_frames == 1


class TestLimitsOfDevices:
    @pytest.mark.parametrize("kind", WIRES)
    def test_a_reader_is_never_asked_beyond_its_registers(self, kind: str) -> None:
        async def work(wire: Wire) -> None:
            with pytest.raises(PeerRefused, match="Illegal data"):
                await wire.ask_peer(lambda peer: peer.read("holding", 0, 12))
            with pytest.raises(PeerRefused, match="Illegal function"):
                await wire.ask_peer(lambda peer: peer.read("input", 0, 1))
            values = await PointAccess(wire.bus, UNIT, wire.device.map).read(["card", "baud_code"], Priority.HOT)
            assert values == {"card": bytes(4), "baud_code": 0}

        on_wire(load("technotrade.vrd485"), kind, work)

    def test_an_exception_of_the_device_reaches_whoever_asked(self) -> None:
        async def work(wire: Wire) -> None:
            del wire.device._memory["holding", 0]
            with pytest.raises(Declined):
                await PointAccess(wire.bus, UNIT, wire.device.map).read_one("flow", Priority.HOT)

        on_wire(load("tuf.tuf2000f"), "tcp", work)


@pytest.mark.parametrize("kind", WIRES)
class TestADeviceNobodyKnows:
    """One file in a folder; no line of code knows any of these four."""

    def meter_through(
        self, tmp_path: Path, kind: str, text: str, work: Callable[[Wire, MappedOutlet, Hand], Any]
    ) -> None:
        async def inside() -> None:
            clock = Hand()
            register_map = map_in(tmp_path, text)
            device = MapDevice(register_map, now_ms=clock.ms, k_factor_pulses_per_m3=450_000)
            device.flow_ml_per_s = 100
            async with wired(device, kind, clock) as wire:
                outlet = MappedOutlet(wire.bus, UNIT, register_map, clock=clock)
                await outlet.identify()
                await work(wire, outlet, clock)

        asyncio.run(inside())

    @pytest.mark.parametrize("text", [CREDIT, ONE_SHOT, WATCHDOG], ids=["device_credit", "one_shot", "poll_watchdog"])
    def test_opens_meters_and_closes_by_its_dead_man(self, tmp_path: Path, kind: str, text: str) -> None:
        async def work(wire: Wire, outlet: MappedOutlet, clock: Hand) -> None:
            assert (await outlet.open(opening(volume_limit_ml=1_500))).accepted
            for _ in range(50):
                clock.ms += 400
                await outlet.flags()
            status = await outlet.status(Priority.HOT)
            assert not status.is_open
            assert 1_500 <= wire.device.volume_ml <= 1_540
            page = await outlet.log_page(1)
            assert [(record.kind, record.label) for record in page.records][-1] == ("END", "VOLUME_LIMIT")
            factor = (await outlet.identify()).k_factor_pulses_per_m3
            assert abs(page.records[-1].session_pulses * 1_000_000 // factor - wire.device.volume_ml) <= 3

        self.meter_through(tmp_path, kind, text, work)

    def test_without_a_dead_man_it_meters_only(self, tmp_path: Path, kind: str) -> None:
        async def work(wire: Wire, outlet: MappedOutlet, clock: Hand) -> None:
            wire.device.put("litres", 77)
            assert (await outlet.status(Priority.HOT)).total_pulses == 77_000
            assert not (await outlet.open(opening())).accepted
            assert wire.device.writes == []

        self.meter_through(tmp_path, kind, PLAIN, work)

    def test_a_stranger_may_close_what_the_gateway_opened(self, tmp_path: Path, kind: str) -> None:
        async def work(wire: Wire, outlet: MappedOutlet, clock: Hand) -> None:
            await outlet.open(opening())
            clock.ms += 1_000
            await outlet.flags()
            await wire.ask_peer(lambda peer: peer.write_bit(0, False))
            await outlet.flags()
            page = await outlet.log_page(1)
            assert (page.records[-1].kind, page.records[-1].session_pulses) == ("END", 45)

        self.meter_through(tmp_path, kind, ONE_SHOT, work)

    def test_a_stranger_reads_the_credit_the_gateway_wrote(self, tmp_path: Path, kind: str) -> None:
        async def work(wire: Wire, outlet: MappedOutlet, clock: Hand) -> None:
            await outlet.open(opening(volume_limit_ml=2_050))
            words = await wire.ask_peer(lambda peer: peer.read("holding", 41, 2))
            assert words == encode(wire.device.map.points["credit"], 2) == words_of(bytes.fromhex("00140000"))

        self.meter_through(tmp_path, kind, CREDIT, work)


@contextmanager
def served(port: int, devices: dict[int, MapDevice]) -> Iterator[None]:
    """Serve devices on a TCP port from a thread of its own."""
    loop = asyncio.new_event_loop()
    server = MapLineServer(MapLine(devices), now_ms=now_ms)
    loop.run_until_complete(server.start("127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(timeout=PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=PATIENCE_S)
        loop.close()


class TestAWholeGateway:
    def test_reads_a_device_from_one_dropped_file_and_opens_it_for_nobody_without_a_dead_man(
        self, tmp_path: Path
    ) -> None:
        site = GatewaySite(tmp_path, devices=[("dev_m1", UNIT, "outlet", "acme.plain")])
        folder = tmp_path / "gateway" / "register_maps"
        folder.mkdir(parents=True, exist_ok=True)
        device = MapDevice(map_in(folder, PLAIN), now_ms=now_ms())
        device.put("litres", 77)
        site.start_broker()
        backend = site.backend()
        try:
            with served(site.line_port, {UNIT: device}):
                site.start_gateway()
                reading = backend.wait_for_event(MeterRead, device="dev_m1")
                assert (reading.register_pulses, reading.k_factor_pulses_per_m3) == (77_000, 1_000_000)

                backend.command(
                    "dev_m1", OpenValve(water_session_id="ws_1", volume_limit_ml=5_000, duration_limit_s=60)
                )
                refused = backend.wait_for_event(CommandRefused, subject_id="ws_1")
                assert (refused.code, refused.detail) == (RefusalCode.UNSAFE_DEVICE, "its dead-man class is none")
                assert device.writes == []

                device.put_bytes("card", bytes.fromhex("A41E45C6"))
                device.put("new_card", 1)
                backend.wait(lambda: [each.value for each in backend.presented] == ["A41E45C6"])
                backend.wait(lambda: device.raw("new_card") == 0)
        finally:
            backend.stop()
            site.stop()

    def test_does_not_start_with_a_map_that_is_wrong_and_says_where(self, tmp_path: Path) -> None:
        site = GatewaySite(tmp_path, devices=[("dev_m1", UNIT, "outlet", "acme.plain")])
        folder = tmp_path / "gateway" / "register_maps"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "acme.plain.toml").write_text(
            PLAIN.replace('role = "card_new"', 'role = "cardnew"'), encoding="utf-8"
        )

        site.start_gateway()

        assert site.processes.pop("gateway").wait(timeout=PATIENCE_S) != 0
        said = site.log("gateway")
        line = 1 + PLAIN[: PLAIN.index('role = "card_new"')].count("\n")
        assert f"acme.plain.toml:{line}: blocks.all.new_card: unknown role 'cardnew'; did you mean 'card_new'?" in said
