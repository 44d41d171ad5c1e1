"""
Money on its way through real processes while everything that can go wrong does, as the provider is told to misbehave.

After each journey the sums are even, no clearing is open, nobody's money was taken twice, and what the provider has on
its books is what ours say it owes us.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backend.cardholders import service as cardholders
from backend.payments import people_repository, providers, queue_repository
from backend.reconciliation import service as reconciliation
from backend.statements import service as statements
from firmware_sim.demo import passwords
from firmware_sim.payment_codes import payment_code
from firmware_sim.plan import TENANT_ID
from tests.e2e.journeys.books import Books, Phone, books_of, now, request_id
from tests.e2e.journeys.conftest import run_school
from tests.e2e.journeys.school import School, eventually
from tests.e2e.pages_conftest import Address, browser, visit

#: The first journey also waits for the school to open and for a call that is never answered.
pytestmark = pytest.mark.timeout(300)
#: Where every brand is taken, and where UnionPay alone is.
_OPEN, _EXCLUSIVE = "dev_b2_101", "dev_b1_101"
_TOP_UP_MINOR = 2_000
#: Longer than the backend waits for an answer.
_SILENCE_S = 8
#: After this long nobody asks any more, and its file is still fetched.
_DAYS_AGO = timedelta(days=3)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    """Yield a running school of this module's own: its provider is told to misbehave."""
    yield from run_school(tmp_path_factory.mktemp("school"))


@pytest.fixture(scope="module")
def _books(school: School) -> Iterator[Books]:
    with books_of(school) as books:
        yield books


@pytest.fixture
def books(_books: Books) -> Iterator[Books]:
    """Yield the books of both sides, which agree afterwards."""
    yield _books
    _books.agree()


@pytest.fixture
def phone(school: School) -> Iterator[tuple[Phone, str]]:
    """Yield a browser of a student whom nobody has used yet, and their login."""
    login = school.fresh()
    browser = Phone(school, login)
    yield browser, login
    browser.close()


@pytest.fixture(scope="module")
def lost_top_up(school: School, _books: Books) -> tuple[str, str, int]:
    """Return a top-up that died with the provider on its way there, its owner's login, and what they had before."""
    login = school.fresh()
    before = school.wallet(login)["available_minor"]
    browser = Phone(school, login)
    _books.script("charge", "delay", seconds=_SILENCE_S)
    made: list[str] = []
    asking = threading.Thread(target=lambda: made.append(browser.top_up("alipay", _TOP_UP_MINOR)))
    asking.start()
    eventually("the charge is under way", lambda: _books.in_flight() == 1)
    _books.kill_provider()
    asking.join()
    browser.close()
    _books.restart_provider()
    return made[0], login, before


@pytest.fixture(scope="module", autouse=True)
def _begin_with_the_longest(lost_top_up: tuple[str, str, int]) -> None:
    """Begin first what is given up only after three quarters of a minute."""


def _started(school: School, login: str, method: str, *, device_id: str = _OPEN, payer_code: str = "") -> str:
    """Return the id of a session paid from outside whose water has run for a moment."""
    body = {"device_id": device_id, "method": method, "request_id": request_id(), "payer_code": payer_code}
    answer = school.ask("POST", "/water-sessions", login, **body)
    assert answer.is_success, answer.text
    session_id = str(answer.json()["water_session_id"])
    school.reaches(login, session_id, {"flowing"})
    eventually("water", lambda: school.device(device_id)["sess_pulses"] > 150)
    return session_id


def _bill(school: School, login: str, session_id: str) -> dict[str, Any]:
    school.stop(login, session_id)
    return school.settled(login, session_id)


def _wallet_is(school: School, login: str, minor: int) -> bool:
    wallet = school.wallet(login)
    return wallet["available_minor"] == wallet["posted_minor"] == minor


def _in_the_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class TestDeposit:
    def test_by_wechat_code_gives_back_the_rest(self, school: School, books: Books) -> None:
        login = school.fresh()
        before = school.wallet(login)

        session_id = _started(school, login, "wechat", payer_code=payment_code("wechat"))
        bill = _bill(school, login, session_id)

        deposit, charge = bill["hold_minor"], bill["charge_minor"]
        assert bill["method"] == "wechat"
        assert 0 < charge == bill["captured_minor"] < deposit
        eventually("the rest is given back", lambda: books.order(bill["auth_id"])["refunded_minor"])
        order = books.order(bill["auth_id"])
        assert (order["amount_minor"], order["refunded_minor"]) == (deposit, deposit - charge)
        assert order["times_taken"] == 1
        assert school.wallet(login) == before

    def test_by_a_code_typed_into_the_outlets_page(self, school: School, books: Books) -> None:
        login = school.fresh()
        address = Address(school.stack.base_url)
        with (
            browser() as opened,
            visit(opened, address, login=login, password=passwords(school.stack.demo)[login], language="en") as page,
        ):
            page.goto(str(school.stack.demo["stickers"][_OPEN]))
            page.locator("input[name=presence]").check()
            page.locator("input[name=method][value=wechat]").check(force=True)
            page.locator("input[name=payer_code]").fill(payment_code("wechat"))
            page.locator("form#start button").click()
            page.wait_for_url("**/w/*?s=ws_*")
            session = eventually("a session", lambda: school.live(login))
            assert session is not None
            session_id = str(session["water_session_id"])
            school.reaches(login, session_id, {"flowing"})
        eventually("water", lambda: school.device(_OPEN)["sess_pulses"] > 150)
        bill = _bill(school, login, session_id)

        assert bill["method"] == "wechat"
        eventually("the rest is given back", lambda: books.order(bill["auth_id"])["refunded_minor"])
        eventually("known here", lambda: school.get("/me/returning", login) == [])

    def test_whose_rest_is_refused_is_asked_for_again_from_its_case(self, school: School, books: Books) -> None:
        login = school.fresh()
        session_id = _started(school, login, "wechat", payer_code=payment_code("wechat"))
        books.script("refund", "decline")
        bill = _bill(school, login, session_id)
        rest = f"cap_{session_id.removeprefix('ws_')}.rest"
        case = books.case("refund_refused", rest)
        assert [each["state"] for each in school.get("/me/returning", login)] == ["refused"]
        assert books.order(bill["auth_id"])["refunded_minor"] == 0

        asked = school.ask("POST", f"/money/cases/{case['case_id']}/ask-again", "finance")

        assert asked.is_success, asked.text
        given_minor = bill["hold_minor"] - bill["charge_minor"]
        eventually("given back", lambda: books.order(bill["auth_id"])["refunded_minor"] == given_minor)
        eventually("closed", lambda: books.case("refund_refused", rest)["state"] == "closed")
        assert school.get("/me/returning", login) == []

    def test_without_a_code_is_declined_and_nothing_is_asked(self, school: School, books: Books) -> None:
        count = len(books.orders())

        answer = school.start(school.fresh(), _OPEN, method="wechat")

        assert answer.status_code == 402, answer.text
        assert answer.json()["code"] == "payment_declined"
        assert len(books.orders()) == count


class TestHold:
    def test_whose_answer_is_lost_is_found_by_asking(
        self, school: School, books: Books, phone: tuple[Phone, str]
    ) -> None:
        browser, login = phone
        books.script("authorize", "timeout_after", seconds=_SILENCE_S)
        books.script("authorize", "notify_none")
        asking = _in_the_background(lambda: school.start(login, _EXCLUSIVE, method="unionpay"))
        eventually("a session", lambda: school.live(login))
        session = school.live(login) or {}
        session_id = str(session["water_session_id"])
        assert session["state"] == "requested"
        sticker = str(school.stack.demo["stickers"][_EXCLUSIVE]).removeprefix(school.stack.base_url)
        assert "The payment is being confirmed. You are never charged twice." in browser.page(sticker)
        assert not school.valve_open(_EXCLUSIVE)

        school.reaches(login, session_id, {"flowing"})
        asking.join()
        eventually("water", lambda: school.device(_EXCLUSIVE)["sess_pulses"] > 150)
        bill = _bill(school, login, session_id)

        assert 0 < bill["captured_minor"] == bill["charge_minor"]
        eventually("captured there", lambda: books.order(bill["auth_id"])["captured_minor"] == bill["captured_minor"])
        assert books.order(bill["auth_id"])["times_taken"] == 1

    @pytest.mark.parametrize(("method", "behaviour"), [("unionpay", "waiting"), ("alipay", "success_after_cancel")])
    def test_that_comes_after_it_was_canceled_is_given_back_and_a_case(
        self, school: School, books: Books, method: str, behaviour: str
    ) -> None:
        """The payer confirms when nobody counts on it any more: before the cancel reaches the provider, and after."""
        login = school.fresh()
        books.script("authorize", behaviour, seconds=2)
        answer = school.start(login, _OPEN, method=method)
        assert answer.json()["state"] == "requested", answer.text
        session_id, auth_id = answer.json()["water_session_id"], answer.json()["auth_id"]

        school.stop(login, session_id)

        school.reaches(login, session_id, {"voided"})
        assert books.case("late_success", auth_id)["amount_minor"] == answer.json()["hold_minor"]
        eventually("undone there", lambda: _is_undone(books.order(auth_id)))
        assert not school.valve_open(_OPEN)


def _is_undone(order: dict[str, Any]) -> bool:
    return bool(order["times_taken"] == 1 and order["status"] == "voided" and not order["captured_minor"])


class TestCapture:
    def test_whose_answer_is_lost_happens_once(self, school: School, books: Books) -> None:
        login = school.fresh()
        session_id = _started(school, login, "unionpay")
        books.script("capture", "timeout_after", seconds=_SILENCE_S)
        books.script("capture", "notify_none")

        bill = _bill(school, login, session_id)

        eventually("told", lambda: _captured(books, bill))

    def test_waits_for_a_provider_that_is_down_and_the_bill_does_not(self, school: School, books: Books) -> None:
        login = school.fresh()
        session_id = _started(school, login, "alipay")
        books.kill_provider()

        school.stop(login, session_id)
        bill = school.settled(login, session_id)

        assert bill["captured_minor"] == bill["charge_minor"] > 0
        eventually("tried", lambda: any(each["attempts"] for each in _unsettled(school)))
        books.restart_provider()
        eventually("told at last", lambda: _captured(books, bill))


def _unsettled(school: School) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = school.get("/money/unknowns", "finance")
    return [each for each in found if each["kind"] == "capture"]


def _captured(books: Books, bill: dict[str, Any]) -> bool:
    """Return whether the provider has taken what the bill says, and we know it."""
    order = books.order(bill["auth_id"])
    is_known = not any(each["order_id"] == bill["auth_id"] for each in _unsettled(books.school))
    return bool(order["captured_minor"] == bill["captured_minor"] and is_known)


class TestTopUp:
    def test_taken_by_a_provider_that_dies_before_it_answers(
        self, school: School, books: Books, phone: tuple[Phone, str]
    ) -> None:
        browser, login = phone
        before = school.wallet(login)["available_minor"]
        books.script("charge", "timeout_after", seconds=_SILENCE_S)
        books.script("charge", "notify_none")
        made: list[str] = []
        asking = _in_the_background(lambda: made.append(browser.top_up("unionpay", _TOP_UP_MINOR)))
        eventually("the charge is taken", lambda: any(_is_new_charge(books, order) for order in books.orders()))

        books.kill_provider()
        asking.join()

        assert "Not confirmed yet." in browser.page(f"/wallet/top-ups/{made[0]}")
        assert _wallet_is(school, login, before)
        books.restart_provider()
        eventually("credited", lambda: _wallet_is(school, login, before + _TOP_UP_MINOR))
        assert "Topped up." in browser.page(f"/wallet/top-ups/{made[0]}")

    def test_is_settled_once_though_the_worker_dies_while_it_asks(
        self, school: School, books: Books, phone: tuple[Phone, str]
    ) -> None:
        browser, login = phone
        before = school.wallet(login)["available_minor"]
        books.script("charge", "timeout_after", seconds=6)
        books.script("charge", "notify_none")
        top_up_id = browser.top_up("alipay", _TOP_UP_MINOR)
        books.script("query", "delay", match=top_up_id, seconds=3)
        eventually("the worker asks", lambda: _attempts(books, top_up_id) > 0 and books.in_flight() == 1)

        school.stack.parts["worker"].kill()
        assert _wallet_is(school, login, before)
        school.restart("worker")

        eventually("credited", lambda: _wallet_is(school, login, before + _TOP_UP_MINOR))
        assert books.order(top_up_id)["times_taken"] == 1

    def test_is_not_moved_by_forged_changed_or_repeated_messages(
        self, school: School, books: Books, phone: tuple[Phone, str]
    ) -> None:
        browser, login = phone
        top_up_id = browser.top_up("alipay", _TOP_UP_MINOR)
        held = school.wallet(login)
        sums = school.get("/ledger/sums", "finance")

        assert [each["acknowledged"] for each in books.notify(top_up_id, "forged")] == [False]
        assert [each["acknowledged"] for each in books.notify(top_up_id, "other_merchant")] == [False]
        assert [each["acknowledged"] for each in books.notify(top_up_id, "changed_amount")] == [True]
        for _ in range(2):
            assert all(each["acknowledged"] for each in books.notify(top_up_id, "again"))

        assert school.wallet(login) == held
        assert school.get("/ledger/sums", "finance") == sums
        assert books.case("notification_forged", f"alipay/{now().date().isoformat()}")["times_seen"] >= 2
        assert books.case("amount_differs", top_up_id)["amount_minor"] > 0

    def test_that_nobody_answers_is_settled_by_the_daily_statement(
        self, school: School, books: Books, phone: tuple[Phone, str], tmp_path: Path
    ) -> None:
        browser, login = phone
        before = school.wallet(login)["available_minor"]
        school.stack.parts["worker"].kill()
        books.script("charge", "timeout_after", seconds=6)
        books.script("charge", "notify_none")
        top_up_id = browser.top_up("unionpay", _TOP_UP_MINOR)
        assert "Not confirmed yet." in browser.page(f"/wallet/top-ups/{top_up_id}")
        file, day = _statement(school, books, tmp_path)
        books.kill_provider()

        assert "is not over yet" in _refused_import(school, file, day)
        with books.db.write() as conn:
            imported = statements.import_file(
                conn,
                tenant_id=TENANT_ID,
                method="unionpay",
                day=day,
                name=file.name,
                data=file.read_bytes(),
                now=now() + timedelta(days=1),
            )
        assert imported.is_new
        school.restart("worker")

        eventually("credited by the statement", lambda: _wallet_is(school, login, before + _TOP_UP_MINOR))
        assert books.operation(top_up_id).answered_by == "statement"  # type: ignore[union-attr]
        books.restart_provider()

    def test_that_nobody_answered_for_days_is_settled_by_a_file_the_worker_fetches(
        self, school: School, books: Books, phone: tuple[Phone, str]
    ) -> None:
        """What was sent three days ago is not asked about any more; the file of that day is at the provider."""
        browser, login = phone
        before = school.wallet(login)["available_minor"]
        school.stack.parts["worker"].kill()
        books.move_provider_to(now() - _DAYS_AGO)
        books.script("charge", "timeout_after", seconds=6)
        books.script("charge", "notify_none")
        top_up_id = browser.top_up("unionpay", _TOP_UP_MINOR)
        books.move_provider_to(now())
        assert _wallet_is(school, login, before)
        sent_at = now() - _DAYS_AGO
        long_ago = {"created_at": sent_at, "sent_at": sent_at, "asked_at": sent_at, "attempts": 9}
        with books.db.write() as conn:
            queue_repository.change(conn, TENANT_ID, top_up_id, next_at=sent_at, **long_ago)
        school.restart("worker")

        eventually("credited by the file", lambda: _wallet_is(school, login, before + _TOP_UP_MINOR))
        assert books.operation(top_up_id).answered_by == "statement"  # type: ignore[union-attr]
        day = sent_at.astimezone(ZoneInfo("Asia/Shanghai")).date()
        with books.db.read() as conn:
            assert day in statements.days(conn, TENANT_ID, "unionpay")
        with books.db.write() as conn:
            about = {each.subject for each in reconciliation.run(conn, TENANT_ID, now()).breaks}
        assert top_up_id not in about
        assert not {each for each in about if each.startswith(("ledger", "payment", "cardholder"))}

    def test_lost_on_its_way_is_declined_and_nobody_paid(
        self, school: School, books: Books, lost_top_up: tuple[str, str, int]
    ) -> None:
        """Comes last: until now the request could still have been under way."""
        top_up_id, login, before = lost_top_up
        browser = Phone(school, login)

        eventually(
            "declined", lambda: "The payment was declined" in browser.page(f"/wallet/top-ups/{top_up_id}"), within_s=60
        )

        browser.close()
        assert _wallet_is(school, login, before)
        assert books.order(top_up_id).get("times_taken", 0) == 0


def _is_new_charge(books: Books, order: dict[str, Any]) -> bool:
    return bool(order["kind"] == "charge" and order["brand"] == "unionpay" and order["status"] == "charged") and (
        order["amount_minor"] == _TOP_UP_MINOR and books.in_flight() == 1
    )


def _attempts(books: Books, operation_id: str) -> int:
    found = books.operation(operation_id)
    return found.attempts if found is not None else 0


def _statement(school: School, books: Books, folder: Path) -> tuple[Path, date]:
    """Return today's file as UnionPay gives it tomorrow, and its day."""
    stack, today = school.stack, now()
    day = today.astimezone(ZoneInfo("Asia/Shanghai")).date()
    later = today + timedelta(days=1)
    adapters = providers.build(
        f"http://127.0.0.1:{stack.provider_port}",
        stack.folder / "secrets",
        public_url=stack.base_url,
        clock=lambda: later,
    )
    books.move_provider_to(later)
    file = adapters["unionpay"].statement(TENANT_ID, day)
    books.move_provider_to(now())
    assert file is not None
    path = folder / file[0]
    path.write_bytes(file[1])
    return path, day


def _refused_import(school: School, file: Path, day: date) -> str:
    """Return what an operator is told who imports a statement."""
    program = str(Path(sys.executable).parent / "campustap")
    done = subprocess.run(
        [
            *(program, "statement", "import", "unionpay", str(file)),
            *("--tenant", TENANT_ID, "--day", day.isoformat(), "--by", "finance"),
        ],
        env=school.stack.parts["worker"].environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


class TestDispute:
    def test_upheld_by_finance_and_approved_by_another_is_refunded_at_the_brand(
        self, school: School, books: Books
    ) -> None:
        login = school.fresh()
        bill = _bill(school, login, _started(school, login, "alipay"))
        eventually("captured there", lambda: _captured(books, bill))
        session_id, upheld = bill["water_session_id"], bill["captured_minor"]
        body = {"request_id": request_id(), "water_session_id": session_id, "reason": "too_cold", "text": "cold water"}
        opened = school.ask("POST", "/me/disputes", login, **body)
        assert opened.status_code == 201, opened.text
        assert school.session(login, session_id)["state"] == "disputed"

        decision = {"request_id": request_id(), "upheld_minor": upheld, "answer": "The heater had failed that evening."}
        dispute_id = opened.json()["dispute_id"]
        decided = school.ask("POST", f"/money/disputes/{dispute_id}/decide", "finance", **decision)
        assert decided.is_success, decided.text
        entry = f"/money/entries/en_{decision['request_id']}/approve"
        assert school.ask("POST", entry, "finance").status_code == 403
        assert books.order(bill["auth_id"])["refunded_minor"] == 0
        approved = school.ask("POST", entry, "approver")
        assert approved.is_success, approved.text

        eventually("refunded there", lambda: books.order(bill["auth_id"])["refunded_minor"] == upheld)
        eventually("known here", lambda: [each["state"] for each in school.get("/me/refunds", login)] == ["done"])
        assert [each["state"] for each in school.get("/me/disputes", login)["items"]] == ["refunded"]
        assert school.session(login, session_id)["state"] == "settled"


class TestProposal:
    def test_that_nobody_decides_expires_and_moves_no_money(self, school: School, books: Books) -> None:
        login = school.fresh()
        before = school.wallet(login)
        with books.db.read() as conn:
            person = cardholders.cardholder_by_login(conn, TENANT_ID, login)
        body = {
            "request_id": request_id(),
            "kind": "cash_top_up",
            "cardholder_id": person.cardholder_id,
            "amount_minor": _TOP_UP_MINOR,
            "reason": "The counter's receipt number 17.",
        }
        made = school.ask("POST", "/money/entries", "finance", **body)
        assert made.status_code == 201, made.text
        entry_id = str(made.json()["entry_id"])
        with books.db.write() as conn:
            people_repository.change(
                conn, people_repository.staff_entries, TENANT_ID, entry_id, expires_at=now() - timedelta(seconds=1)
            )

        refused = school.ask("POST", f"/money/entries/{entry_id}/approve", "approver")

        assert (refused.status_code, refused.json()["code"]) == (409, "entry_not_open")

        def marked() -> bool:
            with books.db.read() as conn:
                row = people_repository.find(conn, people_repository.staff_entries, TENANT_ID, entry_id)
            return row is not None and row["state"] == "expired"

        eventually("the worker marks it", marked)
        assert school.wallet(login) == before


class TestLeaver:
    def test_is_paid_out_to_the_fen(self, school: School, books: Books) -> None:
        login = school.fresh()
        session_id = school.started(login, _OPEN)
        bill = _bill(school, login, session_id)
        purses = school.get("/me/purses", login)["purses"]
        own = sum(purse["own_minor"] for purse in purses)
        assert own == school.wallet(login)["available_minor"] > 0
        paid_before = books.balance("cash")
        body = {
            "request_id": request_id(),
            "cardholder_id": bill["cardholder_id"],
            "channel": "cash",
            "reason": "Graduated and leaves the school.",
        }

        made = school.ask("POST", "/money/payouts", "finance", **body)
        assert made.status_code == 201, made.text
        assert (made.json()["amount_minor"], made.json()["returned_minor"]) == (own, 0)
        approved = school.ask("POST", f"/money/entries/{made.json()['entry_id']}/approve", "approver")
        assert approved.is_success, approved.text

        paid = school.get(f"/money/payouts?cardholder_id={bill['cardholder_id']}", "finance")["items"]
        assert [each["state"] for each in paid] == ["paid"]
        assert books.balance(f"cardholder_wallet/{bill['cardholder_id']}") == 0
        assert abs(books.balance("cash") - paid_before) == own
        refused = school.start(login, _OPEN)
        assert refused.status_code in (401, 403), refused.text


class TestEverythingAfterwards:
    def test_agrees_to_the_pulse_and_to_the_fen(self, school: School) -> None:
        assert school.report().violations == []
