"""
A site: its devices, the water behind them and the lines they hang on, moved along in fixed steps.

The world is still pure of sockets and clocks: `advance(now_ms)` catches up with the time it is told. A device without
power is only its memory file; giving power back builds it anew from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from firmware_sim import makers_place
from firmware_sim.access_reader import AccessReader
from firmware_sim.device import Identity, LogEntry
from firmware_sim.mailbox import CODE, UID
from firmware_sim.makers import device_of
from firmware_sim.map_device import MapDevice
from firmware_sim.mishaps import FELT, PIPE_FAULTS, break_pipe
from firmware_sim.nvm import NonVolatile
from firmware_sim.physics.kinds import Bools
from firmware_sim.plant import plant_of
from firmware_sim.station import SiteLine, Station
from firmware_sim.station_state import state_of, valve_step
from firmware_sim.water_outlet import WaterOutlet
from firmware_sim.world_log import OnStep, nobody
from hardware.points import load

TICK_MS = 50
#: longest time made up for in one go; a process that slept longer starts again from now
CATCH_UP_MS = 2_000


class ControlRefused(Exception):
    """The site cannot do what it was asked; the message says why."""


class World:
    """All stations of a plan."""

    def __init__(
        self,
        plan: Mapping[str, Any],
        *,
        open_nvm: Callable[[str], NonVolatile],
        now_ms: int,
        unix_offset_ms: int,
        on_entry: Callable[[str, LogEntry], None] = lambda device_id, entry: None,
        on_step: OnStep = nobody,
    ) -> None:
        """
        Build and power every device of the plan.

        `open_nvm` gives each device id its memory; `unix_offset_ms` plus the monotonic time is the wall clock of the
        devices' battery-backed clocks; `on_entry` hears each log record once, `on_step` each step of the world.
        """
        self.now_ms = now_ms
        self._unix_offset_ms = unix_offset_ms
        #: by line, whoever serves it lets its noise be changed here: settings, and one unit or None for all
        self.noise_doors: dict[str, Callable[[Mapping[str, object], int | None], None]] = {}
        self._on_entry = on_entry
        self.on_step = on_step
        outlets = [makers_place.fixture_row(raw) for raw in plan["devices"] if makers_place.with_fixture(raw)]
        fixtures = {raw["device_id"]: index for index, raw in enumerate(outlets)}
        self.plant = plant_of(plan, outlets)
        for device_id, lpm in plan.get("leaks_lpm", {}).items():
            self.plant.broken.leak_lpm[fixtures[device_id]] = lpm
        self.stations: dict[str, Station] = {}
        self.lines: dict[str, SiteLine] = {}
        for number, raw in enumerate(plan["devices"], start=1):
            station = self._station(raw, number, fixtures, open_nvm)
            self.stations[station.device_id] = station
            self.lines.setdefault(station.line_id, SiteLine()).add(station)
            self._power_up(station)
            if makers_place.by_hand(raw):
                self.plant.mixer_open[station.fixture] = False

    def _station(
        self,
        raw: Mapping[str, Any],
        number: int,
        fixtures: Mapping[str, int],
        open_nvm: Callable[[str], NonVolatile],
    ) -> Station:
        device_id = raw["device_id"]
        is_outlet = raw["map_id"] == "chw.hwo1"
        return Station(
            device_id=device_id,
            line_id=raw["line_id"],
            unit_id=raw["unit"],
            map_id=raw["map_id"],
            identity=Identity(
                device_id=device_id,
                serial=f"{'HW' if is_outlet else 'AC'}-{number:05d}",
                device_uid=0x4357_0000_0000_0000 + number,
                model="HWO-1" if is_outlet else "ACR-1",
                k_factor_pulses_per_m3=int(raw.get("k_factor_pulses_per_m3") or 0),
            ),
            nvm=open_nvm(device_id),
            fixture=fixtures.get(device_id, -1),
            behind=tuple(fixtures[other] for other in raw.get("behind", ())),
            drift_ppm=float(raw.get("clock_ppm", 0.0)),
            has_clock_battery=bool(raw.get("clock_battery", True)),
        )

    def _power_up(self, station: Station) -> None:
        station.power_back_at_ms = 0
        if station.map_id not in makers_place.OWN_MAPS:
            self._wake(station)
            return
        kind = WaterOutlet if station.map_id == "chw.hwo1" else AccessReader
        station.device = device = kind(
            load(station.map_id),
            station.identity,
            station.nvm,
            now_ms=self.now_ms,
            unix_ms=self.now_ms + self._unix_offset_ms if station.has_clock_battery else None,
        )
        device.inputs = station.inputs
        for name in sorted(station.forced):
            device.force_fault(name, True)
        self._collect(station)

    def _wake(self, station: Station) -> None:
        """Give a maker's device its power: a new one, or the one that was there before."""
        k_factor = station.identity.k_factor_pulses_per_m3
        found = station.asleep or device_of(load(station.map_id), now_ms=self.now_ms, k_factor_pulses_per_m3=k_factor)
        found.have_power(self.now_ms)
        station.device, station.asleep = found, None

    def _collect(self, station: Station) -> None:
        device = station.device
        if device is None or isinstance(device, MapDevice):
            return
        entries, device.entries = device.entries, []
        for entry in entries:
            self._on_entry(station.device_id, entry)
            record = entry.record
            self.on_step(
                entry.type_name,
                station.device_id,
                {"session": record.subject_id, "tag": record.token_tag, "count": record.count, "total": record.total},
            )

    # time ---------------------------------------------------------------------------------------------------------

    def advance(self, now_ms: int) -> None:
        """Catch up with `now_ms` in whole ticks."""
        if now_ms - self.now_ms > CATCH_UP_MS:
            self.now_ms = now_ms - TICK_MS
        while self.now_ms + TICK_MS <= now_ms:
            self.now_ms += TICK_MS
            self._tick()

    def _tick(self) -> None:
        for station in self.stations.values():
            if station.power_back_at_ms and self.now_ms >= station.power_back_at_ms:
                self._power_up(station)
                self.on_step("power_back", station.device_id, {})
        driven: Bools = np.zeros(len(self.plant.valve), dtype=np.bool_)
        for station in self.stations.values():
            device = station.device
            if isinstance(device, WaterOutlet):
                driven[station.fixture] = device.valve_drive
                if device.valve_drive and not station.was_open:
                    self.plant.mixer_open[station.fixture] = True
                station.was_open = device.busy()
            elif isinstance(device, MapDevice) and station.fixture >= 0:
                driven[station.fixture] = self._lets_run(station, device)
        pulses = self.plant.step(TICK_MS / 1000, driven).tolist()
        reverse = self.plant.reverse_pulses().tolist()
        temperatures = self.plant.temperatures_decidegc().tolist()
        for station in self.stations.values():
            device, at = station.device, station.fixture
            if station.drift_ppm:
                self._drift(station)
            if isinstance(device, WaterOutlet):
                temp = None if station.temp_sensor_broken else temperatures[at]
                device.tick(self.now_ms, pulses=pulses[at], temp_decidegc=temp, reverse_pulses=reverse[at])
            elif isinstance(device, MapDevice):
                water = station.behind or ((at,) if at >= 0 else ())
                flow_lpm = float(sum(self.plant.flow_lpm[each] for each in water))
                makers_place.feed(device, self.now_ms, pulses=[pulses[each] for each in water], flow_lpm=flow_lpm)
            elif device is not None:
                device.tick(self.now_ms)
            self._collect(station)
            if isinstance(device, WaterOutlet):
                self._note_valve(station, device)

    def _lets_run(self, station: Station, device: MapDevice) -> bool:
        """Return whether water may run at a maker's device; who opens a valve finds the mixer open."""
        runs = makers_place.lets_run(device, hand_open=bool(self.plant.mixer_open[station.fixture]))
        if makers_place.has_valve(device.map) and runs != station.drove:
            self.on_step("valve_open" if runs else "valve_shut", station.device_id, {"map": station.map_id})
            if runs:
                self.plant.mixer_open[station.fixture] = True
        station.drove = runs
        return runs

    def _note_valve(self, station: Station, device: WaterOutlet) -> None:
        """Tell when a valve begins or ends to be driven, and for whom."""
        if device.valve_drive != station.drove:
            station.drove = device.valve_drive
            step = "valve_open" if station.drove else "valve_shut"
            self.on_step(step, station.device_id, valve_step(station, device, self.now_ms))

    def _drift(self, station: Station) -> None:
        station.drift_rest_ms += TICK_MS * station.drift_ppm / 1e6
        whole_ms = int(station.drift_rest_ms)
        station.drift_rest_ms -= whole_ms
        if whole_ms and isinstance(station.device, WaterOutlet | AccessReader):
            station.device.clock.slip(whole_ms)

    def shut_down(self) -> None:
        """Let every device save itself, as on a falling supply."""
        for station in self.stations.values():
            if isinstance(station.device, WaterOutlet | AccessReader):
                station.device.falling_supply(self.now_ms)

    # people and electricians --------------------------------------------------------------------------------------

    def station(self, device_id: Any) -> Station:
        """Return a station; ControlRefused when there is none."""
        if not isinstance(device_id, str) or device_id not in self.stations:
            raise ControlRefused(f"no device is called {device_id!r}")
        return self.stations[device_id]

    def _powered(self, station: Station) -> WaterOutlet | AccessReader:
        if station.device is None:
            raise ControlRefused(f"{station.device_id} has no power")
        if isinstance(station.device, MapDevice):
            raise ControlRefused(f"{station.device_id} is a {station.map_id}, which has no such thing")
        return station.device

    def _outlet(self, device_id: Any) -> WaterOutlet:
        device = self._powered(self.station(device_id))
        if not isinstance(device, WaterOutlet):
            raise ControlRefused(f"{device_id} is not an outlet")
        return device

    def _door(self, device_id: Any) -> AccessReader:
        device = self._powered(self.station(device_id))
        if not isinstance(device, AccessReader):
            raise ControlRefused(f"{device_id} is not a door")
        return device

    def present(self, device_id: Any, *, source: int, uid: bytes = b"", payload: bytes = b"", side: str = "in") -> int:
        """Hold a card (source UID) or a code (source CODE) before a reader; return the mailbox sequence."""
        station = self.station(device_id)
        if isinstance(station.device, MapDevice) and source == UID:
            try:
                makers_place.hold_card(station.device, uid, self.now_ms)
            except ValueError as error:
                raise ControlRefused(str(error)) from error
            return 0
        device = self._powered(station)
        assert source in (UID, CODE)
        prefix = "mbx" if isinstance(device, WaterOutlet) else {"in": "mbx_a", "out": "mbx_b"}.get(side)
        if prefix is None:
            raise ControlRefused(f"side must be in or out, not {side!r}")
        return device.mailboxes[prefix].post(
            source=source, uid=uid, payload=payload, now_ms=self.now_ms, unix_time=device.unix_ms() // 1000
        )

    def open_mixer(self, device_id: Any, open_: bool) -> None:
        """Let the person at an outlet open or close the mixer."""
        station = self.station(device_id)
        if not isinstance(station.device, MapDevice):
            self._outlet(device_id)
        elif station.fixture < 0:
            raise ControlRefused(f"no water runs at {device_id}")
        self.plant.mixer_open[station.fixture] = open_

    def press_button(self, device_id: Any) -> None:
        """Press the stop button of an outlet."""
        self._outlet(device_id).press_stop(self.now_ms)

    def walk(self, device_id: Any, direction: Any, *, force: bool) -> str:
        """Let someone walk at a door's arm; return what happened."""
        if direction not in ("in", "out"):
            raise ControlRefused(f"direction must be in or out, not {direction!r}")
        device = self._door(device_id)
        outcome = device.walk(self.now_ms, direction, force=force)
        self._collect(self.stations[device_id])
        return outcome

    def chosen(self, device_id: Any, line_id: Any = None) -> list[Station]:
        """Return one device's station, those of a line, or all."""
        if device_id is not None:
            return [self.station(device_id)]
        if line_id is None:
            return list(self.stations.values())
        found = [station for station in self.stations.values() if station.line_id == line_id]
        if not found:
            raise ControlRefused(f"no line is called {line_id!r}")
        return found

    def cut_power(self, device_id: Any, seconds: float, *, hard: bool, line_id: Any = None) -> None:
        """Take power away for a while; `hard` leaves no charge to save with. No device: the line; no line: all."""
        for station in self.chosen(device_id, line_id):
            device = station.device
            if isinstance(device, MapDevice):
                device.lose_power(self.now_ms)
                station.asleep = device
            elif device is not None and not hard:
                device.falling_supply(self.now_ms)
            if station.drove:
                self.on_step("valve_shut", station.device_id, {"power": False, "map": station.map_id})
            station.device = None
            station.was_open = station.drove = False
            station.power_back_at_ms = self.now_ms + max(TICK_MS, round(seconds * 1000))

    def set_silent(self, device_id: Any, silent: bool) -> None:
        """Break or mend the wire to one device; the device itself goes on."""
        self.station(device_id).silent = silent

    def set_clock(
        self, device_id: Any, *, drift_ppm: float, has_battery: bool, lose: bool, line_id: Any = None
    ) -> None:
        """Let clocks run wrong, take their batteries out or put them back, or let them forget the time now."""
        for station in self.chosen(device_id, line_id):
            station.drift_ppm, station.has_clock_battery = drift_ppm, has_battery
            if lose and isinstance(station.device, WaterOutlet | AccessReader):
                station.device.clock.lose()
                station.device.set_fault("CLOCK_UNSET", True)

    def set_noise(self, device_id: Any, line_id: Any, settings: Mapping[str, object]) -> None:
        """Change what goes wrong on the wire to one device or on a whole line; nothing set is a clean wire."""
        station = None if device_id is None else self.station(device_id)
        door = self.noise_doors.get(station.line_id if station else str(line_id))
        if door is None:
            raise ControlRefused(f"no line is called {line_id!r}, or nobody serves it")
        try:
            door(settings, station.unit_id if station else None)
        except (ValueError, TypeError) as error:
            raise ControlRefused(str(error)) from error

    def set_fault(self, device_id: Any, fault: Any, on: bool) -> None:
        """Break or mend something: in the pipes, at what the device feels, or else as a fault bit held on."""
        station = self.station(device_id)
        name = str(fault).lower()
        is_ours = station.map_id in makers_place.OWN_MAPS
        pipe_faults = PIPE_FAULTS if station.fixture >= 0 else {}
        bits = load(station.map_id).bits["faults"] if is_ours else ()
        felt = FELT if is_ours else {}
        if name.upper() not in bits and name not in pipe_faults and name not in felt:
            known = ", ".join(sorted({*pipe_faults, *felt, *(bit.lower() for bit in bits)})) or "none here"
            raise ControlRefused(f"no fault is called {fault!r}; there are {known}")
        if name in pipe_faults:
            if name == "temp_sensor":
                station.temp_sensor_broken = on
            break_pipe(self.plant, station.fixture, name, on)
            if pipe_faults[name]:
                self._force(station, pipe_faults[name], on)
        if name in felt:
            station.inputs = replace(station.inputs, **felt[name][0 if on else 1])
            if isinstance(station.device, WaterOutlet | AccessReader):
                station.device.inputs = station.inputs
        elif station.fixture < 0 and name == "fire_input":
            door = self._door(device_id)
            door.fire(self.now_ms, on)
            station.inputs = door.inputs
        elif name not in pipe_faults:
            self._force(station, name.upper(), on)
        self._collect(station)

    def _force(self, station: Station, name: str, on: bool) -> None:
        """Hold a fault bit on for as long as its part is broken, or let it go; a device without power hears later."""
        (station.forced.add if on else station.forced.discard)(name)
        if isinstance(station.device, WaterOutlet | AccessReader):
            station.device.force_fault(name, on)

    def state(self, device_id: Any = None) -> list[dict[str, Any]]:
        """Return what each device is doing, or one of them."""
        chosen = list(self.stations.values()) if device_id is None else [self.station(device_id)]
        return [state_of(station, self.plant, self.now_ms) | self._counted(station) for station in chosen]

    def _counted(self, station: Station) -> dict[str, Any]:
        """Return what a counter behind a valve shows for it; nothing where there is none or it has no power."""
        for other in self.stations.values() if station.fixture >= 0 else ():
            if station.fixture in other.behind and isinstance(other.device, MapDevice):
                channel = other.behind.index(station.fixture) + 1
                return {"total_pulses": other.device.raw(f"count_{channel}")}
        return {}
