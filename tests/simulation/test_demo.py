"""The demonstration as a user runs it: to a report without a person, and until Ctrl-C with one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.patience import PATIENCE_S

#: runs the demonstration with a plan made an hour later; only the plan's own clock moves
_LATER = """
import sys
from datetime import timedelta
from firmware_sim import cli, stack
made = stack.build_plan
stack.build_plan = lambda **given: made(**given | {"now": given["now"] + timedelta(hours=1)})
sys.exit(cli.main(sys.argv[1:]))
"""
_LONG_S = 5 * PATIENCE_S
_PROGRAM = str(Path(sys.executable).parent / "campustap-sim")


class TestHeadless:
    def test_settles_the_showers_and_reports_them(self, tmp_path: Path) -> None:
        report_file = tmp_path / "report.json"

        done = subprocess.run(
            [_PROGRAM, "demo", "--headless", "--showers", "12", "--seed", "5", "--report", str(report_file)],
            capture_output=True, text=True, timeout=_LONG_S, check=False,
        )  # fmt: skip

        assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
        report = json.loads(report_file.read_text(encoding="utf-8"))
        settled = [row for row in report["showers"] if row["state"] == "settled"]
        assert len(settled) >= 12
        assert report["violations"] == []
        assert report["breaks"] == 0
        assert report["ledger"]["debits_posted"] == report["ledger"]["credits_posted"] > 0
        for row in settled:
            assert row["opening_pulses"] == row["device_opening_pulses"]
            assert row["closing_pulses"] == row["device_closing_pulses"]
            assert row["capture_minor"] <= row["hold_minor"]
            assert row["stop_reason"]

    @pytest.mark.parametrize("arguments", [["--showers", "0"], ["--showers", "many"], ["--broker", "carrier-pigeon"]])
    def test_says_what_is_wrong_with_its_arguments(self, arguments: list[str]) -> None:
        done = subprocess.run(
            [_PROGRAM, "demo", "--headless", *arguments],
            capture_output=True,
            text=True,
            timeout=_LONG_S,
            check=False,
        )

        assert done.returncode == 2
        assert arguments[0] in done.stdout + done.stderr


class TestSecondRun:
    def test_finds_the_school_of_the_first_an_hour_later(self, tmp_path: Path) -> None:
        """What the first run kept is taken up again; nobody's money is doubled and no sticker changes."""
        arguments = [_PROGRAM, "demo", "--headless", "--showers", "2", "--seed", "5", "--state", str(tmp_path)]
        first = subprocess.run(arguments, capture_output=True, text=True, timeout=_LONG_S, check=False)
        assert first.returncode == 0, first.stdout[-3_000:]
        kept = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
        plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))

        second = subprocess.run(
            [sys.executable, "-c", _LATER, *arguments[1:]],
            capture_output=True,
            text=True,
            timeout=_LONG_S,
            check=False,
        )

        assert second.returncode == 0, second.stdout[-3_000:] + second.stderr[-2_000:]
        again = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
        assert again["stickers"].keys() == kept["stickers"].keys()
        assert [entry["password"] for entry in again["logins"]] == [entry["password"] for entry in kept["logins"]]
        assert json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["tariffs"] == plan["tariffs"]


class TestInteractive:
    def test_greets_with_addresses_and_a_code_and_stops_cleanly(self, tmp_path: Path) -> None:
        log = tmp_path / "out.txt"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [_PROGRAM, "demo", "--state", str(tmp_path / "state"), "--port", "0"], stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | {"COLUMNS": "200"},
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 2 * PATIENCE_S
            while "Ctrl-C" not in (text := log.read_text(encoding="utf-8", errors="replace")):
                assert process.poll() is None, text
                assert time.monotonic() < deadline, text
                time.sleep(0.2)
            children = psutil.Process(process.pid).children(recursive=True)
            sticker = re.search(r"http://[^\s]+/w/[a-z0-9]+", text)
            assert sticker
            assert httpx.get(sticker.group(), follow_redirects=True, timeout=PATIENCE_S).is_success
            assert "▄" in text or "█" in text
            assert "facilities" in text

            process.send_signal(signal.SIGINT)

            assert process.wait(2 * PATIENCE_S) == 0
        finally:
            process.kill()
        _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
        assert alive == []
        assert "had to be killed" not in log.read_text(encoding="utf-8", errors="replace")
