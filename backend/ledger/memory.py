"""
What the last batch's writer still knows, so that the next batch need not read it.

Every writer leaves a stamp of its own in the tenant's books, in the transaction that changes the accounts. A memory is
the truth exactly while the stamp in the books, read under the writer's lock, is the one its own last batch left: then
that batch was committed and nobody has written since. At any other stamp the memory is dropped, and with it whatever
was decided on it.

The next batch may be decided while the last one is still being written. It then reads the database as it was before
the last batch, so the memory also keeps everything that batch made.
"""

import secrets
from itertools import islice

from backend.ledger.rules import Account, Decision, Rows, Transfer, TransferKind

#: Bounds accounts and holds alike, far above what two batches touch; those not used for longest go first.
ENTRIES_MAX = 200_000


class Memory:
    """Accounts and unresolved holds as they are in the books with this stamp, and what the last batch made."""

    def __init__(self) -> None:
        self.stamp = ""
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, Transfer] = {}
        self.made: dict[str, Transfer] = {}
        #: pending_id → transfer_id of its resolution, of the last batch
        self.resolutions: dict[str, str] = {}

    def check(self, stamp: str) -> None:
        """Drop everything unless the books carry the stamp of the last batch."""
        if stamp != self.stamp:
            self.stamp = stamp
            for entries in (self.accounts, self.holds, self.made, self.resolutions):
                entries.clear()

    def learn(self, known: Rows, decision: Decision) -> None:
        """Take in what a batch read and what it makes of it; the stamp is then the one that batch must leave."""
        if decision.transfers:
            self.stamp = secrets.token_hex(8)
            self.made = {one.transfer_id: one for one in decision.transfers}
            self.resolutions = {one.pending_id: one.transfer_id for one in decision.transfers if one.pending_id}
        for account in (*known.accounts.values(), *decision.accounts):
            self.accounts.pop(account.account_id, None)
            self.accounts[account.account_id] = account
        for one in decision.transfers:
            if one.kind is TransferKind.PENDING:
                self.holds[one.transfer_id] = one
            elif one.pending_id is not None:
                self.holds.pop(one.pending_id, None)
        for key in list(islice(self.accounts, max(0, len(self.accounts) - ENTRIES_MAX))):
            del self.accounts[key]
        for key in list(islice(self.holds, max(0, len(self.holds) - ENTRIES_MAX))):
            del self.holds[key]
