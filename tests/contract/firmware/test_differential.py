"""The same scenario gives the same answers and the same registers on the simulator and on the firmware."""

import ctypes
import random

import pytest

from tests.contract.firmware.chance import Chance
from tests.contract.firmware.fuzz import malformed
from tests.contract.firmware.happened import Happened, happened
from tests.contract.firmware.scenarios import SCENARIOS, Scenario
from tests.contract.firmware.steps import MAP, CutInSave, Frame, Tick, open_order, read
from tests.contract.firmware.twins import Difference, Twins, same, shortest


class TestWrittenScenarios:
    @pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
    def test_are_lived_through_alike(self, library: ctypes.CDLL, scenario: Scenario) -> None:
        try:
            found = happened(library, scenario)
        except Difference:
            same(
                library,
                scenario.steps,
                battery=scenario.battery,
                key=scenario.key,
                k_factor=scenario.k_factor,
                name=scenario.name,
            )
            raise

        left = iter(found.marks)
        assert all(mark in left for mark in scenario.marks), f"{scenario.marks} not in {found.marks}"


#: what a state allows; all else is refused, OPEN in its own words (hardware/HWO1_BEHAVIOR.md, section 5)
_ALLOWED = {
    "BOOT": "SET_CLOCK IDENTIFY",
    "IDLE": "OPEN CLOSE CLEAR_FAULT SELF_TEST SET_CLOCK IDENTIFY REBOOT",
    "ARMED": "CLOSE EXTEND PAUSE SET_CLOCK IDENTIFY REBOOT",
    "DISPENSING": "CLOSE EXTEND PAUSE SET_CLOCK IDENTIFY REBOOT",
    "PAUSED": "OPEN CLOSE EXTEND SET_CLOCK IDENTIFY REBOOT",
    "CLOSING": "CLOSE SET_CLOCK IDENTIFY",
    "LOCKED": "CLOSE CLEAR_FAULT SET_CLOCK IDENTIFY REBOOT",
    "SERVICE": "CLEAR_FAULT SELF_TEST SET_CLOCK IDENTIFY REBOOT",
}
_OPEN_OTHERWISE = {"ARMED": "BUSY", "DISPENSING": "BUSY", "CLOSING": "BUSY", "LOCKED": "FAULTED"}


@pytest.fixture(scope="module")
def together(library: ctypes.CDLL) -> Happened:
    """Return everything that any of the written scenarios brings about."""
    found = Happened()
    for each in (happened(library, scenario) for scenario in SCENARIOS):
        found.marks += each.marks
        found.commands |= each.commands
        found.answers |= each.answers
        found.faults |= each.faults
        found.states |= each.states
    return found


class TestWrittenScenariosTogether:
    def test_leave_out_no_fault_no_state_and_no_kind_of_end(self, together: Happened) -> None:
        reasons = {aux for kind, aux in together.marks if kind == "END"}

        assert together.faults == set(MAP.bits["faults"])
        assert together.states == set(MAP.enums["state"].values())
        assert reasons == set(MAP.enums["close_reason"]) - {MAP.code("close_reason", "NONE")}
        # an outlet decides nothing about people
        assert {kind for kind, _ in together.marks} == set(MAP.enums["record_type"].values()) - {"AUTH"}

    def test_send_every_opcode_in_every_state(self, together: Happened) -> None:
        opcodes = {*MAP.enums["opcode"].values(), "?"}
        states = set(MAP.enums["state"].values())
        sent = {(state, opcode) for state, opcode, _ in together.commands}

        assert sent >= {(state, opcode) for state in states for opcode in opcodes}

    def test_are_answered_as_the_table_of_states_says(self, together: Happened) -> None:
        for state, opcode, result in together.commands - {each for each in together.commands if each[2] in _ANYWHERE}:
            if opcode in _ALLOWED[state].split():
                continue
            wanted = _OPEN_OTHERWISE.get(state, "BAD_STATE") if opcode == "OPEN" else "BAD_STATE"
            assert result == wanted, (state, opcode)

        done = {(state, opcode) for state, opcode, result in together.commands if result in ("DONE", "ACCEPTED")}
        assert done == {(state, opcode) for state, opcodes in _ALLOWED.items() for opcode in opcodes.split()}

    def test_end_in_every_result(self, together: Happened) -> None:
        assert {result for _, _, result in together.commands} == set(MAP.enums["result"].values()) - {"NONE"}

    def test_ask_every_function_for_good_and_for_each_refusal(self, together: Happened) -> None:
        reads = {(function, code) for function in (1, 2, 3, 4, 5, 15) for code in (0, 2, 3)}
        writes = {(function, code) for function in (6, 16, 22, 23) for code in (0, 2, 3, 6)}
        unknown = {(function, 1) for function in (7, 8, 11, 17, 20, 21, 24, 43, 65, 100, 127)}

        assert together.answers == reads | writes | unknown | {(0, 1)}


#: refusals that come before the table of states, or repeat an answer
_ANYWHERE = ("DUPLICATE", "BAD_MAC", "EXPIRED")


class TestPowerCutInEverySave:
    """Of commands, settings, the clock, configuration, acknowledgements, faults and the button: kept or not kept."""

    @pytest.mark.parametrize(
        "name",
        ["bad_limits", "blocking_fault", "burst", "button_and_key", "clock", "commanded_reboot", "configuration",
         "extend", "leak", "no_calibration", "pause", "repeated_token", "scald", "self_test", "slot_by_volume_and_time",
         "tamper", "volume"],
    )  # fmt: skip
    def test_leaves_both_alike(self, library: ctypes.CDLL, name: str) -> None:
        scenario = next(each for each in SCENARIOS if each.name == name)
        twins = Twins(library, k_factor=scenario.k_factor)
        for step in scenario.steps:
            twins.apply(step)
        saves = twins.nvm.saves
        twins.close()
        assert saves >= 4

        for number in range(1, saves + 1):
            # the first save is that of the boot, before any step
            cut = CutInSave(number, kept=number % 2 == 0)
            steps = [cut, *scenario.steps]
            same(library, steps, k_factor=scenario.k_factor, name=f"{name}, cut in save {number}")


class TestRandomScenarios:
    @pytest.mark.parametrize("seed", range(16))
    def test_are_lived_through_alike(self, library: ctypes.CDLL, seed: int) -> None:
        same(library, Chance(seed).steps(220), battery=seed % 3 != 0, name=f"seed {seed}")


class TestFramesOfChance:
    def test_are_answered_alike(self, library: ctypes.CDLL) -> None:
        chance = random.Random(3)
        opening = [Tick(300), open_order(token=1, session=7)]

        same(library, [*opening, *(Frame(malformed(chance)) for _ in range(500))], name="frames")


class TestShortest:
    def test_leaves_out_what_does_not_matter(self, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("firmware_sim.outlet_rules.LEASE_S_MAX", 599)
        opening = open_order(token=1, session=7, lease=600)
        steps = [Tick(300), *([Frame(read(4, 0, 4))] * 20), opening, *([Tick(50)] * 20)]

        short = shortest(library, steps)

        assert short[-1] == opening
        assert len(short) == 2
        with pytest.raises(AssertionError, match=r"seed 5: after 2 steps: simulator answers .*\n.*Tick.*\n.*Frame"):
            same(library, steps, name="seed 5")
