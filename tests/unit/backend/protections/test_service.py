"""Drafted, checked, approved by a second person; then it counts, and what it did is counted."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from backend.db import Database
from backend.fleet.service import PlaceUnknown
from backend.protections import repository, service
from backend.protections.rules import Grant
from tests.factories import NOW
from tests.unit.backend.fleet.helpers import TENANT, add_campus
from tests.unit.backend.protections.test_rules import EXCLUSIVE, HOUR, MS

DRAFT = replace(EXCLUSIVE, status="draft", approved_by=None)
OTHER = replace(DRAFT, grant_id="gr_2", brand="alipay", place_id="pl_o1")
PATH = ["pl_c", "pl_b1", "pl_b1_f1", "pl_o1"]


def put_in_force(conn, grant: Grant) -> None:  # type: ignore[no-untyped-def]
    """Take a grant from draft to approved."""
    service.draft(conn, grant, NOW)
    service.submit(conn, TENANT, grant.grant_id, "ch_1", NOW)
    service.approve(conn, TENANT, grant.grant_id, "ch_2", NOW)


def require(conn, method: str, **changes):  # type: ignore[no-untyped-def]
    """Ask for one method at the first outlet."""
    asked = {"place_ids": PATH, "scenario": "hot_water", "person_class": "student", "at": NOW, **changes}
    return service.require_accepted(conn, TENANT, method=method, **asked)


class TestDraft:
    def test_counts_for_nothing(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.draft(conn, replace(DRAFT, status="approved", approved_by="ch_9"), NOW)

            assert service.list_all(conn, TENANT) == [DRAFT]
            assert require(conn, "alipay").accepted

    @pytest.mark.parametrize(
        "changes",
        [
            {"active_to": NOW},
            {"active_to": datetime.max.replace(tzinfo=UTC)},
            {"active_from": datetime.min.replace(tzinfo=UTC)},
            {"active_to": datetime(2100, 1, 1, 0, 1, tzinfo=UTC)},
            {"active_from": datetime(1999, 12, 31, tzinfo=UTC)},
            {"mode": "sole"},
            {"brand": "wallet"},
            {"brand": "cash"},
            {"scenario": ""},
            {"grantor": " "},
            {"exemptions": ("friend",)},
        ],
    )
    def test_refuses_what_makes_no_sense(self, database: Database, changes: dict[str, object]) -> None:
        with database.write() as conn:
            add_campus(conn)

            with pytest.raises(service.GrantMalformed):
                service.draft(conn, replace(DRAFT, **changes), NOW)  # type: ignore[arg-type]

    def test_refuses_a_foreign_place(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)

            with pytest.raises(PlaceUnknown):
                service.draft(conn, replace(DRAFT, place_id="pl_nowhere"), NOW)


class TestSubmit:
    def test_names_the_grant_it_overlaps(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)
            service.draft(conn, OTHER, NOW)

            with pytest.raises(service.GrantOverlap) as refused:
                service.submit(conn, TENANT, "gr_2", "ch_1", NOW)

        assert refused.value.details["grant_id"] == "gr_1"
        assert refused.value.details["brand"] == "unionpay"

    def test_allows_the_next_period(self, database: Database) -> None:
        following = replace(OTHER, active_from=DRAFT.active_to, active_to=DRAFT.active_to + HOUR)
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)
            put_in_force(conn, following)

            with pytest.raises(service.MethodNotAccepted):
                require(conn, "alipay", at=DRAFT.active_to - MS)
            assert require(conn, "alipay", at=DRAFT.active_to).reason == "protected"

    def test_allows_the_time_after_a_termination(self, database: Database) -> None:
        ended_at = NOW + timedelta(minutes=10)
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)
            service.terminate(conn, TENANT, "gr_1", "ch_2", NOW)
            service.terminate(conn, TENANT, "gr_1", "ch_1", ended_at)
            put_in_force(conn, replace(OTHER, active_from=ended_at))

            assert require(conn, "alipay", at=ended_at).reason == "protected"

    def test_refuses_a_second_time(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)

            with pytest.raises(service.GrantNotReady):
                service.submit(conn, TENANT, "gr_1", "ch_1", NOW)


class TestApprove:
    def test_needs_a_second_person(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.draft(conn, DRAFT, NOW)
            service.submit(conn, TENANT, "gr_1", "ch_1", NOW)

            with pytest.raises(service.SamePerson):
                service.approve(conn, TENANT, "gr_1", "ch_1", NOW)
            assert service.approve(conn, TENANT, "gr_1", "ch_2", NOW).approved_by == "ch_2"

    def test_refuses_a_draft(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.draft(conn, DRAFT, NOW)

            with pytest.raises(service.GrantNotReady):
                service.approve(conn, TENANT, "gr_1", "ch_2", NOW)

    def test_lets_one_of_two_overlapping_through_when_both_come_at_once(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.draft(conn, DRAFT, NOW)
            service.draft(conn, OTHER, NOW)
        outcomes: list[str] = []
        together = threading.Barrier(2)

        def bring_in(grant_id: str) -> None:
            together.wait()
            try:
                with database.write() as conn:
                    service.submit(conn, TENANT, grant_id, "ch_1", NOW)
                    service.approve(conn, TENANT, grant_id, "ch_2", NOW)
                outcomes.append("approved")
            except service.GrantOverlap:
                outcomes.append("overlap")

        threads = [threading.Thread(target=bring_in, args=(grant_id,)) for grant_id in ("gr_1", "gr_2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["approved", "overlap"]


class TestRequireAccepted:
    def test_tells_brand_and_end(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)

            with pytest.raises(service.MethodNotAccepted) as refused:
                require(conn, "alipay")

        assert refused.value.status == 403
        assert refused.value.details["brand"] == "unionpay"
        assert refused.value.decision.until == DRAFT.active_to

    def test_refuses_a_method_that_does_not_exist(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)

            with pytest.raises(service.MethodNotOffered):
                require(conn, "cash")

    def test_is_what_a_preview_shows(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, replace(DRAFT, active_from=NOW + HOUR, active_to=NOW + 2 * HOUR))
            for at, accepted in ((NOW, True), (NOW + HOUR, False), (NOW + 2 * HOUR, True)):
                preview = service.options(
                    conn, TENANT, place_ids=PATH, scenario="hot_water", person_class="student", at=at
                )

                assert {each.method: each.accepted for each in preview}["alipay"] is accepted

    def test_is_blind_to_other_schools(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)
            found = service.options(conn, "gxnu", place_ids=PATH, scenario="hot_water", person_class="student", at=NOW)

            assert all(decision.accepted for decision in found)


class TestEvidence:
    def test_counts_refusals_by_method_and_exemptions_by_name(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)
            for _ in range(3):
                with pytest.raises(service.MethodNotAccepted) as refused:
                    require(conn, "alipay")
                service.count_refused(
                    conn,
                    TENANT,
                    refused.value.decision,
                    place_id="pl_o1",
                    scenario="hot_water",
                    person_class="student",
                    at=NOW,
                )
            require(conn, "alipay", person_class="visitor")
            require(conn, "alipay", conditions=frozenset({"provider_outage"}), at=NOW + MS)

            assert service.evidence(conn, TENANT, "gr_1") == service.Evidence(
                "gr_1", {"alipay": 3}, {"provider_outage": 1, "visitor": 1}
            )
            assert service.evidence(conn, TENANT, "gr_1", since=NOW + MS).refused == {}


class TestTerminate:
    def test_needs_a_second_person_and_leaves_the_grant_in_force_until_then(self, database: Database) -> None:
        asked_at, agreed_at = NOW + timedelta(minutes=1), NOW + timedelta(minutes=9)
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)
            asked = service.terminate(conn, TENANT, "gr_1", "ch_1", asked_at)
            with pytest.raises(service.SamePerson):
                service.terminate(conn, TENANT, "gr_1", "ch_1", agreed_at)
            with pytest.raises(service.MethodNotAccepted):
                require(conn, "alipay", at=agreed_at - MS)
            ended = service.terminate(conn, TENANT, "gr_1", "ch_2", agreed_at)

            assert (asked.status, asked.termination_asked_by, asked.terminated_at) == ("approved", "ch_1", None)
            assert service.is_termination_asked(asked, agreed_at)
            assert (ended.status, ended.terminated_at) == ("terminated", agreed_at)
            assert require(conn, "alipay", at=agreed_at).reason == "open"
            with pytest.raises(service.GrantNotReady):
                service.terminate(conn, TENANT, "gr_1", "ch_3", agreed_at)

    def test_forgets_a_wish_that_nobody_agreed_to_for_a_week(self, database: Database) -> None:
        later = NOW + service.TERMINATION_ASKED_FOR
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)
            asked = service.terminate(conn, TENANT, "gr_1", "ch_1", NOW)
            again = service.terminate(conn, TENANT, "gr_1", "ch_2", later)

        assert service.is_termination_asked(asked, later - MS)
        assert not service.is_termination_asked(asked, later)
        assert (again.status, again.termination_asked_by) == ("approved", "ch_2")

    def test_takes_one_person_while_the_grant_binds_nobody(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            service.draft(conn, DRAFT, NOW)

            assert service.terminate(conn, TENANT, "gr_1", "ch_1", NOW).status == "terminated"

    def test_is_by_two_in_the_table_as_well(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            put_in_force(conn, DRAFT)

        def alone() -> None:
            with database.write() as conn:
                repository.update_grant(conn, TENANT, "gr_1", status="terminated", terminated_at=NOW)

        with pytest.raises(IntegrityError):
            alone()
