"""The same seed brings the same people."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from firmware_sim.plan import build_plan, gateway_ids
from firmware_sim.scenarios.coming import comings
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
