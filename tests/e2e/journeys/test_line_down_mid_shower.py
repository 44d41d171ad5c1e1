"""Journey 4: the grant's own limits close the valve; the record survives and is settled exactly once later."""

import os
import signal

from tests.e2e.journeys.school import School, eventually

_OUTLET = "dev_b1_103"


class TestLineDown:
    def test_closes_by_itself_and_settles_once_the_link_is_back(self, school: School) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET)
        eventually("water", lambda: school.device(_OUTLET)["sess_pulses"] > 200)

        school.stack.parts["broker"].kill()
        school.do("tap_flow", _OUTLET, open=False)
        eventually("the valve closed with no backend", lambda: not school.valve_open(_OUTLET))
        school.stack.parts["gw_b1"].kill()
        school.restart("gw_b1")
        school.restart("broker")

        bill = school.settled(student, session_id)
        assert bill["stop_reason"] in ("no_flow", "user")
        assert bill["closing_pulses"] > bill["opening_pulses"]
        school.devices_online()

    def test_keeps_water_running_while_only_the_link_is_gone(self, school: School) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET)

        school.stack.parts["broker"].kill()
        counted = school.device(_OUTLET)["sess_pulses"]
        eventually("more water", lambda: school.device(_OUTLET)["sess_pulses"] > counted + 400)
        assert school.valve_open(_OUTLET)
        school.restart("broker")
        eventually(
            "the stop arrives once the link is back",
            lambda: school.ask("POST", f"/water-sessions/{session_id}/stop", student).is_success,
        )

        assert school.settled(student, session_id)["state"] == "settled"


class TestLineDownAtTheStart:
    def test_opens_with_a_command_that_the_broker_lost(self, school: School) -> None:
        student, gateway = school.fresh(), school.stack.parts["gw_b1"]
        assert gateway.process is not None
        os.kill(gateway.process.pid, signal.SIGSTOP)
        try:
            school.stack.parts["broker"].kill()
            school.restart("broker")
            worker_is_back = school.fresh()
            other = eventually("the worker is back", lambda: school.start(worker_is_back, "dev_b2_104")).json()[
                "water_session_id"
            ]
            school.reaches(worker_is_back, other, {"flowing"})
            school.stop(worker_is_back, other)
            session_id = school.start(student, _OUTLET).json()["water_session_id"]
            eventually("the command left", lambda: school.session(student, session_id)["state"] == "opening")
        finally:
            os.kill(gateway.process.pid, signal.SIGCONT)

        school.reaches(student, session_id, {"flowing"})
        eventually("water", lambda: school.device(_OUTLET)["sess_pulses"] > 400)
        school.stop(student, session_id)
        assert school.settled(student, session_id)["captured_minor"] > 0
