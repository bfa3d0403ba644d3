"""From a row to an entity, whose fields are named like the columns, and from named values to parameters."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from functools import cache
from itertools import repeat
from operator import attrgetter
from typing import Any, TypeVar, cast

from core.runtime.postgres import Connection, Pool, Record

Entity = TypeVar("Entity")
# NamedTuple._make is a call in Python for each of thousands.
_MAKE: Any = vars(tuple)["__new__"]


def entity(kind: type[Entity], row: Record | Mapping[str, Any]) -> Entity:
    """The dataclass `kind` made from the columns of its fields; arrays become tuples."""
    values: dict[str, Any] = {}
    for name in _names(kind):
        value = row[name]
        values[name] = tuple(cast(list[Any], value)) if isinstance(value, list) else value
    return kind(**values)


def named_tuples(kind: type[Entity], rows: Iterable[Iterable[Any]]) -> list[Entity]:
    """The NamedTuple `kind` of each row, which has as many columns, in their order."""
    return list(map(_MAKE, repeat(kind), rows))


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    """Asked once of each dataclass: of a list of 10,000 entities they would be half of the time."""
    return tuple(column.name for column in fields(kind))


def columns_of(kind: type[Any]) -> str:
    """The columns of the fields of a dataclass, for SELECT and RETURNING."""
    return ", ".join(_names(kind))


async def fetch_all(
    connection: Connection | Pool, kind: type[Entity], statement: str, *values: Any
) -> list[Entity]:
    """Every row of the statement as an entity."""
    return [entity(kind, row) for row in await connection.fetch(statement, *values)]


async def fetch_one(
    connection: Connection | Pool, kind: type[Entity], statement: str, *values: Any
) -> Entity | None:
    """The statement's row as an entity; None when it has none."""
    row = await connection.fetchrow(statement, *values)
    return None if row is None else entity(kind, row)


async def insert(connection: Connection | Pool, kind: type[Entity], statement: str, *values: Any) -> Entity:
    """The row of an INSERT that has a RETURNING and always inserts."""
    row = await connection.fetchrow(statement, *values)
    assert row is not None  # noqa: S101 - RETURNING of an INSERT of VALUES.
    return entity(kind, row)


def arrays(entries: Collection[object], names: str) -> list[list[Any]]:
    """For unnest: the attributes of these names (`key.rule_id` too) of all entries, an array for each."""
    return [list(map(attrgetter(name), entries)) for name in names.split(", ")]


class Written:
    """The columns of a table that people decide, named once for INSERT, UPDATE and their parameters.

    In a statement `{columns}` names them, `parameters` are `$first` and the following, and `patched` sets each
    that is given to its parameter. `values` are the parameters, `changes` those of `patched`.
    """

    def __init__(self, columns: str) -> None:
        self.columns = columns
        self._names = columns.split(", ")

    def parameters(self, first: int) -> str:
        """`$2, $3, ...`: one for each column, for VALUES."""
        return ", ".join(f"${number}" for number, _ in enumerate(self._names, first))

    def patched(self, first: int) -> str:
        """`name = CASE WHEN 'name' = ANY($4) THEN $2 ELSE name END, ...`: the last parameter names those given."""
        given = first + len(self._names)
        return ", ".join(
            f"{name} = CASE WHEN '{name}' = ANY(${given}::text[]) THEN ${number} ELSE {name} END"
            for number, name in enumerate(self._names, first)
        )

    def values(self, given: Mapping[str, Any], *, partial: bool = False) -> list[Any]:
        """The parameters in order; with `partial` what is not given is NULL.

        Raises KeyError for a name that is missing, or that is no column here.
        """
        wrong = given.keys() - set(self._names) if partial else given.keys() ^ set(self._names)
        if wrong:
            raise KeyError(f"columns are {self.columns}: {', '.join(sorted(wrong))}")
        return [given.get(name) for name in self._names]

    def changes(self, given: Mapping[str, Any]) -> list[Any]:
        """The parameters of `patched`: what is given is written, None as NULL, and what is not given stays."""
        return [*self.values(given, partial=True), list(given)]
