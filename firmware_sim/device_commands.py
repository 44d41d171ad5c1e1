"""
Commands: one write of exactly the command block, with token and commit = 0xA5C3 xor token, else exception 3.

A token seen among the last four is not executed again: its result is shown with code DUPLICATE, the first code in
detail. The remembered results survive power cuts. What carries a wrong seal is not remembered.
"""

from collections.abc import Mapping, Sequence

from firmware_sim.codec import Raw
from firmware_sim.command_mac import command_mac
from firmware_sim.device_core import DeviceCore
from firmware_sim.device_memory import Result
from firmware_sim.registers import ILLEGAL_ADDRESS, ILLEGAL_VALUE, BusRefusal, register_file

TOKENS_KEPT = 4
UNKNOWN_OPCODE = 0xFFFF
#: registers of the command frame that hold its seal
_MAC = slice(14, 18)


class CommandedDevice(DeviceCore):
    """A device that takes command frames."""

    def execute(self, opcode: str, frame: Mapping[str, int]) -> tuple[str, int]:
        """Carry out a command that is new, complete and in time; return result label and detail."""
        raise KeyError(opcode)

    def subject_and_count(self) -> tuple[int, int]:
        """Return session or grant id and the counter shown with a result."""
        return 0, 0

    def command(self, values: Sequence[int]) -> None:
        """
        Take a command frame.

        :raises BusRefusal: 3 for a frame without token, with a wrong commit word or a field out of bounds.
        """
        frame = {name: value for name, value in self._decode_frame(values).items() if isinstance(value, int)}
        token = frame["cmd_token"]
        if token == 0 or frame["cmd_commit"] != self.map.caps["commit_xor"] ^ token:
            raise BusRefusal(ILLEGAL_VALUE)
        sealed = not self.identity.mac_key or self._seal_holds(values)
        self.frame = list(values)
        if not sealed:
            self.last_result = self._result(token, "BAD_MAC", 0)
            return
        first = self._results.get(token)
        if first is not None:
            duplicate = self.map.code("result", "DUPLICATE")
            self.last_result = Result(
                token=token,
                code=duplicate,
                detail=first.code,
                subject_id=first.subject_id,
                pulses=first.pulses,
                snap_seq=first.snap_seq,
            )
            return
        opcode = self.map.enums["opcode"].get(frame["cmd_opcode"])
        if opcode is None:
            label, detail = "BAD_STATE", UNKNOWN_OPCODE
        elif frame["cmd_not_after"] and (not self.unix_ms() or self.unix_ms() >= frame["cmd_not_after"] * 1000):
            label, detail = "EXPIRED", 0 if self.unix_ms() else 1
        else:
            label, detail = self.execute(opcode, frame)
        self.last_result = self._result(token, label, detail)
        self._results[token] = self.last_result
        self.dirty = True
        while len(self._results) > TOKENS_KEPT:
            self._results.pop(next(iter(self._results)))

    def _result(self, token: int, label: str, detail: int) -> Result:
        subject_id, count = self.subject_and_count()
        return Result(
            token=token,
            code=self.map.code("result", label),
            detail=detail,
            subject_id=subject_id,
            pulses=count & 0xFFFFFFFF,
            snap_seq=self.snap,
        )

    def _seal_holds(self, values: Sequence[int]) -> bool:
        shown = 0
        for word in values[_MAC]:
            shown = shown << 16 | word
        return shown == command_mac(self.identity.mac_key, values, self.identity.device_uid)

    def _decode_frame(self, values: Sequence[int]) -> Mapping[str, Raw]:
        block = self.map.block("cmd")
        try:
            return register_file(self.map).points_written("holding", block.address, values)
        except BusRefusal as refusal:
            raise BusRefusal(ILLEGAL_VALUE if refusal.code != ILLEGAL_ADDRESS else refusal.code) from refusal
