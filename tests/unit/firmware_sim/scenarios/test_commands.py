"""The command that repeats a run can be pasted into a shell, in any folder."""

import argparse
import shlex
from pathlib import Path

import pytest

from firmware_sim.cli import main
from firmware_sim.scenarios import commands
from firmware_sim.scenarios.commands import again_with


def given(scenario: str, **changes: object) -> argparse.Namespace:
    return argparse.Namespace(**{"scenario": scenario, "showers": None, "broker": "iotcore", "database": ""} | changes)


class TestAgainWith:
    def test_names_one_of_ours_as_it_is(self) -> None:
        assert again_with(given("one-tap"), 3) == "campustap-sim run one-tap --seed 3"

    def test_keeps_what_changes_a_run(self) -> None:
        again = again_with(given("one-tap", showers=2, broker="mosquitto", database="postgresql://x/y z"), 3)

        assert shlex.split(again)[5:] == [
            "--showers", "2", "--broker", "mosquitto", "--database", "postgresql://x/y z",
        ]  # fmt: skip

    def test_names_a_file_by_its_whole_path_for_a_shell(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

        again = again_with(given("ra [x] in.toml"), 3)

        assert shlex.split(again)[2] == str((tmp_path / "ra [x] in.toml").resolve())


class TestRun:
    def test_says_a_name_with_brackets_as_it_is(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        scenario = tmp_path / "ra [bold] in.toml"
        scenario.write_text('[scenario]\ntitle = "x"\n', encoding="utf-8")

        assert main(["run", str(scenario)]) == 2
        assert f"{scenario}:1: [ends] is missing" in capsys.readouterr().out

    @pytest.mark.parametrize("place", ["file.txt/report.json", "."])
    def test_says_before_it_begins_that_a_report_cannot_be_written(
        self, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(commands, "play", lambda *args, **more: pytest.fail("it began"))
        (tmp_path / "file.txt").touch()

        assert main(["run", "one-tap", "--report", str(tmp_path / place)]) == 2
        assert f"--report {tmp_path / place} cannot be written: " in capsys.readouterr().out

    def test_says_how_to_go_on_when_it_is_interrupted(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: object, **more: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(commands, "play", interrupted)

        assert main(["run", "one-tap", "--seed", "4"]) == 130
        assert "Interrupted. Again: campustap-sim run one-tap --seed 4" in capsys.readouterr().out
