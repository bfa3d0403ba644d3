"""Lists sorted by what is asked for, a page of them after a place in that order (keyset): SQL text made once.

A list is a SELECT with named parameters (`:kind`), and the columns by which it may be sorted. A page begins after
a value of that column and an id, so it stays right when rows come and go between two pages; ties are in order of
id, and rows of which the column says nothing come last, either way.

Row security shows a reader rows of few tenants, but asks functions which ones: the planner does not know them, and
expects to read everybody's. So a SELECT says itself whose rows it can have (`reached`), by a parameter that
the planner sees (decision 102).
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_all

NAMED = re.compile(r"(?<!:):([a-z_]+)")
BACKWARDS: Final = "-"
# Bound by the driver as what they are; a value of an enumeration is bound as its text.
PLAIN_FORMS = frozenset({"text", "float8", "bigint", "timestamptz"})
# A plan that is kept for any parameters can use no index for a filter that may be absent.
PLAN_ANEW = "SET LOCAL plan_cache_mode = force_custom_plan"
PLAN_AS_USUAL = "SET LOCAL plan_cache_mode = auto"
# The same, and whose rows may be visible.
PLAN_FOR_TENANTS = """
SELECT reachable_tenants() AS tenants, set_config('plan_cache_mode', 'force_custom_plan', true)
"""
TENANTS: Final = "tenants"
OF_TENANTS = f":{TENANTS}::int[]"
# Parameters by which an index finds a few rows of many.
NARROW = frozenset({"asset_ids", "dev_addr", "dev_eui", "external_reference", "parent_id", "states_ids"})

Row = TypeVar("Row")


class Position(NamedTuple):
    """Where a page ended: the value of the column by which the list is sorted, and the id."""

    value: Any
    id: int


class Key(NamedTuple):
    """A column by which a list may be sorted: an expression over its columns, and the type of its values."""

    expression: str
    form: str
    """One of `PLAIN_FORMS`, or the name of an enumeration."""


class Ask(NamedTuple):
    """Which page of a list: its order, where the former page ended, how many rows."""

    sort: str
    after: Position | None
    limit: int


class Part(NamedTuple):
    """The ids of a page, in order, and where the next one begins (None: that is all)."""

    ids: list[int]
    following: Position | None


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with numbered parameters, and what each is called."""

    sql: str
    names: tuple[str, ...]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """The parameters in order; one that is not given is NULL. KeyError for a name that is none here."""
        wrong = given.keys() - set(self.names)
        if wrong:
            raise KeyError(f"parameters are {', '.join(self.names)}: {', '.join(sorted(wrong))}")
        return [given.get(name) for name in self.names]


def reached(*tables: str) -> str:
    """The condition that these tables, of which policies show rows of `reachable_tenants()` alone, are of those.

    It hides nothing that the policies show, and leaks nothing: row security lets an index answer it.
    """
    return " AND ".join(f"{table}.tenant_id = ANY({OF_TENANTS})" for table in tables)


def reached_or_placed(table: str) -> str:
    """The same where no box is asked for: in one there are fewer rows than of a tenant, and an index of places."""
    return f"(:west::float8 IS NOT NULL OR {reached(table)})"


def numbered(text: str, first: Sequence[str] = ()) -> Statement:
    """The statement with `$1`, `$2`... in the place of names, in the order of their first use, after `first`."""
    names = list(first)

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return Statement(NAMED.sub(number, text), tuple(names))


class Listing:
    """The statements of a list, one for each order. `id` is always a column of it.

    `first` are the names of parameters that `select` has as numbers already. `walked` is the same for who reads a
    few rows, by id or by what an index finds: it looks up one by one what `select` hashes for all of a tenant.
    """

    def __init__(
        self, select: str, keys: Mapping[str, Key], first: Sequence[str] = (), walked: str | None = None
    ) -> None:
        self.select = select
        self.keys: Mapping[str, Key] = {"id": Key("id", "bigint"), **keys}
        self.statements = self._in_each_order(select, first)
        walked = walked or select
        self.walked = self.statements if walked == select else self._in_each_order(walked, first)
        # By id and of one tenant, as nearly always: an index of both has the order; a page stops where it ends.
        self.of_one = {
            sort: numbered(_ordered(_of_one_tenant(walked), self.keys["id"], is_backwards=sort == "-id"), first)
            for sort in ("id", "-id")
        }

    def _in_each_order(self, select: str, first: Sequence[str]) -> dict[str, Statement]:
        return {
            direction + name: numbered(_ordered(select, key, is_backwards=bool(direction)), first)
            for name, key in self.keys.items()
            for direction in ("", BACKWARDS)
        }

    async def page(self, connection: Connection | Pool, ask: Ask, wanted: Mapping[str, Any]) -> Part:
        """Up to `ask.limit` ids after a place; of `wanted` what is not given is whatever it is."""
        is_few = ask.sort in self.of_one or any(wanted.get(name) is not None for name in NARROW)
        statement = (self.walked if is_few else self.statements)[ask.sort]
        value, id_ = ask.after or (None, None)
        given = {**wanted, "after_value": value, "after_id": id_, "most": ask.limit + 1}
        if TENANTS in statement.names:
            async with planned_for_tenants(connection) as tenants:
                if len(tenants) == 1:
                    statement = self.of_one.get(ask.sort, statement)
                rows = await connection.fetch(statement.sql, *statement.values(given | {TENANTS: tenants}))
        else:
            async with planned_anew(connection):
                rows = await connection.fetch(statement.sql, *statement.values(given))
        ids = [row["id"] for row in rows[: ask.limit]]
        if len(rows) <= ask.limit:
            return Part(ids, None)
        return Part(ids, Position(rows[ask.limit - 1]["sorted_by"], ids[-1]))


@asynccontextmanager
async def planned_anew(connection: Connection | Pool) -> AsyncGenerator[None]:
    """Plan each statement for its parameters."""
    await connection.execute(PLAN_ANEW)
    yield
    await connection.execute(PLAN_AS_USUAL)


@asynccontextmanager
async def planned_for_tenants(connection: Connection | Pool) -> AsyncGenerator[list[int]]:
    """Plan each statement for its parameters, the tenants whose rows may be visible among them."""
    tenants: Sequence[int] = await connection.fetchval(PLAN_FOR_TENANTS)
    yield sorted(set(tenants))
    await connection.execute(PLAN_AS_USUAL)


async def rows_in_order(
    connection: Connection | Pool, kind: type[Row], statement: str, ids: Sequence[int], *values: Any
) -> list[Row]:
    """The rows of a statement whose first parameter are ids, in the order of these."""
    found: dict[int, Any] = {}
    for row in await fetch_all(connection, kind, statement, ids, *values):
        found[row.id] = row  # type: ignore[attr-defined]  # A row of a list has an id.
    return [found[id_] for id_ in ids if id_ in found]


def _of_one_tenant(select: str) -> str:
    """The SELECT for a reader who reaches one tenant: of an equality the planner knows the order of an index."""
    return select.replace(f"= ANY({OF_TENANTS})", f"= ({OF_TENANTS})[1]")


def _ordered(select: str, key: Key, *, is_backwards: bool) -> str:
    direction, beyond = ("DESC", "<") if is_backwards else ("ASC", ">")
    column = key.expression
    if column == "id":
        return f"""
SELECT id, NULL::bigint AS sorted_by FROM ({select}) l
WHERE :after_value::bigint IS NULL AND (:after_id::bigint IS NULL OR id {beyond} :after_id)
ORDER BY id {direction} LIMIT :most
"""
    is_plain = key.form in PLAIN_FORMS
    given = f":after_value::{key.form}" if is_plain else f":after_value::text::{key.form}"
    return f"""
SELECT id, {"sorted_by" if is_plain else "sorted_by::text AS sorted_by"}
FROM (SELECT id, {column} AS sorted_by FROM ({select}) l
      OFFSET 0  -- Or it is computed for each mention.
     ) AS l
WHERE :after_id::bigint IS NULL OR CASE
    WHEN {given} IS NULL THEN sorted_by IS NULL AND id > :after_id
    ELSE sorted_by IS NULL OR sorted_by {beyond} {given} OR (sorted_by = {given} AND id > :after_id) END
ORDER BY l.sorted_by {direction} NULLS LAST, id LIMIT :most
"""
