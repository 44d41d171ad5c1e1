"""The interface and the pages of acceptance protection: who may do what, and what a period may be."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.fakes.web_site import PASSWORD, School, add_foreign_school
from tests.unit.backend.web.conftest import SignedInAs, form_token, post

_BODY = {
    "grantor": "计财处",
    "brand": "unionpay",
    "place_id": "pl_campus",
    "active_from": "2026-11-01T00:00:00+08:00",
    "active_to": "2027-11-01T00:00:00+08:00",
}
_FORM = {
    "grantor": "计财处", "brand": "unionpay", "scenario": "hot_water", "place": "pl_campus", "mode": "exclusive",
    "active_from": "2026-11-01T00:00", "active_to": "2027-11-01T00:00",
}  # fmt: skip
_BASE = "/api/v1/protections"
_FAR = [
    {"active_to": "9999-12-31T23:59"},
    {"active_from": "0001-01-01T00:00"},
    {"active_from": "1999-12-31T00:00"},
    {"active_to": "2100-01-02T00:00"},
]


@pytest.fixture
def api(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def _as(api: TestClient, login: str) -> dict[str, str]:
    answer = api.post("/api/v1/sign-in", json={"tenant_id": "gxu", "login": login, "password": PASSWORD})
    return {"authorization": f"Bearer {answer.json()['token']}"}


def _drafted(api: TestClient, **changes: Any) -> str:
    made = api.post(_BASE, json={**_BODY, **changes}, headers=_as(api, "admin"))
    assert made.status_code == 201, made.text
    return str(made.json()["grant_id"])


class TestPage:
    @pytest.mark.parametrize("changes", _FAR)
    def test_refuses_a_period_outside_the_calendar(
        self, school: School, signed_in_as: SignedInAs, changes: dict[str, str]
    ) -> None:
        client = signed_in_as("admin", "en")

        refused = post(client, "/admin/protections", "/admin/protections", **{**_FORM, **changes})

        assert refused.status_code == 400
        assert 'data-code="grant_malformed"' in refused.text
        assert client.get("/admin/protections").status_code == 200
        assert 'class="grants"' not in client.get("/admin/protections").text


class TestDraft:
    @pytest.mark.parametrize("changes", _FAR)
    def test_refuses_a_period_outside_the_calendar(self, api: TestClient, changes: dict[str, str]) -> None:
        body = {**_BODY, **{name: value + ":00-14:00" for name, value in changes.items()}}

        refused = api.post(_BASE, json=body, headers=_as(api, "admin"))

        assert (refused.status_code, refused.json()["code"]) == (400, "grant_malformed")

    def test_stores_what_was_asked_for_and_refuses_nobody_yet(self, api: TestClient) -> None:
        grant_id = _drafted(api)
        headers = _as(api, "admin")

        listed = api.get(_BASE, headers=headers).json()
        methods = api.get(f"{_BASE}/preview?device_id=dev_o1", headers=headers).json()["methods"]

        assert [(each["grant_id"], each["status"], each["brand"]) for each in listed] == [
            (grant_id, "draft", "unionpay")
        ]
        assert all(each["accepted"] for each in methods)

    def test_knows_only_the_schools_own_places(self, api: TestClient, school: School) -> None:
        add_foreign_school(school)

        refused = api.post(_BASE, json={**_BODY, "place_id": "pl_x"}, headers=_as(api, "admin"))

        assert (refused.status_code, refused.json()["code"]) == (404, "place_unknown")


class TestSteps:
    def test_lead_from_draft_to_force_and_to_the_end(self, api: TestClient) -> None:
        path = f"{_BASE}/{_drafted(api)}"
        admin, approver = _as(api, "admin"), _as(api, "approver")

        states = [
            api.post(f"{path}/submit", headers=admin).json()["status"],
            api.post(f"{path}/approve", headers=approver).json()["status"],
        ]
        during = api.get(f"{_BASE}/preview?device_id=dev_o1", headers=admin).json()["methods"]
        states += [api.post(f"{path}/terminate", headers=each).json()["status"] for each in (admin, approver)]
        after = api.get(f"{_BASE}/preview?device_id=dev_o1", headers=admin).json()["methods"]

        assert states == ["submitted", "approved", "approved", "terminated"]
        assert [each["method"] for each in during if not each["accepted"]] == ["alipay", "wechat"]
        assert all(each["accepted"] for each in after)

    @pytest.mark.parametrize("step", ["submit", "approve", "terminate"])
    def test_know_only_the_schools_own_grants(self, api: TestClient, step: str) -> None:
        refused = api.post(f"{_BASE}/gr_nobody/{step}", headers=_as(api, "approver"))

        assert (refused.status_code, refused.json()["code"]) == (404, "grant_unknown")

    @pytest.mark.parametrize("login", ["wang", "fac", "desk", "fin"])
    def test_are_not_for_others(self, api: TestClient, login: str) -> None:
        grant_id = _drafted(api)
        headers = _as(api, login)

        answers = [
            api.get(_BASE, headers=headers),
            api.post(_BASE, json=_BODY, headers=headers),
            api.get(f"{_BASE}/preview?device_id=dev_o1", headers=headers),
            *(api.post(f"{_BASE}/{grant_id}/{step}", headers=headers) for step in ("submit", "approve", "terminate")),
        ]

        assert {answer.json()["code"] for answer in answers} == {"role_missing"}

    def test_that_approve_take_an_approver(self, api: TestClient) -> None:
        refused = api.post(f"{_BASE}/{_drafted(api)}/approve", headers=_as(api, "admin"))

        assert (refused.status_code, refused.json()["code"]) == (403, "role_missing")

    def test_are_not_taken_by_one_person_alone(self, api: TestClient) -> None:
        approver = _as(api, "approver")
        grant_id = api.post(_BASE, json=_BODY, headers=approver).json()["grant_id"]
        api.post(f"{_BASE}/{grant_id}/submit", headers=approver)

        assert api.post(f"{_BASE}/{grant_id}/approve", headers=approver).json()["code"] == "same_person"


class TestPreview:
    def test_answers_for_any_moment_that_says_its_zone(self, api: TestClient, school: School) -> None:
        school.grant(days=10)
        headers = _as(api, "admin")

        def refused_at(moment: str) -> list[str]:
            asked = {"device_id": "dev_o1", "at": moment}
            methods = api.get(f"{_BASE}/preview", params=asked, headers=headers).json()["methods"]
            return [each["method"] for each in methods if not each["accepted"]]

        assert refused_at("2026-11-25T00:00:00+08:00") == ["alipay", "wechat"]
        assert refused_at("2027-11-25T00:00:00+08:00") == []
        bare = api.get(f"{_BASE}/preview?device_id=dev_o1&at=2026-11-25T00:00:00", headers=headers)
        assert bare.json()["code"] == "form_incomplete"

    def test_knows_only_the_schools_own_devices(self, api: TestClient, school: School) -> None:
        add_foreign_school(school)

        answer = api.get(f"{_BASE}/preview?device_id=dev_x", headers=_as(api, "admin"))

        assert (answer.status_code, answer.json()["code"]) == (404, "device_unknown")


class TestTermination:
    @pytest.mark.parametrize(
        ("language", "ask", "waits", "agree", "over"),
        [
            ("zh", "提议终止", "终止等待第二人同意", "同意终止", "已终止"),
            ("en", "Ask for its end", "Its end awaits a second person", "Agree to its end", "Terminated"),
        ],
    )
    def test_is_asked_for_by_one_and_agreed_to_by_another(
        self, school: School, signed_in_as: SignedInAs, language: str, ask: str, waits: str, agree: str, over: str
    ) -> None:
        grant_id = school.grant(days=10)
        admin, approver = signed_in_as("admin", language), signed_in_as("approver", language)

        def end(client: TestClient) -> int:
            token = form_token(client.get("/admin/protections").text)
            sent = {"form_token": token, "do": "terminate"}
            answer = client.post(f"/admin/protections/{grant_id}", data=sent, follow_redirects=False)
            return int(answer.status_code)

        assert ask in admin.get("/admin/protections").text
        assert end(admin) == 303
        assert waits in admin.get("/admin/protections").text
        assert end(admin) == 403
        assert agree in approver.get("/admin/protections").text
        assert end(approver) == 303
        assert over in approver.get("/admin/protections").text
