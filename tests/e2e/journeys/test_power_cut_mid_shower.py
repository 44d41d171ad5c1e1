"""Journey 5: the controller boots closed; the journal and the meter register settle the session."""

from tests.e2e.journeys.school import School, eventually

_OUTLET = "dev_b1_104"


class TestPowerCut:
    def test_settles_what_was_counted_before_the_cut(self, school: School) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET)
        eventually("water", lambda: school.device(_OUTLET)["sess_pulses"] > 600)

        school.do("power_cut", _OUTLET, seconds=2)

        bill = school.settled(student, session_id)
        assert bill["stop_reason"] == "power_loss"
        assert bill["closing_pulses"] > bill["opening_pulses"]
        eventually("the device is back, closed", lambda: school.device(_OUTLET).get("state") == "idle")
        assert not school.valve_open(_OUTLET)
        school.devices_online()

    def test_serves_the_next_shower_from_the_same_register(self, school: School) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET)
        school.stop(student, session_id)
        first = school.settled(student, session_id)

        school.do("power_cut", _OUTLET, seconds=4)
        eventually("known to be silent", lambda: school.outlet(_OUTLET)["state"] == "silent")
        eventually("known to be back", lambda: school.outlet(_OUTLET)["is_online"])
        again = school.fresh()
        second_id = school.started(again, _OUTLET)
        school.stop(again, second_id)

        assert school.settled(again, second_id)["opening_pulses"] == first["closing_pulses"]
