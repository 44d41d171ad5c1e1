"""Whatever an outlet goes through, its register delta is billed or explained, to the pulse."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from backend.metering.rules import Reading
from backend.reconciliation.rules import RegisterPair, check_continuity, check_sum
from backend.water_sessions.machine import State
from backend.water_sessions.types import WaterSession
from tests.factories import NOW

#: One shower: pulses that leak before it, pulses it uses, and whether it is paid, free or lost.
STEPS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 40_000), st.sampled_from(["paid", "free", "lost"])), max_size=12
)


def session(number: int, opening: int, used: int, fate: str) -> WaterSession:
    """Return the settled session that used so many pulses in the given minute."""
    at = NOW + timedelta(minutes=10 * number)
    return WaterSession(
        tenant_id="gxu",
        water_session_id=f"ws_{number}",
        request_id=f"rq_{number}",
        device_id="dev_1",
        gateway_id="gw_1",
        cardholder_id="ch_1",
        state=State.SETTLED,
        method="wallet",
        credential_kind="page",
        auth_id=f"auth_{number}",
        tariff_id="tf_1",
        tariff_version=1,
        hold_minor=100,
        volume_limit_ml=60_000,
        duration_limit_s=900,
        idle_limit_s=60,
        requested_at=at,
        opened_at=at,
        closed_at=at + timedelta(minutes=5),
        opening_pulses=opening,
        closing_pulses=opening + used,
        k_factor_pulses_per_m3=450_000,
        usage_pulses=used,
        captured_minor=10 if fate == "paid" else 0,
        overrun_minor=10 if fate == "lost" else 0,
    )


def reading(minutes: int, pulses: int, cause: str = "scheduled") -> Reading:
    """Return a reading that belongs to no session."""
    return Reading("gxu", "dev_1", NOW + timedelta(minutes=minutes), pulses, 450_000, cause, f"ev_{minutes}")


class TestCheckContinuity:
    @given(st.integers(0, 10**9), STEPS, st.integers(0, 300))
    def test_explains_the_register_to_the_pulse(self, start: int, steps: list[tuple[int, int, str]], tail: int) -> None:
        register, sessions = start, []
        for number, (leak, used, fate) in enumerate(steps):
            one = session(number, register + leak, used, fate)
            sessions.append((one, RegisterPair(register + leak, register + leak + used)))
            register += leak + used
        loose = [reading(-5, start, "boot"), reading(10 * len(steps) + 9, register + tail)]

        report = check_continuity("dev_1", sessions, loose, None)

        assert report.register_pulses == register + tail - start
        assert check_sum("dev_1", report) is None
        leaks = [leak for leak, _, _ in steps if leak] + ([tail] if tail else [])
        assert [each.pulses for each in report.breaks] == leaks
        assert report.gap_pulses == sum(leaks)
        for fate, pulses in (
            ("paid", report.billed_pulses),
            ("free", report.free_pulses),
            ("lost", report.lost_pulses),
        ):
            assert pulses == sum(used for _, used, kind in steps if kind == fate)

    @given(st.integers(1, 40_000), st.integers(0, 40_000))
    def test_leaves_running_water_to_its_session(self, used: int, running: int) -> None:
        done = session(0, 1_000, used, "paid")
        live = replace(session(1, 1_000 + used, 0, "paid"), closing_pulses=None, closed_at=None, state=State.FLOWING)
        loose = [reading(12, 1_000 + used + running)]

        report = check_continuity("dev_1", [(done, RegisterPair(1_000, 1_000 + used))], loose, live)

        assert report.breaks == []

    def test_sees_usage_that_does_not_follow_from_the_register(self) -> None:
        wrong = replace(session(0, 1_000, 500, "paid"), usage_pulses=501)

        report = check_continuity("dev_1", [(wrong, RegisterPair(1_000, 1_500))], [], None)
        found = check_sum("dev_1", report)

        assert found is not None
        assert (found.kind, found.pulses) == ("register_sum", 1)
