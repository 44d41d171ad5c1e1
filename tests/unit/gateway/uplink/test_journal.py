import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.events import JournalRecord, MeterRead
from gateway.contract.signing import Signed, verify
from gateway.uplink.journal import FIRST_PREVIOUS
from gateway.uplink.state import DeviceMemory
from gateway.uplink.store import Store

KEY = Ed25519PrivateKey.generate()

WRITER = """
import sys
from pathlib import Path
from tests.unit.gateway.uplink.test_journal import open_store, reading
store = open_store(Path(sys.argv[1]))
for number in range(100_000):
    with store.transaction() as tx:
        sequence = tx.journal.append(reading(number))
    print(sequence, flush=True)
"""


def open_store(folder: Path, *, rows_max: int = 1_000_000) -> Store:
    return Store(folder / "gateway.sqlite", tenant="school", gateway="gw", key=KEY, rows_max=rows_max)


def reading(number: int) -> MeterRead:
    return MeterRead(
        event_id=f"ev_{number}",
        at_ms=number,
        device="dev_1",
        register_pulses=number,
        k_factor_pulses_per_m3=450_000,
        device_boot_id=1,
    )


def append(store: Store, count: int) -> None:
    for number in range(count):
        with store.transaction() as tx:
            tx.journal.append(reading(number))


def waiting(store: Store) -> list[Signed]:
    with store.transaction() as tx:
        return [signed for _, signed in tx.journal.waiting(after=0, limit=1_000_000)]


def chain(records: list[Signed]) -> list[JournalRecord]:
    """Return the records after checking that each is chained to the one before and that none is missing."""
    found, previous = [], FIRST_PREVIOUS
    for sequence, signed in enumerate(records, 1):
        record = msgspec.json.decode(signed.payload, type=JournalRecord)
        assert (record.sequence, record.previous_sha256) == (sequence, previous)
        previous = hashlib.sha256(signed.payload.encode()).hexdigest()
        found.append(record)
    return found


class TestAppend:
    def test_signs_numbers_and_chains(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        append(store, 3)
        records = waiting(store)
        assert [r.event.event_id for r in chain(records)] == ["ev_0", "ev_1", "ev_2"]
        keys = {"gw": KEY.public_key()}
        assert verify(records[1], keys=keys, as_type=JournalRecord).sequence == 2

    def test_the_chain_goes_on_after_a_restart_and_after_acknowledgements(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        append(store, 2)
        first = waiting(store)
        with store.transaction() as tx:
            assert not tx.journal.acknowledge(epoch=tx.journal.head().epoch, acked_through=2)
        store.close()
        store = open_store(tmp_path)
        append(store, 1)
        assert len(chain(first + waiting(store))) == 3

    def test_what_fails_leaves_nothing_behind(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)

        def fail() -> None:
            with store.transaction() as tx:
                tx.journal.append(reading(0))
                tx.memory.save_device(DeviceMemory(device_id="dev_1", last_sequence=9))
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert waiting(store) == []
        with store.transaction() as tx:
            assert tx.memory.device("dev_1").last_sequence == 0
            assert tx.journal.head().sequence == 0


class TestKilled:
    def test_nothing_committed_is_lost_and_nothing_is_missing_between(self, tmp_path: Path) -> None:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd())
        assert writer.stdout
        said = 0
        while said < 40:
            said = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split(b"\n")
        writer.wait()
        said = max([said, *(int(line) for line in rest[:-1] if line)])

        store = open_store(tmp_path)
        records = chain(waiting(store))
        assert len(records) in (said, said + 1)
        append(store, 2)
        assert len(chain(waiting(store))) == len(records) + 2

    @pytest.mark.parametrize("lost_bytes", [1, 30, 4_000, 9_000, 60_000])
    def test_a_torn_end_leaves_a_whole_beginning(self, tmp_path: Path, lost_bytes: int) -> None:
        store = open_store(tmp_path)
        append(store, 30)
        wal = tmp_path / "gateway.sqlite-wal"
        torn = tmp_path / "torn"
        torn.mkdir()
        (torn / "gateway.sqlite").write_bytes((tmp_path / "gateway.sqlite").read_bytes())
        data = wal.read_bytes()
        (torn / "gateway.sqlite-wal").write_bytes(data[: max(0, len(data) - lost_bytes)])
        store.close()

        left = chain(waiting(open_store(torn)))

        assert [record.sequence for record in left] == list(range(1, len(left) + 1))
        assert len(left) < 30

    def test_a_file_that_is_no_database_is_moved_aside(self, tmp_path: Path) -> None:
        (tmp_path / "gateway.sqlite").write_bytes(b"not a database at all" * 1_000)
        store = open_store(tmp_path)
        with store.transaction() as tx:
            assert tx.journal.head().not_before_ms > 0
        append(store, 1)
        assert list(tmp_path.glob("gateway.sqlite.damaged-*"))


class TestAcknowledge:
    def test_forgets_what_the_backend_has(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        append(store, 5)
        with store.transaction() as tx:
            epoch = tx.journal.head().epoch
            tx.journal.acknowledge(epoch=epoch, acked_through=3)
            tx.journal.acknowledge(epoch="ep_other", acked_through=5)
            tx.journal.acknowledge(epoch=epoch, acked_through=2)
            assert [sequence for sequence, _ in tx.journal.waiting(after=0, limit=9)] == [4, 5]

    def test_begins_an_epoch_when_the_backend_knows_more_than_we_do(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        append(store, 3)
        with store.transaction() as tx:
            before = tx.journal.head().epoch
            assert tx.journal.acknowledge(epoch=before, acked_through=7)
            assert tx.journal.head().epoch != before
        assert [r.event.event_id for r in chain(waiting(store))] == ["ev_0", "ev_1", "ev_2"]


class TestHasRoom:
    def test_keeps_a_reserve_for_endings(self, tmp_path: Path) -> None:
        store = open_store(tmp_path, rows_max=10)
        append(store, 5)
        with store.transaction() as tx:
            assert tx.journal.has_room(reserved=4)
            assert not tx.journal.has_room(reserved=5)
            assert tx.journal.is_half_full()
        append(store, 10)  # an ending is never refused
        assert len(waiting(store)) == 15


class TestDurability:
    def test_a_commit_reaches_the_disk(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        connection: sqlite3.Connection = store._connection
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        store.close()
