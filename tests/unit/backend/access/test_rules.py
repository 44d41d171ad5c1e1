"""The first line of the table that applies is the reason."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backend.access.rules import (
    ALWAYS,
    CREDENTIAL_REASONS,
    DISPLAYS,
    DoorPolicy,
    OpenHours,
    decide_door,
    inside_after,
    is_open,
    masked_name,
)
from tests.factories import NOW

SHANGHAI = ZoneInfo("Asia/Shanghai")
#: Sunday 08:00 to 22:00; NOW is a Sunday, 20:00 in Shanghai.
SUNDAY = OpenHours(6, 8 * 60, 22 * 60)
POLICY = DoorPolicy("gxu", "dev_gate", frozenset({"student", "staff"}), minimum_assurance=1, hours=(SUNDAY,))


def decide(**changes):  # type: ignore[no-untyped-def]
    """Return the reason for a student with a code on a Sunday evening, changed as asked."""
    asked = {
        "credential_reason": None,
        "person_class": "student",
        "assurance": 1,
        "policy": POLICY,
        "zone": SHANGHAI,
        "direction": "in",
        "is_faulty": False,
        "now": NOW,
    }
    return decide_door(**{**asked, **changes})


class TestDecideDoor:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({}, "ok"),
            *[({"credential_reason": reason}, reason) for reason in sorted(set(CREDENTIAL_REASONS.values()))],
            ({"person_class": "visitor"}, "wrong_zone"),
            ({"assurance": 0}, "low_assurance"),
            ({"now": NOW + timedelta(hours=2)}, "outside_hours"),
            ({"is_faulty": True}, "door_faulty"),
            ({"person_class": "visitor", "assurance": 0, "is_faulty": True}, "wrong_zone"),
            ({"credential_reason": "frozen", "person_class": "visitor", "is_faulty": True}, "frozen"),
        ],
    )
    def test_names_the_first_reason(self, changes: dict[str, object], reason: str) -> None:
        assert decide(**changes) == reason

    @pytest.mark.parametrize(
        "changes", [{"person_class": "visitor"}, {"assurance": 0}, {"now": NOW + timedelta(hours=9)}]
    )
    def test_never_keeps_somebody_in_for_class_proof_or_time(self, changes: dict[str, object]) -> None:
        assert decide(direction="out", **changes) == "ok"

    def test_has_a_display_for_every_reason(self) -> None:
        reasons = {"ok", "wrong_zone", "low_assurance", "outside_hours", "door_faulty", *CREDENTIAL_REASONS.values()}

        assert set(DISPLAYS) == reasons
        assert max(len(text) for text in DISPLAYS.values()) <= 32


class TestIsOpen:
    @pytest.mark.parametrize(
        ("at", "open_"),
        [
            (datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC), False),
            (datetime(2026, 11, 22, 0, 0, tzinfo=UTC), True),
            (datetime(2026, 11, 22, 13, 59, 59, 999_000, tzinfo=UTC), True),
            (datetime(2026, 11, 22, 14, 0, tzinfo=UTC), False),
            (datetime(2026, 11, 23, 0, 0, tzinfo=UTC), False),
        ],
    )
    def test_is_half_open_in_the_schools_zone(self, at: datetime, open_: bool) -> None:
        assert is_open((SUNDAY,), SHANGHAI, at) is open_

    def test_is_never_closed_when_always(self) -> None:
        assert all(is_open(ALWAYS, SHANGHAI, NOW + timedelta(minutes=7 * minute)) for minute in range(1_440))

    def test_is_closed_without_hours(self) -> None:
        assert not is_open((), SHANGHAI, NOW)


class TestMaskedName:
    @pytest.mark.parametrize(
        ("name", "masked"),
        [("王一鸣", "王**"), ("李", "李*"), ("Yiming Wang", "Y. W."), ("", ""), ("后勤 老韦", "后****")],
    )
    def test_keeps_the_beginning(self, name: str, masked: str) -> None:
        assert masked_name(name) == masked


class TestInsideAfter:
    def test_counts_who_really_passed(self) -> None:
        seen = [("in", "passed"), ("in", "timeout"), ("in", "tailgate"), ("out", "passed"), ("in", "forced")]

        assert inside_after(seen) == 1

    def test_is_never_below_none(self) -> None:
        assert inside_after([("out", "passed"), ("in", "passed")]) == 1
