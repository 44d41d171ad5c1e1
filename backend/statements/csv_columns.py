"""What the comma-separated layouts share: columns by name, and a place to say what is wrong with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from backend.statements.rules import china_moment, parse_number, parse_yuan
from backend.statements.types import Cause, StatementRefused


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a layout in a file."""

    file: str
    names: Sequence[str]
    places: dict[str, int]

    @classmethod
    def of(cls, file: str, names: Sequence[str]) -> "Columns":
        """Return the columns of these names, in order."""
        return cls(file, names, {name: place for place, name in enumerate(names)})

    def refusal(self, cause: Cause, reason: str, line: int = 0, name: str = "") -> StatementRefused:
        """Return a refusal at a column of a line."""
        return StatementRefused(cause, reason, file=self.file, line=line, field=name)

    def check_header(self, names: Sequence[str], line: int) -> None:
        """Refuse a header unless it has these names in this order."""
        if len(names) != len(self.names):
            raise self.refusal("header", f"the header has {len(names)} columns, not {len(self.names)}", line)
        for found, wanted in zip(names, self.names, strict=True):
            if found != wanted:
                raise self.refusal("header", f"the column is called {found!r}", line, wanted)

    def yuan(self, values: Sequence[bytes], name: str, decimals: int, line: int) -> int:
        """Return an amount in units of the last decimal."""
        text = values[self.places[name]]
        amount = parse_yuan(text, decimals)
        if amount is None:
            raise self.refusal("number", f"{text!r} is not an amount with {decimals} decimals", line, name)
        return amount

    def number(self, values: Sequence[bytes], name: str, line: int) -> str:
        """Return the number of an order, an operation or a merchant."""
        text = values[self.places[name]]
        number = parse_number(text)
        if number is None:
            raise self.refusal("text", f"{text!r} is not a number of an order or merchant", line, name)
        return number

    def text(self, values: Sequence[bytes], name: str, encoding: str, line: int) -> str:
        """Return a value's characters."""
        raw = values[self.places[name]]
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError as error:
            raise self.refusal("text", f"{raw!r} is not {encoding}", line, name) from error

    def moment(self, values: Sequence[bytes], name: str, day: date, line: int) -> datetime:
        """Return the moment of a day that a value YYYY-MM-DD hh:mm:ss names."""
        text = values[self.places[name]]
        moment = china_moment(day, text[11:])
        if moment is None or text[10:11] != b" ":
            raise self.refusal("date", f"{text!r} is not a time YYYY-MM-DD hh:mm:ss", line, name)
        if text[:10] != day.isoformat().encode():
            raise self.refusal("day", f"{text!r} is not on {day}", line, name)
        return moment
