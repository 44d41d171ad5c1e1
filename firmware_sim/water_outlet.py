"""
HWO-1: the hot-water outlet controller as a pure state machine.

A session opens by one command and closes by the first of: volume, time, lease, poll watchdog, no flow, heat, burst,
fault, command, button. Each has its own bound and none needs the gateway. START and END carry the meter register; END
is written when the valve is shut and the flow has stopped, so that the next session starts at the same register. During
a session a slot in non-volatile memory is rewritten every liter or ten seconds; a boot that finds one writes
END(POWER_LOSS).
"""

from firmware_sim.device import BOOT_MS
from firmware_sim.outlet_commands import OutletCommands
from firmware_sim.outlet_rules import BLOCKING, Use, closing_reason
from firmware_sim.outlet_state import FLOW_WINDOW_MS, TRAVEL_MS, Dispense

QUIET_MS = 100
BURST_HOLD_MS = 2_000
SLOT_ML = 1_000
SLOT_MS = 10_000
SCALD_RELEASE_DECIDEGC = 430


class WaterOutlet(OutletCommands):
    """One outlet. `valve_drive` is what its coil does to the valve; the plant answers with pulses and temperature."""

    def tick(self, now_ms: int, *, pulses: int, temp_decidegc: int | None, reverse_pulses: int = 0) -> None:
        """Let time pass: count pulses, watch every limit, save what must be saved."""
        elapsed = max(0, now_ms - self.now_ms)
        self.now_ms = max(now_ms, self.now_ms)
        self.total_pulses += pulses
        self.reverse_pulses += reverse_pulses
        self.temp = temp_decidegc
        self.snap = self.snap % 0xFFFF + 1
        self._note_flow(pulses)
        self.set_fault("TEMP_SENSOR", temp_decidegc is None)
        if reverse_pulses:
            self.set_fault("REVERSE_FLOW", True)
        if self.state == "BOOT" and now_ms - self.booted_at_ms >= BOOT_MS:
            self.state = "IDLE"
        if self.dispense is not None:
            self._watch(self.dispense, elapsed)
        else:
            self._watch_closed(pulses)
        if self.reboot_wanted and self.dispense is None:
            self.reboot()
        self._keep_register()
        self.commit()

    def _note_flow(self, pulses: int) -> None:
        if pulses:
            self.recent.append((self.now_ms, pulses))
            self.flowed_at_ms = self.now_ms
            self.set_fault("NO_FLOW", False)
        while self.recent and self.recent[0][0] <= self.now_ms - FLOW_WINDOW_MS:
            self.recent.popleft()

    def _keep_register(self) -> None:
        pulses, at_ms = self.unsaved_since
        moved = self.total_pulses != pulses
        late = self.dispense is not None and self.now_ms - at_ms >= SLOT_MS
        if moved and (late or self.volume_ml(self.total_pulses - pulses) >= SLOT_ML):
            self.dirty = True

    def _watch(self, dispense: Dispense, elapsed_ms: int) -> None:
        if self.flowed_at_ms == self.now_ms:
            dispense.flowed_at_ms = self.now_ms
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
            self.close(reason)

    def _use(self, dispense: Dispense) -> Use:
        now = self.now_ms
        hot = self.temp is not None and self.temp > dispense.limits.temp_decidegc
        self.hot_since_ms = (self.hot_since_ms or now) if hot else None
        burst = self.flow_centilpm() > self.config["cfg_burst"]
        self.burst_since_ms = (self.burst_since_ms or now) if burst else None
        return Use(
            volume_ml=self.volume_ml(self.session_pulses()),
            elapsed_ms=now - dispense.opened_at_ms,
            since_lease_ms=now - dispense.leased_at_ms,
            since_flow_ms=now - dispense.flowed_at_ms,
            since_frame_ms=now - self.frame_at_ms,
            too_hot_ms=now - self.hot_since_ms if self.hot_since_ms is not None else -1,
            burst_ms=now - self.burst_since_ms if self.burst_since_ms is not None else -1,
            fault=any(self.faults & self.fault_bit(name) for name in BLOCKING),
            paused=self.state == "PAUSED",
        )

    def _finish_closing(self, dispense: Dispense) -> None:
        since_close = self.now_ms - dispense.closing_at_ms
        quiet = self.now_ms - self.flowed_at_ms >= QUIET_MS
        stuck = since_close >= self.config["cfg_close_time"] and not quiet
        if not stuck and (since_close < TRAVEL_MS or not quiet):
            return
        self._end(dispense)
        if stuck:
            self.set_fault("STUCK_OPEN", True)

    def _end(self, dispense: Dispense) -> None:
        self.last_session_id = dispense.session_id
        self.last_pulses = self.total_pulses - dispense.opening_pulses
        self.last_elapsed_ms = self.now_ms - dispense.opened_at_ms
        self.close_reason = dispense.reason
        self.dispense = None
        self.hot_since_ms = self.burst_since_ms = None
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
            self.unbilled_pulses += pulses
            self.leaking.append((self.now_ms, pulses))
        while self.leaking and self.leaking[0][0] <= self.now_ms - window_ms:
            self.leaking.popleft()
        leaked = self.volume_ml(sum(count for _, count in self.leaking))
        first = not self.faults & self.fault_bit("LEAK_CLOSED")
        if leaked > self.config["cfg_leak_volume"] and first:
            self.set_fault("LEAK_CLOSED", True)
            self._log_unbilled()
        elif not self.leaking and self.unbilled_pulses:
            self._log_unbilled()

    def _log_unbilled(self) -> None:
        self.append("UNBILLED_FLOW", count=self.unbilled_pulses)
        self.unbilled_pulses = 0

    def reboot(self) -> None:
        """Start anew in place: the machine is as after power-up, with what non-volatile memory keeps."""
        self.dirty = True
        self.commit()
        self.booted_at_ms = self.now_ms
        self.rebooted = True
        self._restore()

    def press_stop(self, now_ms: int) -> None:
        """End the session from the outlet's own button."""
        self.now_ms = max(now_ms, self.now_ms)
        if self.dispense is not None and self.state != "CLOSING":
            self.close("USER")
        self.commit()
