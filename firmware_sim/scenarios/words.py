"""Every word a scenario file may use: sections and their keys, faults and their parameters, invariants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from firmware_sim.mishaps import PIPE_FAULTS

Kind = Literal["integer", "number", "text", "flag", "clock", "choice", "choices", "weights", "device", "building"]


@dataclass(frozen=True, slots=True)
class Key:
    """What a key may hold. A default of None is a key that must be there."""

    kind: Kind
    default: Any = None
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    optional: bool = False
    #: weights that are counts
    is_whole: bool = False


def _whole(default: int | None, low: int, high: int) -> Key:
    return Key("integer", default, low, high)


def _number(default: float | None, low: float, high: float) -> Key:
    return Key("number", default, low, high)


def _share(default: float | None) -> Key:
    return Key("number", default, 0, 1)


#: how a shower ends: `forget` leaves the water running, `walk_away` shuts the mixer and says nothing, `hand_over` is a
#: roommate's card at the reader
ENDINGS = ("stop", "card", "close_tap", "walk_away", "forget", "hand_over")
CHEATS = (
    "replay_code",
    "swap_sticker",
    "unplug_sensor",
    "lost_card",
    "double_start",
    "force_gate",
    "unknown_card",
    "meter_only",
)

SECTIONS: Mapping[str, Mapping[str, Key]] = {
    "scenario": {"title": Key("text"), "seed": _whole(7, 0, 2**31)},
    "school": {
        "buildings": _whole(1, 1, 4),
        "floors": _whole(1, 1, 9),
        "outlets_per_floor": _whole(4, 1, 12),
        "students": _whole(24, 1, 400),
        "poor_students": _whole(0, 0, 400),
        "opening_minor": _whole(5_000, 0, 1_000_000),
        "idle_limit_s": _whole(4, 2, 600),
        "volume_limit_ml": _whole(150_000, 500, 200_000),
        "duration_limit_s": _whole(900, 5, 1_800),
        "makers_floor": Key("flag", False),
        "neighbor": Key("flag", True),
    },
    "people": {
        "showers": _whole(10, 1, 2_000),
        "at_once": _whole(8, 1, 200),
        "pause_s": _number(0.05, 0, 60),
        "mean_s": _number(5.0, 1, 1_800),
        "sigma": _number(0.4, 0, 2),
        "shortest_s": _number(2.0, 0, 600),
        "longest_s": _number(12.0, 1, 3_600),
        "card_share": _share(0.4),
        "wallet_share": _share(0.7),
        "pause_share": _share(0.0),
        "endings": Key("weights", {"stop": 0.55, "card": 0.15, "close_tap": 0.15, "walk_away": 0.15}, choices=ENDINGS),
        "cheats": Key("weights", {}, choices=CHEATS, is_whole=True),
    },
    "day": {
        "from": Key("clock"),
        "to": Key("clock"),
        "lasts_s": _number(None, 10, 86_400),
        "per_person": _number(1.0, 0, 10),
    },
    "physics": {
        "demand_sigma": _number(0.06, 0, 1),
        "mixed_degc": _number(40.0, 30, 47),
        "ambient_degc": _number(20.0, -20, 45),
        "day_of_year": _whole(120, 1, 366),
        "flushes_per_hour": _number(0.0, 0, 10_000),
        "wear": _number(0.0, 0, 100_000),
        "years_in_service": _number(0.0, 0, 20),
    },
    "chance": {
        "cuts": _number(0.0, 0, 100_000),
        "clocks": _number(0.0, 0, 5_000),
        "dead_batteries": _share(0.0),
        "leaks": _number(0.0, 0, 100),
        "k_spread": Key("flag", False),
    },
    "uplink": {"duplicate": _share(0.0), "lose": _share(0.0), "delay_ms": _whole(0, 0, 5_000)},
    "ends": {"invariants": Key("choices"), "settle_within_s": _number(90.0, 1, 900), "served_share": _share(0.5)},
}

_SECONDS = Key("number", None, 0.05, 3_600)
_BUILDING = Key("building", optional=True)
_DEVICE = Key("device", optional=True)

#: what may go wrong with frames, by the names of `firmware_sim.noise.Noise`; shares are per frame, `ber` per bit
NOISES: Mapping[str, Key] = {
    "ber": Key("number", 0.0, 0, 0.01),
    **{name: _share(0.0) for name in ("lost_request", "lost", "late", "duplicated", "truncated", "echoed", "glued",
                                      "wrong_unit", "babbling")},
    "late_ms": _whole(500, 0, 60_000),
    "dead": Key("flag", False),
}  # fmt: skip

FAULTS: Mapping[str, Mapping[str, Key]] = {
    "power_cut": {"building": _BUILDING, "device": _DEVICE, "seconds": _SECONDS, "hard": Key("flag", False),
                  "gateway": Key("flag", False)},
    "hand_tap": {"device": Key("device"), "seconds": _SECONDS},
    "brown_out": {"building": _BUILDING, "seconds": _SECONDS},
    "reset": {"device": Key("device")},
    "pipe": {"device": Key("device"), "what": Key("choice", choices=tuple(PIPE_FAULTS)), "seconds": _SECONDS},
    "silent": {"device": Key("device"), "seconds": _SECONDS},
    "line_noise": {"building": _BUILDING, "device": _DEVICE, "seconds": _SECONDS, **NOISES},
    "clock_drift": {"building": _BUILDING, "device": _DEVICE, "ppm": Key("number", None, -100_000, 100_000)},
    "clock_loss": {"building": _BUILDING, "device": _DEVICE},
    "uplink_cut": {"seconds": _SECONDS},
    "uplink_noise": {"seconds": _SECONDS, "duplicate": _share(0.0), "lose": _share(0.0),
                     "delay_ms": _whole(0, 0, 5_000)},
    "broker_outage": {"seconds": _SECONDS},
    "provider_outage": {"seconds": _SECONDS},
    "provider_trouble": {
        "behaviour": Key("choice", choices=("decline", "delay", "timeout_before", "timeout_after", "duplicate",
                                            "notify_none", "notify_late", "notify_duplicate", "notify_forged")),
        "verb": Key("choice", "", choices=("", "authorize", "capture", "void", "refund", "query")),
        "times": _whole(1, 1, 50),
    },
    "gateway_crash": {"building": Key("building"), "seconds": _SECONDS},
    "server_crash": {"part": Key("choice", choices=("serve", "worker")), "seconds": _SECONDS},
}  # fmt: skip

INVARIANTS: Mapping[str, str] = {
    "books_balance": "posted and pending debits equal credits, at every look and in the end",
    "captured_within_hold": "no session captured more than its hold, and none that is not settled captured anything",
    "nothing_held": "every session has ended and no hold is left",
    "billed_as_counted": "each session is billed once, from its device's own register pair, by the tariff",
    "every_pulse_explained": "what a device counted is billed, free, or a gap that reconciliation lists, to the pulse",
    "no_breaks": "reconciliation finds nothing to explain",
    "valves_shut": "no valve is open without a live session, at any look, and none in the end",
    "provider_agrees": "no order was taken twice and providers took exactly what sessions captured",
    "cheats_fail": "nobody who tried to cheat got water, a second session or a passage for it",
    "one_price": "each bill is what the tariff says for its pulses, reckoned a second time (always checked)",
    "charged_once": "no session is paid twice: by an order, an authorization or a settlement (always checked)",
    "nothing_lost": "what a gateway was told is kept is stored, and in the end all it told is (always checked)",
    "tenants_apart": "the school next door and this one see nothing of each other (always checked)",
    "most_served": "at least served_share of the people who came got their shower (always checked)",
    "everything_tried": "every planned cheat was tried and every planned mishap happened (always checked)",
    "everybody_served": "nobody was turned away and nobody's shower went wrong",
}
