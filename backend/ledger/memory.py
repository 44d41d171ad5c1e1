"""
What the last batch's writer still knows, so that the next batch need not read it.

Every writer leaves a stamp of its own in the tenant's books, in the transaction that changes the accounts. A memory is
the truth exactly while the stamp in the books, read under the writer's lock, is the one its own last batch left: then
that batch was committed and nobody has written since.

At any other stamp somebody wrote, or an own batch was lost. Then whatever was decided since the memory was last known
to be the truth is forgotten, and so is every account and hold that the transfers stored since then touch; the rest is
still the truth. A changed credit limit leaves no transfer: it is told by a version in the books, and ends the memory.

The next batch may be decided while the last one is still being written. It then reads the database as it was before
the last batch, so the memory also keeps everything that batch made.
"""

import secrets
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from backend.ledger.rules import Account, Decision, Rows, Transfer, TransferKind

#: Bounds accounts and holds alike, far above what two batches touch; those read first go first.
ENTRIES_MAX = 200_000
#: More foreign transfers than this are not looked through: reading accounts again is then as quick.
FOREIGN_MAX = 10_000


class Memory:
    """Accounts and unresolved holds as they are in the books with this stamp, and what the last batch made."""

    def __init__(self) -> None:
        self.stamp = ""
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, Transfer] = {}
        self.made: dict[str, Transfer] = {}
        #: pending_id → transfer_id of its resolution, of the last batch
        self.resolutions: dict[str, str] = {}
        #: The transfer up to which everything is known to be in the books, at which version of the credit limits.
        self._sure_number = 0
        self._credit_version = 0
        #: Decided since then; nobody has yet seen that it is in the books.
        self._unsure: dict[int, Decision] = {}

    def confirm(self, decision: Decision, number: int, credit_version: int) -> None:
        """Take in that a decision was stored in books whose last transfer was this one; who decides ahead may go on."""
        self._sure_number, self._credit_version = number + len(decision.transfers), credit_version
        self._unsure.pop(id(decision), None)

    def check(self, stamp: str, number: int, credit_version: int, moved_since: Callable[[int], Iterable[Any]]) -> None:
        """
        Forget whatever is not the truth about the books, which have this stamp, last transfer and credit version.

        `moved_since` returns the two accounts, and the hold if it resolves one, of each transfer after a number.
        """
        if stamp != self.stamp:
            if credit_version != self._credit_version or not 0 <= number - self._sure_number <= FOREIGN_MAX:
                self.accounts.clear()
                self.holds.clear()
            elif self.accounts or self.holds:  # a new memory has nothing to forget
                self._forget(moved_since(self._sure_number))
            self.stamp = stamp
            self.made, self.resolutions = {}, {}
        self._sure_number, self._credit_version = number, credit_version
        self._unsure.clear()

    def _forget(self, moved: Iterable[Any]) -> None:
        for decision in self._unsure.values():
            for account in decision.accounts:
                self.accounts.pop(account.account_id, None)
            for one in decision.transfers:
                self.holds.pop(one.transfer_id, None)
        for debit, credit, pending_id in moved:
            self.accounts.pop(debit, None)
            self.accounts.pop(credit, None)
            self.holds.pop(pending_id, None)

    def learn(self, known: Rows, decision: Decision) -> None:
        """Take in what a batch read and what it makes of it; the stamp is then the one that batch must leave."""
        if decision.transfers:
            self.stamp = secrets.token_hex(8)
            self.made = {one.transfer_id: one for one in decision.transfers}
            self.resolutions = {one.pending_id: one.transfer_id for one in decision.transfers if one.pending_id}
            self._unsure[id(decision)] = decision
        self.accounts.update(known.accounts)
        accounts = self.accounts
        for account in decision.accounts:  # to the end: what the database does not have yet must not go
            accounts.pop(account.account_id, None)
            accounts[account.account_id] = account
        for one in decision.transfers:
            if one.kind is TransferKind.PENDING:
                self.holds[one.transfer_id] = one
            elif one.pending_id is not None:
                self.holds.pop(one.pending_id, None)
        for entries in (self.accounts, self.holds):
            for key in list(islice(entries, max(0, len(entries) - ENTRIES_MAX))):
                del entries[key]
