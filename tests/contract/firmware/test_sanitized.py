"""No scenario and no frame makes the firmware touch memory it does not own or do what C leaves undefined."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.firmware_ref.build import BuildFailed, Built, build
from tests.contract.firmware.fuzz import FRAMES, SCENARIOS, SEEDS

ROOT = Path(__file__).parents[3]


def runtime(name: str) -> str:
    """Return where the compiler keeps a sanitizer's library, which must be there before any other."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def fuzzed(library: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(map(runtime, ("libasan.so", "libubsan.so"))),
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    command = [sys.executable, "-m", "tests.contract.firmware.fuzz", str(library)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=560)


class TestTheSanitizedLibrary:
    def test_has_nothing_to_say(self, sanitized: Built) -> None:
        done = fuzzed(sanitized.library)

        assert done.returncode == 0, done.stderr[-4_000:]
        assert done.stdout.startswith(f"{len(SCENARIOS)} scenarios, {len(SEEDS)} seeds, ")
        assert done.stdout.endswith(f" of {FRAMES} frames answered\n")

    def test_would_say_something(self, tmp_path: Path) -> None:
        built = build(tmp_path, defines=["SEEDED_FAULT_LONG_UID"], sanitize=True, target="library", quick=True)

        done = fuzzed(built.library)

        assert done.returncode != 0
        assert "mailbox.c" in done.stderr


class TestBuild:
    def test_takes_no_warning(self, tmp_path: Path) -> None:
        with pytest.raises(BuildFailed, match="CAL_K_MIN"):
            build(tmp_path, defines=["CAL_K_MIN=3"], target="library")
