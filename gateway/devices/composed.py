"""
An outlet that is made of several units: a relay for the valve, a counter for the meter, perhaps a thermometer.

Each part has its own map, unit and line. A part that does not answer does not keep the others from being read: the
valve is closed when the meter is gone, and the meter is read when the valve is gone. What is missing is said with its
reason, and nothing opens.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.devices.instrument import UNKNOWN, Instrument, Seen
from gateway.devices.keeper import SessionKeeper
from gateway.devices.ports import DeviceMismatch, Identity
from gateway.devices.stillness import Stillness
from gateway.modbus.bus import BusError, NoAnswer, NotTried, Priority
from gateway.modbus.codec import CodecError

#: one answer that is lost on a bad line is no fault yet
FAILURES_BEFORE_SILENT = 2
#: what a part is that answers nonsense
_NONSENSE = {"valve": "STUCK_CLOSED", "meter": "FLOW_SENSOR", "temperature": "TEMP_SENSOR"}


@dataclass(slots=True)
class _Trouble:
    """A part that did not answer when last asked."""

    since_ms: int
    failures: int
    why: str
    fault: str


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Say of which part an error speaks."""
    try:
        yield
    except NoAnswer as error:
        raise NoAnswer(f"{part}: {error}") from error
    except NotTried as error:
        raise NotTried(f"{part}: {error}") from error
    except CodecError as error:
        raise CodecError(f"{part}: {error}") from error
    except DeviceMismatch as error:
        raise DeviceMismatch(f"{part}: {error}", unknown=error.unknown) from error


class ComposedInstruments:
    """Parts by role: `valve` and `meter`, and `temperature` where it is a part of its own."""

    def __init__(self, parts: Mapping[str, Instrument], clock: Callable[[], int]) -> None:
        self._parts, self._clock = parts, clock
        self.valve, self.meter = parts["valve"].valve, parts["meter"].meter
        readers = [part.cards for part in parts.values() if part.cards.watched is not None]
        self.cards = readers[0] if readers else parts["valve"].cards
        self._troubles: dict[str, _Trouble] = {}
        #: faults that the parts themselves reported when last read
        self._told: dict[str, frozenset[str]] = {}
        self.has_more = True
        #: whether who last answered as the valve is the valve: to nobody else is written
        self.is_valve_known = False

    async def identify(self) -> Identity:
        """
        Return who answers, all of them, with the meter's serial number and K-factor.

        :raises DeviceMismatch: if one is not the device its map describes.
        """
        found = {}
        for part in sorted(self._parts, key=lambda part: part != "valve"):  # the valve first: it may have to be closed
            try:
                with _named(part):
                    found[part] = await self._parts[part].identify()
            except DeviceMismatch:
                self.is_valve_known = self.is_valve_known and part != "valve"
                raise
            self.is_valve_known |= part == "valve"
        self._troubles.clear()
        return Identity(
            model=" + ".join(found[part].model for part in self._parts),
            serial=found["meter"].serial,
            firmware=" + ".join(found[part].firmware or "-" for part in self._parts),
            k_factor_pulses_per_m3=found["meter"].k_factor_pulses_per_m3,
            log_ack=0,
        )

    async def look(self, priority: Priority, *, with_meter: bool) -> Seen:
        """Return what the parts show that answer. What is not asked now is as missing as when it was last asked."""
        seen = {}
        for part in self._parts if with_meter else ["valve"]:
            answer = await self._ask(part, priority)
            if answer is not None:
                seen[part] = answer
        valve, meter = seen.get("valve"), seen.get("meter")
        warm = seen.get("temperature", meter)
        silent = {each.fault for each in self._troubles.values() if each.failures >= FAILURES_BEFORE_SILENT}
        now = self._clock()
        return Seen(
            valve=valve.valve if valve is not None else UNKNOWN,
            total=meter.total if meter is not None else None,
            flow_ml_per_min=meter.flow_ml_per_min if meter is not None else None,
            temperature_decidegc=warm.temperature_decidegc if warm is not None else None,
            faults=frozenset(silent).union(*self._told.values()),
            has_new_card=any(each.has_new_card for each in seen.values()),
            missing={part: each.why for part, each in self._troubles.items()},
            # our clock may be set back by an hour meanwhile
            blind_ms=max((abs(now - each.since_ms) for each in self._troubles.values()), default=0),
        )

    async def _ask(self, part: str, priority: Priority) -> Seen | None:
        """Return what a part shows, or None and note why it does not."""
        try:
            seen = await self._parts[part].look(priority, with_meter=part != "valve")
            if part == "temperature" and seen.temperature_decidegc is None:
                raise CodecError("shows no temperature")
        except (BusError, CodecError) as error:
            self._missed(part, error)
            return None
        self._troubles.pop(part, None)
        self._told[part] = seen.faults
        return seen

    def _missed(self, part: str, error: BusError | CodecError) -> None:
        fault = _NONSENSE[part] if isinstance(error, CodecError) else "DEVICE_SILENT"
        known = self._troubles.setdefault(part, _Trouble(self._clock(), 0, str(error), fault))
        known.failures += 1
        if not isinstance(error, NotTried):  # a unit that rests has nothing new to say for itself
            known.why, known.fault = str(error), fault

    async def register(self, priority: Priority) -> int:
        """Return the meter's register, in pulses."""
        with _named("meter"):
            return await self._parts["meter"].register(priority)

    async def set_clock(self, now_ms: int) -> None:
        """Set the clocks of those parts that have one."""
        for part, instrument in self._parts.items():
            with _named(part):
                await instrument.set_clock(now_ms)


class ComposedOutlet(SessionKeeper):
    """One outlet, several units."""

    def __init__(self, parts: Mapping[str, Instrument], *, clock: Callable[[], int], first_sequence: int = 1) -> None:
        """`clock` gives milliseconds since 1970; `first_sequence` numbers the first record, above all earlier ones."""
        self._composed = ComposedInstruments(parts, clock)
        super().__init__(self._composed, clock=clock, first_sequence=first_sequence, stillness=Stillness())

    async def identify(self) -> Identity:
        """
        Return who answers.

        Until all have said so, nobody looks further: a valve that was left open, or whose session goes on, is seen to
        here. Being asked who it is may even be what keeps its dead-man from closing it.

        :raises DeviceMismatch: if one is not the device its map describes.
        """
        try:
            return await super().identify()
        except (BusError, CodecError, DeviceMismatch):
            if self._composed.is_valve_known:
                await self._shut(await self._look(Priority.HOT, with_meter=self._session is not None))
            raise
