"""
What the last batch's writer still knows, so that the next batch need not read it.

Every batch leaves a stamp of its own in the tenant's books, in the transaction that changes the accounts. A memory is
the truth exactly while the stamp in the books, read under the writer's lock, is the one its own last batch left: then
that batch was committed and nobody has written since. At any other stamp the memory is dropped.
"""

from collections.abc import Iterable
from itertools import islice

from backend.ledger.rules import Account, Transfer, TransferKind

#: Bounds accounts and holds alike; those not used for longest go first.
ENTRIES_MAX = 200_000


class Memory:
    """Accounts and unresolved holds as they are in the books with this stamp."""

    def __init__(self) -> None:
        self.stamp = ""
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, Transfer] = {}

    def check(self, stamp: str) -> None:
        """Drop everything unless the books still carry the stamp of the last batch."""
        if stamp != self.stamp:
            self.accounts.clear()
            self.holds.clear()

    def learn(
        self, stamp: str, loaded: Iterable[Account], changed: Iterable[Account], made: Iterable[Transfer]
    ) -> None:
        """Take in what a batch read and what it made of it."""
        self.stamp = stamp
        for account in (*loaded, *changed):
            self.accounts.pop(account.account_id, None)
            self.accounts[account.account_id] = account
        for transfer in made:
            if transfer.kind is TransferKind.PENDING:
                self.holds[transfer.transfer_id] = transfer
            elif transfer.pending_id is not None:
                self.holds.pop(transfer.pending_id, None)
        for entries in (self.accounts, self.holds):
            for key in list(islice(entries, max(0, len(entries) - ENTRIES_MAX))):
                del entries[key]
