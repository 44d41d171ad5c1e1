"""What is accepted, at the instants that matter."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.protections.rules import METHODS, Grant, MethodDecision, conflicts, decide
from tests.factories import NOW

MS = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)
PATH = ["pl_c", "pl_b1", "pl_o1"]
EXCLUSIVE = Grant(
    tenant_id="gxu",
    grant_id="gr_1",
    grantor="school",
    brand="unionpay",
    scenario="hot_water",
    place_id="pl_b1",
    active_from=NOW,
    active_to=NOW + HOUR,
    mode="exclusive",
    exemptions=("visitor", "provider_outage"),
    status="approved",
    created_by="ch_1",
    approved_by="ch_2",
)
PREFERRED = replace(EXCLUSIVE, grant_id="gr_2", brand="alipay", mode="preferred", exemptions=())


def ask(*grants: Grant, at=NOW, path=None, scenario="hot_water", person_class="student", conditions=()):  # type: ignore[no-untyped-def]
    """Return the decisions by method."""
    found = decide(
        methods=METHODS,
        grants=grants,
        place_ids=path or PATH,
        scenario=scenario,
        person_class=person_class,
        conditions=frozenset(conditions),
        at=at,
    )
    return {decision.method: decision for decision in found}


class TestDecide:
    def test_accepts_everything_without_grants(self) -> None:
        assert ask() == {
            "wallet": MethodDecision("wallet", True, False, "wallet"),
            "unionpay": MethodDecision("unionpay", True, False, "open"),
            "alipay": MethodDecision("alipay", True, False, "open"),
            "wechat": MethodDecision("wechat", True, False, "open"),
        }

    def test_names_the_grant_and_its_end(self) -> None:
        assert ask(EXCLUSIVE)["alipay"] == MethodDecision(
            "alipay", False, False, "exclusive_other", "gr_1", NOW + HOUR, "unionpay"
        )
        assert ask(EXCLUSIVE)["unionpay"].reason == "protected"

    @pytest.mark.parametrize(
        ("at", "accepted"),
        [(NOW - MS, True), (NOW, False), (NOW + HOUR - MS, False), (NOW + HOUR, True)],
    )
    def test_changes_at_the_first_and_after_the_last_instant(self, at, accepted: bool) -> None:  # type: ignore[no-untyped-def]
        assert ask(EXCLUSIVE, at=at)["alipay"].accepted is accepted

    @pytest.mark.parametrize(
        ("path", "accepted"),
        [(["pl_c"], True), (["pl_c", "pl_b1"], False), (PATH, False), (["pl_c", "pl_b2", "pl_o3"], True)],
    )
    def test_counts_in_its_subtree_only(self, path: list[str], accepted: bool) -> None:
        assert ask(EXCLUSIVE, path=path)["alipay"].accepted is accepted

    def test_counts_for_its_scenario_only(self) -> None:
        assert ask(EXCLUSIVE, scenario="access")["alipay"].accepted

    @pytest.mark.parametrize("status", ["draft", "submitted", "terminated"])
    def test_ignores_what_was_never_approved(self, status: str) -> None:
        assert ask(replace(EXCLUSIVE, status=status, approved_by=None))["alipay"].accepted

    def test_ends_at_termination(self) -> None:
        ended = replace(EXCLUSIVE, status="terminated", terminated_at=NOW + timedelta(minutes=5))

        assert not ask(ended, at=ended.terminated_at - MS)["alipay"].accepted
        assert ask(ended, at=ended.terminated_at)["alipay"].accepted

    def test_lets_named_exemptions_through(self) -> None:
        assert ask(EXCLUSIVE, person_class="visitor")["alipay"].reason == "exempt_visitor"
        assert ask(EXCLUSIVE, conditions=["provider_outage"])["alipay"].reason == "exempt_provider_outage"
        assert not ask(EXCLUSIVE, conditions=["minor"])["alipay"].accepted

    def test_marks_the_preferred_brand(self) -> None:
        found = ask(PREFERRED)

        assert (found["alipay"].preferred, found["alipay"].reason) == (True, "preferred")
        assert found["unionpay"].accepted

    def test_lets_exclusive_beat_preferred(self) -> None:
        found = ask(PREFERRED, EXCLUSIVE)

        assert not found["alipay"].accepted
        assert found["unionpay"].preferred

    def test_asks_every_exclusive_grant_for_the_exemption(self) -> None:
        outer = replace(EXCLUSIVE, grant_id="gr_3", place_id="pl_c", exemptions=())

        assert not ask(EXCLUSIVE, outer, person_class="visitor")["alipay"].accepted

    @given(
        st.lists(
            st.builds(
                replace,
                st.just(EXCLUSIVE),
                brand=st.sampled_from(["unionpay", "alipay"]),
                mode=st.sampled_from(["exclusive", "preferred"]),
                place_id=st.sampled_from(["pl_c", "pl_b1", "pl_o1", "pl_b2"]),
                active_from=st.integers(-3, 3).map(lambda hours: NOW + hours * HOUR),
                active_to=st.integers(-2, 4).map(lambda hours: NOW + hours * HOUR),
                status=st.sampled_from(["draft", "submitted", "approved", "terminated"]),
            ),
            max_size=6,
        ),
        st.integers(-4 * 3600_000, 5 * 3600_000).map(lambda millis: NOW + millis * MS),
        st.sampled_from(["student", "staff", "visitor"]),
    )
    def test_always_accepts_the_wallet_and_answers_every_method_once(self, grants, at, person_class: str) -> None:  # type: ignore[no-untyped-def]
        numbered = [replace(grant, grant_id=f"gr_{index}") for index, grant in enumerate(grants)]
        found = decide(
            methods=METHODS,
            grants=numbered,
            place_ids=PATH,
            scenario="hot_water",
            person_class=person_class,
            conditions=frozenset(),
            at=at,
        )

        assert [decision.method for decision in found] == list(METHODS)
        assert found[0].accepted
        for decision in found[1:]:
            speaking = [grant for grant in numbered if grant.grant_id == decision.grant_id]
            assert all(grant.active_from <= at < grant.active_to for grant in speaking)
            assert decision.accepted or (speaking and speaking[0].brand != decision.method)


class TestConflicts:
    @pytest.mark.parametrize(
        ("changes", "path", "conflict"),
        [
            ({}, PATH[:2], True),
            ({"brand": "unionpay"}, PATH[:2], True),
            ({"place_id": "pl_c"}, ["pl_c"], True),
            ({"place_id": "pl_o1"}, PATH, True),
            ({"place_id": "pl_b2"}, ["pl_c", "pl_b2"], False),
            ({"scenario": "access"}, PATH[:2], False),
            ({"mode": "preferred"}, PATH[:2], False),
            ({"active_from": NOW + HOUR, "active_to": NOW + 2 * HOUR}, PATH[:2], False),
            ({"active_from": NOW + HOUR - MS, "active_to": NOW + 2 * HOUR}, PATH[:2], True),
            ({"active_from": NOW - HOUR, "active_to": NOW}, PATH[:2], False),
            ({"active_from": NOW - HOUR, "active_to": NOW + MS}, PATH[:2], True),
            ({"grant_id": "gr_1"}, PATH[:2], False),
        ],
    )
    def test_needs_scenario_place_and_time(self, changes: dict[str, object], path: list[str], conflict: bool) -> None:
        other = replace(EXCLUSIVE, **{"grant_id": "gr_9", "brand": "alipay", **changes})  # type: ignore[arg-type]

        assert conflicts(EXCLUSIVE, PATH[:2], other, path) is conflict
        assert conflicts(other, path, EXCLUSIVE, PATH[:2]) is conflict
