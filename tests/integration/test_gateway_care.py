"""`scan`, `doctor`, `watch` and the metrics, at simulated devices and a real gateway process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.commands.local import ask
from gateway.config import load_config
from tests.fakes.gateway_site import GATEWAY, GatewaySite, free_port, wait_until

CONFIGURED = [
    ("dev_o1", 1, "outlet", "chw.hwo1"),
    ("dev_o2", 2, "outlet", "chw.hwo1"),
    ("dev_x", 5, "outlet", "chw.hwo1"),
]
THERE = [("dev_o1", 1, "outlet", "chw.hwo1"), ("dev_o2", 2, "outlet", "chw.hwo1"), ("dev_d1", 9, "door", "chw.acr1")]


@pytest.fixture(scope="module", params=["tcp", "rtu_tcp"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    folder = tmp_path_factory.mktemp("care")
    site = GatewaySite(
        folder, rtu=request.param == "rtu_tcp", devices=CONFIGURED, simulated=THERE, metrics_port=free_port()
    )
    site.start_simulator()
    yield site
    site.stop()


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == status
    out = capsys.readouterr()
    return out.out + out.err


def results(text: str) -> dict[str, str]:
    return {check["what"]: check["result"] for check in json.loads(text)}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up early on lines that cannot be opened."""
    monkeypatch.setattr("gateway.commands.scan._RECONNECT_WAITS", 3)


class TestBeforeTheGatewayRuns:
    def test_scan_compares_with_the_configuration(self, site: GatewaySite, capsys: pytest.CaptureFixture[str]) -> None:
        config = str(site.folder / "gateway.toml")

        text = said(capsys, "scan", "--config", config, "--units", "1-10", "--json", status=1)

        found: list[dict[str, Any]] = json.loads(text)
        assert [(row["unit"], row["verdict"]) for row in found] == [
            (1, "ok"),
            (2, "ok"),
            (5, "missing"),
            (9, "unknown"),
        ]
        assert "HWO-1" in found[0]["shown"]
        assert "ACR-1" in found[3]["shown"]

    def test_scan_needs_no_configuration(self, site: GatewaySite, capsys: pytest.CaptureFixture[str]) -> None:
        kind = "--rtu-tcp" if site.rtu else "--tcp"

        text = said(capsys, "scan", kind, f"127.0.0.1:{site.line_port}", "--units", "1,9", status=0)

        assert text.count("unknown") == 2

    def test_doctor_asks_the_line_itself(self, site: GatewaySite, capsys: pytest.CaptureFixture[str]) -> None:
        text = said(capsys, "doctor", "--config", str(site.folder / "gateway.toml"), "--json", status=2)

        found = results(text)
        assert found["broker"] == "fail"
        assert found["bus"] == "warn"
        assert found["process"] == "warn"
        assert found["maps"] == found["disk"] == found["key"] == found["journal"] == "ok"

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            ([], "--config"),
            (["--tcp", "nowhere"], "HOST:PORT"),
            (["--tcp", "127.0.0.1:99999"], "HOST:PORT"),
            (
                ["--serial", "/dev/nonexistent", "--units", "1"],
                "/dev/nonexistent cannot be opened: there is no such file",
            ),
            (["--serial", "/dev/null", "--units", "1"], "is no terminal"),
            (["--serial", "/dev/null", "--baud", "1"], "--baud"),
            (["--tcp", "127.0.0.1:1", "--units", "300"], "--units"),
            (["--tcp", "127.0.0.1:1", "--timeout-ms", "1"], "--timeout-ms"),
            (["--config", "/nonexistent"], "/nonexistent"),
        ],
    )
    def test_scan_says_what_is_wrong(self, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str) -> None:
        assert word in said(capsys, "scan", *arguments, status=2)

    def test_watch_says_that_nothing_runs(self, site: GatewaySite, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no gateway answers" in said(capsys, "watch", "--state", str(site.folder), "--once", status=1)


class TestWhileTheGatewayRuns:
    @pytest.fixture(scope="class")
    def running(self, site: GatewaySite) -> Iterator[GatewaySite]:
        site.start_broker()
        site.start_gateway()
        backend = site.backend()
        state = load_config(site.folder / "gateway.toml").state_dir
        wait_until(lambda: (state / "status.sock").exists())

        def is_up() -> bool:
            now = ask(state)
            return now.connected and {each.health.state for each in now.devices[:2]} == {"online"}

        wait_until(is_up)
        yield site
        backend.stop()
        assert site.kill("gateway", 15) == 0

    def test_watch_doctor_and_metrics_agree(self, running: GatewaySite, capsys: pytest.CaptureFixture[str]) -> None:
        config = str(running.folder / "gateway.toml")

        watched = said(capsys, "watch", "--config", config, "--once", status=0)
        figures = json.loads(said(capsys, "watch", "--config", config, "--json", status=0))
        found = results(said(capsys, "doctor", "--config", config, "--json", status=1))

        assert f"school/{GATEWAY}" in watched
        assert [row["health"]["state"] for row in figures["devices"]] == ["online", "online", "silent"]
        assert figures["lines"][0]["requests"] > 0
        assert found["broker"] == found["process"] == "ok"
        assert found["bus"] == "warn"

    def test_scan_leaves_a_line_alone_that_a_gateway_owns(
        self, running: GatewaySite, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "runs and owns" in said(capsys, "scan", "--config", str(running.folder / "gateway.toml"), status=2)

    def test_a_second_one_on_the_same_folder_does_not_start(self, running: GatewaySite) -> None:
        config = running.folder / "gateway.toml"
        before = ask(load_config(config).state_dir)

        second = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "run", "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert second.returncode == 2
        assert f"another gateway (pid {running.processes['gateway'].pid}) runs on it: stop" in second.stderr
        after = ask(load_config(config).state_dir)
        assert (after.instance, after.takeovers, after.connections) == (
            before.instance,
            before.takeovers,
            before.connections,
        )

    def test_hello_tells_process_and_configuration(self, running: GatewaySite) -> None:
        said_by = ask(load_config(running.folder / "gateway.toml").state_dir)

        assert said_by.instance.startswith("in_")
        assert said_by.configuration.state == "local"


class TestDoctor:
    @pytest.mark.parametrize(
        ("spoil", "what", "result"),
        [
            (lambda site: (site.folder / "gateway" / "gateway.key").unlink(), "key", "fail"),
            (lambda site: (site.folder / "gateway" / "gateway.key").write_bytes(b"x"), "key", "fail"),
            (lambda site: (site.folder / "gateway" / "gateway.key").chmod(0o644), "key", "warn"),
            (lambda site: (site.folder / "gateway" / "gateway.sqlite").write_bytes(b"x" * 5_000), "journal", "fail"),
            (lambda site: _edit(site, "chw.hwo1", "no.such"), "maps", "fail"),
            (lambda site: _edit(site, "[broker]", '[broker]\nca = "/none"'), "broker", "fail"),
            (lambda site: _edit(site, "[broker]", 'backend_url = "http://127.0.0.1:1"\n[broker]'), "clock", "warn"),
            (lambda site: _edit(site, "unit = 1\n", "unit = 300\n"), "config", "fail"),
            (
                lambda site: _edit(site, "[broker]", "journal_free_bytes_min = 1125899906842624\n[broker]"),
                "disk",
                "fail",
            ),
            (lambda site: site, "bus", "fail"),
        ],
    )
    def test_names_what_is_wrong(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any, what: str, result: str
    ) -> None:
        site = GatewaySite(tmp_path)
        spoil(site)

        text = said(capsys, "doctor", "--config", str(tmp_path / "gateway.toml"), "--json", status=2)

        assert results(text)[what] == result
        assert all(check["todo"] for check in json.loads(text) if check["result"] != "ok")


def _edit(site: GatewaySite, old: str, new: str) -> None:
    path = site.folder / "gateway.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
