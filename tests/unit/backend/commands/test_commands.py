"""The commands people type: what they print, and that bad input is one line and status 2."""

import json
import shutil
from pathlib import Path

import pytest

from backend import cli
from backend.bootstrap.container import open_backend
from backend.fleet import service as fleet
from backend.fleet.types import Gateway, Place
from backend.tenants import service as tenants

TENANT = "gxu"


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPUSTAP_DATABASE_URL", f"sqlite:///{tmp_path / 'one.db'}")
    monkeypatch.setenv("CAMPUSTAP_SECRETS_DIR", str(tmp_path / "secrets"))


@pytest.fixture
def school(migrated_template: Path, tmp_path: Path) -> None:
    shutil.copyfile(migrated_template, tmp_path / "one.db")
    backend = open_backend()
    with backend.db.write() as conn:
        tenants.create(conn, tenants.Tenant(TENANT, "校", "School"))
        fleet.add_place(conn, Place(TENANT, "pl_c", None, "campus", "校", "Campus"))
        fleet.add_gateway(conn, Gateway(TENANT, "gw_1", "pl_c", ""))
    backend.db.engine.dispose()


@pytest.mark.usefixtures("school")
class TestGateway:
    def test_lists_configuration_certificate_and_twins(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["gateway", "list", TENANT]) == 0

        (row,) = json.loads(capsys.readouterr().out)
        assert row["gateway_id"] == "gw_1"
        assert {"twin_turns", "takeovers", "certificate_not_after", "configuration_state"} <= set(row)
        assert row["configuration_desired"] == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            ["claim-code", TENANT, "gw_9"],
            ["claim-code", "nowhere", "gw_1"],
            ["claim-code", TENANT, "gw_1", "--hours", "0"],
            ["claim-code", TENANT, "gw_1", "--hours", "169"],
            ["sign", "/nonexistent", "--out", "/tmp/x"],
            ["sign", "/dev/null", "--out", "/tmp/x"],
            ["certificates", "nowhere"],
            ["revoke", TENANT, "gw_9"],
            ["configure", TENANT, "gw_1", "/nonexistent"],
            ["configure", TENANT, "gw_1", "/bin/sh"],
        ],
    )
    def test_says_what_is_wrong(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["gateway", *arguments]) == 2

        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("campustap: ")


class TestOldSchema:
    @pytest.mark.parametrize(
        "arguments",
        [["gateway", "claim-code", TENANT, "gw_1"], ["broker", "acl"], ["broker", "files", "--out", "/nonexistent/x"]],
    )
    def test_is_named(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(arguments) == 2

        assert "campustap migrate" in capsys.readouterr().err


@pytest.mark.usefixtures("school")
class TestBroker:
    @pytest.mark.parametrize("kind", ["mosquitto", "emqx"])
    def test_prints_the_rules_of_the_fleet(self, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["broker", "acl", "--kind", kind]) == 0

        assert "gxu/gw_1" in capsys.readouterr().out

    def test_writes_files_and_keeps_the_keys(self, tmp_path: Path) -> None:
        arguments = ["broker", "files", "--out", str(tmp_path / "broker")]
        assert cli.main([*arguments, "--host", "127.0.0.1", "--host", "broker.example.edu"]) == 0
        before = {path.name: path.read_bytes() for path in (tmp_path / "broker").glob("*.pem")}
        assert cli.main(arguments) == 0

        after = {path.name: path.read_bytes() for path in (tmp_path / "broker").glob("*.pem")}
        assert {name for name in before if before[name] != after[name]} <= {"clients-crl.pem"}
        for name in ("broker.key.pem", "server.key.pem"):
            assert (tmp_path / "broker" / name).stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("port", ["0", "65536"])
    def test_refuses_a_port_that_is_none(self, port: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["broker", "mosquitto-conf", "--port", port]) == 2
        assert "--port" in capsys.readouterr().err


class TestVerifyReceipt:
    def test_needs_no_database(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        forged = tmp_path / "receipt.json"
        forged.write_text('{"format":"campustap-receipt/1"}')

        assert cli.main(["verify-receipt", str(forged)]) == 1

        said = capsys.readouterr().out
        assert "FAIL file" in said
        assert "NOT proven" in said
        assert not (tmp_path / "one.db").exists()

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [(["/nonexistent"], "/nonexistent"), (["/tmp"], "/tmp"), (["/dev/null", "--key", "nonsense"], "--key")],
    )
    def test_says_what_is_wrong(self, arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["verify-receipt", *arguments]) == 2

        assert word in capsys.readouterr().err
