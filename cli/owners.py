"""Accounts of another server that own what is in a backup: made for as long as a restore takes.

One server calls the owner of everything `territoire_admin`, CloudNativePG's manifest `territoire`. Which accounts
own views and functions decides what row security lets through them, so a backup is restored with its owners; what
an account owned that is none of ours is then given to the owner here.

Such a name may be somebody's here: the superuser's, who restores, or another installation's. What it owns in this
database alone is given away, object by object: REASSIGN OWNED would take its other databases too, and refuses what
belongs to whom the server began with.
"""

import re
from dataclasses import dataclass

from core.runtime.postgres import Connection
from registry.rights import ALL_TENANTS, AS_TENANT, LOGINS, OWNER
from registry.sql_logins import GROUP

OURS = {OWNER, "territoire_views", ALL_TENANTS, AS_TENANT, GROUP, *LOGINS.values()}
# Of parts of a hypertable the hypertable is asked, of a column's sequence the table, of a table's type the table.
READ_OWNED = """
WITH mine AS (SELECT oid FROM pg_roles WHERE rolname = $1),
owned (classid, objid) AS (
    SELECT 'pg_namespace'::regclass, n.oid FROM pg_namespace n JOIN mine ON mine.oid = n.nspowner
    UNION ALL
    SELECT 'pg_class'::regclass, c.oid
    FROM pg_class c JOIN mine ON mine.oid = c.relowner JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^_timescaledb_'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass
                                                AND d.objid = c.oid AND d.deptype IN ('a', 'i'))
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN mine ON mine.oid = p.proowner
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid FROM pg_type t JOIN mine ON mine.oid = t.typowner
    WHERE t.typtype IN ('b', 'd', 'e', 'r', 'c') AND NOT EXISTS (SELECT FROM pg_type a WHERE a.typarray = t.oid)
      AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s JOIN mine ON mine.oid = s.stxowner
)
SELECT format('ALTER %s %s OWNER TO %I', i.type, i.identity, $2::text)
FROM owned CROSS JOIN LATERAL pg_identify_object(owned.classid, owned.objid, 0) i
WHERE owned.objid >= 16384  -- Not from initdb.
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = owned.classid AND d.objid = owned.objid
                                            AND d.deptype = 'e')
"""
# From version 16 on who may make roles manages only those that it has made.
READ_RIGHTS = """
SELECT r.rolsuper OR r.rolcreaterole AS may_make,
       EXISTS (SELECT FROM unnest($2::text[]) name
               WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)) AS lacks_some,
       ARRAY(SELECT quote_ident(o.rolname) FROM pg_roles o
             WHERE o.rolname = ANY($2) AND NOT pg_has_role(r.oid, o.oid, 'MEMBER WITH ADMIN OPTION')
               AND NOT (r.rolcreaterole AND current_setting('server_version_num')::int < 160000)
             ORDER BY 1) AS of_others
FROM pg_roles r WHERE r.rolname = $1
"""
READ_ROLE = "SELECT rolsuper OR rolcanlogin AS is_somebody FROM pg_roles WHERE rolname = $1"


def quoted(name: str) -> str:
    """An identifier as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def as_written(name: str) -> str:
    """An identifier as people write it in SQL: quoted where it has to be."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted(name)


@dataclass(frozen=True, slots=True)
class Owners:
    """Those of a backup that are none of ours: some `lent` for as long as a restore takes, some `living` here."""

    lent: list[str]
    living: list[str]


async def rights_wanted(connection: Connection, owner: str) -> tuple[str | None, str | None]:
    """What a superuser has to run before `owner` can make our roles, and then change those that there are."""
    found = await connection.fetchrow(READ_RIGHTS, owner, sorted(OURS))
    if found is None:
        return None, None
    make = f"ALTER ROLE {as_written(owner)} CREATEROLE" if found["lacks_some"] and not found["may_make"] else None
    of_others = ", ".join(found["of_others"])
    return make, f"GRANT {of_others} TO {as_written(owner)} WITH ADMIN OPTION" if of_others else None


async def lend(connection: Connection, owners: set[str], owner: str) -> Owners:
    """Make those that are missing, without a login; one that a restore which failed has left is used again."""
    others = Owners([], [])
    for name in sorted(owners - OURS - {owner}):
        if name.startswith("pg_"):  # Every server has these.
            continue
        is_somebody = await connection.fetchval(READ_ROLE, name)
        if is_somebody is None:
            await connection.execute(f"CREATE ROLE {quoted(name)} NOLOGIN")
        (others.living if is_somebody else others.lent).append(name)
    return others


async def hand_over(connection: Connection, others: Owners, owner: str) -> None:
    """Give the owner all that these own in this database, and end those that were lent."""
    for name in others.living:
        for (statement,) in await connection.fetch(READ_OWNED, name, owner):
            await connection.execute(statement)
    for name in others.lent:
        await connection.execute(f"REASSIGN OWNED BY {quoted(name)} TO {quoted(owner)}")
        await connection.execute(f"DROP OWNED BY {quoted(name)}")  # What they were granted.
        await connection.execute(f"DROP ROLE {quoted(name)}")
