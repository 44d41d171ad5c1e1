"""A school's money as people move it: two of finance, an approver, students with purses and showers they paid for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backend.cardholders import service as cardholders
from backend.db import Database
from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest
from backend.payments import leaver, purse_transfers, staff_entries
from backend.payments import service as payments
from backend.payments.leaver import Payout
from backend.payments.purse_transfers import PurseTransfer
from backend.payments.staff_entries import Entry
from tests.factories import NOW

TENANT = "gxu"
WHY = "the counter's receipt 17"
PEOPLE = (
    ("fin", {"finance"}),
    ("fin2", {"finance"}),
    ("boss", {"approver"}),
    ("desk", {"gate_desk"}),
    ("ann", {"student"}),
    ("bob", {"student"}),
)


@dataclass
class Office:
    """What a test of people's money works with."""

    db: Database
    tenant_id: str = TENANT
    now: datetime = NOW

    def fill(self) -> "Office":
        """Store the people."""
        with self.db.write() as conn:
            for login, roles in PEOPLE:
                person = cardholders.Cardholder(
                    self.tenant_id, f"ch_{login}", login, login, login, "student", "active", frozenset(roles)
                )
                cardholders.add_cardholder(conn, person, "a long password", self.now)
        return self

    def give(self, purse: str, amount_minor: int, person: str = "ch_ann", transfer_id: str = "") -> None:
        """Put the school's money (or, into the wallet, an opening balance) into a purse."""
        kind = {"wallet": "cardholder_wallet", "voucher": "voucher_fund", "subsidy": "subsidy_fund"}[purse]
        with self.db.write() as conn:
            request = TransferRequest(
                transfer_id=transfer_id or f"give.{person}.{purse}.{amount_minor}",
                kind=TransferKind.SINGLE,
                debit_account_id=ledger.account(conn, self.tenant_id, "opening_equity"),
                credit_account_id=ledger.account(conn, self.tenant_id, kind, person),
                amount_minor=amount_minor,
                event_at=self.now,
            )
            assert ledger.execute(conn, self.tenant_id, [request], now=self.now)[0].stands

    def lend(self, purse: str, limit_minor: int, person: str = "ch_ann") -> None:
        """Let a purse be spent below zero."""
        with self.db.write() as conn:
            account_id = payments.purse_account(purse, person)
            ledger.set_credit_limit(
                conn, self.tenant_id, account_id, limit_minor, set_by="ch_boss", reason="a guest", now=self.now
            )

    def hold(self, amount_minor: int, name: str = "1", person: str = "ch_ann", method: str = "wallet") -> str:
        """Hold money for a shower and return the authorization's id."""
        with self.db.write() as conn:
            payments.open_authorization(
                conn,
                tenant_id=self.tenant_id,
                auth_id=f"auth_{name}",
                water_session_id=f"ws_{name}",
                cardholder_id=person,
                method=method,
                amount_minor=amount_minor,
                expires_at=self.now + timedelta(days=2),
                now=self.now,
            )
        return f"auth_{name}"

    def capture(self, amount_minor: int, name: str = "1") -> None:
        """Take part of a hold."""
        with self.db.write() as conn:
            payments.capture(
                conn,
                tenant_id=self.tenant_id,
                auth_id=f"auth_{name}",
                capture_id=f"cap_{name}",
                amount_minor=amount_minor,
                now=self.now,
            )

    def shower(self, amount_minor: int, name: str = "1", person: str = "ch_ann") -> str:
        """Pay for a shower from the purses and return the authorization's id."""
        auth_id = self.hold(amount_minor, name, person)
        self.capture(amount_minor, name)
        return auth_id

    def propose(self, entry_id: str = "en_1", **changed: Any) -> Entry:
        """Propose a cash top-up of ¥20 for ann, or something else."""
        values: dict[str, Any] = {
            "kind": "cash_top_up",
            "cardholder_id": "ch_ann",
            "amount_minor": 2_000,
            "reason": WHY,
            "proposed_by": "ch_fin",
        }
        with self.db.write() as conn:
            return staff_entries.propose(
                conn, tenant_id=self.tenant_id, entry_id=entry_id, now=self.now, **{**values, **changed}
            )

    def approve(self, entry_id: str = "en_1", by: str = "ch_boss") -> Entry:
        """Approve an entry."""
        with self.db.write() as conn:
            return staff_entries.approve(
                conn, tenant_id=self.tenant_id, entry_id=entry_id, approved_by=by, now=self.now
            )

    def reject(self, entry_id: str = "en_1", by: str = "ch_boss", note: str = "no such receipt exists") -> Entry:
        """Refuse an entry."""
        with self.db.write() as conn:
            return staff_entries.reject(
                conn, tenant_id=self.tenant_id, entry_id=entry_id, rejected_by=by, note=note, now=self.now
            )

    def entry(self, entry_id: str = "en_1") -> Entry:
        """Return an entry as it stands now."""
        with self.db.read() as conn:
            return staff_entries.entry(conn, self.tenant_id, entry_id, self.now)

    def transfer(
        self,
        amount_minor: int,
        from_purse: str = "wallet",
        to_purse: str = "voucher",
        request_id: str = "request-0001",
        person: str = "ch_ann",
    ) -> PurseTransfer:
        """Move money between two purses."""
        with self.db.write() as conn:
            return purse_transfers.transfer(
                conn,
                tenant_id=self.tenant_id,
                cardholder_id=person,
                from_purse=from_purse,
                to_purse=to_purse,
                amount_minor=amount_minor,
                request_id=request_id,
                now=self.now,
            )

    def payout(self, payout_id: str = "po_1", **changed: Any) -> Payout:
        """Pay ann out in cash, or somebody else otherwise."""
        values: dict[str, Any] = {
            "cardholder_id": "ch_ann",
            "channel": "cash",
            "destination": "",
            "reason": "leaves the school in June",
            "proposed_by": "ch_fin",
        }
        with self.db.write() as conn:
            return leaver.payout(
                conn, tenant_id=self.tenant_id, payout_id=payout_id, now=self.now, **{**values, **changed}
            )

    def purses(self, person: str = "ch_ann") -> dict[str, int]:
        """Return what is in each purse of a person."""
        with self.db.read() as conn:
            return {each.purse: each.posted_minor for each in payments.purses(conn, self.tenant_id, person)}

    def balance(self, account_id: str) -> int:
        """Return an account's posted balance; one never opened has nothing."""
        with self.db.read() as conn:
            try:
                return ledger.balances(conn, self.tenant_id, account_id).posted_minor
            except ledger.AccountUnknown:
                return 0

    def is_even(self) -> bool:
        """Return whether debits equal credits and every account can be counted again."""
        with self.db.read() as conn:
            return ledger.sums(conn, self.tenant_id).balanced and ledger.verify(conn, self.tenant_id) == []
