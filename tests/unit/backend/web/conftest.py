"""A school behind the pages, and browsers that are signed in."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from starlette.testclient import TestClient

from backend.app import create_app
from backend.bootstrap.tables import load_tables
from backend.db import Database, open_database
from tests.fakes.web_site import PASSWORD, School, attach_school, open_school
from tests.standing import StandingFile

SignedInAs = Callable[..., TestClient]


@pytest.fixture
def fresh_database(standing_file: StandingFile) -> Iterator[Database]:
    """Yield a database for tests of pages, which do not depend on its kind."""
    yield Database(standing_file.engine.execution_options())
    standing_file.wash()


@pytest.fixture(scope="session")
def seeded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a seeded database and its secrets, to be copied: hashing passwords takes its time."""
    folder = tmp_path_factory.mktemp("seeded")
    opened = open_database(f"sqlite:///{folder / 'pages.db'}")
    load_tables().create_all(opened.engine)
    open_school(opened, folder)
    with opened.engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    opened.engine.dispose()
    return folder


@pytest.fixture(scope="session")
def standing_school(seeded_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandingFile]:
    """Yield the seeded database of all tests of this process, one after another."""
    standing = StandingFile(tmp_path_factory.mktemp("pages") / "pages.db", seeded_folder / "pages.db")
    yield standing
    standing.close()


@pytest.fixture
def school(seeded_folder: Path, standing_school: StandingFile, tmp_path: Path) -> Iterator[School]:
    """Yield a seeded school of the test's own."""
    shutil.copytree(seeded_folder / "secrets", tmp_path / "school" / "secrets")
    yield attach_school(Database(standing_school.engine.execution_options()), tmp_path / "school")
    standing_school.wash()


@pytest.fixture
def app(school: School) -> FastAPI:
    """Return the application over the school."""
    return create_app(school.backend)


def form_token(text: str) -> str:
    """Return the form token of a page."""
    found = re.search(r'name="form_token" value="([^"]+)"', text)
    assert found, "the page has a form of ours"
    return found[1]


def post(client: TestClient, page: str, action: str, **fields: Any) -> Response:
    """Send a form as the page at an address would."""
    return client.post(action, data={"form_token": form_token(client.get(page).text), **fields}, follow_redirects=False)


@pytest.fixture
def signed_in_as(app: FastAPI) -> SignedInAs:
    """Return what makes a signed-in client, of the school's application or of another over it."""
    usual = app

    def make(login: str, language: str = "zh", app: FastAPI = usual) -> TestClient:
        client = TestClient(app, headers={"accept-language": language}, raise_server_exceptions=False)
        token = form_token(client.get("/login").text)
        answer = client.post(
            "/login",
            data={"form_token": token, "tenant": "gxu", "login": login, "password": PASSWORD, "next": "/"},
            follow_redirects=False,
        )
        assert answer.status_code == 303, answer.text
        return client

    return make
