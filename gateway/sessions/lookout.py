"""Looks for units nobody configured, when a line has nothing better to do, and reports them as one fault."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from gateway.contract.faults import FaultCode
from gateway.devices.lookout import Walk, ask
from gateway.modbus.bus import Bus, NotTried
from gateway.uplink.own_faults import OwnFaults
from hardware.points import RegisterMap

log = logging.getLogger(__name__)

#: a line so busy that the question's turn does not come has better things to do
WAIT_S = 5.0


class Lookout:
    """One gateway's look for strangers, line by line."""

    def __init__(
        self,
        buses: Mapping[str, Bus],
        configured: Mapping[str, Collection[int]],
        maps: Collection[RegisterMap],
        own_faults: OwnFaults,
        *,
        is_quiet: Callable[[str], bool],
        period_s: float,
    ) -> None:
        """`is_quiet` says whether a line has neither a session nor a command."""
        self._buses, self._maps, self._own = buses, maps, own_faults
        self._is_quiet, self._period_s = is_quiet, period_s
        self._found = False
        self.walks = {line_id: Walk(configured.get(line_id, ())) for line_id in buses}

    async def run(self, line_id: str) -> None:
        """Ask one unit of a line per period, until cancelled."""
        while True:
            await asyncio.sleep(self._period_s)
            if self._maps and self._is_quiet(line_id):
                await self.look(line_id)

    async def look(self, line_id: str) -> None:
        """Ask one unit, and report what that changes."""
        walk = self.walks[line_id]
        unit = walk.next()
        if unit is None:
            return
        before = dict(walk.strangers)
        question = ask(self._buses[line_id], unit, self._maps, is_quiet=lambda: self._is_quiet(line_id))
        try:
            async with asyncio.timeout(WAIT_S):
                walk.heard(await question)
        except (NotTried, TimeoutError):
            return  # the same unit is asked next time
        if walk.strangers != before:
            log.warning("strangers on a line", extra={"line": line_id, "units": "; ".join(self.strangers()) or "none"})
        await self._report()

    def strangers(self) -> list[str]:
        """Return who answers uninvited, and where."""
        return [
            f"line {line_id} unit {unit} {identity}"
            for line_id, walk in self.walks.items()
            for unit, identity in sorted(walk.strangers.items())
        ]

    async def _report(self) -> None:
        strangers = self.strangers()
        if strangers:
            self._found = True
            await self._own.set(FaultCode.DEVICE_UNKNOWN, *strangers)
        elif self._found or all(walk.rounds for walk in self.walks.values()):
            # a fault from before a restart is over only once everybody has been asked
            await self._own.clear(FaultCode.DEVICE_UNKNOWN)
