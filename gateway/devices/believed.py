"""
The register of a meter, as far as it is believed.

On a serial line an old answer that comes once more looks like a register that fell, and one of another point of the
same length like any number. Such a figure is believed when the next one bears it out; until then nothing has moved.
"""

from gateway.devices.meter import Meter

#: more than this runs through no tap: 120 L/min, beside what may come in the steps of a coarse meter
FLOW_ML_PER_MS_MAX = 2
STEP_ML_MAX = 5_000


class BelievedRegister:
    """What was last believed; `last` is None as long as nothing was read. Times are milliseconds."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.last: int | None = None
        self._at_ms = 0
        #: a figure that came last and was not believed
        self._doubt: int | None = None

    def take(self, total: int, now_ms: int, *, k_factor_pulses_per_m3: int) -> int:
        """Return the register to go by now that it shows this."""
        doubt, self._doubt = self._doubt, None
        is_borne_out = doubt is not None and self._moved(doubt, total) is not None
        if not is_borne_out and not self.is_likely(total, now_ms, k_factor_pulses_per_m3=k_factor_pulses_per_m3):
            self._doubt = total
            assert self.last is not None
            return self.last
        self.set(total, now_ms)
        return total

    def is_likely(self, total: int, now_ms: int, *, k_factor_pulses_per_m3: int) -> bool:
        """Return whether a figure is the last one, and what a tap can give since then."""
        if self.last is None:
            return True
        moved = self._moved(self.last, total)
        most_ml = STEP_ML_MAX + FLOW_ML_PER_MS_MAX * max(0, now_ms - self._at_ms)
        return moved is not None and moved * 1_000_000 <= most_ml * max(1, k_factor_pulses_per_m3)

    def _moved(self, before: int, now: int) -> int | None:
        """Return how far a register went from one figure to the other; None when it fell, or went nearly round."""
        moved = now - before if now >= before else self._meter.advance(before, now)
        return moved if (moved > 0 or now == before) and not self._meter.is_most(moved) else None

    def set(self, total: int, now_ms: int) -> None:
        """Believe a figure."""
        self.last, self._at_ms, self._doubt = total, now_ms, None
