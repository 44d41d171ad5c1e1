"""A student's journey in a real browser, the test playing the gateway: live figures, one start, no script needed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from backend.water_sessions.types import WaterSession
from gateway.contract.events import StopReason
from tests.e2e.pages_conftest import Served, browser, serve, visit


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path) as site:
        yield site


def _outlet(served: Served) -> str:
    return f"{served.url}/w/{served.school.stickers['dev_o1']}"


def _start(page: Page, served: Served) -> WaterSession:
    page.goto(_outlet(served))
    page.get_by_role("checkbox").check()
    page.locator("button.round").click()
    page.wait_for_selector("[data-view=opening]")
    session = served.school.live()
    assert session is not None
    return session


class TestShower:
    def test_shows_water_live_and_the_bill_by_itself(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang") as page:
            session = _start(page, served)
            served.school.open_valve(session)
            expect(page.locator("[data-view=running]")).to_be_visible()
            expect(page.locator("#announce")).to_have_text("正在出水。")

            served.school.clock.now += timedelta(seconds=65)
            served.telemetry.say("gxu", served.school.sample(session, pulses=15_700, elapsed_s=65))
            expect(page.locator("#litres")).to_have_text("34.9")
            expect(page.locator("#cost")).to_have_text("¥1.12")
            expect(page.locator("#temperature")).to_have_text("44.1°")
            expect(page.locator("#time")).to_have_text("1:05")
            assert page.locator("#used").get_attribute("stroke-dasharray") == "290 1000"

            page.get_by_role("button", name="停止").click()
            expect(page.locator("[data-view=stopping]")).to_be_visible()
            served.school.end(session, pulses=15_700)
            expect(page.get_by_role("heading", name="结算单")).to_be_visible()
            expect(page.locator(".sum strong")).to_have_text("¥1.12")

            page.get_by_role("link", name="完成").click()
            expect(page.locator("[data-view=idle]")).to_be_visible()

    def test_ends_by_itself_when_the_tap_closes(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang", language="en-US") as page:
            session = _start(page, served)
            served.school.open_valve(session)
            served.school.end(session, pulses=900, reason=StopReason.USER)

            expect(page.get_by_text("closed at the tap")).to_be_visible()

    def test_starts_once_on_a_double_click_and_a_reload(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang") as page:
            page.goto(_outlet(served))
            page.get_by_role("checkbox").check()
            page.locator("button.round").dblclick()
            page.wait_for_selector("[data-view=opening], [data-view=idle]")
            page.goto(_outlet(served))
            expect(page.locator("[data-view=opening]")).to_be_visible()
            page.reload()
            expect(page.locator("[data-view=opening]")).to_be_visible()

        assert len(served.school.history()) == 1

    def test_works_without_scripts(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang", scripts=False) as page:
            session = _start(page, served)
            served.school.open_valve(session)
            expect(page.locator("[data-view=running]")).to_be_visible()
            page.locator("button.round").click()
            served.school.end(session, pulses=15_700)
            expect(page.locator(".sum strong")).to_have_text("¥1.12")

    def test_cannot_start_without_saying_where_one_stands(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang") as page:
            page.goto(_outlet(served))
            page.locator("button.round").click()

            assert page.evaluate("document.querySelector('[name=presence]').validity.valueMissing")
        assert served.school.live() is None

    def test_can_be_started_and_stopped_from_the_keyboard(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang") as page:
            page.goto(_outlet(served))
            page.get_by_role("checkbox").focus()
            page.keyboard.press("Space")
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            page.wait_for_selector("[data-view=opening]")
            session = served.school.live()
            assert session is not None
            served.school.open_valve(session)
            expect(page.locator("[data-view=running]")).to_be_visible()
            page.locator("button.round").focus()
            page.keyboard.press("Enter")

            expect(page.locator("[data-view=stopping]")).to_be_visible()


class TestWallet:
    def test_tops_up_and_shows_the_money(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang") as page:
            page.goto(f"{served.url}/wallet")
            page.get_by_label("¥50.00").check()
            page.get_by_role("button", name="充值").click()

            expect(page.get_by_text("充值成功")).to_be_visible()
            expect(page.locator(".figure.big")).to_have_text("¥86.20")


class TestCode:
    def test_counts_down(self, chromium: Browser, served: Served) -> None:
        with visit(chromium, served, login="wang") as page:
            page.goto(f"{served.url}/code")
            first = int(page.locator("#left").inner_text())

            expect(page.locator("#left")).to_have_text(str(first - 1))
            assert page.locator(".paper svg").bounding_box()["width"] > 250  # type: ignore[index]
