"""What the command line refuses before anything starts."""

import argparse
from pathlib import Path

import pytest

from firmware_sim.arguments import PlanWrong, plan_from, within
from firmware_sim.cli import main


class TestWithin:
    def test_reads_what_lies_within(self) -> None:
        assert [within(0, 9)(text) for text in ("0", "9")] == [0, 9]

    @pytest.mark.parametrize(
        ("text", "said"),
        [("-1", "must be from 0 to 9, not -1"), ("10", "must be from 0 to 9, not 10"), ("x", "'x' is not a whole")],
    )
    def test_refuses_the_rest(self, text: str, said: str) -> None:
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            within(0, 9)(text)


class TestPlanFrom:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("not JSON", "is not JSON: "),
            ("[]", "is not a plan: a plan is a JSON object"),
            ('{"devices": []}', "is not a plan: it needs 'gateways', a list of objects"),
            ('{"gateways": [1]}', "is not a plan: it needs 'gateways', a list of objects"),
        ],
    )
    def test_refuses_what_is_no_plan(self, tmp_path: Path, text: str, said: str) -> None:
        plan = tmp_path / "plan.json"
        plan.write_text(text, encoding="utf-8")

        with pytest.raises(PlanWrong) as refused:
            plan_from(plan, "gateways")

        assert str(refused.value).startswith(f"{plan} {said}")

    def test_returns_a_plan(self, tmp_path: Path) -> None:
        plan = tmp_path / "plan.json"
        plan.write_text('{"gateways": [{}]}', encoding="utf-8")

        assert plan_from(plan, "gateways") == {"gateways": [{}]}


class TestMain:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["run", "one-tap", "--seed", "-1"], "must be from 0 to 2147483648, not -1"),
            (["run", "one-tap", "--showers", "-3"], "must be from 1 to 2000, not -3"),
            (["run", "one-tap", "--showers", "0"], "must be from 1 to 2000, not 0"),
            (["rig", "--port", "99999999"], "must be from 0 to 65535, not 99999999"),
            (["rig", "--control", "-1"], "must be from 0 to 65535, not -1"),
        ],
    )
    def test_refuses_numbers_out_of_range(
        self, capsys: pytest.CaptureFixture[str], words: list[str], said: str
    ) -> None:
        with pytest.raises(SystemExit) as left:
            main(words)

        assert left.value.code == 2
        assert said in capsys.readouterr().err

    def test_refuses_a_plan_that_is_missing(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        words = ["devices", "--plan", str(tmp_path / "no.json"), "--state", str(tmp_path), "--control", "0"]

        assert main([*words, "--device-log", str(tmp_path / "log")]) == 2
        assert f"{tmp_path / 'no.json'} cannot be read: " in capsys.readouterr().err
