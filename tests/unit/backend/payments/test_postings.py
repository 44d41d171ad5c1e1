"""How payments look in the ledger."""

from backend.ledger.rules import TransferKind
from backend.payments import postings
from tests.unit.backend.payments.conftest import World


class TestCapture:
    def test_both_legs_stand_or_neither(self, world: World) -> None:
        world.credit(1_000)
        auth = world.open("wallet")

        with world.db.write() as conn:
            postings.release(conn, auth, TransferKind.VOID, world.now)
            results = postings.capture(conn, auth, "cap_1", 100, world.now)
        assert [result.code.value for result in results] == ["already_resolved", "linked_failed"]
