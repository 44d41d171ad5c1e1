"""Moving money between one's own purses: as the table allows, never what is held, once per request."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from backend.cardholders import service as cardholders
from backend.db import Database
from backend.errors import BackendError
from backend.payments import people_rules, purse_transfers
from backend.payments import service as payments
from tests.unit.backend.payments.office import TENANT, Office


@pytest.fixture
def office(database: Database) -> Office:
    filled = Office(database).fill()
    filled.give("wallet", 1_000)
    return filled


def _refused(office: Office, **asked: Any) -> BackendError:
    with pytest.raises(BackendError) as refused:
        office.transfer(**asked)
    return refused.value


class TestTransfer:
    def test_moves_money_at_once(self, office: Office) -> None:
        moved = office.transfer(400)

        assert (moved.transfer_id, moved.amount_minor, moved.created_at) == ("pt_request-0001", 400, office.now)
        assert office.purses() == {"subsidy": 0, "voucher": 400, "wallet": 600}
        assert office.is_even()

    def test_answers_a_repeat_to_the_letter(self, office: Office) -> None:
        office.now = office.now.replace(microsecond=123_456)
        first = office.transfer(400)
        office.now += timedelta(seconds=3)

        assert office.transfer(400) == first
        assert first.created_at.microsecond == 123_000

    def test_is_one_per_request(self, office: Office) -> None:
        first = office.transfer(600)

        assert office.transfer(600) == first
        assert office.purses()["voucher"] == 600
        for other in ({"amount_minor": 599}, {"person": "ch_bob"}, {"from_purse": "voucher", "to_purse": "wallet"}):
            assert _refused(office, **{"amount_minor": 600, **other}).code == "transfer_differs"

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ({"amount_minor": 1_001}, "transfer_not_covered"),
            ({"amount_minor": 0}, "transfer_amount_refused"),
            ({"amount_minor": -5}, "transfer_amount_refused"),
            ({"amount_minor": 1_000_001}, "transfer_amount_refused"),
            ({"from_purse": "subsidy", "to_purse": "wallet"}, "transfer_not_allowed"),
            ({"from_purse": "wallet", "to_purse": "wallet"}, "transfer_not_allowed"),
            ({"from_purse": "wallet", "to_purse": "escrow"}, "transfer_not_allowed"),
            ({"request_id": "short"}, "request_id_malformed"),
            ({"request_id": "x" * 65}, "request_id_malformed"),
            ({"person": "ch_nobody"}, "cardholder_unknown"),
        ],
    )
    def test_refuses(self, office: Office, asked: dict[str, Any], code: str) -> None:
        assert _refused(office, **{"amount_minor": 10, **asked}).code == code
        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": 1_000}

    def test_leaves_held_money_where_it_is(self, office: Office) -> None:
        office.hold(700)

        refused = _refused(office, amount_minor=301)

        assert (refused.code, refused.details["available_minor"]) == ("transfer_not_covered", 300)
        assert office.transfer(300).amount_minor == 300

    def test_leaves_credit_where_it_is(self, office: Office) -> None:
        office.lend("wallet", 5_000)

        assert _refused(office, amount_minor=1_001).details == {"available_minor": 1_000, "amount_minor": 1_001}
        assert office.transfer(1_000).amount_minor == 1_000

    def test_brings_back_ones_own_and_none_of_the_schools(self, office: Office) -> None:
        office.give("voucher", 500)
        office.transfer(400)
        back = {"from_purse": "voucher", "to_purse": "wallet", "request_id": "request-0002"}

        assert _refused(office, amount_minor=401, **back).details["available_minor"] == 400
        office.transfer(400, **back)

        assert office.purses() == {"subsidy": 0, "voucher": 500, "wallet": 1_000}
        assert _refused(office, amount_minor=1, **{**back, "request_id": "request-0003"}).code == "transfer_not_covered"

    def test_of_ones_own_only_what_is_not_held_comes_back(self, office: Office) -> None:
        office.give("voucher", 100)
        office.transfer(400)
        office.hold(450)  # all of the school's, and 350 of one's own
        back = {"from_purse": "voucher", "to_purse": "wallet", "request_id": "request-0002"}

        with office.db.read() as conn:
            assert purse_transfers.own_minor(conn, TENANT, "ch_ann", "voucher") == 50
        assert _refused(office, amount_minor=51, **back).details["available_minor"] == 50
        office.transfer(50, **back)

        assert office.purses() == {"subsidy": 0, "voucher": 450, "wallet": 650}
        office.capture(450)
        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": 650}

    def test_counts_what_was_spent_of_the_schools_first(self, office: Office) -> None:
        office.give("voucher", 500)
        office.transfer(400)
        office.shower(600)

        with office.db.read() as conn:
            assert purse_transfers.own_minor(conn, TENANT, "ch_ann", "voucher") == 300
            assert purse_transfers.own_minor(conn, TENANT, "ch_ann", "wallet") == 600

    def test_gives_ones_own_back_with_a_refund(self, office: Office) -> None:
        office.transfer(400)
        auth_id = office.shower(400)
        with office.db.write() as conn:
            payments.request_refund(
                conn,
                tenant_id=TENANT,
                refund_id="rf_1",
                auth_id=auth_id,
                amount_minor=150,
                reason="staff",
                now=office.now,
            )
            assert purse_transfers.own_minor(conn, TENANT, "ch_ann", "voucher") == 150

    def test_follows_the_schools_own_table(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(people_rules.PAIRS_OF_TENANT, TENANT, {("subsidy", "wallet"): "any"})
        office.give("subsidy", 200)

        office.transfer(200, "subsidy", "wallet")

        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": 1_200}
        assert _refused(office, amount_minor=1, request_id="request-0002").code == "transfer_not_allowed"

    def test_makes_no_scheme_money_ones_own_on_a_way_round(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table: dict[tuple[str, str], people_rules.Share] = {("subsidy", "voucher"): "any", ("voucher", "wallet"): "own"}
        monkeypatch.setitem(people_rules.PAIRS_OF_TENANT, TENANT, table)
        office.give("subsidy", 200)
        office.transfer(200, "subsidy", "voucher")

        refused = _refused(office, amount_minor=1, from_purse="voucher", to_purse="wallet", request_id="request-0002")

        assert (refused.code, refused.details["available_minor"]) == ("transfer_not_covered", 0)

    @pytest.mark.parametrize("status", ["frozen", "closed"])
    def test_is_not_for_who_is_not_active(self, office: Office, status: str) -> None:
        with office.db.write() as conn:
            cardholders.set_status(conn, TENANT, "ch_ann", status)

        assert _refused(office, amount_minor=1).code == "cardholder_inactive"

    def test_never_moves_more_than_there_is_by_many_at_once(self, office: Office) -> None:
        ready, outcomes = threading.Barrier(4), []

        def move(number: int) -> None:
            ready.wait()
            try:
                office.transfer(400, request_id=f"request-{number:04}")
                outcomes.append("moved")
            except BackendError as refusal:
                outcomes.append(refusal.code)

        threads = [threading.Thread(target=move, args=(number,)) for number in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

        assert sorted(outcomes) == ["moved", "moved", "transfer_not_covered", "transfer_not_covered"]
        assert office.purses()["wallet"] == 200


class TestTransfers:
    def test_are_the_persons_own_newest_first(self, office: Office) -> None:
        office.give("wallet", 100, "ch_bob")
        for number in range(3):
            office.transfer(10, request_id=f"request-{number:04}")
        office.transfer(10, request_id="request-bobs", person="ch_bob")

        with office.db.read() as conn:
            own = purse_transfers.transfers(conn, TENANT, cardholder_id="ch_ann", limit=2)
            rest = purse_transfers.transfers(conn, TENANT, cardholder_id="ch_ann", after=own[-1].transfer_id, limit=2)
            foreign = purse_transfers.transfers(conn, "other", limit=9)

        assert [each.transfer_id for each in (*own, *rest)] == [f"pt_request-{n:04}" for n in (2, 1, 0)]
        assert foreign == []
