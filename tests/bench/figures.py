"""A figure with the reference it is compared with, both from the same run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `reference` is what it is held against, from the same run, if there is one."""

    name: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    conditions: str = ""

    def line(self) -> str:
        """Return the figure as one line for people."""
        text = f"{self.name:<52} {self.value:>10.1f} {self.unit}"
        if self.reference_value is not None:
            text += f"   ({self.reference}: {self.reference_value:.1f} {self.unit}"
            text += f", ratio {self.value / self.reference_value:.2f})" if self.reference_value else ")"
        return text

    def as_json(self, conditions: str) -> dict[str, Any]:
        """Return the figure as it is written to build/bench.json."""
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "reference": self.reference,
            "reference_value": None if self.reference_value is None else round(self.reference_value, 3),
            "conditions": "; ".join(part for part in (self.conditions, conditions) if part),
        }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    assert values, "a percentile needs values"
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1_000) * len(ordered) // 1_000) - 1))]
