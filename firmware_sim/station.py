"""Places on a line and what hangs there."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from firmware_sim.access_reader import AccessReader
from firmware_sim.device import Identity
from firmware_sim.inputs import Inputs
from firmware_sim.map_device import MapDevice
from firmware_sim.nvm import NonVolatile
from firmware_sim.pdu import Unit
from firmware_sim.water_outlet import WaterOutlet


@dataclass(slots=True, kw_only=True)
class Station:
    """One place on a line: the device when it has power, and what people and electricians do to it."""

    device_id: str
    line_id: str
    unit_id: int
    map_id: str
    identity: Identity
    nvm: NonVolatile
    #: index in the plant, -1 for what has no water of its own
    fixture: int
    device: WaterOutlet | AccessReader | MapDevice | None = None
    #: a maker's device while it has no power: its totals and settings outlast it
    asleep: MapDevice | None = None
    #: it only measures what other devices' valves let run: their fixtures, one a channel
    behind: tuple[int, ...] = ()
    #: whether its valve was driven at the last tick
    drove: bool = False
    power_back_at_ms: int = 0
    silent: bool = False
    temp_sensor_broken: bool = False
    #: what it feels besides water and bus; stays what it is over a power cut
    inputs: Inputs = field(default_factory=Inputs)
    #: fault bits that a broken part holds on, also over a power cut
    forced: set[str] = field(default_factory=set)
    #: how fast its clock runs wrong, and what of that is not a whole millisecond yet
    drift_ppm: float = 0.0
    drift_rest_ms: float = 0.0
    #: without one, the clock is unset after each power cut
    has_clock_battery: bool = True
    was_open: bool = False

    @property
    def moved_to(self) -> int | None:
        """Return the address it booted with, where that is not the one it is wired to."""
        device = self.device
        return None if device is None or isinstance(device, MapDevice) else device.moved_to


class SiteLine:
    """The stations of one line by unit id; implements `firmware_sim.bus.Line`."""

    def __init__(self) -> None:
        self._stations: dict[int, Station] = {}

    def add(self, station: Station) -> None:
        """Hang a station on the line; two with one unit id are a wiring mistake."""
        if station.unit_id in self._stations or not 1 <= station.unit_id <= 247:
            raise ValueError(f"unit {station.unit_id} of {station.device_id} is taken or not within 1 to 247")
        self._stations[station.unit_id] = station

    def unit(self, unit_id: int) -> Unit | None:
        """Return the unit that answers now: the one wired there, unless it booted with another address."""
        station = self._stations.get(unit_id)
        if station is None or station.moved_to not in (None, unit_id):
            station = self._moved(unit_id)
        return None if station is None or station.silent else station.device

    def _moved(self, unit_id: int) -> Station | None:
        for station in self._stations.values():
            if station.moved_to == unit_id:
                return station
        return None

    def units(self) -> Sequence[Unit]:
        """Return every unit that hears a broadcast now."""
        return [s.device for s in self._stations.values() if s.device is not None and not s.silent]
