"""Journey 3: the next student's tap ends and bills the previous session, then starts theirs."""

from tests.e2e.journeys.school import School, eventually

_OUTLET = "dev_b1_102"


class TestHandOver:
    def test_bills_the_first_and_starts_the_next(self, school: School) -> None:
        first, second = school.fresh(), school.fresh()
        first_id = school.started(first, _OUTLET)
        eventually("water for the first", lambda: school.device(_OUTLET)["sess_pulses"] > 200)

        school.do("tap", _OUTLET, uid=school.card(second))

        first_bill = school.settled(first, first_id)
        assert first_bill["stop_reason"] == "handover"
        live = eventually("the second's session", lambda: school.live(second))
        school.reaches(second, live["water_session_id"], {"flowing"})
        school.stop(second, live["water_session_id"])
        second_bill = school.settled(second, live["water_session_id"])
        assert second_bill["opening_pulses"] == first_bill["closing_pulses"]

    def test_is_refused_from_a_page(self, school: School) -> None:
        first, second = school.fresh(), school.fresh()
        first_id = school.started(first, _OUTLET)

        answer = school.start(second, _OUTLET)

        assert answer.status_code == 409
        assert answer.json()["code"] == "outlet_busy"
        assert school.session(first, first_id)["state"] == "flowing"
        school.stop(first, first_id)
        school.settled(first, first_id)
