"""What holds for every page: policy, languages, weight, roles, and the refusals of the frame itself."""

import gzip
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from fastapi import FastAPI
from starlette.testclient import TestClient

import backend.web
from tests.fakes.web_site import School
from tests.unit.backend.web.conftest import SignedInAs, post

_WEB = Path(backend.web.__path__[0])
STUDENT_PAGES = ("/", "/wallet", "/history", "/code", "/me")
STAFF_PAGES = (
    ("fac", "/facilities"),
    ("fac", "/facilities/devices"),
    ("fac", "/facilities/devices?q=nothing-like-it"),
    ("fac", "/facilities/stickers"),
    ("desk", "/gate"),
    ("desk", "/gate/dev_door"),
    ("admin", "/admin/protections"),
    ("approver", "/admin/protections"),
    ("fin", "/finance"),
)


class TestEveryPage:
    @pytest.mark.parametrize("language", ["zh", "en"])
    def test_is_strict_complete_and_in_the_readers_language(
        self, school: School, signed_in_as: SignedInAs, language: str
    ) -> None:
        school.shower("wang", "dev_o1", 9_000, "rq_one")
        bill = f"/history/{school.history()[0].water_session_id}"
        pages = [("wang", path) for path in (*STUDENT_PAGES, bill, f"/w/{school.stickers['dev_o1']}", "/login")]

        clients = {login: signed_in_as(login, language) for login in {login for login, _ in (*pages, *STAFF_PAGES)}}

        for login, path in (*pages, *STAFF_PAGES):
            page = clients[login].get(path)
            soup = BeautifulSoup(page.text, "html.parser")

            assert page.status_code == 200, path
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert page.headers["cache-control"] == "no-store"
            assert soup.html["lang"] == ("zh-CN" if language == "zh" else "en")
            assert soup.h1.text.strip(), path
            assert not soup.find_all(style=True), path
            assert not soup.find_all("style"), path
            assert not [tag for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")], path
            assert all(tag.get("src", "").startswith("/s/") for tag in soup.find_all("script")), path
            assert all(table.find("caption") for table in soup.find_all("table")), path
            assert len(gzip.compress(page.content)) < 20_000, path
            if language == "en":
                visible = soup.find("main").get_text().replace("中文", "")
                assert not re.search(r"[一-鿿]", visible), (path, visible)

    def test_weighs_little_on_a_phone(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        page = client.get(f"/w/{school.stickers['dev_o1']}")
        soup = BeautifulSoup(page.text, "html.parser")
        files = [tag["href"] for tag in soup.find_all("link")] + [tag["src"] for tag in soup.find_all("script")]
        files.append(str(files[0]).rsplit("/", 1)[0] + "/water.js")

        weight = len(gzip.compress(page.content)) + sum(len(gzip.compress(client.get(f).content)) for f in files)

        assert weight <= 20_000
        assert 1 + len(set(files)) <= 6

    def test_scripts_hold_no_words_and_are_small(self) -> None:
        scripts = list((_WEB / "static").glob("*.js"))

        assert sum(path.stat().st_size for path in scripts) <= 25_000
        assert not [path.name for path in scripts if re.search(r"[一-鿿]|innerHTML|eval\(", path.read_text())]


class TestStatic:
    def test_is_kept_for_a_year_under_its_digest(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        path = BeautifulSoup(client.get("/me").text, "html.parser").find("link", rel="stylesheet")["href"]

        answer = client.get(str(path))

        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


class TestRoles:
    @pytest.mark.parametrize(
        ("login", "path", "role"),
        [("wang", "/facilities", "后勤"), ("wang", "/gate", "门禁值守"), ("fac", "/admin/protections", "管理员"),
         ("desk", "/admin/reconciliation", "财务"), ("wang", "/gate/dev_door/live", "门禁值守")],
    )  # fmt: skip
    def test_name_the_role_that_is_needed(self, signed_in_as: SignedInAs, login: str, path: str, role: str) -> None:
        page = signed_in_as(login).get(path)

        assert page.status_code == 403
        assert role in page.text

    @pytest.mark.parametrize(
        ("login", "home"),
        [("fac", "/facilities"), ("desk", "/gate"), ("fin", "/finance"), ("admin", "/admin/protections")],
    )
    def test_lead_home(self, signed_in_as: SignedInAs, login: str, home: str) -> None:
        assert signed_in_as(login).get("/", follow_redirects=False).headers["location"] == home


class TestLogin:
    def test_refuses_a_wrong_password_in_words(self, app: FastAPI) -> None:
        client = TestClient(app)

        refused = post(client, "/login", "/login", tenant="gxu", login="wang", password="wrong", next="/")

        assert refused.status_code == 401
        assert "账号或密码不对" in refused.text

    @pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1"])
    def test_never_leads_elsewhere(self, app: FastAPI, target: str) -> None:
        client = TestClient(app)

        answer = post(
            client, "/login", "/login", tenant="gxu", login="wang", password="correct horse battery", next=target
        )

        assert answer.headers["location"] == "/"

    def test_keeps_the_cookie_from_scripts(self, signed_in_as: SignedInAs, app: FastAPI) -> None:
        client = TestClient(app)

        answer = post(client, "/login", "/login", tenant="gxu", login="wang", password="correct horse battery")

        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie

    def test_ends_with_sign_out(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        old = dict(client.cookies)

        post(client, "/me", "/logout")
        client.cookies.update(old)

        assert client.get("/wallet", follow_redirects=False).headers["location"].startswith("/login?next=/wallet")


class TestRefusalPage:
    def test_says_what_to_do_next_with_a_reference(self, signed_in_as: SignedInAs) -> None:
        page = signed_in_as("wang", "en").get("/no/such/page")

        assert page.status_code == 404
        assert "Check the address" in page.text
        assert page.headers["x-request-id"] in page.text

    def test_hides_a_bug_behind_words(self, app: FastAPI, signed_in_as: SignedInAs) -> None:
        @app.get("/broken")
        def broken() -> None:
            raise RuntimeError("secret detail")

        page = signed_in_as("wang").get("/broken")

        assert page.status_code == 500
        assert "secret detail" not in page.text
        assert "系统出错" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
