"""
Seeded people of a dormitory: who showers where, started and ended how, for how long.

Shares and lengths are choices made for a lively demonstration, not measurements; the measured shower of about nine
minutes (lognormal, KWR pysimdeum and student residences) is available as `FULL_LENGTH`.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Habits:
    """How long people shower: a lognormal distribution with this mean and spread, cut to bounds, in seconds."""

    mean_s: float
    sigma: float
    shortest_s: float
    longest_s: float


#: A few seconds under the shower, so that a run of dozens takes a minute or two.
QUICK = Habits(mean_s=5.0, sigma=0.4, shortest_s=2.0, longest_s=12.0)
#: About a minute: something to watch in a browser.
WATCHABLE = Habits(mean_s=60.0, sigma=0.5, shortest_s=15.0, longest_s=240.0)
FULL_LENGTH = Habits(mean_s=558.0, sigma=0.5, shortest_s=60.0, longest_s=1_500.0)

_CODE_SHARE = 0.3
CARD_SHARE = 0.4
ENDINGS: Mapping[str, float] = {"stop": 0.55, "card": 0.15, "close_tap": 0.15, "walk_away": 0.15}


@dataclass(frozen=True, slots=True)
class Visit:
    """
    One person's shower as intended. `walk_away` means the mixer is left shut without telling anyone.

    `shows_code`: pays with a one-time code rather than by the agreement on file; WeChat knows nothing else.
    """

    login: str
    card_uid: str
    device_id: str
    start: str
    method: str
    duration_s: float
    ending: str
    shows_code: bool = False
    #: who takes over with their card when it ends by `hand_over`: login and card
    roommate: tuple[str, str] | None = None
    #: how long the mixer is shut in between, each time; the pauses fall evenly into the shower
    pauses_s: tuple[float, ...] = ()


def _pick(rng: random.Random, options: Mapping[str, float]) -> str:
    return rng.choices(list(options), list(options.values()))[0]


def _method(rng: random.Random, start: str, building: int, wallet_share: float) -> str:
    if start == "card":
        return "wallet"
    # the planned grant makes one brand exclusive in building 1
    other = "unionpay" if building == 1 else rng.choice(["unionpay", "alipay", "wechat"])
    return rng.choices(["wallet", other], [wallet_share, 1 - wallet_share])[0]


def visits(
    *,
    seed: int,
    plan: Mapping[str, Any],
    habits: Habits,
    card_share: float = CARD_SHARE,
    endings: Mapping[str, float] = ENDINGS,
    spared: frozenset[str] = frozenset(),
    roommates: tuple[tuple[str, str], ...] = (),
    wallet_share: float = 0.7,
) -> Iterator[Visit]:
    """
    Return an endless stream of visits; the same seed, plan and ways give the same stream.

    :param spared: logins that do not shower: they have other plans.
    :param wallet_share: of those who start at the page; the rest pay by somebody else.
    :param roommates: login and card of those who take over at a `hand_over`; they are not in the stream either.
    """
    rng = random.Random(f"campus-{seed}")
    kept_out = spared | {login for login, _ in roommates}
    students = [person for person in plan["people"] if person["card_uid"] and person["login"] not in kept_out]
    outlets = [
        device["device_id"] for device in plan["devices"] if device["kind"] == "outlet" and device.get("opens", True)
    ]
    mu = math.log(habits.mean_s) - habits.sigma**2 / 2
    while True:
        person, device_id = rng.choice(students), rng.choice(outlets)
        start = _pick(rng, {"page": 1 - card_share, "card": card_share})
        building = int(device_id.removeprefix("dev_b").partition("_")[0])
        duration_s = min(max(rng.lognormvariate(mu, habits.sigma), habits.shortest_s), habits.longest_s)
        method = _method(rng, start, building, wallet_share)
        shows_code = method == "wechat" or (method != "wallet" and rng.random() < _CODE_SHARE)
        ending = _pick(rng, endings)
        roommate = rng.choice(roommates) if ending == "hand_over" and roommates else None
        yield Visit(
            person["login"], person["card_uid"], device_id, start, method, duration_s, ending, shows_code, roommate
        )
