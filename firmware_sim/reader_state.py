"""What a door knows: its grant, its counters, its allow-list; and what is allowed in which state."""

from collections.abc import Mapping
from dataclasses import dataclass

from firmware_sim.allow_list import AllowList, restored
from firmware_sim.codec import Raw
from firmware_sim.device import Device
from firmware_sim.registers import ILLEGAL_VALUE, BusRefusal

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

#: faults that CLEAR_FAULT lets go when their cause has gone, and that a power cut does not heal
CLEARABLE = ("DOOR_FORCED", "DOOR_HELD", "LOCK_FAILED", "SENSOR_FAILED", "TAMPER", "NVM_CRC")


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


class ReaderState(Device):
    """A door's memory and counters; what it does with them is `AccessReader`."""

    mailbox_prefixes = ("mbx_a", "mbx_b")
    fitted = ("READER_A", "READER_B", "DISPLAY", "BACKUP")

    def restore_own(self, kept: Mapping[str, object]) -> None:
        """Take back counters and the allow-list; no grant survives a power cut, and the fire input is felt at once."""
        numbers = {name: value for name, value in kept.items() if isinstance(value, int)}
        self.state = "LOCKED"
        self.grant: Grant | None = None
        self.passages = {1: numbers.get("pass_in", 0), 2: numbers.get("pass_out", 0)}
        self.forced = numbers.get("forced", 0)
        self.held = numbers.get("held_open", 0)
        self.tailgates = numbers.get("tailgate", 0)
        self.grants = numbers.get("grants", 0)
        self.denials = numbers.get("denials", 0)
        self.last_grant_id = 0
        self.opened_at_ms: int | None = None
        self.allow = restored(kept.get("allow"))
        self.append("BOOT")
        self.check_log_room()
        self.commit()

    def keep_own(self) -> dict[str, object]:
        """Return counters and the allow-list."""
        return {
            "pass_in": self.passages[1],
            "pass_out": self.passages[2],
            "forced": self.forced,
            "held_open": self.held,
            "tailgate": self.tailgates,
            "grants": self.grants,
            "denials": self.denials,
            "allow": self.allow.keep(),
        }

    def latched_mask(self) -> int:
        """Return the faults a power cut does not heal."""
        return sum(self.fault_bit(name) for name in CLEARABLE)

    def register_total(self) -> int:
        """Return all passages ever."""
        return self.passages[1] + self.passages[2]

    def busy(self) -> bool:
        """Return whether a grant runs."""
        return self.grant is not None

    def subject_and_count(self) -> tuple[int, int]:
        """Return the running or last grant and all passages ever."""
        return (self.grant.grant_id if self.grant else self.last_grant_id), self.register_total()

    def grant_left_ms(self) -> int:
        """Return how long the door stays unlocked for the running grant."""
        return max(0, self.grant.until_ms - self.now_ms) if self.grant else 0

    def sensors(self) -> int:
        """Return the bits of what the door feels."""
        felt = self.inputs
        arm_turns = self.grant is not None and felt.door_open
        return int(felt.door_open) | arm_turns << 1 | felt.fire << 2 | felt.service_key << 3

    # the allow-list on the bus ------------------------------------------------------------------------------------

    def check_own(self, written: Mapping[str, Raw]) -> None:
        """Refuse a locked list, a part without its place and a checksum that does not fit."""
        touched = [name for name in written if name.startswith("allow_")]
        if not touched:
            return
        if self.now_ms >= self.unlocked_until_ms or ("allow_part" in written and "allow_at" not in written):
            raise BusRefusal(ILLEGAL_VALUE)
        shown = written.get("allow_crc")
        if isinstance(shown, int) and (len(touched) > 1 or not self.allow.fits(shown)):
            raise BusRefusal(ILLEGAL_VALUE)

    def take_allow(self, name: str, value: Raw) -> None:
        """Take one checked write to the allow-list's registers."""
        allow: AllowList = self.allow
        if name == "allow_part" and isinstance(value, bytes):
            allow.put(value)
        elif name == "allow_salt" and isinstance(value, bytes):
            allow.loading_salt = value
        elif name == "allow_count" and isinstance(value, int):
            allow.begin(value)
        elif name == "allow_at" and isinstance(value, int):
            allow.at = value
        elif name == "allow_crc":
            allow.enforce()
            self.append("CONFIG", aux=self.map.points[name].address, count=len(allow.numbers), token_tag=allow.version)
