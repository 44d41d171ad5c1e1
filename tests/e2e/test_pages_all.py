"""Every page in a real browser: accessible, no wider than the screen, without complaint; live desks."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from backend.access import service as access
from backend.kit.clock import epoch_ms
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import StartRequest
from gateway.contract.messages import CredentialKind, CredentialPresented
from tests.e2e.pages_conftest import DESKTOP, Served, browser, serve, visit
from tests.fakes.web_finance import Office, furnish
from tests.fakes.web_money import MoneyScene, money_scene
from tests.unit.backend.fleet.test_sticker_sheet import decoded

_STUDENT = ("/", "/wallet", "/history", "/code", "/me")
_STAFF = (
    ("fac", ("/facilities", "/facilities/devices", "/facilities/stickers", "/gate", "/gate/dev_door")),
    ("admin", ("/admin/protections", "/admin/reconciliation")),
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@dataclass
class Lively(Served):
    """A served school where something is going on."""

    money: MoneyScene


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lively]:
    """Yield a school where something is going on: bills, top-ups, disputes, running water, a fault, passages."""
    with serve(tmp_path_factory.mktemp("site")) as served:
        site = Lively(served.school, served.url, served.telemetry, money_scene(served.school))
        school = site.school
        school.shower("wang", "dev_o1", 9_000, "rq_before")
        school.grant()
        school.grant(brand="alipay", status="draft")
        _run_water(site, "wang", "dev_o1")
        _present(site, "04A1B2C3D4E5F6", "one")
        school.report_health(silent=("dev_o3",))
        yield site


@pytest.fixture(scope="module")
def office(lively: Lively) -> Office:
    """Return what finance of the lively school has to do."""
    return furnish(lively.school)


def _staff(office: Office) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (*_STAFF, ("fin", office.paths()))


def _run_water(site: Served, login: str, device_id: str) -> None:
    school = site.school
    request = StartRequest("gxu", f"rq_{login}", device_id, school.person(login).cardholder_id, "wallet")
    session = school.open_valve(water_sessions.request_start(school.backend.context, request))
    site.telemetry.say("gxu", school.sample(session, pulses=3_700, elapsed_s=65))


def _present(site: Served, uid: str, request_id: str) -> None:
    clock = site.school.clock
    shown = CredentialPresented(
        request_id=request_id, at_ms=epoch_ms(clock.now), device="dev_door", kind=CredentialKind.UID, value=uid
    )
    access.decide(site.school.backend.context, "gxu", shown, clock.now)


def _serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{page.url} {each['id']}: {node['html']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


class TestEveryPage:
    @pytest.mark.parametrize(("language", "dark"), [("zh-CN", False), ("en-US", True)])
    def test_is_accessible(self, chromium: Browser, lively: Lively, office: Office, language: str, dark: bool) -> None:
        outlets = tuple(f"/w/{lively.school.stickers[device]}" for device in ("dev_o1", "dev_o2", "dev_o3"))
        bill = f"/history/{lively.school.history()[-1].water_session_id}"
        findings: list[str] = []

        for login, paths, size in (
            ("wang", (*_STUDENT, *outlets, bill, *lively.money.kinds()), None),
            ("zhao", outlets, None),
            *((login, paths, DESKTOP) for login, paths in _staff(office)),
        ):
            with visit(chromium, lively, login=login, size=size, language=language, dark=dark) as page:
                for path in paths:
                    page.goto(lively.url + path)
                    page.locator("h1").wait_for()
                    findings += _serious(page)
        with visit(chromium, lively, language=language, dark=dark, expect_errors=True) as page:
            for path in ("/login", "/nothing/here"):
                page.goto(lively.url + path)
                findings += _serious(page)

        assert not findings, "\n".join(findings)

    @pytest.mark.parametrize("width", [320, 390, 768])
    def test_fits_the_screen(self, chromium: Browser, lively: Lively, office: Office, width: int) -> None:
        size = {"width": width, "height": 800}
        wide: list[str] = []
        outlets = (f"/w/{lively.school.stickers[device]}" for device in ("dev_o1", "dev_o2", "dev_o3"))
        student = (*_STUDENT, *outlets, *lively.money.kinds())

        for login, paths in (("wang", student), *_staff(office)):
            for language in ("zh-CN", "en-US"):
                with visit(chromium, lively, login=login, size=size, language=language) as page:
                    for path in paths:
                        page.goto(lively.url + path)
                        page.locator("h1").wait_for()
                        if page.evaluate("document.documentElement.scrollWidth") > width:
                            wide.append(f"{path} {language}")

        assert not wide

    @pytest.mark.parametrize(("language", "width"), [("zh-CN", 390), ("en-US", 1280)])
    def test_breaks_no_word_and_no_date(self, chromium: Browser, lively: Lively, language: str, width: int) -> None:
        size = {"width": width, "height": 900}
        with visit(chromium, lively, login="admin", size=size, language=language) as page:
            page.goto(f"{lively.url}/admin/protections")
            broken = page.evaluate(
                "[...document.querySelectorAll('.whole, .btn, .chip')]"
                ".filter(e => [...e.childNodes].some(n => { const r = document.createRange(); r.selectNodeContents(n);"
                " return n.nodeType === 3 && new Set([...r.getClientRects()].map(b => b.top)).size > 1; }))"
                ".map(e => e.textContent)"
            )
            regions = page.get_by_role("region").evaluate_all(
                "found => found.filter(e => e.matches('.scroll')).map(e => [e.getAttribute('aria-label'), e.tabIndex])"
            )
            page.goto(f"{lively.url}/facilities")
            cut = page.locator(".heat tbody th").evaluate_all(
                "found => found.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
            )

        assert broken == []
        assert cut == []
        assert len({label for label, _ in regions}) == len(regions) == 3
        assert {tab for _, tab in regions} == {0}

    def test_is_complete_without_scripts(self, chromium: Browser, lively: Lively) -> None:
        with visit(chromium, lively, login="fac", size=DESKTOP, scripts=False) as page:
            page.goto(f"{lively.url}/facilities")

            assert page.locator("table.heat td").count() == 48
            assert page.locator("#line .stroke").get_attribute("d")
            assert page.locator("#running-list tbody tr").count() == 1


class TestStickers:
    def test_of_a_floor_are_taken_as_a_sheet_whose_codes_lead_to_its_outlets(
        self, chromium: Browser, lively: Lively, tmp_path: Path
    ) -> None:
        with visit(chromium, lively, login="fac", size=DESKTOP) as page:
            page.goto(f"{lively.url}/facilities/devices")
            page.get_by_role("link", name="贴纸").click()
            with page.expect_download() as sent:
                page.get_by_role("link", name="下载 PDF 三号公寓 · 4 层").click()
            sent.value.save_as(tmp_path / "sheet.pdf")

        (links,) = decoded((tmp_path / "sheet.pdf").read_bytes())
        tokens = sorted(link.rsplit("/", 1)[1] for link in links)
        assert tokens == sorted(lively.school.stickers[device] for device in ("dev_o1", "dev_o2"))


class TestOverview:
    def test_shows_water_that_starts_while_it_is_open(self, chromium: Browser, tmp_path: Path) -> None:
        with serve(tmp_path) as site, visit(chromium, site, login="fac", size=DESKTOP) as page:
            page.goto(f"{site.url}/facilities")
            expect(page.locator("#live")).to_have_class("live on")
            expect(page.locator("#running")).to_have_text("0")

            _run_water(site, "zhao", "dev_o3")

            expect(page.locator("#running")).to_have_text("1")
            expect(page.locator("#flow")).to_have_text("7.8")
            expect(page.locator("#running-list")).to_contain_text("五号公寓 · 1 号淋浴")


class TestDesk:
    def test_announces_a_refusal_in_huge_letters(self, chromium: Browser, tmp_path: Path) -> None:
        with serve(tmp_path) as site, visit(chromium, site, login="desk", size=DESKTOP) as page:
            page.goto(f"{site.url}/gate/dev_door")
            expect(page.locator("#live")).to_have_class("live on")

            _present(site, "04FFFFFFFFFF01", "stranger")

            expect(page.locator("#last.bad")).to_contain_text("无法识别")
            expect(page.locator("#refused")).to_have_text("无法识别")


class TestProtections:
    def test_is_drafted_submitted_and_approved_by_two_people(self, chromium: Browser, tmp_path: Path) -> None:
        with serve(tmp_path) as site:
            with visit(chromium, site, login="admin", size=DESKTOP) as page:
                page.goto(f"{site.url}/admin/protections")
                page.get_by_label("授予方").fill("计财处")
                page.get_by_label("自", exact=True).fill("2026-11-01T00:00")
                page.get_by_label("至（不含）").fill("2027-11-01T00:00")
                page.get_by_role("button", name="保存草稿").click()
                page.get_by_role("button", name="提交").click()
                expect(page.locator("tbody .chip", has_text="待审批")).to_be_visible()
            with visit(chromium, site, login="approver", size=DESKTOP) as page:
                page.goto(f"{site.url}/admin/protections")
                page.get_by_role("button", name="批准").click()
                expect(page.locator("tbody .chip", has_text="生效中")).to_be_visible()
            with visit(chromium, site, login="wang") as page:
                page.goto(f"{site.url}/w/{site.school.stickers['dev_o1']}")
                expect(page.locator(".method.off", has_text="支付宝")).to_be_visible()
                expect(page.locator(".method.off", has_text="微信支付")).to_be_visible()


class TestReconciliation:
    def test_runs_on_demand_and_says_that_all_agrees(self, chromium: Browser, tmp_path: Path) -> None:
        with serve(tmp_path) as site, visit(chromium, site, login="fin", size=DESKTOP) as page:
            site.school.shower("wang", "dev_o1", 9_000, "rq_before")
            page.goto(f"{site.url}/admin/reconciliation")
            page.get_by_role("button", name="立即对账").click()

            expect(page.get_by_text("没有差异")).to_be_visible()
