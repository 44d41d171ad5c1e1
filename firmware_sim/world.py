"""
A site: its devices, the water behind them and the lines they hang on, moved along in fixed steps.

The world is still pure of sockets and clocks: `advance(now_ms)` catches up with the time it is told. A device without
power is only its memory file; giving power back builds it anew from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from firmware_sim.access_reader import AccessReader
from firmware_sim.device import Identity, LogEntry
from firmware_sim.mailbox import CODE, UID
from firmware_sim.mishaps import FELT, PIPE_FAULTS, break_pipe
from firmware_sim.nvm import NonVolatile
from firmware_sim.panel import panel
from firmware_sim.physics.kinds import Bools
from firmware_sim.plant import plant_of
from firmware_sim.station import SiteLine, Station
from firmware_sim.water_outlet import WaterOutlet
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
    ) -> None:
        """
        Build and power every device of the plan.

        `open_nvm` gives each device id its memory; `unix_offset_ms` plus the monotonic time is the wall clock of the
        devices' battery-backed clocks; `on_entry` hears each log record once.
        """
        self.now_ms = now_ms
        self._unix_offset_ms = unix_offset_ms
        #: by line, whoever serves it lets its noise be changed here: settings, and one unit or None for all
        self.noise_doors: dict[str, Callable[[Mapping[str, object], int | None], None]] = {}
        self._on_entry = on_entry
        outlets = [raw for raw in plan["devices"] if raw["map_id"] == "chw.hwo1"]
        fixtures = {raw["device_id"]: index for index, raw in enumerate(outlets)}
        self.plant = plant_of(plan, outlets)
        self.stations: dict[str, Station] = {}
        self.lines: dict[str, SiteLine] = {}
        for number, raw in enumerate(plan["devices"], start=1):
            station = self._station(raw, number, fixtures.get(raw["device_id"], -1), open_nvm)
            self.stations[station.device_id] = station
            self.lines.setdefault(station.line_id, SiteLine()).add(station)
            self._power_up(station)

    def _station(
        self, raw: Mapping[str, Any], number: int, fixture: int, open_nvm: Callable[[str], NonVolatile]
    ) -> Station:
        device_id = raw["device_id"]
        k_factor = int(raw.get("k_factor_pulses_per_m3") or 0)
        model = "HWO-1" if fixture >= 0 else "ACR-1"
        return Station(
            device_id=device_id,
            line_id=raw["line_id"],
            unit_id=raw["unit"],
            map_id=raw["map_id"],
            identity=Identity(
                device_id=device_id,
                serial=f"{'HW' if fixture >= 0 else 'AC'}-{number:05d}",
                device_uid=0x4357_0000_0000_0000 + number,
                model=model,
                k_factor_pulses_per_m3=k_factor,
            ),
            nvm=open_nvm(device_id),
            fixture=fixture,
        )

    def _power_up(self, station: Station) -> None:
        register_map = load(station.map_id)
        kind = WaterOutlet if station.fixture >= 0 else AccessReader
        station.power_back_at_ms = 0
        station.device = kind(
            register_map,
            station.identity,
            station.nvm,
            now_ms=self.now_ms,
            unix_ms=self.now_ms + self._unix_offset_ms if station.has_clock_battery else None,
        )
        station.device.inputs = station.inputs
        for name in sorted(station.forced):
            station.device.force_fault(name, True)
        self._collect(station)

    def _collect(self, station: Station) -> None:
        if station.device is None:
            return
        entries, station.device.entries = station.device.entries, []
        for entry in entries:
            self._on_entry(station.device_id, entry)

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
        driven: Bools = np.zeros(len(self.plant.valve), dtype=np.bool_)
        for station in self.stations.values():
            device = station.device
            if isinstance(device, WaterOutlet):
                driven[station.fixture] = device.valve_drive
                if device.valve_drive and not station.was_open:
                    self.plant.mixer_open[station.fixture] = True
                station.was_open = device.busy()
        pulses = self.plant.step(TICK_MS / 1000, driven).tolist()
        reverse = self.plant.reverse_pulses().tolist()
        temperatures = self.plant.temperatures_decidegc().tolist()
        for station in self.stations.values():
            device = station.device
            if station.drift_ppm:
                self._drift(station)
            if isinstance(device, WaterOutlet):
                at = station.fixture
                temp = None if station.temp_sensor_broken else temperatures[at]
                device.tick(self.now_ms, pulses=pulses[at], temp_decidegc=temp, reverse_pulses=reverse[at])
            elif device is not None:
                device.tick(self.now_ms)
            self._collect(station)

    def _drift(self, station: Station) -> None:
        station.drift_rest_ms += TICK_MS * station.drift_ppm / 1e6
        whole_ms = int(station.drift_rest_ms)
        station.drift_rest_ms -= whole_ms
        if whole_ms and station.device is not None:
            station.device.clock.slip(whole_ms)

    def shut_down(self) -> None:
        """Let every device save itself, as on a falling supply."""
        for station in self.stations.values():
            if station.device is not None:
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
        device = self._powered(self.station(device_id))
        assert source in (UID, CODE)
        prefix = "mbx" if isinstance(device, WaterOutlet) else {"in": "mbx_a", "out": "mbx_b"}.get(side)
        if prefix is None:
            raise ControlRefused(f"side must be in or out, not {side!r}")
        return device.mailboxes[prefix].post(
            source=source, uid=uid, payload=payload, now_ms=self.now_ms, unix_time=device.unix_ms() // 1000
        )

    def open_mixer(self, device_id: Any, open_: bool) -> None:
        """Let the person at an outlet open or close the mixer."""
        self._outlet(device_id)
        self.plant.mixer_open[self.stations[device_id].fixture] = open_

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
            if station.device is not None and not hard:
                station.device.falling_supply(self.now_ms)
            station.device = None
            station.was_open = False
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
            if lose and station.device is not None:
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
        pipe_faults = PIPE_FAULTS if station.fixture >= 0 else {}
        bits = load(station.map_id).bits["faults"]
        if name.upper() not in bits and name not in pipe_faults and name not in FELT:
            known = ", ".join(sorted({*pipe_faults, *FELT, *(bit.lower() for bit in bits)}))
            raise ControlRefused(f"no fault is called {fault!r}; there are {known}")
        if name in pipe_faults:
            if name == "temp_sensor":
                station.temp_sensor_broken = on
            break_pipe(self.plant, station.fixture, name, on)
            if pipe_faults[name]:
                self._force(station, pipe_faults[name], on)
        if name in FELT:
            station.inputs = replace(station.inputs, **FELT[name][0 if on else 1])
            if station.device is not None:
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
        if station.device is not None:
            station.device.force_fault(name, on)

    def state(self, device_id: Any = None) -> list[dict[str, Any]]:
        """Return what each device is doing, or one of them."""
        chosen = list(self.stations.values()) if device_id is None else [self.station(device_id)]
        return [self._state(station) for station in chosen]

    def _state(self, station: Station) -> dict[str, Any]:
        device = station.device
        kind = "outlet" if station.fixture >= 0 else "door"
        line = {"device": station.device_id, "kind": kind, "powered": device is not None, "silent": station.silent}
        if device is None:
            return line
        front = panel(device, self.now_ms)
        line |= {
            "state": device.state.lower(),
            "faults": [name.lower() for name in device.fault_names()],
            "boot_id": device.boot_id,
            "log_head": device.log.head,
            "log_ack": device.log.acked,
            "mailbox_pending": any(box.pending for box in device.mailboxes.values()),
            "link_age_s": device.link_age_s(),
            "display": front.display,
            "lamp": front.lamp,
            "buzzer": front.buzzer,
        }
        if isinstance(device, AccessReader):
            grant = device.grant
            return line | {
                "grant_id": grant.grant_id if grant else 0,
                "grant_left_ms": device.grant_left_ms(),
                "pass_in": device.passages[1],
                "pass_out": device.passages[2],
            }
        return line | {
            "valve_open": device.valve_drive,
            "sensor_plugged": not bool(self.plant.broken.meter_dead[station.fixture]),
            "mixer_open": bool(self.plant.mixer_open[station.fixture]),
            "session_u32": device.dispense.session_id if device.dispense else 0,
            "sess_pulses": device.session_pulses(),
            "sess_volume_ml": device.volume_ml(device.session_pulses()),
            "total_pulses": device.total_pulses,
            "k_factor_pulses_per_m3": device.config["cfg_cal_k"],
            "flow_ml_per_min": device.flow_centilpm() * 10,
            "temp_decidegc": device.temp,
            "close_reason": device.close_reason.lower(),
            "lease_left_ms": device.lease_left_ms(),
        }
