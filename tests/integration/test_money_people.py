"""
Random lives of people and their money, against a model that knows no ledger.

Students are given money, shower, top up at the counter, move money between purses, dispute, are refunded and leave; two
of finance and an approver do their part, twice when they feel like it. At every moment: debits equal credits, no purse
is below zero, each person has what the model says, no more is refunded than was captured, a leaver has exactly nothing,
and what was given out is what the model gave out.
"""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from backend.cardholders import service as cardholders
from backend.db import Database
from backend.errors import BackendError
from backend.ledger import service as ledger
from backend.payments import disputes, leaver, purse_transfers, staff_entries
from backend.payments import service as payments
from tests.factories import NOW
from tests.unit.backend.payments.office import Office

_tenants = itertools.count()
_STUDENTS = st.sampled_from(["ch_ann", "ch_bob"])
_AMOUNTS = st.sampled_from([1, 7, 100, 100, 333, 2_000])
_NUMBERS = st.integers(1, 4)
_PICKS = st.integers(0, 30)
_PROPOSERS = st.sampled_from(["ch_fin", "ch_fin", "ch_fin2", "ch_boss"])
_DECIDERS = st.sampled_from(["ch_boss", "ch_boss", "ch_fin2", "ch_fin"])
#: What the second person does at once.
_THEN = st.sampled_from(["approve", "approve", "reject", "wait", "wait"])
_SPEND_ORDER = ("subsidy", "voucher", "wallet")


@dataclass
class Person:
    """What the model knows of a student."""

    purses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_SPEND_ORDER, 0))
    has_left: bool = False


@dataclass
class Proposal:
    """What the model knows of an entry: whose, over how much, and what it does once when approved."""

    kind: str
    person: str
    amount_minor: int
    proposed_by: str
    expires_at: Any
    subject: str = ""
    state: str = "proposed"


class MoneyMachine(RuleBasedStateMachine):
    """A school's money for a while."""

    database: Database

    @initialize()
    def open_school(self) -> None:
        """Store the people."""
        self.office = Office(self.database, tenant_id=f"people{next(_tenants)}").fill()
        self.people = {"ch_ann": Person(), "ch_bob": Person()}
        self.showers: dict[str, tuple[str, dict[str, int]]] = {}
        self.refunded: dict[str, int] = {}
        self.proposals: dict[str, Proposal] = {}
        self.transfers: set[str] = set()
        self.disputed: dict[str, str] = {}
        self.own_voucher: dict[str, int] = {}
        self.owed = self.paid_out = self.cash = 0
        self.gifts = itertools.count()
        for person in self.people:
            for purse, amount in (("wallet", 3_001), ("voucher", 400)):
                self.give(person, purse, amount)

    def _try(self, step: Callable[[], Any]) -> str:
        try:
            step()
        except BackendError as refusal:
            return refusal.code
        return ""

    @rule(person=_STUDENTS, purse=st.sampled_from(_SPEND_ORDER), amount=_AMOUNTS)
    def give(self, person: str, purse: str, amount: int) -> None:
        """Let the school give."""
        if not self.people[person].has_left:
            self.office.give(purse, amount, person, f"gift{next(self.gifts)}")
            self.people[person].purses[purse] += amount

    @rule(person=_STUDENTS, number=_NUMBERS, amount=_AMOUNTS)
    def shower(self, person: str, number: int, amount: int) -> None:
        """Shower and pay for it, unless there is too little; each shower happens once."""
        name, of = f"{person[3:]}{number}", self.people[person]
        if name in self.showers or of.has_left or sum(of.purses.values()) < amount:
            return
        self.office.shower(amount, name, person)
        parts, rest = {}, amount
        for purse in _SPEND_ORDER:
            parts[purse] = min(of.purses[purse], rest)
            of.purses[purse] -= parts[purse]
            rest -= parts[purse]
        self.showers[name] = (person, parts)
        self.refunded[name] = 0

    @rule(number=_NUMBERS, person=_STUDENTS, amount=_AMOUNTS, by=_PROPOSERS, then=_THEN)
    def propose_cash(self, number: int, person: str, amount: int, by: str, then: str) -> None:
        """Propose cash that came to the counter, or the same again."""
        self._propose(f"en_cash{number}", person, amount, by, kind="cash_top_up")
        self._then(then, f"en_cash{number}")

    @rule(number=_NUMBERS, pick=_PICKS, amount=_AMOUNTS, by=_PROPOSERS, then=_THEN)
    def propose_refund(self, number: int, pick: int, amount: int, by: str, then: str) -> None:
        """Propose to give some of a shower back, or the same again."""
        if self.showers:
            name = sorted(self.showers)[pick % len(self.showers)]
            entry_id, person = f"en_refund{number}", self.showers[name][0]
            self._propose(entry_id, person, amount, by, kind="refund", subject_id=f"auth_{name}")
            self._then(then, entry_id)

    def _propose(self, entry_id: str, person: str, amount: int, by: str, **asked: str) -> None:
        body = {"cardholder_id": person, "amount_minor": amount, "proposed_by": by, **asked}
        code = self._try(lambda: self.office.propose(entry_id, **body))
        known = self.proposals.get(entry_id)
        if known is not None and not code:
            assert (known.person, known.amount_minor, known.proposed_by) == (person, amount, by)
        elif not code:
            assert by != "ch_boss", "the approver proposes nothing"
            expires_at = self.office.now + timedelta(days=7)
            subject = asked.get("subject_id", "").removeprefix("auth_")
            self.proposals[entry_id] = Proposal(asked["kind"], person, amount, by, expires_at, subject)

    @rule(pick=_PICKS, by=_DECIDERS, approves=st.sampled_from([True, True, True, False]), again=st.booleans())
    def decide(self, pick: int, by: str, approves: bool, again: bool) -> None:
        """Approve or refuse one of the entries, whatever became of it before."""
        if not self.proposals:
            return
        waiting = [key for key in sorted(self.proposals) if self.proposals[key].state == "proposed"]
        choice = sorted(self.proposals) if again or not waiting else waiting
        self._decide(choice[pick % len(choice)], by, approves)

    def _then(self, then: str, entry_id: str) -> None:
        if then != "wait" and entry_id in self.proposals:
            self._decide(entry_id, "ch_boss", then == "approve")

    def _decide(self, entry_id: str, by: str, approves: bool) -> None:
        known = self.proposals[entry_id]
        if known.state == "proposed" and self.office.now >= known.expires_at:
            known.state = "expired"
        if not approves:
            code = self._try(lambda: self.office.reject(entry_id, by))
            if not code and known.state == "proposed":
                known.state = "rejected"
            return
        code = self._try(lambda: self.office.approve(entry_id, by))
        if known.state != "proposed":
            assert code or known.state == "executed", (code, known)
            return
        if by == known.proposed_by:
            assert code == "same_person"
        elif known.kind == "cash_top_up" and self.people[known.person].has_left:
            assert code == "cardholder_inactive"
        else:
            assert not code, (code, known)
            known.state = "executed"
            self._execute(known)

    def _execute(self, known: Proposal) -> None:
        of = self.people[known.person]
        if known.kind == "cash_top_up":
            of.purses["wallet"] += known.amount_minor
            self.cash += known.amount_minor
        elif known.kind == "payout":
            self.owed -= known.amount_minor
            self.cash -= known.amount_minor
            self.paid_out += known.amount_minor
        else:
            _, parts = self.showers[known.subject]
            self.refunded[known.subject] += known.amount_minor
            rest = known.amount_minor
            for purse in reversed(_SPEND_ORDER):
                back = min(parts[purse], rest)
                parts[purse] -= back
                of.purses[purse] += back
                rest -= back
            assert rest == 0, "no more is given back than was taken"

    @rule(person=_STUDENTS, number=_NUMBERS, amount=_AMOUNTS, back=st.booleans())
    def transfer(self, person: str, number: int, amount: int, back: bool) -> None:
        """Move money into vouchers, or one's own out of them; or the same again."""
        giver, taker = ("voucher", "wallet") if back else ("wallet", "voucher")
        request_id, of = f"request-{person[3:]}-{number}", self.people[person]
        is_new = request_id not in self.transfers
        with self.database.read() as conn:
            own = purse_transfers.own_minor(conn, self.office.tenant_id, person, giver)
        code = self._try(lambda: self.office.transfer(amount, giver, taker, request_id, person))
        if is_new and not code:
            assert amount <= own <= of.purses[giver]
            assert not of.has_left
            self.transfers.add(request_id)
            of.purses[giver] -= amount
            of.purses[taker] += amount
        elif is_new:
            assert code in ("transfer_not_covered", "cardholder_inactive")
            assert amount > own or of.has_left
        else:
            assert code in ("", "transfer_differs")

    @rule(pick=_PICKS)
    def dispute(self, pick: int) -> None:
        """Dispute a shower, or the same again."""
        if not self.showers:
            return
        name = sorted(self.showers)[pick % len(self.showers)]
        person = self.showers[name][0]
        with self.database.write() as conn:
            try:
                disputes.record_dispute(
                    conn,
                    tenant_id=self.office.tenant_id,
                    dispute_id=f"dp_{name}",
                    water_session_id=f"ws_{name}",
                    cardholder_id=person,
                    reason="other",
                    text="",
                    settled_at=NOW,
                    evidence={},
                    now=self.office.now,
                )
            except BackendError:
                return
        self.disputed[f"dp_{name}"] = name

    @rule(pick=_PICKS, amount=_AMOUNTS, by=_PROPOSERS, upheld=st.booleans(), then=_THEN)
    def answer(self, pick: int, amount: int, by: str, upheld: bool, then: str) -> None:
        """Decide a dispute; an amount becomes a proposal."""
        if not self.disputed:
            return
        dispute_id = sorted(self.disputed)[pick % len(self.disputed)]
        entry_id = f"en_{dispute_id}.{len(self.proposals)}"
        with self.database.write() as conn:
            try:
                decided = disputes.record_decision(
                    conn,
                    tenant_id=self.office.tenant_id,
                    dispute_id=dispute_id,
                    upheld_minor=amount if upheld else 0,
                    answer="as the meter says",
                    decided_by=by,
                    entry_id=entry_id,
                    now=self.office.now,
                )
            except BackendError:
                return
        if decided.entry_id == entry_id and decided.state == "upheld":
            name = self.disputed[dispute_id]
            expires_at = self.office.now + timedelta(days=7)
            self.proposals[entry_id] = Proposal("refund", self.showers[name][0], amount, by, expires_at, name)
            self._then(then, entry_id)

    @rule(person=_STUDENTS, number=st.integers(1, 2), then=_THEN)
    def leave(self, person: str, number: int, then: str) -> None:
        """Pay somebody out; or the same again; or what came after they left."""
        if not self.showers or not self.proposals:
            return  # too early in the term
        payout_id, of = f"po_{person[3:]}{number}", self.people[person]
        with self.database.read() as conn:
            blocked = leaver.obstacles(conn, self.office.tenant_id, person, self.office.now)
            known = {each.payout_id for each in leaver.payouts(conn, self.office.tenant_id, limit=99)}
            own = sum(purse_transfers.own_minor(conn, self.office.tenant_id, person, purse) for purse in _SPEND_ORDER)
        code = self._try(lambda: self.office.payout(payout_id, cardholder_id=person))
        if payout_id in known:
            assert not code
            return
        assert code == ("payout_blocked" if blocked else "")
        if code:
            return
        assert of.purses["wallet"] <= own <= sum(of.purses.values())
        of.has_left, of.purses = True, dict.fromkeys(_SPEND_ORDER, 0)
        self.owed += own
        if own:
            expires_at = self.office.now + timedelta(days=7)
            self.proposals[f"{payout_id}.1"] = Proposal("payout", person, own, "ch_fin", expires_at, payout_id)
            self._then(then, f"{payout_id}.1")

    @rule(days=st.sampled_from([1, 1, 1, 8]), marks=st.booleans())
    def wait(self, days: int, marks: bool) -> None:
        """Let days pass; the worker may come by."""
        self.office.now += timedelta(days=days)
        if marks:
            with self.database.write() as conn:
                staff_entries.expire_due(conn, self.office.tenant_id, self.office.now)

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        """Compare purses, refunds and the school's own accounts with the model, and count the books again."""
        office = self.office
        for name, of in self.people.items():
            assert office.purses(name) == of.purses, name
            assert min(of.purses.values()) >= 0
        with self.database.read() as conn:
            assert ledger.sums(conn, office.tenant_id).balanced
            assert ledger.open_clearing(conn, office.tenant_id) == []
            for name, refunded in self.refunded.items():
                found = payments.refunds(conn, office.tenant_id, auth_id=f"auth_{name}", limit=99)
                captured = payments.authorization(conn, office.tenant_id, f"auth_{name}").captured_minor
                assert sum(each.amount_minor for each in found) == refunded <= captured
            left = {name for name, of in self.people.items() if of.has_left}
            for name in left:
                assert cardholders.cardholder(conn, office.tenant_id, name).status == "closed"
        assert office.balance("refunds_payable/payout") == self.owed
        assert office.balance("cash") == self.cash

    def teardown(self) -> None:
        """Count every account again from its transfers."""
        if hasattr(self, "office"):
            assert self.office.is_even()


class TestRandomLives:
    def test_end_as_the_model_says(self, database: Database) -> None:
        machine = type("BoundMachine", (MoneyMachine,), {"database": database})
        profile = settings.default
        assert profile is not None
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=profile.max_examples // 5,
                stateful_step_count=50,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def _at_once(*steps: Callable[[], object]) -> list[str]:
    """Return what became of steps begun together: empty when done, else the refusal's code."""
    ready, outcomes = threading.Barrier(len(steps)), [""] * len(steps)

    def run(number: int) -> None:
        ready.wait()
        try:
            steps[number]()
        except BackendError as refusal:
            outcomes[number] = refusal.code

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(steps))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return outcomes


class TestAtOnce:
    def test_a_leaver_is_paid_once_and_spends_nothing_beside(self, database: Database) -> None:
        for number in range(4):
            office = Office(database, tenant_id=f"rush{number}").fill()
            office.give("wallet", 1_000)
            office.propose("en_cash")

            outcomes = _at_once(
                partial(office.payout, "po_1"),
                partial(office.payout, "po_2", proposed_by="ch_fin2"),
                partial(office.reject, "en_cash"),
                partial(office.transfer, 600),
                partial(office.hold, 700),
            )

            assert set(outcomes) <= {"", "payout_blocked", "transfer_not_covered", "cardholder_inactive"}
            assert outcomes[2] == ""
            with database.read() as conn:
                paid = leaver.payouts(conn, office.tenant_id, limit=9)
                held = payments.wallet(conn, office.tenant_id, "ch_ann").held_minor
            owed = office.balance("refunds_payable/payout")
            assert owed == sum(each.amount_minor for each in paid)
            assert owed + sum(office.purses().values()) == 1_000
            assert owed in (0, 1_000)
            assert not (owed and held)
            assert office.is_even()

    def test_a_dispute_is_decided_once_and_refunded_once(self, database: Database) -> None:
        office = Office(database).fill()
        office.give("wallet", 1_000)
        office.shower(300)

        def dispute(dispute_id: str) -> None:
            with database.write() as conn:
                disputes.record_dispute(
                    conn,
                    tenant_id=office.tenant_id,
                    dispute_id=dispute_id,
                    water_session_id="ws_1",
                    cardholder_id="ch_ann",
                    reason="not_me",
                    text="",
                    settled_at=office.now,
                    evidence={},
                    now=office.now,
                )

        def decide(dispute_id: str, by: str, amount_minor: int) -> None:
            with database.write() as conn:
                disputes.record_decision(
                    conn,
                    tenant_id=office.tenant_id,
                    dispute_id=dispute_id,
                    upheld_minor=amount_minor,
                    answer="as the meter says",
                    decided_by=by,
                    entry_id=f"en_{by}",
                    now=office.now,
                )

        opened = _at_once(*(partial(dispute, name) for name in ("dp_1", "dp_2", "dp_3")))
        dispute_id = f"dp_{opened.index('') + 1}"
        decided = _at_once(
            lambda: decide(dispute_id, "ch_fin", 300),
            lambda: decide(dispute_id, "ch_fin2", 300),
            lambda: decide(dispute_id, "ch_fin2", 0),
        )
        entries = [each for each in ("en_ch_fin", "en_ch_fin2") if _is_there(office, each)]
        approved = _at_once(*(partial(office.approve, each) for each in entries for _ in range(3)))

        assert sorted(opened) == ["", "dispute_open", "dispute_open"]
        assert decided.count("") == 1
        assert set(approved) <= {""}
        assert len(entries) <= 1
        assert office.purses()["wallet"] == (1_000 if entries else 700)
        assert office.is_even()


def _is_there(office: Office, entry_id: str) -> bool:
    try:
        office.entry(entry_id)
    except BackendError:
        return False
    return True
