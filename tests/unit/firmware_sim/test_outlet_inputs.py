"""What an outlet feels besides water: lids, plugs, keys, voltages, cold; and what it does about it."""

from dataclasses import replace

import pytest

from firmware_sim.device import Identity
from firmware_sim.inputs import Inputs
from firmware_sim.water_outlet import WaterOutlet
from tests.unit.firmware_sim.rig import K_FACTOR, UNIX_MS, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench().ready()


def feel(bench: Bench, *, run_ms: int = 50, **changes: object) -> None:
    """Change inputs and let a moment pass."""
    bench.outlet.inputs = replace(bench.outlet.inputs, **changes)  # type: ignore[arg-type]
    bench.run(run_ms)


class TestInputs:
    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"sensor_unplugged": True}, "FLOW_SENSOR"),
            ({"tamper": True}, "TAMPER"),
            ({"backup_mv": 2_799}, "LOW_BACKUP"),
            ({"temp_in_decidegc": 10}, "FREEZE"),
        ],
    )
    def test_that_are_dangerous_end_the_session_and_block_the_next(
        self, bench: Bench, changes: dict[str, object], fault: str
    ) -> None:
        bench.open()
        bench.run(1_000)

        feel(bench, **changes)
        bench.run_until("IDLE")

        assert bench.ends()[0][1] == "FAULT"
        assert bench.outlet.fault_names() == [fault]
        assert bench.open(session=8) == ("FAULTED", bench.map.bits["faults"].index(fault))

    @pytest.mark.parametrize(
        ("low", "good", "fault", "register"),
        [
            ({"supply_mv": 20_399}, {"supply_mv": 21_600}, "LOW_SUPPLY", "v_supply"),
            ({"backup_mv": 2_799}, {"backup_mv": 3_000}, "LOW_BACKUP", "v_backup"),
        ],
    )
    def test_voltages_need_more_to_be_good_again(
        self, bench: Bench, low: dict[str, int], good: dict[str, int], fault: str, register: str
    ) -> None:
        (name, low_mv), (_, good_mv) = (*low.items(), *good.items())
        feel(bench, **{name: low_mv + 1})
        assert bench.outlet.fault_names() == []
        feel(bench, **{name: low_mv})
        assert bench.outlet.fault_names() == [fault]
        assert bench.value(register) == low_mv
        feel(bench, **{name: good_mv - 1})
        assert bench.outlet.fault_names() == [fault]
        feel(bench, **{name: good_mv})

        assert bench.outlet.fault_names() == []

    def test_a_low_supply_blocks_nothing(self, bench: Bench) -> None:
        feel(bench, supply_mv=19_000)

        assert bench.value("supply_low") == 1
        assert bench.open() == ("DONE", 0)

    def test_an_unplugged_sensor_leaves_evidence_and_heals_by_itself(self, bench: Bench) -> None:
        feel(bench, sensor_unplugged=True)
        feel(bench, sensor_unplugged=False)

        assert [record.aux for record in bench.records("TAMPER")] == [2]
        assert bench.outlet.fault_names() == []
        assert bench.open() == ("DONE", 0)

    def test_an_opened_lid_is_remembered_until_cleared_with_the_lid_shut(self, bench: Bench) -> None:
        feel(bench, tamper=True)
        assert bench.command("CLEAR_FAULT") == ("DONE", 0)
        bench.run(50)
        assert bench.outlet.fault_names() == ["TAMPER"]
        feel(bench, tamper=False)
        assert bench.value("tamper") == 1

        bench.command("CLEAR_FAULT")
        bench.run(50)

        assert bench.outlet.fault_names() == []
        assert [record.aux for record in bench.records("TAMPER")] == [1]

    def test_a_silent_reader_posts_nothing_but_the_button_works(self, bench: Bench) -> None:
        feel(bench, reader_online=False)
        box = bench.outlet.mailboxes["mbx"]

        assert box.post(source=1, uid=b"\x01", payload=b"", now_ms=bench.now_ms, unix_time=0) == 0
        bench.outlet.press_stop(bench.now_ms)

        assert bench.value("mbx_source") == 4
        assert bench.outlet.fault_names() == ["READER_OFFLINE"]

    def test_cold_water_is_a_fault_until_cleared_in_the_warm(self, bench: Bench) -> None:
        bench.temp = 10
        bench.run(50)
        bench.temp = 200
        bench.run(50)
        assert bench.outlet.fault_names() == ["FREEZE"]

        bench.command("CLEAR_FAULT")
        bench.run(50)

        assert bench.outlet.fault_names() == []

    def test_are_felt_anew_after_a_boot(self, bench: Bench) -> None:
        feel(bench, tamper=True)
        bench.acknowledge()
        bench.command("REBOOT")
        bench.run(500)

        assert bench.value("boot_id") == 2
        assert len(bench.records("TAMPER")) == 2


class TestServiceKey:
    def test_takes_the_outlet_out_of_service_and_gives_it_back(self, bench: Bench) -> None:
        feel(bench, service_key=True)
        assert bench.outlet.state == "SERVICE"
        assert bench.value("service_key") == 1
        assert bench.open()[0] == "BAD_STATE"

        feel(bench, service_key=False)

        assert bench.outlet.state == "IDLE"
        assert bench.open() == ("DONE", 0)

    def test_ends_a_session_first(self, bench: Bench) -> None:
        bench.open()
        bench.run(1_000)
        used = bench.outlet.session_pulses()

        feel(bench, service_key=True)
        bench.run_until("SERVICE")

        assert bench.ends()[0][:2] == (7, "USER")
        (local,) = bench.records("LOCAL_CLOSE")
        assert (local.subject_id, local.aux) == (7, 2)
        assert local.count >= used

    def test_off_again_leaves_a_hot_outlet_locked(self, bench: Bench) -> None:
        bench.open()
        bench.temp = 500
        bench.run_until("LOCKED")
        feel(bench, service_key=True)
        assert bench.outlet.state == "SERVICE"
        feel(bench, service_key=False)

        assert bench.outlet.state == "LOCKED"


class TestButton:
    def test_leaves_a_record_of_its_own(self, bench: Bench) -> None:
        bench.open()
        bench.run(1_000)

        bench.outlet.press_stop(bench.now_ms)
        bench.outlet.press_stop(bench.now_ms)
        bench.run_until("IDLE")

        (local,) = bench.records("LOCAL_CLOSE")
        assert (local.subject_id, local.token_tag, local.aux) == (7, 99, 1)
        assert bench.value("mbx_pending") == 0

    def test_tells_the_gateway_when_nobody_showers(self, bench: Bench) -> None:
        bench.outlet.press_stop(bench.now_ms)

        assert (bench.value("mbx_pending"), bench.value("mbx_source"), bench.value("mbx_len")) == (1, 4, 0)


class TestSelfTest:
    def test_lasts_a_second_and_finds_an_open_coil(self, bench: Bench) -> None:
        bench.outlet.inputs = replace(bench.outlet.inputs, coil_ok=False)
        assert bench.command("SELF_TEST") == ("ACCEPTED", 0)
        bench.run(950)
        assert bench.outlet.state == "SERVICE"
        assert bench.command("SELF_TEST") == ("BUSY", 0)
        assert bench.open()[0] == "BAD_STATE"
        bench.run(50)

        assert bench.outlet.state == "IDLE"
        assert bench.outlet.fault_names() == ["STUCK_CLOSED"]

    def test_clears_what_it_finds_mended(self, bench: Bench) -> None:
        bench.outlet.inputs = replace(bench.outlet.inputs, coil_ok=False)
        bench.command("SELF_TEST")
        bench.run(1_000)
        bench.outlet.inputs = Inputs()
        bench.command("SELF_TEST")
        bench.run(1_000)

        assert bench.outlet.fault_names() == []
        assert bench.open() == ("DONE", 0)


class TestPauseRecords:
    def test_say_what_was_used_so_far(self, bench: Bench) -> None:
        bench.open()
        bench.run(2_000)
        bench.command("PAUSE", session=7)
        paused_with = bench.outlet.session_pulses()
        bench.run(5_000)
        bench.open()

        paused, resumed = bench.records("CHECKPOINT")
        assert (paused.subject_id, paused.aux, paused.count) == (7, 4, paused_with)
        assert (resumed.subject_id, resumed.aux) == (7, 2)


class TestUnbilled:
    def test_flow_is_logged_before_the_next_session_begins(self, bench: Bench) -> None:
        bench.leak_lpm = 0.3
        bench.run(10_000)
        bench.leak_lpm = 0.0

        bench.open()

        leaked, start = bench.records()[-2:]
        assert (leaked.count, leaked.subject_id) == (start.total, 0)
        assert leaked.type == bench.map.code("record_type", "UNBILLED_FLOW")

    def test_flow_survives_a_power_cut(self, bench: Bench) -> None:
        bench.leak_lpm = 0.3
        bench.run(10_000)
        bench.leak_lpm = 0.0
        ran = bench.outlet.total_pulses
        bench.outlet.falling_supply(bench.now_ms)
        bench.power_up()
        bench.run(61_000)

        assert [record.count for record in bench.records("UNBILLED_FLOW")] == [ran]

    def test_flow_waits_for_room_in_the_log(self, bench: Bench) -> None:
        for _ in range(70):
            bench.outlet.force_fault("LOW_SUPPLY", True)
            bench.outlet.force_fault("LOW_SUPPLY", False)
        bench.leak_lpm = 0.3
        bench.run(10_000)
        bench.leak_lpm = 0.0
        bench.run(61_000)
        assert not bench.records("UNBILLED_FLOW")

        bench.acknowledge()
        bench.run(50)

        assert [record.count for record in bench.records("UNBILLED_FLOW")] == [bench.outlet.total_pulses]


class TestEnergy:
    def test_is_the_heat_in_the_water(self, bench: Bench) -> None:
        bench.outlet.inputs = replace(bench.outlet.inputs, temp_in_decidegc=100)
        bench.open(limit_volume=20_000, lease=600)
        bench.run_until("IDLE", within_ms=300_000)

        liters = bench.outlet.volume_ml(bench.outlet.total_pulses) / 1_000
        assert bench.value("energy") == pytest.approx(liters * 30 * 4_186 / 3_600, rel=0.01)

    def test_is_unknown_without_a_second_sensor(self, bench: Bench) -> None:
        bench.open()
        bench.run(5_000)

        assert bench.value("energy") == 0
        assert bench.value("temp_in") == -32_768


class TestLatchingValve:
    @pytest.mark.parametrize(("backup_mv", "stays"), [(3_300, False), (2_000, True)])
    def test_stays_open_without_power_when_nothing_is_stored(self, backup_mv: int, stays: bool) -> None:
        bench = Bench()
        label = Identity(
            device_id="dev_l",
            serial="HW-2",
            device_uid=9,
            model="HWO-1",
            k_factor_pulses_per_m3=K_FACTOR,
            latching=True,
        )
        bench.outlet = WaterOutlet(bench.map, label, bench.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS)
        bench.ready()
        bench.open()
        bench.run(100)
        bench.outlet.inputs = Inputs(backup_mv=backup_mv)
        bench.outlet.feel()

        assert bench.outlet.stays_open_without_power is stays


class TestCalibration:
    def test_that_is_missing_is_a_fault_until_it_is_given(self) -> None:
        bench = Bench()
        label = Identity(device_id="dev_c", serial="HW-3", device_uid=9, model="HWO-1")
        bench.nvm.body = None
        bench.outlet = WaterOutlet(bench.map, label, bench.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS)
        bench.run(300)
        assert bench.outlet.fault_names() == ["CAL_INVALID"]
        assert bench.open()[0] == "FAULTED"

        bench.write("cfg_unlock", 0x55AA)
        bench.write("cfg_cal_k", K_FACTOR)

        assert bench.outlet.fault_names() == []
        assert bench.open() == ("DONE", 0)

    def test_that_changes_leaves_old_and_new_in_the_log(self, bench: Bench) -> None:
        bench.write("cfg_unlock", 0x55AA)
        bench.outlet.write("holding", 13, [61, 31])
        bench.outlet.write("holding", 13, [61, 31])
        bench.write("cfg_cal_k", 451_000)

        changes = [(record.aux, record.token_tag, record.count) for record in bench.records("CONFIG")]
        assert changes == [(13, 60, 61), (14, 30, 31), (17, K_FACTOR, 451_000)]
        assert bench.value("cfg_seq") == 2


class TestSetClock:
    @pytest.mark.parametrize(
        ("step_ms", "logged"), [(2_000, []), (2_999, []), (3_000, [3]), (-2_000, []), (-3_000, [3])]
    )
    def test_logs_a_step_of_more_than_two_seconds(self, bench: Bench, step_ms: int, logged: list[int]) -> None:
        bench.outlet.set_clock(bench.outlet.unix_ms() + step_ms)

        assert [record.aux for record in bench.records("CLOCK_STEP")] == logged
