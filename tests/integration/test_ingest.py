"""Workers as processes, against a real broker: killed in mid-batch, two at once, taps answered."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from backend.cardholders import service as cardholders
from backend.cardholders.types import Cardholder
from backend.db import Database
from backend.fleet import service as fleet
from backend.fleet.types import Place
from backend.kit.clock import utc_now
from backend.kit.ids import new_id
from backend.migrations import runner
from backend.mqtt.client import BrokerLink, Incoming
from backend.payments import service as payments
from backend.water_sessions.machine import State
from backend.water_sessions.types import WaterSession
from firmware_sim.stack import free_ports
from gateway.contract import topics
from gateway.contract.events import Event
from gateway.contract.messages import Acknowledged, CommandMessage, Decision
from gateway.contract.signing import Signed, decode, verify
from tests.patience import PATIENCE_S
from tests.unit.backend.mqtt.test_ingest import Journal, events
from tests.unit.backend.mqtt.test_ingest import message as told
from tests.unit.backend.water_sessions.world import GATEWAY, OUTLET, START_MINOR, TENANT, World, health

pytestmark = pytest.mark.timeout(120)
START = "from backend.cli import main; import sys; sys.exit(main(['worker']))"


def free_port() -> int:
    """Return a port nobody listens on."""
    return free_ports(1)[0]


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@pytest.fixture(params=["iotcore", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Yield the port of a running broker; the test runs once per kind."""
    port = free_port()
    arguments = ["--port", str(port), "--folder", str(tmp_path / "broker"), "--kind", request.param]
    process = subprocess.Popen([sys.executable, "-m", "firmware_sim.broker", *arguments])

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens)
    yield port
    process.terminate()
    process.wait(timeout=PATIENCE_S)


class Gateway:
    """The gateway's side of the broker, with its journal."""

    def __init__(self, world: World, port: int) -> None:
        self.world, self.journal = world, Journal(world)
        self.link = BrokerLink("127.0.0.1", port, [topics.down_filter(TENANT, GATEWAY)], name="test-gateway")
        self.commands: dict[str, CommandMessage] = {}
        self.decisions: list[tuple[Decision, bytes]] = []
        self.acked_through = 0
        self.turn_until(lambda: self.link.is_up)

    def turn(self) -> None:
        """Take what came down."""
        messages = self.link.poll(0.02, 100)
        self.link.ack(messages)
        for message in messages:
            self._take(message)

    def _take(self, message: Incoming) -> None:
        kind = topics.parse(message.topic).kind
        if kind == topics.Down.ACK:
            kid, key = self.world.ctx.signing(TENANT)
            signed = decode(message.payload, Signed)
            ack = verify(signed, keys={kid: key.public_key()}, as_type=Acknowledged)
            self.acked_through = max(self.acked_through, ack.acked_through if ack.epoch == "ep1" else 0)
        elif kind == topics.Down.DECISION:
            self.decisions.append((msgspec.json.decode(message.payload, type=Decision), message.correlation))
        else:
            command = msgspec.json.decode(message.payload, type=CommandMessage)
            self.commands[command.signed.signature] = command

    def turn_until(self, condition: Callable[[], bool], seconds: float = 40) -> None:
        """Go on until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came"
            self.turn()

    def send(self, what: Incoming) -> None:
        """Publish a message that goes up."""
        self.link.publish(what.topic, what.payload, expiry_s=30, correlation=what.correlation)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school on the real clock, migrated as far as a worker can tell."""
    runner.stamp(database.engine)
    return World(database, tmp_path / "secrets", now=utc_now()).fill()


@pytest.fixture
def start_worker(world: World, broker: int, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Yield what starts a worker process; all are ended afterwards."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {
        **os.environ,
        "CAMPUSTAP_DATABASE_URL": world.db.engine.url.render_as_string(hide_password=False),
        "CAMPUSTAP_SECRETS_DIR": str(world.secrets_dir),
        "CAMPUSTAP_BROKER_PORT": str(broker),
        "CAMPUSTAP_TRACE_FILE": str(tmp_path / "trace.jsonl"),
    }

    def start() -> subprocess.Popen[bytes]:
        log = (tmp_path / f"worker{len(started)}.log").open("wb")
        started.append(subprocess.Popen([sys.executable, "-c", START], env=environment, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


def crowd(world: World, count: int) -> tuple[list[WaterSession], list[Event]]:
    """Return running sessions of as many people at as many outlets, and all their events: first openings, then ends."""
    sessions = []
    for number in range(count):
        login, device_id = f"person{number}", f"dev_crowd{number}"
        world.people[login] = new_id("ch")
        with world.db.write() as conn:
            person = Cardholder(
                TENANT, world.people[login], login, login, login, "student", "active", frozenset({"student"})
            )
            cardholders.add_cardholder(conn, person, "a long password", world.now)
            payments.credit_wallet(
                conn,
                tenant_id=TENANT,
                cardholder_id=person.cardholder_id,
                amount_minor=START_MINOR,
                transfer_id=f"tr_open_{login}",
                now=world.now,
                memo="opening",
            )
            place = Place(TENANT, f"pl_crowd{number}", "pl_room", "outlet", login, login)
            fleet.add_place(conn, place)
            device = fleet.device(conn, TENANT, OUTLET)
            fleet.add_device(conn, replace(device, device_id=device_id, place_id=place.place_id, sticker_token=""))
            report = health(world.now)
            one = msgspec.structs.replace(report.devices[0], device=device_id)
            fleet.record_health(conn, TENANT, msgspec.structs.replace(report, devices=[one]), world.now)
        sessions.append(world.start(login, device_id=device_id))
    opened: list[Event] = [world.opened(one, at_s=0.1) for one in sessions]
    ended: list[Event] = [world.ended(one, at_s=0.2) for one in sessions]
    return sessions, opened + ended


class TestWorker:
    def test_answers_a_tap_and_sends_the_command(
        self, world: World, broker: int, start_worker: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
    ) -> None:
        gateway = Gateway(world, broker)
        worker = start_worker()
        world.now = utc_now()
        presented = world.tap("ann", request_id="rq_tap")
        message = replace(told(topics.Up.PRESENT, presented), correlation=b"rq_tap")

        def answered() -> bool:
            if not gateway.decisions:
                gateway.send(message)
                gateway.turn_until(lambda: True)
                time.sleep(0.2)
            return bool(gateway.decisions and gateway.commands)

        gateway.turn_until(answered)
        worker.send_signal(signal.SIGTERM)

        decision, correlation = gateway.decisions[0]
        assert (decision.granted, decision.reason, correlation) == (True, "ok", b"rq_tap")
        assert {one.reason for one, _ in gateway.decisions} == {"ok"}
        assert len(gateway.commands) == 1
        assert worker.wait(timeout=PATIENCE_S) == 0
        assert '"presented_received"' in (tmp_path / "trace.jsonl").read_text()

    def test_loses_nothing_when_workers_are_killed_in_mid_batch(
        self, world: World, broker: int, start_worker: Callable[[], subprocess.Popen[bytes]]
    ) -> None:
        sessions, happened = crowd(world, 12)
        gateway = Gateway(world, broker)
        records = [gateway.journal.record(one) for one in happened]
        processes = [start_worker(), start_worker()]
        sent_at = 0.0

        def all_acked() -> bool:
            nonlocal sent_at, processes
            if time.monotonic() - sent_at > 1.0:
                waiting = records[gateway.acked_through :]
                for start in range(0, len(waiting), 3):
                    gateway.send(events(*waiting[start : start + 3]))
                sent_at = time.monotonic()
                if len(processes) < 4:
                    gateway.turn()
                    processes[0].kill()
                    processes = [*processes[1:], processes[0], start_worker()]
            return gateway.acked_through == len(records)

        gateway.turn_until(all_acked, 60)

        assert all(world.session(one.water_session_id).state is State.SETTLED for one in sessions)
        for one in sessions:
            login = next(name for name, key in world.people.items() if key == one.cardholder_id)
            assert world.wallet(login).posted_minor == START_MINOR - 66
            assert world.wallet(login).held_minor == 0
        world.check_books()
