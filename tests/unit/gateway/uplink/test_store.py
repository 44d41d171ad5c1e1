import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.uplink import store as store_module
from gateway.uplink.state import DeviceMemory
from gateway.uplink.store import NoRoom, Store, Transaction
from tests.unit.gateway.uplink.test_journal import open_store, reading


def fill(store: Store) -> None:
    """Let the database grow no further, as on a disk that is full, and use up what it has."""
    store._connection.execute("PRAGMA max_page_count = 1")  # SQLite takes what the file has already
    for number in range(10_000):
        try:
            with store.transaction() as tx:
                tx.journal.append(reading(number))
        except NoRoom:
            return
    raise AssertionError("the disk is never full")


def make_room(store: Store) -> None:
    store._connection.execute("PRAGMA max_page_count = 1000000")


def sequences(store: Store) -> list[int]:
    with store.transaction() as tx:
        return [sequence for sequence, _ in tx.journal.waiting(after=0, limit=100_000)]


def append(tx: Transaction) -> None:
    for number in range(20):
        tx.journal.append(reading(number))


class TestWrite:
    def test_leaves_nothing_behind_on_a_full_disk_and_goes_on_when_there_is_room(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        fill(store)
        before = sequences(store)

        async def work() -> None:
            for _ in range(3):
                with pytest.raises(NoRoom):
                    await store.write(append)
            assert store.is_full
            assert not store.disk_has_room()
            assert sequences(store) == before
            make_room(store)
            await store.write_kept()
            await store.write(append)

        asyncio.run(work())
        assert sequences(store) == list(range(1, len(before) + 21))
        assert store.disk_has_room()

    def test_a_small_change_that_still_fits_does_not_end_a_full_disk(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        with store.transaction() as tx:
            tx.memory.save_device(DeviceMemory(device_id="dev_1"))
        fill(store)

        async def work() -> None:
            with pytest.raises(NoRoom):
                await store.write(append)
            await store.write(lambda tx: tx.memory.change_device("dev_1", last_sequence=2))
            assert store.is_full
            with pytest.raises(NoRoom):
                await store.write_kept()

        asyncio.run(work())

    def test_other_troubles_are_not_taken_for_a_full_disk(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        with pytest.raises(sqlite3.OperationalError), store.transaction() as tx:
            tx.memory._connection.execute("SELECT * FROM nowhere")
        assert sequences(store) == []


class TestWriteOrKeep:
    def test_keeps_in_order_what_cannot_be_told_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store_module, "KEPT_MAX", 2)
        store = open_store(tmp_path)
        fill(store)
        done: list[int] = []

        def work(number: int) -> None:
            async def keep() -> None:
                def write(tx: Transaction) -> None:
                    append(tx)
                    done.append(number)

                await store.write_or_keep(write)

            asyncio.run(keep())

        for number in range(3):
            work(number)
        assert (done, store.lost) == ([], 1)
        make_room(store)
        asyncio.run(store.write_kept())
        assert done == [1, 2]


class TestWriteKept:
    def test_what_the_disk_refuses_again_is_still_kept(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        fill(store)
        done: list[int] = []

        async def work() -> None:
            for number in range(2):

                def write(tx: Transaction, number: int = number) -> None:
                    append(tx)
                    done.append(number)

                await store.write_or_keep(write)
            store.is_full = False  # room was found, and taken by somebody else before this was written
            for _ in range(2):
                with pytest.raises(NoRoom):
                    await store.write_kept()
                store.is_full = False
            assert done == []
            make_room(store)
            await store.write_kept()

        asyncio.run(work())
        assert (done, store.lost) == ([0, 1], 0)


class TestOpening:
    def test_a_file_that_cannot_be_opened_now_is_not_moved_aside(self, tmp_path: Path) -> None:
        (tmp_path / "gateway.sqlite").mkdir()
        with pytest.raises(NoRoom):
            open_store(tmp_path)
        assert not list(tmp_path.glob("*.damaged-*"))

    def test_a_locked_file_is_left_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store_module, "LOCK_WAIT_S", 0.1)
        store = open_store(tmp_path)
        with store.transaction() as tx:
            append(tx)
        store.close()
        other = sqlite3.connect(tmp_path / "gateway.sqlite", isolation_level=None)
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("UPDATE journal_head SET sequence = sequence")
        with pytest.raises(NoRoom):
            open_store(tmp_path)
        other.close()
        assert not list(tmp_path.glob("*.damaged-*"))
        assert len(sequences(open_store(tmp_path))) == 20

    def crashed(self, folder: Path) -> None:
        """Leave a file whose records are in the WAL, as a crash does."""
        running = folder / "running"
        running.mkdir()
        store = open_store(running)
        with store.transaction() as tx:
            append(tx)
        store.close()
        store = open_store(running)
        with store.transaction() as tx:
            tx.journal.append(reading(20))
        for part in list(running.iterdir()):
            (folder / part.name).write_bytes(part.read_bytes())
        store.close()

    def test_a_damaged_file_keeps_its_wal(self, tmp_path: Path) -> None:
        self.crashed(tmp_path)
        wal = (tmp_path / "gateway.sqlite-wal").read_bytes()
        size = (tmp_path / "gateway.sqlite").stat().st_size
        (tmp_path / "gateway.sqlite").write_bytes(b"garbage!" * (size // 8))
        store = open_store(tmp_path)
        (kept,) = tmp_path.glob("gateway.sqlite.damaged-*-wal")
        assert kept.read_bytes() == wal
        assert sequences(store) == []
        with store.transaction() as tx:
            assert tx.journal.head().not_before_ms > 0

    def test_a_file_that_its_wal_repairs_is_no_damaged_one(self, tmp_path: Path) -> None:
        running = tmp_path / "running"
        running.mkdir()
        store = open_store(running)
        with store.transaction() as tx:
            append(tx)
        for part in list(running.iterdir()):
            (tmp_path / part.name).write_bytes(part.read_bytes())
        store.close()
        with (tmp_path / "gateway.sqlite").open("r+b") as file:
            file.write(b"garbage!" * 4)
        assert len(sequences(open_store(tmp_path))) == 20

    def test_a_start_after_one_that_was_interrupted_knows_that_memory_was_lost(self, tmp_path: Path) -> None:
        self.crashed(tmp_path)
        (tmp_path / "gateway.sqlite-wal").rename(tmp_path / "gateway.sqlite.damaged-1700000000000-wal")
        store = open_store(tmp_path)
        with store.transaction() as tx:
            head = tx.journal.head()
        assert head.not_before_ms > 1_700_000_000_000
        store.close()
        with open_store(tmp_path).transaction() as tx:
            assert tx.journal.head() == head

    def test_what_an_interrupted_one_left_readable_is_sent_under_a_new_epoch(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        with store.transaction() as tx:
            append(tx)
            before = tx.journal.head().epoch
        store.close()
        (tmp_path / "gateway.sqlite.damaged-1700000000000-wal").touch()
        store = open_store(tmp_path)
        assert sequences(store) == list(range(1, 21))
        with store.transaction() as tx:
            assert tx.journal.head().epoch != before
