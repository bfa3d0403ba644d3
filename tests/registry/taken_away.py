"""What a migration takes from the programs of before, by PostgreSQL's catalogs before and after it."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from core.runtime.postgres import Connection

# Of our schemas, and no extension's.
OURS = """
nspname IN ('public', 'observation', 'jobs') AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e' AND
"""
READ_COLUMNS = f"""
SELECT n.nspname || '.' || c.relname AS name, a.attname AS part, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS demanded
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped
  AND {OURS} e.objid = c.oid AND e.classid = 'pg_class'::regclass)
"""
READ_FUNCTIONS = f"""
SELECT p.oid::regprocedure::text || ' -> ' || coalesce(pg_get_function_result(p.oid), '') AS function
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {OURS} e.objid = p.oid AND e.classid = 'pg_proc'::regclass)
"""
READ_LABELS = "SELECT enumtypid::regtype || ' ' || enumlabel FROM pg_enum"
READ_DEMANDS = f"""
SELECT n.nspname || '.' || c.relname AS name, o.conname AS demand, pg_get_constraintdef(o.oid) AS definition,
       ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum = ANY(o.conkey)) AS columns
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE o.contype IN ('c', 'f', 'x') AND {OURS} e.objid = c.oid AND e.classid = 'pg_class'::regclass)
UNION ALL
SELECT n.nspname || '.' || c.relname, k.relname, pg_get_indexdef(i.indexrelid),
       ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum = ANY(i.indkey))
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class k ON k.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisunique AND NOT EXISTS (SELECT FROM pg_index p WHERE p.indrelid = i.indrelid AND p.indisprimary
                                    AND p.indkey::int2[] <@ i.indkey::int2[])
  AND {OURS} e.objid = c.oid AND e.classid = 'pg_class'::regclass)
"""
VALUES = re.compile(r"'(?:[^']|'')*'::text(?:, )?")


class Demand(NamedTuple):
    """What rows of a table must satisfy."""

    definition: str
    columns: frozenset[str]

    def allows_what(self, before: "Demand | None") -> bool:
        """Whether it is that one, but for values of a single list that were added."""
        if before is None or VALUES.sub("", self.definition) != VALUES.sub("", before.definition):
            return False
        if self.definition == before.definition:
            return True
        is_one_list = self.definition.count("ARRAY[") == 1
        return is_one_list and set(_values(before.definition)) <= set(_values(self.definition))


def _values(definition: str) -> Iterator[str]:
    yield from (value.removesuffix(", ") for value in VALUES.findall(definition))


class Schema(NamedTuple):
    """What programs may rely on. `columns`: their type, and whether one must be given."""

    columns: dict[tuple[str, str], tuple[str, bool]]
    others: frozenset[str]
    demands: dict[tuple[str, str], Demand]


async def read_what_programs_use(connection: Connection) -> Schema:
    columns = {
        (row["name"], row["part"]): (row["type"], row["demanded"]) for row in await connection.fetch(READ_COLUMNS)
    }
    others = {row[0] for query in (READ_FUNCTIONS, READ_LABELS) for row in await connection.fetch(query)}
    demands = {
        (row["name"], row["demand"]): Demand(row["definition"], frozenset(row["columns"]))
        for row in await connection.fetch(READ_DEMANDS)
    }
    return Schema(columns, frozenset(others), demands)


def taken_away(before: Schema, after: Schema) -> Iterator[str]:
    """What is gone or of another type, and what rows that the programs of before write must satisfy now.

    A demand on nothing but new columns is none on them, since they leave each at its default.
    """
    yield from sorted(before.others - after.others)
    for (table, column), (kind, demanded) in before.columns.items():
        now = after.columns.get((table, column))
        if now is None or now[0] != kind:
            yield f"{table}.{column}"
        elif now[1] and not demanded:
            yield f"{table}.{column} must be given"
    tables = {table for table, _ in before.columns}
    for (table, column), (_, demanded) in after.columns.items():
        if demanded and table in tables and (table, column) not in before.columns:
            yield f"{table}.{column} must be given"
    for (table, name), demand in after.demands.items():
        is_on_old_columns = any((table, column) in before.columns for column in demand.columns)
        if is_on_old_columns and not demand.allows_what(before.demands.get((table, name))):
            yield f"{table} {name}"
