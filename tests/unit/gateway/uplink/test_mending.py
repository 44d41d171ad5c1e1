import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from gateway.contract.events import FaultCleared, FaultRaised, MeterRead
from gateway.contract.faults import FaultCode
from gateway.uplink.journal import Head
from gateway.uplink.own_faults import DAMAGE_TOLD_MS, OwnFaults
from gateway.uplink.state import PassageMemory
from gateway.uplink.store import Store
from tests.unit.gateway.uplink.test_journal import append, chain, open_store, reading, waiting

COUNT = 5


def spoil(folder: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "gateway.sqlite")) as file:
        assert file.execute(statement).rowcount == 1
        file.commit()


def filled(folder: Path) -> Head:
    """Leave a file with records and memory, and return its head."""
    store = open_store(folder)
    append(store, COUNT)
    with store.transaction() as tx:
        tx.memory.change_device("dev_1", last_sequence=7)
        tx.memory.change_device("dev_2", last_sequence=8)
        tx.memory.save_passage(
            PassageMemory(passage_id="p_1", device_id="dev_1", grant_u32=1, direction="in", granted_at_ms=1)
        )
        tx.memory.remember_command("cmd_1", "0" * 64, 1)
        head = tx.journal.head()
    store.close()
    return head


def readings(store: Store) -> list[int]:
    events = [record.event for record in chain(waiting(store))]
    return [event.register_pulses for event in events if isinstance(event, MeterRead)]


def set_aside(store: Store) -> list[tuple[str, bytes]]:
    rows = store._connection.execute("SELECT place, content FROM damaged ORDER BY number")
    return [(place, content) for place, content in rows]


class TestMend:
    def test_leaves_a_whole_file_alone(self, tmp_path: Path) -> None:
        head = filled(tmp_path)
        store = open_store(tmp_path)
        with store.transaction() as tx:
            assert tx.journal.head() == head
        assert set_aside(store) == []

    @pytest.mark.parametrize("sequence", [1, 3, COUNT])
    @pytest.mark.parametrize(
        "payload",
        [
            "CAST(substr(payload, 1, 20) || x'ff' || substr(payload, 22) AS TEXT)",  # no UTF-8
            "substr(payload, 1, 40)",  # torn
            "replace(payload, '\"register_pulses\":', '\"register_pulses\":9')",  # readable, and not what was signed
        ],
    )
    def test_a_damaged_record_costs_only_itself(self, tmp_path: Path, sequence: int, payload: str) -> None:
        head = filled(tmp_path)
        spoil(tmp_path, f"UPDATE journal SET payload = {payload} WHERE sequence = {sequence}")

        store = open_store(tmp_path)

        assert readings(store) == [number for number in range(COUNT) if number != sequence - 1]
        ((place, content),) = set_aside(store)
        assert place == f"journal {sequence}"
        assert b"register_pulses" in content or payload.startswith("substr")
        with store.transaction() as tx:
            now = tx.journal.head()
            assert now.epoch != head.epoch
            assert (now.sequence, now.not_before_ms) == (COUNT - 1, 0)
            assert tx.memory.device("dev_1").last_sequence == 7
            tx.journal.append(reading(99))
        assert readings(store)[-1] == 99

    def test_a_second_start_finds_nothing_more(self, tmp_path: Path) -> None:
        filled(tmp_path)
        spoil(tmp_path, "UPDATE journal SET payload = '' WHERE sequence = 2")
        store = open_store(tmp_path)
        with store.transaction() as tx:
            head = tx.journal.head()
        store.close()
        again = open_store(tmp_path)
        with again.transaction() as tx:
            assert tx.journal.head() == head
        assert len(set_aside(again)) == 1

    def test_a_damaged_signature_is_made_anew_where_the_chain_vouches_for_the_record(self, tmp_path: Path) -> None:
        filled(tmp_path)
        spoil(tmp_path, "UPDATE journal SET signature = 'AAAA' WHERE sequence = 2")
        spoil(tmp_path, "UPDATE journal SET kid = CAST(x'ff' AS TEXT) WHERE sequence = 5")
        store = open_store(tmp_path)
        assert readings(store) == list(range(COUNT))
        assert set_aside(store) == []

    def test_what_lies_behind_a_missing_record_is_sent_under_a_new_epoch(self, tmp_path: Path) -> None:
        head = filled(tmp_path)
        spoil(tmp_path, "DELETE FROM journal WHERE sequence = 3")
        store = open_store(tmp_path)
        assert readings(store) == [0, 1, 3, 4]
        with store.transaction() as tx:
            assert tx.journal.head().epoch != head.epoch

    def test_without_its_head_the_records_are_still_sent(self, tmp_path: Path) -> None:
        filled(tmp_path)
        spoil(tmp_path, "UPDATE journal_head SET epoch = CAST(x'65ff' AS TEXT)")
        store = open_store(tmp_path)
        assert readings(store) == list(range(COUNT))
        assert [place for place, _ in set_aside(store)] == ["journal_head 1"]

    @pytest.mark.parametrize(
        ("statement", "table"),
        [
            ("UPDATE devices SET body = substr(body, 1, 20) WHERE device_id = 'dev_2'", "devices"),
            ("UPDATE devices SET device_id = 'dev_3' WHERE device_id = 'dev_2'", "devices"),
            ("UPDATE passages SET body = CAST(x'ff' AS TEXT)", "passages"),
            ("UPDATE commands SET sha256 = CAST(x'ff' AS TEXT)", "commands"),
        ],
    )
    def test_with_memory_lost_no_older_command_is_believed(self, tmp_path: Path, statement: str, table: str) -> None:
        filled(tmp_path)
        spoil(tmp_path, statement)
        store = open_store(tmp_path)
        assert readings(store) == list(range(COUNT))
        with store.transaction() as tx:
            assert tx.journal.head().not_before_ms > 0
            assert tx.memory.device("dev_1").last_sequence == 7
            assert tx.memory.passages() == [] or table != "passages"
        ((place, _),) = set_aside(store)
        assert place.startswith(table)

    def test_a_text_that_rots_while_we_run_is_the_database_s_trouble(self, tmp_path: Path) -> None:
        filled(tmp_path)
        store = open_store(tmp_path)
        spoil(tmp_path, "UPDATE journal SET payload = CAST(x'ff' AS TEXT) WHERE sequence = 2")
        with pytest.raises(sqlite3.OperationalError, match="UTF-8"), store.transaction() as tx:
            tx.journal.waiting(after=0, limit=10)


class TestTelling:
    def test_damage_is_a_fault_of_ours_for_a_day(self, tmp_path: Path) -> None:
        filled(tmp_path)
        spoil(tmp_path, "UPDATE journal SET payload = '' WHERE sequence = 2")
        store = open_store(tmp_path)
        (now_ms,) = store._connection.execute("SELECT at_ms FROM damaged").fetchone()
        faults = OwnFaults(store, clock=lambda: now_ms, rows_max=1_000, records_per_session=4)

        async def look() -> None:
            await faults.look()

        asyncio.run(look())
        said = "damaged rows of the journal's file set aside: 1: journal 2"
        assert faults.present[FaultCode.STORE_DAMAGED] == (said,)
        now_ms += DAMAGE_TOLD_MS + 1
        asyncio.run(look())
        assert not faults.has(FaultCode.STORE_DAMAGED)
        events = [record.event for record in chain(waiting(store))]
        told = [event for event in events if isinstance(event, FaultRaised | FaultCleared)]
        ours = [type(event) for event in told if event.fault is FaultCode.STORE_DAMAGED]
        assert ours == [FaultRaised, FaultCleared]
