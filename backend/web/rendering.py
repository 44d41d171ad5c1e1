"""Turns a template and values into a page in the reader's language."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from backend.errors import BackendError
from backend.kit.clock import from_epoch_ms
from backend.web import i18n, phrases, refusals, words
from backend.web.security import FormTokens

SESSION_COOKIE = "ct_session"
VISITOR_COOKIE = "ct_visitor"
LANGUAGE_COOKIE = "ct_lang"
THEME_COOKIE = "ct_theme"
THEMES = ("system", "light", "dark")
_DEFAULT_ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Said:
    """A refusal in one language."""

    code: str
    what: str
    next: str


#: details that stand in a refusal's words as they are
_PLAIN = frozenset({"account_id", "chars_max", "chars_min", "count", "days", "field", "line"})


def _environment(language: str, statics: str) -> Environment:
    env = Environment(
        loader=PackageLoader("backend.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    env.install_gettext_translations(i18n.translations(language), newstyle=True)  # type: ignore[attr-defined]
    env.globals.update(
        statics=statics,
        lang=language,
        html_lang="zh-CN" if language == "zh" else "en",
        word=partial(_word, language),
        phrase=partial(phrases.phrase, language=language),
    )
    return env


def _word(language: str, group: str, code: object) -> str:
    return words.word(group, code, language)


def _fill(details: dict[str, Any], language: str, message: str) -> dict[str, str]:
    """Return what braces in a refusal's words stand for."""
    formats = i18n.Formats(language, _DEFAULT_ZONE)
    filled: dict[str, str] = {"reason": message}
    for name, value in details.items():
        if name in ("method", "brand") and value:
            filled[f"{name}_{language}"] = words.word("method", value, language)
        elif name == "role" and value:
            listed = [words.word("role", role, language) for role in str(value).split(",")]
            filled[f"role_{language}"] = ("或" if language == "zh" else " or ").join(listed)
        elif name.endswith("_minor") and isinstance(value, int):
            filled[name] = formats.money(value)
        elif name in _PLAIN and value is not None:
            filled[name] = str(value)
        elif name.endswith("_ms") and value is not None:
            filled[f"{name.removesuffix('_ms')}_{language}"] = formats.moment(from_epoch_ms(int(value)))
    return filled


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "–"


def say(error: BackendError, language: str) -> Said:
    """Return a refusal in the words of a language, its figures filled in."""
    entry = refusals.words_for(error.code)
    what, following = (entry.zh, entry.zh_next) if language == "zh" else (entry.en, entry.en_next)
    details: dict[str, Any] = dict(error.details or {})
    filled = _Known(_fill(details, language, str(error)))
    return Said(error.code, what.format_map(filled), following.format_map(filled))


class Pages:
    """Renders templates for requests: language, theme, form token and formats are taken from the request."""

    def __init__(self, *, statics: str, tokens: FormTokens) -> None:
        self.tokens = tokens
        self._environments = {language: _environment(language, statics) for language in i18n.LANGUAGES}

    def language(self, request: Request) -> str:
        """Return the language to answer a request in."""
        return i18n.choose_language(
            cookie=request.cookies.get(LANGUAGE_COOKIE), accept_language=request.headers.get("accept-language", "")
        )

    def formats(self, request: Request) -> i18n.Formats:
        """Return how figures are written for a request; its school's zone once somebody is signed in."""
        zone = getattr(request.state, "zone", None) or _DEFAULT_ZONE
        return i18n.Formats(self.language(request), zone)

    def render(
        self, request: Request, template: str, *, status: int = 200, now: datetime | None = None, **values: Any
    ) -> HTMLResponse:
        """Return a template as an answer."""
        theme = request.cookies.get(THEME_COOKIE, "system")
        browser = request.cookies.get(SESSION_COOKIE) or request.cookies.get(VISITOR_COOKIE) or ""
        browser = getattr(request.state, "browser", "") or browser
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if not here.isprintable():
            here = "/"
        page = self._environments[self.language(request)].get_template(template)
        text = page.render(
            request=request,
            here=here,
            theme=theme if theme in THEMES else "system",
            form_token=self.tokens.issue(browser) if browser else "",
            f=self.formats(request),
            person=getattr(request.state, "cardholder", None),
            tenant=getattr(request.state, "tenant", None),
            request_id=getattr(request.state, "request_id", ""),
            now=now,
            **values,
        )
        return HTMLResponse(text, status_code=status)
