"""Small notations of a declaration: ranges, durations, instants, channels, words."""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from fractions import Fraction
from string import Formatter

from decoders.declarative.meaning import Channel, Clock, Word
from decoders.declarative.nodes import Entry, integer_of
from decoders.declarative.records import Ranges
from lorawan.instants import to_us

_MINUTE_US, _DAY_US = 60_000_000, 86_400_000_000
UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": _MINUTE_US,
    "h": 60 * _MINUTE_US,
    "d": _DAY_US,
    "j": _DAY_US,
}
LONGEST_US = 366 * UNITS_US["d"]
_RANGE = re.compile(r"\s*(-?\w+)\s*(?:-\s*(\w+)\s*)?")
_DURATION = re.compile(r"\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*([a-z]+)\s*")


def ranges_of(entry: Entry) -> Ranges:
    """`5`, `1-9`, `0x10-0x1F`, or a list of these."""
    if entry.is_list:
        return tuple(pair for item in entry.items() for pair in ranges_of(item))
    found = _RANGE.fullmatch(entry.text())
    least = most = None
    if found is not None:
        least = integer_of(found[1])
        most = least if found[2] is None else integer_of(found[2])
    if least is None or most is None:
        raise entry.error(f"un entier, un intervalle (1-9) ou une liste est attendu, pas {entry.shown()}")
    if most < least:
        raise entry.error(f"l'intervalle va du plus petit au plus grand, pas {entry.shown()}")
    return ((least, most),)


def duration_us(entry: Entry) -> int:
    """`15 min`, `-1 h`, `30 s`: microseconds."""
    if entry.text() == "0":
        return 0
    found = _DURATION.fullmatch(entry.text())
    if found is None or found[2] not in UNITS_US:
        raise entry.error(f"une durée est attendue (15 min, 1 h, 30 s), pas {entry.shown()}")
    microseconds = Fraction(found[1]) * UNITS_US[found[2]]
    if microseconds.denominator != 1 or abs(microseconds) > LONGEST_US:
        raise entry.error("une durée est un nombre entier de microsecondes, d'un an au plus")
    return int(microseconds)


def clock_of(entry: Entry) -> Clock:
    """`unix`, `unix_ms`, `{epoch: 2013-01-01, unit: s}` or `{ago: min}`."""
    if not entry.is_mapping:
        return Clock(0, UNITS_US["ms" if entry.one_of(("unix", "unix_ms")) == "unix_ms" else "s"])
    keys = entry.mapping("epoch", "unit", "ago")
    if "ago" in keys:
        if len(keys) > 1:
            raise entry.error("« ago » compte depuis la réception : ni « epoch » ni « unit » avec lui")
        return Clock(None, UNITS_US[keys["ago"].one_of(UNITS_US)])
    if "epoch" not in keys:
        raise entry.error("« epoch » (une date) ou « ago » (une unité) est attendu")
    unit = UNITS_US[keys["unit"].one_of(UNITS_US)] if "unit" in keys else UNITS_US["s"]
    return Clock(instant_us(keys["epoch"]), unit)


def instant_us(entry: Entry) -> int:
    """An ISO 8601 date or instant, UTC unless it says otherwise."""
    try:
        instant = datetime.fromisoformat(entry.text())
    except ValueError:
        raise entry.error(
            f"une date est attendue (2013-01-01 ou 2026-11-25T12:00:00Z), pas {entry.shown()}"
        ) from None
    return to_us(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def channel_of(entry: Entry, known: Collection[str]) -> str | Channel:
    """A channel, in which `{n}` is the record in hand and `{name}` a number that came before."""
    text = entry.text()
    try:
        parts = [(literal, name, form, turned) for literal, name, form, turned in Formatter().parse(text)]
    except ValueError:
        raise entry.error(f"accolades mal fermées dans {entry.shown()}") from None
    if not text.isprintable() or len(text) > 64:  # noqa: PLR2004
        raise entry.error("une voie a 64 caractères visibles au plus")
    for _, name, form, turned in parts:
        if name is not None and (form or turned or (name != "n" and name not in known)):
            raise entry.error(f"« {{{name}}} » n'est ni « {{n}} » ni un nombre nommé plus haut")
    if all(name is None for _, name, _, _ in parts):
        return text
    return Channel(tuple((literal, name) for literal, name, _, _ in parts))


def word_of(entry: Entry) -> Word:
    """What a number stands for: true, false, a number or a word."""
    text = entry.text()
    if entry.is_quoted:
        return text
    if text in ("true", "false"):
        return text == "true"
    integer = entry.integer_or_none()
    if integer is not None:
        return integer
    return float(text) if re.fullmatch(r"-?\d{1,9}\.\d{1,9}", text) else text
