"""
Starts and stops the whole system as separate processes, restarts what dies, and lets tests kill any of them.

Broker, sandbox payment provider, backend server, backend worker, simulated devices, one gateway per building. Every
child dies with this process, writes its own log file, and is stopped edge first, so that no record is left behind.
"""

import contextlib
import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firmware_sim import neighbor as neighbors
from firmware_sim import sandbox_keys
from firmware_sim.broker import listening
from firmware_sim.chances import Chances, draw_into
from firmware_sim.makers_floor import composed
from firmware_sim.plan import TENANT_ID, PlanSize, build_plan, gateway_ids

_PR_SET_PDEATHSIG = 1
_RESTARTS_MAX = 20
#: how long a part may take to be there: long, for a busy machine is no defect
_START_S = 60.0
#: below those that the system gives to outgoing connections
_PORTS = range(20_000, 32_000)


class StackError(Exception):
    """A part did not start; the message names it and shows the end of its log."""


def free_ports(count: int) -> list[int]:
    """Return local TCP ports that nothing listens on now and that no outgoing connection takes in the meantime."""
    chance = random.SystemRandom()
    with contextlib.ExitStack() as open_sockets:
        ports: list[int] = []
        for port in chance.sample(_PORTS, len(_PORTS)):
            if len(ports) == count:
                return ports
            listener = open_sockets.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                ports.append(port)
    raise StackError(f"no {count} free ports from {_PORTS.start} to {_PORTS.stop - 1}")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True)
class Part:
    """One child process: how to start it, where it logs, whether it should be running."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = False
    restarts: int = 0

    def start(self) -> None:
        """Start the process; its output is appended to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.wanted = True  # not before it lives: the supervisor would start a second one

    @property
    def running(self) -> bool:
        """Return whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Kill the process at once (SIGKILL), as a crash would, and leave it dead."""
        self.wanted = False
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Ask the process to end and wait; return False if it had to be killed after the timeout."""
        self.wanted = False
        if self.process is None or self.process.poll() is not None:
            return True
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def wait_for(what: str, ready: Callable[[], bool], *, timeout_s: float, part: Part | None = None) -> None:
    """
    Return once a condition holds.

    :raises StackError: when it does not within the time, or when the part it waits for has died.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if part is not None and not part.running:
            raise StackError(f"{what}: {part.name} ended.\n{part.last_lines()}")
        if time.monotonic() > deadline:
            raise StackError(f"{what} was not reached in {timeout_s:.0f} s.\n{part.last_lines() if part else ''}")
        time.sleep(0.05)


@dataclass(slots=True)
class Stack:
    """A running school. `parts` are in starting order."""

    folder: Path
    seed: int
    size: PlanSize
    broker_kind: str = "iotcore"
    database_url: str = ""
    http_port: int = 0
    supervise: bool = True
    trace: bool = False
    #: whether a second school lives in the same stack
    with_neighbor: bool = False
    #: surroundings of the water, as `firmware_sim.physics.water.Surroundings` names them
    physics: Mapping[str, float] = field(default_factory=dict)
    #: what chance does to devices and pipes
    chances: Chances = field(default_factory=Chances)
    #: is told the broker's port and returns the one that gateways are to use: a bad way between them, say
    way_to_broker: Callable[[int], int] | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    demo: dict[str, Any] = field(default_factory=dict)
    neighbor: dict[str, Any] | None = None
    neighbor_demo: dict[str, Any] = field(default_factory=dict)
    control_port: int = 0
    broker_port: int = 0
    provider_port: int = 0
    _watcher: threading.Thread | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def base_url(self) -> str:
        """Return the address of the pages."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def device_log(self) -> Path:
        """Return the file in which the simulated devices write their END records."""
        return self.folder / "device-log.jsonl"

    @property
    def step_log(self) -> Path:
        """Return the file in which the simulated devices write each step of their world."""
        return self.folder / "world.jsonl"

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ) | {
            "CAMPUSTAP_DATABASE_URL": self.database_url,
            "CAMPUSTAP_SECRETS_DIR": str(self.folder / "secrets"),
            "CAMPUSTAP_BROKER_PORT": str(self.broker_port),
            "CAMPUSTAP_HTTP_PORT": str(self.http_port),
            "CAMPUSTAP_PUBLIC_URL": self.base_url,
            "CAMPUSTAP_PROVIDER_URL": f"http://127.0.0.1:{self.provider_port}",
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # restarts are quick only with compiled modules at hand
        if self.trace:
            environment["CAMPUSTAP_TRACE_FILE"] = str(self.folder / "trace.jsonl")
        return environment

    def _part(self, name: str, *command: str) -> Part:
        part = Part(name, list(command), self.folder / "logs" / f"{name}.log", self._environment())
        self.parts[name] = part
        return part

    def _once(self, *command: str, **environment: str) -> str:
        surroundings = self._environment() | environment
        done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"`{' '.join(command[1:])}` failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def start(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """
        Start everything and return when every device is online.

        :param progress: is told each step in a few words.
        :raises StackError: naming the part that failed; what was started is stopped.
        """
        try:
            for step, run in self._steps():
                progress(step)
                run()
        except BaseException:
            self.stop()
            raise
        if self.supervise:
            self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._watcher.start()

    def _steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "broker", self._start_broker
        yield "payment provider", self._start_provider
        yield "database and school", self._seed
        yield "web server and worker", self._start_backend
        yield "devices", self._start_devices
        yield "gateways", self._start_gateways

    def _start_broker(self) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        ports = free_ports(4 + self.size.buildings + 2)
        self.broker_port, self.provider_port, self.control_port = ports[:3]
        self.http_port = self.http_port or ports[3]
        self._line_ports = ports[4:]
        self.database_url = self.database_url or f"sqlite:///{(self.folder / 'campustap.db').resolve()}"
        folder = str(self.folder / "broker")
        part = self._part(
            "broker", sys.executable, "-m", "firmware_sim.broker", "--port", str(self.broker_port),
            "--folder", folder, "--kind", self.broker_kind,
        )  # fmt: skip
        part.start()
        wait_for("the broker's port", lambda: listening(self.broker_port), timeout_s=_START_S, part=part)

    _line_ports: list[int] = field(default_factory=list)

    def _start_provider(self) -> None:
        sandbox_keys.make(self.folder / "secrets", TENANT_ID, f"http://127.0.0.1:{self.provider_port}")
        part = self._part(
            "provider", sys.executable, "-m", "firmware_sim.sandbox_provider", "--port", str(self.provider_port),
            "--secrets", str(self.folder / "secrets"), "--state", str(self.folder / "provider.db"),
        )  # fmt: skip
        part.start()
        wait_for("the provider's port", lambda: listening(self.provider_port), timeout_s=_START_S, part=part)

    def _program(self, name: str) -> str:
        return str(Path(sys.executable).parent / name)

    def _seed(self) -> None:
        keys = {
            gateway: json.loads(
                self._once(self._program("campustap-gateway"), "init", "--state", str(self._state(gateway)))
            )
            for gateway in gateway_ids(self.size)
        }
        self.plan = build_plan(
            seed=self.seed, size=self.size, ports=self._line_ports,
            public_keys={gateway: key["public_key"] for gateway, key in keys.items()}, now=datetime.now(UTC),
        )  # fmt: skip
        self.plan["physics"] = dict(self.physics)
        draw_into(self.plan, self.chances, seed=self.seed)
        plan_file = self.folder / "plan.json"
        if plan_file.exists():  # a school keeps its tariffs and grants; only addresses change from run to run
            kept = json.loads(plan_file.read_text(encoding="utf-8"))
            self.plan |= {name: kept[name] for name in ("tariffs", "grants")}
        plan_file.write_text(json.dumps(self.plan, ensure_ascii=False, indent=1), encoding="utf-8")
        self._once(self._program("campustap"), "migrate")
        port = self.broker_port if self.way_to_broker is None else self.way_to_broker(self.broker_port)
        self._once(
            self._program("campustap"), "tenant", "seed", str(plan_file), "--out", str(self.folder),
            CAMPUSTAP_BROKER_PORT=str(port),
        )  # fmt: skip
        self.demo = json.loads((self.folder / "demo.json").read_text(encoding="utf-8"))
        for gateway in {raw["gateway_id"] for raw in self.plan["devices"] if raw.get("parts")}:
            file = self.folder / f"gateway-{gateway}.toml"
            file.write_text(composed(file.read_text(encoding="utf-8"), self.plan), encoding="utf-8")
        if self.with_neighbor:
            self._seed_neighbor(port)
        site = neighbors.site_of(self.plan, self.neighbor)
        (self.folder / "site.json").write_text(json.dumps(site, ensure_ascii=False), encoding="utf-8")

    def _seed_neighbor(self, broker_port: int) -> None:
        folder = self.folder / "neighbor"
        state = folder / f"gateway-{neighbors.GATEWAY_ID}"
        made = json.loads(self._once(self._program("campustap-gateway"), "init", "--state", str(state)))
        self.neighbor = neighbors.neighbor_of(self.plan, port=self._line_ports[-1], public_key=made["public_key"])
        plan_file = folder / "plan.json"
        plan_file.write_text(json.dumps(self.neighbor, ensure_ascii=False), encoding="utf-8")
        self._once(
            self._program("campustap"), "tenant", "seed", str(plan_file), "--out", str(folder),
            CAMPUSTAP_BROKER_PORT=str(broker_port),
        )  # fmt: skip
        self.neighbor_demo = json.loads((folder / "demo.json").read_text(encoding="utf-8"))

    def _state(self, gateway: str) -> Path:
        return self.folder / f"gateway-{gateway}"

    def _start_backend(self) -> None:
        serve = self._part("serve", self._program("campustap"), "serve")
        worker = self._part("worker", self._program("campustap"), "worker")
        serve.start()
        worker.start()
        wait_for("the web server's port", lambda: listening(self.http_port), timeout_s=_START_S, part=serve)

    def _start_devices(self) -> None:
        part = self._part(
            "devices", self._program("campustap-sim"), "devices", "--plan", str(self.folder / "site.json"),
            "--state", str(self.folder / "devices"), "--control", str(self.control_port),
            "--device-log", str(self.device_log), "--steps", str(self.step_log),
        )  # fmt: skip
        part.start()
        wait_for("the devices' control port", lambda: listening(self.control_port), timeout_s=_START_S, part=part)

    def _start_gateways(self) -> None:
        for gateway in gateway_ids(self.size):
            self._part(
                gateway, self._program("campustap-gateway"), "run",
                "--config", str(self.folder / f"gateway-{gateway}.toml"),
            ).start()  # fmt: skip
        if self.neighbor is not None:
            file = self.folder / "neighbor" / f"gateway-{neighbors.GATEWAY_ID}.toml"
            program = self._program("campustap-gateway")
            self._part(neighbors.GATEWAY_ID, program, "run", "--config", str(file)).start()

    def command_keys(self) -> dict[str, dict[str, str]]:
        """Return each school's command keys as its gateways are told them, by tenant."""
        files = {TENANT_ID: self.folder / f"gateway-{gateway_ids(self.size)[0]}.toml"}
        if self.neighbor is not None:
            files[neighbors.TENANT_ID] = self.folder / "neighbor" / f"gateway-{neighbors.GATEWAY_ID}.toml"
        return {
            tenant: tomllib.loads(file.read_text(encoding="utf-8"))["command_keys"] for tenant, file in files.items()
        }

    def _watch(self) -> None:
        while not self._stopping.wait(0.5):
            for part in list(self.parts.values()):
                if part.wanted and not part.running and part.restarts < _RESTARTS_MAX:
                    part.restarts += 1
                    part.start()

    def stop(self) -> list[str]:
        """Stop everything, edge first, and return the names of parts that had to be killed."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        names = list(self.parts)
        edge_first = [name for name in names if name.startswith("gw_")] + [
            "worker",
            "serve",
            "devices",
            "provider",
            "broker",
        ]
        killed = [name for name in edge_first if name in self.parts and not self.parts[name].stop()]
        self.parts.clear()
        return killed


def control(port: int, **request: Any) -> dict[str, Any]:
    """
    Return the simulator's answer to one request on its control port.

    :raises OSError: when the simulator does not answer within 30 s.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answers:
            answer: dict[str, Any] = json.loads(answers.readline())
    return answer
