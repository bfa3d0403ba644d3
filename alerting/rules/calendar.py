"""When a rule is on duty: opening hours, school and public holidays, night, scheduled lighting.

Hours and days are local (`Region`); instants come and go as aware datetimes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from astral import Observer
from astral.sun import sunrise, sunset
from vacances_scolaires_france import (  # pyright: ignore[reportMissingTypeStubs]
    SchoolHolidayDates,
    UnsupportedYearException,
)

from alerting.rules.region import METROPOLITAN, Region

if TYPE_CHECKING:
    from alerting.rules.model import Place

MINUTES = 24 * 60
NIGHT = (22 * 60, 6 * 60)
# Around dusk and dawn nobody can say whether a lamp should burn, nor (minutes) around what its program switches.
TWILIGHT = timedelta(minutes=30)
MARGIN = 15
# How far ahead a beginning is looked for, and in which steps; an edge is then found to the minute.
LOOK_AHEAD_DAYS = 62
STEP = timedelta(minutes=15)

SCHOOL_HOLIDAYS: Any = SchoolHolidayDates()
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


@lru_cache(4096)
def is_school_holiday(day: date, zone: str) -> bool:
    """Of zone A, B or C; a year that is not published yet has none."""
    try:
        return bool(SCHOOL_HOLIDAYS.is_holiday_for_zone(day, zone))
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


def _within(minute: int, span: Span) -> bool:
    """Whether a minute of the day lies in a span that may run over midnight."""
    first, after = span
    return first <= minute < after if first <= after else minute >= first or minute < after


def is_near(minute: int, switches: Iterable[int]) -> bool:
    """Whether lamps switch within a quarter of an hour of this minute of the day: no two clocks agree."""
    return any(_within(minute, ((one - MARGIN) % MINUTES, (one + MARGIN) % MINUTES)) for one in switches)


@lru_cache(8192)
def _sun(day: date, latitude: float, longitude: float, region: Region) -> tuple[datetime, datetime] | None:
    """Sunrise and sunset of a local day; None where the sun does not set or rise."""
    observer = Observer(latitude, longitude)
    try:
        return sunrise(observer, day, tzinfo=region.zone), sunset(observer, day, tzinfo=region.zone)
    except ValueError:
        return None


def _is_dark(at: datetime, place: "Place") -> bool | None:
    """Night or day, clearly; None at dusk and dawn, and where nobody knows the place."""
    if place.latitude is None or place.longitude is None:
        return None
    day = place.region.local(at).date()
    sun = _sun(day, round(place.latitude, 1), round(place.longitude, 1), place.region)
    if sun is None:
        return None
    rises, sets = sun
    if min(abs(at - rises), abs(at - sets)) < TWILIGHT:
        return None
    return at < rises or at > sets


def _is_cut(at: datetime, place: "Place") -> bool | None:
    """Whether the lamps are off for the night; None around its edges."""
    if place.night_cut is None:
        return False
    local = place.region.local(at)
    minute = local.hour * 60 + local.minute
    return None if is_near(minute, place.night_cut) else _within(minute, place.night_cut)


def is_lit(at: datetime, place: "Place") -> bool | None:
    """Whether the lamps should burn; None: nobody can say."""
    dark, cut = _is_dark(at, place), _is_cut(at, place)
    if dark is False:
        return False
    if dark is None or cut is None:
        return None
    return not cut


def is_on_duty(schedule: str, place: "Place", at: datetime) -> bool:
    """Whether a rule with this schedule counts what it sees at this instant.

    Without opening hours a place is open all the time: a rule for hours of opening is then always on duty, one for
    hours of closing never.
    """
    match schedule:
        case "open":
            return place.calendar is None or place.calendar.is_open(at, place.region)
        case "closed":
            return place.calendar is not None and not place.calendar.is_open(at, place.region)
        case "night":
            local = place.region.local(at)
            return _within(local.hour * 60 + local.minute, NIGHT)
        case "lit":
            return is_lit(at, place) is True
        case "unlit":
            return is_lit(at, place) is False
        case _:
            return True


def _may_begin(schedule: str, place: "Place") -> bool:
    """Whether there is an instant of duty at all: looking for what never comes would take its time."""
    if schedule in ("lit", "unlit"):
        return place.latitude is not None and place.longitude is not None
    return schedule != "closed" or place.calendar is not None


def next_duty(schedule: str, place: "Place", after: datetime) -> datetime | None:
    """The next instant, to the minute, at which a rule that is off duty is on duty; None: not in two months."""
    if not _may_begin(schedule, place):
        return None
    at = after.astimezone(UTC).replace(minute=after.minute // 15 * 15, second=0, microsecond=0)
    for _ in range(LOOK_AHEAD_DAYS * MINUTES // 15):
        at += STEP
        if is_on_duty(schedule, place, at):
            minute = timedelta(minutes=1)
            edge = at - STEP
            while not is_on_duty(schedule, place, edge) or edge <= after:
                edge += minute
            return edge
    return None
