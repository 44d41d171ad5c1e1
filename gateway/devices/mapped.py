"""An outlet, meter or reader that is one unit and known by its map alone."""

from collections.abc import Callable

from gateway.devices.instrument import Instrument
from gateway.devices.keeper import SessionKeeper
from gateway.modbus.bus import Bus
from hardware.model import RegisterMap


class MappedOutlet(SessionKeeper):
    """One unit on a bus."""

    def __init__(
        self, bus: Bus, unit: int, register_map: RegisterMap, *, clock: Callable[[], int], first_sequence: int = 1
    ) -> None:
        """`clock` gives milliseconds since 1970; `first_sequence` numbers the first record, above all earlier ones."""
        instrument = Instrument(bus, unit, register_map)
        super().__init__(instrument, clock=clock, first_sequence=first_sequence)
        self.access = instrument.access
