"""Contributors, items, entries and statements in the database: written here alone, under row security.

Entries and statements are only added; the database refuses anything else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

from core.runtime.postgres import Connection, Record
from indicators.cost.model import Contributor, Entry, Item, OfLedger, Period, Share, Statement
from registry.rows import columns_of, fetch_all, fetch_one, insert

Origin = Literal["stated", "measured"]


@dataclass(frozen=True, slots=True)
class KnownContributor:
    """A contributor, and the tenant that it is, where it is one."""

    id: int
    tenant_id: int
    name: str
    member: str | None
    member_id: int | None
    periods: tuple[Period, ...]
    created_at: datetime

    @property
    def contributor(self) -> Contributor:
        """For the statement."""
        return Contributor(self.id, self.name, self.periods)


@dataclass(frozen=True, slots=True)
class KnownItem:
    """An item, and whose it is."""

    tenant_id: int
    item: Item
    created_at: datetime

    @property
    def id(self) -> int:
        """Its number."""
        return self.item.id


@dataclass(frozen=True, slots=True)
class KnownEntry:
    """A line of the ledger, who wrote it and why; `corrects` another one."""

    id: int
    tenant_id: int
    contributor_id: int
    basis: OfLedger
    day: date
    quantity: int
    origin: Origin
    corrects: int | None
    reason: str
    made_at: datetime
    made_by: str

    @property
    def entry(self) -> Entry:
        """For the statement."""
        return Entry(self.contributor_id, self.basis, self.day, self.quantity)


@dataclass(frozen=True, slots=True)
class IssuedStatement:
    """A statement as it was issued; a later version replaces it and leaves it."""

    id: int
    tenant_id: int
    issuer: str
    year: int
    version: int
    total_cents: int
    remark: str
    issued_at: datetime
    issued_by: str


@dataclass(frozen=True, slots=True)
class IssuedLine:
    """What a contributor pays of an item, and why."""

    item_id: int
    contributor_id: int
    item: str
    item_cents: int
    contributor: str
    cents: int
    formula: str


LIST_CONTRIBUTORS = """
SELECT c.id, c.tenant_id, c.name, t.slug AS member, c.member_id, c.created_at,
       coalesce(array_agg((lower(p.during), upper(p.during), p.inhabitants) ORDER BY p.during)
                FILTER (WHERE p.during IS NOT NULL), '{}') AS periods
FROM cost_contributor c
LEFT JOIN tenant t ON t.id = c.member_id
LEFT JOIN cost_period p ON p.contributor_id = c.id
WHERE $1::int IS NULL OR c.id = $1
GROUP BY c.id, t.slug ORDER BY c.name, c.id
"""
MEMBER_ID = "SELECT id FROM tenant WHERE slug = $1 AND id = ANY(visible_tenants())"
CREATE_CONTRIBUTOR = "INSERT INTO cost_contributor (tenant_id, name, member_id) VALUES ($1, $2, $3) RETURNING id"
CHANGE_CONTRIBUTOR = "UPDATE cost_contributor SET name = $2, member_id = $3 WHERE id = $1"
FORGET_PERIODS = "DELETE FROM cost_period WHERE contributor_id = $1"
ADD_PERIODS = """
INSERT INTO cost_period (contributor_id, tenant_id, during, inhabitants)
SELECT $1, $2, daterange(since, until), inhabitants
FROM unnest($3::date[], $4::date[], $5::int[]) AS p (since, until, inhabitants)
"""
DELETE_CONTRIBUTOR = "DELETE FROM cost_contributor WHERE id = $1 RETURNING true"

ITEM_COLUMNS = """id, tenant_id, name, first_year, last_year, method, amount_cents, shares, counted, per,
flat_below, flat_cents, subsidy_percent, created_at"""
LIST_ITEMS = f"SELECT {ITEM_COLUMNS} FROM cost_item ORDER BY name, first_year"
READ_ITEM = f"SELECT {ITEM_COLUMNS} FROM cost_item WHERE id = $1"
CREATE_ITEM = f"""
INSERT INTO cost_item (tenant_id, name, first_year, last_year, method, amount_cents, shares, counted, per,
                       flat_below, flat_cents, subsidy_percent)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING {ITEM_COLUMNS}
"""
DELETE_ITEM = "DELETE FROM cost_item WHERE id = $1 RETURNING true"

LIST_ENTRIES = f"""
SELECT {columns_of(KnownEntry)} FROM cost_entry
WHERE ($1::bigint IS NULL OR id < $1) AND ($2::int IS NULL OR contributor_id = $2) ORDER BY id DESC LIMIT $3
"""
READ_ENTRY = f"SELECT {columns_of(KnownEntry)} FROM cost_entry WHERE id = $1"
# By contributor, basis and day: of a ledger with corrections for years this is what a statement needs.
SUM_ENTRIES = """
SELECT contributor_id, basis, day, sum(quantity)::bigint AS quantity FROM cost_entry
WHERE day < make_date($1 + 1, 1, 1) GROUP BY contributor_id, basis, day
"""
ADD_ENTRY = f"""
INSERT INTO cost_entry (tenant_id, contributor_id, basis, day, quantity, origin, corrects, reason, made_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING {columns_of(KnownEntry)}
"""

LIST_STATEMENTS = f"""
SELECT {columns_of(IssuedStatement)} FROM cost_statement
WHERE $1::int IS NULL OR id < $1 ORDER BY id DESC LIMIT $2
"""
READ_STATEMENT = f"SELECT {columns_of(IssuedStatement)} FROM cost_statement WHERE id = $1"
ISSUE = f"""
INSERT INTO cost_statement (tenant_id, issuer, year, version, total_cents, remark, issued_by)
SELECT $1, (SELECT name FROM tenant WHERE id = $1), $2, 1 + coalesce(max(version), 0), $3, $4, $5
FROM cost_statement WHERE tenant_id = $1 AND year = $2
RETURNING {columns_of(IssuedStatement)}
"""
ADD_LINES = """
INSERT INTO cost_statement_line (statement_id, tenant_id, item_id, contributor_id, item, item_cents, contributor,
                                 member_id, cents, formula)
SELECT $1, $2, * FROM unnest($3::int[], $4::int[], $5::text[], $6::bigint[], $7::text[], $8::int[], $9::bigint[],
                             $10::text[])
"""
LIST_LINES = f"""
SELECT {columns_of(IssuedLine)} FROM cost_statement_line
WHERE statement_id = $1 AND ($2::int IS NULL OR contributor_id = $2)
ORDER BY contributor, contributor_id, item, item_id
"""


async def list_contributors(connection: Connection) -> list[KnownContributor]:
    """By name, each with its periods."""
    return [_contributor(row) for row in await connection.fetch(LIST_CONTRIBUTORS, None)]


async def read_contributor(connection: Connection, contributor_id: int) -> KnownContributor | None:
    """One of them."""
    row = await connection.fetchrow(LIST_CONTRIBUTORS, contributor_id)
    return None if row is None else _contributor(row)


def _contributor(row: Record) -> KnownContributor:
    values = dict(row)
    values["periods"] = tuple(Period(*period) for period in row["periods"])
    return KnownContributor(**values)


async def find_member(connection: Connection, slug: str) -> int | None:
    """The tenant of this short name, if it is the caller or one of its members."""
    return await connection.fetchval(MEMBER_ID, slug)


async def create_contributor(
    connection: Connection, tenant_id: int, name: str, member_id: int | None, periods: Sequence[Period]
) -> KnownContributor | None:
    """A contributor with its periods."""
    contributor_id = await connection.fetchval(CREATE_CONTRIBUTOR, tenant_id, name, member_id)
    await _add_periods(connection, contributor_id, tenant_id, periods)
    return await read_contributor(connection, contributor_id)


async def change_contributor(
    connection: Connection, known: KnownContributor, name: str, member_id: int | None, periods: Sequence[Period]
) -> KnownContributor | None:
    """The same with another name, tenant and periods; statements that were issued stay."""
    await connection.execute(CHANGE_CONTRIBUTOR, known.id, name, member_id)
    await connection.execute(FORGET_PERIODS, known.id)
    await _add_periods(connection, known.id, known.tenant_id, periods)
    return await read_contributor(connection, known.id)


async def _add_periods(
    connection: Connection, contributor_id: int, tenant_id: int, periods: Sequence[Period]
) -> None:
    columns = [[p.since for p in periods], [p.until for p in periods], [p.inhabitants for p in periods]]
    await connection.execute(ADD_PERIODS, contributor_id, tenant_id, *columns)


async def delete_contributor(connection: Connection, contributor_id: int) -> bool:
    """Whether there was one; raises ForeignKeyViolationError when the ledger has entries of it."""
    return await connection.fetchval(DELETE_CONTRIBUTOR, contributor_id) is True


def _item(row: Record) -> KnownItem:
    values = {name: row[name] for name in row.keys() if name not in {"tenant_id", "created_at"}}  # noqa: SIM118
    values["shares"] = tuple(Share(**share) for share in row["shares"])
    return KnownItem(row["tenant_id"], Item(**values), row["created_at"])


async def list_items(connection: Connection) -> list[KnownItem]:
    """By name and first year."""
    return [_item(row) for row in await connection.fetch(LIST_ITEMS)]


async def read_item(connection: Connection, item_id: int) -> KnownItem | None:
    """One of them."""
    row = await connection.fetchrow(READ_ITEM, item_id)
    return None if row is None else _item(row)


async def create_item(connection: Connection, tenant_id: int, item: Item) -> KnownItem:
    """The item with a number of its own; raises ExclusionViolationError for two of one name in one year."""
    values = asdict(item)
    del values["id"]
    names = ("name", "first_year", "last_year", "method", "amount_cents", "shares", "counted", "per", "flat_below")
    names += ("flat_cents", "subsidy_percent")
    values["shares"] = list(values["shares"])
    row = await connection.fetchrow(CREATE_ITEM, tenant_id, *(values[name] for name in names))
    assert row is not None  # noqa: S101 - RETURNING of an INSERT of VALUES.
    return _item(row)


async def delete_item(connection: Connection, item_id: int) -> bool:
    """Whether there was one; statements that were issued stay."""
    return await connection.fetchval(DELETE_ITEM, item_id) is True


async def list_entries(
    connection: Connection, before: int | None, contributor_id: int | None, most: int
) -> list[KnownEntry]:
    """The ledger, the last entry first."""
    return await fetch_all(connection, KnownEntry, LIST_ENTRIES, before, contributor_id, most)


async def read_entry(connection: Connection, entry_id: int) -> KnownEntry | None:
    """One line of it."""
    return await fetch_one(connection, KnownEntry, READ_ENTRY, entry_id)


async def sum_entries(connection: Connection, year: int) -> list[Entry]:
    """What the ledger has until the end of a year, those of one day as one."""
    rows = await connection.fetch(SUM_ENTRIES, year)
    return [Entry(row["contributor_id"], row["basis"], row["day"], row["quantity"]) for row in rows]


async def add_entry(
    connection: Connection,
    tenant_id: int,
    entry: Entry,
    by: str,
    *,
    origin: Origin = "stated",
    corrects: int | None = None,
    reason: str = "",
) -> KnownEntry:
    """One more line of the ledger; raises ForeignKeyViolationError when it corrects one of somebody else."""
    values = entry.contributor_id, entry.basis, entry.day, entry.quantity, origin, corrects, reason, by
    return await insert(connection, KnownEntry, ADD_ENTRY, tenant_id, *values)


async def list_statements(connection: Connection, before: int | None, most: int) -> list[IssuedStatement]:
    """One's own and those that have lines of one's own, the last first."""
    return await fetch_all(connection, IssuedStatement, LIST_STATEMENTS, before, most)


async def read_statement(connection: Connection, statement_id: int) -> IssuedStatement | None:
    """One of them."""
    return await fetch_one(connection, IssuedStatement, READ_STATEMENT, statement_id)


async def list_lines(
    connection: Connection, statement_id: int, contributor_id: int | None = None
) -> list[IssuedLine]:
    """Its lines that are visible, by contributor and item; of one contributor alone."""
    return await fetch_all(connection, IssuedLine, LIST_LINES, statement_id, contributor_id)


async def issue_statement(
    connection: Connection,
    tenant_id: int,
    made: Statement,
    contributors: Iterable[KnownContributor],
    formulas: Mapping[tuple[int, int], str],
    by: str,
    remark: str,
) -> IssuedStatement:
    """The next version of the year's statement; `formulas`: why, by item and contributor.

    The database proves its sum once more.
    """
    known = {one.id: one for one in contributors}
    values = tenant_id, made.year, made.total_cents, remark, by
    issued = await insert(connection, IssuedStatement, ISSUE, *values)
    rows: list[tuple[Any, ...]] = [
        (
            shared.item.id,
            line.contributor_id,
            shared.item.name,
            shared.total_cents,
            known[line.contributor_id].name,
            known[line.contributor_id].member_id,
            line.cents,
            formulas[shared.item.id, line.contributor_id],
        )
        for shared in made.shared
        for line in shared.lines
    ]
    await connection.execute(
        ADD_LINES, issued.id, tenant_id, *(list(column) for column in zip(*rows, strict=True))
    )
    return issued
