"""The demo plan: one file that the simulator, the gateway, the seed and the supervisor all read. Checked when read."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from backend.errors import BackendError

PersonClass = Literal["student", "staff", "visitor"]
Role = Literal["student", "facilities", "admin", "approver", "gate_desk", "finance"]


class PlanMalformed(BackendError):
    """The plan is not what a plan must be; the message says where."""

    code = "plan_malformed"


class PlannedTenant(msgspec.Struct, frozen=True):
    """A school."""

    tenant_id: str
    name: str
    name_en: str
    zone: str = "Asia/Shanghai"
    currency: str = "CNY"


class PlannedPlace(msgspec.Struct, frozen=True):
    """A node of the place tree."""

    place_id: str
    parent_id: str | None
    kind: str
    name: str
    name_en: str


class PlannedLine(msgspec.Struct, frozen=True):
    """A Modbus line of a gateway."""

    line_id: str
    host: str
    port: int
    transport: str = "tcp"
    timeout_ms: int = 300


class PlannedGateway(msgspec.Struct, frozen=True):
    """A gateway with its lines; without a `state_dir` it keeps its state beside its configuration."""

    gateway_id: str
    place_id: str
    public_key: str
    lines: list[PlannedLine]
    state_dir: str | None = None


class PlannedHours(msgspec.Struct, frozen=True):
    """Hours of a door on one weekday, Monday is 0; minutes of the day, half open."""

    weekday: int
    from_minute: int
    to_minute: int


class PlannedDoor(msgspec.Struct, frozen=True):
    """Who may pass a door; without hours it is always open to them."""

    person_classes: list[PersonClass] = msgspec.field(default_factory=lambda: ["student", "staff", "visitor"])
    minimum_assurance: int = 0
    hours: list[PlannedHours] | None = None


class PlannedDevice(msgspec.Struct, frozen=True):
    """An outlet or a door on a line."""

    device_id: str
    gateway_id: str
    line_id: str
    unit: int
    kind: str
    map_id: str
    place_id: str
    name: str
    name_en: str
    scenario: str
    k_factor_pulses_per_m3: int = 0
    door: PlannedDoor = PlannedDoor()


class PlannedPass(msgspec.Struct, frozen=True):
    """A visitor's pass."""

    not_before: datetime
    not_after: datetime
    uses: int | None = None


class PlannedPerson(msgspec.Struct, frozen=True):
    """A person with roles, perhaps a card and an opening balance."""

    login: str
    name: str
    name_en: str
    person_class: PersonClass
    roles: list[Role]
    card_uid: str | None = None
    opening_minor: int = 0
    visitor_pass: PlannedPass | None = None
    #: standing agreements with external methods, by method
    agreements: dict[str, str] = {}


class PlannedGrant(msgspec.Struct, frozen=True):
    """An acceptance grant; `created_by` and `approved_by` are logins."""

    grant_id: str
    grantor: str
    brand: str
    scenario: str
    place_id: str
    active_from: datetime
    active_to: datetime
    mode: str = "exclusive"
    exemptions: list[str] = []
    consideration: str = ""
    document_sha256: str = ""
    status: str = "approved"
    created_by: str | None = None
    approved_by: str | None = None


class PlannedTariff(msgspec.Struct, frozen=True):
    """A tariff version."""

    tariff_id: str
    version: int
    place_id: str
    scenario: str
    name: str
    name_en: str
    active_from: datetime
    price_minor_per_m3: int
    active_to: datetime | None = None
    fixed_minor: int = 0
    minimum_minor: int = 0
    free_below_ml: int = 0
    volume_limit_ml: int = 60_000
    duration_limit_s: int = 900
    idle_limit_s: int = 60
    minimum_hold_minor: int = 0


class Plan(msgspec.Struct, frozen=True):
    """Everything of a school that a first run needs."""

    tenant: PlannedTenant
    places: list[PlannedPlace]
    gateways: list[PlannedGateway]
    devices: list[PlannedDevice]
    people: list[PlannedPerson]
    tariffs: list[PlannedTariff]
    grants: list[PlannedGrant] = []
    seed: int = 0


def read_plan(plan: dict[str, Any]) -> Plan:
    """
    Return a plan with types; keys it does not know belong to other readers and are left alone.

    :raises PlanMalformed: naming the place and what is missing or wrong there.
    """
    try:
        read = msgspec.convert(plan, Plan)
    except msgspec.ValidationError as error:
        raise PlanMalformed(f"plan: {error}") from error
    moments = [(tariff.tariff_id, tariff.active_from, tariff.active_to) for tariff in read.tariffs]
    moments += [(grant.grant_id, grant.active_from, grant.active_to) for grant in read.grants]
    for name, *times in moments:
        if any(time is not None and time.tzinfo is None for time in times):
            raise PlanMalformed(f"plan: times of {name} need a zone, for example 2026-09-01T00:00:00+08:00")
    return read
