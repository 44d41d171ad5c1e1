"""Journey 6: card or student code at a gate; a decision with its reason; the passage, not the grant, is counted."""

from typing import Any

from tests.e2e.journeys.school import School, eventually

_GATE = "dev_library_1"


def _latest(school: School) -> dict[str, Any]:
    passages = school.get(f"/passages?device_id={_GATE}", "desk")
    return dict(passages[0]) if passages else {}


class TestGate:
    def test_lets_a_card_in_and_counts_the_passage(self, school: School) -> None:
        student = school.fresh()

        school.do("tap", _GATE, uid=school.card(student))
        eventually("the gate is unlocked", lambda: school.device(_GATE)["state"] == "granted_in")
        school.do("pass", _GATE, direction="in")

        seen = eventually("counted", lambda: (last := _latest(school)).get("outcome") == "passed" and last)
        assert seen["granted"] is True
        assert seen["reason"] == "ok"

    def test_lets_a_student_code_in_once(self, school: School) -> None:
        student = school.fresh()
        code = school.get("/me/code", student)["text"]
        school.do("code", _GATE, text=code)
        eventually("the gate is unlocked", lambda: school.device(_GATE)["state"] == "granted_in")
        school.do("pass", _GATE, direction="in")
        eventually("locked again", lambda: school.device(_GATE)["state"] == "locked")

        school.do("code", _GATE, text=code)

        eventually("refused", lambda: _latest(school).get("granted") is False)
        assert _latest(school)["reason"] in ("replayed", "code_replayed")
        assert school.device(_GATE)["state"] == "locked"

    def test_counts_nobody_who_does_not_walk_through(self, school: School) -> None:
        student = school.fresh()
        passed = school.device(_GATE)["pass_in"]

        school.do("tap", _GATE, uid=school.card(student))
        eventually("the gate is unlocked", lambda: school.device(_GATE)["state"] == "granted_in")

        eventually("locked after the time", lambda: school.device(_GATE)["state"] == "locked")
        assert eventually("on record", lambda: _latest(school).get("outcome")) == "timeout"
        assert school.device(_GATE)["pass_in"] == passed

    def test_stays_shut_for_a_stranger_and_says_why(self, school: School) -> None:
        school.do("tap", _GATE, uid="04DEADBEEF0002")

        eventually("refused", lambda: _latest(school).get("reason") == "unknown_credential")
        assert school.device(_GATE)["state"] == "locked"

    def test_stays_shut_for_a_frozen_card_at_once(self, school: School) -> None:
        student = school.fresh()
        answer = school.ask("POST", "/me/cards/freeze", student)
        assert answer.is_success, answer.text

        school.do("tap", _GATE, uid=school.card(student))

        eventually("refused", lambda: _latest(school).get("reason") in ("frozen", "credential_frozen"))
        assert school.device(_GATE)["state"] == "locked"
