"""A box comes to a real server over HTTP with a claim code, and a gateway process runs with what it got."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backend.fleet import births
from backend.fleet import service as fleet
from gateway.bootstrap import key_path
from gateway.care import enrolling
from gateway.care.certificates import held, identity_path
from gateway.contract.signing import load_or_create_key
from gateway.kit import new_id
from tests.fakes.gateway_site import free_port, listening, wait_until
from tests.fakes.tls_site import TENANT, TlsSite
from tests.patience import PATIENCE_S


class School(TlsSite):
    """With a web server and a worker as processes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ("gw_a", "gw_b", "gw_c"))
        self.http_port = free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.environment |= {"CAMPUSTAP_HTTP_PORT": str(self.http_port)}
        self.processes: list[subprocess.Popen[bytes]] = []

    def open(self) -> None:
        """Start broker, web server and worker."""
        self.write_broker_files()
        self.start_broker()
        self.start("backend.cli", "serve")
        self.start("backend.cli", "worker")
        wait_until(lambda: listening(self.http_port), why="for the web server")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{arguments[1]}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=log, stderr=log, env={**os.environ, **self.environment}
        )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=PATIENCE_S)
        self.stop_broker()

    def code(self, gateway: str, *more: str) -> str:
        code: str = json.loads(self.say("gateway", "claim-code", TENANT, gateway, *more))["claim_code"]
        return code

    def box(self, gateway: str, code: str, state: Path, *, status: int = 0) -> str:
        """Enroll over HTTP, writing a configuration file."""
        who = ("--tenant", TENANT, "--gateway", gateway, "--backend", self.url, "--claim-code", code)
        return self.at_box("init", "--state", str(state), *who, "--config", str(state) + ".toml", status=status)

    def run(self, config: Path) -> subprocess.Popen[bytes]:
        return self.start("gateway.cli", "run", "--config", str(config))

    def gateways(self) -> dict[str, dict[str, object]]:
        return {row["gateway_id"]: row for row in json.loads(self.say("gateway", "list", TENANT))}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    school = School(tmp_path_factory.mktemp("enroll"))
    try:
        school.open()
        yield school
    finally:
        school.stop()


class TestEnroll:
    def test_a_box_that_enrolled_runs_over_tls_and_is_seen(self, school: School, tmp_path: Path) -> None:
        said = json.loads(school.box("gw_a", school.code("gw_a"), tmp_path / "a"))
        assert said["certificate"] == f"{TENANT}/gw_a"
        config = tmp_path / "a.toml"
        config.write_text(config.read_text().replace("metrics_port = 9464", f"metrics_port = {(port := free_port())}"))

        process = school.run(config)

        row = wait_until(lambda: (r := school.gateways()["gw_a"])["connected"] and r["instance"] and r)
        assert row["certificate_not_after"]
        assert row["configuration_state"] == "local"
        assert "campustap_broker_connected 1" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        watched = school.at_box("watch", "--config", str(config), "--once")
        assert "broker: connected" in watched
        doctored = json.loads(school.at_box("doctor", "--config", str(config), "--json", status=1))
        results = {check["what"]: check["result"] for check in doctored}
        assert results | {"maps": "warn", "bus": "warn"} == results
        assert all(results[each] == "ok" for each in ("config", "process", "key", "certificate", "broker", "clock"))
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0

    def test_a_code_works_once(self, school: School, tmp_path: Path) -> None:
        code = school.code("gw_b")
        school.box("gw_b", code, tmp_path / "one")

        again = school.box("gw_b", code, tmp_path / "two", status=2)

        assert "claim_code_refused: used" in again
        assert not identity_path(tmp_path / "two").exists()

    def test_another_box_is_refused_unless_the_code_allows_it(self, school: School, tmp_path: Path) -> None:
        school.box("gw_c", school.code("gw_c"), tmp_path / "first")

        refused = school.box("gw_c", school.code("gw_c"), tmp_path / "second", status=2)
        school.box("gw_c", school.code("gw_c", "--new-key"), tmp_path / "third")

        assert "gateway_key_refused" in refused
        with school.backend() as backend, backend.db.read() as conn:
            known = fleet.gateway(conn, TENANT, "gw_c").public_key
        assert known == enrolling.public_text(load_or_create_key(key_path(tmp_path / "third")).public_key())

    @pytest.mark.parametrize("code", ["0000-0000-0000-0000", "short", "7K3M-9QX2-D4TV-8ZH!"])
    def test_a_wrong_code_is_named(self, school: School, tmp_path: Path, code: str) -> None:
        said = school.box("gw_a", code, tmp_path / "x", status=2)

        assert "claim" in said
        assert "Traceback" not in said

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://campus.example.edu", "ftp://x"])
    def test_a_wrong_address_is_named(self, school: School, tmp_path: Path, url: str) -> None:
        who = ("--tenant", TENANT, "--gateway", "gw_a", "--backend", url, "--claim-code", school.code("gw_a"))

        said = school.at_box("init", "--state", str(tmp_path / "x"), *who, status=2)

        assert url in said


class TestRenew:
    def test_gives_the_next_certificate_for_the_same_box(self, school: School, tmp_path: Path) -> None:
        school.box("gw_c", school.code("gw_c", "--new-key"), tmp_path / "box")
        before = held(identity_path(tmp_path / "box"))

        done = school.at_box("renew", "--config", str(tmp_path / "box.toml"))
        not_due = school.at_box("renew", "--if-due", "--config", str(tmp_path / "box.toml"))

        assert json.loads(done)["renewed"] is True
        assert json.loads(not_due)["renewed"] is False
        assert held(identity_path(tmp_path / "box")).serial != before.serial

    def test_another_key_is_refused(self, school: School, tmp_path: Path) -> None:
        school.box("gw_c", school.code("gw_c", "--new-key"), tmp_path / "box")
        (tmp_path / "box" / "gateway.key").unlink()
        school.at_box("init", "--state", str(tmp_path / "box"))

        said = school.at_box("renew", "--config", str(tmp_path / "box.toml"), status=2)

        assert "gateway_key_refused" in said


class TestTwoBoxesWithOneCertificate:
    def test_are_named_counted_and_shown(self, school: School, tmp_path: Path) -> None:
        school.box("gw_a", school.code("gw_a", "--new-key"), tmp_path / "one")
        config = tmp_path / "one.toml"
        copy = tmp_path / "two.toml"
        subprocess.run(["cp", "-a", str(tmp_path / "one"), str(tmp_path / "two")], check=True)
        copy.write_text(config.read_text().replace(str(tmp_path / "one"), str(tmp_path / "two")))
        for file in (config, copy):
            file.write_text(file.read_text().replace("metrics_port = 9464", "metrics_port = 0"))

        boxes = [school.run(config), school.run(copy)]

        row = wait_until(lambda: (r := school.gateways()["gw_a"])["twin_turns"] and r["takeovers"] and r)
        assert int(str(row["twin_turns"])) >= 1
        with school.backend() as backend, backend.db.read() as conn:
            open_faults = [fault for fault in fleet.open_faults(conn, TENANT) if fault.gateway_id == "gw_a"]
        assert [fault.fault for fault in open_faults] == [births.CERTIFICATE_SHARED]
        watched = [school.at_box("watch", "--config", str(file), "--once") for file in (config, copy)]
        assert any("TAKEN OVER" in text for text in watched)
        for box in boxes:
            box.terminate()
            box.wait(timeout=PATIENCE_S)


class TestRemoteConfiguration:
    def test_is_applied_refused_and_rolled_back(self, school: School, tmp_path: Path) -> None:
        school.box("gw_b", school.code("gw_b", "--new-key"), tmp_path / "box")
        config = tmp_path / "box.toml"
        base = config.read_text().replace("metrics_port = 9464", "metrics_port = 0")
        config.write_text(base)
        process = school.run(config)
        wait_until(lambda: school.gateways()["gw_b"]["connected"])

        def desire(text: str, *more: str) -> dict[str, object]:
            wanted = tmp_path / f"{new_id('x')}.toml"
            wanted.write_text(text)
            version = json.loads(school.say("gateway", "configure", TENANT, "gw_b", str(wanted), *more))["version"]
            over = ("applied", "refused", "rolled_back")
            return wait_until(
                lambda: (
                    (r := school.gateways()["gw_b"])["configuration_version"] == version
                    and r["configuration_state"] in over
                    and r
                )
            )

        applied = desire(base.replace("metrics_port = 0", f"metrics_port = {(port := free_port())}"))
        assert (applied["configuration_state"], applied["configuration_running"]) == ("applied", 1)
        assert "campustap_configuration_version 1" in httpx.get(f"http://127.0.0.1:{port}/metrics").text

        refused = desire(base.replace("[broker]", 'journal_rows_max = "many"\n[broker]'))
        assert refused["configuration_state"] == "refused"
        assert "journal_rows_max" in str(refused["configuration_detail"])

        dead_end = base.replace(f"port = {school.port}", f"port = {free_port()}")
        rolled = desire(dead_end, "--confirm", "5")
        assert rolled["configuration_state"] == "rolled_back"
        assert "no broker" in str(rolled["configuration_detail"])
        assert rolled["configuration_running"] == 1
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0

    @pytest.mark.parametrize(
        "content", ["", "tenant = 'school'", "not toml [", 'tenant = "school"\ngateway = "gw_b"\nx = "\\q"']
    )
    def test_what_cannot_be_meant_is_refused_at_once(self, school: School, tmp_path: Path, content: str) -> None:
        wanted = tmp_path / "bad.toml"
        wanted.write_text(content)

        said = school.say("gateway", "configure", TENANT, "gw_b", str(wanted), status=2)

        assert "configuration" in said
        assert "Traceback" not in said
