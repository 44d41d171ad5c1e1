"""The page behind a sticker, in every state and with every refusal, in both languages."""

from datetime import timedelta

import pytest
from bs4 import BeautifulSoup
from fastapi import FastAPI
from starlette.testclient import TestClient

from backend.payments.port import Declined, Unknown
from tests.fakes.web_site import School, add_foreign_school, open_school
from tests.unit.backend.web.conftest import SignedInAs, form_token, post

O1 = "dev_o1"


def _start(client: TestClient, school: School, *, method: str = "wallet", device: str = O1, **more: str) -> object:
    page = f"/w/{school.stickers[device]}"
    text = client.get(page).text
    soup = BeautifulSoup(text, "html.parser")
    fields = {
        "form_token": form_token(text),
        "request_id": str(soup.find("input", {"name": "request_id"})["value"]),
        "presence": device,
        "method": method,
    }
    return client.post(f"{page}/start", data={**fields, **more}, follow_redirects=False)


def _view(text: str) -> str:
    return str(BeautifulSoup(text, "html.parser").find(id="stage")["data-view"])


def _code(text: str) -> str:
    return str(BeautifulSoup(text, "html.parser").find(attrs={"data-code": True})["data-code"])


class TestShow:
    @pytest.mark.parametrize(
        ("language", "words"),
        [("zh", ("三号公寓", "12 号淋浴", "可用", "¥0.032", "¥36.20", "最多 ¥3.87")),
         ("en", ("Hall 3", "Shower 12", "Ready", "¥0.032", "¥36.20", "At most ¥3.87"))],
    )  # fmt: skip
    def test_says_where_how_much_and_at_most(
        self, school: School, signed_in_as: SignedInAs, language: str, words: tuple[str, ...]
    ) -> None:
        page = signed_in_as("wang", language).get(f"/w/{school.stickers[O1]}")

        assert page.status_code == 200
        for word in words:
            assert word in page.text

    def test_greys_what_is_not_accepted_with_reason_and_end(self, school: School, signed_in_as: SignedInAs) -> None:
        school.grant(days=100)

        soup = BeautifulSoup(signed_in_as("wang").get(f"/w/{school.stickers[O1]}").text, "html.parser")

        refused = soup.select_one(".method.off")
        assert refused is not None
        assert "支付宝" in refused.text
        assert "2027-03-02" in refused.text
        assert refused.input.has_attr("disabled")

    def test_answers_unknown_and_foreign_stickers_alike(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        foreign = client.get(f"/w/{add_foreign_school(school)}")
        unknown = client.get("/w/nothing")
        door = client.get(f"/w/{school.stickers['dev_door']}")

        assert {foreign.status_code, unknown.status_code, door.status_code} == {404}
        assert {_code(foreign.text), _code(unknown.text), _code(door.text)} == {"outlet_unknown"}

    def test_sends_strangers_to_sign_in_and_back(self, school: School, app: FastAPI) -> None:
        client = TestClient(app)

        answer = client.get(f"/w/{school.stickers[O1]}", follow_redirects=False)

        assert answer.headers["location"] == f"/login?next=/w/{school.stickers[O1]}"

    def test_says_that_a_sign_in_expired(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        school.clock.now += timedelta(days=60)

        page = client.get(f"/w/{school.stickers[O1]}")

        assert "登录已过期" in page.text
        assert f'name="next" value="/w/{school.stickers[O1]}"' in page.text

    @pytest.mark.parametrize(
        ("case", "code"),
        [("offline", "outlet_offline"), ("faulty", "outlet_faulty"), ("busy", "outlet_busy"),
         ("elsewhere", "cardholder_busy")],
    )  # fmt: skip
    @pytest.mark.parametrize("language", ["zh", "en"])
    def test_says_why_there_is_no_water_now(
        self, school: School, signed_in_as: SignedInAs, case: str, code: str, language: str
    ) -> None:
        if case == "offline":
            school.clock.now += timedelta(minutes=5)
        if case == "faulty":
            school.report_health(faults=("stuck_open",))
        if case == "busy":
            _start(signed_in_as("zhao"), school)
        if case == "elsewhere":
            _start(signed_in_as("wang"), school, device="dev_o2")

        page = signed_in_as("wang", language).get(f"/w/{school.stickers[O1]}")

        assert page.status_code == 200
        assert _code(page.text) == code
        assert "disabled" in str(BeautifulSoup(page.text, "html.parser").select_one("button.round"))

    def test_says_that_no_price_is_set(self, fresh_database: object, tmp_path: object) -> None:
        from backend.app import create_app

        school = open_school(fresh_database, tmp_path, with_tariff=False)  # type: ignore[arg-type]
        client = TestClient(create_app(school.backend))
        post(client, "/login", "/login", tenant="gxu", login="wang", password="correct horse battery")

        page = client.get(f"/w/{school.stickers[O1]}")

        assert _code(page.text) == "tariff_missing"

    def test_offers_a_top_up_when_the_wallet_is_empty_and_nothing_else_works(
        self, school: School, signed_in_as: SignedInAs
    ) -> None:
        client = signed_in_as("poor")

        refused = _start(client, school)

        assert refused.status_code == 402
        assert _code(refused.text) == "insufficient_funds"


class TestStart:
    def test_leads_through_opening_running_and_stopping_to_the_receipt(
        self, school: School, signed_in_as: SignedInAs
    ) -> None:
        client = signed_in_as("wang")

        started = _start(client, school)
        here = started.headers["location"]
        assert started.status_code == 303
        assert _view(client.get(here).text) == "opening"

        session = school.live()
        assert session is not None
        school.open_valve(session)
        running = client.get(here)
        assert _view(running.text) == "running"
        assert '<meta http-equiv="refresh"' in running.text

        stopped = post(client, here, f"/w/{school.stickers[O1]}/stop", s=session.water_session_id)
        assert stopped.headers["location"] == here
        assert _view(client.get(here).text) == "stopping"

        school.end(session, pulses=15_700)
        receipt = client.get(here).text
        assert _view(receipt) == "receipt"
        assert "34.89 L" in receipt
        assert "¥1.12" in receipt
        assert '<meta http-equiv="refresh"' not in receipt

    def test_starts_once_however_often_it_is_sent(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        page = f"/w/{school.stickers[O1]}"
        text = client.get(page).text
        request_id = str(BeautifulSoup(text, "html.parser").find("input", {"name": "request_id"})["value"])
        fields = {"form_token": form_token(text), "request_id": request_id, "presence": O1, "method": "wallet"}

        answers = [client.post(f"{page}/start", data=fields, follow_redirects=False) for _ in range(3)]
        session = school.live()
        assert session is not None
        school.open_valve(session)
        school.end(session, pulses=900)
        late = client.post(f"{page}/start", data=fields, follow_redirects=False)

        assert len({answer.headers["location"] for answer in [*answers, late]}) == 1
        assert len(school.history()) == 1

    def test_shows_the_running_session_again_after_a_reload(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        started = _start(client, school)

        again = client.get(f"/w/{school.stickers[O1]}", follow_redirects=False)

        assert again.headers["location"] == started.headers["location"]

    def test_needs_presence(self, school: School, signed_in_as: SignedInAs) -> None:
        refused = _start(signed_in_as("wang"), school, presence="")

        assert refused.status_code == 422
        assert _code(refused.text) == "presence_missing"
        assert school.live() is None

    def test_needs_a_form_of_ours(self, school: School, signed_in_as: SignedInAs) -> None:
        refused = _start(signed_in_as("wang"), school, form_token="forged")

        assert refused.status_code == 403
        assert _code(refused.text) == "form_refused"
        assert school.live() is None

    def test_counts_a_method_that_a_grant_excludes(self, school: School, signed_in_as: SignedInAs) -> None:
        from backend.protections import service as protections

        grant_id = school.grant()

        refused = _start(signed_in_as("wang", "en"), school, method="alipay")

        assert refused.status_code == 403
        assert _code(refused.text) == "method_not_accepted"
        with school.db.read() as conn:
            assert protections.evidence(conn, "gxu", grant_id).refused == {"alipay": 1}

    def test_says_that_a_payment_was_declined_and_lets_try_again(
        self, school: School, signed_in_as: SignedInAs
    ) -> None:
        client = signed_in_as("wang")
        school.providers["alipay"].answer = Declined("no_money")
        refused = _start(client, school, method="alipay")
        school.providers["alipay"].answer = None
        again = _start(client, school, method="alipay")

        assert refused.status_code == 402
        assert _code(refused.text) == "payment_declined"
        assert again.status_code == 303

    def test_waits_while_a_payment_is_unknown(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        school.providers["alipay"].answer = Unknown("timeout")

        started = _start(client, school, method="alipay")

        assert _view(client.get(started.headers["location"]).text) == "checking"


class TestStop:
    def test_leaves_other_peoples_water_alone(self, school: School, signed_in_as: SignedInAs) -> None:
        _start(signed_in_as("zhao"), school)
        theirs = school.live("zhao")
        assert theirs is not None
        client = signed_in_as("wang")

        refused = post(client, "/me", f"/w/{school.stickers[O1]}/stop", s=theirs.water_session_id)
        looked = client.get(f"/w/{school.stickers[O1]}?s={theirs.water_session_id}")

        assert refused.status_code == looked.status_code == 404


class TestLive:
    def test_streams_figures_until_the_receipt(self, school: School, signed_in_as: SignedInAs, app: FastAPI) -> None:
        client = signed_in_as("wang")
        started = _start(client, school)
        session = school.live()
        assert session is not None
        school.open_valve(session)
        app.state.site.hub.take("gxu", [school.sample(session, pulses=15_700, elapsed_s=65)])
        shown = client.get(started.headers["location"]).text
        school.end(session, pulses=15_700)

        with client.stream("GET", f"/w/{school.stickers[O1]}/live?s={session.water_session_id}") as stream:
            text = "".join(stream.iter_text())

        assert "34.9" in shown
        assert "¥1.12" in shown
        assert '"view":"receipt"' in text
        assert '"cost":"¥1.12"' in text
