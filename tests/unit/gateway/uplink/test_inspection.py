import contextlib
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.events import FaultCleared
from gateway.contract.faults import FaultCode
from gateway.uplink.inspection import inspect
from gateway.uplink.store import Store
from tests.unit.gateway.uplink.test_journal import append, open_store


class TestInspect:
    def test_sees_what_waits_while_a_gateway_writes(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "one.sqlite", tenant="t", gateway="g", key=Ed25519PrivateKey.generate())
        with store.transaction() as tx:
            for number in range(3):
                tx.journal.append(FaultCleared(event_id=f"ev_{number}", at_ms=number, fault=FaultCode.TAMPER))

        look = inspect(tmp_path / "one.sqlite")

        assert look is not None
        assert (look.sequence, look.waiting, look.trouble) == (3, 3, "")
        assert look.epoch.startswith("ep_")
        store.close()

    def test_names_rows_that_cannot_be_used_and_those_set_aside(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        append(store, 3)
        store.close()
        with contextlib.closing(sqlite3.connect(tmp_path / "gateway.sqlite")) as file:
            file.execute("UPDATE journal SET payload = CAST(x'7bff7d' AS TEXT) WHERE sequence = 2")
            file.commit()

        before = inspect(tmp_path / "gateway.sqlite")
        open_store(tmp_path).close()
        after = inspect(tmp_path / "gateway.sqlite")

        assert before is not None
        assert (before.unreadable, before.set_aside) == (1, 0)
        assert before.first_unreadable.startswith("journal 2: ")
        assert after is not None
        assert (after.unreadable, after.set_aside, after.waiting) == (0, 1, 2)

    def test_of_no_file_is_nothing(self, tmp_path: Path) -> None:
        assert inspect(tmp_path / "none.sqlite") is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", [b"nonsense" * 1_000, b"SQLite format 3\0" + b"\xff" * 5_000, b""])
    def test_of_a_damaged_file_says_so(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "one.sqlite").write_bytes(content)

        look = inspect(tmp_path / "one.sqlite")

        assert look is not None
        assert look.trouble
        assert (tmp_path / "one.sqlite").read_bytes() == content
