"""Who comes when: a scenario's people as a list, the same for the same seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from firmware_sim.campus import Habits, Visit, visits
from firmware_sim.physics import arrivals, showers
from firmware_sim.scenarios.model import Scenario

#: shorter showers give no water worth a bill
_SHORTEST_S = 1.5
_OUTLET_MAP = "chw.hwo1"


@dataclass(frozen=True, slots=True)
class Coming:
    """Somebody comes `at_s` seconds after the start: to shower, or to cheat if `cheat` says how."""

    at_s: float
    visit: Visit
    cheat: str = ""


def comings(scenario: Scenario, plan: Mapping[str, Any], seed: int) -> list[Coming]:
    """Return everybody who comes, by time. Cheats have their own students, and so have roommates who take over."""
    students = [person for person in plan["people"] if person["card_uid"]]
    cheats = [cheat for cheat, times in scenario.people.cheats.items() for _ in range(times)]
    cheaters = students[len(students) - len(cheats) :]
    left = students[: len(students) - len(cheats)]
    hand_overs = scenario.people.endings.get("hand_over", 0) > 0
    mates = tuple((person["login"], person["card_uid"]) for person in left[-(len(left) // 4) :]) if hand_overs else ()
    people = scenario.people
    stream = visits(
        seed=seed,
        plan=plan,
        habits=Habits(people.mean_s, people.sigma, people.shortest_s, people.longest_s),
        card_share=people.card_share,
        endings=people.endings,
        spared=frozenset(person["login"] for person in cheaters),
        roommates=mates,
    )
    if scenario.day is None:
        coming = [Coming(0.0, next(stream)) for _ in range(people.showers)]
        last_s = people.showers * max(people.pause_s, 0.5)
    else:
        times = _day_times(scenario, len(left), seed)
        coming = [Coming(at_s, replace(next(stream), duration_s=lasts_s)) for at_s, lasts_s in times]
        last_s = scenario.day.lasts_s
    return sorted(coming + _cheats(cheats, cheaters, plan, seed, last_s), key=lambda each: each.at_s)


def _day_times(scenario: Scenario, people: int, seed: int) -> list[tuple[float, float]]:
    """Return when people come and how long they stay, in seconds of the run."""
    day = scenario.day
    assert day is not None
    rng = np.random.Generator(np.random.PCG64(seed))
    service = (day.from_hour, day.to_hour)
    hours = arrivals.arrival_hours(rng, people=people, per_person_day=day.per_person, service=service)
    lasts = np.maximum(showers.durations_s(rng, len(hours)) / day.factor, _SHORTEST_S)
    return [
        ((float(hour) - day.from_hour) * 3600 / day.factor, float(lasts_s))
        for hour, lasts_s in zip(hours, lasts, strict=True)
    ]


def _cheats(
    cheats: list[str], cheaters: list[dict[str, Any]], plan: Mapping[str, Any], seed: int, last_s: float
) -> list[Coming]:
    rng = random.Random(f"cheats-{seed}")
    outlets = [device["device_id"] for device in plan["devices"] if device["map_id"] == _OUTLET_MAP]
    rng.shuffle(outlets)
    found = []
    for number, (cheat, person) in enumerate(zip(cheats, cheaters, strict=True)):
        device_id = outlets[number % len(outlets)]
        visit = Visit(person["login"], person["card_uid"], device_id, "page", "wallet", 2.0, "stop")
        found.append(Coming(rng.uniform(0.0, last_s), visit, cheat))
    return found
