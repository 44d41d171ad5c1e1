"""
Plans a seeded demonstration school: places, outlets, doors, people, one tariff, one acceptance protection grant.

The plan is plain data (`plan.json`): the simulator builds devices from it, the backend seeds its tables from it.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from firmware_sim import makers_floor

_FAMILY = ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "韦", "覃", "莫", "梁", "农", "蒙"]
_GIVEN = [
    "一鸣",
    "子涵",
    "可欣",
    "浩然",
    "雨桐",
    "思源",
    "嘉怡",
    "俊杰",
    "梦洁",
    "志远",
    "晓彤",
    "文博",
    "佳琪",
    "天宇",
]
_FAMILY_EN = [
    "Wang",
    "Li",
    "Zhang",
    "Liu",
    "Chen",
    "Yang",
    "Zhao",
    "Huang",
    "Zhou",
    "Wu",
    "Wei",
    "Qin",
    "Mo",
    "Liang",
    "Nong",
    "Meng",
]
_GIVEN_EN = [
    "Yiming",
    "Zihan",
    "Kexin",
    "Haoran",
    "Yutong",
    "Siyuan",
    "Jiayi",
    "Junjie",
    "Mengjie",
    "Zhiyuan",
    "Xiaotong",
    "Wenbo",
    "Jiaqi",
    "Tianyu",
]

#: Pulses per cubic metre: a Hall sensor of 450 pulses a litre (`hardware/register_maps/chw.hwo1.toml`).
K_FACTOR_PULSES_PER_M3 = 450_000

#: enough for a minimum hold, not for a shower
POOR_MINOR = 60

TENANT_ID = "gxu"
OUTLET_MAP = "chw.hwo1"
DOOR_MAP = "chw.acr1"


@dataclass(frozen=True, slots=True)
class PlanSize:
    """How big a school to plan. Outlets are spread over the floors of each building, one gateway a building."""

    buildings: int = 2
    floors: int = 2
    outlets_per_floor: int = 4
    students: int = 24
    idle_limit_s: int = 30
    opening_minor: int = 5_000
    #: so many of the students have next to nothing in their wallets
    poor_students: int = 0
    volume_limit_ml: int = 150_000
    duration_limit_s: int = 900
    #: whether the first building has a floor of other makers' devices
    makers_floor: bool = False


def _place(place_id: str, parent_id: str | None, kind: str, name: str, name_en: str) -> dict[str, Any]:
    return {"place_id": place_id, "parent_id": parent_id, "kind": kind, "name": name, "name_en": name_en}


def _building(plan: dict[str, Any], number: int, size: PlanSize, port: int, public_key: str) -> None:
    building = f"pl_b{number}"
    chinese = "一二三四五六七八九"[number - 1]
    plan["places"].append(_place(building, "pl_campus", "building", f"{chinese}号公寓", f"Dormitory {number}"))
    gateway = f"gw_b{number}"
    line = {"line_id": f"b{number}", "transport": "tcp", "host": "127.0.0.1", "port": port}
    plan["gateways"].append({"gateway_id": gateway, "place_id": building, "public_key": public_key, "lines": [line]})
    for floor in range(1, size.floors + 1):
        floor_id = f"{building}_f{floor}"
        plan["places"].append(_place(floor_id, building, "floor", f"{floor} 层", f"Floor {floor}"))
        for position in range(1, size.outlets_per_floor + 1):
            unit = (floor - 1) * size.outlets_per_floor + position
            outlet = f"{floor_id}_o{position:02d}"
            name, name_en = f"{floor}{position:02d} 号淋浴", f"Shower {floor}{position:02d}"
            plan["places"].append(_place(outlet, floor_id, "outlet", name, name_en))
            plan["devices"].append(
                {
                    "device_id": f"dev_b{number}_{floor}{position:02d}",
                    "gateway_id": gateway,
                    "line_id": line["line_id"],
                    "unit": unit,
                    "kind": "outlet",
                    "map_id": OUTLET_MAP,
                    "place_id": outlet,
                    "name": name,
                    "name_en": name_en,
                    "scenario": "hot_water",
                    "k_factor_pulses_per_m3": K_FACTOR_PULSES_PER_M3,
                    "floor": floor,
                }
            )


def _library(plan: dict[str, Any], port: int, public_key: str) -> None:
    plan["places"].append(_place("pl_library", "pl_campus", "building", "图书馆", "Library"))
    plan["places"].append(_place("pl_library_gate", "pl_library", "door", "图书馆 1 号闸机", "Library gate 1"))
    line = {"line_id": "library", "transport": "tcp", "host": "127.0.0.1", "port": port}
    plan["gateways"].append(
        {"gateway_id": "gw_library", "place_id": "pl_library", "public_key": public_key, "lines": [line]}
    )
    plan["devices"].append(
        {
            "device_id": "dev_library_1",
            "gateway_id": "gw_library",
            "line_id": "library",
            "unit": 1,
            "kind": "door",
            "map_id": DOOR_MAP,
            "place_id": "pl_library_gate",
            "name": "图书馆 1 号闸机",
            "name_en": "Library gate 1",
            "scenario": "access",
            "k_factor_pulses_per_m3": 0,
        }
    )


def _people(rng: random.Random, size: PlanSize) -> list[dict[str, Any]]:
    staff = [
        ("facilities", "后勤 老韦", "Facilities Wei", ["facilities"]),
        ("finance", "财务 小覃", "Finance Qin", ["finance"]),
        ("admin", "管理员 老莫", "Admin Mo", ["admin"]),
        ("approver", "审批人 老梁", "Approver Liang", ["admin", "approver"]),
        ("desk", "图书馆前台", "Library desk", ["gate_desk"]),
    ]
    people: list[dict[str, Any]] = [
        {
            "login": login, "name": name, "name_en": name_en, "person_class": "staff", "roles": roles,
            "card_uid": None, "opening_minor": 0,
        }
        for login, name, name_en, roles in staff
    ]  # fmt: skip
    for number in range(1, size.students + 1):
        family, given = rng.randrange(len(_FAMILY)), rng.randrange(len(_GIVEN))
        people.append(
            {
                "login": f"s{number:03d}",
                "name": _FAMILY[family] + _GIVEN[given],
                "name_en": f"{_GIVEN_EN[given]} {_FAMILY_EN[family]}",
                "person_class": "student",
                "roles": ["student"],
                "card_uid": f"04{rng.getrandbits(48):012X}",
                "opening_minor": POOR_MINOR if number <= size.poor_students else size.opening_minor,
                "agreements": {brand: f"agr_{brand}_s{number:03d}" for brand in ("unionpay", "alipay")},
            }
        )
    return people


def build_plan(
    *, seed: int, size: PlanSize, ports: list[int], public_keys: dict[str, str], now: datetime
) -> dict[str, Any]:
    """
    Return the plan of a school; the same seed and size give the same people and places.

    :param ports: one Modbus TCP port per gateway, buildings first, the library last.
    :param public_keys: gateway id to its public key in base 64.
    """
    rng = random.Random(seed)
    plan: dict[str, Any] = {
        "seed": seed,
        "tenant": {
            "tenant_id": TENANT_ID, "name": "桂湖大学", "name_en": "Guihu University", "zone": "Asia/Shanghai",
            "currency": "CNY",
        },
        "places": [_place("pl_campus", None, "campus", "桂湖校区", "Guihu campus")],
        "gateways": [],
        "devices": [],
    }  # fmt: skip
    for number in range(1, size.buildings + 1):
        _building(plan, number, size, ports[number - 1], public_keys[f"gw_b{number}"])
    if size.makers_floor:
        makers_floor.add_to(plan, building=1)
    _library(plan, ports[size.buildings], public_keys["gw_library"])
    plan["people"] = _people(rng, size)
    began = (now - timedelta(days=30)).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    plan["tariffs"] = [
        {
            "tariff_id": "hot-water", "version": 12, "place_id": "pl_campus", "scenario": "hot_water",
            "name": "生活热水", "name_en": "Hot water", "active_from": began.isoformat(), "active_to": None,
            "price_minor_per_m3": 3_200, "fixed_minor": 0, "minimum_minor": 0, "free_below_ml": 100,
            "volume_limit_ml": size.volume_limit_ml, "duration_limit_s": size.duration_limit_s,
            "idle_limit_s": size.idle_limit_s, "minimum_hold_minor": 50,
        }
    ]  # fmt: skip
    plan["grants"] = [
        {
            "grant_id": "gr_demo_b1", "grantor": "桂湖大学", "brand": "unionpay", "scenario": "hot_water",
            "place_id": "pl_b1", "active_from": began.isoformat(),
            "active_to": (began + timedelta(days=5 * 365)).isoformat(), "mode": "exclusive",
            "exemptions": ["visitor", "provider_outage"], "consideration": "一号公寓热水系统改造",
            "document_sha256": "", "created_by": "admin", "approved_by": "approver",
        }
    ]  # fmt: skip
    return plan


def gateway_ids(size: PlanSize) -> list[str]:
    """Return the gateways that a plan of this size has, in the order of their ports."""
    return [f"gw_b{number}" for number in range(1, size.buildings + 1)] + ["gw_library"]
