"""A plan is a school that the backend and the simulator can both build."""

from collections import Counter

from firmware_sim.campus import FULL_LENGTH, QUICK, visits
from firmware_sim.plan import PlanSize, build_plan, gateway_ids
from tests.factories import NOW

_SIZE = PlanSize(buildings=3, floors=2, outlets_per_floor=5, students=10)
_KEYS = {gateway: "key" for gateway in gateway_ids(_SIZE)}
_PLAN = build_plan(seed=7, size=_SIZE, ports=[1, 2, 3, 4], public_keys=_KEYS, now=NOW)


class TestBuildPlan:
    def test_is_the_same_for_the_same_seed(self) -> None:
        assert build_plan(seed=7, size=_SIZE, ports=[1, 2, 3, 4], public_keys=_KEYS, now=NOW) == _PLAN

    def test_differs_for_another_seed(self) -> None:
        assert build_plan(seed=8, size=_SIZE, ports=[1, 2, 3, 4], public_keys=_KEYS, now=NOW) != _PLAN

    def test_gives_every_place_a_parent_that_comes_before_it(self) -> None:
        seen: set[str | None] = {None}
        for place in _PLAN["places"]:
            assert place["parent_id"] in seen
            seen.add(place["place_id"])

    def test_uses_each_unit_of_a_line_once(self) -> None:
        units = Counter((device["line_id"], device["unit"]) for device in _PLAN["devices"])

        assert set(units.values()) == {1}
        assert len([device for device in _PLAN["devices"] if device["kind"] == "outlet"]) == 30

    def test_gives_every_student_a_card_of_their_own(self) -> None:
        uids = [person["card_uid"] for person in _PLAN["people"] if "student" in person["roles"]]

        assert len(set(uids)) == 10


class TestVisits:
    def test_are_the_same_for_the_same_seed(self) -> None:
        first = [visit for visit, _ in zip(visits(seed=1, plan=_PLAN, habits=QUICK), range(50), strict=False)]
        again = [visit for visit, _ in zip(visits(seed=1, plan=_PLAN, habits=QUICK), range(50), strict=False)]

        assert first == again

    def test_keep_to_the_habits_bounds_and_mean(self) -> None:
        stream = visits(seed=1, plan=_PLAN, habits=FULL_LENGTH)
        lengths = [next(stream).duration_s for _ in range(4_000)]

        assert min(lengths) >= FULL_LENGTH.shortest_s
        assert max(lengths) <= FULL_LENGTH.longest_s
        assert abs(sum(lengths) / len(lengths) - FULL_LENGTH.mean_s) < 0.05 * FULL_LENGTH.mean_s

    def test_never_pay_at_an_outlet_with_what_its_grant_excludes(self) -> None:
        stream = visits(seed=1, plan=_PLAN, habits=QUICK)

        for _ in range(500):
            visit = next(stream)
            assert visit.device_id.startswith("dev_b1_") <= (visit.method in ("wallet", "unionpay"))
