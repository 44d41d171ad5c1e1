"""How a door answers each opcode, and what it decides by itself while its gateway is away."""

from collections.abc import Mapping

from firmware_sim.codec import Raw
from firmware_sim.device import SELF_TEST_MS
from firmware_sim.mailbox import BUTTON, UID, Item
from firmware_sim.reader_state import CLEARABLE, Grant, ReaderState, refusal

OPEN_MS_MIN, OPEN_MS_MAX = 500, 30_000
#: fewer than the log keeps in reserve, so that every passage of a grant finds room
COUNT_MAX = 6
ALLOW_LIST = 1
#: aux of a DENIED that the door decided itself
OFFLINE_REASON = 0xFFFF
#: grants the door gave itself are numbered from here by their place in the log
OFFLINE_GRANTS = 0xF000_0000


class ReaderCommands(ReaderState):
    """A door that can be told things; time is `AccessReader`'s."""

    def execute(self, opcode: str, frame: Mapping[str, int]) -> tuple[str, int]:
        """Carry out one opcode if the state allows it."""
        refused = refusal(self.state, opcode)
        if refused is not None:
            return refused, self.map.code("state", self.state)
        match opcode:
            case "GRANT":
                return self._grant(frame)
            case "DENY":
                self.denials += 1
                self.append("DENIED", subject_id=frame["cmd_grant"], aux=frame["cmd_reason"])
            case "FREE":
                self.state = "FREE"
            case "LOCK":
                return self._lock()
            case "CLEAR_FAULT":
                for name in CLEARABLE:
                    self.set_fault(name, False)
                self.state = "LOCKED" if self.state == "ALARM" else self.state
            case "SELF_TEST":
                if self.self_test_until_ms is not None:
                    return "BUSY", 0
                self.self_test_until_ms = self.now_ms + SELF_TEST_MS
                self.state = "SERVICE"
                return "ACCEPTED", 0
            case "SET_CLOCK":
                self.set_clock(frame["cmd_grant"] * 1000)
            case "IDENTIFY":
                self.identify()
            case "REBOOT":
                self.reboot_wanted = True
                return "ACCEPTED", 0
        return "DONE", 0

    def _grant(self, frame: Mapping[str, int]) -> tuple[str, int]:
        if frame["cmd_grant"] == 0:
            return "BAD_STATE", 0
        if self._cannot_unlock():
            return "FAULTED", 0
        if not self.log.has_room("GRANT"):
            return "LOG_FULL", self.log.waiting
        open_ms = frame["cmd_open"] or self.config["cfg_grant"]
        count = frame["cmd_count"] or 1
        checks = (frame["cmd_direction"] in (1, 2), count <= COUNT_MAX, OPEN_MS_MIN <= open_ms <= OPEN_MS_MAX)
        wrong = next((number for number, good in enumerate(checks, start=1) if not good), 0)
        if wrong:
            return "BAD_LIMIT", wrong
        self._unlock(
            Grant(
                grant_id=frame["cmd_grant"],
                token_tag=frame["cmd_token_tag"],
                direction=frame["cmd_direction"],
                until_ms=self.now_ms + open_ms,
                left=count,
            )
        )
        return "DONE", 0

    def _cannot_unlock(self) -> bool:
        return bool(self.faults & (self.fault_bit("LOCK_FAILED") | self.fault_bit("NVM_CRC")))

    def _unlock(self, grant: Grant) -> None:
        self.grant = grant
        self.grants += 1
        self.state = "GRANTED_IN" if grant.direction == 1 else "GRANTED_OUT"
        self.append("GRANT", subject_id=grant.grant_id, token_tag=grant.token_tag, aux=grant.direction)

    def _lock(self) -> tuple[str, int]:
        if self.inputs.fire:
            return "BAD_STATE", 0
        if self.grant is not None:
            self.finish("GRANT_TIMEOUT" if self.grant.passed == 0 else None)
        self.state = "LOCKED"
        return "DONE", 0

    def finish(self, record: str | None) -> None:
        """End the running grant, with a record if nobody passed."""
        assert self.grant is not None
        grant, self.grant = self.grant, None
        self.last_grant_id = grant.grant_id
        self.state = "LOCKED"
        if record is not None:
            self.append(record, subject_id=grant.grant_id, token_tag=grant.token_tag, aux=grant.direction)

    # without a gateway --------------------------------------------------------------------------------------------

    def is_offline(self) -> bool:
        """Return whether nobody has polled for longer than the watchdog."""
        return self.now_ms - self.frame_at_ms > self.config["cfg_comm_watchdog"] * 1000

    def presented(self, prefix: str, item: Item) -> None:
        """Decide about a card while the gateway is away, as the offline policy says; the item is then used up."""
        self.now_ms = max(self.now_ms, item.at_ms)
        if not self.is_offline() or self.config["cfg_offline"] != ALLOW_LIST or item.source == BUTTON:
            return
        self.mailboxes[prefix].withdraw(item.seq)
        side = 1 if prefix == "mbx_a" else 2
        until_s, now_ms = self.config["cfg_offline_until"], self.unix_ms()
        known = item.source == UID and self.allow.holds(item.uid)
        in_time = 0 < now_ms < until_s * 1000
        able = self.state == "LOCKED" and not self._cannot_unlock() and self.log.has_room("GRANT")
        if known and in_time and able:
            self._unlock(
                Grant(
                    grant_id=OFFLINE_GRANTS + (self.log.head + 1 & 0x0FFFFFFF),
                    token_tag=0,
                    direction=side,
                    until_ms=self.now_ms + self.config["cfg_grant"],
                    left=1,
                )
            )
        else:
            self.denials += 1
            self.append("DENIED", aux=OFFLINE_REASON)
        self.commit()

    def _apply_one(self, name: str, value: Raw) -> None:
        if name.startswith("allow_"):
            self.take_allow(name, value)
        else:
            super()._apply_one(name, value)

    def reader_works(self, prefix: str) -> bool:
        """Return whether the reader of a side answers."""
        fault = "READER_A_OFFLINE" if prefix == "mbx_a" else "READER_B_OFFLINE"
        online = self.inputs.reader_online if prefix == "mbx_a" else self.inputs.reader_b_online
        return online and not self.faults & self.fault_bit(fault)
