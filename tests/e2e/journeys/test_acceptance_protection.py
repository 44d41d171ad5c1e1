"""Journey 8: from its first second a grant refuses other brands there, with the reason; the preview shows it before."""

from datetime import UTC, datetime, timedelta

from tests.e2e.journeys.school import School

_PROTECTED, _FREE = "dev_b1_101", "dev_b2_102"


class TestProtection:
    def test_refuses_another_brand_in_the_protected_building(self, school: School) -> None:
        student = school.fresh()

        answer = school.start(student, _PROTECTED, method="alipay")

        assert answer.status_code == 403
        assert answer.json()["code"] == "method_not_accepted"
        assert "unionpay" in str(answer.json()["details"]).lower()
        assert school.live(student) is None
        assert not school.valve_open(_PROTECTED)

    def test_takes_the_protected_brand_there_and_the_other_elsewhere(self, school: School) -> None:
        for outlet, method in ((_PROTECTED, "unionpay"), (_FREE, "alipay")):
            student = school.fresh()
            session_id = school.started(student, outlet, method=method)
            school.stop(student, session_id)
            assert school.settled(student, session_id)["method"] == method

    def test_begins_and_ends_at_its_own_instants(self, school: School) -> None:
        begins = datetime.now(UTC) + timedelta(days=10)
        ends = begins + timedelta(days=10)
        drafted = school.ask(
            "POST", "/protections", "admin", brand="alipay", scenario="hot_water", place_id="pl_b2", mode="exclusive",
            grantor="桂湖大学", active_from=begins.isoformat(), active_to=ends.isoformat(), exemptions=[],
            consideration="二号公寓", document_sha256="",
        )  # fmt: skip
        assert drafted.is_success, drafted.text
        grant_id = drafted.json()["grant_id"]
        assert school.ask("POST", f"/protections/{grant_id}/submit", "admin").is_success
        same = school.ask("POST", f"/protections/{grant_id}/approve", "admin")
        assert same.status_code == 403
        assert school.ask("POST", f"/protections/{grant_id}/approve", "approver").is_success

        def unionpay_at(moment: datetime) -> bool:
            stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            shown = school.get(f"/protections/preview?device_id={_FREE}&at={stamp}", "admin")["methods"]
            return bool(next(method["accepted"] for method in shown if method["method"] == "unionpay"))

        assert unionpay_at(begins - timedelta(milliseconds=1))
        assert not unionpay_at(begins)
        assert not unionpay_at(ends - timedelta(milliseconds=2))
        assert unionpay_at(ends)

    def test_shows_the_conflict_of_two_exclusive_grants(self, school: School) -> None:
        now = datetime.now(UTC)
        drafted = school.ask(
            "POST", "/protections", "admin", brand="alipay", scenario="hot_water", place_id="pl_campus",
            mode="exclusive", grantor="桂湖大学", active_from=now.isoformat(),
            active_to=(now + timedelta(days=1)).isoformat(), exemptions=[], consideration="", document_sha256="",
        )  # fmt: skip

        submitted = school.ask("POST", f"/protections/{drafted.json()['grant_id']}/submit", "admin")

        assert submitted.status_code == 409
        assert submitted.json()["code"] == "grant_overlap"
        assert "gr_demo_b1" in str(submitted.json()["details"])
