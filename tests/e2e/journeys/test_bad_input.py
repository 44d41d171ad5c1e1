"""Each refusal is clear in both languages; nothing is lost and nothing opens."""

import pytest

from tests.e2e.journeys.school import School, eventually

_OUTLET = "dev_b2_102"


class TestRefusals:
    def test_speak_both_languages(self, school: School) -> None:
        answer = school.start(school.fresh(), "dev_of_another_school")

        assert answer.status_code == 404
        body = answer.json()
        assert body["message_zh"]
        assert body["message_en"]
        assert body["message_zh"] != body["message_en"]

    def test_an_outlet_that_is_offline(self, school: School) -> None:
        school.do("silent", _OUTLET, on=True)
        eventually(
            "known to be silent",
            lambda: [o for o in school.get("/outlets", "facilities") if o["state"] == "silent"],
        )

        answer = school.start(school.fresh(), _OUTLET)

        assert answer.status_code == 503
        assert answer.json()["code"] == "outlet_offline"
        school.do("silent", _OUTLET, on=False)
        school.devices_online()

    def test_an_expired_or_invented_sign_in(self, school: School) -> None:
        answer = school.http.get("/api/v1/wallet", headers={"Authorization": "Bearer invented"})

        assert answer.status_code == 401
        assert answer.json()["code"] == "sign_in_expired"

    def test_a_method_that_is_none(self, school: School) -> None:
        answer = school.start(school.fresh(), _OUTLET, method="cowrie-shells")

        assert 400 <= answer.status_code < 500
        assert not school.valve_open(_OUTLET)

    @pytest.mark.parametrize("token", ["nonsense", "1" * 200, "..%2f..%2fetc", "%00"])
    def test_a_sticker_nobody_printed(self, school: School, token: str) -> None:
        answer = school.http.get(f"/w/{token}", follow_redirects=True)

        assert answer.status_code in (200, 404, 422)
        assert "Traceback" not in answer.text


class TestSameRequestTwice:
    def test_starts_one_shower(self, school: School) -> None:
        student = school.fresh()

        first = school.start(student, _OUTLET, request_id="req_doubleclick_1").json()
        second = school.start(student, _OUTLET, request_id="req_doubleclick_1").json()

        assert first["water_session_id"] == second["water_session_id"]
        school.reaches(student, first["water_session_id"], {"flowing"})
        eventually("water", lambda: school.device(_OUTLET)["sess_pulses"] > 60)
        school.stop(student, first["water_session_id"])
        school.settled(student, first["water_session_id"])

    def test_never_gives_one_person_two_showers(self, school: School) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET)

        answer = school.start(student, "dev_b2_103")

        assert answer.status_code == 409
        assert answer.json()["code"] == "cardholder_busy"
        school.stop(student, session_id)
        school.settled(student, session_id)
