"""Pages of long lists: `limit` items, and `next`, the cursor of the following page, opaque (docs/api.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from api.fields import INT4_MOST, INT8_MOST
from core.runtime.http.errors import FieldError, Problem
from lorawan.instants import from_us, to_us
from registry.cursors import packed, unpacked
from registry.listing import BACKWARDS, Ask, Listing, Position

MOST = 1000
# Types whose values a cursor has as numbers; of instants microseconds.
NUMBERS = frozenset({"float8", "bigint", "timestamptz"})
LATEST_INSTANT = 8_000_000_000_000_000  # Microseconds: the year 2223.
Item = TypeVar("Item")
Row = TypeVar("Row")

Limit = Annotated[int, Query(ge=1, le=MOST, description="Nombre d'éléments par page")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=1000,
        description="`next` de la page précédente, tel quel et avec le même tri ; absent : première page",
    ),
]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(None, description="À passer dans `cursor` pour la suite ; null : c'est tout")


def cursor_id(cursor: str | None, first: int | None = None) -> int | None:
    """The id in a cursor of a list that is ordered by id; `first` when there is none."""
    if cursor is None:
        return first
    if not (cursor.isascii() and cursor.isdigit() and int(cursor) <= INT8_MOST):
        raise bad_cursor()
    return int(cursor)


def after_id(cursor: str | None) -> int:
    """The id in a cursor of a list of registered objects, whose ids are `integer`; 0 when there is none."""
    return min(cursor_id(cursor, 0) or 0, INT4_MOST)


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list is asked for; `after` and `before` are ids, of lists in either order."""

    limit: Limit = 100
    cursor: Cursor = None

    @property
    def after(self) -> int:
        """For a list of registered objects, the first registered first."""
        return after_id(self.cursor)

    @property
    def before(self) -> int | None:
        """For a list of what happened, the last first; None: the first page."""
        return cursor_id(self.cursor)

    @property
    def most(self) -> int:
        """How many to ask for: the one too many says that there is more."""
        return self.limit + 1


Paged = Annotated[Paging, Depends()]


def _id_of(row: Any) -> str:
    return str(row.id)


def instant_cursor(at: datetime) -> str:
    """An instant as a cursor of a list that is ordered by time."""
    return str(to_us(at))


def cursor_instant(cursor: str | None) -> datetime | None:
    """The instant in a cursor."""
    position = cursor_id(cursor)
    if position is None:
        return None
    if position > LATEST_INSTANT:
        raise bad_cursor()
    return from_us(position)


def ask_of(paging: Paging, sort: str, listing: Listing) -> Ask:
    """The page that is asked for; raises 422 when the cursor is none of ours, or of another order."""
    return Ask(sort, None if paging.cursor is None else _position(paging.cursor, sort, listing), paging.limit)


def cursor_of(sort: str, position: Position | None) -> str | None:
    """The cursor of the page that begins there: an id, or the order, a value and an id in Base64."""
    if position is None:
        return None
    if sort.removeprefix(BACKWARDS) == "id":
        return str(position.id)
    value = to_us(position.value) if isinstance(position.value, datetime) else position.value
    return packed([sort, value, position.id])


def _position(cursor: str, sort: str, listing: Listing) -> Position:
    name = sort.removeprefix(BACKWARDS)
    if name == "id":
        return Position(None, cursor_id(cursor) or 0)
    found = unpacked(cursor, tuple[str, str | int | float | None, int])
    if found is None:
        raise bad_cursor()
    of, value, id_ = found
    if of != sort:
        raise bad_cursor(f"ce curseur est d'une liste triée par « {of} »" if of in listing.statements else None)
    form = listing.keys[name].form
    is_number = isinstance(value, int | float)
    if not 0 <= id_ <= INT8_MOST or (value is not None and is_number != (form in NUMBERS)):
        raise bad_cursor()
    if isinstance(value, str) and "\0" in value:
        raise bad_cursor()
    match form:
        case "timestamptz" if isinstance(value, int | float):
            if not 0 <= value <= LATEST_INSTANT:
                raise bad_cursor()
            return Position(from_us(int(value)), id_)
        case "float8" if isinstance(value, int | float):
            return Position(float(value), id_)
        case "bigint" if isinstance(value, int | float):
            return Position(int(value), id_)
        case _:
            return Position(value, id_)


def bad_cursor(why: str | None = None) -> Problem:
    """422: this is no `next` of ours."""
    message = why or "ce curseur n'est pas le `next` d'une page"
    return Problem(422, message, errors=[FieldError(field="query.cursor", code="cursor", message=message)])


def page_of(
    rows: Sequence[Row], limit: int, show: Callable[[Row], Item], cursor: Callable[[Row], str] = _id_of
) -> Page[Item]:
    """A page from up to `limit + 1` rows: the one too many says that there is more."""
    return Page(items=[show(row) for row in rows[:limit]], next=next_of(rows, limit, cursor))


def next_of(rows: Sequence[Row], limit: int, cursor: Callable[[Row], str] = _id_of) -> str | None:
    """The `next` of a page of `limit` items from up to one row more."""
    return cursor(rows[limit - 1]) if len(rows) > limit else None
