"""An outlet of two units as their makers sell them: a board of relays for the valve, a pulse counter for the meter."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction

from firmware_sim.makers import PulseCounter
from firmware_sim.map_device import MapDevice
from firmware_sim.relays import Relays
from gateway.config import ConfiguredDevice, Part
from gateway.devices.composed import ComposedInstruments, ComposedOutlet
from gateway.devices.instrument import Instrument
from gateway.devices.parts import composed_of
from hardware.model import RegisterMap
from hardware.points import load
from tests.unit.gateway.devices.map_rig import Hand, line_of

RELAY_UNIT, COUNTER_UNIT, THERMOMETER_UNIT = 5, 6, 8
K_FACTOR = "450"
#: 9 L/min at 450 pulses per liter
PULSES_PER_S = Fraction(135, 2)
ONE_SHOT, WATCHDOG = "waveshare.relay8", "wirenboard.wbmr6"


class Pipe:
    """Water behind one relay of a board, counted by one input of a counter."""

    def __init__(self, board_map: RegisterMap, *, now_ms: int, pulses_per_s: Fraction = PULSES_PER_S) -> None:
        self.relay = self.input = 1
        self.pulses_per_s = pulses_per_s
        self.counter = PulseCounter(load("wirenboard.wbmcm8"), now_ms=now_ms)
        self.board = _Board(board_map, self, now_ms=now_ms)
        #: the valve sticks where it is, whatever its relay does
        self.is_stuck = False

    def switched(self, number: int, now_ms: int) -> None:
        """Let water run, or not, as the relay says."""
        if number == self.relay and not self.is_stuck:
            self.flow(self.pulses_per_s if self.board.is_on(number) else Fraction(0), now_ms)

    def flow(self, per_s: Fraction, now_ms: int) -> None:
        """Let water run, whatever the relay says."""
        self.counter.set_rate(self.input, per_s, now_ms)

    @property
    def pulses(self) -> int:
        """What has been counted."""
        return self.counter.raw(f"count_{self.input}")


class _Board(Relays):
    def __init__(self, register_map: RegisterMap, pipe: Pipe, *, now_ms: int) -> None:
        self._pipe = pipe
        super().__init__(register_map, now_ms=now_ms)

    def _switch(self, number: int, on: bool) -> None:
        super()._switch(number, on)
        self._pipe.switched(number, self._now_ms)


def outlet_of(
    device_id: str = "dev_c1",
    *,
    valve_map: str = ONE_SHOT,
    valve: dict[str, str] | None = None,
    meter: dict[str, str] | None = None,
    temperature_map: str = "",
    k_factor: str = K_FACTOR,
) -> ConfiguredDevice:
    """Return an outlet that is made of parts."""
    parts = [
        Part(role="valve", line_id="l1", unit=RELAY_UNIT, map_id=valve_map, points=valve or {}),
        Part(
            role="meter",
            line_id="l1",
            unit=COUNTER_UNIT,
            map_id="wirenboard.wbmcm8",
            points=meter or {},
            k_factor=k_factor,
        ),
    ]
    if temperature_map:
        parts.append(Part(role="temperature", line_id="l1", unit=THERMOMETER_UNIT, map_id=temperature_map))
    return ConfiguredDevice(
        device_id=device_id, line_id="l1", unit=RELAY_UNIT, map_id=valve_map, kind="outlet", parts=tuple(parts)
    )


def maps_of(device: ConfiguredDevice) -> dict[str, RegisterMap]:
    """Return the maps of a device's parts."""
    return {part.map_id: load(part.map_id) for part in device.parts}


class Rig:
    """The outlet's driver, the simulated units, and the hand of the clock both read."""

    def __init__(self, clock: Hand, pipe: Pipe, units: dict[int, MapDevice], outlet: ComposedOutlet) -> None:
        self.clock, self.pipe, self.units, self.outlet = clock, pipe, units, outlet

    async def after(self, ms: int, *, step_ms: int = 200) -> None:
        """Let time pass, with the gateway looking every step."""
        for _ in range(ms // step_ms):
            self.clock.ms += step_ms
            self.pipe.board.tick(self.clock.ms)
            await self.outlet.flags()

    def part(self, role: str) -> Instrument:
        """Return the driver of one part."""
        instruments = self.outlet._instruments
        assert isinstance(instruments, ComposedInstruments)
        return instruments._parts[role]

    def rested(self, unit: int) -> None:
        """Have a unit that is back asked at once, and not when it has rested."""
        self.part("valve")._bus.unit(unit).failures = 0

    def lose(self, unit: int) -> MapDevice:
        """Cut a unit off and return it; it goes on doing what it did."""
        return self.units.pop(unit)

    async def records(self) -> list[tuple[str, str, int, int]]:
        """Return kind, label, session pulses and register of everything written down."""
        page, found = await self.outlet.log_page(1), []
        while page.records:
            found += [(r.kind, r.label, r.session_pulses, r.total_pulses) for r in page.records]
            page = await self.outlet.log_page(page.through + 1)
        return found


@asynccontextmanager
async def rig(
    device: ConfiguredDevice | None = None,
    *,
    more: Callable[[Hand], dict[int, MapDevice]] = lambda clock: {},
) -> AsyncIterator[Rig]:
    """Yield a composed outlet whose units are all there."""
    device, clock = device or outlet_of(), Hand()
    maps = maps_of(device)
    pipe = Pipe(maps[device.map_id], now_ms=clock.ms)
    units: dict[int, MapDevice] = {RELAY_UNIT: pipe.board, COUNTER_UNIT: pipe.counter, **more(clock)}
    async with line_of(units, clock, timeout_ms=60) as bus:
        outlet = composed_of(device, maps, {"l1": bus}, clock=clock)
        await outlet.identify()
        yield Rig(clock, pipe, units, outlet)
