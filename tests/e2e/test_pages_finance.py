"""Finance's journeys in a real browser: two people for every entry, files refused and accepted, cases by keyboard."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from backend.payments import cases, disputes
from tests.e2e.pages_conftest import DESKTOP, PHONE, Served, browser, serve, visit
from tests.fakes.web_finance import dispute, furnish, open_case
from tests.unit.backend.statements.samples import PLAIN, ROWS
from tests.unit.backend.statements.writing import DAY

_WORDS = {
    "zh-CN": {
        "person": "人员：账号或编号", "amount": "金额（元）", "why": "原因（写给第二人看）", "propose": "提议",
        "own": "须由第二人批准", "approve": "批准：¥20.00 立即入账", "moved": "款项已入账",
        "amount_back": "退还金额（元）", "answer": "答复（学生会看到）", "uphold": "认可并提议退款",
        "refunded": "已退款", "upheld": "已认可，等待第二人", "approve_back": "批准：¥0.40 立即入账",
        "day": "对账单日期", "file": "渠道提供的原始文件，最大 32 MB", "read": "读取文件", "import": "导入",
        "refused": "文件整份被拒收", "cause": "合计行与明细不相等", "imported": "已导入：微信支付", "known": "早已导入",
        "waiting": "请另一位同事在下方导入",
        "lines": "收款",
    },
    "en-US": {
        "person": "Person: login or number", "amount": "Amount in yuan", "why": "Why: what the second person needs",
        "propose": "Propose", "own": "a second person must", "approve": "Approve: ¥20.00 moves now",
        "moved": "The money has moved",
        "amount_back": "Amount to give back, in yuan", "answer": "Answer: the student reads it",
        "uphold": "Uphold and propose the refund", "refunded": "Refunded", "upheld": "Upheld, awaiting a second person",
        "approve_back": "Approve: ¥0.40 moves now",
        "day": "Day of the file", "file": "File as the provider gave it, at most 32 MB",
        "read": "Read the file", "import": "Import", "refused": "The file was refused whole",
        "cause": "The totals line does not equal the rows", "waiting": "A second person imports it below",
        "imported": "Imported: WeChat Pay", "known": "known already", "lines": "Payments",
    },
}  # fmt: skip
_BOTH = pytest.mark.parametrize("language", ["zh-CN", "en-US"])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("office")) as site:
        yield site


def _fill_entry(page: Page, words: dict[str, str], person: str) -> None:
    page.get_by_label(words["person"]).fill(person)
    page.get_by_label(words["amount"]).fill("20")
    page.get_by_label(words["why"]).fill("窗口现金，收据 17 号")


class TestEntries:
    @_BOTH
    def test_take_two_people(self, chromium: Browser, served: Served, language: str) -> None:
        words = _WORDS[language]
        with visit(chromium, served, login="fin", size=DESKTOP, language=language) as page:
            page.goto(f"{served.url}/finance/entries/new")
            _fill_entry(page, words, "wang")
            page.get_by_role("button", name=words["propose"]).dblclick()
            page.wait_for_url("**/finance/entries/en_*")
            entry = page.url
            expect(page.locator("#own")).to_contain_text(words["own"])
            expect(page.locator("button[value=approve]")).to_have_count(0)
        with visit(chromium, served, login="approver", size=PHONE, language=language) as page:
            page.goto(entry)
            page.get_by_role("button", name=words["approve"]).click()
            expect(page.get_by_text(words["moved"])).to_be_visible()

    def test_refuse_in_words_and_keep_what_was_typed(self, chromium: Browser, served: Served) -> None:
        words = _WORDS["zh-CN"]
        with visit(chromium, served, login="fin", size=DESKTOP, scripts=False, expect_errors=True) as page:
            page.goto(f"{served.url}/finance/entries/new")
            _fill_entry(page, words, "nobody")
            page.get_by_role("button", name=words["propose"]).click()

            expect(page.get_by_role("alert")).to_contain_text("找不到这个人")
            expect(page.get_by_label(words["amount"])).to_have_value("20")
            expect(page.get_by_label(words["why"])).to_have_value("窗口现金，收据 17 号")


class TestCredit:
    @pytest.mark.parametrize(
        ("language", "until", "approve", "in_force", "owes"),
        [
            ("zh-CN", "有效期至当日结束", "批准：即日起可透支 ¥20.00", "额度已生效", "剩余额度 ¥20.00"),
            ("en-US", "In force until the end of this day", "Approve: a credit of ¥20.00 from now on",
             "The credit is in force", "Credit left: ¥20.00 of ¥20.00"),
        ],
    )  # fmt: skip
    def test_is_agreed_to_by_two_and_shown_to_its_owner(
        self, chromium: Browser, served: Served, language: str, until: str, approve: str, in_force: str, owes: str
    ) -> None:
        words = _WORDS[language]
        login = {"zh-CN": "wang", "en-US": "zhao"}[language]
        with visit(chromium, served, login="fin", size=DESKTOP, language=language) as page:
            page.goto(f"{served.url}/finance")
            expect(page.locator("#proof")).to_be_visible()
            page.goto(f"{served.url}/finance/entries/new?kind=credit_limit")
            _fill_entry(page, words, login)
            page.get_by_label(until).fill((served.school.clock.now + timedelta(days=30)).date().isoformat())
            page.get_by_role("button", name=words["propose"]).dblclick()
            page.wait_for_url("**/finance/entries/en_*")
            entry = page.url
            expect(page.locator("#own")).to_contain_text(words["own"])
        with visit(chromium, served, login="approver", size=PHONE, language=language) as page:
            page.goto(entry)
            page.get_by_role("button", name=approve).click()
            expect(page.get_by_text(in_force)).to_be_visible()
        with visit(chromium, served, login=login, size=PHONE, language=language) as page:
            page.goto(f"{served.url}/wallet")
            expect(page.locator("#credit")).to_contain_text(owes)


class TestDisputes:
    @_BOTH
    def test_are_upheld_by_one_and_paid_by_another(self, chromium: Browser, served: Served, language: str) -> None:
        words = _WORDS[language]
        login = {"zh-CN": "wang", "en-US": "zhao"}[language]
        made = dispute(served.school, f"dp_{login}-1001", login=login, device_id="dev_o1")
        path = f"{served.url}/finance/disputes/{made.dispute_id}"
        with visit(chromium, served, login="fin", size=DESKTOP, language=language) as page:
            page.goto(path)
            expect(page.get_by_text("44.1°")).to_be_visible()
            page.get_by_label(words["amount_back"]).fill("0.40")
            page.get_by_label(words["answer"]).fill("水温偏低，退一部分")
            page.get_by_role("button", name=words["uphold"]).click()
            expect(page.locator(".top .chip")).to_have_text(words["upheld"])
            entry = page.locator("main a[href^='/finance/entries/en_']").get_attribute("href")
        with visit(chromium, served, login="approver", size=DESKTOP, language=language) as page:
            page.goto(f"{served.url}{entry}")
            page.get_by_role("button", name=words["approve_back"]).click()
            expect(page.get_by_text(words["moved"])).to_be_visible()
            page.goto(path)
            expect(page.locator(".top .chip")).to_have_text(words["refunded"])
        with served.school.db.read() as conn:
            assert disputes.dispute(conn, "gxu", made.dispute_id).state == "refunded"


class TestCases:
    def test_are_closed_by_keyboard_alone(self, chromium: Browser, served: Served) -> None:
        case_id = open_case(served.school, "auth_keyboard")
        with visit(chromium, served, login="fin", size=DESKTOP) as page:
            page.goto(f"{served.url}/finance/cases")
            _tab_to(page, f"a[href='/finance/cases/{case_id}']")
            page.keyboard.press("Enter")
            page.wait_for_url(f"**/finance/cases/{case_id}")
            _tab_to(page, "textarea[name=note]")
            page.keyboard.type("已与渠道核对，差额已补回")
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")

            expect(page.locator(".top .chip")).to_have_text("已关闭")
            expect(page.get_by_text("已与渠道核对")).to_be_visible()
        with served.school.db.read() as conn:
            assert cases.case(conn, "gxu", case_id).closed_by == "ch_fin"


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus, as somebody without a mouse does."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement?.matches(selector) ?? false", selector):
            return
    pytest.fail(f"{selector} is not reached by Tab")


class TestStatements:
    @_BOTH
    def test_are_refused_with_the_place_and_then_accepted(
        self, chromium: Browser, tmp_path: Path, language: str
    ) -> None:
        words = _WORDS[language]
        good = PLAIN["wechat"](ROWS["wechat"])
        lines = good.splitlines(keepends=True)
        wrong = b"".join([*lines[:1], *lines[2:]])
        with (
            serve(tmp_path) as site,
            visit(chromium, site, login="fin", size=DESKTOP, language=language, expect_errors=True) as page,
        ):
            self._bring(page, site, words, wrong, "refused")
            expect(page.locator(".alert")).to_contain_text(words["cause"])
            expect(page.locator(".alert")).to_contain_text("1900000109All.csv")
            self._bring(page, site, words, good, "waiting")
            with visit(chromium, site, login="approver", size=DESKTOP, language=language) as second:
                second.goto(f"{site.url}/finance/statements")
                second.get_by_role("button", name=words["import"], exact=True).click()
                expect(second.locator(".alert")).to_contain_text(words["imported"])
            self._bring(page, site, words, good, "known")
            expect(page.locator("table.files")).to_contain_text(words["lines"])

    def _bring(self, page: Page, site: Served, words: dict[str, str], data: bytes, expected: str) -> None:
        page.goto(f"{site.url}/finance/statements")
        page.locator("select[name=method]").select_option("wechat")
        page.get_by_label(words["day"]).fill(DAY.isoformat())
        page.get_by_label(words["file"]).set_input_files(
            {"name": "1900000109All.csv", "mimeType": "text/csv", "buffer": data}
        )
        page.get_by_role("button", name=words["read"]).click()
        expect(page.locator(".alert")).to_contain_text(words[expected])


class TestOverview:
    def test_shows_what_is_held_unknown_and_open(self, chromium: Browser, tmp_path: Path) -> None:
        with serve(tmp_path) as site:
            office = furnish(site.school)
            with visit(chromium, site, login="fin", size=DESKTOP, scripts=False) as page:
                page.goto(f"{site.url}/finance")

                expect(page.locator("#held")).to_have_text("¥2.00")
                expect(page.locator("#holds tbody tr").first).to_contain_text("9 天")
                expect(page.locator("#ages rect.late")).to_have_count(1)
                expect(page.locator("#unknowns")).to_contain_text("支付宝")
                expect(page.locator("#open-cases tfoot")).to_contain_text("2")
                page.locator(f"#open-cases a[href='/finance/cases/{office.open_case}']").click()
                expect(page.locator("h1")).to_have_text("渠道报的金额不同")
