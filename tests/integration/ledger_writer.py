"""
A process that fills a ledger through a batcher until it is killed.

    python -m tests.integration.ledger_writer URL TENANT FIRST

Showers are numbered from FIRST; each is a hold, and a capture handed on to revenue, in one submission. The number of
each is printed once its promise is kept.
"""

import itertools
import sys
import threading
from concurrent.futures import Future

from backend.db import open_database
from backend.kit.clock import utc_now
from backend.ledger.batcher import Batcher, Results
from backend.ledger.rules import TransferKind, TransferRequest
from tests.factories import NOW

WALLETS = 20
OPENING_MINOR = 10**9
HOLD_MINOR, PRICE_MINOR = 500, 120
_UNDERWAY_MAX = 100


def opening() -> list[TransferRequest]:
    """Return the opening balances."""
    return [
        TransferRequest(
            transfer_id=f"opening-{number}",
            kind=TransferKind.SINGLE,
            debit_account_id="opening_equity",
            credit_account_id=f"cardholder_wallet/ch_{number}",
            amount_minor=OPENING_MINOR,
            event_at=NOW,
        )
        for number in range(WALLETS)
    ]


def shower(number: int) -> list[TransferRequest]:
    """Return the requests of a shower: the same ones in every process."""
    return [
        TransferRequest(
            transfer_id=f"{number}.hold",
            kind=TransferKind.PENDING,
            debit_account_id=f"cardholder_wallet/ch_{number % WALLETS}",
            credit_account_id="payment_clearing/wallet",
            amount_minor=HOLD_MINOR,
            event_at=NOW,
            reference=f"ws_{number}",
        ),
        TransferRequest(
            transfer_id=f"{number}.post",
            kind=TransferKind.POST,
            pending_id=f"{number}.hold",
            amount_minor=PRICE_MINOR,
            event_at=NOW,
            linked=True,
        ),
        TransferRequest(
            transfer_id=f"{number}.revenue",
            kind=TransferKind.SINGLE,
            debit_account_id="payment_clearing/wallet",
            credit_account_id="water_revenue",
            amount_minor=PRICE_MINOR,
            event_at=NOW,
            reference=f"ws_{number}",
        ),
    ]


def main(url: str, tenant_id: str, first: int) -> None:
    """Write showers for ever; end when the ledger cannot be reached."""
    batcher = Batcher(open_database(url), tenant_id, clock=utc_now)
    room = threading.Semaphore(_UNDERWAY_MAX)
    failed = threading.Event()
    for number in itertools.count(first):
        room.acquire()
        if failed.is_set():
            return

        def told(kept: Future[Results], number: int = number) -> None:
            if kept.exception() is not None:
                failed.set()
            else:
                assert all(result.stands for result in kept.result())
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
            room.release()

        batcher.submit(shower(number)).add_done_callback(told)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
