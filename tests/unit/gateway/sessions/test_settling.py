import itertools
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.events import MeterRead, StopReason, WaterSessionEnded
from gateway.devices.ports import LogRecord
from gateway.sessions.machine import State
from gateway.sessions.settling import Settled, end_by_register, settle
from gateway.uplink.state import SessionMemory
from tests.fakes.gateway_port import CLOSED

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
        assert result.sessions.keys() == {7}

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


OPENED = msgspec.structs.replace(SESSION, opening_pulses=500)
#: long after the lease of the session has run out
LATER_MS = 1_000_000 + 600_000


def ends_of(*sessions: SessionMemory, now_ms: int = 1_060_000, **shown: Any) -> list[Any]:
    """Return what is told of sessions whose closed device shows a register and, perhaps, a session."""
    ids = (f"ev_{number}" for number in itertools.count())
    given = {"session_u32": 0, "session_pulses": 0, **shown}
    return end_by_register(
        sessions,
        replace(CLOSED, **given),
        device_id="dev_1",
        k_factor_pulses_per_m3=450_000,
        now_ms=now_ms,
        new_event_id=lambda: next(ids),
    )


class TestEndByRegister:
    def end(self, session: SessionMemory, register_pulses: int) -> WaterSessionEnded:
        (end,) = ends_of(session, total_pulses=register_pulses)
        assert isinstance(end, WaterSessionEnded)
        return end

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

    @pytest.mark.parametrize(
        ("changes", "shown", "now_ms", "closing"),
        [
            # the lease may still have kept the valve open: all of it is ours
            ({}, {}, 1_060_000, 700),
            ({}, {"session_u32": 99, "session_pulses": 40}, 1_060_000, 700),
            # the lease had run out long before: only what was seen
            ({}, {}, LATER_MS, 500),
            ({"seen_pulses": 620, "seen_at_ms": 1_100_000}, {}, LATER_MS, 620),
            ({"seen_pulses": 620, "seen_at_ms": 1_590_000}, {}, LATER_MS, 700),
            # our clock was set back: nobody knows how long it was
            ({"seen_pulses": 620, "seen_at_ms": 1_100_000}, {}, 1_050_000, 620),
            # the device's own word for our session, and only for ours
            ({}, {"session_u32": 7, "session_pulses": 130}, LATER_MS, 630),
            ({}, {"session_u32": 7, "session_pulses": 900}, LATER_MS, 700),
            ({"seen_pulses": 620}, {"session_u32": 7}, LATER_MS, 700),
            ({"seen_pulses": 620, "seen_at_ms": 1_100_000}, {"session_u32": 99, "session_pulses": 130}, LATER_MS, 620),
            # its log tells of somebody else
            ({"foreign_from_pulses": 640}, {}, 1_060_000, 640),
            ({"foreign_from_pulses": 640, "seen_pulses": 620}, {}, LATER_MS, 620),
            ({"foreign_from_pulses": 640}, {"session_u32": 7, "session_pulses": 130}, LATER_MS, 630),
            ({"foreign_from_pulses": 600}, {"session_u32": 7, "session_pulses": 130}, LATER_MS, 600),
            ({"foreign_from_pulses": 900}, {}, 1_060_000, 700),
        ],
    )
    def test_bills_what_our_own_evidence_covers_and_tells_the_rest(
        self, changes: dict[str, Any], shown: dict[str, Any], now_ms: int, closing: int
    ) -> None:
        told = ends_of(msgspec.structs.replace(OPENED, **changes), now_ms=now_ms, total_pulses=700, **shown)

        assert (told[0].opening_pulses, told[0].closing_pulses) == (500, closing)
        rest = [(event.cause, event.register_pulses) for event in told[1:]]
        assert rest == ([("unbilled_flow", 700)] if closing < 700 else [])

    def test_an_opening_that_nobody_saw_bills_nothing_of_a_strangers_water(self) -> None:
        found = settled(
            record("START", subject_u32=99, total_pulses=500),
            record("END", sequence=11, subject_u32=99, session_pulses=200, total_pulses=700),
        )

        end, rest = ends_of(found.sessions[7], total_pulses=700, session_u32=99, session_pulses=200)

        assert (end.stop_reason, end.opening_pulses, end.closing_pulses) == (StopReason.NOT_OPENED, 500, 500)
        assert rest.register_pulses == 700

    def test_a_stranger_before_our_opening_takes_nothing_from_it(self) -> None:
        found = settled(
            record("END", subject_u32=99, session_pulses=40, total_pulses=540),
            record("START", sequence=11, total_pulses=540),
            record("CHECKPOINT", sequence=12, session_pulses=60, total_pulses=600),
            record("UNBILLED_FLOW", sequence=13, subject_u32=0, session_pulses=45, total_pulses=560),
        )
        session = found.sessions[7]
        assert (session.foreign_from_pulses, session.seen_pulses, session.seen_at_ms) == (None, 600, 1_060_000)

    def test_the_first_stranger_counts(self) -> None:
        found = settled(
            record("START", total_pulses=500),
            record("UNBILLED_FLOW", sequence=11, subject_u32=0, session_pulses=5, total_pulses=620),
            record("START", sequence=12, subject_u32=99, total_pulses=640),
        )
        assert found.sessions[7].foreign_from_pulses == 615

    def test_a_register_that_started_over_is_told_as_it_is(self) -> None:
        (end,) = ends_of(OPENED, total_pulses=20)
        assert (end.opening_pulses, end.closing_pulses) == (500, 20)

    def test_two_that_are_left_share_no_pulse(self) -> None:
        second = msgspec.structs.replace(
            SESSION, water_session_id="ws_2", session_u32=8, begun_at_ms=1_030_000, opening_pulses=580
        )
        told = ends_of(second, OPENED, total_pulses=700)
        assert [(e.water_session_id, e.opening_pulses, e.closing_pulses) for e in told] == [
            ("ws_1", 500, 580),
            ("ws_2", 580, 700),
        ]

    @given(
        st.integers(500, 900),
        st.integers(0, 1_000),
        st.none() | st.integers(500, 900),
        st.none() | st.integers(500, 900),
        st.sampled_from([0, 7, 99]),
        st.integers(900_000, 2_000_000),
    )
    def test_billed_and_explained_is_what_the_register_moved(
        self, register: int, counted: int, seen: int | None, foreign: int | None, names: int, now_ms: int
    ) -> None:
        session = msgspec.structs.replace(OPENED, seen_pulses=seen, seen_at_ms=1_000_000, foreign_from_pulses=foreign)
        told = ends_of(session, now_ms=now_ms, total_pulses=register, session_u32=names, session_pulses=counted)
        assert 500 <= told[0].closing_pulses <= register
        assert foreign is None or told[0].closing_pulses <= foreign
        assert (told[-1].closing_pulses if len(told) == 1 else told[-1].register_pulses) == register
