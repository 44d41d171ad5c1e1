"""Random batches through the real ledger, on a real database, against the independent model."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from backend.db import Database
from backend.ledger import service
from backend.ledger.listing_repository import list_new
from backend.ledger.memory import Memory
from backend.ledger.rules import TransferKind, TransferRequest
from tests.factories import NOW
from tests.unit.backend.ledger.model import Model


class _Lost(Exception):
    """The transaction is lost."""


_tenants = itertools.count()
_KINDS = (
    ("cardholder_wallet", "ch_1"),
    ("cardholder_wallet", "ch_2"),
    ("payment_clearing", "wallet"),
    ("water_revenue", ""),
    ("opening_equity", ""),
)
_IDS = [f"tr_{number}" for number in range(14)]


@st.composite
def batches(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw a batch as plain values; ids come from few, so that retries, collisions and resolutions are common."""
    requests = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "transfer_id": st.sampled_from(_IDS),
                    "kind": st.sampled_from(list(TransferKind)),
                    "debit": st.integers(0, 5),
                    "credit": st.integers(0, 5),
                    "amount_minor": st.integers(0, 40),
                    "pending_id": st.sampled_from(_IDS),
                    "expires_in_s": st.sampled_from([None, 0, 30, 90]),
                    "linked": st.booleans(),
                    "reference": st.sampled_from(["", "ws_1", "ws_2"]),
                }
            ),
            min_size=1,
            max_size=6,
        )
    )
    requests[-1]["linked"] = False
    return requests


class LedgerMachine(RuleBasedStateMachine):
    """Drives both ledgers with the same batches and compares every answer and every balance."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.tenant_id = f"t{next(_tenants)}"
        self.now = NOW
        self.sent: list[TransferRequest] = []
        self.memory = Memory()
        with self.database.write() as conn:
            self.accounts = [service.account(conn, self.tenant_id, kind, owner) for kind, owner in _KINDS]
        self.model = Model(set(self.accounts))
        wallets = self.accounts[:2]
        self._run([self._movement(f"opening-{wallet}", self.accounts[4], wallet, 60) for wallet in wallets])

    @staticmethod
    def _movement(transfer_id: str, debit: str, credit: str, amount_minor: int) -> TransferRequest:
        return TransferRequest(
            transfer_id=transfer_id,
            kind=TransferKind.SINGLE,
            debit_account_id=debit,
            credit_account_id=credit,
            amount_minor=amount_minor,
            event_at=NOW,
        )

    def _run(self, batch: list[TransferRequest], memory: Memory | None = None) -> None:
        with self.database.write() as conn:
            results = service.execute(conn, self.tenant_id, batch, now=self.now, memory=memory)
        assert [result.code.value for result in results] == self.model.execute(batch, self.now)
        self.sent = [*self.sent, *batch][-20:]

    def _request(self, drawn: dict[str, Any]) -> TransferRequest:
        names = [*self.accounts, "nobody"]
        moves = drawn["kind"] in (TransferKind.SINGLE, TransferKind.PENDING)
        counts = moves or drawn["kind"] is TransferKind.POST
        expires_in_s = drawn["expires_in_s"]
        return TransferRequest(
            transfer_id=drawn["transfer_id"],
            kind=drawn["kind"],
            debit_account_id=names[drawn["debit"]] if moves else "",
            credit_account_id=names[drawn["credit"]] if moves else "",
            amount_minor=drawn["amount_minor"] if counts else 0,
            pending_id=None if moves else drawn["pending_id"],
            expires_at=None if expires_in_s is None else self.now + timedelta(seconds=expires_in_s),
            event_at=self.now,
            linked=drawn["linked"],
            reference=drawn["reference"] if moves else "",
        )

    @rule(drawn=batches(), remembering=st.booleans())
    def execute(self, drawn: list[dict[str, Any]], remembering: bool) -> None:
        """Send a batch, as a writer who remembers the last one or as another."""
        self._run([self._request(values) for values in drawn], self.memory if remembering else None)

    @rule(drawn=batches())
    def fail(self, drawn: list[dict[str, Any]]) -> None:
        """Send a batch whose transaction does not end well."""
        batch = [self._request(values) for values in drawn]
        with pytest.raises(_Lost):
            self._lose(batch)

    def _lose(self, batch: list[TransferRequest]) -> None:
        with self.database.write() as conn:
            service.execute(conn, self.tenant_id, batch, now=self.now, memory=self.memory)
            raise _Lost

    @rule(account=st.integers(0, 2), limit_minor=st.sampled_from([0, 10, 50]))
    def allow_credit(self, account: int, limit_minor: int) -> None:
        """Change a credit limit."""
        allowed = True
        try:
            with self.database.write() as conn:
                service.set_credit_limit(
                    conn, self.tenant_id, self.accounts[account], limit_minor, set_by="fin", reason="", now=self.now
                )
        except service.CreditInUse:
            allowed = False
        assert allowed == self.model.allow(self.accounts[account], limit_minor)

    @rule()
    def count_what_is_new(self) -> None:
        """Verify what came since the last time."""
        with self.database.write() as conn:
            assert service.verify_new(conn, self.tenant_id) == []

    @rule(index=st.integers(0, 19))
    def send_again(self, index: int) -> None:
        """Send a request from before a second time."""
        request = self.sent[index % len(self.sent)]
        if not request.linked:
            self._run([request])

    @rule(seconds=st.integers(1, 120))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @rule(limit=st.integers(1, 5))
    def write_lines(self, limit: int) -> None:
        """Write the lines of some transfers."""
        with self.database.write() as conn:
            list_new(conn, self.tenant_id, limit)

    @rule()
    def expire(self) -> None:
        """Expire what is due; the model is told the same requests."""
        with self.database.write() as conn:
            results = service.expire_due(conn, self.tenant_id, self.now, 100)
        for result in results:
            hold_id = result.transfer_id.removesuffix(".expire")
            request = TransferRequest(
                transfer_id=result.transfer_id, kind=TransferKind.EXPIRE, pending_id=hold_id, event_at=self.now
            )
            assert self.model.execute([request], self.now) == ["ok"]
        due = [
            fact
            for fact in self.model.standing.values()
            if fact.kind is TransferKind.PENDING
            and fact.expires_at is not None
            and fact.expires_at <= self.now
            and not any(other.pending_id == fact.transfer_id for other in self.model.standing.values())
        ]
        assert due == []

    @invariant()
    def the_books_agree(self) -> None:
        """Compare every balance with the model, and the running sums with the transfers."""
        with self.database.read() as conn:
            for account in self.accounts:
                found = service.balances(conn, self.tenant_id, account)
                assert (found.posted_minor, found.held_minor) == self.model.balance(account)
                told = {one.transfer_id for one in service.statement(conn, self.tenant_id, account, 1_000)}
                assert told == self.model.touching(account)
            assert service.sums(conn, self.tenant_id).balanced
            assert dict(service.open_clearing(conn, self.tenant_id)) == self.model.residues(self.accounts[2])
            assert service.verify(conn, self.tenant_id) == []
            assert service.verify_clearing(conn, self.tenant_id) == []


class TestLedgerAgainstModel:
    def test_random_batches_agree(self, database: Database) -> None:
        machine = type("BoundMachine", (LedgerMachine,), {"database": database})

        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=settings(
                max_examples=settings.default.max_examples // 4,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
