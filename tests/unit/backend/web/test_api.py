"""The JSON API: what each role may see, and refusals with words in both languages."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.fakes.web_site import PASSWORD, School, add_foreign_school


@pytest.fixture
def api(app: FastAPI) -> TestClient:
    return TestClient(app)


def _as(api: TestClient, login: str) -> dict[str, str]:
    answer = api.post("/api/v1/sign-in", json={"tenant_id": "gxu", "login": login, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


def _start(api: TestClient, headers: dict[str, str], **more: str) -> Any:
    return api.post(
        "/api/v1/water-sessions", json={"request_id": "rq_1", "device_id": "dev_o1", **more}, headers=headers
    )


class TestSignIn:
    def test_refuses_in_both_languages(self, api: TestClient) -> None:
        answer = api.post("/api/v1/sign-in", json={"tenant_id": "gxu", "login": "wang", "password": "no"})

        assert answer.status_code == 401
        assert answer.json()["code"] == "sign_in_refused"
        assert "密码" in answer.json()["message_zh"]
        assert "password" in answer.json()["message_en"]

    def test_is_needed(self, api: TestClient) -> None:
        assert api.get("/api/v1/wallet").json()["code"] == "sign_in_missing"
        assert api.get("/api/v1/wallet", headers={"authorization": "Bearer x"}).json()["code"] == "sign_in_expired"


class TestWaterSessions:
    def test_start_once_and_stop(self, api: TestClient, school: School) -> None:
        headers = _as(api, "wang")

        first, second = _start(api, headers).json(), _start(api, headers).json()
        session = school.live()
        assert session is not None
        school.open_valve(session)
        stopped = api.post(f"/api/v1/water-sessions/{first['water_session_id']}/stop", headers=headers).json()

        assert first["water_session_id"] == second["water_session_id"]
        assert first["state"] == "authorized"
        assert stopped["state"] == "closing"

    def test_are_listed_for_staff_with_evidence_and_money(self, api: TestClient, school: School) -> None:
        done = school.shower("wang", "dev_o1", 15_700, "rq_before")

        listed = api.get("/api/v1/water-sessions?since=2026-11-22T00:00:00Z", headers=_as(api, "fin")).json()

        assert [each["water_session_id"] for each in listed] == [done.water_session_id]
        names = ("opening_pulses", "closing_pulses", "charge_minor", "captured_minor")
        assert {name: listed[0][name] for name in names} == {
            "opening_pulses": 0, "closing_pulses": 15_700, "charge_minor": 112, "captured_minor": 112,
        }  # fmt: skip
        assert listed[0]["auth_id"]

    def test_are_nobody_elses_business(self, api: TestClient, school: School) -> None:
        done = school.shower("wang", "dev_o1", 9_000, "rq_before")
        path = f"/api/v1/water-sessions/{done.water_session_id}"

        assert api.get(path, headers=_as(api, "zhao")).status_code == 404
        assert api.get(path, headers=_as(api, "wang")).status_code == 200
        assert api.get("/api/v1/water-sessions", headers=_as(api, "wang")).json()["code"] == "role_missing"

    def test_refuse_with_a_code(self, api: TestClient, school: School) -> None:
        add_foreign_school(school)

        foreign = _start(api, _as(api, "wang"), device_id="dev_x")
        poor = _start(api, _as(api, "poor"))

        assert (foreign.status_code, foreign.json()["code"]) == (404, "device_unknown")
        assert (poor.status_code, poor.json()["code"]) == (402, "insufficient_funds")


class TestFigures:
    def test_outlets_say_their_state(self, api: TestClient) -> None:
        listed = api.get("/api/v1/outlets", headers=_as(api, "fac")).json()

        assert [(each["device_id"], each["is_online"]) for each in listed] == [
            ("dev_o1", True), ("dev_o2", True), ("dev_o3", True),
        ]  # fmt: skip

    def test_ledger_sums_balance(self, api: TestClient, school: School) -> None:
        school.shower("wang", "dev_o1", 9_000, "rq_before")

        sums = api.get("/api/v1/ledger/sums", headers=_as(api, "fin")).json()

        assert sums["debits_posted"] == sums["credits_posted"] > 0
        assert sums["open_clearing"] == []

    def test_reconciliation_finds_nothing_wrong(self, api: TestClient, school: School) -> None:
        school.shower("wang", "dev_o1", 9_000, "rq_before")

        made = api.post("/api/v1/reconciliations", headers=_as(api, "fin"))

        assert made.status_code == 201
        assert made.json()["breaks"] == []

    def test_wallet_is_the_persons_own(self, api: TestClient) -> None:
        wallet = api.get("/api/v1/wallet", headers=_as(api, "wang")).json()

        assert wallet == {"posted_minor": 3_620, "held_minor": 0, "available_minor": 3_620}


class TestFrame:
    def test_describes_itself_and_its_health(self, api: TestClient) -> None:
        assert "/api/v1/water-sessions" in api.get("/api/v1/openapi.json").json()["paths"]
        assert api.get("/healthz").json() == {"status": "ok"}

    def test_answers_malformed_requests_in_words(self, api: TestClient) -> None:
        answer = api.post("/api/v1/sign-in", json={})

        assert answer.status_code == 422
        assert answer.json()["code"] == "form_incomplete"
