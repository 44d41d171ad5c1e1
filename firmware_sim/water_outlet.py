"""
HWO-1: the hot-water outlet controller as a pure state machine, as `hardware/HWO1_BEHAVIOR.md` says.

A session opens by one command and closes by the first of: heat, fault, burst, volume, time, lease, poll watchdog, no
flow, command, button. Each has its own bound and none needs the gateway. START and END carry the meter register; END
is written when the valve is shut and the flow has stopped, so that the next session starts at the same register. During
a session a slot in non-volatile memory is rewritten every liter or ten seconds; a boot that finds one writes
END(POWER_LOSS).
"""

from firmware_sim.device import BOOT_MS
from firmware_sim.inputs import Inputs
from firmware_sim.mailbox import BUTTON
from firmware_sim.outlet_commands import OutletCommands
from firmware_sim.outlet_rules import BLOCKING, Use, closing_reason
from firmware_sim.outlet_state import TRAVEL_MS, Dispense
from firmware_sim.outlet_values import OUTLET_GETTERS

QUIET_MS = 100
BURST_HOLD_MS = 2_000
SLOT_ML = 1_000
SLOT_MS = 10_000
SCALD_RELEASE_DECIDEGC = 430
FREEZE_DECIDEGC = 10
#: aux of a LOCAL_CLOSE record
BY_BUTTON, BY_KEY = 1, 2


class WaterOutlet(OutletCommands):
    """One outlet. `valve_drive` is what its coil does to the valve; the plant answers with pulses and temperature."""

    own_getters = OUTLET_GETTERS

    def tick(self, now_ms: int, *, pulses: int, temp_decidegc: int | None, reverse_pulses: int = 0) -> None:
        """Let time pass: count pulses, watch every limit, save what must be saved."""
        if (
            self._quiet
            and not pulses
            and not reverse_pulses
            and temp_decidegc == self.temp
            and self.inputs is self.felt
        ):
            if now_ms > self.now_ms:
                self.now_ms = now_ms
            return
        elapsed = max(0, now_ms - self.now_ms)
        self.now_ms = max(now_ms, self.now_ms)
        self.total_pulses += pulses
        self.reverse_pulses += reverse_pulses
        self.temp = temp_decidegc
        self.snap = self.snap % 0xFFFF + 1
        self.note_flow(pulses)
        self._note_faults(reverse_pulses)
        felt_before = self.feel()
        if self.state == "BOOT" and now_ms - self.booted_at_ms >= BOOT_MS:
            self.state = self._resting()
        self._serve(felt_before)
        if self.dispense is not None:
            self._watch(self.dispense, elapsed)
        else:
            self._watch_closed(pulses)
        if self.reboot_wanted and self.dispense is None:
            self.reboot()
        self._keep_register()
        self.end_of_identifying()
        self.commit()
        self.touch()
        self._quiet = self._is_quiet()

    def _is_quiet(self) -> bool:
        """Return whether a tick without news would change nothing but the time."""
        return (
            self.state in ("IDLE", "LOCKED", "SERVICE")
            and self.dispense is None
            and not self.recent
            and not self.unbilled_pulses
            and self.self_test_until_ms is None
            and not self.coils["identify"]
        )

    def _resting(self) -> str:
        """Return the state without a session, boot or test."""
        if self.inputs.service_key:
            return "SERVICE"
        return "LOCKED" if self.faults & self.fault_bit("OVER_TEMP") else "IDLE"

    def _note_faults(self, reverse_pulses: int) -> None:
        self.set_fault("TEMP_SENSOR", self.temp is None)
        if reverse_pulses:
            self.set_fault("REVERSE_FLOW", True)
        temperatures = (self.temp, self.inputs.temp_in_decidegc)
        if any(known is not None and known <= FREEZE_DECIDEGC for known in temperatures):
            self.set_fault("FREEZE", True)

    def _serve(self, felt_before: Inputs) -> None:
        """Obey the service key and end a self-test whose time is over."""
        if self.inputs.service_key and not felt_before.service_key and self.dispense and self.state != "CLOSING":
            self.close_locally(BY_KEY)
        if self.self_test_until_ms is not None and self.now_ms >= self.self_test_until_ms:
            self.self_test_until_ms = None
            self.set_fault("STUCK_CLOSED", not self.inputs.coil_ok)
            self.state = self._resting()
        elif self.dispense is None and self.self_test_until_ms is None and self.state != "BOOT":
            self.state = self._resting()

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
        self.hot_since_ms = (now if self.hot_since_ms is None else self.hot_since_ms) if hot else None
        burst = self.flow_centilpm() > self.config["cfg_burst"]
        self.burst_since_ms = (now if self.burst_since_ms is None else self.burst_since_ms) if burst else None
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
        self.hot_since_ms = self.burst_since_ms = self.leak_from_ms = None
        self.append(
            "END",
            subject_id=dispense.session_id,
            token_tag=dispense.token_tag,
            count=self.last_pulses,
            aux=self.map.code("close_reason", dispense.reason),
        )
        self.state = self._resting()
        self.check_log_room()

    def _watch_closed(self, pulses: int) -> None:
        if self.state == "LOCKED" and self.temp is not None and self.temp < SCALD_RELEASE_DECIDEGC:
            self.set_fault("OVER_TEMP", False)
            self.state = self._resting()
        window_ms = self.config["cfg_leak_window"] * 1000
        if pulses:
            self.unbilled_pulses += pulses
            if self.leak_from_ms is None or self.now_ms - self.leak_from_ms >= window_ms:
                self.leak_from_ms, self.leak_pulses = self.now_ms, 0
            self.leak_pulses += pulses
        leaked = self.volume_ml(self.leak_pulses) if self.leak_from_ms is not None else 0
        if leaked > self.config["cfg_leak_volume"] and not self.faults & self.fault_bit("LEAK_CLOSED"):
            self.set_fault("LEAK_CLOSED", True)
            self.log_unbilled()
        elif self.unbilled_pulses and self.now_ms - self.flowed_at_ms >= window_ms:
            self.log_unbilled()

    def press_stop(self, now_ms: int) -> None:
        """Press the outlet's own button: it ends the session, or tells the gateway that somebody is there."""
        self.now_ms = max(now_ms, self.now_ms)
        if self.dispense is None:
            self.mailboxes["mbx"].post(
                source=BUTTON, uid=b"", payload=b"", now_ms=self.now_ms, unix_time=self.unix_ms() // 1000
            )
        elif self.state != "CLOSING":
            self.close_locally(BY_BUTTON)
        self.commit()
