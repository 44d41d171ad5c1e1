"""
Whatever comes in whatever order, an outlet keeps its promises.

Commands, repeats, water, heat, leaks, broken inputs, silence, acknowledgements, power cuts in the middle of a write:
after every step the valve is open only within an unexpired lease and limits, the register has not gone down, no
sequence was used twice, each session that began has one END once it is over and none before, and every pulse of the
register is billed or explained.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from firmware_sim.event_log import Record, unpack
from firmware_sim.inputs import QUIET
from firmware_sim.nvm import PowerCut, TornNvm
from firmware_sim.outlet_rules import BLOCKING
from firmware_sim.water_outlet import WaterOutlet
from tests.unit.firmware_sim.rig import LABEL, UNIX_MS, Bench

WATCHDOG_MS = 30_000
STEP_MS = 50


class Outlet(RuleBasedStateMachine):
    """One outlet and everything that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.nvm = TornNvm()
        self.records: dict[int, Record] = {}
        self.results: dict[int, tuple[str, int]] = {}
        self.register = 0
        self.sessions = 0
        self.frames: dict[int, list[int]] = {}

    @initialize()
    def boot(self) -> None:
        self._power_up()
        self.bench.run(300)
        self._collect()

    def _power_up(self) -> None:
        bench = self.bench
        bench.outlet = WaterOutlet(bench.map, LABEL, self.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS + bench.now_ms)
        assert not bench.outlet.valve_drive
        self.register = bench.outlet.total_pulses
        self.results.clear()

    def _try(self, work: object) -> None:
        """Do something during which the power may fail."""
        try:
            work()  # type: ignore[operator]
        except PowerCut:
            self._power_up()
        self._collect()

    def _collect(self) -> None:
        log = self.bench.outlet.log
        for sequence, data in log.records.items():
            record = unpack(data)
            assert record.seq == sequence
            known = self.records.setdefault(sequence, record)
            assert known == record, "a sequence means two things"
        assert max(self.records, default=0) == log.head, "a record that was shown has gone"

    # what happens -------------------------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([10, 50, 200, 1_000, 5_000, 35_000]), polled=st.booleans())
    def time(self, ms: int, polled: bool) -> None:
        self.bench.polled = polled
        self._try(lambda: self.bench.run(ms, step_ms=min(ms, STEP_MS)))

    @rule(
        volume=st.sampled_from([300, 2_000, 100_000]),
        seconds=st.sampled_from([5, 600]),
        lease=st.sampled_from([3, 60]),
        idle=st.sampled_from([0, 2]),
        then_ms=st.sampled_from([500, 0, 4_000, 20_000]),
    )
    def shower(self, volume: int, seconds: int, lease: int, idle: int, then_ms: int) -> None:
        """Open for somebody new, in an outlet that has nothing to complain about."""
        bench = self.bench
        if bench.outlet.dispense is None:
            self.mend()
            self.sessions += 1
        frame = bench.frame(
            "OPEN", session=self.sessions, limit_volume=volume, limit_time=seconds, lease=lease, idle=idle
        )
        self._try(lambda: self._command(frame))
        bench.polled = True
        self._try(lambda: bench.run(then_ms))

    @rule(
        session=st.integers(min_value=0, max_value=9),
        volume=st.sampled_from([0, 2_000, 300_000]),
        seconds=st.sampled_from([5, 9_999]),
        lease=st.sampled_from([0, 60]),
    )
    def open_anyhow(self, session: int, volume: int, seconds: int, lease: int) -> None:
        if session > self.sessions:
            self.sessions += 1
            session = self.sessions
        frame = self.bench.frame("OPEN", session=session, limit_volume=volume, limit_time=seconds, lease=lease)
        self._try(lambda: self._command(frame))

    def mend(self) -> None:
        bench = self.bench
        bench.temp, bench.leak_lpm, bench.stuck_open, bench.polled = 400, 0.0, False, True
        bench.outlet.inputs = QUIET

        def work() -> None:
            bench.run(100)
            self._command(bench.frame("CLEAR_FAULT"))
            bench.run(1_000)
            self._collect()
            bench.acknowledge()

        self._try(work)

    def _command(self, frame: list[int]) -> None:
        if frame[0] in self.results:
            return
        self.results[frame[0]] = self.bench.send(frame)
        while len(self.results) > 4:
            self.results.pop(next(iter(self.results)))
        self.frames[frame[0]] = frame

    @rule(
        opcode=st.sampled_from(["CLOSE", "PAUSE", "CLEAR_FAULT", "SELF_TEST", "IDENTIFY", "REBOOT"]),
        right=st.booleans(),
    )
    def tell(self, opcode: str, right: bool) -> None:
        frame = self.bench.frame(opcode, session=self.sessions if right else 77)
        self._try(lambda: self._command(frame))

    @rule(volume=st.sampled_from([0, 500, 50_000]), lease=st.sampled_from([0, 5, 60]))
    def extend(self, volume: int, lease: int) -> None:
        frame = self.bench.frame("EXTEND", session=self.sessions, limit_volume=volume, lease=lease)
        self._try(lambda: self._command(frame))

    @precondition(lambda self: bool(self.results))
    @rule(back=st.integers(min_value=0, max_value=3))
    def repeat(self, back: int) -> None:
        token = list(self.results)[-1 - back % len(self.results)]
        first, _ = self.results[token]
        before = self._starts()

        def again() -> None:
            label, detail = self.bench.send(self.frames[token])
            assert label == "DUPLICATE"
            assert detail == self.bench.map.code("result", first)

        self._try(again)
        assert self._starts() == before

    def _starts(self) -> int:
        start = self.bench.map.code("record_type", "START")
        return sum(record.type == start for record in self.records.values())

    @rule(lpm=st.sampled_from([8.5, 2.0, 0.0, 40.0]), leak=st.sampled_from([0.0, 0.0, 0.4, 3.0]))
    def water(self, lpm: float, leak: float) -> None:
        self.bench.lpm, self.bench.leak_lpm = lpm, leak

    @rule(temp=st.sampled_from([None, 5, 400, 400, 400, 520]))
    def heat(self, temp: int | None) -> None:
        self.bench.temp = temp

    @rule(
        name=st.sampled_from(["tamper", "sensor_unplugged", "service_key"]),
        on=st.sampled_from([False, False, False, True]),
        backup_mv=st.sampled_from([3_300, 3_300, 2_000]),
    )
    def feel(self, name: str, on: bool, backup_mv: int) -> None:
        outlet = self.bench.outlet
        outlet.inputs = replace(outlet.inputs, backup_mv=backup_mv, **{name: on})  # type: ignore[arg-type]

    @rule(stuck=st.booleans())
    def valve(self, stuck: bool) -> None:
        self.bench.stuck_open = stuck

    @rule()
    def press(self) -> None:
        self._try(lambda: self.bench.outlet.press_stop(self.bench.now_ms))

    @rule(share=st.floats(min_value=0, max_value=1))
    def acknowledge(self, share: float) -> None:
        self._try(lambda: self.bench.write("log_ack", int(self.bench.outlet.log.head * share)))

    @rule(saves=st.integers(min_value=1, max_value=25), byte=st.sampled_from([0, 1, 19, 20, 500, 1_000_000]))
    def fail_soon(self, saves: int, byte: int) -> None:
        self.nvm.cut(saves=saves, byte=byte)

    @rule(gently=st.booleans(), really=st.sampled_from([False, False, False, True]))
    def cut(self, gently: bool, really: bool) -> None:
        if not really:
            return

        def work() -> None:
            if gently:
                self.bench.outlet.falling_supply(self.bench.now_ms)
            self._power_up()

        self._try(work)

    # what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def the_valve_is_open_only_within_lease_and_limits(self) -> None:
        outlet = self.bench.outlet
        if not outlet.valve_drive:
            return
        dispense = outlet.dispense
        assert dispense is not None
        slack = STEP_MS
        assert outlet.now_ms - dispense.leased_at_ms <= dispense.limits.lease_ms + slack
        assert outlet.now_ms - dispense.opened_at_ms <= dispense.limits.time_ms + slack
        assert outlet.now_ms - outlet.frame_at_ms <= WATCHDOG_MS + slack
        step_ml = 40_000 * STEP_MS // 60_000 * 2 + 10
        assert outlet.volume_ml(outlet.session_pulses()) <= dispense.limits.volume_ml + step_ml
        if outlet._quiet:
            assert not any(outlet.faults & outlet.fault_bit(name) for name in BLOCKING)

    @invariant()
    def the_register_never_goes_down(self) -> None:
        assert self.bench.outlet.total_pulses >= self.register
        self.register = self.bench.outlet.total_pulses

    @invariant()
    def every_session_that_is_over_has_one_end(self) -> None:
        kinds = self.bench.map.enums["record_type"]
        starts = [r.subject_id for r in self.records.values() if kinds[r.type] == "START"]
        ends = [r.subject_id for r in self.records.values() if kinds[r.type] == "END"]
        running = {self.bench.outlet.dispense.session_id} if self.bench.outlet.dispense else set()
        assert len(starts) == len(set(starts))
        assert len(ends) == len(set(ends))
        assert set(starts) - set(ends) == running

    @invariant()
    def every_pulse_of_the_register_is_billed_or_explained(self) -> None:
        kinds = self.bench.map.enums["record_type"]
        outlet = self.bench.outlet
        told = sum(r.count for r in self.records.values() if kinds[r.type] in ("END", "UNBILLED_FLOW"))
        running = outlet.session_pulses() if outlet.dispense else 0
        assert told + running + outlet.unbilled_pulses == outlet.total_pulses


TestOutlet = Outlet.TestCase
TestOutlet.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
