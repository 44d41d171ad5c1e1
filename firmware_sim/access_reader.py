"""
ACR-1: the access reader and turnstile controller as a pure state machine.

A grant unlocks one direction for a few seconds and one person. Going through turns it into a PASSAGE, letting it run
out into GRANT_TIMEOUT; only a passage counts as entry. The fire input frees the door whatever the bus says. A leaf that
opens without a grant is FORCED, one that stays open is DOOR_HELD; both are faults until somebody looks. While nobody
polls, the offline policy decides: nobody passes, or whoever is on a list of hashed cards that has not expired.
"""

from collections.abc import Mapping
from dataclasses import replace

from firmware_sim.inputs import Inputs
from firmware_sim.reader_commands import ReaderCommands
from firmware_sim.reader_state import ALLOWED, Grant, refusal
from firmware_sim.reader_values import READER_GETTERS

__all__ = ["ALLOWED", "DIRECTIONS", "AccessReader", "Grant", "refusal"]

DIRECTIONS: Mapping[str, int] = {"in": 1, "out": 2}


class AccessReader(ReaderCommands):
    """One door with a reader on each side: mailbox A at the entry, B at the exit."""

    own_getters = READER_GETTERS

    def tick(self, now_ms: int) -> None:
        """Let time pass: a grant nobody used runs out, a leaf may have been open for too long."""
        self.now_ms = max(now_ms, self.now_ms)
        if self._quiet and self.inputs is self.felt and not self._comm_timeout_due():
            return
        self.snap = self.snap % 0xFFFF + 1
        self._feel_door(self.feel())
        if self._comm_timeout_due():
            self.set_fault("COMM_TIMEOUT", True)
        if self.grant is not None and self.now_ms >= self.grant.until_ms:
            self.finish("GRANT_TIMEOUT" if self.grant.passed == 0 else None)
        self._watch_leaf()
        self._serve()
        if self.reboot_wanted and self.grant is None:
            self.reboot()
        self.end_of_identifying()
        self.commit()
        self.touch()
        self._quiet = (
            self.grant is None
            and self.opened_at_ms is None
            and self.self_test_until_ms is None
            and not self.coils["identify"]
        )

    def _comm_timeout_due(self) -> bool:
        return self.is_offline() and not self.faults & self.fault_bit("COMM_TIMEOUT")

    def _feel_door(self, before: Inputs) -> None:
        now = self.inputs
        self.set_fault("READER_A_OFFLINE", not now.reader_online)
        self.set_fault("READER_B_OFFLINE", not now.reader_b_online)
        if not now.door_sensor_ok:
            self.set_fault("SENSOR_FAILED", True)
        if now.fire != bool(self.faults & self.fault_bit("FIRE_INPUT")):
            self._fire(now.fire)
        if now.door_open and not before.door_open:
            self.opened_at_ms = self.now_ms
            if self.state == "LOCKED":
                self._force(0)
        elif not now.door_open:
            self.opened_at_ms = None
            self.set_fault("DOOR_HELD", False)

    def _watch_leaf(self) -> None:
        if self.opened_at_ms is None or self.state == "FREE" or self.faults & self.fault_bit("DOOR_HELD"):
            return
        if self.now_ms - self.opened_at_ms >= self.config["cfg_held_open"] * 1000:
            self.held += 1
            self.set_fault("DOOR_HELD", True)

    def _serve(self) -> None:
        """End a self-test whose time is over, and obey the service key."""
        if self.self_test_until_ms is not None:
            if self.now_ms < self.self_test_until_ms:
                return
            self.self_test_until_ms = None
            self.set_fault("LOCK_FAILED", not self.inputs.coil_ok)
            self.state = "LOCKED"
        if self.inputs.service_key and self.state == "LOCKED":
            self.state = "SERVICE"
        elif not self.inputs.service_key and self.state == "SERVICE":
            self.state = "LOCKED"

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
            self._force(side)
            outcome = "forced"
        self._acted()
        return outcome

    def tailgate(self, now_ms: int, direction: str) -> None:
        """Let a second person slip through behind the first."""
        self.now_ms = max(now_ms, self.now_ms)
        self.tailgates += 1
        self.append("TAILGATE", aux=DIRECTIONS[direction])
        self._acted()

    def fire(self, now_ms: int, on: bool) -> None:
        """Switch the fire input; while it is on the door is free."""
        self.now_ms = max(now_ms, self.now_ms)
        self.inputs = replace(self.inputs, fire=on)
        if on != bool(self.faults & self.fault_bit("FIRE_INPUT")):
            self._fire(on)
        self._acted()

    def _acted(self) -> None:
        self.snap = self.snap % 0xFFFF + 1
        self.touch()
        self.commit()

    def _fire(self, on: bool) -> None:
        if on:
            self._give_up_grant()
            self.self_test_until_ms = None
            self.append("FIRE_FREE")
        self.set_fault("FIRE_INPUT", on)
        self.state = "FREE" if on else "LOCKED"

    def _give_up_grant(self) -> None:
        """End a running grant before its time, as if it had run out."""
        if self.grant is not None:
            self.finish("GRANT_TIMEOUT" if self.grant.passed == 0 else None)

    def _force(self, side: int) -> None:
        self._give_up_grant()
        self.forced += 1
        self.set_fault("DOOR_FORCED", True)
        self.append("FORCED", aux=side)
        self.state = "ALARM"

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
            self.finish(None)
