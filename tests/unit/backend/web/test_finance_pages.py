"""Finance's pages: who sees and does what, each path once around, refusals in words on the page, files to download."""

import asyncio
import csv
import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from fastapi import FastAPI
from httpx import Response
from starlette.testclient import TestClient
from starlette.types import Message

from backend.app import create_app
from backend.cardholders import service as cardholders
from backend.db import Database
from backend.payments import bank_rules, cases, disputes, people_rules, staff_entries
from backend.payments import service as payments
from backend.payments.port import Unknown
from backend.statements import service as statements
from backend.water_sessions import disputing
from backend.web.finance_view import account_choices, facts
from backend.web.routes.finance_statements import UPLOAD_BYTES_MAX
from tests.fakes.web_finance import furnish
from tests.fakes.web_site import PASSWORD, School, add_foreign_school, open_school
from tests.unit.backend.statements.samples import PACKED, PLAIN, ROWS
from tests.unit.backend.statements.writing import DAY
from tests.unit.backend.web.conftest import SignedInAs, form_token, post

PAGES = ("", "/cases", "/entries", "/disputes", "/refunds", "/statements")
WHY = "收据 17 号，窗口现金"
_LATIN = re.compile(r"[A-Za-z]{3,}")


def _text(page: Response) -> str:
    """Return what a page says in its head and its main part, without codes."""
    soup = BeautifulSoup(page.text, "html.parser")
    for each in soup.select("code, script, .switches"):
        each.decompose()
    page_part = soup.select_one(".page")
    assert page_part is not None
    return page_part.get_text(" ", strip=True)


def _hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found, name
    return found[1]


def _case(school: School, subject_id: str = "ws_1", **changed: Any) -> cases.Case:
    wanted: dict[str, Any] = {"kind": "overcharged", "amount_minor": 130, "evidence": {"volume_ml": 4_000}, **changed}
    with school.db.write() as conn:
        return cases.open_case(conn, tenant_id="gxu", subject_id=subject_id, now=school.clock.now, **wanted)


def _disputed(school: School, reason: str = "too_cold", login: str = "wang") -> disputes.Dispute:
    shower = school.shower(login, "dev_o1", 9_000, f"shower-{login}")
    with school.db.write() as conn:
        return disputing.open_dispute(
            conn,
            tenant_id="gxu",
            dispute_id=f"dp_{login}-0001",
            water_session_id=shower.water_session_id,
            cardholder_id=school.person(login).cardholder_id,
            reason=reason,
            text="水是凉的\n一直等",
            now=school.clock.now,
        )


def _propose(client: TestClient, kind: str = "cash_top_up", **changed: Any) -> Response:
    page = client.get(f"/finance/entries/new?kind={kind}").text
    fields = {
        "kind": kind,
        "request_id": _hidden(page, "request_id"),
        "person": "wang",
        "amount": "20",
        "reason": WHY,
        **changed,
    }
    sent = {"form_token": form_token(page), **fields}
    answer: Response = client.post("/finance/entries", data=sent, follow_redirects=False)
    return answer


def _proposed(client: TestClient, kind: str = "cash_top_up", **changed: Any) -> str:
    made = _propose(client, kind, **changed)
    assert made.status_code == 303, _text(made)
    return made.headers["location"]


def _available(school: School, login: str = "wang") -> int:
    with school.db.read() as conn:
        return payments.wallet(conn, "gxu", school.person(login).cardholder_id).available_minor


def _send_file(client: TestClient, data: bytes, *, method: str = "wechat", day: str = DAY.isoformat()) -> Response:
    token = form_token(client.get("/finance/statements").text)
    fields = {"form_token": token, "method": method, "day": day}
    files = {"file": ("bill.csv", data, "text/csv")}
    answer: Response = client.post("/finance/statements", data=fields, files=files, follow_redirects=False)
    return answer


def _waiting_file(client: TestClient) -> str:
    """Return the address of the file that waits."""
    form = BeautifulSoup(client.get("/finance/statements").text, "html.parser").select_one("table.waiting form")
    assert form is not None
    return str(form["action"])


def _decide_file(client: TestClient, do: str) -> Response:
    answer: Response = post(client, "/finance/statements", _waiting_file(client), do=do)
    return answer


@pytest.fixture
def other_school(school: School) -> School:
    """Return the school beside another one with an office of its own."""
    add_foreign_school(school)
    with school.db.write() as conn:
        for login, role in (("fin", "finance"), ("approver", "approver")):
            person = cardholders.Cardholder(
                "other", f"ox_{login}", login, login, login, "staff", "active", frozenset({role})
            )
            cardholders.add_cardholder(conn, person, PASSWORD, school.clock.now)
    return school


def _elsewhere(app: FastAPI, login: str = "fin") -> TestClient:
    client = TestClient(app, headers={"accept-language": "zh"}, raise_server_exceptions=False)
    sent = {"form_token": form_token(client.get("/login").text), "tenant": "other", "login": login, "next": "/"}
    assert client.post("/login", data={**sent, "password": PASSWORD}, follow_redirects=False).status_code == 303
    return client


class TestRoles:
    @pytest.mark.parametrize("login", ["fin", "approver", "admin"])
    def test_that_look_after_money_see_every_page(self, signed_in_as: SignedInAs, login: str) -> None:
        client = signed_in_as(login)

        assert {client.get(f"/finance{page}").status_code for page in PAGES} == {200}
        assert 'href="/finance"' in client.get("/finance").text

    @pytest.mark.parametrize("login", ["wang", "fac", "desk"])
    def test_of_others_see_none(self, signed_in_as: SignedInAs, login: str) -> None:
        client = signed_in_as(login)
        paths = (*PAGES, "/entries/new", "/cases.csv", "/refunds.csv", "/cases/case_1", "/disputes/dp_1")

        assert {client.get(f"/finance{page}").status_code for page in paths} == {403}

    def test_that_only_look_change_nothing(self, school: School, signed_in_as: SignedInAs) -> None:
        case, dispute = _case(school), _disputed(school)
        entry = _proposed(signed_in_as("fin"))
        admin = signed_in_as("admin")
        posts = {
            f"/finance/cases/{case.case_id}": {"note": "was looked into"},
            "/finance/entries": {"kind": "cash_top_up"},
            entry: {"do": "approve"},
            f"/finance/disputes/{dispute.dispute_id}": {"do": "reject", "answer": "the meter is right"},
        }

        answers = [post(admin, "/finance/statements", path, **fields) for path, fields in posts.items()]
        answers.append(_send_file(admin, PLAIN["wechat"](ROWS["wechat"])))

        assert {answer.status_code for answer in answers} == {403}
        assert all("此页需要角色" in answer.text for answer in answers)

    def test_of_the_approver_do_not_propose(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("approver")

        assert client.get("/finance/entries/new").status_code == 403
        assert "提议入账" not in client.get("/finance/entries").text

    def test_lead_finance_to_its_own_first_page(self, signed_in_as: SignedInAs) -> None:
        assert signed_in_as("fin").get("/", follow_redirects=False).headers["location"] == "/finance"


class TestForms:
    def test_must_come_from_our_own_pages(self, school: School, signed_in_as: SignedInAs) -> None:
        case = _case(school)
        client = signed_in_as("fin")
        fields = {"form_token": "made-up", "note": "looked into it", "do": "approve", "kind": "cash_top_up"}

        answers = [
            client.post(path, data=fields)
            for path in (f"/finance/cases/{case.case_id}", "/finance/entries", "/finance/entries/en_1")
        ]
        answers.append(client.post("/finance/statements", data=fields, files={"file": ("a.csv", b"a", "text/csv")}))

        assert {answer.status_code for answer in answers} == {403}
        with school.db.read() as conn:
            assert cases.case(conn, "gxu", case.case_id).state == "open"


class TestOtherSchools:
    def test_are_not_there(self, app: FastAPI, other_school: School, signed_in_as: SignedInAs) -> None:
        case, dispute = _case(other_school), _disputed(other_school)
        entry = _proposed(signed_in_as("fin"))
        client = _elsewhere(app)
        paths = (f"/finance/cases/{case.case_id}", f"/finance/disputes/{dispute.dispute_id}", entry)
        fields = {"note": "looked into it", "do": "reject", "answer": "looked into it", "request_id": "request-0001"}

        assert {client.get(path).status_code for path in paths} == {404}
        assert {post(client, "/finance", path, **fields).status_code for path in paths} == {404}
        assert case.subject_id not in client.get("/finance/cases?state=").text
        assert _propose(client).status_code == 404, "there is no such person at their school"

    def test_have_files_of_their_own(self, app: FastAPI, other_school: School, signed_in_as: SignedInAs) -> None:
        _send_file(signed_in_as("fin"), PLAIN["wechat"](ROWS["wechat"]))

        _decide_file(signed_in_as("approver"), "approve")
        assert "bill.csv" not in _elsewhere(app).get("/finance/statements").text


class TestOverview:
    def test_shows_holds_unknowns_cases_and_entries(self, school: School, signed_in_as: SignedInAs) -> None:
        school.providers["alipay"].answer = Unknown("timeout")
        ctx = school.backend.context
        payments.top_up(ctx.db, ctx.providers, "gxu", "ch_wang", "alipay", 2_000, "top-up-0001", ctx.clock)
        _case(school)
        _proposed(signed_in_as("fin"))
        with school.db.write() as conn:
            for number, age in enumerate((timedelta(minutes=5), timedelta(hours=3), timedelta(days=9))):
                payments.open_authorization(
                    conn,
                    tenant_id="gxu",
                    auth_id=f"auth_{number}",
                    water_session_id=f"ws_{number}",
                    cardholder_id="ch_wang",
                    method="wallet",
                    amount_minor=100,
                    now=school.clock.now - age,
                    expires_at=school.clock.now + timedelta(days=1),
                )

        page = signed_in_as("fin").get("/finance")
        soup = BeautifulSoup(page.text, "html.parser")

        rows = [[cell.get_text(" ", strip=True) for cell in row.select("td")] for row in soup.select("#ages tbody tr")]
        assert rows == [
            ["1 小时内", "1", "¥1.00"],
            ["1 天内", "1", "¥1.00"],
            ["7 天内", "0", "¥0.00"],
            ["7 天以上", "1", "¥1.00"],
        ]
        first = soup.select("#holds tbody tr")[0].get_text(" ", strip=True)
        assert "9 天" in first
        assert "auth_2" in first
        assert soup.select_one("#held").get_text() == "¥3.00"  # type: ignore[union-attr]
        unknown = soup.select_one("#unknowns").get_text(" ", strip=True)  # type: ignore[union-attr]
        assert "支付宝" in unknown
        assert "收款" in unknown
        assert "等待超时" in unknown
        assert "¥20.00" in unknown
        assert "多扣了" in soup.select_one("#open-cases").get_text()  # type: ignore[union-attr]
        assert "现金充值" in soup.select_one("#waiting").get_text()  # type: ignore[union-attr]

    def test_is_written_in_one_language(self, school: School, signed_in_as: SignedInAs) -> None:
        case, dispute = _case(school), _disputed(school)
        client = signed_in_as("fin")
        forms = tuple(f"/entries/new?kind={kind}" for kind in ("cash_top_up", "refund", "manual", "payout"))

        for path in (*PAGES, *forms, f"/cases/{case.case_id}", f"/disputes/{dispute.dispute_id}"):
            assert set(_LATIN.findall(_text(client.get(f"/finance{path}")))) <= {"CSV"}, path


class TestCases:
    def test_are_filtered_and_paged(
        self, school: School, signed_in_as: SignedInAs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.web.routes.finance.PAGE", 2)
        monkeypatch.setattr("backend.web.routes.finance.older.__defaults__", (2,))
        for number in range(3):
            school.clock.now += timedelta(seconds=1)
            _case(school, f"ws_{number}")
        _case(school, "alipay/2026", kind="notification_forged", amount_minor=0)
        client = signed_in_as("fin")

        first = client.get("/finance/cases?state=open&kind=overcharged").text
        link = re.search(r'href="([^"]+)" rel="next"', first)
        assert link is not None
        second = client.get(link[1].replace("&amp;", "&")).text

        assert ("ws_2" in first, "ws_1" in first, "ws_0" in first) == (True, True, False)
        assert "alipay/2026" not in first
        assert ("ws_0" in second, "ws_1" in second) == (True, False)
        assert "没有符合条件" in client.get("/finance/cases?state=closed").text

    def test_show_their_evidence_in_words(self, school: School, signed_in_as: SignedInAs) -> None:
        evidence = {"method": "alipay", "said_minor": 500, "said_by": "query", "volume_ml": 4_500, "text": "<b>凉</b>"}
        case = _case(school, evidence=evidence)

        page = signed_in_as("fin").get(f"/finance/cases/{case.case_id}")

        text = _text(page)
        assert "支付宝" in text
        assert "¥5.00" in text
        assert "4.5" in text
        assert "来源 查询" in text
        assert "<b>凉" not in page.text

    def test_are_closed_once_with_words(self, school: School, signed_in_as: SignedInAs) -> None:
        case = _case(school)
        path = f"/finance/cases/{case.case_id}"
        fin, second = signed_in_as("fin"), signed_in_as("approver")

        short = post(fin, path, path, note="ok")
        token = form_token(second.get(path).text)
        closed = [post(fin, path, path, note="已电话核实并退款") for _ in range(2)]
        late = second.post(path, data={"form_token": token, "note": "我也来关闭这个"})

        assert short.status_code == 400
        assert 'data-code="note_too_short"' in short.text
        assert {answer.status_code for answer in closed} == {303}
        assert late.status_code == 409
        assert 'data-code="case_closed"' in late.text
        text = _text(fin.get(path))
        assert "郑财务" in text
        assert "已电话核实并退款" in text


class TestEntries:
    def test_move_money_once_a_second_person_agrees(self, school: School, signed_in_as: SignedInAs) -> None:
        before = _available(school)
        fin, second = signed_in_as("fin"), signed_in_as("approver")

        path = _proposed(fin)
        own = fin.get(path).text
        waiting = _available(school)
        refused = post(fin, path, path, do="approve")
        approved = [post(second, "/finance/statements", path, do="approve", note="") for _ in range(2)]

        assert "须由第二人批准" in own
        assert 'value="approve"' not in own
        assert waiting == before
        assert (refused.status_code, 'data-code="same_person"' in refused.text) == (403, True)
        assert {answer.status_code for answer in approved} == {303}
        assert _available(school) == before + 2_000
        assert "款项已入账" in _text(second.get(path))

    def test_are_proposed_once_per_form(self, school: School, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("fin")

        same = {_proposed(client, request_id="request-0001") for _ in range(2)}
        other = _propose(client, request_id="request-0001", amount="21")

        assert len(same) == 1
        assert (other.status_code, 'data-code="entry_differs"' in other.text) == (409, True)

    def test_keep_what_was_typed_when_refused(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("fin")

        refused = _propose(client, amount="12.345", reason="窗口现金充值，收据 18")

        assert refused.status_code == 422
        assert 'data-code="form_incomplete"' in refused.text
        assert 'value="12.345"' in refused.text
        assert "收据 18" in refused.text

    @pytest.mark.parametrize(
        ("changed", "status", "code"),
        [
            ({"person": "nobody"}, 404, "cardholder_unknown"),
            ({"amount": "0.50"}, 422, "entry_amount_refused"),
            ({"amount": "-5"}, 422, "form_incomplete"),
            ({"amount": ""}, 422, "form_incomplete"),
            ({"reason": "短"}, 422, "reason_too_short"),
            ({"person": "fin"}, 403, "own_money"),
            ({"request_id": "a/b"}, 422, "request_id_malformed"),
        ],
    )
    def test_are_refused_on_the_page(
        self, signed_in_as: SignedInAs, changed: dict[str, str], status: int, code: str
    ) -> None:
        refused = _propose(signed_in_as("fin"), **changed)

        assert (refused.status_code, f'data-code="{code}"' in refused.text) == (status, True)

    def test_find_people_by_number_too(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("fin")

        assert "王一鸣" in client.get(_proposed(client, person="ch_wang")).text

    def test_refund_a_bill(self, school: School, signed_in_as: SignedInAs) -> None:
        shower = school.shower("wang", "dev_o1", 9_000, "shower-0001")
        before = _available(school)
        fin, second = signed_in_as("fin"), signed_in_as("approver")

        path = _proposed(fin, "refund", bill=shower.water_session_id, amount="0.30")
        post(second, path, path, do="approve")
        too_much = _propose(fin, "refund", bill=shower.auth_id, amount="400")

        assert _available(school) == before + 30
        assert 'data-code="not_refundable"' in too_much.text
        assert "已退回" in _text(fin.get("/finance/refunds"))

    def test_move_money_between_accounts(self, school: School, signed_in_as: SignedInAs) -> None:
        before = _available(school)
        fin, second = signed_in_as("fin"), signed_in_as("approver")
        named = {"debit": "operator_loss", "credit": "cardholder_wallet/*"}

        path = _proposed(fin, "manual", amount="1.05", **named)
        post(second, path, path, do="approve")
        nobody = _propose(fin, "manual", person="", **named)
        same = _propose(fin, "manual", debit="cash", credit="cash")
        unknown = _propose(fin, "manual", debit="cash", credit="escrow/unionpay")

        assert _available(school) == before + 105
        assert "运营损失" in _text(fin.get(path))
        assert "校园钱包 · 王一鸣" in _text(fin.get(path))
        assert {'data-code="form_incomplete"' in answer.text for answer in (nobody, unknown)} == {True}
        assert 'data-code="entry_account_refused"' in same.text

    def test_are_refused_or_taken_back_with_words(self, school: School, signed_in_as: SignedInAs) -> None:
        before = _available(school)
        fin, second = signed_in_as("fin"), signed_in_as("approver")
        first, other = _proposed(fin), _proposed(fin)

        short = post(second, first, first, do="reject", note="no")
        refused = post(second, first, first, do="reject", note="没有这张收据，请核对")
        taken_back = post(fin, other, other, do="reject", note="金额写错了，重新提议")
        late = post(second, "/finance/statements", first, do="approve")

        assert (short.status_code, 'data-code="reason_too_short"' in short.text) == (422, True)
        assert (refused.status_code, taken_back.status_code) == (303, 303)
        assert (late.status_code, 'data-code="entry_not_open"' in late.text) == (409, True)
        assert _available(school) == before
        assert "没有这张收据" in _text(fin.get(first))
        listed = _text(fin.get("/finance/entries?state=rejected"))
        assert listed.count("已拒绝") >= 2

    def test_expire(self, school: School, signed_in_as: SignedInAs) -> None:
        path = _proposed(signed_in_as("fin"))
        school.clock.now += people_rules.PROPOSAL_LIFE

        page = signed_in_as("approver").get(path)

        assert "到期无人决定" in _text(page)
        assert 'value="approve"' not in page.text


class TestPayouts:
    def test_pay_a_leaver_and_can_be_proposed_again(self, school: School, signed_in_as: SignedInAs) -> None:
        fin, second, account = signed_in_as("fin"), signed_in_as("approver"), "6222 0000 0000 0001"

        first = _proposed(fin, "payout", channel="cash")
        post(second, first, first, do="reject", note="学生要求银行转账，请改")
        listed = fin.get("/finance/entries").text
        link = re.search(r"/finance/entries/new\?payout=(po_[^\"]+)", listed)
        assert link is not None
        page = fin.get(link[0]).text
        again = post(
            fin,
            link[0],
            "/finance/entries",
            kind="payout",
            payout=link[1],
            request_id=_hidden(page, "request_id"),
            channel="bank",
            destination=account,
            reason=WHY,
        )
        waiting = fin.get(again.headers["location"]).text
        approved = post(second, again.headers["location"], again.headers["location"], do="approve")

        number = bank_rules.reference(again.headers["location"].rpartition("/")[2])
        assert f'<code id="bank-number">{number}</code>' in fin.get(again.headers["location"]).text
        assert [number in text for text in (waiting, fin.get(first).text)] == [False, False]
        assert [account in second.get(path).text for path in (first, again.headers["location"])] == [False, True]
        assert f'id="paid-to">{account}</td>' in waiting, "the second person sees where the money goes"
        assert "王一鸣" in page
        assert "¥36.20" in page
        assert approved.status_code == 303
        assert "款项已入账" in _text(fin.get(again.headers["location"]))
        assert _available(school) == 0

    def test_name_what_stands_in_the_way(self, school: School, signed_in_as: SignedInAs) -> None:
        _disputed(school)

        refused = _propose(signed_in_as("fin"), "payout", channel="cash")

        assert (refused.status_code, 'data-code="payout_blocked"' in refused.text) == (409, True)
        assert "dp_wang-0001" in refused.text

    def test_need_an_account_for_the_bank(self, signed_in_as: SignedInAs) -> None:
        refused = _propose(signed_in_as("fin"), "payout", channel="bank")

        assert 'data-code="payout_channel_refused"' in refused.text

    def test_of_nobody_are_not_there(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("fin")

        assert client.get("/finance/entries/new?payout=po_none").status_code == 404
        sent = {"kind": "payout", "payout": "po_none", "request_id": "request-0001", "channel": "cash", "reason": WHY}
        assert post(client, "/finance/entries/new", "/finance/entries", **sent).status_code == 404


class TestDisputes:
    def test_show_bill_meter_and_purses(self, school: School, signed_in_as: SignedInAs) -> None:
        dispute = _disputed(school)
        client = signed_in_as("fin")

        text = _text(client.get(f"/finance/disputes/{dispute.dispute_id}"))

        for each in ("王一鸣", "水太凉", "¥0.64", "20.0 L", "= 9000", "44.1°", "在龙头处关水", "校园钱包", "水是凉的"):
            assert each in text
        assert "水太凉" in _text(client.get("/finance/disputes"))
        assert "无建议" in text

    def test_suggest_what_the_meter_makes_plain(self, school: School, signed_in_as: SignedInAs) -> None:
        shower = school.shower("wang", "dev_o1", 200, "shower-0001")
        with school.db.write() as conn:
            disputing.open_dispute(
                conn, tenant_id="gxu", dispute_id="dp_dry-0001", water_session_id=shower.water_session_id,
                cardholder_id="ch_wang", reason="no_water", text="", now=school.clock.now,
            )  # fmt: skip

        page = signed_in_as("fin").get("/finance/disputes/dp_dry-0001").text

        assert shower.captured_minor is not None
        assert f'value="0.{shower.captured_minor:02d}"' in page

    def test_are_upheld_and_refunded_by_two_people(self, school: School, signed_in_as: SignedInAs) -> None:
        dispute = _disputed(school)
        before = _available(school)
        path = f"/finance/disputes/{dispute.dispute_id}"
        fin, second = signed_in_as("fin"), signed_in_as("approver")

        empty = post(fin, path, path, do="uphold", answer="水温偏低，退一部分", request_id="request-0001")
        wanted = {"do": "uphold", "amount": "0.40", "answer": "水温偏低，退一部分", "request_id": "request-0002"}
        decided = [post(fin, "/finance/statements", path, **wanted) for _ in range(2)]
        entry = re.search(r"/finance/entries/en_[^\"]+", fin.get(path).text)
        assert entry is not None
        for path_shown in (entry[0], "/finance/entries"):
            assert "学生申诉 dp_wang-0001: 水温偏低" in _text(fin.get(path_shown))
        post(second, entry[0], entry[0], do="approve")

        assert (empty.status_code, 'data-code="form_incomplete"' in empty.text) == (422, True)
        assert "退一部分" in empty.text, "what was typed stays"
        assert {answer.status_code for answer in decided} == {303}
        assert _available(school) == before + 40
        assert "已退款" in _text(fin.get(path))
        with school.db.read() as conn:
            entries = staff_entries.entries(conn, "gxu", now=school.clock.now, limit=10)
        assert len(entries) == 1

    def test_are_rejected_with_words(self, school: School, signed_in_as: SignedInAs) -> None:
        dispute = _disputed(school)
        path = f"/finance/disputes/{dispute.dispute_id}"
        client = signed_in_as("fin")

        short = post(client, path, path, do="reject", answer="no", request_id="request-0001")
        too_much = post(client, path, path, do="uphold", amount="99", answer="全部退还给您", request_id="request-0001")
        rejected = post(client, path, path, do="reject", answer="水表记录正常", request_id="request-0001")
        late = post(client, "/finance/statements", path, do="reject", answer="另一个答复", request_id="request-0001")

        assert 'data-code="answer_too_short"' in short.text
        assert 'data-code="not_refundable"' in too_much.text
        assert rejected.status_code == 303
        assert (late.status_code, 'data-code="dispute_not_open"' in late.text) == (409, True)
        assert "水表记录正常" in _text(client.get(path))


class TestStatements:
    @pytest.mark.parametrize("method", sorted(ROWS))
    def test_are_imported_by_a_second_person_and_summed_by_kind(self, signed_in_as: SignedInAs, method: str) -> None:
        client, second = signed_in_as("fin"), signed_in_as("approver")
        data = PACKED[method](ROWS[method])

        sent = _send_file(client, data, method=method)
        assert "读取无误" in _text(client.get(sent.headers["location"]))
        alone = _decide_file(client, "approve")
        imported = _decide_file(second, "approve")
        again = _send_file(client, data, method=method)

        assert (sent.status_code, alone.status_code, imported.status_code, again.status_code) == (303, 403, 303, 303)
        assert "已导入" in _text(client.get(imported.headers["location"]))
        assert "早已导入" in _text(client.get(again.headers["location"]))
        soup = BeautifulSoup(client.get("/finance/statements").text, "html.parser")
        rows = soup.select("table.files tbody tr:not(.missing)")
        assert sum(int(row.select("td")[4].get_text()) for row in rows) >= len(ROWS[method])
        assert "bill.csv" in rows[0].get_text()

    @pytest.mark.parametrize(("login", "said"), [("fin", "Take back"), ("approver", "Refuse")])
    def test_can_be_taken_back_or_refused(
        self, school: School, signed_in_as: SignedInAs, login: str, said: str
    ) -> None:
        _send_file(signed_in_as("fin"), PACKED["wechat"](ROWS["wechat"]))
        client = signed_in_as(login, "en")
        assert said in client.get("/finance/statements").text

        gone = _decide_file(client, "reject")

        assert "nothing of it was stored" in client.get(gone.headers["location"]).text
        assert 'class="waiting"' not in client.get("/finance/statements").text
        with school.db.read() as conn:
            assert statements.files(conn, "gxu") == []

    def test_that_wait_are_decided_about_once_and_by_those_who_may(self, signed_in_as: SignedInAs) -> None:
        _send_file(signed_in_as("fin"), PACKED["wechat"](ROWS["wechat"]))
        second, admin = signed_in_as("approver", "en"), signed_in_as("admin", "en")
        path = _waiting_file(second)

        assert post(admin, "/finance/statements", path, do="approve").status_code == 403
        assert post(second, "/finance/statements", path, do="dance").status_code == 422
        assert post(second, "/finance/statements", path, do="approve").status_code == 303
        late = post(second, "/finance/statements", path, do="reject")
        assert (late.status_code, "Somebody has decided" in late.text) == (409, True)
        assert post(second, "/finance/statements", "/finance/statements/sf_none", do="reject").status_code == 404

    def test_of_another_merchant_are_refused(self, school: School, signed_in_as: SignedInAs) -> None:
        school.providers["wechat"].known_as = "1900000000"
        client = signed_in_as("fin")

        refused = _send_file(client, PACKED["wechat"](ROWS["wechat"]), method="wechat")

        assert (refused.status_code, 'data-code="statement_refused"' in refused.text) == (422, True)
        with school.db.read() as conn:
            assert statements.files(conn, "gxu") == []

    def test_that_are_wrong_say_where_and_why(self, school: School, signed_in_as: SignedInAs) -> None:
        client, english = signed_in_as("fin"), signed_in_as("fin", "en")
        lines = PLAIN["wechat"](ROWS["wechat"]).splitlines(keepends=True)
        lines[1] = lines[1].replace(b"`", b"", 1)
        data = b"".join(lines)

        refused, said = _send_file(client, data), _send_file(english, data)

        assert (refused.status_code, 'data-code="statement_refused"' in refused.text) == (422, True)
        alert = BeautifulSoup(refused.text, "html.parser").select_one('[data-code="statement_refused"]')
        assert alert is not None
        cells = [cell.get_text(strip=True) for cell in alert.select("td")]
        assert cells[:2] == ["bill.csv", "2"]
        assert not _LATIN.findall(cells[-1])
        assert "表头有 27 栏，应为 7 栏" in cells[-1]
        assert "the header has 27 columns, not 7" in _text(said)
        assert "bill.csv" in _text(said)
        with school.db.read() as conn:
            assert statements.files(conn, "gxu") == []

    @pytest.mark.parametrize(
        ("data", "changed"),
        [(b"", {}), (b"x", {"day": "yesterday"}), (b"x", {"day": "1066-10-14"}), (b"x", {"day": "2027-01-01"})],
    )
    def test_need_a_file_and_a_day(self, signed_in_as: SignedInAs, data: bytes, changed: dict[str, str]) -> None:
        refused = _send_file(signed_in_as("fin"), data, **changed)

        assert (refused.status_code, 'data-code="form_incomplete"' in refused.text) == (422, True)

    def test_are_refused_beyond_the_size_limit_without_being_read(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("fin")

        told = client.post(
            "/finance/statements",
            content=b"x",
            headers={
                "content-type": "multipart/form-data; boundary=b",
                "content-length": str(UPLOAD_BYTES_MAX + 1),
            },
        )
        boundary = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        part = b"0" * (1 << 20)

        def parts() -> Any:
            yield boundary
            for _ in range(UPLOAD_BYTES_MAX // len(part) + 1):
                yield part

        untold = client.post(
            "/finance/statements", content=parts(), headers={"content-type": "multipart/form-data; boundary=b"}
        )

        assert (told.status_code, untold.status_code) == (413, 413)

    def test_page_back_through_the_days(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("fin")

        first = client.get("/finance/statements").text
        link = re.search(r'href="([^"]+)" rel="next"', first)
        assert link is not None

        assert "2026-11-21" in first
        assert "2026-11-07" in client.get(link[1]).text
        for bad in ("never", "9999-99-99"):
            assert client.get(f"/finance/statements?before={bad}").status_code == 422
        assert client.get("/finance/statements?before=0001-01-01").status_code == 200


class TestFiles:
    def test_hold_what_is_filtered_and_run_nothing(self, school: School, signed_in_as: SignedInAs) -> None:
        case = _case(school, "ws_1")
        _case(school, "alipay/1", kind="statement_only", evidence={"text": '=HYPERLINK("http://x")'})
        path = f"/finance/cases/{case.case_id}"
        client = signed_in_as("fin")
        post(client, path, path, note="=1+1, 已核实")

        answer = client.get("/finance/cases.csv?state=closed")
        everything = client.get("/finance/cases.csv")

        assert answer.content.startswith("\ufeff编号,类型".encode())
        assert answer.headers["content-disposition"] == 'attachment; filename="cases-2026-11-22.csv"'
        rows = list(csv.reader(io.StringIO(answer.text.lstrip("\ufeff"))))
        assert len(rows) == 2
        assert rows[1][1:6] == ["多扣了", "已关闭", "1.30", "1", "ws_1"]
        assert rows[1][9] == "'=1+1, 已核实"
        assert len(everything.text.splitlines()) == 3

    def test_of_refunds_are_complete_over_pages(
        self, school: School, signed_in_as: SignedInAs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.web.routes.finance._EXPORT_PAGE", 2)
        shower = school.shower("wang", "dev_o1", 9_000, "shower-0001")
        with school.db.write() as conn:
            for number in range(5):
                payments.request_refund(
                    conn, tenant_id="gxu", refund_id=f"rf_{number}", auth_id=shower.auth_id, amount_minor=1,
                    reason="staff", now=school.clock.now,
                )  # fmt: skip

        answer = signed_in_as("fin", "en").get("/finance/refunds.csv?state=done")

        rows = list(csv.reader(io.StringIO(answer.text.lstrip("\ufeff"))))
        assert rows[0][0] == "Number"
        assert sorted(row[0] for row in rows[1:]) == [f"rf_{number}" for number in range(5)]
        assert {tuple(row[3:8]) for row in rows[1:]} == {
            ("ch_wang", "Campus wallet", "0.01", "Given back", "By finance")
        }


class TestEveryPage:
    def test_is_the_same_on_every_database(self, database: Database, tmp_path: Path) -> None:
        school = open_school(database, tmp_path)
        office = furnish(school)
        client = TestClient(create_app(school.backend), headers={"accept-language": "en"})
        sent = {"form_token": form_token(client.get("/login").text), "tenant": "gxu", "login": "fin", "next": "/"}
        client.post("/login", data={**sent, "password": PASSWORD})

        answers = [client.get(path) for path in (*office.paths(), "/finance/cases.csv", "/finance/refunds.csv")]

        assert {answer.status_code for answer in answers} == {200}


class TestUploads:
    def test_are_not_read_for_whoever_may_not_bring_one(self, app: FastAPI) -> None:
        said: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("nobody asked who sends it")

        async def send(message: Message) -> None:
            said.append(message)

        headers = [(b"content-type", b"multipart/form-data; boundary=b"), (b"transfer-encoding", b"chunked")]
        scope = {
            "type": "http", "method": "POST", "path": "/finance/statements", "raw_path": b"/finance/statements",
            "query_string": b"", "headers": headers, "scheme": "http", "server": ("testserver", 80), "root_path": "",
            "http_version": "1.1", "client": ("127.0.0.1", 1),
        }  # fmt: skip
        asyncio.run(app(scope, receive, send))

        assert said[0]["status"] == 303
        assert (b"location", b"/login?next=/") in said[0]["headers"]

    def test_elsewhere_are_no_larger_than_any_form(self, signed_in_as: SignedInAs) -> None:
        client = signed_in_as("fin")

        answer = client.post("/finance/entries", files={"file": ("a", b"0" * 1_100_000, "text/csv")})

        assert answer.status_code == 413


class TestFacts:
    def test_leave_out_nothing(self) -> None:
        found = facts("dispute", {"reason": "too_cold", "brand_new": "x", "answer": None}, "en")

        assert [(each.name, each.text) for each in found] == [
            ("Reason", "The water was cold"),
            ("brand new", "x"),
            ("Answer", "–"),
        ]


class TestAccountChoices:
    def test_are_accounts_of_the_chart(self) -> None:
        assert {"cash", "water_revenue", "cardholder_wallet/*", "voucher_fund/school"} <= set(account_choices())
