"""The school next door: the same words where luck could keep two schools apart, its own where it is looked for."""

from datetime import UTC, datetime
from typing import Any

from backend.bootstrap.plan import read_plan
from firmware_sim import neighbor as neighbors
from firmware_sim.plan import TENANT_ID, PlanSize, build_plan, gateway_ids

SIZE = PlanSize(buildings=2, floors=1, outlets_per_floor=2, students=6, poor_students=3)


def plan() -> dict[str, Any]:
    keys = dict.fromkeys(gateway_ids(SIZE), "")
    return build_plan(
        seed=1, size=SIZE, ports=[5_020, 5_021, 5_022], public_keys=keys, now=datetime(2026, 11, 22, tzinfo=UTC)
    )


class TestNeighborOf:
    def test_is_a_plan_of_its_own_with_the_same_people(self) -> None:
        school = plan()
        other = neighbors.neighbor_of(school, port=5_099, public_key="key")

        read = read_plan(other)
        cards = {person["login"]: person["card_uid"] for person in school["people"]}
        assert read.tenant.tenant_id == neighbors.TENANT_ID != TENANT_ID
        assert [device.device_id for device in read.devices] == [neighbors.DEVICE_ID]
        assert all(cards[person.login] == person.card_uid for person in read.people)
        assert {person.login for person in read.people} >= {"s001", "s002", "facilities", "finance"}

    def test_has_no_word_in_common_with_the_first_where_it_is_looked_for(self) -> None:
        school = plan()
        other = neighbors.neighbor_of(school, port=5_099, public_key="key")

        ours, theirs = neighbors.marks_of(school, {}), neighbors.marks_of(other, {"stickers": {"x": "http://h/w/tok"}})

        assert not ours & theirs
        assert theirs == {neighbors.DEVICE_ID, neighbors.GATEWAY_ID, "tok"}
        assert not any(mark in str(other) for mark in ours if mark.startswith("dev_"))


class TestVisitOf:
    def test_lets_students_take_turns(self) -> None:
        other = neighbors.neighbor_of(plan(), port=5_099, public_key="key")

        logins = [neighbors.visit_of(other, number).login for number in range(3)]

        assert logins == ["s001", "s002", "s001"]
