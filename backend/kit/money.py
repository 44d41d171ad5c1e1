"""Money as an integer of minor units. A float never comes near it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in minor units (fen for CNY) of one currency. Amounts of two currencies never mix."""

    amount_minor: int
    currency: str = "CNY"

    def __post_init__(self) -> None:
        assert type(self.amount_minor) is int, "money is an integer of minor units"

    def __add__(self, other: "Money") -> "Money":
        assert self.currency == other.currency
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        assert self.currency == other.currency
        return Money(self.amount_minor - other.amount_minor, self.currency)


def format_minor(amount_minor: int) -> str:
    """Return an amount of fen as people read it: 3620 becomes `¥36.20`, -5 becomes `-¥0.05`."""
    sign = "-" if amount_minor < 0 else ""
    yuan, fen = divmod(abs(amount_minor), 100)
    return f"{sign}¥{yuan:,}.{fen:02d}"
