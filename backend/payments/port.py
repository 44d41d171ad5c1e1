"""
The port to payment providers, and its three answers.

*Unknown* is an answer: the provider may or may not have done it. It is stored and resolved by asking (`query`); an
order is never sent a second time. `capture` and `void` carry an operation id that the provider executes at most once,
so those may be repeated until it answers. `void` releases a hold and gives back a charge alike.
"""

from dataclasses import dataclass
from typing import Protocol

#: The reason of a `Declined` query: the provider has never heard of the order. It may still arrive there.
NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """
    The provider says it is so. `status` is the order's state there and `amount_minor` the order's amount.

    States: held, charged, captured, voided; absent when a void found no order to release.
    """

    status: str
    amount_minor: int
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider says no, for a reason in its own stable words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say yet: no answer, a broken one, or one that is not provably the provider's."""

    reason: str


Answer = Succeeded | Declined | Unknown


class Provider(Protocol):
    """A payment provider for one method. Calls return within the adapter's time limit and raise nothing of the wire."""

    @property
    def method(self) -> str:
        """Return the payment method it serves."""
        ...

    def authorize(self, *, merchant_id: str, order_id: str, amount_minor: int) -> Answer:
        """Hold an amount for a new order."""
        ...

    def charge(self, *, merchant_id: str, order_id: str, amount_minor: int) -> Answer:
        """Take an amount at once for a new order."""
        ...

    def capture(self, *, merchant_id: str, order_id: str, operation_id: str, amount_minor: int) -> Answer:
        """Take part or all of a held order and release the rest; repeatable with the same operation id."""
        ...

    def void(self, *, merchant_id: str, order_id: str, operation_id: str) -> Answer:
        """Release a held order, or give back a charged one; repeatable with the same operation id."""
        ...

    def query(self, *, merchant_id: str, order_id: str) -> Answer:
        """Ask what became of an order."""
        ...
