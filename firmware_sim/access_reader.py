"""
ACR-1: the access reader and turnstile controller as a pure state machine.

A grant unlocks one direction for a few seconds and one person. Going through turns it into a PASSAGE, letting it run
out into GRANT_TIMEOUT; only a passage counts as entry. The fire input frees the door whatever the bus says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from firmware_sim.codec import Raw
from firmware_sim.device import Device

DIRECTIONS = {"in": 1, "out": 2}
OPEN_MS_MIN, OPEN_MS_MAX = 500, 30_000
#: fewer than the log keeps in reserve, so that every passage of a grant finds room
COUNT_MAX = 6

#: state → opcodes that may act in it
ALLOWED: dict[str, frozenset[str]] = {
    "LOCKED": frozenset(
        {"GRANT", "DENY", "FREE", "LOCK", "CLEAR_FAULT", "SELF_TEST", "SET_CLOCK", "IDENTIFY", "REBOOT"}
    ),
    "GRANTED_IN": frozenset({"DENY", "LOCK", "SET_CLOCK", "IDENTIFY"}),
    "GRANTED_OUT": frozenset({"DENY", "LOCK", "SET_CLOCK", "IDENTIFY"}),
    "FREE": frozenset({"DENY", "LOCK", "CLEAR_FAULT", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
    "ALARM": frozenset({"DENY", "LOCK", "CLEAR_FAULT", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
    "SERVICE": frozenset({"CLEAR_FAULT", "SELF_TEST", "SET_CLOCK", "IDENTIFY", "REBOOT"}),
}


def refusal(state: str, opcode: str) -> str | None:
    """Return the result label that refuses this opcode in this state, or None when it may act."""
    if opcode in ALLOWED[state]:
        return None
    return "BUSY" if opcode == "GRANT" and state.startswith("GRANTED") else "BAD_STATE"


@dataclass(slots=True, kw_only=True)
class Grant:
    """A door unlocked for someone."""

    grant_id: int
    token_tag: int
    direction: int
    until_ms: int
    left: int
    passed: int = 0


class AccessReader(Device):
    """One door with a reader on each side: mailbox A at the entry, B at the exit."""

    mailbox_prefixes = ("mbx_a", "mbx_b")

    def restore_own(self, kept: Mapping[str, object]) -> None:
        """Take back counters; no grant survives a power cut."""
        numbers = {name: value for name, value in kept.items() if isinstance(value, int)}
        self.state = "LOCKED"
        self.grant: Grant | None = None
        self.passages = {1: numbers.get("pass_in", 0), 2: numbers.get("pass_out", 0)}
        self.forced = numbers.get("forced", 0)
        self.tailgates = numbers.get("tailgate", 0)
        self.grants = numbers.get("grants", 0)
        self.denials = numbers.get("denials", 0)
        self._last_grant_id = 0
        self._fire = False
        self._reboot_wanted = False
        self.append("BOOT")
        self.commit()

    def keep_own(self) -> dict[str, object]:
        """Return the counters."""
        return {
            "pass_in": self.passages[1],
            "pass_out": self.passages[2],
            "forced": self.forced,
            "tailgate": self.tailgates,
            "grants": self.grants,
            "denials": self.denials,
        }

    def register_total(self) -> int:
        """Return all passages ever."""
        return self.passages[1] + self.passages[2]

    def busy(self) -> bool:
        """Return whether a grant runs."""
        return self.grant is not None

    def subject_and_count(self) -> tuple[int, int]:
        """Return the running or last grant and all passages ever."""
        return (self.grant.grant_id if self.grant else self._last_grant_id), self.register_total()

    def tick(self, now_ms: int) -> None:
        """Let time pass: a grant nobody used runs out."""
        self.now_ms = max(now_ms, self.now_ms)
        self.snap = self.snap % 0xFFFF + 1
        if self.grant is not None and self.now_ms >= self.grant.until_ms:
            self._finish("GRANT_TIMEOUT" if self.grant.passed == 0 else None)
        if self._reboot_wanted and self.grant is None:
            self._reboot_wanted = False
            self.dirty = True
            self.commit()
            self.booted_at_ms = self.now_ms
            self.rebooted = True
            self._restore()
        self.commit()

    def walk(self, now_ms: int, direction: str, *, force: bool = False) -> str:
        """
        Let someone walk at the arm; return what happened.

        `passed` under a grant or through a free door, `forced` when they push through, `locked` when they cannot.
        """
        self.now_ms = max(now_ms, self.now_ms)
        side = DIRECTIONS[direction]
        outcome = "locked"
        if self.state == "FREE" or (self.grant is not None and self.grant.direction == side):
            self._pass(side)
            outcome = "passed"
        elif force:
            self.forced += 1
            self.set_fault("DOOR_FORCED", True)
            self.append("FORCED", aux=side)
            self.state = "ALARM"
            outcome = "forced"
        self.snap = self.snap % 0xFFFF + 1
        self.commit()
        return outcome

    def tailgate(self, now_ms: int, direction: str) -> None:
        """Let a second person slip through behind the first."""
        self.now_ms = max(now_ms, self.now_ms)
        self.tailgates += 1
        self.append("TAILGATE", aux=DIRECTIONS[direction])
        self.commit()

    def fire(self, now_ms: int, on: bool) -> None:
        """Switch the fire input; while it is on the door is free."""
        self.now_ms = max(now_ms, self.now_ms)
        if on and not self._fire:
            self.grant = None
            self.append("FIRE_FREE")
        self._fire = on
        self.set_fault("FIRE_INPUT", on)
        self.state = "FREE" if on else "LOCKED"
        self.commit()

    def _pass(self, side: int) -> None:
        self.passages[side] += 1
        grant = self.grant
        if grant is None:
            self.append("PASSAGE", count=1, aux=side)
            return
        grant.passed += 1
        grant.left -= 1
        self.append(
            "PASSAGE", subject_id=grant.grant_id, token_tag=grant.token_tag, count=grant.passed, aux=grant.direction
        )
        if grant.left == 0:
            self._finish(None)

    def _finish(self, record: str | None) -> None:
        assert self.grant is not None
        grant, self.grant = self.grant, None
        self._last_grant_id = grant.grant_id
        self.state = "LOCKED"
        if record is not None:
            self.append(record, subject_id=grant.grant_id, token_tag=grant.token_tag, aux=grant.direction)

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
                for name in ("DOOR_FORCED", "DOOR_HELD", "LOCK_FAILED", "SENSOR_FAILED", "TAMPER", "NVM_CRC"):
                    self.set_fault(name, False)
                self.state = "LOCKED" if self.state == "ALARM" else self.state
            case "SET_CLOCK":
                self.set_clock(frame["cmd_grant"] * 1000)
            case "IDENTIFY":
                self.coils["identify"] = True
            case "REBOOT":
                self._reboot_wanted = True
                return "ACCEPTED", 0
        return "DONE", 0

    def _grant(self, frame: Mapping[str, int]) -> tuple[str, int]:
        if frame["cmd_grant"] == 0:
            return "BAD_STATE", 0
        if self.faults & (self.fault_bit("LOCK_FAILED") | self.fault_bit("NVM_CRC")):
            return "FAULTED", 0
        if not self.log.has_room("GRANT"):
            return "LOG_FULL", self.log.waiting
        open_ms = frame["cmd_open"] or self.config["cfg_grant"]
        count = frame["cmd_count"] or 1
        checks = (frame["cmd_direction"] in (1, 2), count <= COUNT_MAX, OPEN_MS_MIN <= open_ms <= OPEN_MS_MAX)
        wrong = next((number for number, good in enumerate(checks, start=1) if not good), 0)
        if wrong:
            return "BAD_LIMIT", wrong
        self.grant = Grant(
            grant_id=frame["cmd_grant"],
            token_tag=frame["cmd_token_tag"],
            direction=frame["cmd_direction"],
            until_ms=self.now_ms + open_ms,
            left=count,
        )
        self.grants += 1
        self.state = "GRANTED_IN" if self.grant.direction == 1 else "GRANTED_OUT"
        self.append("GRANT", subject_id=self.grant.grant_id, token_tag=self.grant.token_tag, aux=self.grant.direction)
        return "DONE", 0

    def _lock(self) -> tuple[str, int]:
        if self._fire:
            return "BAD_STATE", 0
        if self.grant is not None:
            self._finish("GRANT_TIMEOUT" if self.grant.passed == 0 else None)
        self.state = "LOCKED"
        return "DONE", 0

    def grant_left_ms(self) -> int:
        """Return how long the door stays unlocked for the running grant."""
        return max(0, self.grant.until_ms - self.now_ms) if self.grant else 0

    def own_value(self, name: str) -> Raw:
        """Return the points only a reader has."""
        match name:
            case "state":
                return self.map.code("state", self.state)
            case "grant_id":
                return self.grant.grant_id if self.grant else 0
            case "grant_left":
                return self.grant_left_ms()
            case "pass_in":
                return self.passages[1] & 0xFFFFFFFF
            case "pass_out":
                return self.passages[2] & 0xFFFFFFFF
            case "forced":
                return self.forced & 0xFFFF
            case "tailgate":
                return self.tailgates & 0xFFFF
            case "grants":
                return self.grants & 0xFFFFFFFF
            case "denials":
                return self.denials & 0xFFFFFFFF
            case "sensors":
                return (4 if self._fire else 0) | (1 if self.state == "ALARM" else 0)
            case "unlocked":
                return int(self.grant is not None or self.state == "FREE")
            case "door_open" | "forced_now":
                return int(self.state == "ALARM")
            case "granted":
                return int(self.grant is not None)
            case "fire":
                return int(self._fire)
            case "service_key":
                return int(self.state == "SERVICE")
        raise KeyError(name)
