"""
A second ledger, written for tests: a list of facts, and every figure counted from the start of time.

Shares nothing with the real one but the words of its answers.
"""

import copy
from dataclasses import dataclass, field
from datetime import datetime

from backend.ledger.rules import TransferKind, TransferRequest


@dataclass
class Model:
    """The facts: which requests stand. All accounts are credit-normal; equity and revenue may go negative."""

    accounts: set[str]
    standing: dict[str, TransferRequest] = field(default_factory=dict)
    credit: dict[str, int] = field(default_factory=dict)

    def _resolution(self, hold_id: str) -> TransferRequest | None:
        return next((fact for fact in self.standing.values() if fact.pending_id == hold_id), None)

    def balance(self, account: str) -> tuple[int, int]:
        """Return what an account has and what of it is held."""
        posted = held = 0
        for fact in self.standing.values():
            taken = fact.amount_minor
            source = fact
            if fact.kind is TransferKind.PENDING:
                resolution = self._resolution(fact.transfer_id)
                if resolution is None:
                    held += fact.amount_minor if fact.debit_account_id == account else 0
                    continue
                taken = resolution.amount_minor if resolution.kind is TransferKind.POST else 0
            elif fact.kind is not TransferKind.SINGLE:
                continue
            posted += taken * ((source.credit_account_id == account) - (source.debit_account_id == account))
        return posted, held

    def touching(self, account: str) -> set[str]:
        """Return the ids of the facts that are about an account; a resolution is about its hold's."""
        found = set()
        for fact in self.standing.values():
            source = self.standing[fact.pending_id] if fact.pending_id else fact
            if account in (source.debit_account_id, source.credit_account_id):
                found.add(fact.transfer_id)
        return found

    def execute(self, batch: list[TransferRequest], now: datetime) -> list[str]:
        """Return what becomes of each request, in words."""
        answers: list[str] = []
        while batch:
            size = next(index for index, request in enumerate(batch) if not request.linked) + 1
            chain, batch = batch[:size], batch[size:]
            trial = copy.copy(self)
            trial.standing = dict(self.standing)
            words = [trial._try(request, now) for request in chain]
            if size > 1 and set(words) != {"ok"}:
                known = [request.transfer_id in self.standing for request in chain]
                if not (set(words) == {"exists"} and all(known)):
                    bad = [index for index, word in enumerate(words) if word not in ("ok", "exists")][:1]
                    words = [
                        word if index in bad or (word == "exists" and known[index]) else "linked_failed"
                        for index, word in enumerate(words)
                    ]
                trial = self
            self.standing = trial.standing
            answers += words
        return answers

    def _try(self, request: TransferRequest, now: datetime) -> str:
        if request.transfer_id in self.standing:
            there = self.standing[request.transfer_id]
            return "exists" if self._body(there) == self._body(request) else "exists_different"
        word = self._check(request, now)
        if word == "ok":
            self.standing[request.transfer_id] = request
            if any(self._overdrawn(account) for account in self.accounts):
                del self.standing[request.transfer_id]
                return "insufficient"
        return word

    def _check(self, request: TransferRequest, now: datetime) -> str:
        if request.kind in (TransferKind.SINGLE, TransferKind.PENDING):
            if request.amount_minor < 1:
                return "invalid_amount"
            if request.debit_account_id == request.credit_account_id:
                return "same_account"
            known = {request.debit_account_id, request.credit_account_id} <= self.accounts
            return "ok" if known else "account_unknown"
        hold = self.standing.get(request.pending_id or "")
        if hold is None or hold.kind is not TransferKind.PENDING:
            return "not_pending"
        if self._resolution(hold.transfer_id):
            return "already_resolved"
        if request.kind is TransferKind.EXPIRE and (hold.expires_at is None or hold.expires_at > now):
            return "not_due"
        if request.kind is TransferKind.POST and not 1 <= request.amount_minor <= hold.amount_minor:
            return "exceeds_pending" if request.amount_minor > 0 else "invalid_amount"
        return "ok"

    def _overdrawn(self, account: str) -> bool:
        posted, held = self.balance(account)
        free = "opening_equity" in account or "water_revenue" in account
        return not free and posted - held + self.credit.get(account, 0) < 0

    def allow(self, account: str, limit_minor: int) -> bool:
        """Set a credit limit and return whether that is possible."""
        before = dict(self.credit)
        self.credit = {**before, account: limit_minor}
        if self._overdrawn(account):
            self.credit = before
            return False
        return True

    def residues(self, account: str) -> dict[str, int]:
        """Return what each reference has left on an account."""
        left: dict[str, int] = {}
        for fact in self.standing.values():
            source = self.standing[fact.pending_id or ""] if fact.kind is TransferKind.POST else fact
            if fact.kind in (TransferKind.SINGLE, TransferKind.POST):
                sign = (source.credit_account_id == account) - (source.debit_account_id == account)
                left[source.reference] = left.get(source.reference, 0) + sign * fact.amount_minor
        return {reference: minor for reference, minor in left.items() if minor}

    @staticmethod
    def _body(request: TransferRequest) -> tuple[object, ...]:
        return (
            request.kind,
            request.debit_account_id,
            request.credit_account_id,
            request.amount_minor,
            request.pending_id,
            request.expires_at if request.kind is TransferKind.PENDING else None,
            request.reference,
            request.memo,
        )
