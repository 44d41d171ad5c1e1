"""
The rig's web application. The page works without its script, by forms; the script only saves the reloading.

Everything lives below a random path that is shown to whoever started the rig: it is the only key, so that a rig on the
network of a workshop is not everybody's. Nothing is loaded from elsewhere.
"""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from firmware_sim.rig.actions import FAULTS, NoSuchAction, request_for
from firmware_sim.rig.link import ControlLink, SimulatorGone
from firmware_sim.rig.words import LANGUAGES, WORDS, pick, term

_HERE = Path(__file__).parent
_FORM_BYTES_MAX = 8 * 1024
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def new_key() -> str:
    """Return a fresh key for a rig's address."""
    return secrets.token_urlsafe(9)


class Rig:
    """The pages of one simulator."""

    def __init__(self, link: ControlLink, cards: Sequence[tuple[str, str]], key: str) -> None:
        """`cards` are names and card numbers that lie on the table."""
        self._link = link
        self._cards = cards
        self._base = f"/{key}"
        self._pages = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined
        )

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/", self._page),
            Route("/front", self._front),
            Route("/do", self._do, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]
        return Starlette(routes=[Mount(self._base, routes=routes), Route("/", self._nothing_here)])

    async def _nothing_here(self, request: Request) -> Response:
        return PlainTextResponse("The address has a key: see the terminal. 网址带有口令，请看终端。", 404)

    def _language(self, request: Request) -> str:
        asked = request.query_params.get("lang") or request.headers.get("accept-language", "zh")[:2]
        return asked if asked in LANGUAGES else "en"

    def _words(self, language: str) -> dict[str, str]:
        return {name: pick(pair, language) for name, pair in WORDS.items()}

    async def _state(self, wanted: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return all devices, and the one that is shown: the first when there is none of that name."""
        devices: list[dict[str, Any]] = (await self._link.ask(do="state"))["devices"]
        return devices, next((each for each in devices if each["device"] == wanted), devices[0])

    def _render(self, template: str, status: int = 200, **values: Any) -> Response:
        html = self._pages.get_template(template).render(base=self._base, **values)
        return HTMLResponse(html, status, headers=_HEADERS)

    async def _page(self, request: Request) -> Response:
        language = self._language(request)
        said, words = request.query_params.get("said", ""), self._words(language)
        try:
            devices, shown = await self._state(request.query_params.get("device", ""))
        except SimulatorGone:
            devices, shown, said = [], {}, words["offline"]
        return self._render(
            "rig.html", language=language, languages=LANGUAGES, w=words, devices=devices, d=shown, said=said,
            cards=self._cards, faults=[(name, term(name, language)) for name in FAULTS],
            front=front_of(shown, language) if shown else None,
        )  # fmt: skip

    async def _front(self, request: Request) -> Response:
        """Return the front alone, for the script."""
        language = self._language(request)
        try:
            _, shown = await self._state(request.query_params.get("device", ""))
        except SimulatorGone:
            return PlainTextResponse(self._words(language)["offline"], 503, headers=_HEADERS)
        return self._render("front.html", w=self._words(language), d=shown, front=front_of(shown, language))

    async def _do(self, request: Request) -> Response:
        """Do what a form asks for; say what came of it on the page, or in words to the script."""
        if int(request.headers.get("content-length") or _FORM_BYTES_MAX + 1) > _FORM_BYTES_MAX:
            return PlainTextResponse("too long", 413, headers=_HEADERS)
        form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        language = form.get("lang", "zh") if form.get("lang") in LANGUAGES else "en"
        words = self._words(language)
        try:
            answer = await self._link.ask(**request_for(form))
            done = bool(answer["ok"])
            said = words["done"] + words[form["action"]] if done else words["refused"] + str(answer["error"])
            status = 200 if done else 409
        except NoSuchAction as error:
            said, status = words["refused"] + str(error), 400
        except SimulatorGone:
            said, status = words["offline"], 503
        if request.headers.get("accept", "").startswith("text/plain"):
            return PlainTextResponse(said, status, headers=_HEADERS)
        query = request.url.include_query_params(device=form.get("device", ""), lang=language, said=said).query
        return RedirectResponse(f"{self._base}/?{query}", 303, headers=_HEADERS)


def front_of(device: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return what the front of a device shows, in words."""
    if not device["powered"]:
        return {"lamp": "off", "lamp_word": term("off", language), "display": "",
                "state": pick(WORDS["no_power"], language), "faults": []}  # fmt: skip
    lamp = str(device["lamp"])
    front: dict[str, Any] = {
        "lamp": lamp.split()[0],
        "lamp_word": " ".join(term(word, language) for word in lamp.split()),
        "display": device["display"],
        "state": term(device["state"], language),
        "faults": [term(name, language) for name in device["faults"]],
    }
    if device["kind"] == "outlet":
        reason = device["close_reason"]
        temp = device["temp_decidegc"]
        front |= {
            "valve_open": device["valve_open"],
            "flow_lpm": f"{device['flow_ml_per_min'] / 1000:.1f}",
            "liters": f"{device['sess_volume_ml'] / 1000:.2f}",
            "pulses": device["total_pulses"],
            "temp": "–" if temp is None else f"{temp / 10:.1f} °C",
            "last_close": term("fault_closed" if reason == "fault" else reason, language),
            "lease_s": -(-device["lease_left_ms"] // 1000),
        }
    return front
