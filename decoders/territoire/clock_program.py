"""The program that a clock of the open profile holds, as octets (docs/profil-horloge.md, "Le programme"); pure.

It is a program of `core.model.lighting` that fits: hours to the minute, levels in steps of five percent, the
public holidays of all France, and single dates. What of a program does not fit, lighting's compiler says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Literal, get_args

from core.model.hours import MINUTES, Span
from core.model.lighting import MonthDay, Schedule, SunEvent, Switching
from decoders.canonical import MalformedPayload

LARGEST = 48
HASH_SIZE = 4
FORMAT = 1
MOST_SCHEDULES = MOST_RULES = MOST_STEPS = 15
MOST_DAYS = 255
LEVEL_STEP = 5
COEFFICIENT_STEPS = 200
QUARTER_HOUR = 15
FIRST_YEAR, LAST_YEAR = 2020, 2083
LARGEST_OFFSET = 720

SummerTime = Literal["none", "europe", "north_america"]
SUMMER_TIMES: tuple[SummerTime, ...] = get_args(SummerTime)
_EVENTS: tuple[SunEvent | None, ...] = (None, "sunset", "sunrise")
_HEADER = 9
_NOWHERE, _POLE, _ANTIMERIDIAN = -0x8000, 9_000, 18_000
_UNLIT, _CUT, _ON, _OFF = 0x80, 0x40, 0x20, 0x10
_PERIOD, _WEEKDAYS, _HOLIDAYS, _DAYS = 0x80, 0x40, 0x20, 0x10
_GOOD_FRIDAY = 0x01
_LOW = 0x0F
_SEVERAL = 0x8000
_TWELVE = 0xFFF
_EVERY_WEEKDAY = 0x7F
_MINUTE_BITS, _LEVEL_BITS = 5, 0x1F
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class DoesNotFit(ValueError):
    """A clock of the profile cannot hold this; the message says why, in French."""


@dataclass(frozen=True, slots=True)
class Days:
    """Days one after the other, of which each begins a night."""

    first: date
    count: int = 1


@dataclass(frozen=True, slots=True)
class ClockRule:
    """On which nights a schedule, given by its place in the table, holds: all that is given must be true."""

    schedule: int
    period: tuple[MonthDay, MonthDay] | None = None
    weekdays: frozenset[int] | None = None  # From Monday, 0.
    public_holidays: bool = False
    days: tuple[Days, ...] | None = None


@dataclass(frozen=True, slots=True)
class ClockProgram:
    """What a clock holds. The first schedule is that of nights for which no rule is.

    `position` is in hundredths of a degree, latitude and longitude; None: the clock's own. `good_friday` is
    whether Good Friday is a public holiday there. `coefficient` is in two-hundredths.
    """

    schedules: tuple[Schedule | None, ...] = (Schedule(),)
    rules: tuple[ClockRule, ...] = ()
    position: tuple[int, int] | None = None
    utc_offset_minutes: int = 60
    summer_time: SummerTime = "europe"
    good_friday: bool = False
    coefficient: int = COEFFICIENT_STEPS

    def to_bytes(self) -> bytes:
        """Its octets, of which there may be more than a clock takes (`LARGEST`).

        Raises:
            DoesNotFit: a part of it has no octets.
        """
        if not 1 <= len(self.schedules) <= MOST_SCHEDULES or len(self.rules) > MOST_RULES:
            raise DoesNotFit(f"une horloge tient {MOST_SCHEDULES} horaires et {MOST_RULES} règles au plus")
        latitude, longitude = self.position or (_NOWHERE, _NOWHERE)
        places = SUMMER_TIMES.index(self.summer_time) << 4 | (_GOOD_FRIDAY if self.good_friday else 0)
        header = (
            bytes((FORMAT,))
            + (self.utc_offset_minutes // QUARTER_HOUR).to_bytes(1, signed=True)
            + bytes((places,))
            + latitude.to_bytes(2, signed=True)
            + longitude.to_bytes(2, signed=True)
            + bytes((self.coefficient, len(self.schedules) << 4 | len(self.rules)))
        )
        schedules = b"".join(map(_write_schedule, self.schedules))
        return header + schedules + b"".join(map(_write_rule, self.rules))


def hash_of(octets: bytes) -> bytes:
    """What names a program in a clock's reports: the first four octets of the SHA-256 of its octets."""
    return sha256(octets).digest()[:HASH_SIZE]


def _two_of_twelve(first: int, second: int) -> bytes:
    return (first << 12 | second).to_bytes(3)


def _write_switching(switching: Switching) -> bytes:
    minutes = switching.minutes
    if switching.event is None:
        minutes %= MINUTES
    elif abs(minutes) > LARGEST_OFFSET:
        raise DoesNotFit(f"un décalage de {minutes} minutes : {LARGEST_OFFSET} au plus")
    return (_EVENTS.index(switching.event) << 14 | minutes & _TWELVE).to_bytes(2)


def _write_schedule(schedule: Schedule | None) -> bytes:
    if schedule is None:
        return bytes((_UNLIT,))
    if len(schedule.dimming) > MOST_STEPS:
        raise DoesNotFit(f"{len(schedule.dimming)} paliers : {MOST_STEPS} au plus")
    flags, body = len(schedule.dimming), b""
    if schedule.on != Schedule().on:
        flags, body = flags | _ON, body + _write_switching(schedule.on)
    if schedule.off != Schedule().off:
        flags, body = flags | _OFF, body + _write_switching(schedule.off)
    if schedule.cut is not None:
        flags, body = flags | _CUT, body + _two_of_twelve(*(minute % MINUTES for minute in schedule.cut))
    for minute, level in schedule.dimming:
        steps = int(level) // LEVEL_STEP
        if steps * LEVEL_STEP != level or not 1 <= steps <= 100 // LEVEL_STEP:
            raise DoesNotFit(f"un palier de {level} % : les paliers vont de {LEVEL_STEP} en {LEVEL_STEP} %")
        body += (minute % MINUTES << _MINUTE_BITS | steps).to_bytes(2)
    return bytes((flags,)) + body


def _write_rule(rule: ClockRule) -> bytes:
    flags, body = rule.schedule, b""
    if rule.period is not None:
        flags |= _PERIOD
        body += _two_of_twelve(*(month << 5 | day for month, day in rule.period))
    if rule.weekdays is not None:
        flags |= _WEEKDAYS
        body += bytes((sum(1 << day for day in rule.weekdays),))
    if rule.public_holidays:
        flags |= _HOLIDAYS
    if rule.days is not None:
        flags |= _DAYS
        if len(rule.days) > MOST_DAYS or any(not 1 <= days.count <= MOST_DAYS for days in rule.days):
            raise DoesNotFit(f"une règle tient {MOST_DAYS} dates au plus")
        body += bytes((len(rule.days),)) + b"".join(map(_write_days, rule.days))
    return bytes((flags,)) + body


def _write_days(days: Days) -> bytes:
    first = days.first
    if not FIRST_YEAR <= first.year <= LAST_YEAR:
        raise DoesNotFit(f"le {first:%d/%m/%Y} : les années vont de {FIRST_YEAR} à {LAST_YEAR}")
    number = first.year - FIRST_YEAR << 9 | first.month << 5 | first.day
    return number.to_bytes(2) if days.count == 1 else (_SEVERAL | number).to_bytes(2) + bytes((days.count,))


class _Octets:
    """Reads a program from its first octet to its last. Raises MalformedPayload where they end too early."""

    def __init__(self, octets: bytes) -> None:
        self._octets, self._at = octets, 0

    def octets(self, count: int) -> bytes:
        taken = self._octets[self._at : self._at + count]
        if len(taken) < count:
            raise MalformedPayload(f"programme tronqué à l'octet {len(self._octets)} : {self._octets.hex()}")
        self._at += count
        return taken

    def number(self, count: int = 1, *, signed: bool = False) -> int:
        return int.from_bytes(self.octets(count), signed=signed)

    def invalid(self, why: str) -> MalformedPayload:
        return MalformedPayload(f"{why}, avant l'octet {self._at} du programme : {self._octets.hex()}")

    def end(self) -> None:
        if self._at != len(self._octets):
            raise self.invalid("octets en trop")


def read_clock_program(octets: bytes) -> ClockProgram:
    """The program of these octets, of which there is one form alone: written again, they are the same.

    Raises:
        MalformedPayload: they are no program that a clock takes.
    """
    if len(octets) > LARGEST:
        raise MalformedPayload(f"un programme a {LARGEST} octets au plus, pas {len(octets)} : {octets.hex()}")
    given = _Octets(octets)
    if (version := given.number()) != FORMAT:
        raise given.invalid(f"format {version} inconnu ({FORMAT} attendu)")
    offset, places = given.number(signed=True) * QUARTER_HOUR, given.number()
    if abs(offset) > MINUTES // 2 + 120 or places >> 4 >= len(SUMMER_TIMES) or places & _LOW & ~_GOOD_FRIDAY:
        raise given.invalid("heure légale inconnue")
    position = given.number(2, signed=True), given.number(2, signed=True)
    is_known = position != (_NOWHERE, _NOWHERE)
    if is_known and (abs(position[0]) > _POLE or abs(position[1]) > _ANTIMERIDIAN):
        raise given.invalid("position hors du globe")
    coefficient, counts = given.number(), given.number()
    if not 1 <= coefficient <= COEFFICIENT_STEPS or not 1 <= counts >> 4 <= MOST_SCHEDULES:
        raise given.invalid("coefficient ou nombre d'horaires hors bornes")
    schedules = tuple(_read_schedule(given) for _ in range(counts >> 4))
    rules = tuple(_read_rule(given, len(schedules)) for _ in range(counts & _LOW))
    given.end()
    return ClockProgram(
        schedules,
        rules,
        position if is_known else None,
        offset,
        SUMMER_TIMES[places >> 4],
        bool(places & _GOOD_FRIDAY),
        coefficient,
    )


def _read_switching(given: _Octets) -> Switching:
    number = given.number(2)
    kind, minutes = number >> 14, number & _TWELVE
    if kind >= len(_EVENTS) or number & 0x3000:
        raise given.invalid("commutation inconnue")
    if kind:
        minutes -= (minutes & 0x800) << 1
        if abs(minutes) > LARGEST_OFFSET:
            raise given.invalid("décalage hors bornes")
    elif minutes >= MINUTES:
        raise given.invalid("heure hors du jour")
    return Switching(_EVENTS[kind], minutes)


def _read_two(given: _Octets) -> tuple[int, int]:
    both = given.number(3)
    return both >> 12, both & _TWELVE


def _read_schedule(given: _Octets) -> Schedule | None:
    flags = given.number()
    if flags & _UNLIT:
        if flags != _UNLIT:
            raise given.invalid("nuit sans éclairage avec un horaire")
        return None
    usual = Schedule()
    on = _read_switching(given) if flags & _ON else usual.on
    off = _read_switching(given) if flags & _OFF else usual.off
    if (flags & _ON and on == usual.on) or (flags & _OFF and off == usual.off):
        raise given.invalid("coucher ou lever sans décalage s'écrit sans octet")
    cut: Span | None = _read_two(given) if flags & _CUT else None
    if cut is not None and (max(cut) >= MINUTES or cut[0] == cut[1]):
        raise given.invalid("coupure impossible")
    dimming: list[tuple[int, float]] = []
    for _ in range(flags & _LOW):
        number = given.number(2)
        minute, level = number >> _MINUTE_BITS, (number & _LEVEL_BITS) * LEVEL_STEP
        if minute >= MINUTES or not 1 <= level <= 100:  # noqa: PLR2004 - Percent.
            raise given.invalid("palier impossible")
        if dimming and (minute - MINUTES // 2) % MINUTES <= (dimming[-1][0] - MINUTES // 2) % MINUTES:
            raise given.invalid("paliers en désordre")
        dimming.append((minute, float(level)))
    return Schedule(on, off, cut, tuple(dimming))


def _read_rule(given: _Octets, schedules: int) -> ClockRule:
    flags = given.number()
    schedule, conditions = flags & _LOW, flags & ~_LOW
    if schedule >= schedules or not conditions:
        raise given.invalid("règle sans condition, ou d'un horaire inconnu")
    period = _read_period(given) if flags & _PERIOD else None
    mask = given.number() if flags & _WEEKDAYS else None
    if mask is not None and not 0 < mask <= _EVERY_WEEKDAY:
        raise given.invalid("jours de la semaine impossibles")
    weekdays = None if mask is None else frozenset(day for day in range(7) if mask >> day & 1)
    days: Sequence[Days] | None = None
    if flags & _DAYS:
        days = [_read_days(given) for _ in range(given.number())]
    return ClockRule(schedule, period, weekdays, bool(flags & _HOLIDAYS), None if days is None else tuple(days))


def _read_period(given: _Octets) -> tuple[MonthDay, MonthDay]:
    first, last = (_month_day(number, given) for number in _read_two(given))
    return first, last


def _month_day(number: int, given: _Octets) -> MonthDay:
    month, day = number >> 5, number & 0x1F
    if not 1 <= month <= 12 or not 1 <= day <= _LONGEST_MONTHS[month - 1]:  # noqa: PLR2004 - Months.
        raise given.invalid("jour de l'année impossible")
    return month, day


def _read_days(given: _Octets) -> Days:
    number = given.number(2)
    count = given.number() if number & _SEVERAL else 1
    try:
        first = date(FIRST_YEAR + (number >> 9 & 0x3F), number >> 5 & _LOW, number & 0x1F)
    except ValueError:
        raise given.invalid("date impossible") from None
    if number & _SEVERAL and count <= 1:
        raise given.invalid("plusieurs dates, qui sont moins de deux")
    return Days(first, count)
