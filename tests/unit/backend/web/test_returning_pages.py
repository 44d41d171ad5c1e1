"""What a provider would not give back: the student sees it on its way, finance has the provider asked again."""

import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from backend.payments import cases
from backend.payments import service as payments
from backend.payments.cases import Case
from backend.payments.port import Declined
from tests.fakes.web_site import PASSWORD, School
from tests.unit.backend.web.conftest import SignedInAs, form_token

CODE = "134524350966727175"


@pytest.fixture
def case(school: School) -> Case:
    """Return the case of wang's deposit whose rest WeChat will not give back."""
    ctx, wechat = school.backend.context, school.providers["wechat"]
    shower = school.shower("wang", "dev_o2", 9_000, "shower-0001")
    with school.db.write() as conn:
        payments.open_authorization(
            conn,
            tenant_id="gxu",
            auth_id="auth_deposit",
            water_session_id=shower.water_session_id,
            cardholder_id=school.person("wang").cardholder_id,
            method="wechat",
            amount_minor=300,
            expires_at=school.clock.now + timedelta(days=1),
            now=school.clock.now,
        )
    payments.perform(ctx.db, ctx.providers, "gxu", "auth_deposit", clock=ctx.clock, payer_code=CODE)
    with school.db.write() as conn:
        payments.capture(
            conn, tenant_id="gxu", auth_id="auth_deposit", capture_id="cap_d", amount_minor=120, now=school.clock.now
        )
    refund = wechat.refund
    wechat.refund = lambda *_: Declined("do_not_honor")  # type: ignore[method-assign]
    _resolve(school)
    wechat.refund = refund  # type: ignore[method-assign]
    with school.db.read() as conn:
        found = cases.case_of(conn, "gxu", "refund_refused", "cap_d.rest")
    assert found is not None
    return found


def _resolve(school: School) -> None:
    ctx = school.backend.context
    payments.resolve_due(ctx.db, ctx.providers, clock=ctx.clock, limit=20)


def _ask(client: TestClient, case: Case) -> Any:
    page = client.get("/finance/cases")
    token = form_token(page.text if page.status_code == 200 else client.get("/me").text)
    path = f"/finance/cases/{case.case_id}/ask-again"
    return client.post(path, data={"form_token": token}, follow_redirects=False)


class TestWallet:
    @pytest.mark.parametrize(
        ("language", "title", "refused", "requested"),
        [
            ("zh", "正在退回给您", "渠道未退，财务正在处理", "退回中"),
            ("en", "On its way back to you", "finance sees to it", "on its way back"),
        ],
    )
    def test_shows_what_comes_back_until_it_is_there(
        self,
        school: School,
        signed_in_as: SignedInAs,
        case: Case,
        language: str,
        title: str,
        refused: str,
        requested: str,
    ) -> None:
        wang, zhao = signed_in_as("wang", language), signed_in_as("zhao", language)

        page = wang.get("/wallet").text
        assert title in page
        assert refused in page
        assert "¥1.80" in page
        assert title not in zhao.get("/wallet").text
        _ask(signed_in_as("fin"), case)
        assert requested in wang.get("/wallet").text
        _resolve(school)
        assert title not in wang.get("/wallet").text


class TestAskAgain:
    @pytest.mark.parametrize("login", ["fin", "approver"])
    def test_has_the_provider_give_it_back_and_the_case_closes(
        self, school: School, signed_in_as: SignedInAs, case: Case, login: str
    ) -> None:
        client = signed_in_as(login, "en")
        path = f"/finance/cases/{case.case_id}"
        assert "Ask the provider again" in client.get(path).text

        assert _ask(client, case).headers["location"] == path
        waiting = client.get(path).text
        assert f'action="{path}/ask-again"' not in waiting
        assert school.person(login).cardholder_id in waiting
        _resolve(school)

        closed = client.get(path).text
        assert "CampusTap, by itself" in closed
        assert "The provider has done it after all" in closed
        assert re.search("系统自动关闭.*渠道后来办成了", signed_in_as(login).get(path).text, re.DOTALL)

    def test_is_refused_on_the_page_when_there_is_nothing_to_ask(self, signed_in_as: SignedInAs, case: Case) -> None:
        client = signed_in_as("fin", "en")
        _ask(client, case)

        again = _ask(client, case)

        assert again.status_code == 409
        assert "nothing left in this case" in again.text

    @pytest.mark.parametrize(("login", "status"), [("admin", 403), ("wang", 403), ("fac", 403)])
    def test_is_for_finance_and_approvers(self, signed_in_as: SignedInAs, case: Case, login: str, status: int) -> None:
        assert _ask(signed_in_as(login), case).status_code == status

    def test_is_there_in_the_api_too(self, app: FastAPI, school: School, case: Case) -> None:
        client = TestClient(app, raise_server_exceptions=False)

        def headers(login: str) -> dict[str, str]:
            body = {"tenant_id": "gxu", "login": login, "password": PASSWORD}
            return {"authorization": f"Bearer {client.post('/api/v1/sign-in', json=body).json()['token']}"}

        (owed,) = client.get("/api/v1/me/returning", headers=headers("wang")).json()
        assert (owed["amount_minor"], owed["state"], owed["method"]) == (180, "refused", "wechat")
        path = f"/api/v1/money/cases/{case.case_id}/ask-again"
        assert client.post(path, headers=headers("wang")).status_code == 403
        assert client.post(path, headers=headers("fin")).json()["status"] == "pending"
        assert client.post(path, headers=headers("fin")).json()["code"] == "case_not_askable"
        _resolve(school)
        assert client.get("/api/v1/me/returning", headers=headers("wang")).json() == []
