"""What the cost of a shared network is made of. Pure.

Amounts are whole cents, quantities whole units; what is between is exact (`Fraction`), never a float.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal

Basis = Literal["equal", "inhabitants", "parts", "assets", "gateways", "uplinks", "air_time_ms", "exports"]
"""By what an item is shared: the same for each, inhabitants, stated parts, or use."""
OfLedger = Literal["parts", "assets", "gateways", "uplinks", "air_time_ms", "exports"]
"""The bases of which the ledger has entries; `equal` and `inhabitants` follow from the periods."""
STOCKS: frozenset[Basis] = frozenset({"equal", "inhabitants", "parts", "assets", "gateways"})
"""What is there from a day on, until an entry changes it; the others happen on the day of their entry."""
LEDGER: tuple[OfLedger, ...] = ("parts", "assets", "gateways", "uplinks", "air_time_ms", "exports")

Counted = Literal["average", "year_end", "added"]
"""A stock over a year: the mean of its days, what is there on the last one, or what has come during it."""
Method = Literal["key", "rate", "pro_rata"]

WHOLE = 10_000
"""The shares of a key, in hundredths of a percent."""


@dataclass(frozen=True, slots=True)
class Period:
    """A contributor belongs to the group from `since` until the day before `until`; None: for good."""

    since: date
    until: date | None
    inhabitants: int


@dataclass(frozen=True, slots=True)
class Contributor:
    """Who bears a part of the cost, in which periods."""

    id: int
    name: str
    periods: tuple[Period, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a key: so many hundredths of a percent are shared by this basis."""

    basis: Basis
    share: int


@dataclass(frozen=True, slots=True)
class Item:
    """What is paid each year from `first_year` to `last_year`, and how it is shared.

    `key`: `amount_cents` a year, by `shares`; who has fewer than `flat_below` inhabitants pays `flat_cents` a year
    instead. `rate`: each pays `amount_cents` for each `per` units of the basis. `pro_rata`: each pays its units'
    share of `amount_cents`, of `per` units in all; what nobody has is left over. `subsidy_percent` of an item is
    paid by others, before it is shared.
    """

    id: int
    name: str
    first_year: int
    last_year: int | None
    method: Method
    amount_cents: int
    shares: tuple[Share, ...]
    counted: Counted = "average"
    per: int = 1
    flat_below: int = 0
    flat_cents: int = 0
    subsidy_percent: int = 0

    def is_of(self, year: int) -> bool:
        """Whether it is paid in this year."""
        return self.first_year <= year and (self.last_year is None or year <= self.last_year)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: from this day on so many more (or fewer) of a stock, or so much use on this day."""

    contributor_id: int
    basis: OfLedger
    day: date
    quantity: int


@dataclass(frozen=True, slots=True)
class Term:
    """Why a line is what it is: so much of a basis, of so much in all, for this share of the item.

    `total` is what the item is divided by: everybody's units, those of `pro_rata`, or those that a rate is for.
    """

    basis: Basis | Literal["flat"]
    share: int
    quantity: Fraction
    total: Fraction


@dataclass(frozen=True, slots=True)
class Line:
    """What one contributor pays of one item."""

    contributor_id: int
    cents: int
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class SharedItem:
    """An item with its lines, which add up to `total_cents`; `left_cents`: what a `pro_rata` leaves to nobody."""

    item: Item
    total_cents: int
    left_cents: int
    lines: tuple[Line, ...]


Reason = Literal["nobody", "nothing_counted", "negative", "above_whole", "flats_above"]


@dataclass(frozen=True, slots=True)
class UnshareableItem:
    """An item that cannot be shared in this year: why, by what, and by whom where one contributor is the cause.

    `nobody` belongs to the group; nothing of the basis was counted; a quantity is `negative`; more units than
    those of the whole; flat amounts above the item's.
    """

    item: Item
    reason: Reason
    basis: Basis | None = None
    contributor_id: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A contributor of whom the ledger says nothing of a basis by which an item is shared: unknown, not none."""

    contributor_id: int
    basis: OfLedger


@dataclass(frozen=True, slots=True)
class Statement:
    """A year: what was shared, what could not be, and what is not known."""

    year: int
    shared: tuple[SharedItem, ...]
    unshareable: tuple[UnshareableItem, ...]
    gaps: tuple[Gap, ...]

    @property
    def total_cents(self) -> int:
        """Of all items that were shared."""
        return sum(shared.total_cents for shared in self.shared)

    def by_contributor(self) -> Mapping[int, int]:
        """What each pays in all, in cents; the sum is `total_cents`."""
        owed: dict[int, int] = {}
        for shared in self.shared:
            for line in shared.lines:
                owed[line.contributor_id] = owed.get(line.contributor_id, 0) + line.cents
        return owed
