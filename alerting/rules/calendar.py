"""Opening hours of a place, with school and public holidays; hours and days are local (`Region`)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Any

from vacances_scolaires_france import (  # pyright: ignore[reportMissingTypeStubs]
    SchoolHolidayDates,
    UnsupportedYearException,
)

from alerting.rules.region import METROPOLITAN, Region

MINUTES = 24 * 60
# Minutes around what the lamps' program switches, in which nobody can say whether they should burn.
MARGIN = 15

Span = tuple[int, int]


class MalformedCalendar(ValueError):
    """These are no opening hours; the message says why, in French."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a place is open: minutes of the day by weekday, from Monday; and when it is closed all the same."""

    weekly: tuple[tuple[Span, ...], ...]
    school_zone: str | None = None
    closed_on_holidays: bool = True
    closures: tuple[tuple[date, date], ...] = ()  # First day, first day after.

    def is_open(self, at: datetime, region: Region = METROPOLITAN) -> bool:
        """Whether the place is open at this instant."""
        local = region.local(at)
        minute = local.hour * 60 + local.minute
        spans = self.weekly[local.weekday()]
        return any(first <= minute < after for first, after in spans) and not self._closes(local.date(), region)

    def _closes(self, day: date, region: Region) -> bool:
        return (
            (self.closed_on_holidays and region.is_public_holiday(day))
            or (self.school_zone is not None and is_school_holiday(day, self.school_zone))
            or any(first <= day < after for first, after in self.closures)
        )


def read_school_holidays() -> None:
    """Read decades of dates, for a third of a second: what evaluates rules does it before it opens a transaction.

    Others read them when a calendar first asks: most processes that import this never do.
    """
    _school_holidays()


@cache
def _school_holidays() -> Any:
    return SchoolHolidayDates()


@lru_cache(4096)
def is_school_holiday(day: date, zone: str) -> bool:
    """Of zone A, B or C; a year that is not published yet has none."""
    try:
        return bool(_school_holidays().is_holiday_for_zone(day, zone))
    except UnsupportedYearException:
        return False


def minute_of(text: str) -> int:
    """The minute of the day of "HH:MM", up to "24:00".

    Raises:
        MalformedCalendar: it is no such text.
    """
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(minute) == 2):  # noqa: PLR2004
        raise MalformedCalendar(f"« {text} » n'est pas une heure : HH:MM attendu")
    found = int(hour) * 60 + int(minute)
    if int(minute) > 59 or found > MINUTES:  # noqa: PLR2004
        raise MalformedCalendar(f"« {text} » n'est pas une heure du jour")
    return found


def weekly_of(days: Sequence[Sequence[Sequence[str]]]) -> tuple[tuple[Span, ...], ...]:
    """Opening hours as they are stored: seven lists, from Monday, of ["HH:MM", "HH:MM"].

    Raises:
        MalformedCalendar: there are not seven of them, or one ends before it begins.
    """
    if len(days) != 7:  # noqa: PLR2004
        raise MalformedCalendar("les horaires comptent sept jours, du lundi au dimanche")
    week: list[tuple[Span, ...]] = []
    for spans in days:
        read: list[Span] = []
        for span in spans:
            if len(span) != 2:  # noqa: PLR2004
                raise MalformedCalendar("une plage horaire est un couple début, fin")
            first, after = minute_of(span[0]), minute_of(span[1])
            if first >= after:
                raise MalformedCalendar(
                    f"la plage {span[0]} à {span[1]} finit avant de commencer : au-delà de minuit, coupez-la en "
                    'deux, ["22:00", "24:00"] puis ["00:00", "02:00"] le lendemain'
                )
            read.append((first, after))
        week.append(tuple(read))
    return tuple(week)


def within(minute: int, span: Span) -> bool:
    """Whether a minute of the day lies in a span that may run over midnight."""
    first, after = span
    return first <= minute < after if first <= after else minute >= first or minute < after


def is_near(minute: int, switches: Iterable[int]) -> bool:
    """Whether lamps switch within a quarter of an hour of this minute of the day: no two clocks agree."""
    return any(within(minute, ((one - MARGIN) % MINUTES, (one + MARGIN) % MINUTES)) for one in switches)
