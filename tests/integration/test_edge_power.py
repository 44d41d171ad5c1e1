"""
The power fails under the gateway: at any write of its disk, with what was not synced lost, torn or out of order, and
under the whole process at any moment. What was promised is kept, and each session is settled once.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.commands import OpenValve
from gateway.contract.events import JournalRecord, MeterRead, ValveOpened, WaterSessionEnded
from gateway.contract.signing import verify
from gateway.uplink.journal import FIRST_PREVIOUS
from tests.fakes.gateway_backend import FakeBackend
from tests.fakes.gateway_site import GatewaySite, wait_until
from tests.patience import PATIENCE_S
from tests.soak.disk import Disk, compile_tape, environment, read_tape
from tests.soak.journal_life import KEY, NOTES, STORE, end, store_in

SESSIONS = 120
CUTS = 120


@pytest.fixture(scope="module")
def tape_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that writes down what a process does to its files."""
    return compile_tape(tmp_path_factory.mktemp("tape"))


@pytest.fixture(scope="module")
def life(tape_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """Return the tape of a store that has lived through many sessions."""
    folder = tmp_path_factory.mktemp("life")
    tape = folder.with_name(folder.name + ".tape")
    subprocess.run(
        [sys.executable, "-m", "tests.soak.journal_life", str(folder), "1", str(SESSIONS)],
        env={**os.environ, **environment(tape_library, folder, tape)},
        check=True,
        timeout=10 * PATIENCE_S,
    )
    operations = read_tape(tape)
    tape.unlink()
    assert {operation.name for operation in operations} >= {STORE, f"{STORE}-wal", NOTES}
    return Disk(operations)


class Promises:
    """What had been promised at a moment, from the notes."""

    def __init__(self, notes: bytes) -> None:
        lines = [json.loads(line) for line in notes.splitlines()]
        self.opened = {line["session"] for line in lines if line["what"] == "opened"}
        self.ended = {line["session"] for line in lines if line["what"] == "ended"}
        self.acked = max((line["sequence"] for line in lines if line["what"] == "acked"), default=0)
        self.sent = {line["sequence"]: line["event"] for line in lines if line["what"] == "sent"}


def notes_so_far(disk: Disk) -> bytes:
    """Return the notes as written, synced or not: they say what was promised, and are no part of the gateway."""
    file = disk.files.get(NOTES)
    return b"".join(operation.data for operation in file.pending) if file else b""


def check_what_is_found(folder: Path, promises: Promises) -> None:
    """Open the store as after a restart and hold it to what had been promised."""
    store = store_in(folder)
    assert not list(folder.glob("*.damaged-*")), "a power cut damages nothing"
    with store.transaction() as tx:
        head = tx.journal.head()
        waiting = tx.journal.waiting(after=0, limit=10_000)
        open_sessions = {session.water_session_id for session in tx.memory.sessions()}
        log_sequence = tx.memory.device("dev_o1").log_sequence
    records = [verify(signed, keys={"gw": KEY.public_key()}, as_type=JournalRecord) for _, signed in waiting]

    # nothing acknowledged by our sync is lost, nothing that was sent is forgotten or different now
    sequences = [record.sequence for record in records]
    assert sequences == list(range(head.sequence - len(records) + 1, head.sequence + 1))
    assert not sequences or sequences[0] <= promises.acked + 1
    held = {record.sequence: record.event.event_id for record in records}
    for sequence, event_id in promises.sent.items():
        assert sequence <= head.sequence, f"{sequence} was sent before it was on the disk"
        assert held.get(sequence, event_id) == event_id

    # the chain holds to the head
    for (_, before), record in zip(waiting, records[1:], strict=False):
        assert record.previous_sha256 == hashlib.sha256(before.payload.encode()).hexdigest()
    last = hashlib.sha256(waiting[-1][1].payload.encode()).hexdigest() if waiting else head.sha256
    assert last == head.sha256 or head == (head.epoch, 0, FIRST_PREVIOUS, 0)

    # each session is either remembered or ended, and its end is there once
    ends = Counter(r.event.water_session_id for r in records if isinstance(r.event, WaterSessionEnded))
    assert not [session for session, count in ends.items() if count > 1]
    assert not open_sessions & set(ends)
    assert not open_sessions & promises.ended
    finished = log_sequence // 2  # the device's log is asked again from here
    for session in promises.ended:
        assert int(session.removeprefix("ws_")) <= finished
    for session in promises.opened - promises.ended:
        number = int(session.removeprefix("ws_"))
        assert session in open_sessions or (session in ends and finished == number)

    # and it goes on: what is left is settled, once
    for session in sorted(open_sessions):
        with store.transaction() as tx:
            end(tx, session, int(session.removeprefix("ws_")))
    with store.transaction() as tx:
        assert tx.journal.head().sequence == head.sequence + len(open_sessions)
        assert tx.memory.sessions() == []
    store.close()


class TestDisk:
    def test_at_any_moment_keeps_what_was_promised(self, life: Disk, tmp_path: Path) -> None:
        rng = random.Random(7)
        disk = Disk(life.operations)
        total = len(life.operations)
        after_syncs = [at for at, operation in enumerate(life.operations, start=1) if operation.letter == "S"]
        into_main = [
            at
            for at, operation in enumerate(life.operations, start=1)
            if operation.name == STORE and operation.letter in "WT"
        ]
        moments = {*rng.sample(range(1, total + 1), CUTS // 2), *rng.sample(after_syncs, CUTS // 4)}
        moments |= set(rng.sample(into_main, min(len(into_main), CUTS // 4)))

        looked_at = 0
        for at in disk.play():
            if at not in moments:
                continue
            folder = tmp_path / "found"
            disk.leave(folder, rng, only=STORE)
            check_what_is_found(folder, Promises(notes_so_far(disk)))
            shutil.rmtree(folder)
            looked_at += 1

        assert looked_at == len(moments) > CUTS // 2
        assert len(after_syncs) > 2 * SESSIONS
        assert len(into_main) > 10, "the store was never checkpointed"

    def test_the_notes_prove_that_nothing_is_sent_before_it_is_on_the_disk(self, life: Disk) -> None:
        """Where a record is noted as sent, nothing its transaction wrote may still be unsynced."""
        disk = Disk(life.operations)
        seen = 0
        for at in disk.play():
            operation = life.operations[at - 1]
            if operation.name != NOTES or b'"sent"' not in operation.data:
                continue
            sent = json.loads(operation.data)["event"].encode()
            pending = b"".join(waiting.data for waiting in disk.files[f"{STORE}-wal"].pending)
            durable = bytes(disk.files[f"{STORE}-wal"].durable) + bytes(disk.files[STORE].durable)
            assert sent in durable
            assert sent not in pending or sent in durable
            seen += 1

        assert seen >= SESSIONS  # what waits at the end is not sent

    def test_without_sync_would_not_pass(self, life: Disk, tmp_path: Path) -> None:
        """The check above can fail: on a disk whose syncs do nothing, promises are broken."""
        unsynced = [operation for operation in life.operations if operation.letter != "S"]
        disk, rng = Disk(unsynced), random.Random(3)
        disk.play_all()
        broken = 0
        for number in range(12):
            folder = tmp_path / str(number)
            disk.leave(folder, rng, only=STORE)
            try:
                check_what_is_found(folder, Promises(notes_so_far(disk)))
            except AssertionError:
                broken += 1

        assert broken > 0


class PowerSite:
    """A site whose gateway is killed without warning and finds what a power cut left of its files."""

    def __init__(self, folder: Path, library: Path, seed: int) -> None:
        self.site = GatewaySite(folder)
        self.state = folder / "gateway"
        self.rng = random.Random(seed)
        self._library, self._tape = library, folder / "gateway.tape"

    def start_gateway(self, patch: pytest.MonkeyPatch) -> None:
        """Start it under the tape; what it finds on the disk begins the tape."""
        self._tape.unlink(missing_ok=True)
        self._before = {path.name: path.read_bytes() for path in self.state.glob("gateway.sqlite*")}
        with patch.context() as around:
            for name, value in environment(self._library, self.state, self._tape).items():
                around.setenv(name, value)
            self.site.start_gateway()

    def cut_power(self) -> None:
        """Kill the gateway and leave of its files what a power cut would."""
        self.site.kill("gateway")
        disk = Disk(read_tape(self._tape))
        for name, data in self._before.items():
            if not name.endswith("-shm"):
                disk.file(name).durable[:] = data
        disk.play_all()
        for path in self.state.glob("gateway.sqlite*"):
            path.unlink()
        disk.leave(self.state, self.rng, only="gateway.sqlite")


@pytest.fixture
def power(tmp_path: Path, tape_library: Path, request: pytest.FixtureRequest) -> Iterator[PowerSite]:
    power = PowerSite(tmp_path, tape_library, request.param)
    power.site.start_broker()
    power.site.start_simulator()
    yield power
    power.site.stop()


def by_event(backend: FakeBackend, kind: type[Any]) -> list[Any]:
    """Return what came up, each event once: the recorder knows events by their id alone."""
    return list({event.event_id: event for event in backend.events(kind)}.values())


class TestGateway:
    @pytest.mark.parametrize("power", [1, 2], indirect=True)
    def test_killed_and_cut_off_at_any_moment_settles_each_session_once(
        self, power: PowerSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site, rng = power.site, power.rng
        backend = site.backend()
        power.start_gateway(monkeypatch)
        backend.wait(lambda: len(by_event(backend, MeterRead)) >= 2)
        told: list[str] = []

        for number in range(3):
            for device in ("dev_o1", "dev_o2"):
                session = f"ws_{number}_{device}"
                told.append(session)
                body = OpenValve(water_session_id=session, volume_limit_ml=30_000, duration_limit_s=300)
                backend.command(device, body)
                site.do(do="tap_flow", device=device, open=True)
            heard = len(backend.received)
            if number % 2:  # else at once, perhaps before the command has arrived
                backend.wait(lambda at=heard: len(backend.received) > at)
            for _ in range(rng.randint(0, 40)):
                site.state("dev_o1")  # a while, in round trips of another process
            power.cut_power()
            power.start_gateway(monkeypatch)
            hellos = len(backend.hellos)
            backend.wait(lambda at=hellos: len(backend.hellos) > at)
            wait_until(
                lambda: not any(site.state(d)["valve_open"] for d in ("dev_o1", "dev_o2")), why="for shut valves"
            )
            backend.wait(lambda: self.settled(site, backend))

        opened = {event.water_session_id for event in by_event(backend, ValveOpened)}
        ends = Counter(event.water_session_id for event in by_event(backend, WaterSessionEnded))
        assert opened <= set(ends) <= set(told)
        assert set(ends.values()) <= {1}
        assert self.settled(site, backend)
        backend.stop()

    @staticmethod
    def settled(site: GatewaySite, backend: FakeBackend) -> bool:
        """Return whether what was opened has ended, and the devices and the backend have the same ends to the pulse."""
        opened = {event.water_session_id for event in by_event(backend, ValveOpened)}
        if not opened <= {event.water_session_id for event in by_event(backend, WaterSessionEnded)}:
            return False
        devices = sorted((end["device_id"], end["opening_pulses"], end["closing_pulses"]) for end in site.ends())
        events = by_event(backend, WaterSessionEnded)
        heard = sorted((e.device, e.opening_pulses, e.closing_pulses) for e in events if e.device_log_sequence)
        return devices == heard
