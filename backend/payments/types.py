"""What the payments keep and hand out."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """Where an authorization is. `unknown` means sent and not answered; nobody may send it again."""

    REQUESTED = "requested"
    HELD = "held"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    CAPTURED = "captured"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Authorization:
    """Money promised for one water session: held, or for methods that cannot hold, charged as a deposit."""

    tenant_id: str
    auth_id: str
    water_session_id: str
    cardholder_id: str
    method: str
    amount_minor: int
    captured_minor: int
    state: State
    reason: str
    created_at: datetime
    expires_at: datetime
    capture_id: str | None = None
    late_success: bool = False
    #: what the provider calls it
    provider_ref: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What one purse, or the provider, gave to an authorization; `captured_minor` of it was spent."""

    purse: str
    held_minor: int
    captured_minor: int


class TopUpState(StrEnum):
    """Where a top-up is. `checking` means the provider has not said yet."""

    CHECKING = "checking"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class TopUp:
    """Money a cardholder moves from an external provider into the wallet."""

    tenant_id: str
    top_up_id: str
    cardholder_id: str
    method: str
    amount_minor: int
    state: TopUpState
    reason: str
    created_at: datetime
    late_success: bool = False
    #: what the provider calls it
    provider_ref: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """Something still to be said to or asked of a provider, or the record that it was."""

    tenant_id: str
    operation_id: str
    kind: str
    order_id: str
    method: str
    amount_minor: int
    status: str
    attempts: int
    #: also the time the provider is told, the same on every attempt
    created_at: datetime
    #: when it first went out; until then the provider cannot know of it
    sent_at: datetime | None
    #: when the provider was last asked to do it or asked about it
    asked_at: datetime | None
    next_at: datetime
    answer: str
    #: who answered: the call, a query, a notification, a statement
    answered_by: str
    #: what the provider knows it by
    number: str


@dataclass(frozen=True, slots=True)
class Refund:
    """Captured money on its way back: `requested`, `done`, or `refused` by the provider and still owed."""

    tenant_id: str
    refund_id: str
    auth_id: str
    water_session_id: str
    cardholder_id: str
    method: str
    amount_minor: int
    state: str
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Ack:
    """What a provider's notification is answered with."""

    status: int
    content_type: str
    body: bytes
