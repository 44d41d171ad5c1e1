"""One unit of somebody else's, read by its map: who it is, what its valve, its meter and its reader show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from gateway.devices.cards import CardReader
from gateway.devices.meter import Meter
from gateway.devices.ports import DeviceMismatch, Identity
from gateway.devices.valves import Valve, valve_of
from gateway.modbus import functions
from gateway.modbus.access import PointAccess, firmware_number
from gateway.modbus.bus import Bus, Declined, Priority
from gateway.modbus.codec import CodecError, Value
from hardware.model import RegisterMap

#: what a unit may be to an outlet
ROLES = frozenset({"valve", "meter", "temperature"})
#: where a valve is that does not say so
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look found, in units."""

    #: CLOSED, OPEN, OPENING, CLOSING or UNKNOWN; CLOSED where there is no valve
    valve: str = "CLOSED"
    #: the register in pulses; None when it was not asked for, or did not answer
    total: int | None = None
    flow_ml_per_min: int | None = None
    temperature_decidegc: int | None = None
    faults: frozenset[str] = frozenset()
    has_new_card: bool = False
    #: what did not answer when last asked, and why; of one unit nothing, for then there is no look at all
    missing: Mapping[str, str] = field(default_factory=dict)
    #: for how long something has been missing
    blind_ms: int = 0

    @property
    def evidence(self) -> str:
        """What is missing, in words; empty when nothing is."""
        return "; ".join(f"{part}: {why}" for part, why in self.missing.items())


class Instruments(Protocol):
    """What keeps a session for a device needs of it, whether that is one unit or several."""

    valve: Valve
    meter: Meter
    cards: CardReader

    @property
    def has_more(self) -> bool:
        """Whether there is something to look at besides a meter."""

    async def identify(self) -> Identity:
        """Return who answers, and set up what keeps its valve safe; the log is not its own."""

    async def look(self, priority: Priority, *, with_meter: bool) -> Seen:
        """Return what it shows."""

    async def register(self, priority: Priority) -> int:
        """Return the meter's register, in pulses."""

    async def set_clock(self, now_ms: int) -> None:
        """Set its clock, where its map says how."""


class Instrument:
    """One unit on a bus. `roles` are what of it counts: the relays of a meter may belong to somebody else."""

    def __init__(self, bus: Bus, unit: int, register_map: RegisterMap, roles: frozenset[str] = ROLES) -> None:
        self._bus, self._unit, self.map, self._roles = bus, unit, register_map, roles
        self.access = PointAccess(bus, unit, register_map)
        self.valve = valve_of(self.access, register_map)
        self.meter = Meter(register_map)
        self.cards = CardReader(self.access, register_map)
        self._state = self.valve.state if "valve" in roles else None

    def _name(self, role: str) -> str | None:
        point = self.map.by_role(role)
        return point.name if point is not None and point.readable and self.access.known(point.name) else None

    # -- who answers

    async def identify(self) -> Identity:
        """
        Return who answers, and set up what keeps its valve safe.

        :raises DeviceMismatch: if it is not the device the map describes.
        """
        await self._check_match()
        firmware = await self._said("firmware")
        self.access.firmware = firmware_number(firmware)
        serial = await self._said("serial")
        name = self.meter.k_factor_name
        said = await self.access.read_one(name, Priority.SLOW) if name is not None else None
        if "valve" in self._roles:
            await self.valve.prepare()
        return Identity(
            model=self.map.title,
            serial=serial,
            firmware=firmware,
            k_factor_pulses_per_m3=self.meter.k_factor_pulses_per_m3(said),
            log_ack=0,
        )

    async def _check_match(self) -> None:
        match = self.map.match
        if match is None:
            return
        try:
            words = await functions.read(
                self._bus, self._unit, match.table, match.address, len(match.words), Priority.SLOW
            )
        except Declined as error:
            raise DeviceMismatch(f"has no identity of a {self.map.map_id}: {error}", unknown=True) from error
        if tuple(words) != match.words:
            seen = " ".join(f"{word:04X}" for word in words)
            raise DeviceMismatch(f"identity is {seen}, not that of {self.map.map_id}", unknown=True)

    async def _said(self, role: str) -> str:
        name = self._name(role)
        if name is None:
            return ""
        value = await self.access.read_one(name, Priority.SLOW)
        if isinstance(value, Fraction):
            return str(Decimal(value.numerator) / Decimal(value.denominator))
        return value.hex().upper() if isinstance(value, bytes) else str(value)

    # -- what it shows

    @property
    def has_more(self) -> bool:
        """Whether there is something to look at besides a meter."""
        return bool(self._quick())

    def _quick(self) -> list[str]:
        """Return the points that tell of a valve, a fault or a card."""
        state = self._state
        names = [state.name if state is not None else None, self._name("faults"), self.cards.watched]
        return [name for name in names if name is not None]

    def _metered(self) -> list[str]:
        return [name for name in self.meter.names_for(self._roles) if self.access.known(name)]

    async def look(self, priority: Priority, *, with_meter: bool) -> Seen:
        """Return what it shows; raises what `PointAccess.read` raises."""
        values = await self.access.read(self._quick() + (self._metered() if with_meter else []), priority)
        is_metered = with_meter and "meter" in self._roles
        return Seen(
            valve=self._valve_shows(values),
            total=self.meter.total(values) if is_metered else None,
            flow_ml_per_min=self.meter.flow_ml_per_min(values) if is_metered else None,
            temperature_decidegc=self.meter.temperature_decidegc(values),
            faults=self._faults(values),
            has_new_card=self.cards.shows_new(values),
        )

    async def register(self, priority: Priority) -> int:
        """Return the meter's register, in pulses; 0 where nothing is metered."""
        return self.meter.total(await self.access.read(self._metered(), priority))

    def _valve_shows(self, values: dict[str, Value]) -> str:
        if self._state is None:
            return "CLOSED"
        value = values[self._state.name]
        if isinstance(value, str | bytes) or value is None:
            raise CodecError(f"{self._state.name} is {value!r}, which is no place of a valve")
        return self.valve.shows(value)

    def _faults(self, values: dict[str, Value]) -> frozenset[str]:
        point = self.map.by_role("faults")
        value = values.get(point.name) if point is not None else None
        if point is None or not isinstance(value, int):
            return frozenset()
        if point.bits is None:
            return frozenset({"FLOW_SENSOR"}) if value else frozenset()
        return frozenset(name for bit, name in enumerate(self.map.bits[point.bits]) if value >> bit & 1)

    async def set_clock(self, now_ms: int) -> None:
        """Set the device's clock, where its map says how."""
        point = self.map.by_role("clock")
        if point is not None and point.access != "r" and point.unit == "unix_s":
            await self.access.write(point.name, now_ms // 1_000, Priority.SLOW)
