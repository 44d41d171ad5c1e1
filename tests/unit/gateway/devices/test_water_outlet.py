"""The adapters against the simulated devices' own registers, without a network between them."""

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.access_reader import AccessReader as SimulatedReader
from firmware_sim.device import Device, Identity
from firmware_sim.mailbox import UID
from firmware_sim.nvm import MemoryNvm
from firmware_sim.registers import BusRefusal
from firmware_sim.water_outlet import WaterOutlet as SimulatedOutlet
from gateway.config import Line
from gateway.devices.access_reader import AccessReader
from gateway.devices.ports import CannotSay, DeviceMismatch, Glimpse, Opening
from gateway.devices.water_outlet import WaterOutlet
from gateway.modbus.access import SNAPSHOT_TRIES, SnapshotTorn
from gateway.modbus.bus import Bus, Declined, Priority
from hardware.points import load

NOW_MS = 1_795_000_000_000


class DirectBus(Bus):
    """Hands each request straight to a device."""

    def __init__(self, device: Device) -> None:
        super().__init__(Line(line_id="l1", transport="tcp"))
        self.device = device

    def _refuse(self, refusal: BusRefusal) -> Declined:
        return Declined(refusal.code)

    async def read_input(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        return self._read("input", address, count)

    async def read_holding(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        return self._read("holding", address, count)

    async def read_discrete(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        return self._read("discrete", address, count)

    def _read(self, table: str, address: int, count: int) -> list[int]:
        try:
            return self.device.read(table, address, count)
        except BusRefusal as refusal:
            raise Declined(refusal.code) from refusal

    async def write(self, unit: int, address: int, values: Sequence[int], priority: Priority) -> None:
        try:
            self.device.write("holding", address, values)
        except BusRefusal as refusal:
            raise Declined(refusal.code) from refusal

    async def write_read(
        self,
        unit: int,
        *,
        write_address: int,
        values: Sequence[int],
        read_address: int,
        read_count: int,
        priority: Priority,
    ) -> list[int]:
        await self.write(unit, write_address, values, priority)
        return self._read("holding", read_address, read_count)


def simulated(kind: type[Any], map_id: str) -> Any:
    identity = Identity(device_id="dev_1", serial="S-1", device_uid=1, model="M", k_factor_pulses_per_m3=450_000)
    return kind(load(map_id), identity, MemoryNvm(), now_ms=0)


def opening(**changes: Any) -> Opening:
    given = {
        "session_u32": 0xDEADBEEF,
        "volume_limit_ml": 10_000,
        "duration_limit_s": 300,
        "lease_s": 60,
        "idle_limit_s": 60,
        "temperature_limit_decidegc": 480,
        "token_tag": 7,
        "not_after_s": NOW_MS // 1000 + 20,
    }
    return Opening(**{**given, **changes})


class TestIdentify:
    def test_says_who_answers(self) -> None:
        outlet = WaterOutlet(DirectBus(simulated(SimulatedOutlet, "chw.hwo1")), 1, load("chw.hwo1"))
        identity = asyncio.run(outlet.identify())
        assert (identity.serial, identity.k_factor_pulses_per_m3) == ("S-1", 450_000)

    def test_refuses_another_device(self) -> None:
        outlet = WaterOutlet(DirectBus(simulated(SimulatedReader, "chw.acr1")), 1, load("chw.hwo1"))
        with pytest.raises(DeviceMismatch):
            asyncio.run(outlet.identify())


class TornBus(DirectBus):
    """Tears the first few snapshots: the counter at the end is not the one at the beginning."""

    def __init__(self, device: Device, torn: int) -> None:
        super().__init__(device)
        self.torn = torn

    async def read_input(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        words = self._read("input", address, count)
        at = load("chw.hwo1").points["snap_end"].address - address
        if self.torn and 0 <= at < count:
            self.torn -= 1
            words[at] = (words[at] + 1) & 0xFFFF
        return words


class TestStatus:
    def test_reads_again_until_a_snapshot_is_whole(self) -> None:
        bus = TornBus(simulated(SimulatedOutlet, "chw.hwo1"), SNAPSHOT_TRIES - 1)
        status = asyncio.run(WaterOutlet(bus, 1, load("chw.hwo1")).status(Priority.HOT))
        assert (status.valve, bus.torn) == ("CLOSED", 0)

    def test_gives_no_status_of_two_moments(self) -> None:
        bus = TornBus(simulated(SimulatedOutlet, "chw.hwo1"), SNAPSHOT_TRIES)
        with pytest.raises(SnapshotTorn):
            asyncio.run(WaterOutlet(bus, 1, load("chw.hwo1")).status(Priority.HOT))
        assert bus.torn == 0


class TestFlagsOf:
    def test_says_what_the_flags_say(self) -> None:
        device = simulated(SimulatedOutlet, "chw.hwo1")
        outlet = WaterOutlet(DirectBus(device), 1, load("chw.hwo1"))
        told = ("valve_open", "any_fault", "log_pending", "mbx_pending")

        async def agree() -> frozenset[str]:
            flags, status = await outlet.flags(), await outlet.status(Priority.HOT)
            of_status = outlet.flags_of(status)
            assert of_status is not None
            assert of_status.names & set(told) == flags.names & set(told)
            return of_status.names

        async def look() -> None:
            """Do what a controller does in a cycle."""
            status = await outlet.status(Priority.HOT)
            flags = outlet.flags_of(status)
            assert flags is not None
            mail = await outlet.mail(flags)
            if mail is not None:
                await outlet.acknowledge_mail(mail)
            if "log_pending" in flags:
                await outlet.acknowledge_log((await outlet.log_page(1)).through)

        async def work() -> None:
            await outlet.set_clock(NOW_MS)
            await look()
            assert await agree() == frozenset()
            for uid in (b"\x04\x11\x22\x33", b"\x04\x11\x22\x34"):
                device.mailboxes["mbx"].post(
                    source=UID, uid=uid, payload=b"", now_ms=device.now_ms, unix_time=NOW_MS // 1000
                )
            device.append("UNBILLED_FLOW")
            assert await agree() >= {"mbx_pending", "log_pending"}
            await look()
            assert "mbx_pending" in await agree()
            await look()
            assert await agree() == frozenset()

            device.mailboxes["mbx"].post(
                source=UID, uid=b"\x04", payload=b"", now_ms=device.now_ms, unix_time=NOW_MS // 1000
            )
            mail = await outlet.mail(await outlet.flags())
            assert mail is not None
            await outlet.acknowledge_mail(mail)
            assert await outlet.mail(await outlet.flags()) is None
            assert await agree() == frozenset()  # the same card is not told again

        asyncio.run(work())


class TestLog:
    def test_pages_and_acknowledgements(self) -> None:
        device = simulated(SimulatedOutlet, "chw.hwo1")
        for _ in range(9):
            device.append("UNBILLED_FLOW")
        outlet = WaterOutlet(DirectBus(device), 1, load("chw.hwo1"))

        async def work() -> None:
            first = await outlet.log_page(1)
            assert (len(first.records), first.damaged) == (6, 0)
            second = await outlet.log_page(first.through + 1)
            assert second.through == second.head == device.log.head
            await outlet.acknowledge_log(second.through)
            assert "log_pending" not in await outlet.flags()

        asyncio.run(work())


class TestDisplay:
    def test_cuts_a_long_text_between_characters(self) -> None:
        device = simulated(SimulatedOutlet, "chw.hwo1")
        outlet = WaterOutlet(DirectBus(device), 1, load("chw.hwo1"))
        asyncio.run(outlet.display("余额不足，请充值后再试一次", 5))
        point = load("chw.hwo1").points["disp_text"]
        shown = device.read("holding", point.address, point.words)
        text = b"".join(word.to_bytes(2, "big") for word in shown).rstrip(b"\0").decode()
        assert text == "余额不足，请充值后再"


class TestCommands:
    def test_what_does_not_fit_is_not_sent(self) -> None:
        outlet = WaterOutlet(DirectBus(simulated(SimulatedOutlet, "chw.hwo1")), 1, load("chw.hwo1"))
        with pytest.raises(CannotSay):
            asyncio.run(outlet.open(opening(volume_limit_ml=-1)))

    def test_the_device_answers_for_our_frame(self) -> None:
        outlet = WaterOutlet(DirectBus(simulated(SimulatedOutlet, "chw.hwo1")), 1, load("chw.hwo1"))

        async def work() -> None:
            await outlet.set_clock(NOW_MS)
            late = await outlet.open(opening(not_after_s=NOW_MS // 1000 - 5))
            assert not late.accepted
            status = await outlet.status(Priority.HOT)
            assert not status.is_open

        asyncio.run(work())

    def test_a_door_grants_in_a_direction(self) -> None:
        door = AccessReader(DirectBus(simulated(SimulatedReader, "chw.acr1")), 1, load("chw.acr1"))

        async def work() -> None:
            await door.set_clock(NOW_MS)
            answer = await door.grant(5, "in", 5_000, NOW_MS // 1000 + 20)
            status = await door.status(Priority.HOT)
            assert answer.code in ("ACCEPTED", "DONE", "BUSY", "BAD_STATE")
            assert (status.grant_u32 == 5) is answer.accepted

        asyncio.run(work())


class TestGlimpses:
    @given(st.lists(st.integers(0, 0xFFFF), min_size=28, max_size=28), st.booleans())
    def test_say_what_the_whole_status_says(self, words: list[int], torn: bool) -> None:
        block = load("chw.hwo1").block("st")
        words[block.point("snap_end").address - block.address] = words[0] ^ torn
        data = struct.pack(">28H", *words)
        outlet = WaterOutlet(DirectBus(simulated(SimulatedOutlet, "chw.hwo1")), 1, load("chw.hwo1"))

        status, glimpse = outlet.status_in(data), outlet.glimpse_in(data)

        if torn:
            assert (status, glimpse) == (None, None)
            return
        assert status is not None
        assert glimpse is not None
        names = set(Glimpse._fields) - {"steady"}
        assert {name: getattr(glimpse, name) for name in names} == {name: getattr(status, name) for name in names}

    @given(st.integers(0, 2**28 - 1), st.sets(st.integers(0, 27)))
    def test_are_steady_as_long_as_only_water_runs(self, seed: int, changed: set[int]) -> None:
        block = load("chw.hwo1").block("st")
        told = {"state", "close_reason", "faults", "session_id", "log_head", "mbx_seq", "boot_id", "valve_pos"}
        places = {point.address - block.address + at: point.name for point in block.points for at in range(point.words)}
        before = [seed >> at & 1 for at in range(28)]
        after = [word ^ (at in changed) for at, word in enumerate(before)]
        for words in (before, after):
            words[block.point("snap_end").address - block.address] = words[0]
        outlet = WaterOutlet(DirectBus(simulated(SimulatedOutlet, "chw.hwo1")), 1, load("chw.hwo1"))

        seen = [outlet.glimpse_in(struct.pack(">28H", *words)) for words in (before, after)]

        assert seen[0] is not None
        assert seen[1] is not None
        is_told = any(places.get(at) in told for at in changed)
        assert (seen[0].steady != seen[1].steady) == is_told


class TestFlagsIn:
    @given(st.integers(0, 0xFFFF))
    def test_are_the_flags_of_a_whole_read(self, number: int) -> None:
        class FlagsBus(DirectBus):
            async def read_discrete(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
                return [number >> at & 1 for at in range(count)]

        outlet = WaterOutlet(FlagsBus(simulated(SimulatedOutlet, "chw.hwo1")), 1, load("chw.hwo1"))

        assert outlet.flags_in(number.to_bytes(2, "little")) == asyncio.run(outlet.flags())
