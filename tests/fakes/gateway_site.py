"""A small site of real processes for tests of the gateway: broker, simulated devices, gateway."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_sim.stack import free_ports
from gateway.bootstrap import key_path
from gateway.contract.signing import load_or_create_key, public_text
from tests.fakes.gateway_backend import KID, FakeBackend
from tests.patience import PATIENCE_S

TENANT, GATEWAY = "school", "gw_test"
K_FACTOR = 450_000


def free_port() -> int:
    """Return a port nobody listens on now."""
    return free_ports(1)[0]


def listening(port: int) -> bool:
    """Return whether somebody accepts connections on a port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False


def wait_until(condition: Any, timeout_s: float = PATIENCE_S, *, why: str = "") -> Any:
    """Return the first truth of a condition."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited in vain {why}"
        time.sleep(0.02)


class GatewaySite:
    """Starts, kills and restarts the processes of a site with two outlets and a door."""

    def __init__(self, folder: Path, *, broker: str = "iotcore", rtu: bool = False, **settings: Any) -> None:
        self.folder, self.broker_kind, self.rtu, self.settings = folder, broker, rtu, settings
        self.broker_port, self.line_port, self.control_port = free_port(), free_port(), free_port()
        #: where the gateway finds the broker: a link that can be cut may stand in between
        self.gateway_broker_port = settings.pop("gateway_broker_port", self.broker_port)
        self.key = Ed25519PrivateKey.generate()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        usual = [
            ("dev_o1", 1, "outlet", "chw.hwo1"),
            ("dev_o2", 2, "outlet", "chw.hwo1"),
            ("dev_d1", 9, "door", "chw.acr1"),
        ]
        self.devices = settings.pop("devices", usual)
        self.simulated = settings.pop("simulated", None) or self.devices
        #: further [[devices]] of the gateway, as TOML; what stands in for them is the test's
        self.more_devices: str = settings.pop("more_devices", "")
        self.gateway_key = load_or_create_key(key_path(folder / "gateway")).public_key()
        self._write_plan()
        self._write_config()

    def _write_plan(self) -> None:
        places = [{"place_id": "pl_campus", "parent_id": None, "kind": "campus", "name": "校", "name_en": "Campus"}]
        devices = []
        for device_id, unit, kind, map_id in self.simulated:
            place = f"pl_{device_id}"
            places.append({"place_id": place, "parent_id": "pl_campus", "kind": kind, "name": place, "name_en": place})
            devices.append(
                {
                    "device_id": device_id,
                    "gateway_id": GATEWAY,
                    "line_id": "l1",
                    "unit": unit,
                    "kind": kind,
                    "map_id": map_id,
                    "place_id": place,
                    "name": device_id,
                    "name_en": device_id,
                    "scenario": "access" if kind == "door" else "hot_water",
                    "k_factor_pulses_per_m3": K_FACTOR,
                }
            )
        line = {"line_id": "l1", "transport": "tcp", "host": "127.0.0.1", "port": self.line_port}
        plan = {
            "seed": 7,
            "tenant": {"tenant_id": TENANT, "name": "校", "name_en": "School", "zone": "UTC", "currency": "CNY"},
            "places": places,
            "gateways": [{"gateway_id": GATEWAY, "place_id": "pl_campus", "public_key": "", "lines": [line]}],
            "devices": devices,
            "people": [],
            "tariffs": [],
            "grants": [],
        }
        (self.folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    def _write_config(self) -> None:
        lines = [
            f'tenant = "{TENANT}"',
            f'gateway = "{GATEWAY}"',
            f'state_dir = "{self.folder / "gateway"}"',
            *(f"{name} = {value}" for name, value in self.settings.items()),
            "[broker]",
            'host = "127.0.0.1"',
            f"port = {self.gateway_broker_port}",
            "[command_keys]",
            f'{KID} = "{public_text(self.key.public_key())}"',
            "[[lines]]",
            'line_id = "l1"',
            f'transport = "{"rtu_tcp" if self.rtu else "tcp"}"',
            'host = "127.0.0.1"',
            f"port = {self.line_port}",
            "timeout_ms = 200",
        ]
        for device_id, unit, kind, map_id in self.devices:
            lines += [
                "[[devices]]",
                f'device_id = "{device_id}"',
                'line_id = "l1"',
                f"unit = {unit}",
                f'map_id = "{map_id}"',
                f'kind = "{kind}"',
            ]
        (self.folder / "gateway.toml").write_text("\n".join(lines) + "\n" + self.more_devices, encoding="utf-8")

    # -- processes

    def _spawn(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        environment = {**os.environ, "CAMPUSTAP_TRACE_FILE": str(self.folder / "trace.jsonl")}
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=log, stderr=log, env=environment
        )

    def start_broker(self) -> None:
        folder = str(self.folder / "broker")
        arguments = ("--port", str(self.broker_port), "--folder", folder, "--kind", self.broker_kind)
        self._spawn("broker", "firmware_sim.broker", *arguments)
        wait_until(lambda: listening(self.broker_port), why="for the broker")

    def start_simulator(self) -> None:
        self._spawn(
            "simulator",
            "firmware_sim.cli",
            "devices",
            "--plan",
            str(self.folder / "plan.json"),
            "--state",
            str(self.folder / "nvm"),
            "--control",
            str(self.control_port),
            "--device-log",
            str(self.folder / "ends.jsonl"),
            *(["--rtu"] if self.rtu else []),
        )
        wait_until(lambda: listening(self.control_port), why="for the simulator")

    def start_gateway(self) -> None:
        self._spawn("gateway", "gateway.cli", "run", "--config", str(self.folder / "gateway.toml"))

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal and return the exit status."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(timeout=PATIENCE_S)

    def backend(self) -> FakeBackend:
        return FakeBackend(
            port=self.broker_port,
            tenant=TENANT,
            gateway=GATEWAY,
            key=self.key,
            gateway_key=self.gateway_key,
        )

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(timeout=PATIENCE_S)

    # -- people and electricians

    def do(self, **request: Any) -> dict[str, Any]:
        """Ask the simulator's control port for something."""
        with socket.create_connection(("127.0.0.1", self.control_port), timeout=PATIENCE_S) as link:
            link.sendall(json.dumps(request).encode() + b"\n")
            with link.makefile("r", encoding="utf-8") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
        assert answer.get("ok"), answer
        return answer

    def state(self, device: str) -> dict[str, Any]:
        """Return what a simulated device is doing."""
        found: dict[str, Any] = self.do(do="state", device=device)["devices"][0]
        return found

    def ends(self) -> list[dict[str, Any]]:
        """Return every END record any device ever wrote."""
        path = self.folder / "ends.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")
