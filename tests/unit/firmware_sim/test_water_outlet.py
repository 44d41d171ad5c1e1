"""HWO-1: one way in, many ways out, and a log that loses no end."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.device_memory import unpack
from firmware_sim.outlet_rules import ALLOWED, refusal
from firmware_sim.registers import BusRefusal
from firmware_sim.water_outlet import WaterOutlet
from tests.unit.firmware_sim.rig import LABEL, OPEN, UNIX_MS, Bench, PowerCut


@pytest.fixture
def bench() -> Bench:
    return Bench().ready()


class TestOpen:
    def test_lets_water_flow_and_logs_the_register(self, bench: Bench) -> None:
        assert bench.open() == ("DONE", 0)
        assert bench.outlet.state == "ARMED"

        bench.run(2_000)

        assert bench.outlet.state == "DISPENSING"
        assert bench.value("valve_open") == bench.value("in_session") == bench.value("flowing") == 1
        assert bench.value("flow") == pytest.approx(850, abs=20)
        (start,) = bench.records("START")
        assert (start.subject_id, start.token_tag, start.total, start.count) == (7, 99, 0, 0)
        assert start.unix_time == pytest.approx(UNIX_MS // 1000, abs=2)

    def test_result_carries_the_opening_register(self, bench: Bench) -> None:
        bench.open()
        bench.run(3_000)
        bench.command("CLOSE", session=7)
        bench.run_until("IDLE")
        closing = bench.outlet.total_pulses

        bench.open(session=8)

        assert closing > 0
        assert bench.value("res_pulses") == closing
        assert bench.value("res_session") == 8

    @pytest.mark.parametrize(
        ("changes", "detail"),
        [
            ({"limit_volume": 0}, 1),
            ({"limit_volume": 200_001}, 1),
            ({"limit_time": 0}, 2),
            ({"limit_time": 1_801}, 2),
            ({"lease": 0}, 3),
            ({"lease": 601}, 3),
            ({"idle": 601}, 4),
            ({"temp_max": 199}, 5),
            ({"temp_max": 601}, 5),
        ],
    )
    def test_refuses_a_bad_limit(self, bench: Bench, changes: dict[str, int], detail: int) -> None:
        assert bench.open(**changes) == ("BAD_LIMIT", detail)
        assert bench.outlet.state == "IDLE"
        assert not bench.records("START")

    def test_refuses_a_second_session(self, bench: Bench) -> None:
        bench.open()

        assert bench.open(session=8)[0] == "BUSY"
        assert bench.outlet.session_pulses() == 0
        assert bench.value("session_id") == 7

    def test_refuses_session_zero_and_a_session_that_ended(self, bench: Bench) -> None:
        assert bench.open(session=0)[0] == "BAD_STATE"
        bench.open()
        bench.command("CLOSE", session=7)
        bench.run_until("IDLE")

        assert bench.open(session=7)[0] == "BAD_STATE"

    def test_refuses_what_is_late(self, bench: Bench) -> None:
        now_s = bench.value("unix_time")

        assert bench.open(not_after=now_s) == ("EXPIRED", 0)
        assert bench.open(not_after=now_s + 5) == ("DONE", 0)

    def test_refuses_a_deadline_it_cannot_judge(self) -> None:
        bench = Bench(unix_ms=None).ready()

        assert bench.value("clock_unset") == 1
        assert bench.open(not_after=2_000_000_000) == ("EXPIRED", 1)
        bench.outlet.broadcast(69, [UNIX_MS // 1000 >> 16, UNIX_MS // 1000 & 0xFFFF, 0])
        assert bench.open(not_after=UNIX_MS // 1000 + 5) == ("DONE", 0)

    @pytest.mark.parametrize("fault", ["TAMPER", "FREEZE", "LOW_BACKUP", "CAL_INVALID", "STUCK_OPEN"])
    def test_refuses_while_a_blocking_fault_is_on(self, bench: Bench, fault: str) -> None:
        bench.outlet.force_fault(fault, True)

        assert bench.open() == ("FAULTED", bench.map.bits["faults"].index(fault))
        bench.outlet.force_fault(fault, False)
        assert bench.open() == ("DONE", 0)

    def test_refuses_an_unknown_opcode(self, bench: Bench) -> None:
        frame = bench.frame("OPEN", **OPEN)
        frame[1] = 77

        assert bench.send(frame) == ("BAD_STATE", 0xFFFF)


class TestCommandFrame:
    def test_answers_a_repeat_with_the_first_result_and_opens_once(self, bench: Bench) -> None:
        frame = bench.frame("OPEN", **OPEN)
        bench.outlet.write("holding", 256, frame)  # the reply is lost on the way
        bench.run(3_000)

        assert bench.send(frame) == ("DUPLICATE", bench.map.code("result", "DONE"))
        assert len(bench.records("START")) == 1
        assert bench.outlet.valve_cycles == 1

    def test_remembers_a_refusal_too(self, bench: Bench) -> None:
        frame = bench.frame("OPEN", **{**OPEN, "lease": 0})
        assert bench.send(frame)[0] == "BAD_LIMIT"

        assert bench.send(frame) == ("DUPLICATE", bench.map.code("result", "BAD_LIMIT"))

    def test_a_repeat_after_a_power_cut_does_not_open_again(self, bench: Bench) -> None:
        frame = bench.frame("OPEN", **OPEN)
        bench.send(frame)
        bench.run(1_000)
        bench.power_up()
        bench.run(300)

        assert bench.send(frame)[0] == "DUPLICATE"
        assert bench.outlet.state == "IDLE"

    @pytest.mark.parametrize("damage", ["commit", "token", "short", "long", "shifted", "single", "part"])
    def test_refuses_anything_but_the_whole_frame(self, bench: Bench, damage: str) -> None:
        frame = bench.frame("OPEN", **OPEN)
        address, single = 256, False
        match damage:
            case "commit":
                frame[18] ^= 1
            case "token":
                frame[0], frame[18] = 0, 0xA5C3
            case "short":
                frame = frame[:18]
            case "long":
                frame = [*frame, 0]
            case "shifted":
                address = 255
            case "single":
                frame, single = frame[:1], True
            case "part":
                address, frame = 258, frame[2:5]

        with pytest.raises(BusRefusal) as refused:
            bench.outlet.write("holding", address, frame, single=single)

        assert refused.value.code == 3
        assert bench.outlet.state == "IDLE"
        assert bench.value("res_token") == 0

    def test_shows_the_last_frame_written(self, bench: Bench) -> None:
        frame = bench.frame("OPEN", **OPEN)
        bench.send(frame)

        assert bench.outlet.read("holding", 256, 19) == frame


class TestClosing:
    def opened(self, bench: Bench, **changes: int) -> Bench:
        bench.open(**changes)
        bench.run(1_000)
        return bench

    def check(self, bench: Bench, reason: str) -> None:
        (end,) = bench.records("END")
        assert bench.ends() == [(7, reason, end.count)]
        assert end.total == bench.outlet.total_pulses
        assert end.token_tag == 99
        assert bench.value("close_reason") == bench.map.code("close_reason", reason)
        assert bench.outlet.valve_drive is False

    def test_at_the_volume_with_little_overrun(self, bench: Bench) -> None:
        self.opened(bench, limit_volume=1_000)
        bench.lpm = 12.0

        bench.run_until("IDLE")

        self.check(bench, "VOLUME_LIMIT")
        assert 1_000 <= bench.value("sess_volume") <= 1_100

    def test_at_the_time(self, bench: Bench) -> None:
        self.opened(bench, limit_time=10)

        took = bench.run_until("CLOSING", step_ms=10)

        assert took == pytest.approx(9_000, abs=50)
        bench.run_until("IDLE")
        self.check(bench, "TIME_LIMIT")

    def test_at_the_configured_longest_session(self, bench: Bench) -> None:
        bench.outlet.config["cfg_max_session"] = 10
        bench.open(limit_time=10)
        bench.outlet.config["cfg_max_session"] = 5

        assert bench.run_until("CLOSING") == pytest.approx(5_000, abs=50)

    def test_without_a_renewed_lease(self, bench: Bench) -> None:
        self.opened(bench, lease=5)
        assert bench.value("lease_left") == pytest.approx(4_000, abs=100)

        took = bench.run_until("CLOSING")

        assert took == pytest.approx(4_000, abs=50)
        bench.run_until("IDLE")
        self.check(bench, "LEASE")

    def test_with_nobody_polling(self, bench: Bench) -> None:
        self.opened(bench, lease=600)
        bench.polled = False

        took = bench.run_until("CLOSING")

        assert took == pytest.approx(30_000, abs=100)
        bench.run_until("IDLE")
        self.check(bench, "COMM_WATCHDOG")
        assert bench.value("link_lost") == 0 or bench.value("link_age") >= 30

    def test_without_flow(self, bench: Bench) -> None:
        self.opened(bench, idle=10)
        bench.mixer_open = False

        took = bench.run_until("CLOSING")

        assert took == pytest.approx(10_000, abs=50)
        bench.run_until("IDLE")
        self.check(bench, "NO_FLOW")
        assert bench.outlet.fault_names() == []

    def test_without_any_flow_at_all_it_suspects_the_valve(self, bench: Bench) -> None:
        bench.mixer_open = False
        bench.open()

        bench.run_until("IDLE")

        self.check(bench, "NO_FLOW")
        assert bench.outlet.fault_names() == ["NO_FLOW"]

    def test_when_scalding_and_stays_locked_until_cool(self, bench: Bench) -> None:
        self.opened(bench)
        bench.temp = 490

        took = bench.run_until("CLOSING", step_ms=10)

        assert took == pytest.approx(2_000, abs=50)
        bench.run_until("LOCKED")
        self.check(bench, "SCALD")
        bench.temp = 440
        bench.run(1_000)
        assert bench.open(session=8)[0] == "FAULTED"
        bench.temp = 429
        bench.run(100)
        assert bench.outlet.state == "IDLE"
        assert bench.open(session=8) == ("DONE", 0)

    def test_does_not_close_for_a_short_hot_spike_or_below_the_sessions_own_limit(self, bench: Bench) -> None:
        self.opened(bench, temp_max=420)
        bench.temp = 430
        bench.run(1_500)
        bench.temp = 410
        bench.run(1_000)
        assert bench.outlet.state == "DISPENSING"

        bench.temp = 430
        bench.run_until("LOCKED", within_ms=4_000)
        self.check(bench, "SCALD")

    def test_for_heat_at_the_devices_own_limit_when_the_session_allows_more(self, bench: Bench) -> None:
        cutoff = bench.outlet.config["cfg_temp_cutoff"]
        self.opened(bench, temp_max=600)
        bench.temp = cutoff
        bench.run(5_000)
        assert bench.outlet.state == "DISPENSING"

        bench.temp = cutoff + 1
        bench.run_until("LOCKED", within_ms=4_000)
        self.check(bench, "SCALD")

    def test_when_the_pipe_bursts(self, bench: Bench) -> None:
        self.opened(bench, limit_volume=100_000)
        bench.lpm = 30.0

        assert bench.run_until("CLOSING") < 4_000

        bench.run_until("IDLE")
        self.check(bench, "LEAK")
        assert "BURST_FLOW" in bench.outlet.fault_names()

    def test_when_the_sensor_breaks(self, bench: Bench) -> None:
        self.opened(bench)
        bench.temp = None

        bench.run_until("IDLE")

        self.check(bench, "FAULT")
        assert bench.value("temp_out") == -32768

    def test_by_the_button(self, bench: Bench) -> None:
        self.opened(bench)
        bench.outlet.press_stop(bench.now_ms)

        bench.run_until("IDLE")

        self.check(bench, "USER")

    @pytest.mark.parametrize("reason", ["REMOTE", "USER", "HANDOVER", "CARD", "REVOKED"])
    def test_by_command_for_the_reason_given(self, bench: Bench, reason: str) -> None:
        self.opened(bench)

        assert bench.command("CLOSE", session=7, limit_time=bench.map.code("close_reason", reason))[0] == "ACCEPTED"

        bench.run_until("IDLE")
        self.check(bench, reason)

    def test_by_command_needs_the_right_session_and_an_allowed_reason(self, bench: Bench) -> None:
        self.opened(bench)

        assert bench.command("CLOSE", session=8)[0] == "BAD_STATE"
        assert bench.command("CLOSE", session=7, limit_time=bench.map.code("close_reason", "SCALD"))[0] == "BAD_LIMIT"
        assert bench.outlet.state == "DISPENSING"
        assert bench.command("CLOSE", session=0)[0] == "ACCEPTED"

    def test_of_what_is_closed_is_no_error(self, bench: Bench) -> None:
        self.opened(bench)
        bench.command("CLOSE", session=7)
        assert bench.command("CLOSE", session=7)[0] == "ACCEPTED"
        bench.run_until("IDLE")

        assert bench.command("CLOSE", session=7)[0] == "DONE"
        assert bench.command("CLOSE", session=6)[0] == "BAD_STATE"
        assert len(bench.ends()) == 1

    def test_of_a_stuck_valve_ends_the_session_and_bills_no_more(self, bench: Bench) -> None:
        self.opened(bench)
        bench.stuck_open = True
        bench.command("CLOSE", session=7)

        assert bench.run_until("IDLE") == pytest.approx(5_000, abs=100)
        bench.run(3_000)

        assert "STUCK_OPEN" in bench.outlet.fault_names()
        assert len(bench.ends()) == 1
        assert bench.records("END")[0].total < bench.outlet.total_pulses
        assert bench.records("UNBILLED_FLOW")

    def test_keeps_sessions_contiguous_on_the_register(self, bench: Bench) -> None:
        for session in range(1, 6):
            bench.open(session=session)
            bench.run(1_700)
            bench.command("CLOSE", session=session)
            bench.run_until("IDLE")

        starts, ends = bench.records("START"), bench.records("END")
        assert [end.total - end.count for end in ends] == [start.total for start in starts]
        assert [start.total for start in starts[1:]] == [end.total for end in ends[:-1]]


class TestExtend:
    def test_renews_the_lease(self, bench: Bench) -> None:
        bench.open(lease=5)
        for _ in range(5):
            bench.run(4_000)
            assert bench.command("EXTEND", session=7) == ("DONE", 0)

        assert bench.outlet.state == "DISPENSING"

    def test_raises_limits_absolutely(self, bench: Bench) -> None:
        bench.open(limit_volume=1_000)
        for _ in range(2):
            bench.command("EXTEND", session=7, limit_volume=1_500)

        bench.run_until("IDLE")

        assert 1_500 <= bench.value("sess_volume") < 1_600

    @pytest.mark.parametrize(
        ("fields", "answer"),
        [
            ({"session": 8}, ("BAD_STATE", 0)),
            ({"session": 7, "limit_volume": 9_999}, ("BAD_LIMIT", 1)),
            ({"session": 7, "limit_volume": 200_001}, ("BAD_LIMIT", 1)),
            ({"session": 7, "limit_time": 599}, ("BAD_LIMIT", 2)),
            ({"session": 7, "lease": 601}, ("BAD_LIMIT", 3)),
        ],
    )
    def test_refuses(self, bench: Bench, fields: dict[str, int], answer: tuple[str, int]) -> None:
        bench.open()

        assert bench.command("EXTEND", **fields) == answer


class TestPause:
    def test_stops_the_water_and_goes_on_with_the_same_session(self, bench: Bench) -> None:
        bench.open()
        bench.run(1_000)
        assert bench.command("PAUSE", session=7) == ("DONE", 0)
        bench.run(40_000)
        assert bench.outlet.state == "PAUSED"
        paused_at = bench.outlet.session_pulses()

        assert bench.open(session=8)[0] == "BUSY"
        assert bench.open() == ("DONE", 0)
        bench.run(1_000)

        assert bench.outlet.session_pulses() > paused_at
        assert len(bench.records("START")) == 1

    def test_gives_the_flow_its_time_again_when_the_water_goes_on(self, bench: Bench) -> None:
        bench.open(idle=3, lease=600)
        bench.run(1_000)
        bench.command("PAUSE", session=7)
        bench.run(40_000)
        bench.mixer_open = False

        assert bench.open(idle=3, lease=600) == ("DONE", 0)
        took = bench.run_until("CLOSING")

        assert took == pytest.approx(3_000, abs=100)
        bench.run_until("IDLE")
        assert bench.ends()[-1][1] == "NO_FLOW"

    def test_does_not_stop_the_clocks_of_lease_and_time(self, bench: Bench) -> None:
        bench.open(lease=5)
        bench.command("PAUSE", session=7)

        bench.run_until("IDLE", within_ms=6_000)

        assert bench.ends()[0][1] == "LEASE"


class TestStateTable:
    OPCODES = tuple(Bench().map.enums["opcode"].values())

    def in_state(self, state: str) -> Bench:
        bench = Bench().ready()
        if state in ("ARMED", "DISPENSING", "PAUSED", "CLOSING"):
            bench.open()
        if state in ("DISPENSING", "CLOSING"):
            bench.run(1_000)
        if state == "PAUSED":
            bench.command("PAUSE", session=7)
        if state == "CLOSING":
            bench.command("CLOSE", session=7)
        if state in ("BOOT", "LOCKED", "SERVICE"):
            bench.outlet.state = state
        assert bench.outlet.state == state
        return bench

    @pytest.mark.parametrize(("state", "opcode"), list(itertools.product(sorted(ALLOWED), OPCODES)))
    def test_allows_what_the_table_says_and_nothing_else(self, state: str, opcode: str) -> None:
        bench = self.in_state(state)
        fields = OPEN if opcode in ("OPEN", "EXTEND") else {"session": 0 if state == "LOCKED" else 7}

        result, _ = bench.command(opcode, **fields)

        refused = refusal(state, opcode)
        if refused is not None:
            assert result == refused
            assert bench.outlet.state == state
        elif state == "IDLE" and opcode == "CLOSE":
            assert result == "BAD_STATE"  # no session of that number has been here
        else:
            assert result in ("DONE", "ACCEPTED")

    def test_knows_every_state_of_the_map(self) -> None:
        assert set(ALLOWED) == set(Bench().map.enums["state"].values())
        assert set().union(*ALLOWED.values()) == set(self.OPCODES)


class TestConfiguration:
    def test_needs_the_unlock_and_is_logged_and_kept(self, bench: Bench) -> None:
        with pytest.raises(BusRefusal) as refused:
            bench.write("cfg_noflow", 60)
        assert refused.value.code == 3
        bench.write("cfg_unlock", 0x55AA)

        bench.write("cfg_noflow", 60)

        assert bench.value("cfg_noflow") == 60
        assert bench.value("cfg_seq") == 1
        assert [record.aux for record in bench.records("CONFIG")] == [bench.map.points["cfg_noflow"].address]
        bench.power_up()
        assert bench.value("cfg_noflow") == 60
        with pytest.raises(BusRefusal):
            bench.write("cfg_noflow", 61)

    def test_locks_again_after_thirty_seconds(self, bench: Bench) -> None:
        bench.write("cfg_unlock", 0x55AA)
        bench.run(30_000)

        with pytest.raises(BusRefusal):
            bench.write("cfg_noflow", 60)

    def test_refuses_values_out_of_bounds_and_changes_during_a_session(self, bench: Bench) -> None:
        bench.write("cfg_unlock", 0x55AA)
        with pytest.raises(BusRefusal) as out_of_bounds:
            bench.write("cfg_comm_watchdog", 4)
        bench.open()
        with pytest.raises(BusRefusal) as busy:
            bench.write("cfg_noflow", 60)

        assert (out_of_bounds.value.code, busy.value.code) == (3, 6)

    def test_a_new_k_factor_shows_in_the_identity(self, bench: Bench) -> None:
        bench.write("cfg_unlock", 0x55AA)
        bench.write("cfg_cal_k", 451_000)

        assert bench.value("k_factor") == 451_000


class TestRegisters:
    def test_give_a_consistent_snapshot(self, bench: Bench) -> None:
        bench.open()
        bench.run(500)

        words = bench.outlet.read("input", 100, 28)

        assert words[0] == words[27]

    @pytest.mark.parametrize(
        ("table", "address", "count"),
        [("input", 45, 1), ("input", 99, 2), ("input", 127, 2), ("holding", 20, 1), ("discrete", 16, 1), ("coil", 2, 1),
         ("holding", 274, 2), ("input", 65_000, 1)],
    )  # fmt: skip
    def test_refuse_an_undefined_address(self, bench: Bench, table: str, address: int, count: int) -> None:
        with pytest.raises(BusRefusal) as refused:
            bench.outlet.read(table, address, count)

        assert refused.value.code == 2

    def test_can_be_read_through_the_middle_of_a_point(self, bench: Bench) -> None:
        whole = bench.outlet.read("input", 0, 45)

        assert bench.outlet.read("input", 6, 3) == whole[6:9]

    def test_refuse_half_a_point_and_what_is_read_only(self, bench: Bench) -> None:
        with pytest.raises(BusRefusal) as half:
            bench.outlet.write("holding", 64, [1])
        with pytest.raises(BusRefusal) as read_only:
            bench.outlet.write("holding", 288, [1])

        assert (half.value.code, read_only.value.code) == (3, 2)

    def test_take_a_display_text_of_any_bytes_and_give_it_back(self, bench: Bench) -> None:
        words = [0xE6B4 + number for number in range(16)]
        bench.outlet.write("holding", 72, [*words, 10])

        assert bench.outlet.read("holding", 72, 17) == [*words, 10]

    def test_identify_the_device_and_its_map(self, bench: Bench) -> None:
        assert bench.outlet.read("input", 0, 5) == [0x4348, 0x5731, 0x4801, 0x0100, bench.map.crc]
        assert bench.value("k_factor") == LABEL.k_factor_pulses_per_m3

    def test_set_the_clock_only_as_a_whole(self, bench: Bench) -> None:
        with pytest.raises(BusRefusal):
            bench.outlet.write("holding", 69, [1, 2])
        bench.outlet.write("holding", 69, [0x7000, 0, 250])

        assert bench.value("unix_time") == 0x70000000
        assert bench.value("clock_quality") == 2
        assert bench.records("CLOCK_STEP")


class TestLeak:
    def test_is_noticed_while_shut_and_counted_as_unbilled(self, bench: Bench) -> None:
        bench.leak_lpm = 1.5
        bench.run(6_000)

        assert bench.value("leak") == 1
        (unbilled,) = bench.records("UNBILLED_FLOW")
        assert unbilled.count == pytest.approx(45, abs=3)
        assert bench.open()[0] == "FAULTED"

        bench.leak_lpm = 0.0
        bench.run(61_000)
        assert sum(record.count for record in bench.records("UNBILLED_FLOW")) == bench.outlet.total_pulses
        assert bench.command("CLEAR_FAULT") == ("DONE", 0)
        assert bench.open() == ("DONE", 0)

    def test_drips_below_the_threshold_raise_nothing(self, bench: Bench) -> None:
        bench.leak_lpm = 0.05
        bench.run(60_000)

        assert bench.outlet.fault_names() == []


class TestLog:
    def test_window_shows_six_records_from_the_cursor(self, bench: Bench) -> None:
        for session in range(1, 6):
            bench.open(session=session)
            bench.command("CLOSE", session=session)
            bench.run_until("IDLE")
        first = bench.outlet.log.head - 9
        bench.write("log_cursor", first)

        words = bench.outlet.read("holding", 400, 125)

        assert words[0] << 16 | words[1] == first
        assert words[2] << 16 | words[3] == bench.outlet.log.head
        assert words[4] == 6
        assert [words[5 + 20 * n] << 16 | words[6 + 20 * n] for n in range(6)] == list(range(first, first + 6))

    def test_acknowledgement_only_grows_and_never_passes_the_head(self, bench: Bench) -> None:
        bench.open()
        head = bench.outlet.log.head
        assert bench.value("log_pending") == 1
        bench.write("log_ack", head)
        bench.write("log_ack", head - 1)

        assert bench.value("log_ack") == head
        assert bench.value("log_pending") == 0
        with pytest.raises(BusRefusal) as refused:
            bench.write("log_ack", head + 1)
        assert refused.value.code == 3

    def shower(self, bench: Bench, session: int) -> str:
        result = bench.open(session=session)[0]
        if result == "DONE":
            bench.command("CLOSE", session=session)
            bench.run_until("IDLE", step_ms=200)
        return result

    def test_full_ring_refuses_openings_and_loses_no_end(self, bench: Bench) -> None:
        opened = 0
        while self.shower(bench, opened + 1) == "DONE":
            opened += 1
        assert self.shower(bench, opened + 1) == "LOG_FULL"
        assert bench.value("log_full") == 1
        bench.open(session=999)

        assert [session for session, _, _ in bench.ends()] == list(range(1, opened + 1))
        assert 128 - 8 - 2 <= bench.outlet.log.waiting <= 128 - 8 + 1

        bench.acknowledge()
        assert bench.value("log_full") == 0
        assert self.shower(bench, opened + 1) == "DONE"

    def test_end_finds_room_however_many_faults_come_and_go(self, bench: Bench) -> None:
        session = 0
        while bench.outlet.log.waiting < 128 - 10:
            session += 1
            self.shower(bench, session)
        assert bench.open(session=session + 1)[0] == "DONE"
        for _ in range(20):
            bench.outlet.force_fault("LOW_SUPPLY", True)
            bench.outlet.force_fault("LOW_SUPPLY", False)
        assert bench.outlet.log.dropped > 0

        bench.command("CLOSE", session=session + 1)
        bench.run_until("IDLE")

        assert bench.ends()[-1][0] == session + 1

    def test_sequence_goes_on_over_many_laps_and_boots(self, bench: Bench) -> None:
        seen: list[int] = []
        for session in range(1, 150):
            self.shower(bench, session)
            seen += [record.seq for record in bench.records() if record.seq > bench.outlet.log.acked]
            bench.acknowledge()
            if session % 40 == 0:
                bench.power_up()
                bench.run(300)

        assert seen == list(range(seen[0], seen[0] + len(seen)))
        assert bench.outlet.log.head > 128
        assert len(bench.outlet.log.records) == 128


class TestPowerCut:
    def test_ends_the_session_at_boot_and_does_not_resume(self, bench: Bench) -> None:
        bench.open()
        bench.run(5_000)
        bench.outlet.falling_supply(bench.now_ms)
        pulses, boot_id = bench.outlet.total_pulses, bench.outlet.boot_id

        bench.power_up()

        assert bench.outlet.boot_id == boot_id + 1
        assert bench.ends() == [(7, "POWER_LOSS", pulses)]
        assert bench.outlet.total_pulses == pulses
        bench.run(1_000)
        assert bench.outlet.state == "IDLE"
        assert bench.value("rebooted") == 1
        bench.power_up()
        assert len(bench.ends()) == 1

    def test_without_warning_loses_at_most_a_liter(self, bench: Bench) -> None:
        bench.lpm = 12.0
        bench.open(limit_volume=100_000)
        for _ in range(40):
            bench.run(700)
            kept = unpack(bench.nvm.body).own["total_pulses"]
            assert isinstance(kept, int)
            assert bench.outlet.volume_ml(bench.outlet.total_pulses - kept) <= 1_020

        bench.power_up()

        assert bench.outlet.total_pulses == kept == bench.records("END")[0].total

    def test_without_warning_loses_at_most_ten_seconds(self, bench: Bench) -> None:
        bench.lpm = 2.0
        bench.open()
        bench.run(29_000)
        had = bench.outlet.total_pulses

        bench.power_up()

        assert had - bench.outlet.total_pulses <= 2.0 / 6 * 450 + 10

    @settings(max_examples=120, deadline=None)
    @given(
        saves=st.integers(min_value=1, max_value=40),
        keep_last=st.booleans(),
        showers=st.lists(st.integers(min_value=1, max_value=4_000), min_size=1, max_size=4),
        acknowledge=st.booleans(),
    )
    def test_at_any_save_leaves_each_started_session_exactly_one_end(
        self, saves: int, keep_last: bool, showers: list[int], acknowledge: bool
    ) -> None:
        bench = Bench().ready()
        bench.nvm.saves_left, bench.nvm.keep_last = saves, keep_last
        read_ends: list[tuple[int, int]] = []
        done: set[int] = set()

        def drain() -> None:
            read_ends.extend((r.seq, r.subject_id) for r in bench.records("END") if r.seq > bench.outlet.log.acked)
            if acknowledge:
                bench.acknowledge()

        for session, duration_ms in enumerate(showers, start=1):
            try:
                if bench.open(session=session)[0] == "DONE":
                    bench.run(duration_ms)
                    bench.command("CLOSE", session=session)
                    bench.run_until("IDLE")
                    done.add(session)
                drain()
            except PowerCut:
                bench.power_up()
                bench.run(300)
        drain()

        ends = sorted(set(read_ends))
        started = {r.subject_id for r in bench.records("START")}
        assert len({subject for _, subject in ends}) == len(ends), "an END exists twice"
        assert done <= {subject for _, subject in ends}
        assert started <= {subject for _, subject in ends}
        held = bench.records("END")
        assert all(before.total <= after.total - after.count for before, after in itertools.pairwise(held))

    def test_reboot_by_command_ends_the_session_first(self, bench: Bench) -> None:
        bench.open()
        bench.run(2_000)

        assert bench.command("REBOOT")[0] == "ACCEPTED"
        bench.run(1_500)

        assert bench.ends()[0][:2] == (7, "REBOOT")
        assert bench.outlet.boot_id == 2
        assert bench.outlet.state == "IDLE"

    def test_damaged_memory_blocks_openings_until_cleared(self, bench: Bench) -> None:
        class Damaged(type(bench.nvm)):  # type: ignore[misc]
            def load(self) -> bytes:
                from firmware_sim.nvm import NvmDamaged

                raise NvmDamaged

        bench.nvm = Damaged()
        bench.outlet = WaterOutlet(bench.map, LABEL, bench.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS)
        bench.run(300)

        assert bench.open()[0] == "FAULTED"
        bench.command("CLEAR_FAULT")
        assert bench.open()[0] == "DONE"


class TestMailbox:
    def test_shows_the_oldest_until_it_is_taken(self, bench: Bench) -> None:
        box = bench.outlet.mailboxes["mbx"]
        first = box.post(source=1, uid=bytes.fromhex("A41E45C6"), payload=b"", now_ms=bench.now_ms, unix_time=5)
        second = box.post(source=3, uid=b"", payload=b"SC1.token", now_ms=bench.now_ms, unix_time=6)

        assert bench.value("mbx_pending") == 1
        assert bench.value("mbx_item_seq") == bench.value("mbx_end") == first
        assert bench.value("mbx_source") == 1
        assert bench.outlet.read("input", 206, 3) == [4, 0xA41E, 0x45C6]
        assert bench.value("mbx_seq") == second
        bench.write("mbx_ack", second)
        assert bench.value("mbx_item_seq") == first
        bench.write("mbx_ack", first)
        assert bench.value("mbx_source") == 3
        assert bench.value("mbx_len") == 9
        bench.write("mbx_ack", second)
        assert bench.value("mbx_pending") == bench.value("mbx_item_seq") == 0

    def test_says_what_is_stale_truncated_or_lost(self, bench: Bench) -> None:
        box = bench.outlet.mailboxes["mbx"]
        box.post(source=3, uid=b"", payload=b"x" * 300, now_ms=bench.now_ms, unix_time=0)
        assert bench.value("mbx_flags") == 0b001
        bench.run(10_100)
        assert bench.value("mbx_flags") == 0b011
        for _ in range(4):
            last = box.post(source=1, uid=b"1234", payload=b"", now_ms=bench.now_ms, unix_time=0)
        for _ in range(3):
            bench.write("mbx_ack", bench.value("mbx_item_seq"))

        assert bench.value("mbx_item_seq") == last
        assert bench.value("mbx_flags") == 0b100

    def test_starts_elsewhere_after_a_boot(self, bench: Bench) -> None:
        before = bench.value("mbx_seq")
        bench.power_up()

        assert bench.value("mbx_seq") != before
