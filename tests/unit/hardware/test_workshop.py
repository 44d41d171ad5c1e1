"""One command runs the checks and names those that failed."""

import pytest

from hardware.workshop import CHECKS, main, run


class TestRun:
    def test_names_what_failed(self) -> None:
        checks = {
            "good": CHECKS["power"],
            "bad": ("hardware.power", "--outlets", "16", "--open", "8", "--core-mm2", "0.75"),
        }

        assert run(checks) == ["bad"]


class TestMain:
    def test_runs_what_is_named(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert main(["commissioning", "parts"]) == 0

        said = capfd.readouterr().out
        assert "== parts" in said
        assert "== wiring" not in said
        assert "every check passed" in said

    def test_knows_its_checks(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["plumbing"]) == 2
        assert "no check 'plumbing'; there are maps, power" in capsys.readouterr().err
