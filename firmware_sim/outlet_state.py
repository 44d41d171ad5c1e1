"""What an outlet knows: session, counters and faults, and what of it survives a power cut."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from firmware_sim.device import NO_TEMPERATURE, Device
from firmware_sim.inputs import Inputs
from firmware_sim.outlet_rules import CLEARABLE, Limits

TRAVEL_MS = 300
FLOW_WINDOW_MS = 1_000
CAL_K_MIN = 1_000
#: joules that warm a kilogram of water by one degree, times what makes milliliters and tenths of a degree of it
WATER_J_PER_KG_K = 4_186
ENERGY_UNITS_PER_WH = 36_000_000
_SLOT = ("session_id", "token_tag", "opening_pulses")


@dataclass(slots=True, kw_only=True)
class Dispense:
    """The running session of an outlet; what of it survives a power cut is the slot."""

    session_id: int
    token_tag: int
    opening_pulses: int
    opened_at_ms: int
    limits: Limits
    leased_at_ms: int
    flowed_at_ms: int
    reason: str = ""
    closing_at_ms: int = 0
    paused_at_ms: int = 0


class OutletState(Device):
    """An outlet's memory and counters; what it does with them is `WaterOutlet`."""

    fitted = ("READER", "DISPLAY", "BACKUP")

    def restore_own(self, kept: Mapping[str, object]) -> None:
        """Take back counters; a session found open ends with POWER_LOSS, in the same save that clears its slot."""
        numbers = {name: value for name, value in kept.items() if isinstance(value, int)}
        self.state = "BOOT"
        self.dispense: Dispense | None = None
        self.total_pulses = numbers.get("total_pulses", 0)
        self.reverse_pulses = numbers.get("reverse_pulses", 0)
        self.valve_cycles = numbers.get("valve_cycles", 0)
        self.open_time_ms = numbers.get("open_time_ms", 0)
        self.energy_units = numbers.get("energy_units", 0)
        self.unbilled_pulses = numbers.get("unbilled_pulses", 0)
        self.temp: int | None = None
        self.close_reason = "NONE"
        self.last_session_id = numbers.get("last_session_id", 0)
        self.last_pulses = 0
        self.last_elapsed_ms = 0
        self.recent: deque[tuple[int, int]] = deque()
        self.recent_pulses = 0
        #: begin of the leak window and the pulses in it
        self.leak_from_ms: int | None = None
        self.leak_pulses = 0
        self.unsaved_since = (self.total_pulses, self.now_ms)
        self.hot_since_ms: int | None = None
        self.burst_since_ms: int | None = None
        self.flowed_at_ms = self.driven_at_ms = self.now_ms
        slot = cast(dict[str, int] | None, kept.get("slot"))
        if slot is not None:
            self.close_reason = "POWER_LOSS"
            self.last_session_id = slot["session_id"]
            self.last_pulses = self.total_pulses - slot["opening_pulses"]
            self.append(
                "END",
                subject_id=slot["session_id"],
                token_tag=slot["token_tag"],
                count=self.last_pulses,
                aux=self.map.code("close_reason", "POWER_LOSS"),
            )
        self.append("BOOT")
        if self.faults & self.fault_bit("OVER_TEMP"):
            self.state = "LOCKED"
        self.check_log_room()
        self.config_changed()
        self.commit()

    def keep_own(self) -> dict[str, object]:
        """Return counters and the slot of the open session."""
        self.unsaved_since = (self.total_pulses, self.now_ms)
        dispense = self.dispense
        return {
            "total_pulses": self.total_pulses,
            "reverse_pulses": self.reverse_pulses,
            "valve_cycles": self.valve_cycles,
            "open_time_ms": self.open_time_ms,
            "energy_units": self.energy_units,
            "unbilled_pulses": self.unbilled_pulses,
            "last_session_id": self.last_session_id,
            "slot": None if dispense is None else {name: getattr(dispense, name) for name in _SLOT},
        }

    def latched_mask(self) -> int:
        """Return the faults a power cut does not heal."""
        names = (*CLEARABLE, "OVER_TEMP")
        return sum(self.fault_bit(name) for name in names if name != "LEASE_EXPIRED")

    def factory_config(self) -> dict[str, int]:
        """Return this unit's calibration."""
        return {"cfg_cal_k": self.identity.k_factor_pulses_per_m3}

    def config_changed(self) -> None:
        """Judge the calibration."""
        self.set_fault("CAL_INVALID", self.config["cfg_cal_k"] < CAL_K_MIN)

    def busy(self) -> bool:
        """Return whether a session runs."""
        return self.dispense is not None

    def register_total(self) -> int:
        """Return the meter register."""
        return self.total_pulses

    def log_temperature(self) -> int:
        """Return the outlet temperature for the log."""
        return NO_TEMPERATURE if self.temp is None else self.temp

    def subject_and_count(self) -> tuple[int, int]:
        """Return the running or last session and the meter register."""
        return (self.dispense.session_id if self.dispense else self.last_session_id), self.total_pulses

    @property
    def valve_drive(self) -> bool:
        """Return whether the valve is driven open."""
        return self.state in ("ARMED", "DISPENSING")

    @property
    def stays_open_without_power(self) -> bool:
        """Return whether the valve would stay open if power went now: a latching one, open, with nothing stored."""
        stored = not self.faults & self.fault_bit("LOW_BACKUP")
        return self.identity.latching and self.valve_drive and not stored

    def note_flow(self, pulses: int) -> None:
        """Keep the flow window and the energy."""
        if pulses:
            self.recent.append((self.now_ms, pulses))
            self.recent_pulses += pulses
            self.flowed_at_ms = self.now_ms
            self.set_fault("NO_FLOW", False)
            self._note_energy(pulses, self.inputs)
        while self.recent and self.recent[0][0] <= self.now_ms - FLOW_WINDOW_MS:
            self.recent_pulses -= self.recent.popleft()[1]

    def _note_energy(self, pulses: int, inputs: Inputs) -> None:
        if self.temp is None or inputs.temp_in_decidegc is None or self.temp <= inputs.temp_in_decidegc:
            return
        warmed = self.temp - inputs.temp_in_decidegc
        self.energy_units += pulses * 1_000_000 * warmed * WATER_J_PER_KG_K // max(self.config["cfg_cal_k"], 1)

    def volume_ml(self, pulses: int) -> int:
        """Return the volume of pulses at the calibration in force, in millilitres, rounded down."""
        return pulses * 1_000_000 // max(self.config["cfg_cal_k"], 1)

    def session_pulses(self) -> int:
        """Return the pulses of the running session, or of the last one."""
        return self.total_pulses - self.dispense.opening_pulses if self.dispense else self.last_pulses

    def session_elapsed_ms(self) -> int:
        """Return how long the running session lasts, or the last one lasted."""
        return self.now_ms - self.dispense.opened_at_ms if self.dispense else self.last_elapsed_ms

    def flow_centilpm(self) -> int:
        """Return the flow over the last second, hundredths of a liter per minute."""
        return min(self.volume_ml(self.recent_pulses) * 6, 65534)

    def lease_left_ms(self) -> int:
        """Return how long the session stays open without renewal, 0 when none runs."""
        if self.dispense is None or self.state == "CLOSING":
            return 0
        return max(0, self.dispense.leased_at_ms + self.dispense.limits.lease_ms - self.now_ms)

    def valve_position(self) -> int:
        """Return 0 closed, 1 opening, 2 open, 3 closing."""
        if self.state == "CLOSING":
            return 3
        if not self.valve_drive:
            return 0
        return 1 if self.now_ms - self.driven_at_ms < TRAVEL_MS else 2
