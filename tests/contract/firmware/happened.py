"""What a scenario brings about, so that a test can say that together they leave nothing out."""

import ctypes
from dataclasses import dataclass, field

from firmware_sim.event_log import unpack
from tests.contract.firmware.scenarios import Scenario
from tests.contract.firmware.steps import MAP, Acknowledge, Damage, Frame, TakeMail
from tests.contract.firmware.twins import Twins

_COMMAND_AT = bytes.fromhex("0100")


@dataclass(slots=True)
class Happened:
    """Labels of the map; `marks` are the log records as type and aux, oldest first."""

    marks: list[tuple[str, int]] = field(default_factory=list)
    #: state before, opcode, result
    commands: set[tuple[str, str, str]] = field(default_factory=set)
    #: function code and exception, 0 for a good answer
    answers: set[tuple[int, int]] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)
    states: set[str] = field(default_factory=set)


def happened(library: ctypes.CDLL, scenario: Scenario) -> Happened:
    """
    Return what both twins lived through alike.

    :raises Difference: at the first step that they do not.
    """
    found = Happened()
    twins = Twins(library, battery=scenario.battery, key=scenario.key, k_factor=scenario.k_factor)
    newest = 0
    try:
        for step in scenario.steps:
            before = MAP.enums["state"][twins.value("state")] if twins.outlet else "BOOT"
            twins.apply(step)
            if isinstance(step, Frame) and step.unit and twins.last_answer:
                _answered(found, before, step, twins.last_answer)
            if isinstance(step, Frame | Acknowledge | TakeMail):
                twins.last_answer = b""
            if twins.outlet is None:
                newest = 0 if isinstance(step, Damage) else newest
                continue
            faults = twins.value("faults")
            found.faults |= {name for bit, name in enumerate(MAP.bits["faults"]) if faults >> bit & 1}
            found.states.add(MAP.enums["state"][twins.value("state")])
            records = twins.outlet.log.records
            for sequence in sorted(each for each in records if each > newest):
                record = unpack(records[sequence])
                found.marks.append((MAP.enums["record_type"][record.type], record.aux))
                newest = sequence
    finally:
        twins.close()
    return found


def _answered(found: Happened, state: str, frame: Frame, answer: bytes) -> None:
    function = frame.pdu[0]
    refused = answer[1] if answer[0] & 0x80 else 0
    found.answers.add((function, refused))
    if function == 23 and frame.pdu[5:7] == _COMMAND_AT and not refused and len(answer) >= 6:
        opcode, code = int.from_bytes(frame.pdu[12:14], "big"), int.from_bytes(answer[4:6], "big")
        found.commands.add((state, MAP.enums["opcode"].get(opcode, "?"), MAP.enums["result"][code]))
