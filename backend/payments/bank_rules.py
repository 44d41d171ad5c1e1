"""
What a bank account's statement says of payouts to leavers. Pure: what was ordered and the bank's lines in, what
follows out.

A payout by bank lies in payout clearing from the second person's yes until the bank's statement lists the transfer
under the number that was written into it, with the same amount: then it is *cleared*. A transfer that comes back is
*returned*, and the payout is owed again. Everything else is a mismatch, in either direction:

| mismatch | what it is |
|---|---|
| unlisted | ordered, and no statement lists it after `GRACE`; or clearing holds what belongs to no payout |
| unknown | went out for no payout of ours |
| unapproved | went out before a second person had agreed, or for a payout in cash |
| amount | went out with another amount |
| twice | went out again |
| back | came back, and nothing of this number and amount had gone out |

Finance explains a line by an entry over the account `bank` that names the bank's own number of it, and settles what no
line will ever list by an entry over payout clearing that names the payout; both take two people.
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from backend.statements.types import StatementLine

#: How long a transfer may take until a statement lists it: over a weekend.
GRACE = timedelta(days=4)
_LETTERS = 12

MismatchKind = Literal["unlisted", "unknown", "unapproved", "amount", "twice", "back"]


def reference(entry_id: str) -> str:
    """Return the number to write into the bank transfer that an approved entry orders: capitals and digits."""
    digest = hashlib.sha256(entry_id.encode()).digest()
    return "CT" + base64.b32encode(digest)[:_LETTERS].decode()


@dataclass(frozen=True, slots=True)
class Order:
    """An entry that pays a leaver: `ordered_at` is None unless a second person agreed and it goes by bank."""

    entry_id: str
    payout_id: str
    amount_minor: int
    ordered_at: datetime | None
    channel: str


@dataclass(frozen=True, slots=True)
class Residue:
    """What payout clearing still holds under a reference, and when it last moved."""

    amount_minor: int
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class Booking:
    """What follows from a line that fits: a payout's transfer cleared or returned."""

    word: Literal["cleared", "returned"]
    order: Order
    line: StatementLine

    @property
    def transfer_id(self) -> str:
        """Return the id of the ledger's transfer; there is one of a word for an order."""
        return f"{self.order.entry_id}.{self.word}"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that does not fit. `line` is the bank's, `order` ours, as far as there is one."""

    kind: MismatchKind
    amount_minor: int
    reference: str = ""
    order: Order | None = None
    line: StatementLine | None = None
    since: datetime | None = None


@dataclass(slots=True)
class Compared:
    """All that fits, booked before or not, and all that does not."""

    bookings: list[Booking] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)


def compare(
    orders: Iterable[Order],
    lines: Sequence[StatementLine],
    *,
    residues: Mapping[str, Residue],
    booked: frozenset[str],
    explained: frozenset[tuple[str, int]],
    now: datetime,
) -> Compared:
    """
    Return what follows from an account's lines, in their order.

    `residues` is by reference, `booked` the transfer ids of earlier bookings, `explained` the (bank's number, amount)
    of lines that entries by finance account for.
    """
    by_reference = {reference(order.entry_id): order for order in orders}
    found = Compared()
    went: dict[str, Booking] = {}
    back: set[str] = set()
    open_minor = defaultdict(int, {key: each.amount_minor for key, each in residues.items()})
    for line in lines:
        order = by_reference.get(line.order_no.upper())
        if line.kind == "payout":
            fits = _went_out(order, line, went, booked, open_minor)
        elif line.kind == "payout_return":
            fits = _came_back(order, line, went, back)
        else:
            continue
        if isinstance(fits, Booking):
            found.bookings.append(fits)
        elif (line.provider_ref, line.amount_minor) not in explained:
            found.mismatches.append(fits)
    of_orders = {order.payout_id for order in by_reference.values()}
    named = {each.order.payout_id for each in found.mismatches if each.kind == "amount" and each.order is not None}
    found.mismatches += _unlisted(residues, open_minor, of_orders, named, now)
    return found


def _went_out(
    order: Order | None,
    line: StatementLine,
    went: dict[str, Booking],
    booked: frozenset[str],
    open_minor: dict[str, int],
) -> Booking | Mismatch:
    amount_minor = -line.amount_minor
    if order is None:
        return Mismatch("unknown", amount_minor, line=line)
    if order.ordered_at is None:
        return Mismatch("unapproved", amount_minor, order=order, line=line)
    if amount_minor != order.amount_minor:
        return Mismatch("amount", amount_minor - order.amount_minor, order=order, line=line)
    booking = Booking("cleared", order, line)
    is_new = booking.transfer_id not in booked
    if order.entry_id in went or (is_new and open_minor[order.payout_id] < amount_minor):
        return Mismatch("twice", amount_minor, order=order, line=line)
    went[order.entry_id] = booking
    if is_new:
        open_minor[order.payout_id] -= amount_minor
    return booking


def _came_back(
    order: Order | None, line: StatementLine, went: Mapping[str, Booking], back: set[str]
) -> Booking | Mismatch:
    if order is None or order.entry_id not in went or order.entry_id in back or line.amount_minor != order.amount_minor:
        return Mismatch("back", line.amount_minor, order=order, line=line)
    back.add(order.entry_id)
    return Booking("returned", order, line)


def _unlisted(
    residues: Mapping[str, Residue],
    open_minor: Mapping[str, int],
    of_orders: set[str],
    named: set[str],
    now: datetime,
) -> list[Mismatch]:
    """Return what lies in clearing too long; what an entry took out under another name settles a payout as large."""
    over = sorted((each.moved_at, key) for key, each in residues.items() if open_minor[key])
    taken = [key for _, key in over if key not in of_orders and open_minor[key] < 0]
    found = []
    for moved_at, key in over:
        if key in taken:
            continue
        settling = next((other for other in taken if open_minor[other] == -open_minor[key]), None)
        if settling is not None:
            taken.remove(settling)
        elif key not in named and now - moved_at >= GRACE:
            found.append(Mismatch("unlisted", open_minor[key], reference=key, since=moved_at))
    return found + [
        Mismatch("unlisted", open_minor[key], reference=key, since=residues[key].moved_at)
        for key in taken
        if now - residues[key].moved_at >= GRACE
    ]
