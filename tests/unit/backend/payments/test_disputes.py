"""What the payments keep of a dispute: its case, its decision, and the refund a second person approves."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from backend.db import Database
from backend.errors import BackendError
from backend.payments import cases, disputes
from backend.payments import people_repository as repository
from backend.payments import service as payments
from backend.payments.disputes import Dispute
from tests.unit.backend.payments.office import TENANT, Office

ANSWER = "the meter shows that no water ran"


@pytest.fixture
def office(database: Database) -> Office:
    filled = Office(database).fill()
    filled.give("wallet", 1_000)
    filled.shower(300)
    return filled


def _open(office: Office, dispute_id: str = "dp_1", settled_at: datetime | None = None, **changed: Any) -> Dispute:
    values: dict[str, Any] = {
        "water_session_id": "ws_1",
        "cardholder_id": "ch_ann",
        "reason": "no_water",
        "text": "not a drop",
        "evidence": {"volume_ml": 120},
    }
    with office.db.write() as conn:
        return disputes.record_dispute(
            conn,
            tenant_id=TENANT,
            dispute_id=dispute_id,
            settled_at=settled_at or office.now,
            now=office.now,
            **{**values, **changed},
        )[0]


def _decide(office: Office, upheld_minor: int, entry_id: str = "en_1", **changed: Any) -> Dispute:
    values: dict[str, Any] = {"dispute_id": "dp_1", "answer": ANSWER, "decided_by": "ch_fin"}
    with office.db.write() as conn:
        return disputes.record_decision(
            conn,
            tenant_id=TENANT,
            upheld_minor=upheld_minor,
            entry_id=entry_id,
            now=office.now,
            **{**values, **changed},
        )


def _as_it_is(office: Office, dispute_id: str = "dp_1") -> Dispute:
    with office.db.read() as conn:
        return disputes.dispute(conn, TENANT, dispute_id)


def _refused(step: Callable[[], object]) -> str:
    with pytest.raises(BackendError) as refused:
        step()
    return refused.value.code


def _case(office: Office) -> cases.Case:
    with office.db.read() as conn:
        found = cases.case_of(conn, TENANT, "dispute", "dp_1")
    assert found is not None
    return found


class TestRecordDispute:
    def test_is_about_the_payment_that_was_taken(self, office: Office) -> None:
        with office.db.write() as conn:
            for auth_id in ("auth_2a", "auth_2b"):
                payments.open_authorization(
                    conn,
                    tenant_id=TENANT,
                    auth_id=auth_id,
                    water_session_id="ws_2",
                    cardholder_id="ch_ann",
                    method="wallet",
                    amount_minor=100,
                    expires_at=office.now + timedelta(days=2),
                    now=office.now,
                )
            payments.void(conn, tenant_id=TENANT, auth_id="auth_2a", now=office.now)
            payments.capture(
                conn, tenant_id=TENANT, auth_id="auth_2b", capture_id="cap_2", amount_minor=90, now=office.now
            )

        assert _open(office, water_session_id="ws_2").auth_id == "auth_2b"

    def test_opens_a_case_with_what_the_meter_says(self, office: Office) -> None:
        opened = _open(office)

        assert (opened.state, opened.auth_id, opened.amount_minor) == ("open", "auth_1", 0)
        assert _case(office).amount_minor == 300
        assert _case(office).evidence == {
            "volume_ml": 120,
            "water_session_id": "ws_1",
            "reason": "no_water",
            "text": "not a drop",
        }

    def test_is_one_per_id_and_one_undecided_per_session(self, office: Office) -> None:
        first = _open(office)

        assert _open(office) == first
        assert _case(office).times_seen == 1
        assert _refused(lambda: _open(office, text="another story")) == "dispute_differs"
        assert _refused(lambda: _open(office, cardholder_id="ch_bob")) == "dispute_differs"
        assert _refused(lambda: _open(office, "dp_2")) == "dispute_open"

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"reason": "too_hot"}, "dispute_reason_refused"),
            ({"reason": ""}, "dispute_reason_refused"),
            ({"text": "x" * 1_001}, "dispute_reason_refused"),
            ({"cardholder_id": "ch_bob"}, "dispute_not_possible"),
            ({"water_session_id": "ws_9"}, "dispute_not_possible"),
        ],
    )
    def test_refuses(self, office: Office, changed: dict[str, Any], code: str) -> None:
        assert _refused(lambda: _open(office, **changed)) == code

    @pytest.mark.parametrize(("age", "fits"), [(timedelta(days=30), True), (timedelta(days=30, seconds=1), False)])
    def test_is_possible_for_thirty_days(self, office: Office, age: timedelta, fits: bool) -> None:
        settled_at = office.now - age

        if fits:
            assert _open(office, settled_at=settled_at).state == "open"
        else:
            assert _refused(lambda: _open(office, settled_at=settled_at)) == "dispute_too_late"

    def test_is_about_money_that_was_not_given_back(self, office: Office) -> None:
        office.propose("en_0", kind="refund", amount_minor=300, subject_id="auth_1")

        assert _refused(lambda: _open(office)) == "dispute_not_possible"

    def test_ends_after_three_times(self, office: Office) -> None:
        for number in range(1, 4):
            _open(office, f"dp_{number}")
            _decide(office, 0, dispute_id=f"dp_{number}")

        assert _refused(lambda: _open(office, "dp_4")) == "dispute_not_possible"

    def test_cannot_be_two_past_the_code(self, office: Office) -> None:
        opened = _open(office)

        with office.db.write() as conn:
            row = dict(repository.find(conn, repository.disputes, TENANT, "dp_1") or {})
            assert not repository.add(conn, repository.disputes, {**row, "dispute_id": "dp_2"})
        with pytest.raises(IntegrityError), office.db.write() as conn:
            repository.change(conn, repository.disputes, TENANT, opened.dispute_id, state="whatever")


class TestRecordDecision:
    def test_upheld_gives_back_when_a_second_person_agrees(self, office: Office) -> None:
        _open(office)

        upheld = _decide(office, 180)

        assert (upheld.state, upheld.amount_minor, upheld.answer, upheld.entry_id) == ("upheld", 180, ANSWER, "en_1")
        assert (office.purses()["wallet"], _case(office).state) == (700, "open")
        assert office.entry().reason == f"dispute dp_1: {ANSWER}"
        assert _refused(lambda: office.approve(by="ch_fin")) == "same_person"

        office.approve()

        assert (_as_it_is(office).state, office.purses()["wallet"]) == ("refunded", 880)
        assert (_case(office).state, _case(office).closed_by, _case(office).note) == ("closed", "ch_boss", ANSWER)
        assert office.is_even()

    def test_rejected_says_why(self, office: Office) -> None:
        _open(office)

        rejected = _decide(office, 0)

        assert (rejected.state, rejected.answer, rejected.decided_by) == ("rejected", ANSWER, "ch_fin")
        assert (_case(office).state, office.purses()["wallet"]) == ("closed", 700)

    def test_is_taken_once(self, office: Office) -> None:
        _open(office)
        upheld = _decide(office, 180)

        assert _decide(office, 180) == upheld
        assert _refused(lambda: _open(office, "dp_2")) == "dispute_open"
        assert _refused(lambda: _decide(office, 181)) == "dispute_not_open"
        assert _refused(lambda: _decide(office, 180, decided_by="ch_fin2")) == "dispute_not_open"
        assert _refused(lambda: _decide(office, 0)) == "dispute_not_open"

    @pytest.mark.parametrize(
        ("upheld_minor", "changed", "code"),
        [
            (301, {}, "not_refundable"),
            (100, {"decided_by": "ch_ann"}, "role_missing"),
            (0, {"decided_by": "ch_boss"}, "role_missing"),
            (0, {"answer": " no "}, "answer_too_short"),
            (0, {"answer": "x" * 501}, "answer_too_short"),
            (0, {"dispute_id": "dp_9"}, "dispute_unknown"),
        ],
    )
    def test_refuses(self, office: Office, upheld_minor: int, changed: dict[str, Any], code: str) -> None:
        _open(office)

        assert _refused(lambda: _decide(office, upheld_minor, **changed)) == code
        assert _as_it_is(office).state == "open"

    def test_comes_back_when_the_second_person_refuses(self, office: Office) -> None:
        _open(office)
        _decide(office, 180)
        office.reject()

        assert (_as_it_is(office).state, _as_it_is(office).amount_minor, _case(office).state) == ("open", 0, "open")
        assert _refused(lambda: _decide(office, 180)) == "entry_differs"
        _decide(office, 90, "en_2")
        office.approve("en_2")
        assert (_as_it_is(office).state, office.purses()["wallet"]) == ("refunded", 790)

    def test_comes_back_when_nobody_agrees_in_time(self, office: Office) -> None:
        _open(office)
        _decide(office, 180)
        office.now += timedelta(days=7)

        _decide(office, 170, "en_2")

        assert (_as_it_is(office).entry_id, office.entry("en_1").state) == ("en_2", "expired")


class TestDisputes:
    def test_are_listed_by_state_person_and_session(self, office: Office) -> None:
        office.give("wallet", 500, "ch_bob")
        office.shower(10, "2", "ch_bob")
        _open(office)
        _decide(office, 0)
        office.now += timedelta(seconds=1)
        _open(office, "dp_2", cardholder_id="ch_bob", water_session_id="ws_2")

        def listed(tenant_id: str = TENANT, **wanted: str) -> list[str]:
            with office.db.read() as conn:
                return [each.dispute_id for each in disputes.disputes(conn, tenant_id, limit=9, **wanted)]

        assert listed() == ["dp_2", "dp_1"]
        assert listed(state="rejected") == listed(cardholder_id="ch_ann") == listed(after="dp_2") == ["dp_1"]
        assert listed(water_session_id="ws_2") == ["dp_2"]
        assert listed("other") == []
