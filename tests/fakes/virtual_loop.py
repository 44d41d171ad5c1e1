"""An event loop whose clock stands still while anything happens and jumps when nothing does."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
#: real time in which bytes on their way must arrive before the clock jumps
GRACE_S = 0.002


class _JumpingSelector(selectors.DefaultSelector):
    """Waits hardly at all, and tells how long it was asked to."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; when nothing is, let the clock jump over the wait."""
        events = super().select(0 if timeout is not None and timeout <= 0 else GRACE_S)
        if not events and timeout:
            self.loop.jump(timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is counted, not measured: as much as tasks slept, however busy the machine is."""

    def __init__(self) -> None:
        self._now_s = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the time by its own clock, in seconds."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._now_s += seconds


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
