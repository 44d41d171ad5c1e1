"""A student's money in a real browser: a top-up that does not arrive, payment codes, transfers, a dispute."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from backend.payments import cases, purse_transfers, staff_entries
from backend.payments import service as payments
from backend.payments.port import Unknown
from tests.e2e.pages_conftest import Served, browser, serve, visit
from tests.fakes.web_money import decide

WECHAT_CODE = "134524350966727175"
_TABS_MAX = 60


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path) as site:
        yield site


def _tab_to(page: Page, words: str) -> None:
    """Press Tab until what has the focus says these words, and see that the focus shows."""
    for _ in range(_TABS_MAX):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == words:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
    pytest.fail(f"no way to {words} with the keyboard")


def _has(served: Served) -> dict[str, int]:
    with served.school.db.read() as conn:
        return {each.purse: each.posted_minor for each in payments.purses(conn, "gxu", "ch_wang")}


class TestTopUpThatDoesNotArrive:
    @pytest.mark.parametrize(
        ("language", "missing", "ask", "just_now", "let", "looks"),
        [
            ("zh-CN", "没到账？", "现在向支付渠道查询", "刚刚已向支付渠道查询过", "请财务查看", "财务正在查看"),
            ("en-US", "Not arrived?", "Ask the provider now", "asked a moment ago", "Let finance look at it",
             "Finance is looking at it"),
        ],
    )  # fmt: skip
    def test_is_followed_up_from_the_keyboard_alone(
        self, chromium: Browser, served: Served, language: str, missing: str, ask: str, just_now: str, let: str,
        looks: str,
    ) -> None:  # fmt: skip
        provider = served.school.providers["unionpay"]
        provider.answer = Unknown("timeout")
        with visit(chromium, served, login="wang", language=language, expect_errors=True) as page:
            page.goto(f"{served.url}/wallet")
            _tab_to(page, "充值" if language == "zh-CN" else "Top up")
            page.keyboard.press("Enter")
            expect(page.locator(".alert.warn")).to_be_visible()

            _tab_to(page, missing)
            page.keyboard.press("Enter")
            page.wait_for_url("**/wallet/top-ups/**")
            _tab_to(page, ask)
            page.keyboard.press("Enter")
            expect(page.get_by_text(just_now)).to_be_visible()

            served.school.clock.now += timedelta(minutes=11)
            _tab_to(page, ask)
            page.keyboard.press("Enter")
            expect(page.get_by_role("button", name=let)).to_be_visible()
            _tab_to(page, let)
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", name=looks)).to_be_visible()

            with served.school.db.read() as conn:
                assert [case.kind for case in cases.cases(conn, "gxu", limit=9)] == ["top_up_missing"]
            provider.answer = None
            served.school.clock.now += timedelta(seconds=11)
            _tab_to(page, ask)
            page.keyboard.press("Enter")
            expect(page.locator(".alert.good")).to_be_visible()

        assert _has(served)["wallet"] == 3_620 + 2_000
        assert [verb for verb, _ in provider.calls] == ["charge"]


class TestTopUp:
    def test_charges_once_on_a_double_click_and_after_going_back(self, chromium: Browser, served: Served) -> None:
        provider = served.school.providers["unionpay"]
        with visit(chromium, served, login="wang") as page:
            page.goto(f"{served.url}/wallet")
            first = page.locator("[name=top_up_id]").input_value()
            page.get_by_role("button", name="充值").dblclick()
            expect(page.locator(".alert.good")).to_be_visible()
            assert len(provider.calls) == 1

            page.go_back()
            expect(page.locator(".figure.big")).to_have_text("¥56.20")
            assert page.locator("[name=top_up_id]").input_value() != first
            page.reload()

        assert _has(served)["wallet"] == 3_620 + 2_000
        assert len(provider.calls) == 1

    def test_shows_the_code_only_where_it_is_needed(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang", language="en-US", expect_errors=True) as page:
            page.goto(f"{served.url}/wallet")
            field = page.get_by_label("Payment code from the app")
            expect(field).to_be_hidden()
            page.get_by_label("WeChat Pay").check()
            expect(field).to_be_visible()
            field.fill("99")
            page.get_by_label("¥50.00").check()
            page.get_by_role("button", name="Top up").click()

            expect(page.get_by_text("This is not a payment code of that app.")).to_be_visible()
            expect(page.get_by_label("¥50.00")).to_be_checked()
            expect(page.get_by_label("WeChat Pay")).to_be_checked()
            expect(field).to_have_value("")

            field.fill(WECHAT_CODE)
            page.get_by_role("button", name="Top up").click()
            expect(page.locator(".alert.good")).to_be_visible()

        assert _has(served)["wallet"] == 3_620 + 5_000

    def test_with_a_code_needs_no_script(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang", scripts=False) as page:
            page.goto(f"{served.url}/wallet")
            page.get_by_label("微信支付").check()
            page.get_by_role("textbox", name="付款码").fill(WECHAT_CODE)
            page.get_by_role("button", name="充值").click()

            expect(page.get_by_text("充值成功")).to_be_visible()
            expect(page.locator(".figure.big")).to_have_text("¥56.20")


class TestTransfer:
    def test_moves_once_on_a_double_click(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang", language="en-US") as page:
            page.goto(f"{served.url}/wallet")
            page.get_by_label("Campus wallet → Vouchers").check()
            page.get_by_label("Amount in yuan").fill("6.2")
            page.get_by_role("button", name="Move").dblclick()

            expect(page.get_by_text("¥6.20 moved.")).to_be_visible()

        assert _has(served) == {"subsidy": 0, "voucher": 620, "wallet": 3_000}
        with served.school.db.read() as conn:
            assert len(purse_transfers.transfers(conn, "gxu", limit=9)) == 1


class TestDispute:
    @pytest.mark.parametrize(
        ("language", "wrong", "cold", "words", "send", "looks", "given"),
        [
            ("zh-CN", "这笔账单有问题", "水太凉", "补充说明（可不填）", "提交", "财务正在查看", "已退款"),
            ("en-US", "Something is wrong with this bill", "The water was cold", "In your words (optional)", "Send",
             "Finance is looking at it", "Refunded"),
        ],
    )  # fmt: skip
    def test_needs_no_script_from_the_bill_to_the_answer(
        self, chromium: Browser, served: Served, language: str, wrong: str, cold: str, words: str, send: str,
        looks: str, given: str,
    ) -> None:  # fmt: skip
        session = served.school.shower("wang", "dev_o1", 9_000, "rq_cold")
        bill = f"{served.url}/history/{session.water_session_id}"
        with visit(chromium, served, login="wang", language=language, scripts=False) as page:
            page.goto(bill)
            page.get_by_role("link", name=wrong).click()
            page.get_by_label(cold).check()
            page.get_by_label(words).fill("三分钟都是凉水\nThree minutes of cold water")
            page.get_by_role("button", name=send).click()
            expect(page.get_by_role("heading", name=looks)).to_be_visible()
            expect(page.locator("blockquote")).to_have_text("三分钟都是凉水\nThree minutes of cold water")
            expect(page.get_by_role("button", name=send)).to_have_count(0)

            with served.school.db.read() as conn:
                (case,) = cases.cases(conn, "gxu", limit=9)
            decide(served.school, case.subject_id, 64, "It was cold indeed. 确实是凉水。")
            page.reload()
            expect(page.get_by_role("heading", name=given)).to_be_visible()
            expect(page.get_by_text("It was cold indeed.")).to_be_visible()
            page.goto(bill)
            expect(page.locator(".facts .plus")).to_have_text("+¥0.64")

        assert _has(served)["wallet"] == 3_620

    def test_says_what_is_missing_before_it_is_sent(self, chromium: Browser, served: Served) -> None:
        session = served.school.shower("wang", "dev_o1", 9_000, "rq_cold")
        with visit(chromium, served, login="wang") as page:
            page.goto(f"{served.url}/history/{session.water_session_id}/dispute")
            page.get_by_role("button", name="提交").click()

            assert page.evaluate("document.querySelector('[name=reason]').validity.valueMissing")


class TestDebt:
    @pytest.mark.parametrize(
        ("language", "wallet", "leave"),
        [
            ("zh-CN", "欠款", "仍将欠款"),
            ("en-US", "You owe", "You would still owe"),
        ],
    )
    def test_stands_in_the_wallet_and_before_what_is_paid_out(
        self, chromium: Browser, served: Served, language: str, wallet: str, leave: str
    ) -> None:
        school = served.school
        with school.db.write() as conn:
            proposed: dict[str, Any] = {"tenant_id": "gxu", "entry_id": "cl_1", "now": school.clock.now}
            staff_entries.propose(
                conn,
                **proposed,
                kind="credit_limit",
                cardholder_id="ch_wang",
                amount_minor=6_000,
                reason="a guest until the fees arrive",
                proposed_by=school.person("fin").cardholder_id,
            )
            staff_entries.approve(conn, **proposed, approved_by=school.person("approver").cardholder_id)
            spent = sum(each.posted_minor for each in payments.purses(conn, "gxu", "ch_wang")) + 1_200
            shower: dict[str, Any] = {"tenant_id": "gxu", "auth_id": "auth_owed", "now": school.clock.now}
            ends_at = school.clock.now + timedelta(hours=1)
            whose = {"water_session_id": "ws_owed", "cardholder_id": "ch_wang", "method": "wallet"}
            payments.open_authorization(conn, **shower, **whose, amount_minor=spent, expires_at=ends_at)
            payments.capture(conn, **shower, capture_id="cap_owed", amount_minor=spent)

        with visit(chromium, served, login="wang", language=language) as page:
            page.goto(f"{served.url}/wallet")
            expect(page.locator("#credit")).to_contain_text(wallet)
            expect(page.locator("#credit")).to_contain_text("¥12.00")
            page.goto(f"{served.url}/leave")
            expect(page.locator("tfoot")).to_contain_text(leave)
            expect(page.locator("tfoot")).to_contain_text("¥12.00")
