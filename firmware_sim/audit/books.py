"""One school's ledger followed transfer by transfer, by arithmetic of our own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_SUMS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


@dataclass(slots=True)
class Sums:
    """Running sums of one account, or of all together."""

    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0


@dataclass(slots=True)
class Books:
    """What the transfers so far add up to."""

    tenant_id: str
    number: int = 0
    accounts: dict[str, Sums] = field(default_factory=dict)
    total: Sums = field(default_factory=Sums)
    #: holds that stand: accounts and amount
    holds: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    resolved: set[str] = field(default_factory=set)

    def apply(self, row: Mapping[str, Any], rules: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """Take one transfer; say what it breaks. `rules` are the accounts as they are stored, by id."""
        name, kind, amount = row["transfer_id"], row["kind"], row["amount_minor"]
        if row["number"] != self.number + 1:
            yield f"books_balance: {self.tenant_id}: transfer {row['number']} follows {self.number}"
        self.number = row["number"]
        debit, credit = row["debit_account_id"], row["credit_account_id"]
        if kind == "pending":
            self.holds[name] = (debit, credit, amount)
            self._move(debit, credit, pending=amount)
        elif kind == "single":
            self._move(debit, credit, posted=amount)
        else:
            yield from self._resolve(row)
        yield from self._available({debit, credit}, rules, name)
        total = self.total
        if total.debits_posted != total.credits_posted or total.debits_pending != total.credits_pending:
            yield f"books_balance: {self.tenant_id}: debits and credits differ after {name}"

    def _resolve(self, row: Mapping[str, Any]) -> Iterator[str]:
        name, hold_id, amount = row["transfer_id"], row["pending_id"], row["amount_minor"]
        hold = self.holds.pop(hold_id, None)
        if hold is None:
            ended = "has ended before" if hold_id in self.resolved else "never was"
            yield f"captured_within_hold: {self.tenant_id}: {name} resolves hold {hold_id}, which {ended}"
            return
        self.resolved.add(hold_id)
        debit, credit, held = hold
        if (debit, credit) != (row["debit_account_id"], row["credit_account_id"]):
            yield f"books_balance: {self.tenant_id}: {name} moves between other accounts than its hold {hold_id}"
        if row["kind"] == "post" and amount > held:
            yield f"captured_within_hold: {self.tenant_id}: {name} captures {amount} of a hold of {held}"
        self._move(debit, credit, pending=-held, posted=amount if row["kind"] == "post" else 0)

    def _move(self, debit: str, credit: str, *, pending: int = 0, posted: int = 0) -> None:
        for sums in (self.accounts.setdefault(debit, Sums()), self.total):
            sums.debits_pending += pending
            sums.debits_posted += posted
        for sums in (self.accounts.setdefault(credit, Sums()), self.total):
            sums.credits_pending += pending
            sums.credits_posted += posted

    def _available(self, names: set[str], rules: Mapping[str, Mapping[str, Any]], cause: str) -> Iterator[str]:
        for name in sorted(names):
            rule, sums = rules.get(name), self.accounts.get(name)
            if rule is None or sums is None:
                yield f"books_balance: {self.tenant_id}: {cause} moves money of an account {name} that is not there"
            elif not rule["may_go_negative"]:
                left = sums.credits_posted - sums.debits_posted - sums.debits_pending
                if rule["normal_side"] == "debit":
                    left = sums.debits_posted - sums.credits_posted - sums.credits_pending
                if left + rule["credit_limit_minor"] < 0:
                    yield f"books_balance: {self.tenant_id}: {cause} leaves {left} available on {name}"

    def compare(self, rules: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """Say which stored account is not what the transfers up to the same commit add up to."""
        for name, stored in sorted(rules.items()):
            own = self.accounts.get(name, Sums())
            for column in _SUMS:
                if stored[column] != getattr(own, column):
                    yield (
                        f"books_balance: {self.tenant_id}: {name} stores {column} {stored[column]}, "
                        f"its transfers add up to {getattr(own, column)}"
                    )
