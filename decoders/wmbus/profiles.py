"""Compact profiles: a base value, and what it was before or after at even intervals (EN 13757-3, annex F)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from decoders.wmbus.records import Record, read_bcd, read_integer
from decoders.wmbus.vif import INVERSE_PROFILE

_UNITS = (timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1))
LONGEST_INTERVAL = 250  # Of the octet that counts units; beyond it means something else.
# (unit bits, octet) that stand for months.
_MONTHS = {(3, 254): 1, (1, 254): 6}
_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8, 9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
_FIRST_BCD = 9
_DECEMBER = 12


class Spacing(NamedTuple):
    """The two octets in front of the values: how they count, how far apart they are, and their form."""

    mode: int  # 0 absolute, 1 positive differences, 2 negative, 3 signed.
    unit: int
    interval: int
    form: int

    @classmethod
    def of(cls, control: int, interval: int) -> "Spacing":
        """From the control octet and the interval."""
        return cls(control >> 6, control >> 4 & 3, interval, control & 0x0F)

    def at(self, base: datetime, steps: int) -> datetime | None:
        """`steps` intervals after `base`; None for an interval that nobody knows, or a date that is none."""
        try:
            if 0 < self.interval <= LONGEST_INTERVAL:
                return base + _UNITS[self.unit] * self.interval * steps
            months = _MONTHS.get((self.unit, self.interval))
            if months is None:
                return None
            index = base.year * _DECEMBER + base.month - 1 + months * steps
            return base.replace(year=index // _DECEMBER, month=index % _DECEMBER + 1)
        except (OverflowError, ValueError):
            return None


def expand(records: Sequence[Record], warnings: list[str]) -> list[Record]:
    """The records, and after each base what its profile says, with a date record for each storage."""
    expanded: list[Record] = []
    for record in records:
        if record.meaning.profile:
            expanded.extend(_expand_one(record, records, warnings))
        else:
            expanded.append(record)
    return expanded


def _expand_one(profile: Record, records: Sequence[Record], warnings: list[str]) -> Iterable[Record]:
    base, date = _base_of(profile, records), _date_of(profile.storage, records)
    if base is None or not isinstance(base.value, int | float) or len(profile.raw) < 2:  # noqa: PLR2004
        warnings.append(f"profil compact sans valeur de départ : {profile.raw.hex()}")
        return
    spacing = Spacing.of(profile.raw[0], profile.raw[1])
    size = _SIZES.get(spacing.form)
    body = profile.raw[2:]
    if size is None or len(body) % size:
        warnings.append(f"profil compact illisible : {profile.raw.hex()}")
        return
    start = date.value if date is not None else None
    if date is None or not isinstance(start, datetime) or spacing.at(start, 1) is None:
        warnings.append(f"profil compact sans instant de départ ni intervalle connus : {profile.raw.hex()}")
        return
    inverse = profile.meaning.profile == INVERSE_PROFILE
    number: float | None = _number_of(base)
    for index in range(len(body) // size):
        raw = body[index * size : (index + 1) * size]
        number = _next(number, raw, spacing, backwards=inverse)
        if number is None:
            warnings.append("valeur invalide dans un profil compact : la suite est perdue")
            return
        at = spacing.at(start, -(index + 1) if inverse else index + 1)
        storage = profile.storage + index + 1
        yield base.at(storage, base.meaning.scaled(number))
        yield date.at(storage, at)


def _number_of(base: Record) -> int | None:
    return read_bcd(base.raw) if base.form >= _FIRST_BCD else read_integer(base.raw)


def _next(number: float | None, raw: bytes, spacing: Spacing, *, backwards: bool) -> float | None:
    """The number after one more value; None when that is none."""
    if spacing.form >= _FIRST_BCD:
        step = read_bcd(raw)
    elif spacing.mode in (1, 2):  # Differences of one sign have none, and all bits set is none.
        step = int.from_bytes(raw, "little")
        step = None if step == (1 << 8 * len(raw)) - 1 else step
    else:
        step = read_integer(raw)
    if step is None or (number is None and spacing.mode != 0):
        return None
    if spacing.mode == 0 or number is None:
        return step
    signed = -step if spacing.mode == 2 else step  # noqa: PLR2004
    return number - signed if backwards else number + signed


def _base_of(profile: Record, records: Sequence[Record]) -> Record | None:
    """The record with the same meaning in the same place."""
    wanted = profile.meaning._replace(profile=0)
    place = (profile.storage, profile.tariff, profile.subunit)
    for record in records:
        if record.meaning == wanted and (record.storage, record.tariff, record.subunit) == place:
            return record
    return None


def _date_of(storage: int, records: Sequence[Record]) -> Record | None:
    """The record of the base's instant, or of its day."""
    for record in records:
        if record.storage == storage and isinstance(record.value, datetime):
            return record
    return None
