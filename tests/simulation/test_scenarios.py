"""Scenarios as a user runs them: to a report, to a failure that can be repeated, and refused with file and line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

_PROGRAM = str(Path(sys.executable).parent / "campustap-sim")

#: everything that can go wrong in twenty seconds with four outlets
_ROUGH = """\
[scenario]
title = "a rough quarter of a minute"
seed = 5

[school]
outlets_per_floor = 4
students = 20
duration_limit_s = 40

[people]
showers = 8
at_once = 4
card_share = 0.3
endings = { stop = 0.6, close_tap = 0.2, hand_over = 0.2 }
cheats = { double_start = 1, force_gate = 1 }

[uplink]
duplicate = 0.1

[[faults]]
at_s = 3
fault = "reset"
device = "dev_b1_102"

[[faults]]
at_s = 5
fault = "provider_trouble"
behaviour = "duplicate"

[ends]
invariants = [
    "books_balance", "captured_within_hold", "nothing_held", "billed_as_counted", "every_pulse_explained",
    "valves_shut", "provider_agrees", "cheats_fail",
]
"""
#: nobody has any money, so nobody can be served
_PENNILESS = """\
[scenario]
title = "everybody is to be served, and nobody has money"

[school]
outlets_per_floor = 1
students = 2
opening_minor = 0
neighbor = false

[people]
showers = 1
at_once = 1
card_share = 0.0

[ends]
invariants = ["everybody_served", "books_balance"]
settle_within_s = 1
"""


def run(*arguments: str, timeout_s: float = 5 * PATIENCE_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_PROGRAM, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)


class TestRun:
    def test_serves_one_student_who_taps(self, tmp_path: Path) -> None:
        report_file = tmp_path / "report.json"

        done = run("run", "one-tap", "--seed", "3", "--headless", "--report", str(report_file))

        assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
        report = json.loads(report_file.read_text(encoding="utf-8"))
        assert report["people"] == {"came": 1, "settled": 1, "refused": {}, "gave_up": [], "cheats_got": []}
        assert report["looks"]["done"] >= 1
        assert report["looks"]["found"] == []
        assert all(each["holds"] for each in report["invariants"].values())
        assert report["totals"]["billed_pulses"] == report["totals"]["device_pulses"] > 0
        assert report["reproduce"] == "campustap-sim run one-tap --seed 3"

    def test_holds_what_must_hold_in_a_rough_time(self, tmp_path: Path) -> None:
        scenario, report_file = tmp_path / "rough.toml", tmp_path / "report.json"
        scenario.write_text(_ROUGH, encoding="utf-8")

        done = run("run", str(scenario), "--headless", "--report", str(report_file))

        assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
        report = json.loads(report_file.read_text(encoding="utf-8"))
        assert report["people"]["came"] == 10
        assert report["people"]["settled"] >= 4
        assert [each["fault"] for each in report["faults"]] == [
            "reset device=dev_b1_102", "provider_trouble behaviour=duplicate verb= times=1",
        ]  # fmt: skip
        assert report["uplink"]["duplicated"] > 0
        assert any("double_start got nothing" in step["what"] for step in report["steps"])

    def test_says_how_to_repeat_what_failed(self, tmp_path: Path) -> None:
        scenario = tmp_path / "penniless.toml"
        scenario.write_text(_PENNILESS, encoding="utf-8")

        done = run("run", str(scenario), "--seed", "12", "--headless")

        assert done.returncode == 1, done.stdout[-4_000:] + done.stderr[-2_000:]
        assert "does not hold  everybody_served" in done.stdout
        assert "refused: insufficient_funds" in done.stdout
        assert f"Again: campustap-sim run {scenario} --seed 12" in done.stdout


class TestBadFiles:
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ('fault = "reset"', 'fault = "rest"', ":22: no fault is called 'rest' (did you mean 'reset'?)"),
            ("duplicate = 0.1", "duplicate = 10", ":18: duplicate must be from 0 to 1, not 10"),
            ("seed = 5", "seed = five", ":3: not TOML: "),
        ],
    )
    def test_are_refused_with_file_line_reason_and_suggestion(
        self, tmp_path: Path, old: str, new: str, said: str
    ) -> None:
        scenario = tmp_path / "bad.toml"
        scenario.write_text(_ROUGH.replace(old, new), encoding="utf-8")

        done = run("run", str(scenario))

        assert done.returncode == 2
        assert f"{scenario}{said}" in done.stdout

    def test_are_missing(self) -> None:
        done = run("run", "campus-dey")

        assert done.returncode == 2
        assert "did you mean 'campus-day'?" in done.stdout


class TestScenarios:
    def test_are_listed(self) -> None:
        done = run("scenarios")

        assert done.returncode == 0
        assert all(name in done.stdout for name in ("one-tap", "campus-day", "provider-outage"))
