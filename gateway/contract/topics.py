"""Topic names: `ct/v1/{tenant}/{gateway}/up|down/{kind}`. Nothing on `down` is ever retained."""

import re
from dataclasses import dataclass
from enum import StrEnum

_PART = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

#: The most seconds a message on `down` may wait in a broker.
DOWN_EXPIRY_S = 30


class Up(StrEnum):
    """Kinds of message that come up; the value is the topic's last part."""

    HELLO = "hello"
    GONE = "gone"
    EVENT = "event"  # EventBatch, journaled
    TELEMETRY = "telemetry"  # TelemetryBatch
    HEALTH = "health"  # HealthReport
    PRESENT = "present"  # CredentialPresented


class Down(StrEnum):
    """Kinds of message that go down."""

    COMMAND = "command"  # CommandMessage
    ACK = "ack"  # Acknowledged
    DECISION = "decision"  # Decision


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message came from or goes to."""

    tenant: str
    gateway: str
    direction: str
    kind: str


class MalformedTopic(ValueError):
    """The topic is not one of ours."""


def _checked(part: str) -> str:
    if not _PART.fullmatch(part):
        raise MalformedTopic(f"{part!r} cannot stand in a topic: small letters, digits, - and _ only")
    return part


def up(tenant: str, gateway: str, kind: Up) -> str:
    """Return the topic a gateway publishes this kind on."""
    return f"ct/v1/{_checked(tenant)}/{_checked(gateway)}/up/{kind.value}"


def down(tenant: str, gateway: str, kind: Down) -> str:
    """Return the topic a gateway receives this kind on."""
    return f"ct/v1/{_checked(tenant)}/{_checked(gateway)}/down/{kind.value}"


def down_filter(tenant: str, gateway: str) -> str:
    """Return the one filter a gateway subscribes to."""
    return f"ct/v1/{_checked(tenant)}/{_checked(gateway)}/down/#"


def parse(topic: str) -> Address:
    """
    Return who a topic speaks of.

    :raises MalformedTopic: if it is not a topic of this contract.
    """
    parts = topic.split("/")
    if len(parts) != 6 or parts[:2] != ["ct", "v1"] or parts[4] not in ("up", "down"):
        raise MalformedTopic(f"{topic!r} is not ct/v1/tenant/gateway/up|down/kind")
    kinds = Up if parts[4] == "up" else Down
    if parts[5] not in [kind.value for kind in kinds]:
        raise MalformedTopic(f"{topic!r} has an unknown kind")
    return Address(_checked(parts[2]), _checked(parts[3]), parts[4], parts[5])
