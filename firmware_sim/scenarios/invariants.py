"""
What must hold, as pure functions from what was seen to what is wrong.

Two kinds: those that hold at any moment are checked after every step, all listed ones when everybody has gone home.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from firmware_sim.report import Audit, audit, charge_minor

ENDED = {"settled", "voided", "refused"}
_GAPS = ("register_gap", "register_reset")
#: as much may run by between two sessions without anybody's bill; more is somebody's shower
GAP_ML_MAX = 2_000


@dataclass(slots=True, kw_only=True)
class Evidence:
    """One look at a school: the backend's API, the providers' books, and last of all the devices themselves."""

    plan: Mapping[str, Any]
    sessions: Sequence[Mapping[str, Any]]
    ledger: Mapping[str, int]
    devices: Sequence[Mapping[str, Any]]
    #: None while the provider is down
    orders: Sequence[Mapping[str, Any]] | None
    #: what is only known in the end
    breaks: Sequence[Mapping[str, Any]] = ()
    device_log: Sequence[Mapping[str, Any]] = ()
    #: what cheats got, who was turned away with which code, whose shower went wrong
    cheated: Sequence[str] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    failed: Sequence[str] = ()
    #: planned cheats that nobody could try, planned mishaps that did not happen
    untried: Sequence[str] = ()
    #: who came to shower, how many showers were settled, and which share of them must be
    came: int = 0
    served: int = 0
    served_share: float = 0.0
    #: outlets whose pipes were broken on purpose: their gaps may be of any size
    broken_pipes: frozenset[str] = frozenset()
    #: what the follower of all steps still waits for, by the name of the invariant
    left: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def gaps(self) -> Counter[tuple[str, int]]:
        """Return device and pulses of every gap that reconciliation lists."""
        return Counter((each["subject"], int(each["pulses"])) for each in self.breaks if each["kind"] in _GAPS)

    def audit(self) -> Audit:
        """Return sessions held against the devices' own records."""
        return audit(
            plan=dict(self.plan),
            device_log=[dict(each) for each in self.device_log],
            sessions=[dict(each) for each in self.sessions],
            explained_gaps=self.gaps(),
        )


def books_balance(seen: Evidence) -> list[str]:
    """Return whether debits and credits differ anywhere."""
    return [
        f"{kind} debits {seen.ledger[f'debits_{kind}']} and credits {seen.ledger[f'credits_{kind}']} differ"
        for kind in ("posted", "pending")
        if seen.ledger[f"debits_{kind}"] != seen.ledger[f"credits_{kind}"]
    ]


def captured_within_hold(seen: Evidence) -> list[str]:
    """Return sessions that captured what they may not."""
    found = []
    for session in seen.sessions:
        captured = session["captured_minor"] or 0
        if captured > session["hold_minor"]:
            found.append(f"{session['water_session_id']} captured {captured} of a hold of {session['hold_minor']}")
        if captured and session["state"] != "settled":
            found.append(f"{session['water_session_id']} is {session['state']} and yet captured {captured}")
    doubled = [auth_id for auth_id, times in Counter(s["auth_id"] for s in seen.sessions).items() if times > 1]
    return found + [f"{auth_id} pays for more than one session" for auth_id in doubled if auth_id]


def billed_within_register(seen: Evidence) -> list[str]:
    """Return outlets that were billed for more than their register ever counted."""
    billed: Counter[str] = Counter()
    for session in seen.sessions:
        if session["state"] == "settled":
            billed[session["device_id"]] += session["closing_pulses"] - session["opening_pulses"]
    registers = {each["device"]: each["total_pulses"] for each in seen.devices if "total_pulses" in each}
    return [
        f"{device}: billed {pulses} pulses of a register of {registers[device]}"
        for device, pulses in sorted(billed.items())
        if device in registers and pulses > registers[device]
    ]


def open_without_session(seen: Evidence) -> list[str]:
    """Return outlets whose valve is open although nobody's session runs there."""
    live = {session["device_id"] for session in seen.sessions if session["state"] not in ENDED}
    return [each["device"] for each in seen.devices if each.get("valve_open") and each["device"] not in live]


def taken_twice(seen: Evidence) -> list[str]:
    """Return provider orders that took money more than once."""
    return [f"{order['order_no']} took {order['times_taken']} times" for order in seen.orders or ()
            if order["times_taken"] > 1]  # fmt: skip


def nothing_held(seen: Evidence) -> list[str]:
    """Return what has not ended."""
    found = [
        f"{session['water_session_id']} has not ended: {session['state']}"
        for session in seen.sessions
        if session["state"] not in ENDED
    ]
    if seen.ledger["debits_pending"]:
        found.append(f"{seen.ledger['debits_pending']} minor units are still held")
    forgotten = [order for order in seen.orders or () if order["status"] == "held"]
    return found + [f"{order['brand']} still holds {order['order_no']}" for order in forgotten]


def billed_as_counted(seen: Evidence) -> list[str]:
    """Return bills that are not their device's own pulses at the tariff, once."""
    return seen.audit().bills_wrong


def every_pulse_explained(seen: Evidence) -> list[str]:
    """Return pulses that are neither billed nor free nor a gap that reconciliation lists."""
    found = seen.audit().registers_wrong
    used: Counter[str] = Counter()
    for session in seen.sessions:
        if session["closing_pulses"] is not None and session["opening_pulses"] is not None:
            used[session["device_id"]] += session["closing_pulses"] - session["opening_pulses"]
    factors = {each["device_id"]: each.get("k_factor_pulses_per_m3") or 0 for each in seen.plan["devices"]}
    for each in seen.breaks:
        if each["kind"] == "register_gap":
            device, pulses = each["subject"], int(each["pulses"])
            used[device] += pulses
            volume_ml = abs(pulses) * 1_000_000 // (factors.get(device) or 1)
            if volume_ml > GAP_ML_MAX and device not in seen.broken_pipes:
                found.append(f"{device}: a gap of {volume_ml} ml is a shower that nobody was billed for")
        elif each["kind"] != "register_reset":
            found.append(f"reconciliation found {each['kind']}: {each['subject']}, {each['cause']}")
    for each in seen.devices:
        if "total_pulses" in each and each["total_pulses"] != used[each["device"]]:
            found.append(f"{each['device']}: {used[each['device']]} pulses explained of {each['total_pulses']}")
    readable = {each["device"] for each in seen.devices if "total_pulses" in each}
    billing = [raw["device_id"] for raw in seen.plan["devices"] if raw.get("opens", True)]
    missing = [device for device in billing if factors[device] and device not in readable]
    return found + [f"{device}: nobody can read its register" for device in missing]


def no_breaks(seen: Evidence) -> list[str]:
    """Return every break."""
    return [f"{each['kind']} at {each['subject']}: {each['cause']}" for each in seen.breaks]


def valves_shut(seen: Evidence) -> list[str]:
    """Return valves that are still open."""
    return [f"{each['device']} is still open" for each in seen.devices if each.get("valve_open")]


def provider_agrees(seen: Evidence) -> list[str]:
    """Return where a provider's takings are not what sessions captured by it."""
    if seen.orders is None:
        return ["the provider does not answer"]
    took: Counter[str] = Counter()
    captured: Counter[str] = Counter()
    for order in seen.orders:
        taken = order["captured_minor"]
        if order["kind"] == "charge":
            taken = order["amount_minor"] if order["times_taken"] and order["status"] != "voided" else 0
        took[order["brand"]] += taken - order["refunded_minor"]
    for session in seen.sessions:
        if session["method"] != "wallet":
            captured[session["method"]] += session["captured_minor"] or 0
    return taken_twice(seen) + [
        f"{brand} took {took[brand]}, sessions captured {captured[brand]}"
        for brand in sorted({*took, *captured})
        if took[brand] != captured[brand]
    ]


def cheats_fail(seen: Evidence) -> list[str]:
    """Return what cheats got."""
    return list(seen.cheated)


def everybody_served(seen: Evidence) -> list[str]:
    """Return who was turned away or whose shower went wrong."""
    return [f"{times} times refused: {code}" for code, times in sorted(seen.refused.items())] + list(seen.failed)


def most_served(seen: Evidence) -> list[str]:
    """Return whether too few people got their shower for the rest to prove anything."""
    if seen.served >= seen.came * seen.served_share and (seen.came or not seen.served_share):
        return []
    return [f"{seen.served} showers were settled of {seen.came} people; it must be {seen.served_share:.0%}"]


def everything_tried(seen: Evidence) -> list[str]:
    """Return which planned cheats and mishaps never took place."""
    return list(seen.untried)


def one_price(seen: Evidence) -> list[str]:
    """Return bills and live figures that are not the tariff's price of their pulses."""
    tariff = seen.plan["tariffs"][0]
    found = []
    for session in seen.sessions:
        opening, closing, k_factor = (session.get(name) for name in (
            "opening_pulses", "closing_pulses", "k_factor_pulses_per_m3"))  # fmt: skip
        if session["state"] != "settled" or opening is None or closing is None or not k_factor:
            continue
        due = charge_minor(pulses=closing - opening, k_factor_pulses_per_m3=k_factor, tariff=tariff)
        if session["charge_minor"] != due:
            found.append(f"{session['water_session_id']} is charged {session['charge_minor']}; the tariff says {due}")
    return found


def _followed(seen: Evidence) -> list[str]:
    """Return nothing: the follower of all steps judges it, and what it still waits for is added to each."""
    return []


#: at any moment; `open_without_session` needs a second look and is the watch's own
ALWAYS: Mapping[str, Callable[[Evidence], list[str]]] = {
    "books_balance": books_balance,
    "captured_within_hold": captured_within_hold,
    "billed_as_counted": billed_within_register,
    "provider_agrees": taken_twice,
    "one_price": one_price,
}
IN_THE_END: Mapping[str, Callable[[Evidence], list[str]]] = {
    "books_balance": books_balance,
    "captured_within_hold": captured_within_hold,
    "nothing_held": nothing_held,
    "billed_as_counted": billed_as_counted,
    "every_pulse_explained": every_pulse_explained,
    "no_breaks": no_breaks,
    "valves_shut": valves_shut,
    "provider_agrees": provider_agrees,
    "cheats_fail": cheats_fail,
    "everybody_served": everybody_served,
    "most_served": most_served,
    "everything_tried": everything_tried,
    "one_price": one_price,
    "charged_once": _followed,
    "nothing_lost": _followed,
    "tenants_apart": _followed,
}
#: about what people lived through: no waiting changes it any more
PAST = frozenset({"cheats_fail", "everybody_served", "most_served", "everything_tried"})
#: asked in the end of every scenario: without them the others may hold because nothing happened
UNASKED = ("one_price", "charged_once", "nothing_lost", "tenants_apart", "most_served", "everything_tried")
