"""What cannot be stored or read is refused in words, on every kind of database, before a page sees it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message

from backend.app import create_app
from backend.db import Database
from backend.web.intake import BODY_BYTES_MAX, is_askable, is_storable
from tests.fakes.web_site import PASSWORD, School, open_school
from tests.unit.backend.web.conftest import form_token

_GRANT = {
    "grantor": "计财处", "brand": "unionpay", "scenario": "hot_water", "place": "pl_campus", "mode": "exclusive",
    "active_from": "2026-11-01T00:00", "active_to": "2027-11-01T00:00",
}  # fmt: skip


@pytest.fixture
def anywhere(database: Database, tmp_path: Path) -> tuple[School, FastAPI]:
    """Return a school and its application on each kind of database."""
    school = open_school(database, tmp_path)
    return school, create_app(school.backend)


def _client(app: FastAPI) -> TestClient:
    return TestClient(app, headers={"accept-language": "en"}, raise_server_exceptions=False)


def _browser(app: FastAPI, login: str) -> TestClient:
    client = _client(app)
    token = form_token(client.get("/login").text)
    sent = {"form_token": token, "tenant": "gxu", "login": login, "password": PASSWORD, "next": "/"}
    assert client.post("/login", data=sent, follow_redirects=False).status_code == 303
    return client


def _bearer(client: TestClient, login: str) -> dict[str, str]:
    answer = client.post("/api/v1/sign-in", json={"tenant_id": "gxu", "login": login, "password": PASSWORD})
    return {"authorization": f"Bearer {answer.json()['token']}"}


def _is_refused(answer: Any) -> bool:
    if answer.headers["content-type"] == "application/json":
        return bool(answer.status_code == 422 and answer.json()["code"] == "form_incomplete")
    soup = BeautifulSoup(answer.text, "html.parser")
    return bool(answer.status_code == 422) and "The form is not complete." in soup.get_text()


class TestIntake:
    def test_refuses_what_no_database_holds_before_anybody_signs_in(self, anywhere: tuple[School, FastAPI]) -> None:
        _, app = anywhere
        client = _client(app)
        token = form_token(client.get("/login").text)
        sign_in = {"tenant_id": "gxu", "login": "wang", "password": PASSWORD}
        form = {"form_token": token, "tenant": "gxu", "login": "wang", "password": PASSWORD, "next": "/"}
        json_type = {"content-type": "application/json"}

        answers = [
            *(client.post("/api/v1/sign-in", json={**sign_in, name: "a\0"}) for name in sign_in),
            client.post("/api/v1/sign-in", content=b'{"tenant_id":"gxu","login":"\\ud800","password":"x"}',
                        headers=json_type),
            *(client.post("/login", data={**form, name: "a\0"}) for name in form),
            client.post("/login", content="&".join(f"{k}={v}" for k, v in {**form, "login": "%ED%A0%80"}.items()),
                        headers={"content-type": "application/x-www-form-urlencoded"}),
            client.post("/preferences", data={"back": "/\0"}),
        ]  # fmt: skip

        assert [answer.text for answer in answers if not _is_refused(answer)] == []

    def test_refuses_it_in_every_address_and_form(self, anywhere: tuple[School, FastAPI]) -> None:
        school, app = anywhere
        wang, fac, admin = (_browser(app, login) for login in ("wang", "fac", "admin"))
        sticker = f"/w/{school.stickers['dev_o1']}"
        start = {"form_token": form_token(wang.get(sticker).text), "presence": "dev_o1", "method": "wallet"}

        answers = [
            wang.get("/history/%00"),
            wang.get(f"{sticker}?s=%00"),
            wang.get("/login?next=%ff"),
            wang.post(f"{sticker}/start", data={**start, "request_id": "rq\0"}),
            wang.post(f"{sticker}/start", data={**start, "request_id": "rq_1", "method": "wallet\0"}),
            admin.get("/admin/reconciliation?run=%00"),
            admin.get("/admin/protections?place=%00"),
            *(admin.post("/admin/protections",
                         data={"form_token": form_token(admin.get("/admin/protections").text), **_GRANT, name: "x\0"})
              for name in _GRANT),
            fac.post("/facilities/stop",
                     data={"form_token": form_token(fac.get("/me").text), "water_session_id": "ws\0"}),
        ]  # fmt: skip

        assert [answer.text for answer in answers if not _is_refused(answer)] == []
        assert school.live() is None

    def test_refuses_it_in_the_interface(self, anywhere: tuple[School, FastAPI]) -> None:
        _, app = anywhere
        client = _client(app)
        wang, desk = _bearer(client, "wang"), _bearer(client, "desk")

        answers = [
            client.get("/api/v1/water-sessions/%00", headers=wang),
            client.get("/api/v1/passages?device_id=%00", headers=desk),
            *(client.post("/api/v1/water-sessions", headers=wang,
                          json={"request_id": "r", "device_id": "dev_o1", "method": "wallet", name: "x\0"})
              for name in ("request_id", "device_id", "method")),
        ]  # fmt: skip

        assert [answer.text for answer in answers if not _is_refused(answer)] == []

    def test_refuses_text_that_a_claimed_encoding_makes(self, app: FastAPI) -> None:
        client = _client(app)
        token = form_token(client.get("/login").text)
        body = "".join(
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {"form_token": token, "tenant": "gxu", "login": "+AAA-", "password": "x"}.items()
        )

        answer = client.post(
            "/login",
            content=body + "--b--\r\n",
            headers={"content-type": "multipart/form-data; boundary=b; charset=utf-7"},
        )

        assert _is_refused(answer)

    @pytest.mark.parametrize(
        "body",
        [b"[" * 100_000, b'"\xff"', b'{"a":' + b"1" * 5_000 + b"}", b"{", b'{"\\u0000": 1}', b'{"a": ["\\udc00"]}'],
    )
    def test_refuses_json_that_cannot_be_read(self, app: FastAPI, body: bytes) -> None:
        answer = _client(app).post("/api/v1/sign-in", content=body, headers={"content-type": "application/json"})

        assert _is_refused(answer)

    @pytest.mark.parametrize("path", ["/api/v1/sign-in", "/login"])
    def test_refuses_more_than_a_megabyte_announced_or_not(self, app: FastAPI, path: str) -> None:
        client = _client(app)
        large = b"x" * (BODY_BYTES_MAX + 1)

        for answer in (client.post(path, content=large), client.post(path, content=iter([large]))):
            assert answer.status_code == 413
            assert "too large" in answer.text

    def test_says_nothing_to_a_sender_who_left(self, app: FastAPI) -> None:
        said: list[Message] = []
        scope = {
            "type": "http", "method": "POST", "path": "/login", "query_string": b"", "headers": [],
            "http_version": "1.1", "scheme": "http", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            said.append(message)

        asyncio.run(app(scope, receive, send))

        assert said == []


class TestFrameworkRefusals:
    @pytest.mark.parametrize(
        ("status", "code"),
        [(400, "form_incomplete"), (404, "not_found"), (405, "method_not_allowed"), (413, "too_large"),
         (415, "media_unsupported"), (503, "internal")],
    )  # fmt: skip
    def test_keep_their_meaning(self, app: FastAPI, status: int, code: str) -> None:
        from starlette.exceptions import HTTPException

        @app.get("/api/refuse")
        def refuse() -> None:
            raise HTTPException(status)

        answer = _client(app).get("/api/refuse")

        assert (answer.status_code, answer.json()["code"]) == (status, code)

    def test_say_of_a_broken_form_that_it_is_not_complete(self, app: FastAPI) -> None:
        answer = _client(app).post("/login", content=b"no boundary", headers={"content-type": "multipart/form-data"})

        assert answer.status_code == 400
        assert "The form is not complete." in BeautifulSoup(answer.text, "html.parser").get_text()


class TestIsStorable:
    @pytest.mark.parametrize(("text", "storable"), [("热水 🚿", True), ("", True), ("a\0", False), ("\ud83d", False)])
    def test_tells_text_from_what_is_none(self, text: str, storable: bool) -> None:
        assert is_storable(text) is storable


class TestIsAskable:
    @pytest.mark.parametrize(
        ("text", "askable"),
        [("2026-11-22T00:00:00", True), ("1970-01-01T00:00:00+00:00", True), ("2100-01-01T00:00:01+00:00", False),
         ("9999-12-31T23:59:59-14:00", False), ("0001-01-01T00:00:00+14:00", False)],
    )  # fmt: skip
    def test_keeps_moments_inside_the_calendar(self, text: str, askable: bool) -> None:
        moment = datetime.fromisoformat(text)

        assert is_askable(moment) is askable
        assert not askable or moment.replace(tzinfo=UTC)


_FAR = ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z")


class TestMoments:
    @pytest.mark.parametrize("moment", _FAR)
    def test_outside_the_calendar_are_refused(self, app: FastAPI, moment: str) -> None:
        client = _client(app)
        fin, admin = _bearer(client, "fin"), _bearer(client, "admin")

        answers = [
            client.get("/api/v1/water-sessions", params={"since": moment}, headers=fin),
            client.get("/api/v1/protections/preview", params={"device_id": "dev_o1", "at": moment}, headers=admin),
        ]

        assert all(map(_is_refused, answers))

    @pytest.mark.parametrize("moment", ["9999-12-31T23:59", "0001-01-01T00:00"])
    def test_outside_the_calendar_leave_the_preview_standing(self, app: FastAPI, moment: str) -> None:
        page = _browser(app, "admin").get("/admin/protections", params={"at": moment})

        assert _is_refused(page)
