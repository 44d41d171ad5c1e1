"""A served school and a browser that reports everything it should not have done. Imported by the page tests."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from backend.app import create_app
from backend.bootstrap.tables import load_tables
from backend.db import open_database
from backend.web.live import OnSamples
from gateway.contract.messages import MeterSampled
from tests.fakes.web_site import PASSWORD, School, open_school
from tests.patience import PATIENCE_S

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1440, "height": 960}
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class HandTelemetry:
    """A source of samples that a test speaks through."""

    def __init__(self) -> None:
        self._take: OnSamples | None = None

    def start(self, on_samples: OnSamples) -> None:
        self._take = on_samples

    def stop(self) -> None:
        self._take = None

    def say(self, tenant_id: str, *samples: MeterSampled) -> None:
        assert self._take is not None, "the application listens once it has started"
        self._take(tenant_id, list(samples))


@dataclass
class Served:
    """A school behind an address."""

    school: School
    url: str
    telemetry: HandTelemetry


@dataclass(frozen=True)
class Address:
    """Pages that something else serves."""

    url: str


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """Yield a freshly seeded school, served on a free port of the loopback."""
    database = open_database(f"sqlite:///{folder / 'pages.db'}")
    load_tables().create_all(database.engine)
    school = open_school(database, folder)
    telemetry = HandTelemetry()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = create_app(school.backend, telemetry)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    try:
        yield Served(school, f"http://127.0.0.1:{port}", telemetry)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()
        database.engine.dispose()


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield the system's Chromium. A machine without one fails: pages nobody opened are not tested."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("no Chromium found: apt-get install chromium fonts-noto-cjk")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
        expect.set_options(timeout=PATIENCE_S * 1000)
        yield opened
        opened.close()


@dataclass
class Watched:
    """A browser context whose console, errors and foreign requests are kept."""

    context: BrowserContext
    complaints: list[str]

    def page(self) -> Page:
        """Return a new page that is watched."""
        page = self.context.new_page()
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page


@contextmanager
def visit(
    opened: Browser, served: Served | Address, *, login: str = "", password: str = PASSWORD,
    size: dict[str, int] | None = None, language: str = "zh-CN", scripts: bool = True, dark: bool = False,
    expect_errors: bool = False, scale: int = 1,
) -> Iterator[Page]:  # fmt: skip
    """Yield a page, signed in if a login is given; fail at the end if the page complained or asked another host."""
    context = opened.new_context(
        viewport=size or PHONE,  # type: ignore[arg-type]
        locale=language,
        java_script_enabled=scripts,
        device_scale_factor=scale,
        color_scheme="dark" if dark else "light",
    )
    watched = Watched(context, [])
    foreign: list[str] = []
    context.on(
        "request",
        lambda request: None if request.url.startswith((served.url, "data:")) else foreign.append(request.url),
    )
    page = watched.page()
    if login:
        sign_in(page, served, login, password)
    yield page
    context.close()
    assert not foreign, f"the page asked elsewhere: {foreign}"
    assert expect_errors or not watched.complaints, watched.complaints


def sign_in(page: Page, served: Served | Address, login: str, password: str = PASSWORD) -> None:
    """Sign somebody in through the form."""
    page.goto(f"{served.url}/login")
    fill_sign_in(page, login, password)


def fill_sign_in(page: Page, login: str, password: str) -> None:
    """Fill in the form that is shown, and wait until it has led elsewhere."""
    page.locator("input[name=login]").fill(login)
    page.locator("input[name=password]").fill(password)
    page.locator("form[action='/login'] button").click()
    page.wait_for_url(lambda url: "/login" not in url)
