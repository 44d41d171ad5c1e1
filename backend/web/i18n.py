"""
Languages: English message ids in templates, the Chinese catalog compiled in memory at start, numbers and times as read.

There is no compiled catalog on disk, so a build needs no hook and a changed wording is live after a restart.
"""

import gettext
import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime, format_time
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from backend.kit.money import format_minor

LANGUAGES = ("zh", "en")
DEFAULT_LANGUAGE = "zh"
_LOCALES = {"zh": Locale.parse("zh_CN"), "en": Locale.parse("en_US")}


def read_catalog() -> Catalog:
    """Return the Chinese catalog as it is written."""
    with files("backend.web").joinpath("locale/zh_CN.po").open("rb") as file:
        return read_po(file, locale="zh_CN")


@cache
def translations(language: str) -> gettext.NullTranslations:
    """Return what turns message ids into words of a language; English is the message id itself."""
    if language == "en":
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, read_catalog())
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def choose_language(*, cookie: str | None, accept_language: str) -> str:
    """Return the language to answer in: the reader's own choice, else what the browser asks for, else Chinese."""
    if cookie in LANGUAGES:
        return str(cookie)
    wanted: list[tuple[float, str]] = []
    for part in accept_language.split(",")[:10]:
        name, _, weight = part.strip().partition(";q=")
        try:
            wanted.append((-float(weight or 1), name.replace("-", "_")))
        except ValueError:
            continue
    names = [name for _, name in sorted(wanted, key=lambda item: item[0])]
    found = negotiate_locale(names, ["zh", "zh_CN", "zh_TW", "zh_HK", "en", "en_US", "en_GB"])
    return found[:2] if found else DEFAULT_LANGUAGE


@dataclass(frozen=True, slots=True)
class Formats:
    """How figures and times are written for one reader: a language and the school's zone."""

    language: str
    zone: ZoneInfo

    def number(self, value: int | float, digits: int = 0) -> str:
        """Return a number with this many decimal places."""
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        return str(format_decimal(value, format=pattern, locale=_LOCALES[self.language]))

    def litres(self, volume_ml: int | None, digits: int = 1) -> str:
        """Return millilitres as litres; an en dash when unknown."""
        return "–" if volume_ml is None else self.number(volume_ml / 1000, digits)

    def money(self, amount_minor: int | None) -> str:
        """Return fen as yuan; an en dash when unknown."""
        return "–" if amount_minor is None else format_minor(amount_minor)

    def fee(self, fee_e5: int) -> str:
        """Return a provider's fee, in 1/100,000 yuan, as yuan with all its decimals."""
        return str(format_decimal(Decimal(fee_e5).scaleb(-5), format="#,##0.00000", locale=_LOCALES[self.language]))

    def price_per_litre(self, price_minor_per_m3: int) -> str:
        """Return the price of a litre in yuan, exact, at least two decimal places."""
        exact = Fraction(price_minor_per_m3, 100_000)
        digits = next((d for d in range(2, 6) if (exact * 10**d).denominator == 1), 5)
        return f"¥{float(exact):.{digits}f}"

    def degrees(self, temperature_decidegc: int | None) -> str:
        """Return tenths of a degree as degrees; an en dash when the sensor says nothing."""
        return "–" if temperature_decidegc is None else f"{temperature_decidegc / 10:.1f}°"

    def minutes(self, seconds: int) -> str:
        """Return a duration as minutes and seconds."""
        return f"{max(0, seconds) // 60}:{max(0, seconds) % 60:02d}"

    def time(self, moment: datetime | None) -> str:
        """Return the local time of day with seconds."""
        if moment is None:
            return "–"
        return str(format_time(moment, "HH:mm:ss", tzinfo=self.zone, locale=_LOCALES[self.language]))

    def date(self, moment: datetime | None) -> str:
        """Return the local date."""
        if moment is None:
            return "–"
        return str(format_date(moment.astimezone(self.zone), "yyyy-MM-dd", locale=_LOCALES[self.language]))

    def moment(self, moment: datetime | None) -> str:
        """Return the local date and time to the second."""
        if moment is None:
            return "–"
        pattern = "yyyy-MM-dd HH:mm:ss"
        return str(format_datetime(moment, pattern, tzinfo=self.zone, locale=_LOCALES[self.language]))

    def age(self, since: datetime | None, now: datetime) -> str:
        """Return how long ago something was, in the largest whole unit."""
        if since is None:
            return "–"
        seconds = max(0, (now - since) // timedelta(seconds=1))
        units = (("天", "d", 86_400), ("小时", "h", 3_600), ("分钟", "min", 60), ("秒", "s", 1))
        zh, en, size = next((unit for unit in units if seconds >= unit[2]), units[-1])
        return f"{seconds // size} {zh if self.language == 'zh' else en}"

    def name(self, named: object) -> str:
        """Return a thing's name in the reader's language, falling back to the Chinese one."""
        english = getattr(named, "name_en", "")
        return str(english if self.language == "en" and english else getattr(named, "name", ""))
