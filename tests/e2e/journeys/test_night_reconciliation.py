"""Journey 10: meter, sessions and ledger agree to the pulse and the fen, or the difference is listed with its cause."""

from tests.e2e.journeys.school import School, eventually

_OUTLET = "dev_b2_103"


class TestReconciliation:
    def test_has_no_break_after_showers_by_every_method(self, school: School) -> None:
        for method in ("wallet", "unionpay", "alipay"):
            student = school.fresh()
            session_id = school.started(student, _OUTLET, method=method)
            eventually("water", lambda: school.device(_OUTLET)["sess_pulses"] > 100)
            school.stop(student, session_id)
            school.settled(student, session_id)

        assert school.report().violations == []

    def test_is_for_finance_only(self, school: School) -> None:
        answer = school.ask("POST", "/reconciliations", school.fresh())

        assert answer.status_code == 403
        assert answer.json()["code"] == "role_missing"
