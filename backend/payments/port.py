"""
The port to payment providers, and its three answers.

*Unknown* is an answer: the provider may or may not have done it. It is stored and left only by asking (`query`,
`query_step`), by a verified notification, or by a daily statement; an order is never sent a second time. A *step*
(capture, void, refund) carries an id and a time that stay the same on every attempt, so the provider executes it at
most once and it may be repeated until answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, Protocol

#: The reason of a `Declined` query: the provider has never heard of the order. It may still arrive there.
NOT_FOUND = "not_found"

OrderKind = Literal["hold", "charge"]
StepKind = Literal["capture", "void", "refund"]


@dataclass(frozen=True, slots=True)
class Order:
    """
    What a provider knows as one order of a merchant: a hold, or a charge.

    `order_id` is ours; adapters derive the number the provider sees (`order_numbers.order_no`). `ordered_at` never
    changes for an order. `provider_ref` is what the provider called it, as soon as an answer has said so; once the
    order is captured, what it called the capture, which is what refunds refer to.
    """

    tenant_id: str
    order_id: str
    kind: OrderKind
    amount_minor: int
    ordered_at: datetime
    provider_ref: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Something asked about an order later. `amount_minor` is what to take or give back; a void names the whole."""

    operation_id: str
    kind: StepKind
    amount_minor: int
    asked_at: datetime


@dataclass(frozen=True, slots=True, repr=False)
class Payer:
    """
    Who pays, in the provider's words: a one-time payment code shown by the payer, or the standing agreement's number.

    A bearer secret: never stored, never logged.
    """

    code: str = ""
    agreement: str = ""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """
    The provider says it is so. `status` is the state there and `amount_minor` the amount it is about.

    For an order: held, charged, captured, voided, refunded; absent when a void found no order to release. For a step:
    captured, voided, refunded or absent. `reference` is what the provider calls it, and `at` when it happened by the
    provider's clock, if it tells; two answers that differ in nothing else say the same.
    """

    status: str
    amount_minor: int
    reference: str = ""
    at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider says no, for a reason in its own stable words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say yet: no answer, a broken one, or one that is not provably the provider's."""

    reason: str


Answer = Succeeded | Declined | Unknown


@dataclass(frozen=True, slots=True)
class Notification:
    """
    A verified message from a provider about an order, or (`operation_no` given) about a step of it.

    Numbers are as the provider knows them. `notify_id` is the same on every repetition of the message.
    """

    notify_id: str
    order_no: str
    operation_no: str
    answer: Answer


class NotificationRefused(Exception):
    """A message that is not provably the provider's, or not about us. Nothing may follow from it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Provider(Protocol):
    """A payment provider for one method. Calls return within the adapter's time limit and raise nothing of the wire."""

    @property
    def method(self) -> str:
        """Return the payment method it serves."""
        ...

    def authorize(self, order: Order, payer: Payer) -> Answer:
        """Hold the amount of a new order."""
        ...

    def charge(self, order: Order, payer: Payer) -> Answer:
        """Take the amount of a new order at once."""
        ...

    def capture(self, order: Order, step: Step) -> Answer:
        """Take part or all of a held order and release the rest; repeatable with the same step."""
        ...

    def void(self, order: Order, step: Step) -> Answer:
        """Release a held order, or undo a charged one whole; repeatable with the same step."""
        ...

    def refund(self, order: Order, step: Step) -> Answer:
        """Give part or all of a charged or captured order back; repeatable with the same step."""
        ...

    def query(self, order: Order) -> Answer:
        """Ask what became of an order."""
        ...

    def query_step(self, order: Order, step: Step) -> Answer:
        """Ask what became of a step."""
        ...

    def read_notification(self, tenant_id: str, headers: Mapping[str, str], body: bytes) -> Notification:
        """
        Return what a message says, after verifying it on its raw bytes. Header names are lower case.

        :raises NotificationRefused: if it is malformed, forged, stale, or about another merchant or currency.
        """
        ...

    def acknowledgement(self, *, accepted: bool) -> tuple[int, str, bytes]:
        """Return the HTTP status, content type and body that tell the provider to stop or go on notifying."""
        ...

    def statement(self, tenant_id: str, day: date) -> tuple[str, bytes] | None:
        """Return the name and bytes of the daily statement file, or None while there is none."""
        ...

    def merchant_no(self, tenant_id: str) -> str:
        """Return the number the provider knows a school by, as its files name it; empty for a stranger."""
        ...
