"""Facilities take sheets of stickers for the places of their own school, and every code reads back."""

from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient

from backend.app import create_app
from backend.fleet import service as fleet
from tests.fakes.web_site import School, add_foreign_school
from tests.unit.backend.fleet.test_sticker_sheet import decoded
from tests.unit.backend.web.conftest import SignedInAs

PAGE = "/facilities/stickers"


class TestShow:
    @pytest.mark.parametrize(
        ("language", "floor", "pages"), [("zh", "三号公寓 · 4 层", "页数"), ("en", "Hall 3 · Floor 4", "Pages")]
    )
    def test_lists_places_with_outlets(self, signed_in_as: SignedInAs, language: str, floor: str, pages: str) -> None:
        soup = BeautifulSoup(signed_in_as("fac", language).get(PAGE).text, "html.parser")

        rows = [[cell.text for cell in row.find_all("td")] for row in soup.find_all("tr")[1:]]
        assert [(row[1], row[2]) for row in rows] == [("3", "1"), ("2", "1"), ("2", "1"), ("1", "1")]
        assert rows[2][0] == floor
        assert pages in [cell.text for cell in soup.find_all("th")]
        links = [link["href"] for link in soup.select("main a[download]")]
        assert links == [f"{PAGE}/{place}.pdf" for place in ("pl_campus", "pl_b3", "pl_b3f4", "pl_b5")]

    def test_is_found_from_the_devices(self, signed_in_as: SignedInAs) -> None:
        assert f'href="{PAGE}"' in signed_in_as("fac").get("/facilities/devices").text

    def test_warns_of_codes_that_lead_nowhere(self, school: School, signed_in_as: SignedInAs) -> None:
        said = "These codes would lead nowhere"
        assert said not in signed_in_as("fac", "en").get(PAGE).text

        config = replace(school.backend.config, public_url="http://127.0.0.1:8000")
        here = create_app(replace(school.backend, config=config))

        assert said in signed_in_as("fac", "en", app=here).get(PAGE).text


class TestSheet:
    @pytest.mark.parametrize(
        ("place_id", "devices"),
        [("pl_campus", ["dev_o1", "dev_o2", "dev_o3"]), ("pl_b3f4", ["dev_o1", "dev_o2"]), ("pl_b5", ["dev_o3"])],
    )
    def test_has_the_codes_of_the_place(
        self, school: School, signed_in_as: SignedInAs, place_id: str, devices: list[str]
    ) -> None:
        answer = signed_in_as("fac").get(f"{PAGE}/{place_id}.pdf")

        assert answer.headers["content-type"] == "application/pdf"
        assert (
            answer.headers["content-disposition"] == f'attachment; filename="stickers-{place_id.replace("_", "-")}.pdf"'
        )
        (links,) = decoded(answer.content)
        with school.db.read() as conn:
            found = {fleet.device_by_sticker(conn, link.rsplit("/", 1)[1]).device_id for link in links}
        assert sorted(found) == devices
        assert all(link.startswith(f"{school.backend.config.public_url}/w/") for link in links)

    @pytest.mark.parametrize(
        ("login", "status"), [("fac", 200), ("admin", 200), ("wang", 403), ("fin", 403), ("desk", 403)]
    )
    def test_is_for_facilities_and_administrators(self, signed_in_as: SignedInAs, login: str, status: int) -> None:
        client = signed_in_as(login)

        assert client.get(PAGE).status_code == status
        assert client.get(f"{PAGE}/pl_b5.pdf").status_code == status

    def test_is_for_nobody_who_is_not_signed_in(self, school: School) -> None:
        client = TestClient(create_app(school.backend))

        answer = client.get(f"{PAGE}/pl_b5.pdf", follow_redirects=False)

        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")

    @pytest.mark.parametrize("place_id", ["pl_none", "pl_x", "pl_lib", "..%2fpl_b5", "%0d%0aset-cookie:a"])
    def test_is_none_of_a_foreign_or_unknown_place_or_one_without_outlets(
        self, school: School, signed_in_as: SignedInAs, place_id: str
    ) -> None:
        add_foreign_school(school)

        answer = signed_in_as("fac").get(f"{PAGE}/{place_id}.pdf")

        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")

    def test_is_refused_when_it_would_be_too_long(
        self, signed_in_as: SignedInAs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.web.routes.stickers.LABELS_MAX", 2)
        client = signed_in_as("fac", "en")

        assert client.get(f"{PAGE}/pl_b3.pdf").status_code == 200
        refused = client.get(f"{PAGE}/pl_campus.pdf")
        page = client.get(PAGE).text

        assert refused.status_code == 422
        assert "Take them floor by floor" in refused.text
        assert "Too many: take them floor by floor." in page
        assert "pl_campus.pdf" not in page
