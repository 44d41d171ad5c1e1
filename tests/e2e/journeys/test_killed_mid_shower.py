"""Killing any process at any moment of a shower loses no money-bearing event and bills it once."""

import pytest

from tests.e2e.journeys.school import School, eventually

_OUTLET = "dev_b2_101"


class TestKill:
    @pytest.mark.parametrize("part", ["gw_b2", "worker", "devices", "serve", "provider"])
    def test_leaves_one_right_bill(self, school: School, part: str) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET, method="wallet")
        # beyond the first litre: the controller keeps its register every litre or ten seconds
        eventually("water", lambda: school.device(_OUTLET)["sess_pulses"] > 600)

        school.stack.parts[part].kill()
        school.restart(part)
        if part in ("worker", "serve", "provider"):
            eventually(
                "the stop is taken",
                lambda: school.ask("POST", f"/water-sessions/{session_id}/stop", student).is_success,
            )

        bill = school.settled(student, session_id)
        assert bill["closing_pulses"] > bill["opening_pulses"]
        assert bill["captured_minor"] + bill["overrun_minor"] == bill["charge_minor"]
        eventually("closed", lambda: not school.valve_open(_OUTLET))
        assert school.wallet(student)["held_minor"] == 0
        school.devices_online()

    def test_of_the_worker_before_the_command_leaves_no_hold_behind(self, school: School) -> None:
        student = school.fresh()
        school.stack.parts["worker"].kill()

        answer = school.start(student, _OUTLET)
        assert answer.is_success, answer.text
        session_id = answer.json()["water_session_id"]
        assert not school.valve_open(_OUTLET)
        school.restart("worker")

        school.reaches(student, session_id, {"flowing", "voided", "refused"})
        school.ask("POST", f"/water-sessions/{session_id}/stop", student)
        school.reaches(student, session_id, {"settled", "voided", "refused"}, within_s=90)
        assert school.wallet(student)["held_minor"] == 0


class TestEverythingAfterwards:
    def test_agrees_to_the_pulse_and_to_the_fen(self, school: School) -> None:
        assert school.report().violations == []
