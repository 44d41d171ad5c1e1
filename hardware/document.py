"""Typed access to a parsed map, with complaints that name file, line, place, reason and what to write instead."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

from hardware.model import MapError
from hardware.places import line_of
from hardware.vocabulary import EXPONENT_MAX

#: a fraction that is cheap to make exact, whatever its digits: a power of ten has at most two
_EXACT = re.compile(r"[+-]?\d{1,24}(/\d{1,24}|(\.\d{1,24})?([eE][+-]?\d{1,2})?)")
_FIGURE_MAX = Fraction(10) ** EXPONENT_MAX


class Document:
    """One parsed file. Every complaint goes through `fail`."""

    def __init__(self, file: str, text: str, top: Mapping[str, Any]) -> None:
        self.file = file
        self.text = text
        self.top = top

    def fail(self, where: str, reason: str, hint: str = "") -> NoReturn:
        """Raise the complaint."""
        raise MapError(self.file, where, reason, hint=hint, line=line_of(self.text, where))

    def one_of(self, where: str, value: Any, allowed: Collection[str], what: str) -> str:
        """Return a word of a closed list."""
        if not isinstance(value, str) or value not in allowed:
            self.fail(where, f"unknown {what} {value!r}", _meant(value, allowed))
        return value

    def only_keys(self, where: str, table: Mapping[str, Any], allowed: Collection[str]) -> None:
        """Refuse keys that mean nothing here."""
        for key in table:
            if key not in allowed:
                self.fail(where, f"unknown key {key!r}", _meant(key, allowed))

    def integer(self, where: str, table: Mapping[str, Any], key: str, default: int | None = None) -> int:
        """Return a whole number."""
        value = table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            self.fail(where, f"{key} must be an integer, not {value!r}")
        return value

    def optional_integer(self, where: str, table: Mapping[str, Any], key: str) -> int | None:
        """Return a whole number, or None when it is not given."""
        return self.integer(where, table, key) if key in table else None

    def optional_text(self, where: str, table: Mapping[str, Any], key: str) -> str | None:
        """Return a text, or None when it is not given."""
        return self.text_of(where, table, key) if key in table else None

    def text_of(self, where: str, table: Mapping[str, Any], key: str) -> str:
        """Return a text that is not empty."""
        value = table.get(key)
        if not isinstance(value, str) or not value:
            self.fail(where, f"{key} must be a text, not {value!r}")
        return value

    def flag(self, where: str, table: Mapping[str, Any], key: str) -> bool:
        """Return true or false; false when it is not given."""
        value = table.get(key, False)
        if not isinstance(value, bool):
            self.fail(where, f"{key} must be true or false, not {value!r}")
        return value

    def table(self, where: str, value: Any) -> Mapping[str, Any]:
        """Return a table."""
        if not isinstance(value, Mapping):
            self.fail(where, f"must be a table, not {value!r}")
        return value

    def tables(self, where: str, value: Any) -> Sequence[Mapping[str, Any]]:
        """Return a list of tables."""
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            self.fail(where, "must be a list of tables", f"write [[{where}]]")
        return value

    def words(self, where: str, value: Any) -> tuple[str, ...]:
        """Return a list of texts, none of them twice."""
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            self.fail(where, f"must be a list of texts, not {value!r}")
        return tuple(value)

    def fraction(self, where: str, text: Any, what: str) -> Fraction:
        """Return an exact positive number, no further from one than a power of ten that measures something."""
        written = str(text).strip() if isinstance(text, str | int | Decimal) and not isinstance(text, bool) else ""
        if not written.isascii() or not _EXACT.fullmatch(written):
            self.fail(where, f"{what} {_short(text)} is not an exact fraction", 'write it as "1/10"')
        try:
            number = Fraction(written)
        except ZeroDivisionError:
            self.fail(where, f"{what} {text!r} is not an exact fraction", 'write it as "1/10"')
        if number <= 0:
            self.fail(where, f"{what} must be positive")
        if not 1 / _FIGURE_MAX <= number <= _FIGURE_MAX:
            self.fail(where, f"{what} {text!r} is beyond 10 to the power of {EXPONENT_MAX}")
        return number


def _short(value: Any) -> str:
    """Return how a value is written, without the end of a long one."""
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:60]}…"


def _meant(value: Any, allowed: Collection[str]) -> str:
    near = difflib.get_close_matches(str(value), sorted(allowed), n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(sorted(allowed))}" if 0 < len(allowed) <= 12 else ""
