"""The same seed brings the same people."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from firmware_sim.plan import build_plan, gateway_ids
from firmware_sim.scenarios.coming import by_chance, cheated_at, comings
from firmware_sim.scenarios.model import Scenario
from firmware_sim.scenarios.reading import load

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def plan(scenario: Scenario) -> dict[str, Any]:
    size = scenario.size
    return build_plan(
        seed=3, size=size, ports=list(range(size.buildings + 1)), public_keys=dict.fromkeys(gateway_ids(size), ""),
        now=NOW,
    )  # fmt: skip


class TestComings:
    @pytest.mark.parametrize("name", ["dorm-block", "campus-day", "cheaters"])
    def test_are_the_same_for_the_same_seed_only(self, name: str) -> None:
        scenario = load(name)

        one, two, other = (comings(scenario, plan(scenario), seed) for seed in (7, 7, 8))

        assert one == two
        assert one != other

    def test_follow_the_day(self) -> None:
        scenario = load("campus-day")
        scenario = replace(scenario, people=replace(scenario.people, cheats={}))
        coming = comings(scenario, plan(scenario), 7)
        assert scenario.day is not None
        hours = [scenario.day.from_hour + each.at_s * scenario.day.factor / 3600 for each in coming]

        assert hours == sorted(hours)
        assert 70 <= len(coming) <= 150
        assert sum(19 <= hour < 24 for hour in hours) > 0.5 * len(hours)
        assert all(1.5 <= each.visit.duration_s < 20 for each in coming)

    def test_keep_cheats_and_roommates_out_of_the_crowd(self) -> None:
        scenario = load("campus-day")
        coming = comings(scenario, plan(scenario), 7)
        cheaters = {each.visit.login for each in coming if each.cheat}
        crowd = {each.visit.login for each in coming if not each.cheat}
        mates = {each.visit.roommate[0] for each in coming if each.visit.roommate}

        assert Counter(each.cheat for each in coming if each.cheat) == scenario.people.cheats
        assert len(cheaters) == sum(scenario.people.cheats.values())
        assert not cheaters & crowd
        assert not mates & (crowd | cheaters)
        assert mates

    def test_let_some_pause_for_as_much_shorter_as_their_shower_is(self) -> None:
        scenario = load("dorm-block")
        coming = comings(scenario, plan(scenario), 7)
        pausing = [each.visit for each in coming if each.visit.pauses_s]

        assert 0.15 * len(coming) < len(pausing) < 0.6 * len(coming)
        assert all(sum(visit.pauses_s) < visit.duration_s for visit in pausing)

    def test_pay_by_somebody_else_more_often_where_wallets_are_rare(self) -> None:
        scenario = load("provider-outage")
        methods = Counter(each.visit.method for each in comings(scenario, plan(scenario), 7))

        assert methods["wallet"] < 0.6 * methods.total()


class TestByChance:
    def test_cuts_the_power_of_a_day_now_and_then(self) -> None:
        scenario = load("campus-day")
        assert scenario.day is not None

        faults = [fault for seed in range(20) for fault in by_chance(scenario, seed)]

        assert 5 <= len(faults) <= 60
        assert {fault.name for fault in faults} == {"power_cut"}
        assert all(0 <= fault.at_s <= scenario.day.lasts_s for fault in faults)
        assert by_chance(load("one-tap"), 1) == []


class TestCheatedAt:
    def test_is_where_nothing_opens_or_at_an_outlet_of_our_own(self) -> None:
        there = plan(load("makers-floor"))

        assert cheated_at(there, "meter_only") == ["dev_b1_903", "dev_b1_904", "dev_b1_905", "dev_b1_906"]
        assert cheated_at(there, "double_start") == ["dev_b1_101", "dev_b1_102", "dev_b1_103"]
