"""
How a valve of somebody else's is opened so that it closes by itself when the gateway is gone.

One class per dead-man class of `hardware/vocabulary.py`; the registers come from the map. Each checks what it wrote
before anything opens: a limit or a timer that did not arrive is no limit.
"""

from fractions import Fraction

from gateway.devices.ports import CannotSay, CommandFailed, CommandResult, Opening
from gateway.modbus.access import PointAccess
from gateway.modbus.bus import BusError, NoAnswer, NotTried, Priority
from gateway.modbus.codec import CodecError
from hardware.model import Point, RegisterMap
from hardware.vocabulary import CLOSED_LABELS, DEADMAN_BOUND, SWITCH_LABELS, TIME_MS, VOLUME_ML

DONE = CommandResult(code="DONE", detail=0)
#: an opening that no dead-man class bounds, or whose bound could not be checked
UNSAFE = CommandResult(code="UNSAFE_DEVICE", detail=0)


class Valve:
    """A valve that nobody may open: it meters, and can be closed where there is something to close."""

    deadman = "none"

    def __init__(self, access: PointAccess, register_map: RegisterMap) -> None:
        self._access, self._map = access, register_map
        self._cmd = register_map.by_role("valve_cmd")
        state = register_map.by_role("valve_state")
        #: the point that shows where the valve is; None where there is no valve
        self.state: Point | None = state or (self._cmd if self._cmd is not None and self._cmd.readable else None)

    @property
    def refusal(self) -> str:
        """Why it is not opened; empty when it may be."""
        if self.deadman == "none":
            return "the device has no dead-man: what would run on is " + DEADMAN_BOUND["none"]
        return ""

    def limit_ml(self, opening: Opening) -> int:
        """Return the volume at which a session ends, as far as the device can be told."""
        return opening.volume_limit_ml

    async def prepare(self) -> None:
        """Put the device into the state the class needs, and check it."""

    async def open(self, opening: Opening) -> CommandResult:
        """Open for a session."""
        return UNSAFE

    async def renew(self, opening: Opening) -> CommandResult:
        """Keep it open for another while."""
        return UNSAFE

    async def close(self) -> None:
        """Close; nothing where there is no valve."""
        await self._switch(False, Priority.CLOSE)

    async def _switch(self, on: bool, priority: Priority) -> None:
        point = self._cmd
        if point is None:
            return
        await self._access.write(point.name, self._command(point, on), priority)

    def _command(self, point: Point, on: bool) -> int | Fraction:
        """Return what to write: the label of the enum that says so, or the point's switch values."""
        if point.enum is not None:
            labels = {label: number for number, label in self._map.enums[point.enum].items()}
            opened, closed = next(pair for pair in SWITCH_LABELS if set(pair) <= set(labels))
            return labels[opened if on else closed]
        return (point.on if on else point.off) * point.scale

    def shows(self, value: int | Fraction) -> str:
        """Return CLOSED, OPEN, OPENING or CLOSING, or OPEN for what the map has no word for: that must be closed."""
        point = self.state
        assert point is not None
        if point.enum is None:
            return "CLOSED" if value == point.off * point.scale else "OPEN"
        label = self._map.enums[point.enum].get(int(value), "")
        if label in CLOSED_LABELS:
            return "CLOSED"
        return label if label in ("OPENING", "CLOSING") else "OPEN"


class CreditValve(Valve):
    """The device counts a volume down and closes at zero: the authorized volume is written before it opens."""

    deadman = "device_credit"

    def __init__(self, access: PointAccess, register_map: RegisterMap) -> None:
        super().__init__(access, register_map)
        credit = register_map.by_role("credit_volume")
        assert credit is not None, "checked when the map was loaded"
        self._credit = credit
        self._granted_ml = 0

    def limit_ml(self, opening: Opening) -> int:
        """Return the volume that was written: the limit, rounded down to what the device can be told."""
        return min(opening.volume_limit_ml, self._granted_ml)

    async def open(self, opening: Opening) -> CommandResult:
        """Write the volume, read it back, and only then open."""
        unit_ml = VOLUME_ML[self._credit.unit]
        volume = await self._access.step_down(
            self._credit.name, Fraction(opening.volume_limit_ml) / unit_ml, Priority.OPEN
        )
        self._granted_ml = int(volume * unit_ml)
        if volume <= 0:
            raise CannotSay(f"{opening.volume_limit_ml} mL is less than one step of {self._credit.name}")
        try:
            await self._access.write(self._credit.name, volume, Priority.OPEN)
        except CodecError as error:
            raise CannotSay(str(error)) from error
        try:
            if await self._access.read_one(self._credit.name, Priority.OPEN) != volume:
                raise CommandFailed(f"{self._credit.name} does not show what was written to it")
            await self._switch(True, Priority.OPEN)
        except NotTried as error:  # the credit is there: this is no opening of which nothing was sent
            raise NoAnswer(f"{self._credit.name} was written, and then: {error}") from error
        return DONE

    async def _take_back(self) -> None:
        await self._access.write(self._credit.name, 0, Priority.CLOSE)

    async def renew(self, opening: Opening) -> CommandResult:
        """Nothing: the credit is the limit, and it is not raised."""
        return DONE

    async def close(self) -> None:
        """Close the valve, where it has a switch, and take back what is left of the credit."""
        await super().close()
        await self._take_back()


class OneShotValve(Valve):
    """The device opens for a given time and closes again; it is triggered anew while the grant lives."""

    deadman = "one_shot"

    def __init__(self, access: PointAccess, register_map: RegisterMap) -> None:
        super().__init__(access, register_map)
        pulse = register_map.by_role("valve_pulse")
        assert pulse is not None, "checked when the map was loaded"
        self._pulse = pulse
        self._longest_ms = int(register_map.caps["pulse_ms_max"])

    async def open(self, opening: Opening) -> CommandResult:
        """Trigger one pulse, as long as the lease but no longer than the map allows."""
        await self._trigger(opening, Priority.OPEN)
        return DONE

    async def renew(self, opening: Opening) -> CommandResult:
        """Trigger another pulse."""
        await self._trigger(opening, Priority.EXTEND)
        return DONE

    async def _trigger(self, opening: Opening, priority: Priority) -> None:
        length_ms = Fraction(min(self._longest_ms, opening.lease_s * 1_000))
        length = await self._access.step_down(self._pulse.name, length_ms / TIME_MS[self._pulse.unit], priority)
        try:
            await self._access.write(self._pulse.name, length, priority)
        except CodecError as error:
            raise CannotSay(str(error)) from error


class WatchdogValve(Valve):
    """The device closes when nobody has polled it for a while: its timer is set and checked before it may open."""

    deadman = "poll_watchdog"

    def __init__(self, access: PointAccess, register_map: RegisterMap) -> None:
        super().__init__(access, register_map)
        timer = register_map.by_role("watchdog")
        assert timer is not None, "checked when the map was loaded"
        self._timer = timer
        self._time = Fraction(int(register_map.caps["watchdog_ms"])) / TIME_MS[timer.unit]
        self._safe = register_map.by_role("safe_state")
        self._is_prepared = False

    @property
    def refusal(self) -> str:
        """Why it is not opened; empty when it may be."""
        return "" if self._is_prepared else "its watchdog is not known to be set"

    async def prepare(self) -> None:
        """Set timer and safe state, and read both back."""
        self._is_prepared = False
        if not await self._is_set(Priority.SLOW):
            await self._access.write(self._timer.name, self._time, Priority.SLOW)
            if self._safe is not None and self._safe.access != "r":
                await self._access.write(self._safe.name, self._off(), Priority.SLOW)
        self._is_prepared = await self._is_set(Priority.SLOW)

    def _off(self) -> Fraction:
        assert self._safe is not None
        return Fraction(self._safe.off) * self._safe.scale

    async def _is_set(self, priority: Priority) -> bool:
        if await self._access.read_one(self._timer.name, priority) != self._time:
            return False
        if self._safe is None or not self._safe.readable:
            return True
        return await self._access.read_one(self._safe.name, priority) == self._off()

    async def open(self, opening: Opening) -> CommandResult:
        """Open, once the timer has been seen set, now and not an hour ago."""
        if not await self._is_set(Priority.OPEN):
            self._is_prepared = False
            await self.prepare()
        if not self._is_prepared:
            return UNSAFE
        await self._switch(True, Priority.OPEN)
        return DONE

    async def renew(self, opening: Opening) -> CommandResult:
        """See that the timer is still set; reading it is also what keeps the device from closing."""
        if await self._is_set(Priority.EXTEND):
            return DONE
        self._is_prepared = False
        try:
            await self._switch(False, Priority.CLOSE)
        except BusError as error:
            raise CommandFailed(f"its watchdog is no longer set, and it cannot be closed: {error}") from error
        return UNSAFE


CLASSES: dict[str, type[Valve]] = {each.deadman: each for each in (Valve, CreditValve, OneShotValve, WatchdogValve)}


def valve_of(access: PointAccess, register_map: RegisterMap) -> Valve:
    """Return the valve of a device, by the dead-man class its map states."""
    return CLASSES.get(register_map.deadman, Valve)(access, register_map)
