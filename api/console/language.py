"""French first, English beside it: texts, numbers and instants as people read them."""

import io
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from zoneinfo import ZoneInfo

from babel.core import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from core.model.quantities import QUANTITIES

FRENCH, ENGLISH = "fr", "en"
NAMES = {FRENCH: "Français", ENGLISH: "English"}
COOKIE = "langue"
# What the API says, which is no text of a page.
ERRORS = "errors.po"
# Of greater numbers the binary digits are not those that were meant.
EXACT_BELOW = 1e9
# From then on a date says more than a number of days.
RELATIVE_FOR = timedelta(days=7)


class _French(NullTranslations):
    """The texts as they are, whose quotation marks stay with what they enclose."""

    def gettext(self, message: str) -> str:
        return _enclosed(super().gettext(message))

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        # Of none and of one there is one in French.
        return _enclosed(msgid1 if n <= 1 else msgid2)


def _enclosed(text: str) -> str:
    return text.replace("« ", "«\u00a0").replace(" »", "\u00a0»")


@cache
def translations_of(code: str) -> NullTranslations:
    """The texts in the code are French; catalogues have the others, one for each folder of pages."""
    if code == FRENCH:
        return _French()
    every = Catalog(locale=code)
    for part in files("api.console").joinpath("locales", code).iterdir():
        if part.name == ERRORS:
            continue
        for message in read_po(io.BytesIO(part.read_bytes()), locale=code):
            if message.id:
                every.add(message.id, message.string)
    compiled = io.BytesIO()
    write_mo(compiled, every)
    compiled.seek(0)
    return GNUTranslations(compiled)


@cache
def _locale(code: str) -> Locale:
    """Found once: by its code it is read again for each number of a table."""
    return Locale.parse(code)


@cache
def _signs(code: str) -> dict[int, str]:
    """What stands in this language for the signs of a number that Python writes."""
    symbols = _locale(code).number_symbols["latn"]
    return str.maketrans({",": symbols["group"], ".": symbols["decimal"], "-": symbols["minusSign"]})


@cache
def _months(code: str, width: str) -> tuple[str, ...]:
    """Their names inside of a date, from January on."""
    names = _locale(code).months["format"][width]
    return tuple(names[month] for month in range(1, 13))


@dataclass(frozen=True, slots=True)
class Language:
    """How one visitor reads."""

    code: str
    zone: ZoneInfo

    def gettext(self, french: str) -> str:
        """A text of the console in the visitor's language."""
        return translations_of(self.code).gettext(french)

    @property
    def _locale(self) -> Locale:
        return _locale(self.code)

    def quantity(self, name: str) -> str:
        """A quantity of the catalogue; one that is no more in it as it is written."""
        known = QUANTITIES.get(name)
        if known is None:
            return name
        return known.label_en if self.code == ENGLISH else known.label_fr

    def number(self, value: float | None, digits: int = 0) -> str:
        """With the language's comma and spaces; an em dash for what nobody knows."""
        if value is None:
            return "—"
        rounded = round(value, digits)
        if not abs(rounded) < EXACT_BELOW:
            return format_decimal(rounded, f"#,##0.{'#' * digits}" if digits else "#,##0", self._locale)
        text = f"{rounded:,.{digits}f}"  # Babel takes ten times as long, and a page of a trade has 150 numbers.
        return (text.rstrip("0").rstrip(".") if digits else text).translate(_signs(self.code))

    def exact(self, instant: datetime) -> str:
        """The instant to the second, where the visitor works."""
        local = instant.astimezone(self.zone)
        return f"{local.day} {_months(self.code, 'wide')[local.month - 1]} {local.year} {local:%H:%M:%S}"

    def on_day(self, day: date) -> str:
        """A day, or that of an instant where the visitor works."""
        local = day.astimezone(self.zone) if isinstance(day, datetime) else day
        return format_date(local, "d MMMM yyyy", locale=self._locale)

    def short_day(self, day: date) -> str:
        """A day of this year, as short as an axis has place for."""
        return format_date(day, "d MMM", locale=self._locale)

    def lasting(self, seconds: int) -> str:
        """How long that is."""
        return format_timedelta(timedelta(seconds=seconds), threshold=1, locale=self._locale)

    def minute(self, instant: datetime) -> str:
        """The day and the minute, without the year."""
        return format_datetime(instant.astimezone(self.zone), "d MMM HH:mm", locale=self._locale)

    def clock(self, instant: datetime) -> str:
        """The instant of the day, where the visitor works."""
        return f"{instant.astimezone(self.zone):%H:%M:%S}"

    def day(self, day: date) -> str:
        """A day: 27 nov. 2026."""
        return format_date(day, "d MMM yyyy", locale=self._locale)

    def relative(self, instant: datetime, now: datetime | None = None) -> str:
        """How long ago, or in how long; the date when that is far."""
        apart = instant - (now or datetime.now(UTC))
        if abs(apart) >= RELATIVE_FOR:
            return format_datetime(instant.astimezone(self.zone), "d MMM yyyy", locale=self._locale)
        return format_timedelta(apart, threshold=1.2, add_direction=True, locale=self._locale)


def known_code(code: str | None) -> str:
    """The code of a language that we have; French for any other."""
    return code if code in NAMES else FRENCH
