import subprocess
import sys
from pathlib import Path

import pytest

from gateway.care.alone import PID_FILE, alone
from gateway.config import ConfigRefused

HOLDER = """
import sys
from pathlib import Path
from gateway.care.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class TestAlone:
    def test_names_the_other_process_until_that_is_dead(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "held\n"
                named = rf"another gateway \(pid {holder.pid}\) runs on it: stop"
                with pytest.raises(ConfigRefused, match=named), alone(tmp_path):
                    raise AssertionError("two at once")
                (tmp_path / PID_FILE).write_text("nonsense", encoding="ascii")
                with pytest.raises(ConfigRefused, match="another gateway runs on it"), alone(tmp_path):
                    raise AssertionError("two at once")
            finally:
                holder.kill()
        with alone(tmp_path):
            pass
        with alone(tmp_path):
            pass

    @pytest.mark.parametrize("name", ["file", "file/state", "nul\0"])
    def test_names_what_can_be_no_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").write_text("a", encoding="ascii")
        with pytest.raises(ConfigRefused, match="is no folder: write one"), alone(tmp_path / name):
            raise AssertionError("in no folder")

    def test_a_folder_that_is_not_there_is_nobody_s(self, tmp_path: Path) -> None:
        with alone(tmp_path / "none"):
            assert not (tmp_path / "none").exists()
