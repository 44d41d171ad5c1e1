"""
What the ledger is measured with: an endless row of holds and captures.

Most of it is made before anything is measured, as pgbench's script is: who asks is not what is measured.
"""

import random
from collections import deque
from datetime import timedelta

from sqlalchemy import event

from backend.db import Database, open_database
from backend.kit.clock import utc_now
from backend.ledger.rules import TransferKind, TransferRequest

MERCHANTS = 50
_TOO_MUCH_MINOR = 10**10
#: Of all holds, one in this many asks for more than there is.
REFUSED_ONE_IN = 50
#: Holds made beforehand: enough for some seconds.
_MADE_BEFORE = 60_000


class Traffic:
    """Holds from random wallets, half of them for one merchant, and captures of the holds that stand, in turn."""

    def __init__(self, *, account_count: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._account_count = account_count
        self._name = f"{utc_now():%Y%m%d%H%M%S}{seed}"
        self._count = 0
        self._began_at = utc_now()
        self._captures: dict[str, TransferRequest] = {}
        self._holds: deque[TransferRequest] = deque()
        #: Captures of the holds that stand.
        self.standing: deque[TransferRequest] = deque()
        for _ in range(_MADE_BEFORE):
            self._make()

    def hold(self) -> TransferRequest:
        """Return the next hold."""
        if not self._holds:
            self._make()
        return self._holds.popleft()

    def _make(self) -> None:
        """Make a hold, and its capture."""
        self._count += 1
        chance = self._chance
        merchant = 0 if chance.random() < 0.5 else chance.randrange(MERCHANTS)
        refused = self._count % REFUSED_ONE_IN == 0
        hold = TransferRequest(
            transfer_id=f"{self._name}-{self._count:09d}.hold",
            kind=TransferKind.PENDING,
            debit_account_id=f"cardholder_wallet/c{chance.randrange(1, self._account_count + 1)}",
            credit_account_id=f"operator_payable/m{merchant}",
            amount_minor=_TOO_MUCH_MINOR if refused else 500,
            expires_at=self._began_at + timedelta(hours=2),
            event_at=self._began_at,
            reference=f"ws_{self._name}{self._count:09d}",
        )

        self._holds.append(hold)
        self._captures[hold.transfer_id] = TransferRequest(
            transfer_id=hold.transfer_id.replace(".hold", ".post"),
            kind=TransferKind.POST,
            pending_id=hold.transfer_id,
            amount_minor=120,
            event_at=self._began_at,
        )

    def capture(self) -> TransferRequest:
        """Return the capture of the oldest hold that stands."""
        return self.standing.popleft()

    def batch(self, size: int) -> list[TransferRequest]:
        """Return the next requests: captures of what stands for one half, new holds for the rest."""
        captures = [self.capture() for _ in range(min(size // 2, len(self.standing)))]
        return captures + [self.hold() for _ in range(size - len(captures))]

    def heard(self, request: TransferRequest, stands: bool) -> None:
        """Take in what became of a request."""
        capture = self._captures.pop(request.transfer_id, None)
        if stands and capture is not None:
            self.standing.append(capture)


def opened(url: str, synchronous: str) -> Database:
    """Return the database with a pool as small as one writer needs."""
    database = open_database(url, pool_size=3)
    if database.is_sqlite:
        event.listen(
            database.engine, "connect", lambda raw, _record: raw.execute(f"PRAGMA synchronous={synchronous}").close()
        )
    return database
