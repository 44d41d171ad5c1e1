"""The report finds every way in which bills and devices can disagree."""

from copy import deepcopy
from typing import Any

import pytest

from firmware_sim.report import build_report, charge_minor

_TARIFF = {
    "free_below_ml": 100, "price_minor_per_m3": 3_200, "fixed_minor": 0, "minimum_minor": 0,
}  # fmt: skip
_PLAN = {
    "tariffs": [_TARIFF],
    "devices": [{"device_id": "dev_1", "k_factor_pulses_per_m3": 450_000, "kind": "outlet"}],
}
_SUMS = {"debits_posted": 9, "credits_posted": 9, "debits_pending": 0, "credits_pending": 0}


def _session(number: int, opening: int, closing: int, **change: Any) -> dict[str, Any]:
    pulses = closing - opening
    charge = charge_minor(pulses=pulses, k_factor_pulses_per_m3=450_000, tariff=_TARIFF)
    return {
        "water_session_id": f"ws_{number}", "device_id": "dev_1", "auth_id": f"auth_{number}", "state": "settled",
        "opening_pulses": opening, "closing_pulses": closing, "volume_ml": pulses * 1_000_000 // 450_000,
        "charge_minor": charge, "hold_minor": 483, "captured_minor": charge, "overrun_minor": 0,
        "stop_reason": "remote",
    } | change  # fmt: skip


def _record(sequence: int, opening: int, closing: int) -> dict[str, Any]:
    return {"device_id": "dev_1", "opening_pulses": opening, "closing_pulses": closing, "log_seq": sequence}


_SESSIONS = [_session(1, 0, 9_000), _session(2, 9_000, 27_000)]
_RECORDS = [_record(1, 0, 9_000), _record(2, 9_000, 27_000)]


def _violations(sessions: list[dict[str, Any]], records: list[dict[str, Any]], **change: Any) -> list[str]:
    given: dict[str, Any] = {"ledger": _SUMS, "breaks": 0} | change
    return build_report(seed=7, plan=_PLAN, device_log=records, sessions=sessions, **given).violations


class TestBuildReport:
    def test_has_no_violation_when_everything_agrees(self) -> None:
        assert _violations(_SESSIONS, _RECORDS) == []

    def test_counts_a_record_once_that_a_device_logged_twice(self) -> None:
        assert _violations(_SESSIONS, [*_RECORDS, _RECORDS[-1]]) == []

    def test_tells_a_shower_without_a_pulse_from_the_one_before_it(self) -> None:
        records = [*_RECORDS, _record(3, 27_000, 27_000)]
        sessions = [*_SESSIONS, _session(3, 27_000, 27_000, state="voided")]

        assert _violations(sessions, records) == []

    def test_sums_up_what_was_counted_and_billed(self) -> None:
        report = build_report(seed=7, plan=_PLAN, device_log=_RECORDS, sessions=_SESSIONS, ledger=_SUMS, breaks=0)

        assert report.totals["device_pulses"] == report.totals["billed_pulses"] == 27_000
        assert report.totals["captured_minor"] == sum(session["captured_minor"] for session in _SESSIONS)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"state": "flowing"}, "has not ended"),
            ({"captured_minor": 500, "hold_minor": 483}, "captured 500 of a hold of 483"),
            ({"charge_minor": 1}, "the tariff says"),
            ({"captured_minor": 0}, "are not the charge"),
            ({"opening_pulses": 8_999}, "registers that are not the device's"),
            ({"closing_pulses": 27_001}, "no device record"),
            ({"state": "voided"}, "and yet captured"),
        ],
    )
    def test_finds_a_wrong_session(self, change: dict[str, Any], words: str) -> None:
        sessions = deepcopy(_SESSIONS)
        sessions[1] |= change

        assert any(words in violation for violation in _violations(sessions, _RECORDS))

    def test_finds_water_nobody_was_billed_for(self) -> None:
        assert any("never billed" in violation for violation in _violations(_SESSIONS[:1], _RECORDS))

    def test_finds_water_billed_twice(self) -> None:
        twice = [*_SESSIONS, _SESSIONS[1] | {"water_session_id": "ws_3"}]

        assert any("another session" in violation for violation in _violations(twice, _RECORDS))

    def test_finds_a_register_gap(self) -> None:
        records = [_RECORDS[0], _record(2, 9_100, 27_000)]

        assert any("register gap" in violation for violation in _violations(_SESSIONS, records))

    @pytest.mark.parametrize("key", ["debits_posted", "credits_pending", "debits_pending"])
    def test_finds_a_ledger_that_does_not_balance(self, key: str) -> None:
        assert _violations(_SESSIONS, _RECORDS, ledger=_SUMS | {key: 1_000})

    def test_repeats_the_breaks_that_reconciliation_found(self) -> None:
        assert _violations(_SESSIONS, _RECORDS, breaks=2) == ["reconciliation lists 2 breaks"]


class TestChargeMinor:
    @pytest.mark.parametrize(
        ("pulses", "expected"),
        [(0, 0), (44, 0), (45, 0), (450, 3), (4_570, 32), (4_571, 33), (20_250, 144), (4_500_000, 32_000)],
    )
    def test_rounds_half_up_once(self, pulses: int, expected: int) -> None:
        assert charge_minor(pulses=pulses, k_factor_pulses_per_m3=450_000, tariff=_TARIFF) == expected
