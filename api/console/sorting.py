"""The order of a list, in the address: `?tri=nom`, or `?tri=-nom` the other way round.

A list that is whole on its page is sorted there. One of which a page shows a part is sorted by the database:
sorted on the page, it would be a part of another.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlencode

from fastapi import Query, Request

PARAMETER, BACKWARDS = "tri", "-"
# Where a page of a long list begins; in another order that is another place.
FOLLOWING = "suite"

Row = TypeVar("Row")
Keys = dict[str, Callable[[Any], Any]]
# A text that names no column is none: the list is shown in its usual order.
Sort = Annotated[str, Query(alias=PARAMETER, max_length=40)]


def by_text(text: str) -> str:
    """By what people sort a name: É beside E."""
    return unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode().casefold()


@dataclass(frozen=True, slots=True)
class Sorting:
    """In which order the visitor wants a list, and where the other orders are."""

    path: str
    others: Sequence[tuple[str, str]]
    """The address's other parameters, such as filters."""
    keys: Keys
    column: str
    """None of them: as the page has it."""
    is_backwards: bool

    def direction(self, column: str) -> Literal["ascending", "descending"] | None:
        """How the list is sorted by this column, as ARIA says it."""
        if column != self.column:
            return None
        return "descending" if self.is_backwards else "ascending"

    def address(self, column: str) -> str:
        """Where the list is sorted by this column, or the other way round if it is already."""
        backwards = BACKWARDS if self.direction(column) == "ascending" else ""
        return f"{self.path}?{urlencode([*self.others, (PARAMETER, backwards + column)])}"

    def applied(self, rows: Iterable[Row]) -> list[Row]:
        """The rows in this order; those of which the column says nothing come last, either way."""
        every = list(rows)
        if not self.column:
            return every
        key = self.keys[self.column]
        known = [row for row in every if key(row) is not None]
        known.sort(key=key, reverse=self.is_backwards)
        return known + [row for row in every if key(row) is None]


def order_of(request: Request, asked: str, keys: Keys) -> Sorting:
    """What the address asks for, of these columns."""
    column = asked.removeprefix(BACKWARDS)
    others = [
        (name, value)
        for name, value in request.query_params.multi_items()
        if name not in {PARAMETER, FOLLOWING} and value
    ]
    is_known = column in keys
    is_backwards = is_known and asked.startswith(BACKWARDS)
    return Sorting(request.url.path, others, keys, column if is_known else "", is_backwards)


def paged_order_of(request: Request, asked: str, columns: Mapping[str, str], usual: str) -> tuple[Sorting, str]:
    """What the address asks for, of these columns, and the `sort` of the route that it is; else `usual`."""
    order = order_of(request, asked, dict.fromkeys(columns, str))
    if not order.column:
        return order, usual
    sort = columns[order.column]
    return order, f"{BACKWARDS}{sort}" if order.is_backwards else sort
