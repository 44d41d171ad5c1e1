import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.events import MeterRead, StopReason, WaterSessionEnded
from gateway.devices.ports import LogRecord
from gateway.sessions.machine import State
from gateway.sessions.settling import Settled, ended_by_register, settle
from gateway.uplink.state import SessionMemory

SESSION = SessionMemory(
    water_session_id="ws_1",
    device_id="dev_1",
    session_u32=7,
    cmd_id="cmd_1",
    state=State.FLOWING,
    volume_limit_ml=10_000,
    duration_limit_s=300,
    lease_s=60,
    idle_limit_s=60,
    temperature_limit_decidegc=480,
    k_factor_pulses_per_m3=450_000,
    begun_at_ms=1_000_000,
    register_before_pulses=500,
)


def record(kind: str, **changes: Any) -> LogRecord:
    given = {
        "sequence": 10,
        "kind": kind,
        "boot_id": 3,
        "time_ds": 10_000,
        "subject_u32": 7,
        "session_pulses": 0,
        "total_pulses": 500,
        "label": "VOLUME_LIMIT",
        "temperature_decidegc": 395,
    }
    return LogRecord(**{**given, **changes})


def settled(*records: LogRecord, sessions: dict[int, SessionMemory] | None = None) -> Settled:
    ids = (f"ev_{number}" for number in itertools.count())
    return settle(
        records,
        {7: SESSION} if sessions is None else sessions,
        device_id="dev_1",
        k_factor_pulses_per_m3=450_000,
        now_ms=1_060_000,
        new_event_id=lambda: next(ids),
    )


class TestSettle:
    def test_a_session_from_start_to_end(self) -> None:
        result = settled(
            record("START", total_pulses=510),
            record("CHECKPOINT", sequence=11, session_pulses=50, total_pulses=560),
            record("END", sequence=12, session_pulses=90, total_pulses=600, time_ds=10_425),
        )

        (end,) = result.events
        assert isinstance(end, WaterSessionEnded)
        assert (end.opening_pulses, end.closing_pulses, end.duration_s) == (510, 600, 42)
        assert (end.stop_reason, end.device_log_sequence) == (StopReason.VOLUME_LIMIT, 12)
        assert result.ended == ["ws_1"]
        assert not result.sessions

    def test_the_opening_is_kept_when_the_end_comes_in_a_later_page(self) -> None:
        first = settled(record("START", total_pulses=510))
        second = settled(record("END", session_pulses=90, total_pulses=600), sessions=first.sessions)
        (end,) = second.events
        assert isinstance(end, WaterSessionEnded)
        assert end.opening_pulses == 510

    def test_a_start_says_where_the_register_stood_for_an_end_that_is_never_found(self) -> None:
        after = settled(record("START", total_pulses=510)).sessions[7]
        assert (after.opening_pulses, after.started_at_ds) == (510, 10_000)

    def test_an_end_without_its_start_carries_its_own_opening(self) -> None:
        (end,) = settled(record("END", session_pulses=90, total_pulses=600)).events
        assert isinstance(end, WaterSessionEnded)
        assert (end.opening_pulses, end.duration_s) == (510, 60)

    def test_water_of_nobody_is_a_moved_register(self) -> None:
        result = settled(record("UNBILLED_FLOW", subject_u32=0), record("END", subject_u32=99, total_pulses=700))
        assert [type(event) for event in result.events] == [MeterRead, MeterRead]
        assert result.register_pulses == 700
        assert result.sessions == {7: SESSION}

    def test_a_boot_is_noticed(self) -> None:
        assert settled(record("BOOT")).rebooted

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["START", "END", "CHECKPOINT", "BOOT", "FAULT_SET", "UNBILLED_FLOW"]),
                st.sampled_from([7, 8, 99]),
                st.integers(0, 5_000),
            )
        )
    )
    def test_each_session_ends_at_most_once_however_often_records_repeat(
        self, plan: list[tuple[str, int, int]]
    ) -> None:
        records = [
            record(kind, subject_u32=subject, total_pulses=500 + pulses, session_pulses=pulses, sequence=number)
            for number, (kind, subject, pulses) in enumerate(plan, 1)
        ]
        result = settled(*records, *records)
        assert len(result.ended) == len(set(result.ended)) <= 1
        assert len([e for e in result.events if isinstance(e, WaterSessionEnded)]) == len(result.ended)


class TestEndedByRegister:
    def end(self, session: SessionMemory, register_pulses: int) -> WaterSessionEnded:
        return ended_by_register(
            session,
            register_pulses=register_pulses,
            temperature_decidegc=None,
            boot_id=4,
            now_ms=1_060_000,
            event_id="ev_1",
        )

    def test_what_never_moved_never_opened(self) -> None:
        assert self.end(SESSION, 500).stop_reason is StopReason.NOT_OPENED

    def test_what_moved_is_told_from_the_register(self) -> None:
        end = self.end(SESSION, 640)
        assert (end.opening_pulses, end.closing_pulses, end.evidence) == (500, 640, "register_continuity")
        assert end.stop_reason is StopReason.FAULT

    def test_what_was_seen_open_and_drew_nothing_was_opened_all_the_same(self) -> None:
        seen = msgspec.structs.replace(SESSION, opening_pulses=500)
        assert self.end(seen, 500).stop_reason is StopReason.FAULT
        asked = msgspec.structs.replace(seen, asked_stop="card")
        assert self.end(asked, 500).stop_reason is StopReason.CARD
