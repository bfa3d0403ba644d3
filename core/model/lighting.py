"""What should burn in a street now, by the program of its lamps; pure, the instant is an argument.

A program has calendar rules, of which the first that matches a night decides, and a schedule for all other
nights. A lighting day begins at noon (as in TALQ), so that an evening and the morning after it are one. Hours are
those of clocks on the wall where the lamps are; sunset and sunrise are those of the sun's upper edge, refracted.

At the end of summer time an hour comes twice: what begins or ends then does so the first time. At its beginning
an hour is missing: what falls into it happens as many minutes after the last hour before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal

from astral import Observer
from astral.sun import sunrise, sunset

from core.model.hours import MINUTES, Span
from core.model.region import METROPOLITAN, Region, is_school_holiday

NOON = time(12)
DAY = timedelta(days=1)
FULL = 100
# Around a switching no two clocks agree, and photocells less than clocks: nobody can say what a lamp should do.
MARGIN = timedelta(minutes=15)
TWILIGHT_MARGIN = timedelta(minutes=30)

SunEvent = Literal["sunset", "sunrise"]
Holidays = Literal["public", "school"]
MonthDay = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Switching:
    """When lamps go on or off: minutes after sunset or sunrise (before: negative), or a minute of the day."""

    event: SunEvent | None
    minutes: int

    @property
    def is_solar(self) -> bool:
        """Whether one has to know where the lamps are."""
        return self.event is not None


DUSK, DAWN = Switching("sunset", 0), Switching("sunrise", 0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One night. `dimming`: from each minute of the day on, percent of full light; before the first, full."""

    on: Switching = DUSK
    off: Switching = DAWN
    cut: Span | None = None
    dimming: tuple[tuple[int, float], ...] = ()


UNLIT: Schedule | None = None
"""A night on which the lamps stay off."""


@dataclass(frozen=True, slots=True)
class CalendarRule:
    """On which nights a schedule holds; all that is given must be true of the day on which the night begins.

    `first` and `last` are days of any year, both included, over New Year when `last` is earlier.
    """

    schedule: Schedule | None
    first: MonthDay | None = None
    last: MonthDay | None = None
    weekdays: frozenset[int] | None = None  # From Monday, 0.
    holidays: Holidays | None = None
    dates: frozenset[date] | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """What lamps do all year. `coefficient`: the share of their rated power that they draw at full light."""

    default: Schedule | None = Schedule()
    rules: tuple[CalendarRule, ...] = ()
    coefficient: float = 1.0


FROM_DUSK_TO_DAWN = Program()


@dataclass(frozen=True, slots=True)
class Lamps:
    """The lamps of a cabinet: their program, and what they draw together at full light (None: nobody says)."""

    program: Program = FROM_DUSK_TO_DAWN
    rated_power_w: float | None = None


@dataclass(frozen=True, slots=True)
class LampPlace:
    """Where lamps are; `school_zone` A, B or C, None: without school holidays."""

    latitude: float | None
    longitude: float | None
    region: Region = METROPOLITAN
    school_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """From this instant on lamps give this much light, in percent; 0: they are off."""

    at: datetime
    level: float
    is_solar: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What should be: light in percent (0: off), and the share of the rated power that this draws."""

    level: float
    power_ratio: float

    @property
    def on(self) -> bool:
        """Whether lamps should burn."""
        return self.level > 0


def night_of(at: datetime, region: Region) -> date:
    """The lighting day of an instant: the local day on which it began, at noon."""
    local = region.local(at)
    return local.date() if local.time() >= NOON else local.date() - DAY


def schedule_of(program: Program, place: LampPlace, night: date) -> Schedule | None:
    """What holds on a night; None: the lamps stay off."""
    for rule in program.rules:
        if _matches(rule, place, night):
            return rule.schedule
    return program.default


def _matches(rule: CalendarRule, place: LampPlace, night: date) -> bool:
    return (
        (rule.first is None or rule.last is None or _is_between(night, rule.first, rule.last))
        and (rule.weekdays is None or night.weekday() in rule.weekdays)
        and (rule.dates is None or night in rule.dates)
        and (rule.holidays is None or _is_holiday(rule.holidays, place, night))
    )


def _is_between(day: date, first: MonthDay, last: MonthDay) -> bool:
    of_year = (day.month, day.day)
    return first <= of_year <= last if first <= last else of_year >= first or of_year <= last


def _is_holiday(kind: Holidays, place: LampPlace, day: date) -> bool:
    if kind == "public":
        return place.region.is_public_holiday(day)
    return place.school_zone is not None and is_school_holiday(day, place.school_zone)


@lru_cache(8192)
def changes(program: Program, place: LampPlace, night: date) -> tuple[Change, ...] | None:
    """What lamps do from noon of this day to the next noon, from "off" at noon on; None: nobody can say.

    That is where the sun does not set or rise, and where a schedule needs a place that nobody knows.
    """
    schedule = schedule_of(program, place, night)
    if schedule is None:
        return ()
    begin, end = _switching_at(schedule.on, place, night), _switching_at(schedule.off, place, night)
    if begin is None or end is None:
        return None
    if end <= begin:
        return ()
    steps = _steps(schedule, night, place.region)
    dark: tuple[datetime, datetime] | None = None
    if schedule.cut is not None and schedule.cut[0] != schedule.cut[1]:
        dark = _cut_of(schedule.cut, night, place.region)

    def level(at: datetime) -> float:
        if not begin <= at < end or (dark is not None and dark[0] <= at < dark[1]):
            return 0
        return _dimmed(steps, at)

    solar = {begin: schedule.on.is_solar, end: schedule.off.is_solar}
    instants = {begin, end, *(at for at, _ in steps), *(dark or ())}
    found: list[Change] = []
    for at in sorted(instants):
        if level(at) != (found[-1].level if found else 0):
            found.append(Change(at, level(at), solar.get(at, False)))
    return tuple(found)


def dusks_around(place: LampPlace, at: datetime) -> tuple[datetime, ...]:
    """The sunsets next to an instant; none where nobody knows the place, or the sun does not set."""
    night = night_of(at, place.region)
    found = (_switching_at(DUSK, place, day) for day in (night - DAY, night, night + DAY))
    return tuple(dusk for dusk in found if dusk is not None)


def level_at(program: Program, place: LampPlace, at: datetime) -> float | None:
    """Percent of full light at an instant; None: nobody can say."""
    found = changes(program, place, night_of(at, place.region))
    if found is None:
        return None
    return next((change.level for change in reversed(found) if change.at <= at), 0)


def expected(program: Program, place: LampPlace, at: datetime) -> Expected | None:
    """What should burn at an instant; None: nobody can say, as around each switching."""
    night = night_of(at, place.region)
    nights = [changes(program, place, day) for day in (night - DAY, night, night + DAY)]
    if any(found is None for found in nights):
        return None
    for found in nights:
        for change in found or ():
            if abs(at - change.at) < (TWILIGHT_MARGIN if change.is_solar else MARGIN):
                return None
    level = level_at(program, place, at)
    return None if level is None else Expected(level, level / FULL * program.coefficient)


def dimmed_to(program: Program, place: LampPlace, at: datetime) -> float | None:
    """Percent of full light that lamps give at this hour if they burn at all; None around a step.

    For lamps of which nobody knows where they are, this is all that can be said.
    """
    night = night_of(at, place.region)
    schedule = schedule_of(program, place, night)
    if schedule is None:
        return FULL
    steps = _steps(schedule, night, place.region)
    near = [*steps, *_steps(schedule, night - DAY, place.region), *_steps(schedule, night + DAY, place.region)]
    return None if any(abs(at - step) < MARGIN for step, _ in near) else _dimmed(steps, at)


def _steps(schedule: Schedule, night: date, region: Region) -> list[tuple[datetime, float]]:
    return sorted((_instant(minute, night, region), level) for minute, level in schedule.dimming)


def _dimmed(steps: Sequence[tuple[datetime, float]], at: datetime) -> float:
    return next((level for since, level in reversed(steps) if since <= at), FULL)


@dataclass(frozen=True, slots=True)
class Burnt:
    """How long lamps burn, and how long at full light for the same energy; nights unknown are counted apart."""

    hours: float = 0.0
    full_hours: float = 0.0
    unknown_nights: int = 0

    def energy_kwh(self, rated_w: float) -> float:
        """What lamps of this rated power draw in that time."""
        return rated_w * self.full_hours / 1000


def burnt(program: Program, place: LampPlace, first: date, nights: int) -> Burnt:
    """What lamps do in these nights, from the noon of `first` on."""
    hours = full_hours = 0.0
    unknown = 0
    for number in range(nights):
        night = first + number * DAY
        found = changes(program, place, night)
        if found is None:
            unknown += 1
            continue
        for level, seconds in _stretches(found, _instant(MINUTES // 2, night + DAY, place.region)):
            hours += seconds / 3600 * (level > 0)
            full_hours += seconds / 3600 * level / FULL * program.coefficient
    return Burnt(hours, full_hours, unknown)


def _stretches(found: tuple[Change, ...], noon: datetime) -> Iterator[tuple[float, float]]:
    for number, change in enumerate(found):
        until = found[number + 1].at if number + 1 < len(found) else noon
        yield change.level, (until - change.at).total_seconds()


def _switching_at(switching: Switching, place: LampPlace, night: date) -> datetime | None:
    if switching.event is None:
        return _instant(switching.minutes, night, place.region)
    if place.latitude is None or place.longitude is None:
        return None
    # To a hundredth of a degree: two seconds of the sun, and the lamps of a street are one place.
    sun = _sun(switching.event, night, round(place.latitude, 2), round(place.longitude, 2), place.region)
    return None if sun is None else sun + timedelta(minutes=switching.minutes)


@lru_cache(16_384)
def _sun(event: SunEvent, night: date, latitude: float, longitude: float, region: Region) -> datetime | None:
    """Sunset of the evening or sunrise of the morning after it; None where there is none."""
    observer = Observer(latitude, longitude)
    try:
        if event == "sunset":
            return sunset(observer, night, tzinfo=region.zone).astimezone(UTC)
        return sunrise(observer, night + DAY, tzinfo=region.zone).astimezone(UTC)
    except ValueError:
        return None


def _instant(minute: int, night: date, region: Region) -> datetime:
    """A minute of the day: on the evening of the night, or from midnight on on the morning after it."""
    minute %= MINUTES
    day = night if minute >= MINUTES // 2 else night + DAY
    return datetime.combine(day, time(*divmod(minute, 60)), region.zone).astimezone(UTC)


def _cut_of(cut: Span, night: date, region: Region) -> tuple[datetime, datetime]:
    """Between which instants lamps are off; nothing lies between them where a missing hour has swallowed it."""
    first, after = (_instant(minute, night, region) for minute in cut)
    runs_over_noon = (cut[0] - MINUTES // 2) % MINUTES > (cut[1] - MINUTES // 2) % MINUTES
    return first, after + DAY if runs_over_noon else after
