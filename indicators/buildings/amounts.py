"""What a building took, month by month, from what its indexes say: known, parted or missing. Pure.

Amounts are those of the rollups (`core.model.consumption`), which have resets, changes of meters and gaps in them
already: nothing is subtracted here. A month of which an index has said nothing is missing, never zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import fsum

from core.model.unknown_time import known_for

LEAST_KNOWN = 0.9
MOST_IN_GAPS = 0.01
MONTHS_OF_YEAR = 12
DAY = timedelta(days=1)
# Indexes by tariff add up to the total; those of a phase or of the distributor count the same energy again.
OFF_PEAK = frozenset({"hc", "ejp_hn", "bbr_hcjb", "bbr_hcjw", "bbr_hcjr"})
PEAK = frozenset({"hp", "ejp_hpm", "bbr_hpjb", "bbr_hpjw", "bbr_hpjr"})
SUPPLIER = tuple(f"index_{number}" for number in range(1, 11))


@dataclass(frozen=True, slots=True)
class StreamMonth:
    """One index in a month: what it counted (None: unknown), on how many days it was known.

    `in_gaps`: what was counted over gaps that reach into the month, of which nobody knows how much belongs to it.
    """

    amount: float | None
    known_days: int
    in_gaps: float = 0.0


@dataclass(frozen=True, slots=True)
class MonthAmount:
    """A month of a use. `amount`: what all its indexes have counted; None: one of them says nothing.

    `days`: those of the month that are over. `is_whole`: the month is over, its indexes were known on
    nine days of ten, and gaps over its edges take a hundredth of it at the most.
    """

    first: date
    days: int
    known_days: int
    amount: float | None
    is_whole: bool

    @property
    def completeness(self) -> float:
        """The share of its days on which all indexes were known."""
        return self.known_days / self.days if self.days else 0.0


def counted_channels(channels: Iterable[str]) -> list[str]:
    """Of an electricity meter's channels those that are its energy once: the total, or else the tariffs."""
    there = set(channels)
    if "" in there:
        return [""]
    tariffs = sorted(there & (OFF_PEAK | PEAK))
    return tariffs or [name for name in SUPPLIER if name in there]


def known_days(readings: Iterable[date], first: date, after: date, expected: timedelta) -> set[date]:
    """The days on which an index was known: read that day, or before, no longer ago than a reading stands for."""
    held = known_for(expected) // DAY
    known = {day + DAY * number for day in readings for number in range(held + 1)}
    return {day for day in known if first <= day < after}


def month_amount(first: date, after: date, over: int, streams: Sequence[StreamMonth]) -> MonthAmount:
    """A month from its indexes; `over`: how many of its days are."""
    amounts = [one.amount for one in streams]
    known = min((one.known_days for one in streams), default=0)
    found = [amount for amount in amounts if amount is not None]
    amount = fsum(found) if found and len(found) == len(amounts) else None
    is_whole = (
        amount is not None
        and over == (after - first).days
        and known >= LEAST_KNOWN * over
        and fsum(one.in_gaps for one in streams) <= MOST_IN_GAPS * amount
    )
    return MonthAmount(first, over, known, amount, is_whole)


def change_percent(this: MonthAmount, other: MonthAmount | None) -> float | None:
    """By how much more or less was taken than in the other month; None unless both are whole.

    Months are compared as they are: a February of 29 days with one of 28.
    """
    if other is None or not (this.is_whole and other.is_whole) or this.amount is None or not other.amount:
        return None
    return 100 * (this.amount - other.amount) / other.amount


def per_unit(amount: float | None, units: float | None) -> float | None:
    """Of a square metre, or of an occupant; None: either is unknown."""
    return amount / units if amount is not None and units else None


def peak_split(channels: Mapping[str, float | None]) -> tuple[float, float] | None:
    """Off-peak and peak; None: the meter has no such tariff, or one of its indexes says nothing."""
    off, peak = ([value for name, value in channels.items() if name in names] for names in (OFF_PEAK, PEAK))
    if not off or not peak or None in off or None in peak:
        return None
    return fsum(one for one in off if one is not None), fsum(one for one in peak if one is not None)


def year_total(months: Sequence[tuple[float | None, bool]]) -> float | None:
    """What twelve months took, each with whether it is whole; None: one of them is not, or is missing."""
    if len(months) != MONTHS_OF_YEAR or not all(is_whole for _, is_whole in months):
        return None
    return fsum(amount for amount, _ in months if amount is not None)
