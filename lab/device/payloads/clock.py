"""What a clock of the open profile sends and understands, from the device's side (docs/profil-horloge.md).

Written from the document alone, apart from the codec, so that each proves the other; pure.
"""

from dataclasses import dataclass
from datetime import date
from hashlib import sha256

from lab.device.application import Group

PROGRAM_PORT, STATE_PORT, TIME_PORT, QUESTION_PORT, GROUP_PORT = 61, 62, 63, 64, 65
RELEASED = 255
LARGEST_PROGRAM = 48
NO_PROGRAM = b"\x00"
GROUP_SIZE = 45
NOWHERE = -32_768
EVENTS = ("clock", "sunset", "sunrise")


@dataclass(frozen=True, slots=True)
class Night:
    """An entry of the table of schedules: switchings as (event, minutes), minutes of the day."""

    lit: bool = True
    on: tuple[str, int] = ("sunset", 0)
    off: tuple[str, int] = ("sunrise", 0)
    cut: tuple[int, int] | None = None
    steps: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class NightRule:
    """On which nights an entry of the table holds; days are a first one and their number."""

    night: int
    holidays: bool
    period: tuple[tuple[int, int], tuple[int, int]] | None = None
    weekdays: frozenset[int] | None = None
    days: tuple[tuple[date, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A program, as a clock takes it from its octets."""

    standard_minutes: int
    summer: int
    good_friday: bool
    latitude: float | None
    longitude: float | None
    coefficient: float
    nights: tuple[Night, ...]
    rules: tuple[NightRule, ...]


class InvalidProgram(ValueError):
    """Octets that are no program: the clock keeps the one that it has."""


def program_hash(octets: bytes) -> bytes:
    """What names a program."""
    return sha256(octets).digest()[:4]


def _bits(octets: bytes) -> str:
    return "".join(f"{octet:08b}" for octet in octets)


class _Stream:
    """Fields by their number of bits, the most significant first."""

    def __init__(self, octets: bytes) -> None:
        self.rest = _bits(octets)

    def bits(self, count: int) -> int:
        if len(self.rest) < count:
            raise InvalidProgram("too short")
        field, self.rest = self.rest[:count], self.rest[count:]
        return int(field, 2)

    def signed(self, bits: int) -> int:
        value = self.bits(bits)
        return value - (1 << bits) if value >> bits - 1 else value


def read_program(octets: bytes) -> Held:
    """Raises InvalidProgram."""
    if len(octets) > LARGEST_PROGRAM:
        raise InvalidProgram("too long")
    stream = _Stream(octets)
    if stream.bits(8) != 1:
        raise InvalidProgram("unknown format")
    standard = stream.signed(8) * 15
    summer, _, good_friday = stream.bits(4), stream.bits(3), stream.bits(1)
    latitude, longitude = stream.signed(16), stream.signed(16)
    coefficient = stream.bits(8) / 200
    night_count, rule_count = stream.bits(4), stream.bits(4)
    nights = tuple(_night(stream) for _ in range(night_count))
    rules = tuple(_rule(stream) for _ in range(rule_count))
    if stream.rest or not nights or any(rule.night >= len(nights) for rule in rules):
        raise InvalidProgram("inconsistent")
    nowhere = latitude == longitude == NOWHERE
    return Held(
        standard, summer, bool(good_friday), None if nowhere else latitude / 100,
        None if nowhere else longitude / 100, coefficient, nights, rules,
    )  # fmt: skip


def _switching(stream: _Stream) -> tuple[str, int]:
    kind = stream.bits(2)
    stream.bits(2)
    if kind >= len(EVENTS):
        raise InvalidProgram("unknown event")
    return EVENTS[kind], stream.signed(12) if kind else stream.bits(12)


def _night(stream: _Stream) -> Night:
    unlit, has_cut, has_on, has_off, count = *(stream.bits(1) for _ in range(4)), stream.bits(4)
    if unlit:
        return Night(lit=False)
    on = _switching(stream) if has_on else ("sunset", 0)
    off = _switching(stream) if has_off else ("sunrise", 0)
    cut = (stream.bits(12), stream.bits(12)) if has_cut else None
    return Night(True, on, off, cut, tuple((stream.bits(11), stream.bits(5) * 5) for _ in range(count)))


def _rule(stream: _Stream) -> NightRule:
    has_period, has_weekdays, holidays, has_days = (stream.bits(1) for _ in range(4))
    night = stream.bits(4)
    period = (_month_day(stream), _month_day(stream)) if has_period else None
    mask = stream.bits(8) if has_weekdays else None
    return NightRule(
        night,
        bool(holidays),
        period,
        None if mask is None else frozenset(day for day in range(7) if mask & 2**day),
        tuple(_days(stream) for _ in range(stream.bits(8))) if has_days else None,
    )


def _month_day(stream: _Stream) -> tuple[int, int]:
    stream.bits(3)
    return stream.bits(4), stream.bits(5)


def _days(stream: _Stream) -> tuple[date, int]:
    are_several, year, month, day = stream.bits(1), stream.bits(6), stream.bits(4), stream.bits(5)
    try:
        return date(2020 + year, month, day), stream.bits(8) if are_several else 1
    except ValueError:
        raise InvalidProgram("no date") from None


@dataclass(frozen=True, slots=True)
class AskedOverride:
    """An override as it came."""

    sequence: int
    circuit: int
    level: int
    minutes: int
    until_s: int


def read_override(payload: bytes) -> AskedOverride | None:
    """None: it is none."""
    if len(payload) != 8:  # noqa: PLR2004 - Octets of an override.
        return None
    asked = AskedOverride(payload[0], payload[1], payload[2], payload[3] * 5, int.from_bytes(payload[4:]))
    if asked.level == RELEASED:
        return asked
    return asked if asked.level <= 100 and 0 < asked.minutes <= 720 else None  # noqa: PLR2004 - Percent, 12 h.


def read_group(payload: bytes) -> Group | None:
    """None: it is none."""
    if len(payload) != GROUP_SIZE or payload[0]:
        return None
    return Group(
        payload[1:5], payload[5:21], payload[21:37], int.from_bytes(payload[37:41]),
        int.from_bytes(payload[41:44]) * 100, payload[44],
    )  # fmt: skip


def state(
    *, flags: int, sequence: int, outcome: int, held: bytes, clock_s: int, levels: list[int],
    power_w: int, energy_wh: int,
) -> bytes:  # fmt: skip
    """The state, with power and energy."""
    relays = sum(1 << number for number, level in enumerate(levels) if level)
    return (
        bytes((flags, sequence, outcome))
        + (program_hash(held) if held else bytes(4))
        + clock_s.to_bytes(4)
        + bytes((0xC0 | len(levels), relays, *levels))
        + power_w.to_bytes(3)
        + energy_wh.to_bytes(4)
    )
