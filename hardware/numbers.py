"""
Refuse numbers that no register, and no scale of one, can mean, before anything calculates with them.

A power of ten is written in a few characters and may take gigabytes to make exact.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from hardware.document import Document

#: what a u64 holds, and its like below zero
_WHOLE_BITS_MAX = 64
#: digits, and the power of ten of the last one; a 32-bit float reaches 38
_DIGITS_MAX = 60


def check_numbers(doc: Document) -> None:
    """Refuse a document with a number that is too large, too long, or none."""
    for where, number in _numbers("", doc.top):
        if isinstance(number, int):
            if number.bit_length() > _WHOLE_BITS_MAX:
                doc.fail(where or "file", f"a number of {number.bit_length()} bits fits no register")
            continue
        _, digits, exponent = number.as_tuple()
        if not isinstance(exponent, int):
            doc.fail(where or "file", f"{number} is no number")
        if len(digits) > _DIGITS_MAX or abs(exponent) > _DIGITS_MAX:
            doc.fail(
                where or "file", f"a number of {len(digits)} digits with the exponent {exponent} is no measurement"
            )


def _numbers(top: str, value: Any) -> Iterator[tuple[str, int | Decimal]]:
    """Yield every number of a document with its place."""
    pending: list[tuple[str, Any]] = [(top, value)]
    while pending:
        where, value = pending.pop()
        if isinstance(value, int | Decimal):
            yield where, value
        elif isinstance(value, Mapping):
            pending += [(_inside(where, str(key)), child) for key, child in value.items()]
        elif isinstance(value, list):
            pending += [(_item(where, number, child), child) for number, child in enumerate(value)]


def _inside(where: str, key: str) -> str:
    """Return the place of a key: itself at the top and one table deep, else the table or the point it stands in."""
    if not where:
        return key
    return where if where.startswith(("blocks", "layouts", "vectors")) else f"{where}.{key}"


def _item(where: str, number: int, child: Any) -> str:
    """Return the place of one of a list: a block or a point by its name, a vector by its number."""
    if where == "vectors":
        return f"vectors[{number}]"
    name = child.get("id", child.get("n")) if isinstance(child, Mapping) else None
    return f"{where}.{name}" if isinstance(name, str) and where.startswith(("blocks", "layouts")) else where
