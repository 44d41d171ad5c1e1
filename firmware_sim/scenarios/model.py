"""What a scenario file says, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firmware_sim.chances import Chances
from firmware_sim.plan import PlanSize


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong, `at_s` seconds after people begin to come; `given` are its parameters."""

    at_s: float
    name: str
    given: Mapping[str, Any]

    def line(self) -> str:
        """Return it as people read it."""
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.given.items())])


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Who comes and what they do. Weights need not sum to one."""

    showers: int
    at_once: int
    pause_s: float
    mean_s: float
    sigma: float
    shortest_s: float
    longest_s: float
    card_share: float
    wallet_share: float
    pause_share: float
    endings: Mapping[str, float]
    cheats: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A whole day's arrivals pressed into `lasts_s` seconds; showers are shortened alike."""

    from_hour: float
    to_hour: float
    lasts_s: float
    per_person: float

    @property
    def factor(self) -> float:
        """Return how many seconds of the day pass in one."""
        return (self.to_hour - self.from_hour) * 3600 / self.lasts_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """What the way between gateways and broker does all the time."""

    duplicate: float
    lose: float
    delay_ms: int

    @property
    def is_calm(self) -> bool:
        """Return whether nothing happens to a message on its way."""
        return not (self.duplicate or self.lose or self.delay_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario."""

    name: str
    title: str
    seed: int
    size: PlanSize
    #: whether another school lives in the same stack
    neighbor: bool
    people: People
    day: Day | None
    physics: Mapping[str, float]
    chance: Chances
    uplink: Uplink
    faults: tuple[Fault, ...]
    invariants: tuple[str, ...]
    settle_within_s: float
    #: which share of the people must get their shower
    served_share: float = 0.5
