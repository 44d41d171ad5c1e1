"""What closes a valve, most dangerous first."""

from dataclasses import replace

import pytest

from firmware_sim.outlet_rules import Limits, Use, bad_limit, closing_reason

LIMITS = Limits(volume_ml=1_000, time_ms=60_000, lease_ms=20_000, idle_ms=10_000, temp_decidegc=480)
QUIET = Use(
    volume_ml=0, elapsed_ms=0, since_lease_ms=0, since_flow_ms=0, since_frame_ms=0, too_hot_ms=-1, burst_ms=-1,
    fault=False, paused=False,
)  # fmt: skip


def reason(**changes: object) -> str | None:
    return closing_reason(
        limits=LIMITS,
        use=replace(QUIET, **changes),  # type: ignore[arg-type]
        watchdog_ms=30_000,
        max_session_ms=90_000,
        temp_hold_ms=2_000,
        burst_hold_ms=2_000,
    )


class TestClosingReason:
    @pytest.mark.parametrize(
        ("field", "last_good", "first_bad", "expected"),
        [
            ("volume_ml", 999, 1_000, "VOLUME_LIMIT"),
            ("elapsed_ms", 59_999, 60_000, "TIME_LIMIT"),
            ("since_lease_ms", 19_999, 20_000, "LEASE"),
            ("since_frame_ms", 29_999, 30_000, "COMM_WATCHDOG"),
            ("since_flow_ms", 9_999, 10_000, "NO_FLOW"),
            ("too_hot_ms", 1_999, 2_000, "SCALD"),
            ("burst_ms", 1_999, 2_000, "LEAK"),
            ("fault", False, True, "FAULT"),
        ],
    )
    def test_is_exactly_at_the_limit(self, field: str, last_good: object, first_bad: object, expected: str) -> None:
        assert reason(**{field: last_good}) is None
        assert reason(**{field: first_bad}) == expected

    def test_names_the_most_dangerous_when_several_hold(self) -> None:
        everything = {
            "too_hot_ms": 9_000, "fault": True, "burst_ms": 9_000, "volume_ml": 9_000, "elapsed_ms": 99_000,
            "since_lease_ms": 99_000, "since_frame_ms": 99_000, "since_flow_ms": 99_000,
        }  # fmt: skip
        order = ["SCALD", "FAULT", "LEAK", "VOLUME_LIMIT", "TIME_LIMIT", "LEASE", "COMM_WATCHDOG", "NO_FLOW"]

        named = []
        for field in list(everything):
            named.append(reason(**everything))
            del everything[field]

        assert named == order

    def test_does_not_ask_for_flow_while_paused(self) -> None:
        assert reason(since_flow_ms=99_000, paused=True) is None


class TestBadLimit:
    def test_is_zero_at_every_bound(self) -> None:
        for time_s, lease_s, idle_s, temp in ((1, 1, 0, 0), (1_800, 600, 600, 600), (1, 1, 0, 200)):
            assert not bad_limit(
                volume_ml=1, time_s=time_s, lease_s=lease_s, idle_s=idle_s, temp=temp, volume_max=1, time_max=1_800
            )
