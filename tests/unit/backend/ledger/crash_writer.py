"""
A process that fills a ledger in batches and freezes in the middle of one, for a test to kill.

    python -m tests.unit.backend.ledger.crash_writer URL TENANT BATCHES

Prints each committed batch's number; in the last batch it prints `middle` after the transfers went in and before all is
committed, and waits for the end.
"""

import sys
import threading
from typing import Any

from sqlalchemy import event

from backend.db import open_database
from backend.ledger import service
from backend.ledger.rules import TransferRequest
from tests.factories import NOW
from tests.unit.backend.ledger.requests import open_accounts, pending


def batch(number: int, wallet: str, clearing: str) -> list[TransferRequest]:
    """Return the batch of a number: the same one in every process."""
    return [pending(f"b{number}-{index}", wallet, clearing, 1 + index) for index in range(20)]


def main(url: str, tenant_id: str, batches: int) -> None:
    """Write the batches, and freeze in the last."""
    database = open_database(url)
    with database.write() as conn:
        wallet, clearing, _ = open_accounts(conn, tenant_id, wallet_minor=100_000)
    for number in range(batches):
        if number == batches - 1:

            @event.listens_for(database.engine, "after_cursor_execute")
            def _freeze(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
                if "INSERT INTO ledger_transfers" in statement:
                    print("middle", flush=True)
                    threading.Event().wait()

        with database.write() as conn:
            service.execute(conn, tenant_id, batch(number, wallet, clearing), now=NOW)
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
