"""Drivers that know a device by its map alone, against simulated devices made of the same map, over real frames."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from firmware_sim.map_device import MapDevice
from gateway.devices.drivers import OPENABLE, has_profile, outlet_on
from gateway.devices.mapped import MappedOutlet
from gateway.devices.ports import CannotSay, CommandFailed, DeviceMismatch
from gateway.devices.water_outlet import WaterOutlet
from gateway.modbus.bus import Bus, NoAnswer, Priority
from gateway.modbus.codec import CodecError
from hardware.points import load
from tests.unit.gateway.devices.map_rig import CREDIT, ONE_SHOT, PLAIN, WATCHDOG, Hand, line_of, map_in, opening


class Site:
    """One device, its driver, and the hand of the clock both read."""

    def __init__(self, folder: Path, text: str) -> None:
        self.clock = Hand()
        self.map = map_in(folder, text)
        self.device = MapDevice(self.map, now_ms=self.clock.ms, k_factor_pulses_per_m3=450_000)
        self.device.flow_ml_per_s = 100
        self.outlet: MappedOutlet

    async def after(self, ms: int, *, step_ms: int = 400) -> None:
        """Let time pass, with the gateway looking every step."""
        for _ in range(ms // step_ms):
            self.clock.ms += step_ms
            await self.outlet.flags()

    def silence(self, ms: int) -> None:
        """Let time pass with nobody looking."""
        self.clock.ms += ms
        self.device.tick(self.clock.ms)

    async def ends(self) -> list[tuple[str, int]]:
        """Return label and pulses of every session that has ended."""
        page = await self.outlet.log_page(1)
        return [(r.label, r.session_pulses) for r in page.records if r.kind == "END"]


def run(folder: Path, text: str, work: Callable[[Site], Awaitable[None]], *, rtu: bool = False) -> None:
    async def inside() -> None:
        site = Site(folder, text)
        async with line_of({1: site.device}, site.clock, rtu=rtu) as bus:
            site.outlet = MappedOutlet(bus, 1, site.map, clock=site.clock)
            await site.outlet.identify()
            await work(site)

    asyncio.run(inside())


class TestOutletOn:
    def test_takes_the_driver_of_our_own_where_the_map_has_its_frames(self, tmp_path: Path) -> None:
        bus = Bus.__new__(Bus)
        assert isinstance(outlet_on(bus, 1, load("chw.hwo1"), clock=Hand()), WaterOutlet)
        assert isinstance(outlet_on(bus, 1, map_in(tmp_path, PLAIN), clock=Hand()), MappedOutlet)
        assert has_profile(load("chw.acr1"))

    def test_no_class_without_an_end_may_open(self) -> None:
        assert {"lease", "device_credit", "one_shot", "poll_watchdog"} == OPENABLE


class TestIdentify:
    def test_tells_model_firmware_and_factor(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            identity = await site.outlet.identify()
            assert (identity.model, identity.firmware) == ("Polled valve with counter", "1.2")
            assert identity.k_factor_pulses_per_m3 == 450_000

        run(tmp_path, WATCHDOG, work)

    def test_a_meter_of_volumes_counts_millilitres(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            assert (await site.outlet.identify()).k_factor_pulses_per_m3 == 1_000_000

        run(tmp_path, CREDIT, work)

    def test_refuses_another_device(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device._memory["holding", 1] = 8
            with pytest.raises(DeviceMismatch, match=r"ACE1 0008, not that of acme\.credit"):
                await site.outlet.identify()

        run(tmp_path, CREDIT, work)


class TestStatus:
    def test_shows_what_the_registers_say(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.put("whole", 1024)
            site.device.put_float("part", 0.5)
            site.device.put("flow", 850)
            site.device.put("alarms", 0b10)
            status = await site.outlet.status(Priority.HOT)
            assert (status.state, status.valve, status.total_pulses) == ("IDLE", "CLOSED", 1_024_500)
            assert (status.flow_ml_per_min, status.faults) == (8_500, {"LOW_SUPPLY"})
            assert "any_fault" in await site.outlet.flags()

        run(tmp_path, CREDIT, work)

    def test_a_unit_changed_at_the_keypad_is_read_with_the_total(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.put("whole", 3)
            site.device.put("unit", 0)
            assert (await site.outlet.status(Priority.HOT)).total_pulses == 3_000_000
            site.device.put("unit", 1)
            site.device.put("exponent", 2)
            assert (
                await site.outlet.status(Priority.HOT)
            ).total_pulses == 3_000_000  # a fall is believed when it stays
            assert (await site.outlet.status(Priority.HOT)).total_pulses == 300_000

        run(tmp_path, CREDIT, work)

    def test_an_unknown_unit_is_refused_and_not_guessed(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.put("unit", 9)
            with pytest.raises(CodecError, match=r"unit code 9 of unit is not in unit_codes\.volume of acme"):
                await site.outlet.status(Priority.HOT)

        run(tmp_path, CREDIT, work)

    def test_leaves_out_what_came_with_a_later_firmware(self, tmp_path: Path) -> None:
        newer = WATCHDOG.replace("default = 12", "default = 13")

        async def old(site: Site) -> None:
            site.outlet.access.firmware = (1, 2)
            assert not site.outlet.access.known("temperature")

        async def new(site: Site) -> None:
            site.device.put("temperature", 385)
            assert (await site.outlet.status(Priority.HOT)).temperature_decidegc == 385
            site.device.put("temperature", -32768)
            assert (await site.outlet.status(Priority.HOT)).temperature_decidegc is None

        run(tmp_path, WATCHDOG, old)
        run(tmp_path, newer, new)


@pytest.mark.parametrize("rtu", [False, True])
class TestDeviceCredit:
    def test_writes_the_volume_before_it_opens(self, tmp_path: Path, rtu: bool) -> None:
        async def work(site: Site) -> None:
            assert (await site.outlet.open(opening(volume_limit_ml=2_050))).accepted
            writes = [(table, address) for table, address, _ in site.device.writes]
            assert writes == [("holding", 41), ("holding", 40)]
            assert site.device.raw("credit") == 20  # tenths of a litre, rounded down: never more than was paid
            assert (await site.outlet.status(Priority.HOT)).is_open

        run(tmp_path, CREDIT, work, rtu=rtu)

    def test_what_runs_on_when_the_gateway_dies_is_the_credit(self, tmp_path: Path, rtu: bool) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening(volume_limit_ml=2_050))
            site.silence(3_600_000)
            assert site.device.volume_ml == 2_000
            await site.outlet.flags()
            assert await site.ends() == [("VOLUME_LIMIT", 2_000)]

        run(tmp_path, CREDIT, work, rtu=rtu)

    def test_closing_takes_back_what_is_left(self, tmp_path: Path, rtu: bool) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening())
            await site.after(2_000)
            assert (await site.outlet.close(0xDEADBEEF, "CARD")).accepted
            assert (site.device.raw("credit"), site.device.is_open) == (0, False)
            ((label, pulses),) = await site.ends()
            assert (label, pulses) == ("CARD", 200)

        run(tmp_path, CREDIT, work, rtu=rtu)


class TestDeviceCreditRefusals:
    def test_a_credit_that_did_not_arrive_opens_nothing(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device._store = lambda point, words: None  # type: ignore[method-assign]
            with pytest.raises(CommandFailed, match="credit does not show what was written"):
                await site.outlet.open(opening())
            assert not site.device.is_open

        run(tmp_path, CREDIT, work)

    @pytest.mark.parametrize("volume_ml", [99, 2_000_100])
    def test_a_volume_the_device_cannot_be_told_is_not_sent(self, tmp_path: Path, volume_ml: int) -> None:
        async def work(site: Site) -> None:
            with pytest.raises(CannotSay):
                await site.outlet.open(opening(volume_limit_ml=volume_ml))
            assert site.device.writes == []
            assert (await site.outlet.open(opening())).accepted

        run(tmp_path, CREDIT, work)


@pytest.mark.parametrize("rtu", [False, True])
class TestOneShot:
    def test_triggers_anew_while_it_is_renewed(self, tmp_path: Path, rtu: bool) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening(volume_limit_ml=100_000))
            for _ in range(4):
                await site.after(20_000, step_ms=2_000)
                assert (await site.outlet.renew(opening())).accepted
            assert site.device.is_open
            assert [words for _, _, words in site.device.writes] == [(300,)] * 5

        run(tmp_path, ONE_SHOT, work, rtu=rtu)

    def test_what_runs_on_when_the_gateway_dies_is_one_pulse(self, tmp_path: Path, rtu: bool) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening())
            site.silence(3_600_000)
            assert site.device.volume_ml == 3_000
            await site.outlet.flags()
            assert await site.ends() == [("LEASE", 1_350)]

        run(tmp_path, ONE_SHOT, work, rtu=rtu)

    def test_closes_when_told(self, tmp_path: Path, rtu: bool) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening())
            await site.after(1_000, step_ms=500)
            await site.outlet.close(0xDEADBEEF, "REVOKED")
            assert not site.device.is_open
            assert await site.ends() == [("REVOKED", 45)]

        run(tmp_path, ONE_SHOT, work, rtu=rtu)


@pytest.mark.parametrize("rtu", [False, True])
class TestPollWatchdog:
    def test_sets_timer_and_safe_state_before_anything(self, tmp_path: Path, rtu: bool) -> None:
        async def work(site: Site) -> None:
            assert (site.device.raw("timer"), site.device.raw("safe")) == (5_000, 2)
            assert (await site.outlet.open(opening())).accepted
            assert site.device.raw("valve") == 0xAA00
            assert site.outlet.refusal == ""

        run(tmp_path, WATCHDOG, work, rtu=rtu)

    def test_what_runs_on_when_the_gateway_dies_is_the_timer(self, tmp_path: Path, rtu: bool) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening())
            await site.after(4_000)
            site.silence(60_000)
            assert site.device.volume_ml == 900
            await site.outlet.flags()
            assert await site.ends() == [("COMM_WATCHDOG", 405)]

        run(tmp_path, WATCHDOG, work, rtu=rtu)


class TestPollWatchdogRefusals:
    def test_opens_nothing_when_the_timer_does_not_stay_set(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            timer = site.map.points["timer"]
            site.device.put("timer", 0)
            store = site.device._store
            site.device._store = lambda p, words: None if p == timer else store(p, words)  # type: ignore[method-assign]
            answer = await site.outlet.open(opening())
            assert (answer.accepted, answer.code, site.device.is_open) == (False, "UNSAFE_DEVICE", False)
            assert site.outlet.refusal == "its watchdog is not known to be set"

        run(tmp_path, WATCHDOG, work)

    def test_closes_when_somebody_has_switched_the_timer_off(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening())
            site.device.put("timer", 0)
            assert not (await site.outlet.renew(opening())).accepted
            assert not site.device.is_open

        run(tmp_path, WATCHDOG, work)


class TestLimits:
    @pytest.mark.parametrize(
        ("limits", "label", "pulses_max"),
        [
            # one look, 0.4 s at 0.1 L/s or 18 pulses, is what it may run beyond
            ({"volume_limit_ml": 500}, "VOLUME_LIMIT", 225 + 18),
            ({"duration_limit_s": 3}, "TIME_LIMIT", 135 + 18),
        ],
    )
    def test_the_driver_closes_at_the_limits_the_device_does_not_know(
        self, tmp_path: Path, limits: dict[str, int], label: str, pulses_max: int
    ) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening(**limits))
            await site.after(8_000)
            ((why, pulses),) = await site.ends()
            assert (why, site.device.is_open) == (label, False)
            assert pulses <= pulses_max

        run(tmp_path, WATCHDOG, work)

    def test_closes_when_nobody_says_that_the_grant_lives(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening(lease_s=4))
            await site.after(3_600)
            assert (await site.outlet.renew(opening())).accepted
            await site.after(3_600)
            assert site.device.is_open
            await site.after(800)
            assert [label for label, _ in await site.ends()] == ["LEASE"]

        run(tmp_path, WATCHDOG, work)

    def test_closes_when_no_water_flows(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.flow_ml_per_s = 0
            await site.outlet.open(opening(idle_limit_s=3))
            await site.after(4_000)
            assert await site.ends() == [("NO_FLOW", 0)]

        run(tmp_path, WATCHDOG, work)

    def test_closes_when_it_is_too_hot(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.put("temperature", 481)
            await site.outlet.open(opening())
            await site.after(800)
            assert [label for label, _ in await site.ends()] == ["SCALD"]

        newer = WATCHDOG.replace("default = 12", "default = 13")
        run(tmp_path, newer, work)

    def test_a_counter_that_starts_over_counts_on(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.volume_ml += 22_000  # 9,900 of 10,000 pulses
            site.device.tick(site.clock.ms)
            await site.outlet.open(opening())
            await site.after(4_000)
            await site.outlet.close(0xDEADBEEF, "USER")
            ((_, pulses),) = await site.ends()
            assert (pulses, site.device.raw("count")) == (180, 80)

        run(tmp_path, WATCHDOG, work)

    def test_a_slow_valve_is_not_taken_for_one_that_closed(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.valve_ms = 1_500
            await site.outlet.open(opening())
            await site.after(1_200)
            assert await site.ends() == []
            await site.after(800)
            assert (await site.outlet.status(Priority.HOT)).is_open

        run(tmp_path, CREDIT, work)

    def test_a_valve_that_never_opens_is_a_fault(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.valve_ms = 60_000
            await site.outlet.open(opening())
            await site.after(4_000)
            assert [label for label, _ in await site.ends()] == ["FAULT"]

        run(tmp_path, CREDIT, work)


class TestNone:
    def test_meters_and_refuses_to_open_with_the_reason(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.put("litres", 77)
            assert (await site.outlet.status(Priority.HOT)).total_pulses == 77_000
            answer = await site.outlet.open(opening())
            assert (answer.accepted, answer.code) == (False, "UNSAFE_DEVICE")
            assert site.device.writes == []
            assert "no dead-man" in site.outlet.refusal
            assert site.outlet.deadman not in OPENABLE

        run(tmp_path, PLAIN, work)

    def test_a_relay_found_open_may_be_closed(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.put("relay", 1)
            assert (await site.outlet.status(Priority.HOT)).is_open
            await site.outlet.close(0, "REMOTE")
            assert not (await site.outlet.status(Priority.HOT)).is_open

        run(tmp_path, PLAIN, work)


class TestMail:
    def test_a_flag_is_cleared_once_the_card_was_passed_on(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            site.device.put_bytes("card", bytes.fromhex("A41E45C6"))
            site.device.put("new_card", 1)
            flags = await site.outlet.flags()
            mail = await site.outlet.mail(flags)
            assert mail is not None
            assert (mail.source, mail.value) == ("UID", "A41E45C6")
            await site.outlet.acknowledge_mail(mail)
            assert site.device.raw("new_card") == 0
            assert "mbx_pending" not in await site.outlet.flags()

        run(tmp_path, PLAIN, work)

    def test_a_level_tells_each_card_once_until_it_is_taken_away(self, tmp_path: Path) -> None:
        level = PLAIN.replace('mailbox = "flag"', 'mailbox = "level"')

        async def work(site: Site) -> None:
            seen = []
            for card in ("00000000", "A41E45C6", "A41E45C6", "00000000", "A41E45C6", "01020304"):
                site.device.put_bytes("card", bytes.fromhex(card))
                mail = await site.outlet.mail(await site.outlet.flags())
                if mail is not None:
                    seen.append(mail.value)
                    await site.outlet.acknowledge_mail(mail)
            assert seen == ["A41E45C6", "A41E45C6", "01020304"]

        run(tmp_path, level, work)

    def test_a_sequence_is_written_back(self, tmp_path: Path) -> None:
        sequence = PLAIN.replace('mailbox = "flag"', 'mailbox = "seq"').replace(
            '{ n = "new_card", t = "u16", a = "rw", clear = 0, role = "card_new" },',
            '{ n = "number", t = "u16", role = "mailbox_seq" },'
            '{ n = "ack", t = "u16", a = "rw", role = "mailbox_ack" },',
        )

        async def work(site: Site) -> None:
            site.device.put_bytes("card", bytes.fromhex("A41E45C6"))
            site.device.put("number", 9)
            mail = await site.outlet.mail(await site.outlet.flags())
            assert mail is not None
            await site.outlet.acknowledge_mail(mail)
            assert site.device.raw("ack") == 9
            assert "mbx_pending" not in await site.outlet.flags()

        run(tmp_path, sequence, work)


class TestLog:
    def test_what_was_written_down_is_forgotten_when_acknowledged(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            for _ in range(3):
                await site.outlet.open(opening())
                await site.after(800)
                await site.outlet.close(0xDEADBEEF, "USER")
            page = await site.outlet.log_page(1)
            assert [record.kind for record in page.records] == ["START", "END"] * 3
            assert {record.evidence for record in page.records} == {"register_continuity"}
            assert "log_pending" in await site.outlet.flags()
            await site.outlet.acknowledge_log(page.through)
            assert "log_pending" not in await site.outlet.flags()
            assert (await site.outlet.status(Priority.HOT)).close_reason == "USER"

        run(tmp_path, WATCHDOG, work)


class TestSilence:
    def test_an_absent_device_is_no_answer(self, tmp_path: Path) -> None:
        async def inside() -> None:
            register_map, clock = map_in(tmp_path, PLAIN), Hand()
            async with line_of({}, clock) as bus:
                with pytest.raises(NoAnswer):
                    await MappedOutlet(bus, 1, register_map, clock=clock).status(Priority.HOT)

        asyncio.run(inside())
