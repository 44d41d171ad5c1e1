"""What the API of money takes and hands out, beside what the payments hand out themselves."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from backend.payments import people_rules
from backend.payments.cases import NOTE_CHARS_MAX


class Problem(BaseModel):
    """A refusal. `code` is stable; the answer's `x-request-id` header names the request in our log."""

    code: str
    message_zh: str
    message_en: str
    details: dict[str, Any]


RequestId = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{8,48}$", description="minted by whoever asks")]
Amount = Annotated[int, Field(strict=True, ge=1, le=10**10, description="in fen")]
Words = Annotated[str, Field(max_length=people_rules.REASON_CHARS_MAX + 100)]

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """Part of a list, newest first. `next` is passed as `after` for the rest; null at the end."""

    items: list[T]
    next: str | None


class PurseOut(BaseModel):
    """One purse; `own_minor` of it is the person's own money, the rest is the school's."""

    purse: str
    posted_minor: int
    held_minor: int
    available_minor: int
    own_minor: int


class PursesOut(BaseModel):
    """A person's purses in the order they are spent, and which may give to which."""

    purses: list[PurseOut]
    transfers: list[dict[str, str]]


class TransferBody(BaseModel):
    """A transfer between one's own purses."""

    request_id: RequestId
    from_purse: str = Field(max_length=16)
    to_purse: str = Field(max_length=16)
    amount_minor: Amount


class DisputeBody(BaseModel):
    """What is wrong with a charge: no_water, wrong_amount, not_me, too_cold or other."""

    request_id: RequestId
    water_session_id: str = Field(max_length=64)
    reason: str = Field(max_length=16)
    text: str = Field(default="", max_length=people_rules.DISPUTE_TEXT_CHARS_MAX)


class OwnDispute(BaseModel):
    """A dispute as its owner sees it."""

    dispute_id: str
    water_session_id: str
    reason: str
    text: str
    state: str
    created_at: datetime
    amount_minor: int
    answer: str
    decided_at: datetime | None


class NoteBody(BaseModel):
    """Words for the record."""

    note: str = Field(default="", max_length=NOTE_CHARS_MAX)


class EntryBody(BaseModel):
    """
    A proposed entry. A refund names its authorization in `subject_id`; a manual entry its two accounts and, if any,
    what it refers to in `subject_id`.
    """

    request_id: RequestId
    kind: Literal["cash_top_up", "manual", "refund"]
    cardholder_id: str = Field(default="", max_length=64)
    amount_minor: Amount
    reason: Words
    debit_account_id: str = Field(default="", max_length=160)
    credit_account_id: str = Field(default="", max_length=160)
    subject_id: str = Field(default="", max_length=64)


class DecisionBody(BaseModel):
    """What finance decides on a dispute: an amount upholds it, zero rejects it. The person reads the answer."""

    request_id: RequestId
    upheld_minor: int = Field(strict=True, ge=0, le=10**10)
    answer: Words


class PayoutBody(BaseModel):
    """A leaver's payout: in cash, or to a bank account that `destination` names."""

    request_id: RequestId
    cardholder_id: str = Field(max_length=64)
    channel: Literal["cash", "bank"]
    destination: str = Field(default="", max_length=200)
    reason: Words


class PayoutAgainBody(BaseModel):
    """A payout that was refused or forgotten, by the same or another way."""

    request_id: RequestId
    channel: Literal["cash", "bank"]
    destination: str = Field(default="", max_length=200)
    reason: Words


class HoldOut(BaseModel):
    """An authorization that holds money, and for how long it has."""

    auth_id: str
    water_session_id: str
    cardholder_id: str
    method: str
    amount_minor: int
    created_at: datetime
    expires_at: datetime
    age_s: int


class ObstacleOut(BaseModel):
    """Why somebody cannot be paid out yet, and what it is about."""

    kind: str
    subject_id: str
