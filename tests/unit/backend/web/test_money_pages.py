"""A student's money pages: done once, refused in words with what was typed kept, and shown to nobody else."""

import re
from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from httpx import Response
from starlette.testclient import TestClient

from backend.payments import cases, disputes
from backend.payments import service as payments
from backend.payments.models import payers
from backend.payments.port import Declined, Succeeded, Unknown
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import StartRequest
from backend.web.routes.money import parse_yuan
from backend.web.signed_in import FormIncomplete
from tests.fakes.web_money import decide, dispute, give, money_scene, top_up, unanswered_top_up
from tests.fakes.web_site import School
from tests.unit.backend.web.conftest import SignedInAs

WECHAT_CODE = "134524350966727175"


def page(answer: Response, status: int = 200) -> BeautifulSoup:
    """Return a page, read."""
    assert answer.status_code == status, answer.text
    return BeautifulSoup(answer.text, "html.parser")


def form(soup: BeautifulSoup, action: str) -> dict[str, str]:
    """Return what a form of a page sends as it stands."""
    found = soup.find("form", action=action)
    assert isinstance(found, Tag), f"the page has a form to {action}"
    sent = {}
    for field in found.find_all(["input", "textarea"]):
        if field.get("type") != "radio" or field.has_attr("checked"):
            sent[str(field["name"])] = field.text.strip() if field.name == "textarea" else str(field.get("value", ""))
    return sent


def send(client: TestClient, where: str, action: str, **fields: Any) -> Response:
    """Fill in a form of a page and send it."""
    filled = {**form(page(client.get(where)), action), **fields}
    return client.post(action, data=filled, follow_redirects=False)


def alert(soup: BeautifulSoup) -> str:
    """Return the code of the refusal a page tells of; empty for none."""
    found = soup.select_one(".alert[data-code]")
    return str(found["data-code"]) if found else ""


def checked(soup: BeautifulSoup, name: str) -> list[str]:
    """Return the values chosen of a group."""
    return [str(field["value"]) for field in soup.find_all("input", attrs={"name": name}) if field.has_attr("checked")]


def balance(school: School, login: str = "wang") -> int:
    """Return what somebody has in all purses."""
    with school.db.read() as conn:
        return payments.wallet(conn, school.tenant_id, school.person(login).cardholder_id).posted_minor


class TestWallet:
    def test_lists_the_purses_in_the_order_they_are_spent(self, school: School, signed_in_as: SignedInAs) -> None:
        give(school, "voucher", 800)
        give(school, "subsidy", 1_500)

        soup = page(signed_in_as("wang", "en").get("/wallet"))

        rows = [[cell.text for cell in row.find_all("td")] for row in soup.select(".purses tbody tr")]
        assert rows == [
            ["Subsidy", "¥0.00", "¥15.00"],
            ["Vouchers", "¥0.00", "¥8.00"],
            ["Campus wallet", "¥0.00", "¥36.20"],
        ]
        assert soup.select_one(".figure.big").text == "¥59.20"

    def test_says_what_is_held_and_leads_to_the_shower_that_runs(
        self, school: School, signed_in_as: SignedInAs
    ) -> None:
        client = signed_in_as("wang", "en")
        assert "See the shower" not in client.get("/wallet").text
        request = StartRequest("gxu", "rq_running", "dev_o1", "ch_wang", "wallet")
        session = school.open_valve(water_sessions.request_start(school.backend.context, request))

        soup = page(client.get("/wallet"))

        assert f"Held for running water¥{session.hold_minor / 100:.2f}" in soup.select_one(".purses dl").text.replace(
            "\n", ""
        )
        running = page(client.get(soup.find("a", string="See the shower")["href"]))
        assert running.find(id="stage")["data-view"] == "running"

    def test_lists_only_top_ups_that_are_still_to_arrive(self, school: School, signed_in_as: SignedInAs) -> None:
        scene = money_scene(school)

        soup = page(signed_in_as("wang", "en").get("/wallet"))

        links = [link["href"] for link in soup.find_all("a", string="Not arrived?")]
        assert links == [f"/wallet/top-ups/{scene.checking}", f"/wallet/top-ups/{scene.reported}"]
        assert "Top-ups on their way" not in signed_in_as("zhao", "en").get("/wallet").text

    def test_says_what_each_movement_was(self, school: School, signed_in_as: SignedInAs) -> None:
        money_scene(school)

        soup = page(signed_in_as("wang", "en").get("/wallet/purses/wallet"))

        said = {next(cell.stripped_strings) for cell in soup.select("tbody td:first-child")}
        assert said == {"Hot water", "Refund", "Top-up", "Opening balance"}
        assert soup.select("tbody tr")[0].select("td")[2].text == "¥52.95"


class TestTopUp:
    def test_charges_once_when_the_form_is_sent_twice(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang", "en")
        filled = form(page(client.get("/wallet")), "/wallet/top-up")

        links = {client.post("/wallet/top-up", data=filled, follow_redirects=False).headers["location"] for _ in "12"}

        assert len(links) == 1
        assert balance(school) == 3_620 + 2_000
        assert [verb for verb, _ in school.providers["unionpay"].calls] == ["charge"]

    def test_sent_again_with_another_amount_is_refused_and_says_where_to_look(
        self, school: School, signed_in_as: SignedInAs
    ) -> None:
        client = signed_in_as("wang", "en")
        filled = form(page(client.get("/wallet")), "/wallet/top-up")
        client.post("/wallet/top-up", data=filled)

        soup = page(client.post("/wallet/top-up", data={**filled, "amount": "10000"}), 409)

        assert alert(soup) == "top_up_differs"
        assert balance(school) == 3_620 + 2_000
        assert form(soup, "/wallet/top-up")["top_up_id"] != filled["top_up_id"]

    @pytest.mark.parametrize("answer", [Succeeded("charged", 2_000), Declined("no_funds"), Unknown("timeout")])
    def test_a_fresh_page_begins_a_new_one(self, school: School, signed_in_as: SignedInAs, answer: Any) -> None:
        school.providers["unionpay"].answer = answer
        client = signed_in_as("wang", "en")

        links = {send(client, "/wallet", "/wallet/top-up").headers["location"] for _ in "12"}

        assert len(links) == 2
        assert client.get("/wallet").headers["cache-control"] == "no-store"

    @pytest.mark.parametrize(
        ("fields", "code", "status"),
        [
            ({"amount": "99"}, "amount_invalid", 422),
            ({"amount": "50001"}, "amount_invalid", 422),
            ({"amount": "-5"}, "amount_invalid", 422),
            ({"amount": ""}, "form_incomplete", 422),
            ({"method": "wallet"}, "top_up_method_refused", 400),
            ({"method": "nothing<b>"}, "top_up_method_refused", 400),
            ({"method": ""}, "form_incomplete", 422),
            ({"top_up_id": "short"}, "request_id_malformed", 400),
        ],
    )
    def test_is_refused_in_words_and_charges_nothing(
        self, school: School, signed_in_as: SignedInAs, fields: dict[str, str], code: str, status: int
    ) -> None:
        soup = page(send(signed_in_as("wang"), "/wallet", "/wallet/top-up", **fields), status)

        assert alert(soup) == code
        assert not soup.find("b")
        assert balance(school) == 3_620
        assert not school.providers["unionpay"].calls

    def test_keeps_what_was_chosen_when_it_is_refused(self, signed_in_as: SignedInAs) -> None:
        soup = page(send(signed_in_as("wang"), "/wallet", "/wallet/top-up", amount="5000", method="wechat"), 422)

        assert alert(soup) == "payer_code_missing"
        assert checked(soup, "amount") == ["5000"]
        assert checked(soup, "method") == ["wechat"]


class TestPaymentCode:
    def test_is_taken_with_the_spaces_the_app_prints(self, school: School, signed_in_as: SignedInAs) -> None:
        answer = send(
            signed_in_as("wang"), "/wallet", "/wallet/top-up", method="wechat", payer_code="1345 2435 0966 7271 75"
        )

        assert answer.status_code == 303
        assert [payer.code for payer in school.providers["wechat"].payers] == [WECHAT_CODE]
        assert balance(school) == 3_620 + 2_000

    @pytest.mark.parametrize(
        "code", ["6212345678901234567", "13452435096672717", "１３４５２４３５０９６６７２７１７５"]
    )
    def test_that_cannot_be_one_is_refused_and_never_echoed(
        self, school: School, signed_in_as: SignedInAs, code: str
    ) -> None:
        answer = send(signed_in_as("wang"), "/wallet", "/wallet/top-up", method="wechat", payer_code=code)

        soup = page(answer, 400)
        assert alert(soup) == "payer_code_malformed"
        assert code not in answer.text
        assert form(soup, "/wallet/top-up")["payer_code"] == ""
        assert checked(soup, "method") == ["wechat"]
        assert not school.providers["wechat"].calls

    def test_typed_before_another_way_was_chosen_is_left_alone(self, school: School, signed_in_as: SignedInAs) -> None:
        answer = send(signed_in_as("wang"), "/wallet", "/wallet/top-up", method="unionpay", payer_code=WECHAT_CODE)

        assert answer.status_code == 303
        assert [(payer.code, payer.agreement) for payer in school.providers["unionpay"].payers] == [("", "agr_wang")]

    def test_is_asked_of_whom_the_provider_does_not_know(self, school: School, signed_in_as: SignedInAs) -> None:
        with school.db.write() as conn:
            mine = (payers.c.cardholder_id == "ch_zhao") & (payers.c.method == "unionpay")
            assert conn.execute(payers.delete().where(mine)).rowcount == 1

        asked = {
            login: [label.input["value"] for label in page(signed_in_as(login).get("/wallet")).select(".asks-code")]
            for login in ("wang", "zhao")
        }

        assert asked == {"wang": ["wechat"], "zhao": ["unionpay", "wechat"]}

    def test_field_is_for_digits_and_remembered_by_nobody(self, signed_in_as: SignedInAs) -> None:
        field = page(signed_in_as("wang").get("/wallet")).find("input", attrs={"name": "payer_code"})

        assert (field["inputmode"], field["autocomplete"]) == ("numeric", "off")
        assert not field.has_attr("required")

    def test_is_asked_for_before_water_is_started_with_it(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang")
        outlet = f"/w/{school.stickers['dev_o1']}"

        missing = page(send(client, outlet, f"{outlet}/start", presence="dev_o1", method="wechat"), 422)
        given = send(client, outlet, f"{outlet}/start", presence="dev_o1", method="wechat", payer_code=WECHAT_CODE)

        assert alert(missing) == "payer_code_missing"
        assert checked(missing, "method") == ["wechat"]
        assert given.status_code == 303
        assert [payer.code for payer in school.providers["wechat"].payers] == [WECHAT_CODE]


class TestTransfer:
    def test_moves_once_when_the_form_is_sent_twice_and_says_so(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("wang", "en")
        filled = {**form(page(client.get("/wallet")), "/wallet/transfer"), "pair": "wallet>voucher", "amount": "12.5"}

        links = {client.post("/wallet/transfer", data=filled, follow_redirects=False).headers["location"] for _ in "12"}

        (link,) = links
        assert "¥12.50 moved. Campus wallet → Vouchers" in page(client.get(link)).find(role="status").text
        assert "moved." not in signed_in_as("zhao", "en").get(link).text
        with school.db.read() as conn:
            has = {each.purse: each.posted_minor for each in payments.purses(conn, "gxu", "ch_wang")}
        assert has == {"subsidy": 0, "voucher": 1_250, "wallet": 2_370}

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"pair": "wallet>voucher", "amount": "36.21"}, "transfer_not_covered"),
            ({"pair": "voucher>wallet", "amount": "1"}, "transfer_not_covered"),
            ({"pair": "wallet>voucher", "amount": "1.005"}, "form_incomplete"),
            ({"pair": "wallet>voucher", "amount": "abc"}, "form_incomplete"),
            ({"pair": "wallet>voucher", "amount": "0"}, "form_incomplete"),
            ({"pair": "wallet>voucher", "amount": "20000"}, "transfer_amount_refused"),
            ({"pair": "wallet>subsidy", "amount": "1"}, "transfer_not_allowed"),
            ({"pair": "wallet", "amount": "1"}, "transfer_not_allowed"),
        ],
    )
    def test_is_refused_in_words_and_keeps_what_was_typed(
        self, school: School, signed_in_as: SignedInAs, fields: dict[str, str], code: str
    ) -> None:
        give(school, "voucher", 800)
        answer = send(signed_in_as("wang"), "/wallet", "/wallet/transfer", **fields)

        soup = page(answer, answer.status_code)
        assert 400 <= answer.status_code < 500
        assert alert(soup) == code
        assert form(soup, "/wallet/transfer")["amount"] == fields["amount"]
        assert checked(soup, "pair") == (
            [fields["pair"]] if fields["pair"] in ("wallet>voucher", "voucher>wallet") else []
        )
        assert balance(school) == 3_620 + 800

    @pytest.mark.parametrize("text", ["12.5", "¥12.50", " 12.50 "])
    def test_reads_yuan_as_people_write_them(self, school: School, signed_in_as: SignedInAs, text: str) -> None:
        send(signed_in_as("wang"), "/wallet", "/wallet/transfer", pair="wallet>voucher", amount=text)

        with school.db.read() as conn:
            assert {each.purse: each.posted_minor for each in payments.purses(conn, "gxu", "ch_wang")}[
                "voucher"
            ] == 1_250


class TestTopUpPage:
    @pytest.mark.parametrize(
        ("which", "chip", "forms"),
        [("checking", "Not confirmed", ["ask"]), ("reported", "Not confirmed", ["ask"]), ("succeeded", "Arrived", []),
         ("declined", "Declined", [])],
    )  # fmt: skip
    def test_offers_what_its_state_allows(
        self, school: School, signed_in_as: SignedInAs, which: str, chip: str, forms: list[str]
    ) -> None:
        scene = money_scene(school)

        soup = page(signed_in_as("wang", "en").get(f"/wallet/top-ups/{getattr(scene, which)}"))

        assert soup.select_one(".chip").text == chip
        assert [str(each["action"]).rsplit("/", 1)[1] for each in soup.select("main form")] == forms
        assert ("Finance is looking at it" in soup.text) == (which == "reported")

    def test_asks_now_and_the_money_arrives(self, school: School, signed_in_as: SignedInAs) -> None:
        waiting = unanswered_top_up(school, "asked-about")
        where = f"/wallet/top-ups/{waiting.top_up_id}"
        school.providers["unionpay"].answer = None
        school.clock.now += timedelta(seconds=11)
        client = signed_in_as("wang", "en")

        answer = send(client, where, f"{where}/ask")

        assert answer.headers["location"] == where
        assert "Topped up. The money is in your wallet." in client.get(where).text
        assert balance(school) == 3_620 + 2_000
        assert [verb for verb, _ in school.providers["unionpay"].calls] == ["charge"]

    def test_asks_not_twice_within_seconds_and_says_so_in_place(self, school: School, signed_in_as: SignedInAs) -> None:
        waiting = unanswered_top_up(school, "asked-about")
        where = f"/wallet/top-ups/{waiting.top_up_id}"
        client = signed_in_as("wang", "en")

        soup = page(send(client, where, f"{where}/ask"), 409)
        assert alert(soup) == "asked_just_now"
        assert soup.find("form", action=f"{where}/ask")
        school.clock.now += timedelta(seconds=11)
        assert send(client, where, f"{where}/ask").status_code == 303
        assert "1×, last 0 s ago" in client.get(where).text

    def test_lets_finance_look_once_its_time_has_come(self, school: School, signed_in_as: SignedInAs) -> None:
        waiting = unanswered_top_up(school, "reported-later")
        where = f"/wallet/top-ups/{waiting.top_up_id}"
        client = signed_in_as("wang", "en")
        token = form(page(client.get(where)), f"{where}/ask")

        early = page(client.post(f"{where}/report", data=token), 409)
        school.clock.now += timedelta(minutes=10)
        assert page(client.get(where)).find("form", action=f"{where}/report")
        reported = [client.post(f"{where}/report", data=token, follow_redirects=False).status_code for _ in "12"]

        assert alert(early) == "report_too_early"
        assert not early.find("form", action=f"{where}/report")
        assert reported == [303, 303]
        assert "Finance is looking at it" in client.get(where).text
        with school.db.read() as conn:
            (case,) = cases.cases(conn, "gxu", limit=9)
        assert (case.kind, case.subject_id, case.amount_minor) == ("top_up_missing", waiting.top_up_id, 2_000)

    def test_shows_what_finance_wrote(self, school: School, signed_in_as: SignedInAs) -> None:
        scene = money_scene(school)
        with school.db.write() as conn:
            case = cases.case_of(conn, "gxu", "top_up_missing", scene.reported)
            assert case is not None
            cases.close_case(
                conn, tenant_id="gxu", case_id=case.case_id, closed_by="ch_fin", note="Asked UnionPay by telephone.",
                now=school.clock.now,
            )  # fmt: skip

        assert (
            "Asked UnionPay by telephone." in signed_in_as("wang", "en").get(f"/wallet/top-ups/{scene.reported}").text
        )


class TestDispute:
    def test_is_opened_once_when_the_form_is_sent_twice(self, school: School, signed_in_as: SignedInAs) -> None:
        session = school.shower("wang", "dev_o1", 9_000, "rq_one")
        where = f"/history/{session.water_session_id}/dispute"
        client = signed_in_as("wang", "en")
        filled = {**form(page(client.get(where)), where), "reason": "too_cold", "text": "it was\r\nice"}

        links = {client.post(where, data=filled, follow_redirects=False).headers["location"] for _ in "12"}

        assert links == {where}
        soup = page(client.get(where))
        assert len(soup.find_all("blockquote")) == 1
        assert soup.blockquote.text == "it was\nice"
        assert not soup.find("form", action=where)
        assert "The water was cold" in page(client.get("/disputes")).main.text

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"text": "it was <b>ice</b>"}, "form_incomplete"),
            ({"reason": "too_cold", "text": "x" * 1_001}, "dispute_reason_refused"),
            ({"reason": "bored", "text": "it was ice"}, "dispute_reason_refused"),
        ],
    )
    def test_is_refused_in_words_and_keeps_what_was_written(
        self, school: School, signed_in_as: SignedInAs, fields: dict[str, str], code: str
    ) -> None:
        session = school.shower("wang", "dev_o1", 9_000, "rq_one")
        where = f"/history/{session.water_session_id}/dispute"

        soup = page(send(signed_in_as("wang"), where, where, **fields), 422)

        assert alert(soup) == code
        assert form(soup, where)["text"] == fields["text"]
        assert checked(soup, "reason") == (["too_cold"] if fields.get("reason") == "too_cold" else [])
        assert not soup.find("b")

    def test_counts_a_line_end_as_the_browser_does(self, school: School, signed_in_as: SignedInAs) -> None:
        session = school.shower("wang", "dev_o1", 9_000, "rq_one")
        where = f"/history/{session.water_session_id}/dispute"

        answer = send(signed_in_as("wang"), where, where, reason="other", text="y" + "\r\n" * 998 + "z")

        assert answer.status_code == 303

    def test_from_two_pages_is_one(self, school: School, signed_in_as: SignedInAs) -> None:
        session = school.shower("wang", "dev_o1", 9_000, "rq_one")
        where = f"/history/{session.water_session_id}/dispute"
        client = signed_in_as("wang")
        first, second = ({**form(page(client.get(where)), where), "reason": "other"} for _ in "12")
        client.post(where, data=first)

        soup = page(client.post(where, data=second), 409)

        assert alert(soup) == "dispute_open"
        assert len(soup.select("main section.card")) == 2

    def test_shows_what_came_of_it(self, school: School, signed_in_as: SignedInAs) -> None:
        scene = money_scene(school)
        client = signed_in_as("wang", "en")

        given, refused = (
            client.get(f"/history/{each}/dispute").text for each in (scene.refunded_bill, scene.rejected_bill)
        )
        listed = [chip.text for chip in page(client.get("/disputes")).select(".chip")]

        assert "Partly given back." in given
        assert "The meter agrees with the bill." in refused
        assert listed == ["Being looked at", "Not upheld", "Refunded"]

    @pytest.mark.parametrize(
        ("case", "said"),
        [("running", "has no bill yet"), ("free", "cost nothing"), ("late", "for 30 days"), ("often", "as often as"),
         ("returned", "was given back")],
    )  # fmt: skip
    def test_says_why_there_is_nothing_to_dispute(
        self, school: School, signed_in_as: SignedInAs, case: str, said: str
    ) -> None:
        if case == "running":
            request = StartRequest("gxu", "rq_running", "dev_o1", "ch_wang", "wallet")
            session = school.open_valve(water_sessions.request_start(school.backend.context, request))
        else:
            session = school.shower("wang", "dev_o1", 0 if case == "free" else 9_000, "rq_one")
        if case == "late":
            school.clock.now += timedelta(days=31)
        if case == "returned":
            decide(school, dispute(school, session), session.captured_minor or 0, "all of it is given back")
        for number in range(3 if case == "often" else 0):
            text = f"time {number}"
            client = signed_in_as("wang", "en")
            where = f"/history/{session.water_session_id}/dispute"
            assert send(client, where, where, reason="other", text=text).status_code == 303
            with school.db.read() as conn:
                (newest,) = disputes.disputes(conn, "gxu", state="open", limit=2)
            decide(school, newest.dispute_id, 0, "the meter is right")

        soup = page(signed_in_as("wang", "en").get(f"/history/{session.water_session_id}/dispute"))

        assert said in soup.main.text
        assert not soup.select("main form")


class TestBill:
    def test_says_which_purse_paid_what_and_what_came_back(self, school: School, signed_in_as: SignedInAs) -> None:
        scene = money_scene(school)

        soup = page(signed_in_as("wang", "en").get(f"/history/{scene.refunded_bill}"))

        told = {row.dt.text.strip(): row.dd.text.strip() for row in soup.select(".facts div")}
        assert told["Charge by tariff"] == "¥0.64"
        assert told["of it from Subsidy"] == "¥0.20"
        assert told["of it from Vouchers"] == "¥0.30"
        assert told["of it from Campus wallet"] == "¥0.14"
        assert [dd for dt, dd in told.items() if dt.startswith("Refund")] == ["+¥0.30"]
        assert soup.find("a", string="See the dispute")

    def test_leads_to_the_dispute(self, school: School, signed_in_as: SignedInAs) -> None:
        session = school.shower("wang", "dev_o1", 9_000, "rq_one")

        link = page(signed_in_as("wang", "en").get(f"/history/{session.water_session_id}")).find(
            "a", string="Something is wrong with this bill"
        )

        assert link["href"] == f"/history/{session.water_session_id}/dispute"


class TestLeave:
    def test_says_what_would_be_paid_and_what_stands_in_the_way(self, school: School, signed_in_as: SignedInAs) -> None:
        give(school, "subsidy", 1_500)
        client = signed_in_as("wang", "en")
        free = page(client.get("/leave"))
        unanswered_top_up(school, "in-the-way")

        soup = page(client.get("/leave"))

        assert free.tfoot.td.text == "¥36.20"
        assert "Nothing stands in the way." in free.text
        assert "A top-up is not confirmed yet" in soup.text
        assert "Nothing stands in the way." not in soup.text


class TestOthersMoney:
    @pytest.mark.parametrize("language", ["zh", "en"])
    def test_is_not_there(self, school: School, signed_in_as: SignedInAs, language: str) -> None:
        scene = money_scene(school)
        zhao = signed_in_as("zhao", language)
        token = form(page(zhao.get("/wallet")), "/wallet/top-up")["form_token"]
        own = [path for path in scene.paths() if "top-ups/" in path or "/history/" in path]
        posts = (f"/wallet/top-ups/{scene.checking}/ask", f"/wallet/top-ups/{scene.reported}/report",
                 f"/history/{scene.plain_bill}/dispute")  # fmt: skip
        fields = {"form_token": token, "dispute_id": "d" * 24, "reason": "other"}

        answers = [zhao.get(path) for path in own] + [zhao.post(path, data=fields) for path in posts]

        assert {answer.status_code for answer in answers} == {404}
        unknown = zhao.get("/wallet/top-ups/tu_nothing")
        references = [re.sub(r"[0-9a-f]{16}", "", answer.text) for answer in (zhao.get(own[0]), unknown)]
        assert references[0].replace(own[0], "") == references[1].replace("/wallet/top-ups/tu_nothing", "")
        assert len(school.providers["unionpay"].calls) == 4

    def test_needs_somebody_signed_in(self, school: School, app: Any) -> None:
        top_up(school, "somebodys")

        answer = TestClient(app).get("/wallet/top-ups/tu_somebodys", follow_redirects=False)

        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")


class TestEveryMoneyPage:
    @pytest.mark.parametrize("language", ["zh", "en"])
    def test_is_strict_complete_and_in_the_readers_language(
        self, school: School, signed_in_as: SignedInAs, language: str
    ) -> None:
        scene = money_scene(school)
        client = signed_in_as("wang", language)

        for path in scene.paths():
            answer = client.get(path)
            soup = page(answer)
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
            assert soup.h1.text.strip(), path
            assert soup.html["lang"] == ("zh-CN" if language == "zh" else "en")
            assert not soup.find_all("style") + soup.find_all(style=True) + soup.find_all("script"), path
            assert all(table.find("caption") for table in soup.find_all("table")), path
            assert len(answer.content) < 30_000, path
            if language == "en":
                for quoted in soup.select("blockquote, p:has(strong)"):
                    quoted.decompose()
                assert not re.search(r"[一-鿿]", soup.main.text), (path, soup.main.text)


class TestParseYuan:
    @pytest.mark.parametrize(("text", "fen"), [("12.50", 1_250), ("¥3", 300), ("0.01", 1), (" 7.5 ", 750)])
    def test_reads_yuan_as_people_write_them(self, text: str, fen: int) -> None:
        assert parse_yuan(text) == fen

    @pytest.mark.parametrize("text", ["", "0", "0.00", "-1", "1e3", "１０", "1.234", "¥1¥2", "1,000", ".5", "1" * 12])
    def test_refuses_what_is_no_amount(self, text: str) -> None:
        with pytest.raises(FormIncomplete):
            parse_yuan(text)
