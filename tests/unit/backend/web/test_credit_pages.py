"""Credit, proofs and late postings on the pages: proposed by one, agreed to by another, read by whom they concern."""

import re
from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from httpx import Response
from sqlalchemy import update
from starlette.testclient import TestClient

from backend.kit.clock import epoch_ms
from backend.ledger.models import accounts
from backend.outbox import service as outbox
from backend.payments import leaver, proving
from backend.payments import service as payments
from backend.reconciliation import service as reconciliation
from backend.settlement import service as settlement
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import StartRequest
from gateway.contract.events import StopReason, WaterSessionEnded
from tests.fakes.web_site import K_FACTOR, School
from tests.unit.backend.web.conftest import SignedInAs, form_token

WHY = "交换生，学费到账前用水"


def text(answer: Response) -> str:
    """Return what a page says in its main part."""
    assert answer.status_code == 200, answer.text
    main = BeautifulSoup(answer.text, "html.parser").select_one(".page") or BeautifulSoup(answer.text, "html.parser")
    return re.sub(r"\s+", " ", main.get_text(" ", strip=True))


def propose(client: TestClient, **changed: str) -> Response:
    """Fill in the form of a credit for wang and send it."""
    page = client.get("/finance/entries/new?kind=credit_limit").text
    found = re.search(r'name="request_id" value="([^"]+)"', page)
    assert found
    fields = {
        "kind": "credit_limit",
        "request_id": found[1],
        "person": "wang",
        "amount": "60",
        "reason": WHY,
        **changed,
    }
    answer: Response = client.post(
        "/finance/entries", data={"form_token": form_token(page), **fields}, follow_redirects=False
    )
    return answer


def decide(client: TestClient, path: str, do: str = "approve") -> Response:
    """Send the form of an entry's page."""
    token = form_token(client.get(path).text)
    answer: Response = client.post(path, data={"form_token": token, "do": do}, follow_redirects=False)
    return answer


def agree(signed_in_as: SignedInAs, **changed: str) -> str:
    """Propose a credit, approve it, and return the address of its entry."""
    made = propose(signed_in_as("fin"), **changed)
    assert made.status_code == 303, made.text
    assert decide(signed_in_as("approver"), made.headers["location"]).status_code == 303
    return made.headers["location"]


def owe(school: School, amount_minor: int) -> None:
    """Have wang spend everything and so much more."""
    has = sum(each.posted_minor for each in _purses(school))
    with school.db.write() as conn:
        wanted: dict[str, Any] = {"tenant_id": "gxu", "auth_id": "auth_owed", "now": school.clock.now}
        payments.open_authorization(
            conn,
            **wanted,
            water_session_id="ws_owed",
            cardholder_id=school.person("wang").cardholder_id,
            method="wallet",
            amount_minor=has + amount_minor,
            expires_at=school.clock.now + timedelta(hours=1),
        )
        payments.capture(conn, **wanted, capture_id="cap_owed", amount_minor=has + amount_minor)


def _purses(school: School) -> list[payments.Purse]:
    with school.db.read() as conn:
        return payments.purses(conn, "gxu", school.person("wang").cardholder_id)


class TestCredit:
    @pytest.mark.parametrize(
        ("language", "entry_says", "in_force", "wallet_says"),
        [
            ("zh", "有效期至", "额度已生效", ("欠款 ¥12.00", "剩余额度 ¥48.00，共 ¥60.00")),
            ("en", "In force until", "The credit is in force.", ("You owe ¥12.00", "Credit left: ¥48.00 of ¥60.00")),
        ],
    )
    def test_is_agreed_to_by_a_second_person_and_shown_in_the_wallet(
        self,
        school: School,
        signed_in_as: SignedInAs,
        language: str,
        entry_says: str,
        in_force: str,
        wallet_says: tuple[str, str],
    ) -> None:
        until = (school.clock.now + timedelta(days=30)).date().isoformat()
        made = propose(signed_in_as("fin"), until=until)
        assert made.status_code == 303, made.text
        path = made.headers["location"]
        assert not BeautifulSoup(signed_in_as("wang").get("/wallet").text, "html.parser").select("#credit")
        assert "button[value=approve]" not in signed_in_as("fin").get(path).text
        approver = signed_in_as("approver", language)
        assert entry_says in text(approver.get(path))

        assert decide(approver, path).status_code == 303
        owe(school, 1_200)

        assert in_force in text(approver.get(path))
        shown = BeautifulSoup(signed_in_as("wang", language).get("/wallet").text, "html.parser").select_one("#credit")
        assert shown is not None
        said = re.sub(r"\s+", " ", shown.get_text(" ", strip=True))
        assert all(each in said for each in wallet_says), said

    def test_of_zero_takes_it_away(self, school: School, signed_in_as: SignedInAs) -> None:
        first = agree(signed_in_as)
        agree(signed_in_as, amount="0.00")

        assert "已终止" in text(signed_in_as("fin").get(first))
        assert not BeautifulSoup(signed_in_as("wang").get("/wallet").text, "html.parser").select("#credit")

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"until": "2020-01-01"}, "额度的截止日期须在今天之后"),
            ({"until": "soon"}, "没有填完整"),
            ({"until": "9999-12-31"}, "没有填完整"),
            ({"amount": "500.01"}, "金额"),
            ({"amount": "-1"}, "没有填完整"),
            ({"person": "nobody"}, "找不到这个人"),
            ({"person": "fin"}, "不能经手自己的钱"),
        ],
    )
    def test_is_refused_in_words_and_keeps_what_was_typed(
        self, signed_in_as: SignedInAs, changed: dict[str, str], said: str
    ) -> None:
        answer = propose(signed_in_as("fin"), **changed)

        soup = BeautifulSoup(answer.text, "html.parser")
        alert = soup.select_one("[role=alert]")
        assert answer.status_code in (400, 403, 404, 422)
        assert alert is not None
        assert said in alert.get_text(" ", strip=True)
        assert WHY in soup.text

    def test_below_what_is_owed_is_refused_where_it_is_decided(self, school: School, signed_in_as: SignedInAs) -> None:
        agree(signed_in_as)
        owe(school, 1_200)
        lower = propose(signed_in_as("fin"), amount="11.99").headers["location"]

        refused = decide(signed_in_as("approver", "en"), lower)

        assert refused.status_code == 409
        assert "already owes more than this limit" in refused.text

    def test_of_a_leaver_stays_on_the_list_until_it_is_paid(self, school: School, signed_in_as: SignedInAs) -> None:
        agree(signed_in_as)
        owe(school, 1_200)
        leaving = text(signed_in_as("wang", "en").get("/leave"))
        assert "You owe; this is paid first ¥12.00" in leaving
        assert "You would still owe ¥12.00" in leaving
        with school.db.write() as conn:
            payout = leaver.payout(
                conn,
                tenant_id="gxu",
                payout_id="po_0001",
                cardholder_id=school.person("wang").cardholder_id,
                channel="cash",
                destination="",
                reason=WHY,
                proposed_by=school.person("fin").cardholder_id,
                now=school.clock.now,
            )
        assert (payout.state, payout.owed_minor) == ("owes", 1_200)

        fin = signed_in_as("fin", "en")
        owing = BeautifulSoup(fin.get("/finance/entries").text, "html.parser").select_one("#owing")
        assert owing is not None
        assert "¥12.00" in owing.text
        path = propose(fin, kind="cash_top_up", amount="12").headers["location"]
        decide(signed_in_as("approver"), path)

        assert not BeautifulSoup(fin.get("/finance/entries").text, "html.parser").select("#owing")


class TestProof:
    @pytest.mark.parametrize(
        ("language", "before", "proven", "differs"),
        [
            ("zh", "尚未核对", "至流水", "个账户不平"),
            ("en", "not counted again yet", "to no.", "accounts do not add up"),
        ],
    )
    def test_says_how_far_the_books_add_up(
        self, school: School, signed_in_as: SignedInAs, language: str, before: str, proven: str, differs: str
    ) -> None:
        client = signed_in_as("fin", language)

        def tile() -> str:
            found = BeautifulSoup(client.get("/finance").text, "html.parser").select_one("#proof")
            assert found is not None
            return found.get_text(" ", strip=True)

        assert before in tile()
        with school.db.write() as conn:
            proving.prove(conn, "gxu", school.clock.now)
        assert proven in tile()
        with school.db.write() as conn:
            conn.execute(update(accounts).where(accounts.c.kind == "opening_equity").values(debits_posted=1))
            proving.prove(conn, "gxu", school.clock.now)
        assert differs in tile()
        cases = client.get("/finance/cases").text
        (case_id,) = set(re.findall(r"/finance/cases/(case_\w+)", cases))
        assert client.get(f"/finance/cases/{case_id}").status_code == 200


class TestLate:
    @pytest.mark.parametrize(("language", "words"), [("zh", "补记"), ("en", "Recorded after the run before")])
    def test_postings_stand_on_the_run_that_saw_them_first(
        self, school: School, signed_in_as: SignedInAs, language: str, words: str
    ) -> None:
        wang = school.person("wang").cardholder_id
        started = water_sessions.request_start(
            school.backend.context, StartRequest("gxu", "late-shower", "dev_o1", wang, "wallet")
        )
        school.open_valve(started)
        event = WaterSessionEnded(
            event_id="ev_late",
            at_ms=epoch_ms(school.clock.now + timedelta(minutes=4)),
            device="dev_o1",
            water_session_id=started.water_session_id,
            stop_reason=StopReason.USER,
            opening_pulses=school.registers.get("dev_o1", 0),
            closing_pulses=school.registers.get("dev_o1", 0) + 9_000,
            k_factor_pulses_per_m3=K_FACTOR,
            temperature_decidegc=441,
            duration_s=240,
            device_log_sequence=1,
        )
        school.clock.now += timedelta(hours=10)
        with school.db.write() as conn:
            reconciliation.run(conn, "gxu", school.clock.now)
        school.clock.now += timedelta(hours=1)
        with school.db.write() as conn:
            outbox.take_turn(conn, "gxu")
            settlement.on_ended(conn, school.backend.context, "gxu", event, school.clock.now)
        school.clock.now += timedelta(hours=1)
        with school.db.write() as conn:
            second = reconciliation.run(conn, "gxu", school.clock.now)

        page = text(signed_in_as("fin", language).get(f"/admin/reconciliation?run={second.run_id}"))

        assert words in page
        assert started.water_session_id in page
