"""How an outlet answers each opcode: what it checks, in which order, and what it starts."""

from collections.abc import Mapping

from firmware_sim.device import SELF_TEST_MS
from firmware_sim.outlet_rules import BLOCKING, CLEARABLE, Limits, bad_limit, refusal
from firmware_sim.outlet_state import Dispense, OutletState


class OutletCommands(OutletState):
    """An outlet that can be told things; time is `WaterOutlet`'s."""

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
                self.leak_from_ms = None
            case "SELF_TEST":
                return self._self_test()
            case "SET_CLOCK":
                self.set_clock(frame["cmd_session"] * 1000)
            case "IDENTIFY":
                self.identify()
            case "REBOOT":
                self.reboot_wanted = True
                if self.dispense is not None:
                    self.close("REBOOT")
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
            self.dispense.leased_at_ms = self.dispense.flowed_at_ms = self.now_ms
            self._checkpoint(self.dispense, "ARMED")
        elif not self.log.has_room("START"):
            return "LOG_FULL", self.log.waiting
        else:
            self._begin(session_id, frame["cmd_token_tag"], limits)
        self.valve_cycles += 1
        self.driven_at_ms = self.now_ms
        self.state = "ARMED"
        return "DONE", 0

    def _begin(self, session_id: int, token_tag: int, limits: Limits) -> None:
        now = self.now_ms
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
        if self.unbilled_pulses:
            self.log_unbilled()
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
            self.close(str(reason))
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
        dispense.leased_at_ms = self.now_ms
        return "DONE", 0

    def _pause(self, frame: Mapping[str, int]) -> tuple[str, int]:
        assert self.dispense is not None
        if frame["cmd_session"] != self.dispense.session_id:
            return "BAD_STATE", 0
        self.dispense.paused_at_ms = self.now_ms
        self.state = "PAUSED"
        self._checkpoint(self.dispense, "PAUSED")
        return "DONE", 0

    def _checkpoint(self, dispense: Dispense, state: str) -> None:
        self._log_session("CHECKPOINT", dispense, self.map.code("state", state))

    def _log_session(self, type_name: str, dispense: Dispense, aux: int) -> None:
        """Log something about the running session, with what it has used so far."""
        self.append(
            type_name,
            subject_id=dispense.session_id,
            token_tag=dispense.token_tag,
            count=self.session_pulses(),
            aux=aux,
        )

    def _self_test(self) -> tuple[str, int]:
        if self.self_test_until_ms is not None:
            return "BUSY", 0
        self.self_test_until_ms = self.now_ms + SELF_TEST_MS
        self.state = "SERVICE"
        return "ACCEPTED", 0

    def close_locally(self, aux: int) -> None:
        """Close because somebody at the outlet wants it: button or key."""
        assert self.dispense is not None
        self._log_session("LOCAL_CLOSE", self.dispense, aux)
        self.close("USER")

    def log_unbilled(self) -> None:
        """Log what ran without a session; what finds no room waits."""
        if self.append("UNBILLED_FLOW", count=self.unbilled_pulses) is not None:
            self.unbilled_pulses = 0

    def close(self, reason: str) -> None:
        """Start closing for a reason; the session ends when the flow has stopped."""
        assert self.dispense is not None
        self.state = "CLOSING"
        self.dispense.reason = reason
        self.dispense.closing_at_ms = self.now_ms
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
