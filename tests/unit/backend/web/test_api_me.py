"""The signed-in person's own interface, and the desk's list of passages."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from backend.access import service as access
from backend.cardholders import service as cardholders
from backend.kit.clock import epoch_ms
from backend.water_sessions import service as water_sessions
from gateway.contract.messages import CredentialKind, CredentialPresented
from tests.fakes.web_site import PASSWORD, School

_CARD = "04A1B2C3D4E5F6"


@pytest.fixture
def api(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def _as(api: TestClient, login: str) -> dict[str, str]:
    answer = api.post("/api/v1/sign-in", json={"tenant_id": "gxu", "login": login, "password": PASSWORD})
    return {"authorization": f"Bearer {answer.json()['token']}"}


def _present(school: School, uid: str, request_id: str) -> None:
    now = school.clock.now
    shown = CredentialPresented(
        request_id=request_id, at_ms=epoch_ms(now), device="dev_door", kind=CredentialKind.UID, value=uid
    )
    access.decide(school.backend.context, "gxu", shown, now)


class TestMe:
    @pytest.mark.parametrize(("verb", "path"), [("GET", "water-session"), ("GET", "code"), ("POST", "cards/freeze")])
    def test_needs_a_sign_in(self, api: TestClient, verb: str, path: str) -> None:
        refused = api.request(verb, f"/api/v1/me/{path}")

        assert (refused.status_code, refused.json()["code"]) == (401, "sign_in_missing")


class TestLive:
    def test_is_the_persons_own_session_or_nothing(self, api: TestClient) -> None:
        wang, zhao = _as(api, "wang"), _as(api, "zhao")
        started = api.post("/api/v1/water-sessions", json={"request_id": "r", "device_id": "dev_o1"}, headers=wang)

        mine = api.get("/api/v1/me/water-session", headers=wang).json()["water_session"]

        assert mine["water_session_id"] == started.json()["water_session_id"]
        assert api.get("/api/v1/me/water-session", headers=zhao).json() == {"water_session": None}


class TestCode:
    def test_is_one_that_readers_know_the_person_by(self, api: TestClient, school: School) -> None:
        drawn = api.get("/api/v1/me/code", headers=_as(api, "zhao")).json()

        with school.db.write() as conn:
            known = cardholders.resolve(
                conn, school.backend.context.secrets_dir, "gxu", kind="code", value=drawn["text"], now=school.clock.now
            )
        assert known.cardholder.login == "zhao"
        assert drawn["expires_at"]


class TestFreeze:
    def test_freezes_the_persons_cards_and_nobody_elses(self, api: TestClient, school: School) -> None:
        nothing = api.post("/api/v1/me/cards/freeze", headers=_as(api, "zhao")).json()
        _present(school, _CARD, "before")
        frozen = api.post("/api/v1/me/cards/freeze", headers=_as(api, "wang")).json()
        _present(school, _CARD, "after")

        seen = api.get("/api/v1/passages", headers=_as(api, "desk")).json()

        assert nothing == {"frozen": []}
        assert len(frozen["frozen"]) == 1
        assert {(each["granted"], each["reason"]) for each in seen if not each["granted"]} == {(False, "frozen")}
        assert any(each["granted"] for each in seen)


class TestPassages:
    @pytest.mark.parametrize("login", ["wang", "fac", "fin", "approver"])
    def test_are_for_the_desk(self, api: TestClient, login: str) -> None:
        refused = api.get("/api/v1/passages", headers=_as(api, login))

        assert (refused.status_code, refused.json()["code"]) == (403, "role_missing")

    def test_are_listed_newest_first_with_masked_names(self, api: TestClient, school: School) -> None:
        _present(school, _CARD, "one")
        _present(school, "04FFFFFFFFFF01", "two")

        headers = _as(api, "desk")
        seen = api.get("/api/v1/passages?device_id=dev_door", headers=headers).json()

        assert {each["granted"] for each in seen} == {True, False}
        assert "王一鸣" not in str(seen)
        assert len(api.get("/api/v1/passages?limit=1", headers=headers).json()) == 1
        assert api.get("/api/v1/passages?device_id=dev_none", headers=headers).json() == []

    @pytest.mark.parametrize("limit", ["0", "501", "many"])
    def test_are_asked_for_in_reasonable_number(self, api: TestClient, limit: str) -> None:
        assert api.get(f"/api/v1/passages?limit={limit}", headers=_as(api, "desk")).status_code == 422


class TestStop:
    @pytest.mark.parametrize(("login", "reason"), [("wang", "remote"), ("fac", "revoked")])
    def test_is_a_revocation_only_from_staff(
        self, api: TestClient, school: School, monkeypatch: pytest.MonkeyPatch, login: str, reason: str
    ) -> None:
        asked: list[str] = []
        request_stop = water_sessions.request_stop

        def note(*given: Any) -> object:
            asked.append(str(given[-1]))
            return request_stop(*given)

        monkeypatch.setattr(water_sessions, "request_stop", note)
        body = {"request_id": "r", "device_id": "dev_o1"}
        started = api.post("/api/v1/water-sessions", json=body, headers=_as(api, "wang")).json()
        session = school.live()
        assert session is not None
        school.open_valve(session)

        stopped = api.post(
            f"/api/v1/water-sessions/{started['water_session_id']}/stop",
            json={"reason": "revoked"},
            headers=_as(api, login),
        )

        assert stopped.status_code == 200, stopped.text
        assert asked == [reason]


class TestStart:
    def test_says_of_an_unknown_method_that_it_is_not_offered(self, api: TestClient) -> None:
        refused = api.post(
            "/api/v1/water-sessions",
            json={"request_id": "r", "device_id": "dev_o1", "method": "cash"},
            headers=_as(api, "wang"),
        )

        assert (refused.status_code, refused.json()["code"]) == (403, "method_not_offered")
        assert "保护期" not in refused.json()["message_zh"]
        assert "not offered here" in refused.json()["message_en"]
