"""
A fault that comes and goes must not fill the journal.

What begins is reported at once. Its end is reported at once too, as long as the fault has not begun more than a few
times lately; from then on it counts as there until it has stayed away for half a minute, for a minute, at most for two.
So a fault that flaps at any pace costs a bounded number of records, and one that is over is cleared.
"""

from collections.abc import Collection

from gateway.contract.faults import FaultCode

RAISES_MAX = 4
WINDOW_MS = 10 * 60_000
STABLE_MS = 30_000
STABLE_MS_MAX = 4 * STABLE_MS


def hold_ms(raises: int) -> int:
    """Return how long a fault must have stayed away before it is cleared, when it was raised this often lately."""
    if raises <= RAISES_MAX:
        return 0
    return min(STABLE_MS << min(raises - RAISES_MAX - 1, 16), STABLE_MS_MAX)


class Holdback:
    """Remembers when faults of one device were raised, and since when they have been away."""

    def __init__(self) -> None:
        self._raised_at_ms: dict[FaultCode, list[int]] = {}
        self._away_since_ms: dict[FaultCode, int] = {}

    def shown(
        self, present: Collection[FaultCode], *, before: frozenset[FaultCode], now_ms: int
    ) -> frozenset[FaultCode]:
        """Return which faults count as there: those that are, and those of `before` whose end is held back."""
        there = frozenset(present)
        for fault in there:
            self._away_since_ms.pop(fault, None)
            if fault not in before:
                self._raised_at_ms[fault] = [*self._lately(fault, now_ms), now_ms]
        return there | {fault for fault in before - there if self._is_held(fault, now_ms)}

    def _lately(self, fault: FaultCode, now_ms: int) -> list[int]:
        return [at for at in self._raised_at_ms.get(fault, []) if now_ms - WINDOW_MS < at <= now_ms]

    def _is_held(self, fault: FaultCode, now_ms: int) -> bool:
        since = min(self._away_since_ms.setdefault(fault, now_ms), now_ms)
        if now_ms - since < hold_ms(len(self._lately(fault, now_ms))):
            return True
        del self._away_since_ms[fault]
        return False
