"""A lighting cabinet with a clock of the open profile: it holds its program, and needs nobody at dusk; pure."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import acos, asin, cos, degrees, radians, sin, tan

from lab.device.application import Group, Message
from lab.device.payloads import clock as wire
from lab.device.payloads.clock import AskedOverride, Held, InvalidProgram, Night, NightRule

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SECOND_US = 1_000_000
NOON = 720
HORIZON_DEG = 90.833  # The sun's upper edge, refracted.
FULL = 100
DEGREES_AN_HOUR = 15
EUROPE, NORTH_AMERICA = 1, 2
CLOCK_VALID, PROGRAM_VALID, LOCAL, DOOR, BREAKER, OVERRIDDEN, REJECTED, FALLBACK = (1 << bit for bit in range(8))
APPLIED, ENDED, TOO_LATE, NO_CLOCK, LOCALLY_FORCED, UNKNOWN_CIRCUIT, MALFORMED = range(1, 8)


def _sun(day: date, latitude: float, longitude: float, standard_minutes: int, *, rising: bool) -> datetime | None:
    """Sunrise or sunset of a local day, by NOAA's formulas; None where there is none."""
    midnight = datetime.combine(day, time(0), UTC)
    local_noon = NOON - standard_minutes
    angle: float = 0
    at = float(local_noon)
    for _ in range(3):
        century = (midnight + timedelta(minutes=at) - datetime(2000, 1, 1, 12, tzinfo=UTC)) / DAY / 36_525
        declination, equation = _sun_position(century)
        transit = NOON - 4 * longitude - equation
        transit += 1440 * round((local_noon - transit) / 1440)
        ratio = cos(radians(HORIZON_DEG)) / (cos(radians(latitude)) * cos(declination))
        ratio -= tan(radians(latitude)) * tan(declination)
        if abs(ratio) > 1:
            return None
        angle = degrees(acos(ratio))
        at = transit - 4 * angle if rising else transit + 4 * angle
    return midnight + timedelta(minutes=at)


def sunset(day: date, latitude: float, longitude: float) -> datetime:
    """When the sun sets on this day of UTC.

    Raises:
        ValueError: it does not.
    """
    at = _sun(day, latitude, longitude, 0, rising=False)
    if at is None:
        raise ValueError("the sun does not set there on that day")
    return at


def _sun_position(century: float) -> tuple[float, float]:
    """Declination in radians, equation of time in minutes."""
    mean = 280.46646 + century * (36000.76983 + century * 0.0003032)
    anomaly = radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    centre = sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
    centre += sin(2 * anomaly) * (0.019993 - 0.000101 * century) + sin(3 * anomaly) * 0.000289
    node = radians(125.04 - 1934.136 * century)
    longitude = radians(mean + centre - 0.00569 - 0.00478 * sin(node))
    tilt = radians(23.439291 - century * 0.0130042 + 0.00256 * cos(node))
    half, twice = tan(tilt / 2) ** 2, 2 * radians(mean)
    equation = half * sin(twice) - 2 * eccentricity * sin(anomaly)
    equation += 4 * eccentricity * half * sin(anomaly) * cos(twice)
    equation += -0.5 * half**2 * sin(2 * twice) - 1.25 * eccentricity**2 * sin(2 * anomaly)
    return asin(sin(tilt) * sin(longitude)), 4 * degrees(equation)


def _sunday(year: int, month: int, number: int) -> date:
    """The number-th Sunday of a month; -1: the last."""
    days = [date(year, month, 1) + n * DAY for n in range(31)]
    return [day for day in days if day.month == month and day.isoweekday() == 7][number]  # noqa: PLR2004 - Sunday.


@lru_cache(64)
def _summer(rule: int, standard_minutes: int, year: int) -> tuple[datetime, datetime] | None:
    """Between which instants summer time holds."""
    if rule == EUROPE:
        begin, end = _sunday(year, 3, -1), _sunday(year, 10, -1)
        return datetime.combine(begin, time(1), UTC), datetime.combine(end, time(1), UTC)
    if rule == NORTH_AMERICA:
        begin, end = _sunday(year, 3, 1), _sunday(year, 11, 0)
        ahead = timedelta(minutes=standard_minutes)
        return datetime.combine(begin, time(2), UTC) - ahead, datetime.combine(end, time(1), UTC) - ahead
    return None


def _easter(year: int) -> date:
    """By the anonymous Gregorian algorithm."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    h = (19 * a + b - d - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    ell = (32 + 2 * e + 2 * i - h - k) % 7
    month, day = divmod(h + ell - 7 * ((a + 11 * h + 22 * ell) // 451) + 114, 31)
    return date(year, month, day + 1)


FIXED_HOLIDAYS = ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))


@lru_cache(64)
def _holidays(year: int, good_friday: bool) -> frozenset[date]:
    moving = (1, 39, 50, -2) if good_friday else (1, 39, 50)
    fixed = [date(year, month, day) for month, day in FIXED_HOLIDAYS]
    return frozenset([*fixed, *(_easter(year) + days * DAY for days in moving)])


@dataclass(frozen=True, slots=True)
class Almanac:
    """What a clock knows of its own: where it stands, if that was set."""

    held: Held
    own_position: tuple[float, float] | None = None

    def local_day(self, at: datetime) -> date:
        """The day that began at the noon before."""
        local = at + timedelta(minutes=self.held.standard_minutes)
        summer = _summer(self.held.summer, self.held.standard_minutes, local.year)
        if summer is not None and summer[0] <= at < summer[1]:
            local += 60 * MINUTE
        return local.date() if local.hour >= 12 else local.date() - DAY  # noqa: PLR2004 - Noon.

    def night(self, day: date) -> Night:
        """The schedule of a night: that of the first rule, else the first of the table."""
        number = next((rule.night for rule in self.held.rules if self._applies(rule, day)), 0)
        return self.held.nights[number]

    def _applies(self, rule: NightRule, day: date) -> bool:
        of_year = (day.month, day.day)
        if rule.period is not None:
            first, last = rule.period
            if not (first <= of_year <= last if first <= last else of_year >= first or of_year <= last):
                return False
        if rule.weekdays is not None and day.weekday() not in rule.weekdays:
            return False
        if rule.holidays and day not in _holidays(day.year, self.held.good_friday):
            return False
        return rule.days is None or any(0 <= (day - first).days < count for first, count in rule.days)

    def instant(self, day: date, minute: int) -> datetime:
        """A minute of the lighting day on the wall: before noon it is the next morning's."""
        wall = datetime.combine(day if minute >= NOON else day + DAY, time(*divmod(minute, 60)), UTC)
        standard = wall - timedelta(minutes=self.held.standard_minutes)
        summer = _summer(self.held.summer, self.held.standard_minutes, wall.year)
        ahead = standard - 60 * MINUTE
        return ahead if summer is not None and summer[0] <= ahead < summer[1] else standard

    def switchings(self, day: date) -> list[tuple[datetime, int]] | None:
        """From which instants on the lamps give how much; None: without the sun that cannot be said."""
        night = self.night(day)
        if not night.lit:
            return []
        begin, end = self._when(night.on, day), self._when(night.off, day)
        if begin is None or end is None:
            return None
        if end <= begin:
            return []
        steps = sorted((self.instant(day, minute), level) for minute, level in night.steps)
        dark = self._dark(night, day)
        found: list[tuple[datetime, int]] = []
        for at in sorted({begin, end, *(at for at, _ in steps), *dark}):
            level = next((level for since, level in reversed(steps) if since <= at), FULL)
            if not begin <= at < end or (dark and dark[0] <= at < dark[1]):
                level = 0
            if level != (found[-1][1] if found else 0):
                found.append((at, level))
        return found

    def _dark(self, night: Night, day: date) -> list[datetime]:
        if night.cut is None:
            return []
        first, last = (self.instant(day, minute) for minute in night.cut)
        if (night.cut[1] - NOON) % 1440 < (night.cut[0] - NOON) % 1440:
            last += DAY
        return [first, last]

    def _when(self, switching: tuple[str, int], day: date) -> datetime | None:
        event, minutes = switching
        if event == "clock":
            return self.instant(day, minutes)
        held = self.held
        position = self.own_position
        if held.latitude is not None and held.longitude is not None:
            position = held.latitude, held.longitude
        if position is None:
            return None
        rising = event == "sunrise"
        sun = _sun(day + DAY if rising else day, *position, held.standard_minutes, rising=rising)
        return None if sun is None else sun + minutes * MINUTE

    def level(self, at: datetime) -> int | None:
        """In percent; None: that cannot be said."""
        found = self.switchings(self.local_day(at))
        return None if found is None else next((level for since, level in reversed(found) if since <= at), 0)


FROM_DUSK_TO_DAWN = Held(0, 0, False, None, None, 1.0, (Night(),), ())


def _from_dusk_to_dawn(position: tuple[float, float] | None, at: datetime) -> int | None:
    """What the sun says there. Its noon divides the days: nobody has said what the clocks on the wall show."""
    longitude = 0.0 if position is None else position[1]
    held = replace(FROM_DUSK_TO_DAWN, standard_minutes=round(longitude / DEGREES_AN_HOUR) * 60)
    return Almanac(held, position).level(at)


@dataclass(slots=True)
class LampClock:
    """The cabinet. `photocell` is where it stands, if it has one. Without power it keeps all but the time.

    Its clock is fast by `error_s`; while it is not `is_set` it does not know the time.
    """

    rated_w: tuple[int, ...]
    photocell: tuple[float, float] | None = None
    own_position: tuple[float, float] | None = None
    is_set: bool = True
    error_s: float = 0.0
    program: bytes = b""
    local_level: int | None = None
    door_open: bool = False
    breaker_tripped: bool = False
    group: Group | None = None
    energy_wh: float = 0.0
    sequence: int = 0
    outcome: int = 0
    _rejected: bool = False
    _overrides: dict[int, tuple[AskedOverride, int]] = field(default_factory=dict[int, tuple[AskedOverride, int]])
    _last_us: int = 0

    def next_message(self, now_us: int) -> Message:
        """Its state."""
        levels = self.levels(now_us)
        power = 0.0 if self.breaker_tripped else self._power_w(levels)
        if self._last_us:
            self.energy_wh += power * (now_us - self._last_us) / SECOND_US / 3_600
        self._last_us = now_us
        flags = (
            (CLOCK_VALID, self.is_set), (PROGRAM_VALID, bool(self.program)), (LOCAL, self.local_level is not None),
            (DOOR, self.door_open), (BREAKER, self.breaker_tripped), (OVERRIDDEN, bool(self._overrides)),
            (REJECTED, self._rejected), (FALLBACK, self._level_by_program(now_us) is None or not self.program),
        )  # fmt: skip
        payload = wire.state(
            flags=sum(mask for mask, holds in flags if holds), sequence=self.sequence, outcome=self.outcome,
            held=self.program, clock_s=round(self._clock(now_us).timestamp()) if self.is_set else 0,
            levels=levels, power_w=round(power), energy_wh=round(self.energy_wh),
        )  # fmt: skip
        return Message(wire.STATE_PORT, payload)

    def levels(self, now_us: int) -> list[int]:
        """What each circuit gives, in percent."""
        if self.local_level is not None:
            return [self.local_level for _ in self.rated_w]
        self._end_overrides(now_us)
        level = self._level_by_program(now_us)
        usual = self._fallback(now_us) if level is None else level
        return [
            self._overrides[circuit][0].level if circuit in self._overrides else usual
            for circuit in range(1, len(self.rated_w) + 1)
        ]

    def _power_w(self, levels: list[int]) -> float:
        share = wire.read_program(self.program).coefficient if self.program else 1.0
        return sum(rated * level / FULL * share for rated, level in zip(self.rated_w, levels, strict=True))

    def _clock(self, now_us: int) -> datetime:
        return datetime.fromtimestamp(now_us / SECOND_US + self.error_s, UTC)

    def _level_by_program(self, now_us: int) -> int | None:
        if not self.is_set:
            return None
        at = self._clock(now_us)
        if not self.program:
            return _from_dusk_to_dawn(self.own_position, at)
        return Almanac(wire.read_program(self.program), self.own_position).level(at)

    def _fallback(self, now_us: int) -> int:
        """By its photocell, which sees the true sun; without one its lamps burn, and nobody is in the dark."""
        if self.photocell is None:
            return FULL
        true_time = datetime.fromtimestamp(now_us / SECOND_US, UTC)
        return _from_dusk_to_dawn(self.photocell, true_time) or 0

    def _end_overrides(self, now_us: int) -> None:
        for circuit, (asked, since_us) in list(self._overrides.items()):
            is_over = now_us - since_us >= asked.minutes * 60 * SECOND_US
            if is_over or (self.is_set and self._clock(now_us).timestamp() >= asked.until_s):
                del self._overrides[circuit]
                if asked.sequence == self.sequence:
                    self.outcome = ENDED

    def on_downlink(self, message: Message, now_us: int) -> Message | None:
        """Take what it says, and answer with the state, or with the program when that is asked for."""
        match message.f_port:
            case wire.PROGRAM_PORT:
                self._take_program(message.payload)
            case wire.STATE_PORT:
                self._take_override(wire.read_override(message.payload), now_us)
            case wire.TIME_PORT if len(message.payload) == 4:  # noqa: PLR2004 - Octets of an instant.
                self.error_s = int.from_bytes(message.payload) - now_us / SECOND_US
                self.is_set = True
            case wire.QUESTION_PORT if message.payload == b"\x02":
                return Message(wire.PROGRAM_PORT, self.program or wire.NO_PROGRAM)
            case wire.QUESTION_PORT if message.payload == b"\x01":
                pass
            case wire.GROUP_PORT:
                self.group = wire.read_group(message.payload) or self.group
            case _:
                return None
        return self.next_message(now_us)

    def on_group_message(self, message: Message, now_us: int) -> Message | None:
        """By its group it takes programs, overrides and questions: neither the time nor another group."""
        if message.f_port in (wire.PROGRAM_PORT, wire.STATE_PORT, wire.QUESTION_PORT):
            return self.on_downlink(message, now_us)
        return None

    def _take_program(self, octets: bytes) -> None:
        try:
            wire.read_program(octets)
        except InvalidProgram:
            self._rejected = True
        else:
            self.program, self._rejected = octets, False

    def _take_override(self, asked: AskedOverride | None, now_us: int) -> None:
        if asked is None:
            self.outcome = MALFORMED
            return
        self.sequence = asked.sequence
        self.outcome = self._reason_against(asked, now_us) or APPLIED
        if self.outcome != APPLIED:
            return
        for circuit in [asked.circuit] if asked.circuit else range(1, len(self.rated_w) + 1):
            if asked.level == wire.RELEASED:
                self._overrides.pop(circuit, None)
            else:
                self._overrides[circuit] = asked, now_us

    def _reason_against(self, asked: AskedOverride, now_us: int) -> int:
        if asked.circuit > len(self.rated_w):
            return UNKNOWN_CIRCUIT
        if self.local_level is not None:
            return LOCALLY_FORCED
        if asked.level == wire.RELEASED:
            return 0
        if self.is_set:
            return TOO_LATE if self._clock(now_us).timestamp() >= asked.until_s else 0
        # It cannot say whether the override comes too late: it may then light more, and nothing less.
        burning = self.levels(now_us)
        affected = burning if not asked.circuit else burning[asked.circuit - 1 : asked.circuit]
        return NO_CLOCK if asked.level < max(affected) else 0
