"""Journey 2: the reader beside the outlet sees a card or the phone's student code; no phone in wet hands."""

from typing import Any

from tests.e2e.journeys.school import ENDED, School, eventually

_OUTLET = "dev_b1_101"


class TestCard:
    def test_starts_and_ends_a_shower_with_the_same_card(self, school: School) -> None:
        student = school.fresh()
        school.do("tap", _OUTLET, uid=school.card(student))
        live = eventually("a session", lambda: school.live(student))
        school.reaches(student, live["water_session_id"], {"flowing"})
        eventually("water", lambda: school.device(_OUTLET)["sess_pulses"] > 200)

        school.do("tap", _OUTLET, uid=school.card(student))

        bill = school.settled(student, live["water_session_id"])
        assert bill["stop_reason"] == "card"
        assert bill["credential_kind"] == "uid"
        assert bill["closing_pulses"] - bill["opening_pulses"] >= 200
        assert not school.valve_open(_OUTLET)

    def test_opens_nothing_for_a_card_nobody_knows(self, school: School) -> None:
        before = {session["water_session_id"] for session in school.all_sessions()}

        school.do("tap", _OUTLET, uid="04DEADBEEF0001")

        eventually("the tap was read", lambda: not school.device(_OUTLET)["mailbox_pending"])
        eventually("an answer on the display", lambda: school.device(_OUTLET)["display"])
        assert not school.valve_open(_OUTLET)
        assert {session["water_session_id"] for session in school.all_sessions()} == before

    def test_starts_one_shower_when_tapped_by_a_nervous_hand(self, school: School) -> None:
        """Two taps at once are a start and, if both are seen, a stop; never two showers."""
        student = school.fresh()
        before = {session["water_session_id"] for session in school.all_sessions()}
        for _ in range(2):
            school.do("tap", _OUTLET, uid=school.card(student))

        def mine() -> list[dict[str, Any]]:
            return [s for s in school.all_sessions() if s["water_session_id"] not in before]

        session_id = eventually("a session", mine)[0]["water_session_id"]
        eventually("both taps were read", lambda: not school.device(_OUTLET)["mailbox_pending"])
        school.reaches(student, session_id, ENDED | {"flowing"})
        if school.session(student, session_id)["state"] not in ENDED:
            school.stop(student, session_id)
        school.reaches(student, session_id, ENDED)

        assert len(mine()) == 1


class TestStudentCode:
    def test_starts_a_shower_once(self, school: School) -> None:
        student = school.fresh()
        code = school.get("/me/code", student)["text"]

        school.do("code", _OUTLET, text=code)
        live = eventually("a session", lambda: school.live(student))
        school.reaches(student, live["water_session_id"], {"flowing"})
        eventually("water", lambda: school.device(_OUTLET)["sess_pulses"] > 60)
        school.stop(student, live["water_session_id"])
        school.settled(student, live["water_session_id"])
        school.do("code", _OUTLET, text=code)
        eventually("the second showing was read", lambda: school.device(_OUTLET)["mailbox_pending"] is False)

        assert school.live(student) is None
        assert not school.valve_open(_OUTLET)
