from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.events import FaultCleared
from gateway.contract.faults import FaultCode
from gateway.uplink.inspection import inspect
from gateway.uplink.store import Store


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
