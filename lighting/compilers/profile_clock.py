"""Programs for clocks of the open profile (docs/profil-horloge.md), 48 octets at most; pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from core.model.hours import MINUTES
from core.model.lighting import UNLIT, CalendarRule, LampPlace, MonthDay, Program, Schedule, schedule_of
from core.model.region import METROPOLITAN, Region, is_school_holiday
from decoders.territoire.clock import set_program
from decoders.territoire.clock_program import (
    COEFFICIENT_STEPS,
    LARGEST,
    LEVEL_STEP,
    MOST_DAYS,
    MOST_RULES,
    MOST_SCHEDULES,
    MOST_STEPS,
    ClockProgram,
    ClockRule,
    Days,
    DoesNotFit,
    SummerTime,
    hash_of,
)
from lighting.compilers.compiled import CannotCompile, Compiled

DAY = timedelta(days=1)
# From the first of July on: two summers, or less where less is published of school holidays.
DAYS_AHEAD = 430
JULY = 7
LEAP = (2, 29)
# Holidays that come every year are looked for in as many.
YEARS = 3

_SOME = Schedule()


@dataclass(slots=True)
class _Holding:
    """What is said of a program while it is made to fit."""

    losses: list[str] = field(default_factory=list[str])
    until: date | None = None

    def lose(self, loss: str, last_exact: date | None = None) -> None:
        if loss not in self.losses:
            self.losses.append(loss)
        if last_exact is not None:
            self.until = last_exact if self.until is None else min(self.until, last_exact)

    def lose_dates(self, number: int, last: date) -> None:
        """The dates of a rule go no further than this one."""
        begin = f"règle {number} : les dates "
        self.losses = [loss for loss in self.losses if not loss.startswith(begin)]
        self.lose(f"{begin}qui tiennent vont jusqu'au {last:%d/%m/%Y}", last)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule for the clock, and which of the program's it comes from."""

    number: int
    schedule: Schedule | None
    clock_rule: ClockRule


@lru_cache(4096)
def compile_for_clock(program: Program, place: LampPlace, today: date) -> Compiled:
    """The program as a clock takes it.

    Raises:
        CannotCompile: not even its default schedule fits, or nobody can say the legal time there.
    """
    holding = _Holding()
    since = _window_begin(today)
    default = _schedule(program.default, holding)
    rules = [
        rule
        for number, given in enumerate(program.rules, 1)
        for rule in _rules(number, given, place, since, holding)
    ]
    frame = _frame(program, place, since, holding)
    try:
        octets = _fitting(frame, default, rules, today, holding)
    except DoesNotFit as unfit:
        raise CannotCompile(f"l'horloge ne tient pas ce programme : {unfit}") from None
    return Compiled((set_program(octets),), hash_of(octets.to_bytes()), tuple(holding.losses), holding.until)


def _window_begin(today: date) -> date:
    """The first of July before: dates are written out from there on, so that a hash holds for a year."""
    return date(today.year if today.month >= JULY else today.year - 1, JULY, 1)


def _frame(program: Program, place: LampPlace, since: date, holding: _Holding) -> ClockProgram:
    position = None
    if place.latitude is not None and place.longitude is not None:
        position = round(place.latitude * 100), round(place.longitude * 100)
    elif any(schedule is not None and _is_solar(schedule) for schedule in _schedules(program)):
        holding.lose("la position de l'armoire est inconnue : l'horloge compte sur la sienne ou sur sa cellule")
    standard, summer = _legal_time(place.region, since)
    # Above rather than below: what draws less than expected is a fault that is looked for.
    coefficient = -int(-program.coefficient * COEFFICIENT_STEPS // 1)
    if coefficient != program.coefficient * COEFFICIENT_STEPS:
        holding.lose(f"le coefficient de réduction est arrondi à {coefficient / COEFFICIENT_STEPS:.3f}")
    return ClockProgram(
        position=position,
        utc_offset_minutes=standard,
        summer_time=summer,
        good_friday=_has_good_friday(place.region, since) if _asks_public_holidays(program) else False,
        coefficient=coefficient,
    )


def _schedules(program: Program) -> Iterable[Schedule | None]:
    return (program.default, *(rule.schedule for rule in program.rules))


def _is_solar(schedule: Schedule) -> bool:
    return schedule.on.is_solar or schedule.off.is_solar


def _asks_public_holidays(program: Program) -> bool:
    return any(rule.holidays == "public" for rule in program.rules)


def _legal_time(region: Region, since: date) -> tuple[int, SummerTime]:
    """Standard time in minutes ahead of UTC, and the rule by which summer time comes."""
    january, july = (
        datetime(since.year + 1, month, 1, tzinfo=UTC).astimezone(region.zone).utcoffset() for month in (1, JULY)
    )
    assert january is not None  # noqa: S101 - Of a zone with a name.
    minutes = int(january.total_seconds()) // 60
    if january == july:
        return minutes, "none"
    name = region.zone.key
    if name == "America/Miquelon":
        return minutes, "north_america"
    if name.startswith("Europe/"):
        return minutes, "europe"
    raise CannotCompile(f"l'horloge ne connaît pas l'heure légale de {name}")


# --- Schedules ------------------------------------------------------------------------------------------


def _schedule(schedule: Schedule | None, holding: _Holding) -> Schedule | None:
    """The same within what a clock holds."""
    if schedule is None:
        return None
    steps: list[tuple[int, float]] = []
    for minute, level in schedule.dimming:
        # Above rather than below: no street is darker than was asked for.
        coarse = min(100, -int(-level // LEVEL_STEP) * LEVEL_STEP)
        if coarse != level:
            holding.lose(f"le palier de {level:g} % devient {coarse} % (pas de {LEVEL_STEP} %)")
        steps.append((minute % MINUTES, float(coarse)))
    steps.sort(key=lambda step: (step[0] - MINUTES // 2) % MINUTES)
    if len(steps) > MOST_STEPS:
        holding.lose(f"{MOST_STEPS} paliers au plus : les suivants sont perdus")
    cut = schedule.cut
    if cut is not None:
        cut = cut[0] % MINUTES, cut[1] % MINUTES
    if cut is not None and cut[0] == cut[1]:
        cut = None  # From midnight (24:00) to midnight (0:00).
    return Schedule(schedule.on, schedule.off, cut, tuple(steps[:MOST_STEPS]))


# --- Rules ----------------------------------------------------------------------------------------------


def _rules(number: int, rule: CalendarRule, place: LampPlace, since: date, holding: _Holding) -> list[_Rule]:
    """One rule of the program as those of the clock, of which each holds on some of its nights."""
    if rule.weekdays is not None and not rule.weekdays:
        return []
    schedule = _schedule(rule.schedule, holding)
    period = None if rule.first is None or rule.last is None else (rule.first, rule.last)
    plain = ClockRule(0, period, rule.weekdays)
    if rule.dates is not None:
        # Few and known: all other conditions are judged here.
        nights = [day for day in rule.dates if day >= since and _holds(replace(rule, dates=None), place, day)]
        found = [] if not nights else [ClockRule(0, days=_days(nights))]
    elif rule.holidays == "school":
        found = _school_rules(number, rule, plain, place, since, holding)
    elif rule.holidays == "public":
        found = [replace(plain, public_holidays=True), *_local_holidays(number, plain, place, since, holding)]
    else:
        found = [plain]
    return [_Rule(number, schedule, one) for one in found]


def _holds(rule: CalendarRule, place: LampPlace, day: date) -> bool:
    return schedule_of(Program(UNLIT, (replace(rule, schedule=_SOME),)), place, day) is not None


def _days(nights: Iterable[date]) -> tuple[Days, ...]:
    """The same days, those that follow each other together."""
    found: list[Days] = []
    for night in sorted(nights):
        last = found[-1] if found else None
        if last is not None and last.count < MOST_DAYS and night == last.first + last.count * DAY:
            found[-1] = replace(last, count=last.count + 1)
        else:
            found.append(Days(night))
    return tuple(found)


def _school_rules(
    number: int, rule: CalendarRule, plain: ClockRule, place: LampPlace, since: date, holding: _Holding
) -> list[ClockRule]:
    """School holidays follow from no calculation: their dates, as far as they are published."""
    if place.school_zone is None:
        return []
    window = [since + n * DAY for n in range(DAYS_AHEAD)]
    nights = [day for day in window if is_school_holiday(day, place.school_zone)]
    if not nights:
        return []
    spelt_out = replace(rule, weekdays=None, holidays=None)
    days = _days(day for day in nights if _holds(spelt_out, place, day))
    holding.lose(_until_fr(number, "vacances scolaires", nights[-1]), nights[-1])
    return [ClockRule(0, weekdays=plain.weekdays, days=days)] if days else []


def _until_fr(number: int, what: str, until: date) -> str:
    return f"règle {number} : les dates des {what} sont développées jusqu'au {until:%d/%m/%Y}"


def _local_holidays(
    number: int, plain: ClockRule, place: LampPlace, since: date, holding: _Holding
) -> list[ClockRule]:
    """Those that a department has besides the national ones: each year the same day, or else by their dates."""
    region = place.region
    if region.subdivision is None:
        return []
    years = [since.year + n for n in range(YEARS)]
    extra = [
        day
        for day in (since + n * DAY for n in range(YEARS * 365))
        if region.is_public_holiday(day) and not METROPOLITAN.is_public_holiday(day)
    ]
    if _has_good_friday(region, since):
        extra = [day for day in extra if day != _good_friday(day.year)]
    yearly = {
        (day.month, day.day)
        for day in extra
        if all(region.is_public_holiday(day.replace(year=year)) for year in years if (day.month, day.day) != LEAP)
    }
    found = [
        replace(plain, period=(month_day, month_day))
        for month_day in sorted(yearly)
        if plain.period is None or _is_in(month_day, plain.period)
    ]
    moving = [day for day in extra if (day.month, day.day) not in yearly]
    if plain.period is not None:
        moving = [day for day in moving if _is_in((day.month, day.day), plain.period)]
    if moving:
        holding.lose(_until_fr(number, "jours fériés locaux", moving[-1]), moving[-1])
        found.append(ClockRule(0, weekdays=plain.weekdays, days=_days(moving)))
    return found


def _is_in(day: MonthDay, period: tuple[MonthDay, MonthDay]) -> bool:
    first, last = period
    return first <= day <= last if first <= last else day >= first or day <= last


def _good_friday(year: int) -> date:
    easter_monday = next(
        day
        for day in (date(year, 3, 22) + n * DAY for n in range(36))
        if day.weekday() == 0 and METROPOLITAN.is_public_holiday(day)
    )
    return easter_monday - 3 * DAY


def _has_good_friday(region: Region, since: date) -> bool:
    return region.subdivision is not None and region.is_public_holiday(_good_friday(since.year + 1))


# --- What fits ------------------------------------------------------------------------------------------


def _fitting(
    frame: ClockProgram, default: Schedule | None, rules: list[_Rule], today: date, holding: _Holding
) -> ClockProgram:
    """The most of it that fits: dates that are past go first, those that are far next, then the last rules.

    Raises:
        DoesNotFit: not even the default schedule does.
    """
    while True:
        program = _assembled(frame, default, rules)
        if program is not None and len(program.to_bytes()) <= LARGEST:
            return program
        if not rules:
            raise DoesNotFit(f"son horaire par défaut dépasse {LARGEST} octets")
        if not _drop_past(rules, today) and not _shorten(rules, holding):
            dropped = rules.pop()
            holding.lose(f"règle {dropped.number} : elle ne tient pas dans {LARGEST} octets et reste sans effet")


def _assembled(frame: ClockProgram, default: Schedule | None, rules: list[_Rule]) -> ClockProgram | None:
    """None: more rules or schedules than a clock counts."""
    schedules = list(dict.fromkeys([default, *(rule.schedule for rule in rules)]))
    if len(schedules) > MOST_SCHEDULES or len(rules) > MOST_RULES:
        return None
    numbered = (replace(rule.clock_rule, schedule=schedules.index(rule.schedule)) for rule in rules)
    return replace(frame, schedules=tuple(schedules), rules=tuple(numbered))


def _drop_past(rules: list[_Rule], today: date) -> bool:
    """Leave out the oldest dates that are over, and a rule that has no others; whether there were any."""
    for place, rule in enumerate(rules):
        days = rule.clock_rule.days
        if days and days[0].first + days[0].count * DAY < today:
            rules[place : place + 1] = (
                [replace(rule, clock_rule=replace(rule.clock_rule, days=days[1:]))] if len(days) > 1 else []
            )
            return True
    return False


def _shorten(rules: list[_Rule], holding: _Holding) -> bool:
    """Leave out the last dates of the rule that knows most of them; whether one had more than one left."""
    longest = max(rules, key=lambda rule: len(rule.clock_rule.days or ()))
    days = longest.clock_rule.days or ()
    if len(days) <= 1:
        return False
    kept, last = days[:-1], days[-2]
    until = last.first + (last.count - 1) * DAY
    holding.lose_dates(longest.number, until)
    place = rules.index(longest)
    rules[place] = replace(longest, clock_rule=replace(longest.clock_rule, days=kept))
    return True
