"""
Whether a meter stands still while its valve should be closed, and counts on from where it was. No bus, no clock.

Where valve and meter are two devices, nothing but the gateway sees that the two do not agree.
"""

#: so much through a closed valve, within so long, is no drop from a pipe
LEAK_ML = 500
LEAK_WINDOW_MS = 600_000
#: a leak is told for so long after it was last seen; a slow line is looked at once a minute
LEAK_TOLD_MS = 150_000
#: a register that fell, or is another meter's, is believed once it has gone on for so long
STEADY_MS = 10_000

_LEAKS = {"CLOSED": "LEAK_CLOSED", "UNKNOWN": "STUCK_OPEN"}


class Stillness:
    """What the meter of one outlet did between showers. Times are milliseconds, volumes millilitres."""

    def __init__(self) -> None:
        self._serial: str | None = None
        self._gap = ""
        self._gap_at_ms = 0
        self._window_at_ms = 0
        self._leaked_ml = 0
        #: which fault the last leak was, what it amounts to, and when it was last seen
        self._leak = ""
        self._leak_ml = 0
        self._leak_at_ms = 0

    def met(self, serial: str, now_ms: int) -> None:
        """Note who counts."""
        if self._serial is not None and serial != self._serial:
            self._gap, self._gap_at_ms = f"the meter is another one: {self._serial!r} before, now {serial!r}", now_ms
        self._serial = serial

    def saw(self, before: int | None, now: int, moved: int, now_ms: int) -> None:
        """Note a reading: a register that is lower and has not rolled over has lost what it knew."""
        if before is not None and now < before and not moved:
            self._gap, self._gap_at_ms = f"the register fell from {before} to {now}", now_ms

    def leaked(self, volume_ml: int, valve: str, now_ms: int) -> bool:
        """Note water that ran unordered; return whether it is worth a record now."""
        if now_ms - self._window_at_ms >= LEAK_WINDOW_MS:
            self._window_at_ms, self._leaked_ml = now_ms, 0
        self._leaked_ml += volume_ml
        if volume_ml and self._leak and now_ms - self._leak_at_ms < LEAK_TOLD_MS:
            self._leak_ml, self._leak_at_ms = self._leak_ml + volume_ml, now_ms
        if self._leaked_ml < LEAK_ML:
            return False
        if not self._told(now_ms):
            self._leak_ml = self._leaked_ml
        self._leak, self._leak_at_ms, self._leaked_ml = _LEAKS[valve], now_ms, 0
        return True

    def _told(self, now_ms: int) -> bool:
        return bool(self._leak) and now_ms - self._leak_at_ms < LEAK_TOLD_MS

    def _is_gap(self, now_ms: int) -> bool:
        return bool(self._gap) and now_ms - self._gap_at_ms < STEADY_MS

    def faults(self, now_ms: int) -> frozenset[str]:
        """Return the faults there are now."""
        gap = {"REGISTER_GAP"} if self._is_gap(now_ms) else set()
        return frozenset(gap | ({self._leak} if self._told(now_ms) else set()))

    def evidence(self, now_ms: int) -> str:
        """Return what the faults rest on."""
        leak = ""
        if self._told(now_ms):
            place = "with the valve closed" if self._leak == "LEAK_CLOSED" else "behind a valve that does not answer"
            leak = f"the meter counted {self._leak_ml / 1_000:.1f} L {place}"
        return "; ".join(filter(None, [self._gap if self._is_gap(now_ms) else "", leak]))

    def refusal(self, now_ms: int) -> str:
        """Return why nothing is opened; empty when it may be. A leak is a fault, and refused as one."""
        return f"{self._gap}: it is believed when it has counted on" if self._is_gap(now_ms) else ""
