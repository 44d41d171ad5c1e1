"""Both languages are complete, and figures are written as people read them."""

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import jinja2.ext
import pytest

import backend.web
from backend.web import i18n
from tests.factories import NOW

_TEMPLATES = Path(backend.web.__path__[0]) / "templates"


def _message_ids() -> set[str]:
    found: set[str] = set()
    for path in _TEMPLATES.rglob("*.html"):
        with path.open("rb") as file:
            for _, _, message, _ in jinja2.ext.babel_extract(file, ["_"], [], {}):
                found.add(message if isinstance(message, str) else message[0])
    return found


class TestReadCatalog:
    def test_words_every_message_and_nothing_else(self) -> None:
        catalog = i18n.read_catalog()

        known = {message.id: message for message in catalog if message.id}

        assert set(known) == _message_ids()
        assert not [message.id for message in known.values() if not message.string or message.fuzzy]

    def test_keeps_the_figures_of_each_message(self) -> None:
        for message in i18n.read_catalog():
            if message.id:
                assert sorted(_names(str(message.id))) == sorted(_names(str(message.string))), message.id


def _names(text: str) -> list[str]:
    return [part.split(")s")[0] for part in text.split("%(")[1:]]


class TestChooseLanguage:
    @pytest.mark.parametrize(
        ("cookie", "accept", "language"),
        [
            ("en", "zh-CN", "en"),
            (None, "en-US,en;q=0.9", "en"),
            (None, "en;q=0.2,zh-CN;q=0.9", "zh"),
            (None, "fr", "zh"),
            ("xx", "", "zh"),
            (None, "en;q=broken", "zh"),
        ],
    )
    def test_prefers_the_readers_choice(self, cookie: str | None, accept: str, language: str) -> None:
        assert i18n.choose_language(cookie=cookie, accept_language=accept) == language


class TestFormats:
    @pytest.mark.parametrize(
        ("fee_e5", "text"), [(0, "0.00000"), (1, "0.00001"), (123_456_789, "1,234.56789"), (-60, "-0.00060")]
    )
    def test_a_fee_keeps_all_its_decimals(self, fee_e5: int, text: str) -> None:
        assert i18n.Formats("zh", ZoneInfo("Asia/Shanghai")).fee(fee_e5) == text

    def setup_method(self) -> None:
        self.zh = i18n.Formats("zh", ZoneInfo("Asia/Shanghai"))

    def test_writes_exact_prices(self) -> None:
        assert self.zh.price_per_litre(3_200) == "¥0.032"
        assert self.zh.price_per_litre(5_000) == "¥0.05"

    def test_writes_local_time(self) -> None:
        assert self.zh.moment(NOW) == "2026-11-22 20:00:00"

    def test_shows_a_dash_for_what_is_unknown(self) -> None:
        assert [self.zh.litres(None), self.zh.money(None), self.zh.degrees(None), self.zh.time(None)] == ["–"] * 4

    @pytest.mark.parametrize(("seconds", "text"), [(5, "5 秒"), (840, "14 分钟"), (7_200, "2 小时"), (200_000, "2 天")])
    def test_writes_ages_in_the_largest_unit(self, seconds: int, text: str) -> None:
        assert self.zh.age(NOW - timedelta(seconds=seconds), NOW) == text
