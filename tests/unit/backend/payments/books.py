"""What must hold in the books after everything that can happen to a payment."""

from backend.db import Database
from backend.ledger import service as ledger


def balance(db: Database, account_id: str) -> int:
    """Return an account's posted balance; one never opened has nothing."""
    with db.read() as conn:
        try:
            return ledger.balances(conn, "gxu", account_id).posted_minor
        except ledger.AccountUnknown:
            return 0


def assert_settled(db: Database) -> None:
    """Assert that debits equal credits, nothing is left in clearing or pending, and the sums can be counted again."""
    with db.read() as conn:
        sums = ledger.sums(conn, "gxu")
        assert sums.balanced
        assert sums.debits_pending == 0
        assert ledger.open_clearing(conn, "gxu") == []
        assert ledger.verify(conn, "gxu") == []
