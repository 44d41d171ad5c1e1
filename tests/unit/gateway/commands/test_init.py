import json
import subprocess
from pathlib import Path

import pytest

from gateway.care.certificates import identity_path
from gateway.cli import main
from gateway.contract.provisioning import EnrollRequest
from gateway.contract.signing import Signed, decode, public_from_text, verify
from gateway.systemd import unit

WHO = ["--tenant", "school", "--gateway", "gw_1"]


def run(*arguments: str, status: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(list(arguments)) == status
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return out.out + out.err


class TestInit:
    def test_writes_a_request_signed_by_the_boxs_key(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        carried = tmp_path / "request.json"
        code = ["--claim-code", "7k3m 9qx2 d4tv 8zhp"]

        said = run("init", "--state", str(tmp_path), *WHO, *code, "--request", str(carried), status=0, capsys=capsys)

        key = public_from_text(json.loads(said)["public_key"])
        asked = verify(decode(carried.read_bytes(), Signed), keys={"gw_1": key}, as_type=EnrollRequest)
        assert asked.claim_code == "7K3M9QX2D4TV8ZHP"
        assert carried.stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (["--tenant", "school"], "--gateway"),
            (["--tenant", "School!", "--gateway", "gw", "--claim-code", "x"], "School!"),
            (["--tenant", "t" * 40, "--gateway", "g" * 40, "--claim-code", "x"], "64"),
            (WHO, "--claim-code"),
            ([*WHO, "--claim-code", "short"], "16 letters"),
            ([*WHO, "--claim-code", "7K3M-9QX2-D4TV-8ZHP"], "--backend"),
            ([*WHO, "--claim-code", "7K3M-9QX2-D4TV-8ZHP", "--backend", "campus"], "campus"),
            ([*WHO, "--answer", "/nonexistent"], "/nonexistent"),
            ([*WHO, "--answer", "/dev/null"], "answer"),
            (["--unit", "/dev/null/x"], "/dev/null"),
        ],
    )
    def test_says_what_to_write(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
    ) -> None:
        assert word in run("init", "--state", str(tmp_path / "s"), *arguments, status=2, capsys=capsys)
        assert not identity_path(tmp_path / "s").exists()

    def test_names_a_key_that_is_none_and_a_folder_that_cannot_be(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "gateway.key").write_bytes(b"short")

        assert "gateway.key" in run("init", "--state", str(tmp_path), status=2, capsys=capsys)
        assert "/dev/null" in run("init", "--state", "/dev/null/x", status=2, capsys=capsys)


class TestRenew:
    def test_needs_a_backend(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        key = json.loads(run("init", "--state", str(tmp_path), status=0, capsys=capsys))["public_key"]
        config = tmp_path / "gateway.toml"
        config.write_text(
            f'tenant = "s"\ngateway = "g"\nstate_dir = "{tmp_path}"\n'
            f'[broker]\nhost = "h"\n[command_keys]\nk = "{key}"\n'
        )

        assert "backend_url" in run("renew", "--config", str(config), status=2, capsys=capsys)
        assert "none.toml" in run("renew", "--config", str(tmp_path / "none.toml"), status=2, capsys=capsys)


class TestUnit:
    def test_is_one_systemd_understands_and_finds_safe(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        state = tmp_path / "state"
        text = run("init", "--state", str(state), "--unit", "-", status=0, capsys=capsys)
        assert not state.exists()
        assert "@" not in text.replace("SystemCallFilter=@", "").replace("=~@privileged @resources", "")
        (tmp_path / "campustap-gateway.service").write_text(text)

        said = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15",
             str(tmp_path / "campustap-gateway.service")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

        assert said.returncode == 0, said.stdout[-400:] + said.stderr
        assert "OK" in said.stdout

    @pytest.mark.parametrize("path", ["relative", "/with space", "/with%h", "/with\nnewline", '/with"quote'])
    def test_refuses_paths_that_would_say_something_else(self, path: str) -> None:
        with pytest.raises(ValueError, match="absolute path"):
            unit(program=Path("/usr/bin/campustap-gateway"), config=Path("/etc/x.toml"), state_dir=Path(path))
