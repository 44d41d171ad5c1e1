"""
A second school in the same stack: one house with one outlet, its own gateway, two students and a staff.

Its people bear the same logins, names and cards as the first school's, its tariff and places the same ids: whatever
keeps the two apart only by luck mixes them up. What it must never see is in its own words: outlet, gateway, line.
"""

import copy
from collections.abc import Mapping
from typing import Any

from firmware_sim.campus import Visit

TENANT_ID = "nhu"
GATEWAY_ID = "gw_next_door"
DEVICE_ID = "dev_next_door_1"
LINE_ID = "next_door"
STUDENTS = ("s001", "s002")
_STAFF = ("facilities", "finance", "admin", "approver")


def neighbor_of(plan: Mapping[str, Any], *, port: int, public_key: str) -> dict[str, Any]:
    """Return the plan of the school next door to a planned one."""
    outlet = next(raw for raw in plan["devices"] if raw["kind"] == "outlet")
    house = outlet["gateway_id"].removeprefix("gw_")
    wanted = {"pl_campus", f"pl_{house}", f"pl_{house}_f1", outlet["place_id"]}
    people = [person for person in plan["people"] if person["login"] in (*_STAFF, *STUDENTS)]
    own: dict[str, Any] = {
        "seed": plan["seed"],
        "tenant": {**plan["tenant"], "tenant_id": TENANT_ID, "name": "邻湖大学", "name_en": "Linhu University"},
        "places": [place for place in plan["places"] if place["place_id"] in wanted],
        "gateways": [
            {
                "gateway_id": GATEWAY_ID,
                "place_id": f"pl_{house}",
                "public_key": public_key,
                "lines": [{"line_id": LINE_ID, "transport": "tcp", "host": "127.0.0.1", "port": port}],
            }
        ],
        "devices": [
            {**outlet, "device_id": DEVICE_ID, "gateway_id": GATEWAY_ID, "line_id": LINE_ID, "unit": 1},
        ],
        "people": [{**person, "opening_minor": person["opening_minor"] and 5_000} for person in people],
        "tariffs": plan["tariffs"],
        "grants": [],
    }
    return copy.deepcopy(own)


def site_of(plan: Mapping[str, Any], neighbor: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return one plan of all devices, for the process that simulates them."""
    other = neighbor or {"gateways": [], "devices": []}
    devices = [*plan["devices"], *other["devices"], *plan.get("parts", [])]
    return {**plan, "gateways": [*plan["gateways"], *other["gateways"]], "devices": devices}


def marks_of(plan: Mapping[str, Any], demo: Mapping[str, Any]) -> frozenset[str]:
    """Return words that stand in nobody's messages and rows but this school's: its devices, gateways and stickers."""
    stickers = [str(url).rsplit("/", 1)[-1] for url in demo.get("stickers", {}).values()]
    return frozenset(
        [*(raw["device_id"] for raw in plan["devices"]), *(raw["gateway_id"] for raw in plan["gateways"]), *stickers]
    )


def visit_of(neighbor: Mapping[str, Any], number: int) -> Visit:
    """Return the n-th shower next door: students take turns, each from the page with their wallet."""
    people = {person["login"]: person for person in neighbor["people"]}
    person = people[STUDENTS[number % len(STUDENTS)]]
    return Visit(person["login"], person["card_uid"], DEVICE_ID, "page", "wallet", 3.0, "stop")
