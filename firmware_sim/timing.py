"""How long bytes take on a serial line: characters, silences, turnaround. Times are seconds."""

from dataclasses import dataclass

#: above this rate the silences are fixed; Modbus serial line specification V1.02, 2.5.1.1
FIXED_ABOVE_BAUD = 19_200
T35_FIXED_S = 0.00175
PARITIES = {"8E1": 11, "8O1": 11, "8N2": 11, "8N1": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One line's speed."""

    baud: int = 38_400
    framing: str = "8E1"
    #: what a device needs between hearing and answering
    turnaround_ms: float = 5.0

    def __post_init__(self) -> None:
        if self.framing not in PARITIES or self.baud <= 0 or self.turnaround_ms < 0:
            raise ValueError(f"{self.baud} baud, {self.framing}, {self.turnaround_ms} ms is no serial line")

    @property
    def t35_s(self) -> float:
        """Return the silence that ends a frame."""
        if self.baud > FIXED_ABOVE_BAUD:
            return T35_FIXED_S
        return 3.5 * PARITIES[self.framing] / self.baud

    def wire_s(self, count: int) -> float:
        """Return how long so many bytes are on the wire."""
        return count * PARITIES[self.framing] / self.baud

    def exchange_s(self, request_bytes: int, response_bytes: int) -> float:
        """Return how long a request with its answer occupies the line, both silences included."""
        return self.wire_s(request_bytes + response_bytes) + 2 * self.t35_s + self.turnaround_ms / 1000
