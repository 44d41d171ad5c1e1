"""A site in one process: people, water, electricians and the control port."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.control import ControlServer, handle
from firmware_sim.device import LogEntry
from firmware_sim.end_file import EndFile
from firmware_sim.nvm import FileNvm, MemoryNvm, NonVolatile
from firmware_sim.world import ControlRefused, World
from hardware.points import load
from tests.patience import PATIENCE_S
from tests.unit.firmware_sim.rig import OPEN, UNIX_MS, Bench

PLAN: dict[str, Any] = {
    "seed": 7,
    "devices": [
        {"device_id": "dev_1", "line_id": "a", "unit": 1, "map_id": "chw.hwo1", "k_factor_pulses_per_m3": 450_000},
        {"device_id": "dev_2", "line_id": "a", "unit": 2, "map_id": "chw.hwo1", "k_factor_pulses_per_m3": 451_000},
        {"device_id": "dev_d", "line_id": "b", "unit": 1, "map_id": "chw.acr1", "k_factor_pulses_per_m3": 0},
    ],
}
FRAMES = Bench()


class Site:
    """A world, time to move it, and what it logged."""

    def __init__(self, plan: dict[str, Any] | None = None, memories: dict[str, NonVolatile] | None = None) -> None:
        self.memories: dict[str, NonVolatile] = {} if memories is None else memories
        self.entries: list[tuple[str, LogEntry]] = []
        self.world = World(
            plan or PLAN,
            open_nvm=lambda device_id: self.memories.setdefault(device_id, MemoryNvm()),
            now_ms=0,
            unix_offset_ms=UNIX_MS,
            on_entry=lambda device_id, entry: self.entries.append((device_id, entry)),
        )
        self.run(500)

    def run(self, ms: int) -> None:
        for _ in range(ms // 50):
            for line in self.world.lines.values():
                for unit in line.units():
                    unit.frame_seen(self.world.now_ms)
            self.world.advance(self.world.now_ms + 50)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        return handle(self.world, {"do": do, **request})

    def state(self, device: str) -> dict[str, Any]:
        (state,) = self.ask("state", device=device)["devices"]
        assert isinstance(state, dict)
        return state

    def open(self, unit: int = 1, **changes: int) -> None:
        device = self.world.lines["a"].unit(unit)
        assert device is not None
        device.write("holding", 256, FRAMES.frame("OPEN", **{**OPEN, **changes}))

    def ends(self) -> list[tuple[str, int]]:
        return [(device, entry.record.aux) for device, entry in self.entries if entry.type_name == "END"]


@pytest.fixture
def site() -> Site:
    return Site()


class TestHandle:
    def test_mixer_is_open_by_default_and_closing_it_ends_the_session(self, site: Site) -> None:
        site.open(idle=5)
        site.run(4_000)
        assert site.state("dev_1")["state"] == "dispensing"
        assert site.state("dev_1")["flow_ml_per_min"] == pytest.approx(8_500, rel=0.2)

        assert site.ask("tap_flow", device="dev_1", open=False) == {}
        site.run(6_000)

        assert site.state("dev_1")["close_reason"] == "no_flow"
        site.open(session=8)
        site.run(2_000)
        assert site.state("dev_1")["sess_pulses"] > 0

    def test_button_ends_the_session(self, site: Site) -> None:
        site.open()
        site.run(2_000)
        site.ask("button", device="dev_1")
        site.run(1_000)

        assert site.state("dev_1")["close_reason"] == "user"

    def test_tap_and_code_reach_the_mailbox(self, site: Site) -> None:
        site.ask("tap", device="dev_1", uid="04a1b2c3d4e5f6")
        site.ask("code", device="dev_d", text="SC1.abc", side="out")

        outlet, door = site.world.lines["a"].unit(1), site.world.lines["b"].unit(1)
        assert outlet is not None
        assert door is not None
        assert outlet.read("input", 206, 5) == [7, 0x04A1, 0xB2C3, 0xD4E5, 0xF600]
        assert door.read("input", 321, 2) == [3, 7]

    def test_power_cut_of_the_whole_site_and_back(self, site: Site) -> None:
        site.open()
        site.open(unit=2)
        site.run(5_000)
        pulses = site.state("dev_1")["total_pulses"]
        site.ask("power_cut", device=None, seconds=2)
        assert site.world.lines["a"].unit(1) is None
        assert site.state("dev_1")["powered"] is False
        with pytest.raises(ControlRefused, match="no power"):
            site.ask("tap", device="dev_1", uid="04a1b2c3")
        site.run(3_000)

        assert site.state("dev_1") | {"boot_id": 2, "total_pulses": pulses} == site.state("dev_1")
        power_loss = load("chw.hwo1").code("close_reason", "POWER_LOSS")
        assert sorted(site.ends()) == [("dev_1", power_loss), ("dev_2", power_loss)]
        site.run(3_000)
        assert site.state("dev_1")["total_pulses"] == pulses

    def test_silence_hides_a_device_that_goes_on(self, site: Site) -> None:
        site.open(lease=600)
        site.ask("silent", device="dev_1", on=True)
        assert site.world.lines["a"].unit(1) is None
        site.run(31_000)
        assert site.state("dev_1")["close_reason"] == "comm_watchdog"
        site.ask("silent", device="dev_1", on=False)
        assert site.world.lines["a"].unit(1) is not None

    @pytest.mark.parametrize(
        ("fault", "closes_for"),
        [("over_temp", "scald"), ("burst_flow", "leak"), ("temp_sensor", "fault"), ("tamper", "fault"),
         ("stuck_closed", "fault"), ("flow_sensor", "fault")],
    )  # fmt: skip
    def test_fault_in_mid_shower_closes(self, site: Site, fault: str, closes_for: str) -> None:
        site.open()
        site.run(3_000)
        site.ask("fault", device="dev_1", fault=fault, on=True)
        site.run(4_000)

        assert site.state("dev_1")["close_reason"] == closes_for
        assert site.state("dev_1")["faults"]
        site.ask("fault", device="dev_1", fault=fault, on=False)

    def test_leak_and_stuck_valve_show_without_a_session(self, site: Site) -> None:
        site.ask("fault", device="dev_1", fault="leak_closed", on=True)
        site.run(8_000)

        assert site.state("dev_1")["faults"] == ["leak_closed"]
        assert site.state("dev_2")["faults"] == []

    def test_pass_needs_a_grant(self, site: Site) -> None:
        with pytest.raises(ControlRefused, match="locked"):
            site.ask("pass", device="dev_d", direction="in")
        assert site.ask("pass", device="dev_d", direction="in", force=True) == {"outcome": "forced"}

    @pytest.mark.parametrize(
        "request_",
        [
            {"do": "dance"},
            {},
            {"do": "tap", "device": "dev_9", "uid": "04a1b2c3"},
            {"do": "tap", "device": None, "uid": "04a1b2c3"},
            {"do": "tap", "device": "dev_1", "uid": "zz"},
            {"do": "tap", "device": "dev_1", "uid": "04"},
            {"do": "tap", "device": "dev_d", "uid": "04a1b2c3", "side": "up"},
            {"do": "tap_flow", "device": "dev_d", "open": True},
            {"do": "tap_flow", "device": "dev_1", "open": 1},
            {"do": "pass", "device": "dev_1", "direction": "in"},
            {"do": "pass", "device": "dev_d", "direction": "up"},
            {"do": "fault", "device": "dev_1", "fault": "bored", "on": True},
            {"do": "power_cut", "device": "dev_1", "seconds": -1},
            {"do": "power_cut", "device": "dev_1", "seconds": "x"},
            {"do": "state", "device": "dev_9"},
        ],
    )
    def test_refuses_with_a_reason(self, site: Site, request_: dict[str, Any]) -> None:
        with pytest.raises(ControlRefused, match=r"\w+ \w+"):
            handle(site.world, request_)


class TestWorld:
    def test_is_the_same_for_the_same_seed(self) -> None:
        sites = [Site(), Site()]
        for site in sites:
            site.open()
            site.open(unit=2)
            site.run(20_000)

        assert sites[0].world.state() == sites[1].world.state()

    def test_refuses_two_devices_with_one_unit_id(self) -> None:
        plan = {**PLAN, "devices": [*PLAN["devices"], {**PLAN["devices"][0], "device_id": "dev_3"}]}

        with pytest.raises(ValueError, match="unit 1 of dev_3 is taken"):
            Site(plan)

    def test_starts_again_from_now_after_a_long_sleep(self, site: Site) -> None:
        site.open()
        site.run(1_000)
        before = site.state("dev_1")["total_pulses"]

        site.world.advance(site.world.now_ms + 3_600_000)

        assert site.state("dev_1")["total_pulses"] - before < 10
        assert site.state("dev_1")["close_reason"] in ("none", "time_limit", "lease", "comm_watchdog")


class TestEndFile:
    def reasons(self) -> Any:
        return load("chw.hwo1").enums["close_reason"]

    def test_writes_each_end_once_over_restarts(self, site: Site, tmp_path: Path) -> None:
        path = tmp_path / "ends.jsonl"
        for session in (7, 8):
            site.open(session=session, limit_volume=200)
            site.run(4_000)
        for _ in range(2):
            ends = EndFile(path, self.reasons())
            for device, entry in site.entries:
                ends.write(device, entry)
            ends.close()

        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(line["session_u32"], line["reason"]) for line in lines] == [(7, "volume_limit"), (8, "volume_limit")]
        assert all(line["closing_pulses"] - line["opening_pulses"] == line["sess_pulses"] > 0 for line in lines)
        assert lines[0]["closing_pulses"] == lines[1]["opening_pulses"]
        assert abs(lines[0]["at"] - UNIX_MS) < 60_000

    def test_survives_a_line_cut_short(self, site: Site, tmp_path: Path) -> None:
        path = tmp_path / "ends.jsonl"
        path.write_text('{"device_id": "dev_2", "log_seq": 4}\n{"device_id": "dev_1", "log_s')
        site.open(limit_volume=200)
        site.run(4_000)
        ends = EndFile(path, self.reasons())
        for device, entry in site.entries:
            ends.write(device, entry)
        ends.close()

        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["device_id"] for line in lines] == ["dev_2", "dev_1"]
        assert lines[1]["session_u32"] == 7


class TestControlServer:
    def test_answers_each_line_and_survives_nonsense(self, site: Site) -> None:
        async def conversation() -> list[dict[str, Any]]:
            server = ControlServer(site.world, catch_up=lambda: None)
            port = await server.start(0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answers = []
            for line in (b'{"do":"state","device":"dev_1"}', b"nonsense", b"[1]", b'{"do":"dance"}', b"\xff\xfe"):
                writer.write(line + b"\n")
                async with asyncio.timeout(PATIENCE_S):
                    answers.append(json.loads(await reader.readline()))
            writer.close()
            await server.stop()
            return answers

        answers = asyncio.run(conversation())

        assert answers[0]["ok"] is True
        assert answers[0]["devices"][0]["device"] == "dev_1"
        assert [answer["ok"] for answer in answers[1:]] == [False] * 4
        assert answers[3]["error"] == "cannot do 'dance'"


class TestFileMemory:
    def test_brings_a_site_back_after_its_process_is_gone(self, tmp_path: Path) -> None:
        def memories() -> dict[str, NonVolatile]:
            return {raw["device_id"]: FileNvm(tmp_path / raw["device_id"]) for raw in PLAN["devices"]}

        first = Site(memories=memories())
        first.open()
        first.run(20_000)
        had = first.state("dev_1")["sess_volume_ml"]

        second = Site(memories=memories())

        ((device, reason),) = second.ends()
        assert (device, reason) == ("dev_1", load("chw.hwo1").code("close_reason", "POWER_LOSS"))
        assert had - 1_100 <= second.state("dev_1")["sess_volume_ml"] <= had
