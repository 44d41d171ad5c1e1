"""
Whether a door opens and why. The first line of this table that applies is the reason:

    the credential      unknown_credential, frozen, expired, replayed, visitor_not_valid
    the person          wrong_zone           their class may not use this door
    the proof           low_assurance        the door asks for more than a card's number
    the time            outside_hours        weekly, half open, in the school's zone
    the door            door_faulty          it has a fault during which it must not be moved
    otherwise           ok

Leaving is never refused for class, proof or time.
"""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

#: What each refusal of `cardholders` is called at a door. A forged code looks like an unknown one.
CREDENTIAL_REASONS = {
    "credential_unknown": "unknown_credential",
    "code_malformed": "unknown_credential",
    "credential_frozen": "frozen",
    "cardholder_inactive": "frozen",
    "code_expired": "expired",
    "code_replayed": "replayed",
    "visitor_not_valid": "visitor_not_valid",
}

#: At most 32 characters, for the reader's display.
DISPLAYS = {
    "ok": "请通行 Welcome",
    "unknown_credential": "无法识别 Not recognized",
    "frozen": "已冻结 Frozen",
    "expired": "二维码过期 Code expired",
    "replayed": "二维码已用 Code already used",
    "visitor_not_valid": "访客证无效 Pass not valid",
    "wrong_zone": "无此门权限 Not your zone",
    "low_assurance": "请用二维码 Use your code",
    "outside_hours": "非开放时间 Closed now",
    "door_faulty": "设备故障 Door out of order",
}


@dataclass(frozen=True, slots=True)
class OpenHours:
    """A door's opening on one weekday (Monday is 0), from one minute of the day up to, not including, another."""

    weekday: int
    from_minute: int
    to_minute: int

    def __post_init__(self) -> None:
        assert 0 <= self.weekday <= 6, "weekdays are 0 to 6"
        assert 0 <= self.from_minute < self.to_minute <= 24 * 60, "hours lie within one day"


ALWAYS = tuple(OpenHours(weekday, 0, 24 * 60) for weekday in range(7))


@dataclass(frozen=True, slots=True)
class DoorPolicy:
    """Who may pass a door, with what proof, and when."""

    tenant_id: str
    device_id: str
    person_classes: frozenset[str]
    minimum_assurance: int = 0
    hours: tuple[OpenHours, ...] = ALWAYS
    open_ms: int = 5_000


def is_open(hours: tuple[OpenHours, ...], zone: ZoneInfo, now: datetime) -> bool:
    """Return whether a time lies in weekly hours, read on the zone's own clock."""
    local = now.astimezone(zone)
    minute = local.hour * 60 + local.minute
    return any(each.weekday == local.weekday() and each.from_minute <= minute < each.to_minute for each in hours)


def decide_door(
    *,
    credential_reason: str | None,
    person_class: str,
    assurance: int,
    policy: DoorPolicy,
    zone: ZoneInfo,
    direction: str,
    is_faulty: bool,
    now: datetime,
) -> str:
    """Return `ok` or the reason a door stays closed. `credential_reason` is None when the credential was resolved."""
    if credential_reason is not None:
        return credential_reason
    if direction != "out":
        if person_class not in policy.person_classes:
            return "wrong_zone"
        if assurance < policy.minimum_assurance:
            return "low_assurance"
        if not is_open(policy.hours, zone, now):
            return "outside_hours"
    return "door_faulty" if is_faulty else "ok"


def masked_name(name: str) -> str:
    """Return a name as the gate desk sees it: the first character of each word, the rest as asterisks or a dot."""
    words = name.split()
    if not words:
        return ""
    if name.isascii():
        return " ".join(f"{word[0]}." for word in words)
    return name[0] + "*" * max(1, len(name) - 1)


def inside_after(passages: list[tuple[str, str]]) -> int:
    """Return how many people are inside after (direction, outcome) in order, starting empty and never below none."""
    inside = 0
    for direction, outcome in passages:
        if outcome in ("passed", "tailgate"):
            inside = max(0, inside + (1 if direction == "in" else -1))
    return inside
