"""Leavers get the whole rest to the fen, by two people, once nothing can change it any more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from backend.cardholders import service as cardholders
from backend.db import Database
from backend.errors import BackendError
from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest
from backend.payments import cases, disputes, leaver, refund_repository
from backend.payments import service as payments
from backend.payments.models import top_ups
from backend.payments.people_rules import Obstacle
from tests.unit.backend.payments.conftest import World
from tests.unit.backend.payments.office import TENANT, Office


@pytest.fixture
def office(database: Database) -> Office:
    filled = Office(database).fill()
    filled.give("wallet", 1_003)
    return filled


def _refused(step: Callable[[], object]) -> BackendError:
    with pytest.raises(BackendError) as refused:
        step()
    return refused.value


def _again(office: Office, entry_id: str = "po_1.2", **changed: Any) -> leaver.Payout:
    values: dict[str, Any] = {
        "payout_id": "po_1",
        "channel": "bank",
        "destination": "bank of ann 6222 0001",
        "reason": "another account",
        "proposed_by": "ch_fin",
    }
    with office.db.write() as conn:
        return leaver.propose_again(conn, tenant_id=TENANT, entry_id=entry_id, now=office.now, **{**values, **changed})


class TestPayout:
    def test_pays_ones_own_and_returns_the_schools_and_leaves_zero(self, office: Office) -> None:
        office.give("subsidy", 700)
        office.give("voucher", 250)
        office.transfer(300)

        waiting = office.payout()

        assert (waiting.amount_minor, waiting.returned_minor, waiting.state) == (1_003, 950, "waiting")
        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": 0}
        assert office.balance("refunds_payable/payout") == 1_003
        assert (office.balance("subsidy_fund/school"), office.balance("voucher_fund/school")) == (700, 250)
        office.approve("po_1.1")
        with office.db.read() as conn:
            paid = leaver.find_payout(conn, TENANT, "po_1")
        assert (paid.state, paid.paid_at) == ("paid", office.now)
        assert (office.balance("refunds_payable/payout"), office.balance("cash")) == (0, -1_003)
        assert office.is_even()

    @pytest.mark.parametrize("purse", ["wallet", "voucher"])
    def test_pays_out_no_credit(self, office: Office, purse: str) -> None:
        office.lend(purse, 5_000)

        paid = office.payout()

        assert (paid.amount_minor, paid.returned_minor) == (1_003, 0)
        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": 0}

    def test_goes_to_a_bank_account_that_is_named(self, office: Office) -> None:
        office.payout(channel="bank", destination=" bank of ann 6222 0001 ")
        office.approve("po_1.1", by="ch_fin2")

        assert office.balance("payout_clearing") == 1_003
        with office.db.read() as conn:
            assert leaver.payouts(conn, TENANT, state="paid", limit=5)[0].destination == "bank of ann 6222 0001"

    def test_closes_the_person_and_what_they_are_known_by(self, office: Office) -> None:
        with office.db.write() as conn:
            token = cardholders.sign_in(conn, TENANT, "ann", "a long password", office.now).token

        office.payout()

        with office.db.read() as conn:
            assert cardholders.cardholder(conn, TENANT, "ch_ann").status == "closed"
            assert {each.status for each in cardholders.credentials(conn, TENANT, "ch_ann")} == {"frozen"}
            assert _refused(lambda: cardholders.signed_in(conn, token, office.now)).code == "sign_in_expired"

    def test_is_one_however_often_it_is_sent(self, office: Office) -> None:
        first = office.payout()

        assert office.payout() == first
        office.approve("po_1.1")
        assert office.payout().state == "paid"
        assert office.balance("cash") == -1_003

    @pytest.mark.parametrize(
        "changed",
        [{"cardholder_id": "ch_bob"}, {"channel": "bank", "destination": "6222"}, {"proposed_by": "ch_fin2"}],
    )
    def test_refuses_another_body_under_the_same_id(self, office: Office, changed: dict[str, Any]) -> None:
        office.payout()

        assert _refused(lambda: office.payout(**changed)).code == "payout_differs"

    def test_is_nobody_elses_after_it_was_proposed_again(self, office: Office) -> None:
        office.payout()
        office.reject("po_1.1")
        again = _again(office)

        assert _refused(lambda: office.payout(cardholder_id="ch_bob")).code == "payout_differs"
        assert office.payout() == again
        assert office.purses("ch_bob") == {"subsidy": 0, "voucher": 0, "wallet": 0}
        with office.db.read() as conn:
            assert cardholders.cardholder(conn, TENANT, "ch_bob").status == "active"

    def test_with_nothing_to_pay_is_done_at_once(self, office: Office) -> None:
        office.give("subsidy", 5, "ch_bob")

        done = office.payout(cardholder_id="ch_bob")

        assert (done.state, done.amount_minor, done.returned_minor, done.entry_id) == ("paid", 0, 5, "")
        assert office.purses("ch_bob")["subsidy"] == 0

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"proposed_by": "ch_ann"}, "role_missing"),
            ({"proposed_by": "ch_boss"}, "role_missing"),
            ({"channel": "gold"}, "payout_channel_refused"),
            ({"channel": "bank", "destination": "  x "}, "payout_channel_refused"),
            ({"destination": "x" * 201}, "payout_channel_refused"),
            ({"reason": "bye"}, "reason_too_short"),
            ({"cardholder_id": "ch_nobody"}, "cardholder_unknown"),
            ({"cardholder_id": "ch_fin"}, "own_money"),
            ({"payout_id": "po/1"}, "request_id_malformed"),
            ({"payout_id": "x" * 63}, "request_id_malformed"),
        ],
    )
    def test_refuses(self, office: Office, changed: dict[str, Any], code: str) -> None:
        assert _refused(lambda: office.payout(**changed)).code == code
        assert office.purses()["wallet"] == 1_003

    def test_waits_until_nothing_can_change_it(self, office: Office) -> None:
        office.shower(100, "paid")
        office.hold(50, "live")
        office.hold(50, "asked", method="unionpay")
        office.propose("en_1")
        with office.db.write() as conn:
            disputes.record_dispute(
                conn,
                tenant_id=TENANT,
                dispute_id="dp_1",
                water_session_id="ws_paid",
                cardholder_id="ch_ann",
                reason="other",
                text="",
                settled_at=office.now,
                evidence={},
                now=office.now,
            )

        refused = _refused(office.payout)

        assert refused.code == "payout_blocked"
        assert refused.details == {"reasons": "dispute_open,entry_open,session_open", "count": 4}
        with office.db.read() as conn:
            found = leaver.obstacles(conn, TENANT, "ch_ann", office.now)
            assert cardholders.cardholder(conn, TENANT, "ch_ann").status == "active"
        assert {(each.kind, each.subject_id) for each in found} == {
            ("session_open", "ws_live"),
            ("session_open", "ws_asked"),
            ("entry_open", "en_1"),
            ("dispute_open", "dp_1"),
        }
        assert office.purses()["wallet"] == 903

    def test_goes_on_once_the_obstacles_are_gone(self, office: Office) -> None:
        auth_id = office.hold(50, "live")
        office.propose("en_1")
        assert _refused(office.payout).code == "payout_blocked"

        with office.db.write() as conn:
            payments.void(conn, tenant_id=TENANT, auth_id=auth_id, now=office.now)
        office.now += timedelta(days=7)

        assert office.payout().amount_minor == 1_003

    def test_takes_late_money_with_another_payout(self, office: Office) -> None:
        office.shower(100)
        office.payout()
        office.approve("po_1.1")
        office.propose("en_late", kind="refund", amount_minor=40, subject_id="auth_1")
        assert _refused(lambda: office.payout("po_2")).code == "payout_blocked"
        office.approve("en_late")

        late = office.payout("po_2")
        office.approve("po_2.1")

        assert (late.amount_minor, office.purses()["wallet"], office.balance("cash")) == (40, 0, -943)
        assert office.is_even()

    def test_takes_late_money_while_the_first_payout_waits(self, office: Office) -> None:
        office.payout()
        office.give("wallet", 9)

        assert office.payout("po_2").amount_minor == 9
        office.approve("po_1.1")
        office.approve("po_2.1")
        assert office.balance("cash") == -1_012


class TestObstacles:
    def test_name_a_dispute_whose_refund_nobody_approved_in_time(self, office: Office) -> None:
        office.shower(100)
        with office.db.write() as conn:
            disputes.record_dispute(
                conn,
                tenant_id=TENANT,
                dispute_id="dp_1",
                water_session_id="ws_1",
                cardholder_id="ch_ann",
                reason="other",
                text="",
                settled_at=office.now,
                evidence={},
                now=office.now,
            )
            disputes.record_decision(
                conn,
                tenant_id=TENANT,
                dispute_id="dp_1",
                upheld_minor=50,
                answer="as you say",
                decided_by="ch_fin",
                entry_id="en_1",
                now=office.now,
            )
        later = office.now + timedelta(days=8)

        with office.db.read() as conn:
            kinds = {each.kind for each in leaver.obstacles(conn, TENANT, "ch_ann", later)}

        assert kinds == {"dispute_open"}

    def test_name_money_that_is_held_beside_any_shower(self, office: Office) -> None:
        with office.db.write() as conn:
            request = TransferRequest(
                transfer_id="stray.hold",
                kind=TransferKind.PENDING,
                debit_account_id="cardholder_wallet/ch_ann",
                credit_account_id=ledger.account(conn, TENANT, "suspense"),
                amount_minor=3,
                event_at=office.now,
            )
            assert ledger.execute(conn, TENANT, [request], now=office.now)[0].stands

        with office.db.read() as conn:
            assert leaver.obstacles(conn, TENANT, "ch_ann", office.now) == [Obstacle("money_held", "wallet")]

    def test_name_a_top_up_that_is_being_checked(self, office: Office) -> None:
        with office.db.write() as conn:
            conn.execute(
                insert(top_ups).values(
                    tenant_id=TENANT,
                    top_up_id="tu_1",
                    cardholder_id="ch_ann",
                    method="unionpay",
                    amount_minor=100,
                    state="checking",
                    reason="",
                    created_at=office.now,
                    late_success=False,
                    provider_ref="",
                )
            )

        assert _refused(office.payout).details == {"reasons": "top_up_checking", "count": 1}

    @pytest.mark.parametrize("state", ["requested", "done", "refused"])
    def test_name_a_refund_on_its_way(self, office: Office, state: str) -> None:
        refund = payments.Refund(TENANT, "rf_1", "auth_1", "ws_1", "ch_ann", "unionpay", 40, state, "no", office.now)
        with office.db.write() as conn:
            refund_repository.add_refund(conn, refund)
            found = leaver.obstacles(conn, TENANT, "ch_ann", office.now)

        assert found == ([Obstacle("refund_open", "rf_1")] if state == "requested" else [])

    def test_name_a_refund_that_a_provider_refused_until_its_case_is_closed(self, office: Office) -> None:
        world = World(office.db)
        world.held("unionpay")
        world.capture(200)
        world.settle(seconds=60)
        world.refund(80)
        world.provider.behave("decline")
        world.settle()
        with office.db.write() as conn:
            assert leaver.obstacles(conn, TENANT, "ch_1", world.now) == [Obstacle("refund_open", "rf_1")]
            (about,) = cases.cases(conn, TENANT, kind="refund_refused", limit=9)
            closing = {"closed_by": "ch_fin", "note": "paid in cash"}
            cases.close_case(conn, tenant_id=TENANT, case_id=about.case_id, now=world.now, **closing)
            assert leaver.obstacles(conn, TENANT, "ch_1", world.now) == []

    @pytest.mark.parametrize(("is_captured", "operation_id"), [(True, "cap_1.rest"), (False, "auth_1.void")])
    def test_name_a_deposit_until_it_is_back_or_its_case_is_closed(
        self, office: Office, is_captured: bool, operation_id: str
    ) -> None:
        world = World(office.db)
        world.held("wechat")
        if is_captured:
            world.capture(200)
        else:
            world.void()
        with office.db.read() as conn:
            assert leaver.obstacles(conn, TENANT, "ch_1", world.now) == [Obstacle("refund_open", operation_id)]
        world.wechat.behave("decline")
        world.settle()
        with office.db.write() as conn:
            assert leaver.obstacles(conn, TENANT, "ch_1", world.now) == [Obstacle("refund_open", operation_id)]
            (about,) = cases.cases(conn, TENANT, state="open", limit=9)
            closing = {"closed_by": "ch_fin", "note": "paid in cash"}
            cases.close_case(conn, tenant_id=TENANT, case_id=about.case_id, now=world.now, **closing)
            assert leaver.obstacles(conn, TENANT, "ch_1", world.now) == []


class TestProposeAgain:
    def test_pays_by_another_way_what_was_refused(self, office: Office) -> None:
        office.payout()
        office.reject("po_1.1")
        with office.db.read() as conn:
            assert leaver.find_payout(conn, TENANT, "po_1").state == "payable"

        again = _again(office)
        same = _again(office)
        office.approve("po_1.2")

        assert (again.state, again.channel, again.entry_id) == ("waiting", "bank", "po_1.2")
        assert same == again
        assert (office.balance("payout_clearing"), office.balance("refunds_payable/payout")) == (1_003, 0)
        assert _refused(lambda: _again(office, "po_1.3")).code == "payout_not_waiting"
        assert _refused(lambda: office.approve("po_1.1")).code == "entry_not_open"

    def test_pays_what_nobody_approved_in_time(self, office: Office) -> None:
        office.payout()
        office.now += timedelta(days=7)

        assert _again(office).state == "waiting"
        assert office.entry("po_1.1").state == "expired"
        assert _refused(lambda: office.approve("po_1.1")).code == "entry_not_open"

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"proposed_by": "ch_ann"}, "role_missing"),
            ({"payout_id": "po_9"}, "payout_unknown"),
            ({"channel": "gold"}, "payout_channel_refused"),
            ({"reason": "why"}, "reason_too_short"),
            ({"entry_id": "po_1.1"}, "entry_differs"),
            ({"entry_id": "x" * 63}, "request_id_malformed"),
        ],
    )
    def test_refuses(self, office: Office, changed: dict[str, Any], code: str) -> None:
        office.payout()
        office.reject("po_1.1")

        assert _refused(lambda: _again(office, **changed)).code == code

    def test_takes_no_entry_that_was_refused_for_a_new_one(self, office: Office) -> None:
        office.payout()
        office.reject("po_1.1")
        same = {"channel": "cash", "destination": "", "reason": "leaves the school in June"}

        assert _refused(lambda: _again(office, "po_1.1", **same)).code == "entry_differs"
        with office.db.read() as conn:
            assert leaver.find_payout(conn, TENANT, "po_1").state == "payable"

    def test_waits_while_the_first_proposal_does(self, office: Office) -> None:
        office.payout()

        assert _refused(lambda: _again(office)).code == "payout_not_waiting"


class TestPayouts:
    def test_are_listed_by_person_and_state(self, office: Office) -> None:
        office.payout()
        office.now += timedelta(seconds=1)
        office.payout("po_2", cardholder_id="ch_bob")

        with office.db.read() as conn:
            everyone = [each.payout_id for each in leaver.payouts(conn, TENANT, limit=9)]
            anns = [each.payout_id for each in leaver.payouts(conn, TENANT, cardholder_id="ch_ann", limit=9)]
            paid = [each.payout_id for each in leaver.payouts(conn, TENANT, state="paid", limit=9)]
            foreign = leaver.payouts(conn, "other", limit=9)

        assert (everyone, anns, paid, foreign) == (["po_2", "po_1"], ["po_1"], ["po_2"], [])
