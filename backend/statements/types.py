"""What the slice speaks of: lines, files, and the one refusal."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, NamedTuple

from backend.errors import BackendError

#: States of refunds at WeChat that say the money has not gone back (yet).
_NOT_DONE = frozenset({"PROCESSING", "CHANGE", "FAIL"})

#: A reason quotes what the file says; a damaged one may say a lot.
_REASON_CHARS_MAX = 300

Kind = Literal[
    "payment",
    "refund",
    "hold",
    "completion",
    "release",
    "adjustment",
    "payout",  # these are of the bank account that leavers are paid from
    "payout_return",
    "deposit",
]

#: Why a file is refused, in stable words; pages translate them.
Cause = Literal[
    "method",  # no layout is known for this payment method
    "container",  # a ZIP or GZIP file that is cut off, damaged, locked or lacks the statement
    "size",  # larger than any honest statement, packed or unpacked
    "layout",  # record length or frame of no known version
    "length",  # a line is longer or shorter than its layout
    "separator",  # a field does not end where it must
    "columns",  # a row has too many or too few columns
    "header",  # column names differ
    "number",  # an amount or count is not written as the layout says
    "text",  # a number of an order or a code is missing or misspelled
    "date",  # not a date or time
    "day",  # rows or file of another day
    "merchant",  # another merchant's file
    "kind",  # a kind of row, state or currency that the layout does not know
    "inconsistent",  # a row contradicts itself
    "duplicate",  # the same row twice
    "totals",  # the totals line does not equal the rows
    "replacement",  # an earlier file of the day has rows that this one lacks
]


@dataclass(frozen=True, slots=True)
class StatementLine:
    """
    One row of a provider's daily file, or of a bank account's.

    `order_no` is the number of the order, `operation_no` of the step about it (empty for the order itself; an older
    layout that leaves the order out has only `operation_no`), both as the provider knows them. `amount_minor` is
    positive when it comes to us; for holds and releases no money moves and it tells what is set aside or let go.
    `fee_e5` is the provider's fee in 1/100,000 yuan, positive when we pay it. `line_number` is that of
    the file, from 1; the lines of a second file in the same ZIP go on counting. `status` is the provider's own word.
    """

    tenant_id: str
    method: str
    day: date
    line_number: int
    kind: Kind
    order_no: str
    operation_no: str
    provider_ref: str
    amount_minor: int
    fee_e5: int
    happened_at: datetime
    status: str

    @property
    def is_done(self) -> bool:
        """Return whether it has happened; a refund may be listed while the provider still tries, or has failed."""
        return self.status not in _NOT_DONE


class Row(NamedTuple):
    """What a reader gives for a line: a `StatementLine` without what the caller knows already."""

    line_number: int
    kind: Kind
    order_no: str
    operation_no: str
    provider_ref: str
    amount_minor: int
    fee_e5: int
    happened_at: datetime
    status: str


@dataclass(frozen=True, slots=True)
class StatementFile:
    """
    A file that was imported. `replaced_at` is set when a later file of the day, holding all its rows, took its place.

    `is_new` is false when the same bytes had been imported before and nothing was done.
    """

    tenant_id: str
    method: str
    day: date
    file_sha256: str
    name: str
    layout: str
    merchant_no: str
    byte_count: int
    line_count: int
    imported_at: datetime
    replaced_at: datetime | None = None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class KindSum:
    """How many lines of one kind a day has, and what they add up to."""

    kind: Kind
    line_count: int
    amount_minor: int
    fee_e5: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A day of one method for finance's page. `file` is None while no file was imported."""

    method: str
    day: date
    file: StatementFile | None
    kinds: list[KindSum]


class StatementRefused(BackendError):
    """The statement file was refused whole; nothing of it was stored."""

    code = "statement_refused"
    status = 422

    def __init__(self, cause: Cause, reason: str, *, file: str, line: int = 0, field: str = "") -> None:
        """
        Say what is wrong and where.

        `line` is counted within `file` and 0 when the whole file is meant; `field` is named as in the file.
        """
        reason = reason if len(reason) <= _REASON_CHARS_MAX else reason[:_REASON_CHARS_MAX] + "…"
        place = "".join((file, f", line {line}" if line else "", f", {field}" if field else ""))
        super().__init__(f"{place}: {reason}", cause=cause, file=file, line=line, field=field, reason=reason)
