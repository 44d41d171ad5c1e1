"""What an outlet knows: session, counters and faults, what of it survives a power cut, and how the bus reads it."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import cast

from firmware_sim.codec import Raw
from firmware_sim.device import NO_TEMPERATURE, Device
from firmware_sim.outlet_rules import CLEARABLE, Limits

TRAVEL_MS = 300
FLOW_WINDOW_MS = 1_000


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
    """An outlet's memory, counters and points; what it does with them is `WaterOutlet`."""

    def restore_own(self, kept: Mapping[str, object]) -> None:
        """Take back counters; a session found open ends with POWER_LOSS, in the same save that clears its slot."""
        numbers = {name: value for name, value in kept.items() if isinstance(value, int)}
        self.state = "BOOT"
        self.dispense: Dispense | None = None
        self.total_pulses = numbers.get("total_pulses", 0)
        self.reverse_pulses = numbers.get("reverse_pulses", 0)
        self.valve_cycles = numbers.get("valve_cycles", 0)
        self.open_time_ms = numbers.get("open_time_ms", 0)
        self.temp: int | None = None
        self.close_reason = "NONE"
        self.last_session_id = numbers.get("last_session_id", 0)
        self.last_pulses = 0
        self.last_elapsed_ms = 0
        self.recent: deque[tuple[int, int]] = deque()
        self.leaking: deque[tuple[int, int]] = deque()
        self.unbilled_pulses = 0
        self.unsaved_since = (self.total_pulses, self.now_ms)
        self.hot_since_ms: int | None = None
        self.burst_since_ms: int | None = None
        self.reboot_wanted = False
        self.flowed_at_ms = self.now_ms
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
        if not self.clock.quality(self.now_ms):
            self.faults |= self.fault_bit("CLOCK_UNSET")
        if self.faults & self.fault_bit("OVER_TEMP"):
            self.state = "LOCKED"
        self.check_log_room()
        self.commit()

    def keep_own(self) -> dict[str, object]:
        """Return counters and the slot of the open session."""
        self.unsaved_since = (self.total_pulses, self.now_ms)
        slot = None
        if self.dispense is not None:
            names = ("session_id", "token_tag", "opening_pulses")
            slot = {name: value for name, value in asdict(self.dispense).items() if name in names}
        return {
            "total_pulses": self.total_pulses,
            "reverse_pulses": self.reverse_pulses,
            "valve_cycles": self.valve_cycles,
            "open_time_ms": self.open_time_ms,
            "last_session_id": self.last_session_id,
            "slot": slot,
        }

    def latched_mask(self) -> int:
        """Return the faults a power cut does not heal."""
        names = (*CLEARABLE, "OVER_TEMP")
        return sum(self.fault_bit(name) for name in names if name != "LEASE_EXPIRED")

    def factory_config(self) -> dict[str, int]:
        """Return this unit's calibration."""
        return {"cfg_cal_k": self.identity.k_factor_pulses_per_m3}

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
        pulses = sum(count for _, count in self.recent)
        return min(self.volume_ml(pulses) * 6 * 1000 // FLOW_WINDOW_MS, 65534)

    def lease_left_ms(self) -> int:
        """Return how long the session stays open without renewal, 0 when none runs."""
        if self.dispense is None or self.state == "CLOSING":
            return 0
        return max(0, self.dispense.leased_at_ms + self.dispense.limits.lease_ms - self.now_ms)

    def valve_position(self) -> int:
        """Return 0 closed, 1 opening, 2 open, 3 closing."""
        if self.state == "CLOSING":
            return 3
        if not self.valve_drive or self.dispense is None:
            return 0
        return 1 if self.now_ms - self.dispense.opened_at_ms < TRAVEL_MS else 2

    def own_value(self, name: str) -> Raw:
        """Return the points only an outlet has."""
        match name:
            case "k_factor":
                return self.config["cfg_cal_k"]
            case "state":
                return self.map.code("state", self.state)
            case "close_reason":
                return self.map.code("close_reason", self.close_reason)
            case "session_id":
                return self.dispense.session_id if self.dispense else self.last_session_id
            case "sess_pulses":
                return self.session_pulses() & 0xFFFFFFFF
            case "sess_volume":
                return self.volume_ml(self.session_pulses()) & 0xFFFFFFFF
            case "sess_elapsed":
                return self.session_elapsed_ms() // 100 & 0xFFFFFFFF
            case "flow":
                return self.flow_centilpm()
            case "temp_out":
                return self.temp
            case "total_pulses":
                return self.total_pulses
            case "lease_left":
                return self.lease_left_ms()
            case "valve_pos":
                return self.valve_position()
            case "total_volume":
                return self.volume_ml(self.total_pulses)
            case "reverse_pulses":
                return self.reverse_pulses & 0xFFFFFFFF
            case "valve_cycles":
                return self.valve_cycles & 0xFFFFFFFF
            case "open_time":
                return self.open_time_ms // 1000 & 0xFFFFFFFF
            case "temp_in":
                return None
            case "valve_open":
                return int(self.valve_drive or self.state == "CLOSING")
            case "flowing":
                return int(bool(self.recent))
            case "in_session":
                return int(self.dispense is not None)
            case "leak":
                return int(bool(self.faults & self.fault_bit("LEAK_CLOSED")))
            case "over_temp":
                return int(bool(self.faults & self.fault_bit("OVER_TEMP")))
            case "service_key":
                return int(self.state == "SERVICE")
        raise KeyError(name)
