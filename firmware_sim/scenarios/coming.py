"""Who comes when: a scenario's people as a list, the same for the same seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from firmware_sim.campus import Habits, Visit, visits
from firmware_sim.chances import cuts
from firmware_sim.physics import arrivals, showers
from firmware_sim.physics.constants import DURATION_MEAN_S
from firmware_sim.scenarios.model import Fault, Scenario

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
        wallet_share=people.wallet_share,
    )
    if scenario.day is None:
        coming = [Coming(0.0, next(stream)) for _ in range(people.showers)]
    else:
        times = _day_times(scenario, len(left), seed)
        coming = [Coming(at_s, replace(next(stream), duration_s=lasts_s)) for at_s, lasts_s in times]
    coming = _pauses(coming, people.pause_share, seed)
    return sorted(coming + _cheats(cheats, cheaters, plan, seed, last_s(scenario)), key=lambda each: each.at_s)


def by_chance(scenario: Scenario, seed: int) -> list[Fault]:
    """Return the cuts that chance has for a run: a day's where it is one, else those of as long as people come."""
    day = scenario.day
    days, factor = (last_s(scenario) / 86_400, 1.0) if day is None else ((day.to_hour - day.from_hour) / 24, day.factor)
    drawn = cuts(scenario.chance, buildings=scenario.size.buildings, days=days, factor=factor, seed=seed)
    return [
        Fault(at_s=at_s, name="power_cut",
              given={"building": building, "seconds": round(seconds, 1), "hard": False, "gateway": False})
        for at_s, building, seconds in drawn
    ]  # fmt: skip


def last_s(scenario: Scenario) -> float:
    """Return when about the last one comes, seconds after the start."""
    people = scenario.people
    return people.showers * max(people.pause_s, 0.5) if scenario.day is None else scenario.day.lasts_s


def _pauses(coming: list[Coming], share: float, seed: int) -> list[Coming]:
    """Let some shut the mixer while they soap, for as much shorter as their shower is."""
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    drawn = showers.pauses_s(rng, len(coming), share=share).tolist()
    return [
        replace(each, visit=replace(each.visit, pauses_s=tuple(
            pause * each.visit.duration_s / DURATION_MEAN_S for pause in pauses if pause > 0)))
        for each, pauses in zip(coming, drawn, strict=True)
    ]  # fmt: skip


def cheated_at(plan: Mapping[str, Any], cheat: str) -> list[str]:
    """Return the outlets where a cheat can be tried: those of our own, or those where nothing opens."""
    if cheat == "meter_only":
        return [raw["device_id"] for raw in plan["devices"] if not raw.get("opens", True)]
    return [raw["device_id"] for raw in plan["devices"] if raw["map_id"] == _OUTLET_MAP]


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
    cheats: list[str], cheaters: list[dict[str, Any]], plan: Mapping[str, Any], seed: int, until_s: float
) -> list[Coming]:
    rng = random.Random(f"cheats-{seed}")
    shuffled = {cheat: cheated_at(plan, cheat) for cheat in dict.fromkeys(cheats)}
    for cheat in shuffled:
        random.Random(f"cheats-{seed}").shuffle(shuffled[cheat])
    found = []
    for number, (cheat, person) in enumerate(zip(cheats, cheaters, strict=True)):
        outlets = shuffled[cheat]
        device_id = outlets[number % len(outlets)]
        visit = Visit(person["login"], person["card_uid"], device_id, "page", "wallet", 2.0, "stop")
        found.append(Coming(rng.uniform(0.0, until_s), visit, cheat))
    return found
