"""
The two gateways ours is measured beside, each as its makers ship it, installed below build/peers at first use.

Both poll the 28 status registers of every outlet, publish what they read as JSON at QoS 1, and write a register when
they are told to over MQTT. ThingsBoard's asks for one value per request, as it always does. Node-RED passes registers
on undecoded, many units at once on one connection.
"""

import json
import subprocess
import threading
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from tests.bench.edge_devices import PLAIN_COMMAND_AT
from tests.bench.edge_site import Meter, NotPossible, Outlets, Use, started, wait_until

HOME = Path("build/peers")
THINGSBOARD, NODE_RED = "thingsboard-gateway 3.8.5", "Node-RED 4.1.15, contrib-modbus 5.23.3"
_STATUS_AT, _STATUS_WORDS, _MAIL_WORD = 100, 28, 24
_INSTALL_S = 900


def _run(command: list[str], what: str, **more: Any) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotPossible(f"{what} cannot be installed: {error}") from error
    if done.returncode:
        raise NotPossible(f"{what} cannot be installed: {(done.stderr or done.stdout).strip()[-600:]}")


def thingsboard_program() -> Path:
    """Return ThingsBoard's program, installing it in an environment of its own when it is missing."""
    home = HOME / "thingsboard"
    if not (home / "ready").exists():
        venv.create(home, with_pip=True, clear=True)
        wanted = ["thingsboard-gateway==3.8.5", "pymodbus==3.9.2", "pyserial", "pyserial-asyncio"]
        _run([str(home / "bin" / "pip"), "install", "-q", *wanted], THINGSBOARD)
        (home / "ready").touch()
    return (home / "bin" / "thingsboard-gateway").absolute()


def node_red_program() -> Path:
    """Return Node-RED's program, installing it when it is missing."""
    home = HOME / "node-red"
    if not (home / "ready").exists():
        home.mkdir(parents=True, exist_ok=True)
        packages = ["node-red@4.1.15", "node-red-contrib-modbus@5.23.3"]
        _run(["npm", "install", "--no-fund", "--no-audit", "--omit=dev", *packages], NODE_RED, cwd=home)
        (home / "ready").touch()
    return (home / "node_modules" / "node-red" / "red.js").absolute()


class Listener:
    """Hears what a peer publishes: counts the values, and answers a tap with the order to open."""

    def __init__(self, port: int) -> None:
        self.values = 0
        self.messages = 0
        self.heard: set[tuple[int, int]] = set()
        #: whether a change of the mailbox number is answered
        self.answers = False
        self._mails: dict[tuple[int, int], int] = {}
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="listener", protocol=mqtt.MQTTv5)
        self._client.on_message = self._message
        self.order: Callable[[int, int], tuple[str, bytes]] = lambda line, unit: ("", b"")
        self._subscribed = threading.Event()
        self._client.on_connect = lambda c, *_: c.subscribe(
            [("v1/gateway/#", 1), ("v1/devices/#", 1), ("bench/up/#", 1)]
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port, 60)
        self._client.loop_start()
        assert self._subscribed.wait(20)

    def close(self) -> None:
        """Hang up."""
        self._client.disconnect()
        self._client.loop_stop()

    def _message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        parts = message.topic.split("/")
        if parts[:2] == ["bench", "up"]:
            words = json.loads(message.payload)
            self._read((int(parts[2]), int(parts[3])), len(words), words[_MAIL_WORD])
        elif message.topic == "v1/gateway/telemetry":
            for name, entries in json.loads(message.payload).items():
                line, unit = name.split("_")[1:]
                for entry in entries:
                    read = entry["values"]
                    self._read((int(line), int(unit)), len(read), read.get(f"w{_MAIL_WORD}"))
        elif parts[:5] == ["v1", "devices", "me", "rpc", "request"]:
            limits = {
                "maxPayloadSize": 1_000_000,
                "maxInflightMessages": 1_000,
                "rateLimits": {},
                "gatewayRateLimits": {},
            }
            client.publish(f"v1/devices/me/rpc/response/{parts[5]}", json.dumps(limits), 1)

    def _read(self, place: tuple[int, int], values: int, mail: int | None) -> None:
        self.messages += 1
        self.values += values
        self.heard.add(place)
        if mail is None:
            return
        if self.answers and self._mails.get(place, mail) != mail:
            self._client.publish(*self.order(*place), 1)
        self._mails[place] = mail


class Peer:
    """A running peer."""

    def __init__(self, site: Outlets, listener: Listener, pid: int) -> None:
        self._site, self.listener, self.pid = site, listener, pid

    def measured(self, seconds: float) -> tuple[float, float, Use]:
        """Return registers polled per second, values through the broker per second, and what it took."""
        self._site.do("reset")
        before, meter = self.listener.values, Meter(self.pid)
        time.sleep(seconds)
        use, report, after = meter.use(), self._site.do("report"), self.listener.values
        return report["polled_registers"] / use.seconds, (after - before) / use.seconds, use


@contextmanager
def _listening(port: int, order: Callable[[int, int], tuple[str, bytes]]) -> Iterator[Listener]:
    listener = Listener(port)
    listener.order = order
    try:
        yield listener
    finally:
        listener.close()


@contextmanager
def thingsboard(folder: Path, site: Outlets, broker_port: int, *, period_ms: int) -> Iterator[Peer]:
    """Run ThingsBoard's gateway until every outlet has been read."""
    program = thingsboard_program()
    home = folder / "thingsboard"
    home.mkdir()
    tags = [
        {"tag": f"w{word}", "type": "16uint", "functionCode": 4, "objectsCount": 1, "address": _STATUS_AT + word}
        for word in range(_STATUS_WORDS)
    ]
    opening = {"tag": "open", "type": "16uint", "functionCode": 6, "objectsCount": 1, "address": PLAIN_COMMAND_AT}
    slaves = [
        {
            "host": "127.0.0.1", "port": site.ports[line], "type": "tcp", "method": "socket", "unitId": unit,
            "deviceName": f"dev_{line}_{unit}", "deviceType": "default", "timeout": 5, "byteOrder": "BIG",
            "wordOrder": "BIG", "retries": 1, "pollPeriod": period_ms, "connectAttemptTimeMs": 1_000,
            "connectAttemptCount": 5, "waitAfterFailedAttemptsMs": 1_000, "attributes": [], "timeseries": tags,
            "attributeUpdates": [], "rpc": [opening], "reportStrategy": {"type": "ON_RECEIVED"},
        }
        for line, unit in site.places
    ]  # fmt: skip
    limits = ["rateLimits", "dpRateLimits", "messagesRateLimits"]
    limits += ["deviceMessagesRateLimits", "deviceRateLimits", "deviceDpRateLimits"]
    gateway = {
        "thingsboard": {
            "host": "127.0.0.1", "port": broker_port, "remoteShell": False, "remoteConfiguration": False,
            "statistics": {"enable": False}, "maxPayloadSizeBytes": 65_536, "minPackSendDelayMS": 10,
            "minPackSizeToSend": 500, "checkConnectorsConfigurationInSeconds": 3_600, "handleDeviceRenaming": False,
            "security": {"type": "accessToken", "accessToken": "bench"}, "qos": 1,
            "checkingDeviceActivity": {"checkDeviceInactivity": False}, **dict.fromkeys(limits, "0:0,"),
        },
        "storage": {"type": "memory", "read_records_count": 1_000, "max_records_count": 1_000_000},
        "grpc": {"enabled": False},
        "connectors": [{"name": "bus", "type": "modbus", "configuration": "modbus.json"}],
    }  # fmt: skip
    (home / "tb_gateway.json").write_text(json.dumps(gateway), encoding="utf-8")
    (home / "modbus.json").write_text(
        json.dumps({"name": "bus", "logLevel": "ERROR", "enableRemoteLogging": False, "master": {"slaves": slaves}}),
        encoding="utf-8",
    )
    handlers = {"quiet": {"class": "logging.NullHandler"}}
    quiet = {"version": 1, "disable_existing_loggers": False, "formatters": {}, "handlers": handlers, "loggers": {}}
    (home / "logs.json").write_text(json.dumps(quiet), encoding="utf-8")

    def order(line: int, unit: int) -> tuple[str, bytes]:
        body = {
            "device": f"dev_{line}_{unit}",
            "data": {"id": time.monotonic_ns() % 1_000_000, "method": "open", "params": 1},
        }
        return "v1/gateway/rpc", json.dumps(body).encode()

    with (
        _listening(broker_port, order) as listener,
        started(
            [str(program)],
            folder / "thingsboard.log",
            cwd=home,
            env={"TB_GW_CONFIG_DIR": str(home), "PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(home)},
        ) as process,
    ):
        _all_read(THINGSBOARD, site, listener, folder / "thingsboard.log")
        yield Peer(site, listener, process.pid)


def _all_read(name: str, site: Outlets, listener: Listener, log: Path) -> None:
    try:
        wait_until(f"{name} to read all outlets", lambda: len(listener.heard) >= len(site.places), 180)
    except NotPossible as error:
        raise NotPossible(f"{error}: {log.read_text(encoding='utf-8', errors='replace')[-1_500:]}") from error


@contextmanager
def node_red(folder: Path, site: Outlets, broker_port: int, *, period_ms: int) -> Iterator[Peer]:
    """Run Node-RED until every outlet has been read."""
    program = node_red_program()
    home = folder / "node-red"
    home.mkdir()
    (home / "settings.js").write_text(
        f"module.exports = {{ uiPort: 0, uiHost: '127.0.0.1', httpAdminRoot: false, flowFile: 'flows.json',"
        f" nodesDir: '{program.parent.parent / 'node-red-contrib-modbus'}',"
        " logging: { console: { level: 'error' } } };\n",
        encoding="utf-8",
    )
    (home / "flows.json").write_text(json.dumps(_flows(site, broker_port, period_ms)), encoding="utf-8")

    def order(line: int, unit: int) -> tuple[str, bytes]:
        return f"bench/down/{line}/{unit}", b"1"

    command = ["node", str(program), "--userDir", str(home), "--settings", str(home / "settings.js")]
    with (
        _listening(broker_port, order) as listener,
        started(command, folder / "node-red.log") as process,
    ):
        _all_read(NODE_RED, site, listener, folder / "node-red.log")
        yield Peer(site, listener, process.pid)


def _flows(site: Outlets, broker_port: int, period_ms: int) -> list[dict[str, Any]]:
    """Return the flow: one poller, one getter and one writer per line; one way out and one way in."""
    lines = range(len(site.ports))
    broker = {
        "id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(broker_port), "clientid": "node-red",
        "autoConnect": True, "usetls": False, "protocolVersion": "4", "keepalive": "60", "cleansession": True,
    }  # fmt: skip
    flows: list[dict[str, Any]] = [
        {"id": "tab", "type": "tab", "label": "bench"},
        broker,
        {"id": "out", "type": "mqtt out", "z": "tab", "broker": "broker", "topic": "", "qos": "1", "wires": []},
        {
            "id": "in", "type": "mqtt in", "z": "tab", "broker": "broker", "topic": "bench/down/+/+", "qos": "1",
            "datatype": "utf8", "wires": [["orders"]],
        },
        {
            "id": "orders", "type": "function", "z": "tab", "outputs": len(site.ports),
            "func": "const [, , line, unit] = msg.topic.split('/'); const out = [];"
            " out[+line] = { payload: { value: 1, fc: 6, unitid: +unit,"
            f" address: {PLAIN_COMMAND_AT}, quantity: 1 }} }};"
            " return out;",
            "wires": [[f"write{line}"] for line in lines],
        },
    ]  # fmt: skip
    for line, port in enumerate(site.ports):
        poll = (
            "const every = setInterval(() => { for (let unit = 1; unit <= " + str(site.units) + "; unit++)"
            f" node.send({{ topic: 'bench/up/{line}/' + unit, payload: {{ fc: 4, unitid: unit,"
            f" address: {_STATUS_AT}, quantity: {_STATUS_WORDS} }} }}); }}, {period_ms}); context.set('every', every);"
        )
        flows += [
            {
                "id": f"bus{line}", "type": "modbus-client", "clienttype": "tcp", "bufferCommands": True,
                "stateLogEnabled": False, "queueLogEnabled": False, "failureLogEnabled": False, "tcpHost": "127.0.0.1",
                "tcpPort": str(port), "tcpType": "DEFAULT", "unit_id": "1", "commandDelay": "1",
                "clientTimeout": "5000", "reconnectOnTimeout": True, "reconnectTimeout": "1000",
                "parallelUnitIdsAllowed": True,
            },
            {
                "id": f"poll{line}", "type": "function", "z": "tab", "outputs": 1, "func": "return null;",
                "initialize": poll, "finalize": "clearInterval(context.get('every'));", "wires": [[f"get{line}"]],
            },
            {
                "id": f"get{line}", "type": "modbus-flex-getter", "z": "tab", "server": f"bus{line}",
                "keepMsgProperties": True, "useIOFile": False, "ioFile": "", "useIOForPayload": False,
                "emptyMsgOnFail": False, "wires": [["out"], []],
            },
            {
                "id": f"write{line}", "type": "modbus-flex-write", "z": "tab", "server": f"bus{line}",
                "emptyMsgOnFail": False, "keepMsgProperties": False, "wires": [[], []],
            },
        ]  # fmt: skip
    return flows
