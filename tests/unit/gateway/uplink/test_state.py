from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.uplink.state import COMMAND_MEMORY_MS, DeviceMemory, PassageMemory
from gateway.uplink.store import Store
from gateway.uplink.verification import Remembered


def reopened(folder: Path) -> Store:
    return Store(folder / "s.sqlite", tenant="school", gateway="gw", key=Ed25519PrivateKey.generate())


class TestMemory:
    def test_survives_a_restart(self, tmp_path: Path) -> None:
        device = DeviceMemory(device_id="dev_1", last_sequence=7, log_sequence=12, faults=["tamper"])
        passage = PassageMemory(
            passage_id="pg_1", device_id="dev_2", grant_u32=2**32 - 1, direction="in", granted_at_ms=1
        )
        store = reopened(tmp_path)
        with store.transaction() as tx:
            tx.memory.save_device(device)
            tx.memory.save_passage(passage)
        store.close()

        with reopened(tmp_path).transaction() as tx:
            assert tx.memory.device("dev_1") == device
            assert tx.memory.device("dev_new") == DeviceMemory(device_id="dev_new")
            assert tx.memory.passages() == [passage]
            tx.memory.forget_passage("pg_1")
            assert tx.memory.passages() == []

    def test_knows_commands_for_a_day(self, tmp_path: Path) -> None:
        with reopened(tmp_path).transaction() as tx:
            tx.memory.remember_command("cmd_1", "aa", 1_000)
            assert tx.memory.remembered("cmd_1", "aa") is Remembered.SAME
            assert tx.memory.remembered("cmd_1", "bb") is Remembered.DIFFERENT
            assert tx.memory.remembered("cmd_2", "aa") is Remembered.NEW
            tx.memory.remember_command("cmd_2", "cc", 1_001 + COMMAND_MEMORY_MS)
            assert tx.memory.remembered("cmd_1", "aa") is Remembered.NEW
