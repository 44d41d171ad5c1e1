"""A school whose broker is a real Mosquitto with TLS and an ACL, and gateways that enrolled with our own commands."""

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from backend.bootstrap.container import Backend, open_backend
from backend.cli import main as backend_main
from backend.fleet import service as fleet
from backend.fleet.types import Gateway, Place
from backend.tenants import service as tenants
from gateway.care.certificates import ca_path, identity_path
from gateway.cli import main as gateway_main
from tests.fakes.gateway_site import free_port, listening, wait_until
from tests.patience import PATIENCE_S

TENANT = "school"


class TlsSite:
    """Made once for a module: a database, secrets, a broker."""

    def __init__(self, folder: Path, gateways: tuple[str, ...] = ("gw_a", "gw_b")) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "CAMPUSTAP_DATABASE_URL": f"sqlite:///{folder / 'school.db'}",
            "CAMPUSTAP_SECRETS_DIR": str(folder / "secrets"),
            "CAMPUSTAP_BROKER_PORT": str(self.port),
            "CAMPUSTAP_BROKER_TLS": str(folder / "broker"),
        }
        self.say("migrate")
        with self.backend() as backend, backend.db.write() as conn:
            tenants.create(conn, tenants.Tenant(TENANT, "校", "School"))
            fleet.add_place(conn, Place(TENANT, "pl_c", None, "campus", "校", "Campus"))
            for gateway in gateways:
                fleet.add_gateway(conn, Gateway(TENANT, gateway, "pl_c", ""))

    @contextlib.contextmanager
    def backend(self) -> Iterator[Backend]:
        """Yield the server's parts."""
        with self._as_server():
            opened = open_backend()
        yield opened
        opened.db.engine.dispose()

    @contextlib.contextmanager
    def _as_server(self) -> Iterator[None]:
        patch = pytest.MonkeyPatch()
        for name, value in self.environment.items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            patch.undo()

    def say(self, *arguments: str, status: int = 0) -> str:
        """Run a `campustap` command and return what it printed."""
        return self._printed(backend_main, arguments, status)

    def at_box(self, *arguments: str, status: int = 0) -> str:
        """Run a `campustap-gateway` command and return what it printed, errors included."""
        return self._printed(gateway_main, arguments, status)

    def _printed(self, command: Any, arguments: tuple[str, ...], status: int) -> str:
        said = self.folder / f"said-{threading.get_ident()}.txt"
        with self._as_server(), said.open("w+", encoding="utf-8") as file:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                got = command(list(arguments))
            file.seek(0)
            text = file.read()
        assert got == status, text
        return text

    def state(self, gateway: str) -> Path:
        return self.folder / gateway

    def enroll(self, gateway: str, *, state: Path | None = None, new_key: bool = False) -> Path:
        """Enroll a gateway with carried files and return its state folder."""
        box = state or self.state(gateway)
        more = ["--new-key"] if new_key else []
        code = json.loads(self.say("gateway", "claim-code", TENANT, gateway, *more))["claim_code"]
        who = ("init", "--state", str(box), "--tenant", TENANT, "--gateway", gateway)
        self.at_box(*who, "--claim-code", code, "--request", str(box / "request.json"))
        self.say("gateway", "sign", str(box / "request.json"), "--out", str(box / "answer.json"))
        self.at_box(*who, "--answer", str(box / "answer.json"))
        return box

    # -- broker

    def write_broker_files(self) -> None:
        out = ("--out", str(self.folder / "broker"), "--port", str(self.port), "--address", "127.0.0.1")
        self.say("broker", "files", *out, "--host", "127.0.0.1")

    def start_broker(self) -> None:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        log = (self.folder / "mosquitto.log").open("ab")
        self._process = subprocess.Popen(
            [program, "-c", str(self.folder / "broker" / "mosquitto.conf")], stdout=log, stderr=log, env=os.environ
        )
        wait_until(lambda: listening(self.port), why="for Mosquitto")

    def stop_broker(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=PATIENCE_S)

    def client(self, state: Path | None, name: str) -> "TlsClient":
        """Return a client with a box's certificate; with None, without any."""
        context = ssl.create_default_context(cafile=str(self.folder / "broker" / "broker-ca.pem"))
        if state is not None:
            assert ca_path(state).read_text() == (self.folder / "broker" / "broker-ca.pem").read_text()
            context.load_cert_chain(identity_path(state))
        return TlsClient(self.port, context, name)

    def server_client(self) -> "TlsClient":
        """Return a client with the certificate of our own processes."""
        folder = self.folder / "broker"
        context = ssl.create_default_context(cafile=str(folder / "broker-ca.pem"))
        context.load_cert_chain(folder / "server.cert.pem", folder / "server.key.pem")
        return TlsClient(self.port, context, "server")


class TlsClient:
    """Connects with TLS, and remembers what the broker said."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.reasons: list[int] = []
        self.acks: dict[int, int] = {}
        self.granted = 0
        self.trouble = ""
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self._client.tls_set_context(context)
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self.reasons.append(reason.value)
        self._client.on_disconnect = lambda _c, _u, _f, reason, _p: self.reasons.append(reason.value)
        self._client.on_message = lambda _c, _u, message: self.received.append((message.topic, bytes(message.payload)))
        self._client.on_publish = lambda _c, _u, mid, reason, _p: self.acks.update({mid: reason.value})
        self._client.on_subscribe = self._subscribed
        try:
            self._client.connect("127.0.0.1", port, 30)
            deadline = time.monotonic() + PATIENCE_S
            while not self.reasons and time.monotonic() < deadline:
                self._client.loop(0.05)
        except OSError as error:
            self.trouble = str(error)
        if self.is_in:
            self._client.loop_start()

    def _subscribed(self, *_: Any) -> None:
        self.granted += 1

    @property
    def is_in(self) -> bool:
        """Return whether the broker took us."""
        return self.reasons[:1] == [0]

    def publish(self, topic: str, payload: bytes = b"x") -> int:
        """Return the broker's reason code for a message."""
        mid = self._client.publish(topic, payload, qos=1).mid
        wait_until(lambda: mid in self.acks, why="for PUBACK")
        return self.acks[mid]

    def subscribe(self, topic: str) -> None:
        before = self.granted
        self._client.subscribe(topic, 1)
        wait_until(lambda: self.granted > before, why="for SUBACK")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
