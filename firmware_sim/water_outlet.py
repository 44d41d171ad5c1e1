"""
HWO-1: the hot-water outlet controller as a pure state machine.

A session opens by one command and closes by the first of: volume, time, lease, poll watchdog, no flow, heat, burst,
fault, command, button. Each has its own bound and none needs the gateway. START and END carry the meter register; END
is written when the valve is shut and the flow has stopped, so that the next session starts at the same register. During
a session a slot in non-volatile memory is rewritten every liter or ten seconds; a boot that finds one writes
END(POWER_LOSS).
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import cast

from firmware_sim.codec import Raw
from firmware_sim.device import BOOT_MS, NO_TEMPERATURE, Device
from firmware_sim.outlet_rules import BLOCKING, CLEARABLE, Limits, Use, bad_limit, closing_reason, refusal

TRAVEL_MS = 300
QUIET_MS = 100
FLOW_WINDOW_MS = 1_000
BURST_HOLD_MS = 2_000
SLOT_ML = 1_000
SLOT_MS = 10_000
SCALD_RELEASE_DECIDEGC = 430


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


class WaterOutlet(Device):
    """One outlet. `valve_drive` is what its coil does to the valve; the plant answers with pulses and temperature."""

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
        self._recent: deque[tuple[int, int]] = deque()
        self._leaking: deque[tuple[int, int]] = deque()
        self._unbilled_pulses = 0
        self._unsaved_since = (self.total_pulses, self._now_ms)
        self._hot_since_ms: int | None = None
        self._burst_since_ms: int | None = None
        self._reboot_wanted = False
        self._flowed_at_ms = self._now_ms
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
        if self._clock_offset_ms is None:
            self.faults |= self.fault_bit("CLOCK_UNSET")
        if self.faults & self.fault_bit("OVER_TEMP"):
            self.state = "LOCKED"
        self.check_log_room()
        self.commit()

    def keep_own(self) -> dict[str, object]:
        """Return counters and the slot of the open session."""
        self._unsaved_since = (self.total_pulses, self._now_ms)
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
        return self._now_ms - self.dispense.opened_at_ms if self.dispense else self.last_elapsed_ms

    def flow_centilpm(self) -> int:
        """Return the flow over the last second, hundredths of a liter per minute."""
        pulses = sum(count for _, count in self._recent)
        return min(self.volume_ml(pulses) * 6 * 1000 // FLOW_WINDOW_MS, 65534)

    # time ---------------------------------------------------------------------------------------------------------

    def tick(self, now_ms: int, *, pulses: int, temp_decidegc: int | None, reverse_pulses: int = 0) -> None:
        """Let time pass: count pulses, watch every limit, save what must be saved."""
        elapsed = max(0, now_ms - self._now_ms)
        self._now_ms = max(now_ms, self._now_ms)
        self.total_pulses += pulses
        self.reverse_pulses += reverse_pulses
        self.temp = temp_decidegc
        self._snap = self._snap % 0xFFFF + 1
        self._note_flow(pulses)
        self.set_fault("TEMP_SENSOR", temp_decidegc is None)
        if reverse_pulses:
            self.set_fault("REVERSE_FLOW", True)
        if self.state == "BOOT" and now_ms - self._booted_at_ms >= BOOT_MS:
            self.state = "IDLE"
        if self.dispense is not None:
            self._watch(self.dispense, elapsed)
        else:
            self._watch_closed(pulses)
        if self._reboot_wanted and self.dispense is None:
            self.reboot()
        self._keep_register()
        self.commit()

    def _note_flow(self, pulses: int) -> None:
        if pulses:
            self._recent.append((self._now_ms, pulses))
            self._flowed_at_ms = self._now_ms
            self.set_fault("NO_FLOW", False)
        while self._recent and self._recent[0][0] <= self._now_ms - FLOW_WINDOW_MS:
            self._recent.popleft()

    def _keep_register(self) -> None:
        pulses, at_ms = self._unsaved_since
        moved = self.total_pulses != pulses
        late = self.dispense is not None and self._now_ms - at_ms >= SLOT_MS
        if moved and (late or self.volume_ml(self.total_pulses - pulses) >= SLOT_ML):
            self._dirty = True

    def _watch(self, dispense: Dispense, elapsed_ms: int) -> None:
        if self._flowed_at_ms == self._now_ms:
            dispense.flowed_at_ms = self._now_ms
            if self.state == "ARMED":
                self.state = "DISPENSING"
        if self.state == "CLOSING":
            self._finish_closing(dispense)
            return
        if self.valve_drive:
            self.open_time_ms += elapsed_ms
        reason = closing_reason(
            limits=dispense.limits,
            use=self._use(dispense),
            watchdog_ms=self.config["cfg_comm_watchdog"] * 1000,
            max_session_ms=self.config["cfg_max_session"] * 1000,
            temp_hold_ms=self.config["cfg_temp_hold"] * 100,
            burst_hold_ms=BURST_HOLD_MS,
        )
        if reason is not None:
            self._close(reason)

    def _use(self, dispense: Dispense) -> Use:
        now = self._now_ms
        hot = self.temp is not None and self.temp > dispense.limits.temp_decidegc
        self._hot_since_ms = (self._hot_since_ms or now) if hot else None
        burst = self.flow_centilpm() > self.config["cfg_burst"]
        self._burst_since_ms = (self._burst_since_ms or now) if burst else None
        return Use(
            volume_ml=self.volume_ml(self.session_pulses()),
            elapsed_ms=now - dispense.opened_at_ms,
            since_lease_ms=now - dispense.leased_at_ms,
            since_flow_ms=now - dispense.flowed_at_ms,
            since_frame_ms=now - self._frame_at_ms,
            too_hot_ms=now - self._hot_since_ms if self._hot_since_ms is not None else -1,
            burst_ms=now - self._burst_since_ms if self._burst_since_ms is not None else -1,
            fault=any(self.faults & self.fault_bit(name) for name in BLOCKING),
            paused=self.state == "PAUSED",
        )

    def _close(self, reason: str) -> None:
        assert self.dispense is not None
        self.state = "CLOSING"
        self.dispense.reason = reason
        self.dispense.closing_at_ms = self._now_ms
        if reason == "SCALD":
            self.set_fault("OVER_TEMP", True)
        elif reason == "LEAK":
            self.set_fault("BURST_FLOW", True)
        elif reason == "LEASE":
            self.set_fault("LEASE_EXPIRED", True)
        elif reason == "COMM_WATCHDOG":
            self.set_fault("COMM_TIMEOUT", True)
        elif reason == "NO_FLOW" and self.session_pulses() == 0:
            self.set_fault("NO_FLOW", True)

    def _finish_closing(self, dispense: Dispense) -> None:
        since_close = self._now_ms - dispense.closing_at_ms
        quiet = self._now_ms - self._flowed_at_ms >= QUIET_MS
        stuck = since_close >= self.config["cfg_close_time"] and not quiet
        if not stuck and (since_close < TRAVEL_MS or not quiet):
            return
        self._end(dispense)
        if stuck:
            self.set_fault("STUCK_OPEN", True)

    def _end(self, dispense: Dispense) -> None:
        self.last_session_id = dispense.session_id
        self.last_pulses = self.total_pulses - dispense.opening_pulses
        self.last_elapsed_ms = self._now_ms - dispense.opened_at_ms
        self.close_reason = dispense.reason
        self.dispense = None
        self._hot_since_ms = self._burst_since_ms = None
        self.append(
            "END",
            subject_id=dispense.session_id,
            token_tag=dispense.token_tag,
            count=self.last_pulses,
            aux=self.map.code("close_reason", dispense.reason),
        )
        self.state = "LOCKED" if self.faults & self.fault_bit("OVER_TEMP") else "IDLE"
        self.check_log_room()

    def _watch_closed(self, pulses: int) -> None:
        if self.temp is not None and self.temp < SCALD_RELEASE_DECIDEGC and self.state == "LOCKED":
            self.set_fault("OVER_TEMP", False)
            self.state = "LOCKED" if self.faults & self.fault_bit("OVER_TEMP") else "IDLE"
        window_ms = self.config["cfg_leak_window"] * 1000
        if pulses:
            self._unbilled_pulses += pulses
            self._leaking.append((self._now_ms, pulses))
        while self._leaking and self._leaking[0][0] <= self._now_ms - window_ms:
            self._leaking.popleft()
        leaked = self.volume_ml(sum(count for _, count in self._leaking))
        first = not self.faults & self.fault_bit("LEAK_CLOSED")
        if leaked > self.config["cfg_leak_volume"] and first:
            self.set_fault("LEAK_CLOSED", True)
            self._log_unbilled()
        elif not self._leaking and self._unbilled_pulses:
            self._log_unbilled()

    def _log_unbilled(self) -> None:
        self.append("UNBILLED_FLOW", count=self._unbilled_pulses)
        self._unbilled_pulses = 0

    def reboot(self) -> None:
        """Start anew in place: the machine is as after power-up, with what non-volatile memory keeps."""
        self._dirty = True
        self.commit()
        self._booted_at_ms = self._now_ms
        self._rebooted = True
        self._restore()

    # commands -----------------------------------------------------------------------------------------------------

    def press_stop(self, now_ms: int) -> None:
        """End the session from the outlet's own button."""
        self._now_ms = max(now_ms, self._now_ms)
        if self.dispense is not None and self.state != "CLOSING":
            self._close("USER")
        self.commit()

    def execute(self, opcode: str, frame: Mapping[str, int]) -> tuple[str, int]:
        """Carry out one opcode if the state allows it."""
        refused = refusal(self.state, opcode)
        if refused is not None:
            return refused, self.map.code("state", self.state)
        match opcode:
            case "OPEN":
                return self._open(frame)
            case "CLOSE":
                return self._close_by_command(frame)
            case "EXTEND":
                return self._extend(frame)
            case "PAUSE":
                return self._pause(frame)
            case "CLEAR_FAULT":
                for name in CLEARABLE:
                    self.set_fault(name, False)
                self._leaking.clear()
            case "SET_CLOCK":
                self.set_clock(frame["cmd_session"] * 1000)
            case "IDENTIFY":
                self._coils["identify"] = True
            case "REBOOT":
                self._reboot_wanted = True
                if self.dispense is not None:
                    self._close("REBOOT")
                return "ACCEPTED", 0
        return "DONE", 0

    def _open(self, frame: Mapping[str, int]) -> tuple[str, int]:
        session_id = frame["cmd_session"]
        if session_id == 0 or session_id == self.last_session_id:
            return "BAD_STATE", 0
        if self.dispense is not None and self.dispense.session_id != session_id:
            return "BUSY", 0
        blocking = [name for name in BLOCKING if self.faults & self.fault_bit(name)]
        if blocking:
            return "FAULTED", self.fault_bit(blocking[0]).bit_length() - 1
        wrong = bad_limit(
            volume_ml=frame["cmd_limit_volume"],
            time_s=frame["cmd_limit_time"],
            lease_s=frame["cmd_lease"],
            idle_s=frame["cmd_idle"],
            temp=frame["cmd_temp_max"],
            volume_max=self.config["cfg_max_volume"],
            time_max=self.config["cfg_max_session"],
        )
        if wrong:
            return "BAD_LIMIT", wrong
        limits = self._limits(frame)
        if self.dispense is not None:
            self.dispense.limits = limits
            self.dispense.leased_at_ms = self.dispense.flowed_at_ms = self._now_ms
        elif not self.log.has_room("START"):
            return "LOG_FULL", self.log.waiting
        else:
            self._begin(session_id, frame["cmd_token_tag"], limits)
        self.valve_cycles += 1
        self.state = "ARMED"
        return "DONE", 0

    def _begin(self, session_id: int, token_tag: int, limits: Limits) -> None:
        now = self._now_ms
        self.dispense = Dispense(
            session_id=session_id,
            token_tag=token_tag,
            opening_pulses=self.total_pulses,
            opened_at_ms=now,
            limits=limits,
            leased_at_ms=now,
            flowed_at_ms=now,
        )
        self.close_reason = "NONE"
        self.set_fault("LEASE_EXPIRED", False)
        self.append("START", subject_id=session_id, token_tag=token_tag)

    def _limits(self, frame: Mapping[str, int]) -> Limits:
        cutoff = self.config["cfg_temp_cutoff"]
        return Limits(
            volume_ml=frame["cmd_limit_volume"],
            time_ms=frame["cmd_limit_time"] * 1000,
            lease_ms=frame["cmd_lease"] * 1000,
            idle_ms=(frame["cmd_idle"] or self.config["cfg_noflow"]) * 1000,
            temp_decidegc=min(cutoff, frame["cmd_temp_max"] or cutoff),
        )

    def _close_by_command(self, frame: Mapping[str, int]) -> tuple[str, int]:
        session_id = frame["cmd_session"]
        if self.dispense is None:
            return ("DONE", 0) if session_id in (0, self.last_session_id) else ("BAD_STATE", 0)
        if session_id not in (0, self.dispense.session_id):
            return "BAD_STATE", 0
        reason = self.map.enums["close_reason"].get(frame["cmd_limit_time"] or self.map.code("close_reason", "REMOTE"))
        if reason not in self.map.caps["close_reasons"]:
            return "BAD_LIMIT", 2
        if self.state != "CLOSING":
            self._close(str(reason))
        return "ACCEPTED", 0

    def _extend(self, frame: Mapping[str, int]) -> tuple[str, int]:
        dispense = self.dispense
        if dispense is None or frame["cmd_session"] != dispense.session_id:
            return "BAD_STATE", 0
        old = dispense.limits
        volume = frame["cmd_limit_volume"] or old.volume_ml
        time_s = frame["cmd_limit_time"] or old.time_ms // 1000
        lease_s = frame["cmd_lease"] or old.lease_ms // 1000
        if not old.volume_ml <= volume <= self.config["cfg_max_volume"]:
            return "BAD_LIMIT", 1
        if not old.time_ms // 1000 <= time_s <= self.config["cfg_max_session"]:
            return "BAD_LIMIT", 2
        if bad_limit(volume_ml=1, time_s=1, lease_s=lease_s, idle_s=0, temp=0, volume_max=1, time_max=1):
            return "BAD_LIMIT", 3
        dispense.limits = Limits(
            volume_ml=volume,
            time_ms=time_s * 1000,
            lease_ms=lease_s * 1000,
            idle_ms=old.idle_ms,
            temp_decidegc=old.temp_decidegc,
        )
        dispense.leased_at_ms = self._now_ms
        return "DONE", 0

    def _pause(self, frame: Mapping[str, int]) -> tuple[str, int]:
        assert self.dispense is not None
        if frame["cmd_session"] != self.dispense.session_id:
            return "BAD_STATE", 0
        self.dispense.paused_at_ms = self._now_ms
        self.state = "PAUSED"
        return "DONE", 0

    # values -------------------------------------------------------------------------------------------------------

    def lease_left_ms(self) -> int:
        """Return how long the session stays open without renewal, 0 when none runs."""
        if self.dispense is None or self.state == "CLOSING":
            return 0
        return max(0, self.dispense.leased_at_ms + self.dispense.limits.lease_ms - self._now_ms)

    def valve_position(self) -> int:
        """Return 0 closed, 1 opening, 2 open, 3 closing."""
        if self.state == "CLOSING":
            return 3
        if not self.valve_drive or self.dispense is None:
            return 0
        return 1 if self._now_ms - self.dispense.opened_at_ms < TRAVEL_MS else 2

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
                return int(bool(self._recent))
            case "in_session":
                return int(self.dispense is not None)
            case "leak":
                return int(bool(self.faults & self.fault_bit("LEAK_CLOSED")))
            case "over_temp":
                return int(bool(self.faults & self.fault_bit("OVER_TEMP")))
            case "service_key":
                return int(self.state == "SERVICE")
        raise KeyError(name)
