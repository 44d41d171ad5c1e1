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


class TestOpening:
    def test_a_file_that_cannot_be_opened_now_is_not_moved_aside(self, tmp_path: Path) -> None:
        (tmp_path / "gateway.sqlite").mkdir()
        with pytest.raises(NoRoom):
            open_store(tmp_path)
        assert not list(tmp_path.glob("*.damaged-*"))
