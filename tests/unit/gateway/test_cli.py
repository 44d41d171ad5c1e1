import json
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.contract.signing import public_from_text

CONFIG = """
tenant = "school"
gateway = "gw"
state_dir = "{state}"
[broker]
host = "127.0.0.1"
port = 1
[command_keys]
k1 = "{key}"
"""


class TestMain:
    def test_init_makes_a_key_once(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["init", "--state", str(tmp_path)]) == 0
        first = json.loads(capsys.readouterr().out)["public_key"]
        public_from_text(first)
        assert main(["init", "--state", str(tmp_path)]) == 0
        assert json.loads(capsys.readouterr().out)["public_key"] == first

    @pytest.mark.parametrize("content", [None, b"", b"too short"])
    def test_run_without_a_key_says_what_to_do(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
    ) -> None:
        main(["init", "--state", str(tmp_path / "other")])
        key = json.loads(capsys.readouterr().out)["public_key"]
        config, state = tmp_path / "gateway.toml", tmp_path / "state"
        config.write_text(CONFIG.format(state=state, key=key), encoding="utf-8")
        if content is not None:
            state.mkdir()
            (state / "gateway.key").write_bytes(content)

        assert main(["run", "--config", str(config)]) == 2

        said = capsys.readouterr().err
        assert "campustap-gateway init" in said
        assert "enroll" in said
        assert not (state / "gateway.sqlite").exists()
        assert (state / "gateway.key").exists() is (content is not None)
