"""Compares the rights of services with the database, and grants or withdraws what differs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from core.runtime.postgres import Connection, InsufficientPrivilegeError
from registry.rights import (
    ALL_TENANTS,
    AS_TENANT,
    FUNCTIONS,
    LOGINS,
    OWNER,
    RIGHTS,
    SECRET,
    SEQUENCES,
    SERVICES,
    VIEWS,
)

PRIVILEGE = re.compile(r"(SELECT|INSERT|UPDATE|DELETE)(?: (\*)| \(([\w, ]+)\))?")

READ_TABLES = """
SELECT n.nspname || '.' || c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname IN ('public', 'observation', 'jobs')
  AND (c.relkind IN ('r', 'p') OR 'security_invoker=true' = ANY(c.reloptions))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
GROUP BY n.nspname, c.relname
"""
# Everything that these roles were granted: schemas, tables and sequences, columns, functions.
READ_GRANTED = """
WITH ours AS (SELECT oid, rolname::text AS role FROM pg_roles WHERE rolname = ANY($1::text[]))
SELECT o.role, 'SCHEMA' AS kind, n.nspname::text AS name, NULL::text AS part, x.privilege_type AS privilege
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) AS x JOIN ours o ON o.oid = x.grantee
UNION ALL
SELECT o.role, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname || '.' || c.relname, NULL,
       x.privilege_type
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(c.relacl) AS x JOIN ours o ON o.oid = x.grantee
WHERE n.nspname IN ('public', 'observation', 'jobs')
UNION ALL
SELECT o.role, 'TABLE', n.nspname || '.' || c.relname, a.attname::text, x.privilege_type
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(a.attacl) AS x JOIN ours o ON o.oid = x.grantee
WHERE n.nspname IN ('public', 'observation', 'jobs')
UNION ALL
SELECT o.role, 'FUNCTION', n.nspname || '.' || p.proname, NULL, x.privilege_type
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
CROSS JOIN LATERAL aclexplode(p.proacl) AS x JOIN ours o ON o.oid = x.grantee
WHERE n.nspname IN ('public', 'observation', 'jobs')
"""
READ_ROLES = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1::text[])"
READ_MEMBERS = """
SELECT m.member::regrole::text FROM pg_auth_members m
WHERE m.roleid = $1::text::regrole AND m.member::regrole::text = ANY($2::text[])
"""

# What it has, and who may become it: nobody has its rights without saying so, and by it nobody becomes the API.
IS_AS_TENANT = """
SELECT EXISTS (SELECT FROM pg_auth_members m
               WHERE m.roleid = 'territoire_api'::regrole AND m.member = $1::text::regrole
                 AND m.inherit_option AND NOT m.set_option)
   AND EXISTS (SELECT FROM pg_auth_members m
               WHERE m.roleid = $1::text::regrole AND m.member = $2::text::regrole
                 AND m.set_option AND NOT m.inherit_option)
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One privilege of one role; `part` is a column, None the whole."""

    role: str
    kind: str
    name: str
    part: str | None
    privilege: str

    def statement(self, verb: str) -> str:
        """`verb` is GRANT or REVOKE."""
        part = f" ({self.part})" if self.part is not None else ""
        direction = "TO" if verb == "GRANT" else "FROM"
        return f"{verb} {self.privilege}{part} ON {self.kind} {self.name} {direction} {self.role}"


def rights_of(service: str, table: str, columns: Iterable[str], rights: str) -> Iterable[Right]:
    """What one line of `RIGHTS` says, for a table that has these columns.

    Raises:
        ValueError: the line cannot be read.
    """
    role, named = LOGINS[service], list(columns)
    secret = {column for column in named if SECRET.search(column)}
    if PRIVILEGE.sub("", rights).strip(", "):
        raise ValueError(f"rights of {service} on {table}: {rights}")
    for privilege, whole, parts in PRIVILEGE.findall(rights):
        if parts:
            chosen: list[str | None] = [part.strip() for part in parts.split(",")]
        elif privilege == "SELECT" and secret and not whole:
            chosen = [column for column in named if column not in secret]
        else:
            chosen = [None]
        for part in chosen:
            yield Right(role, "TABLE", table, part, privilege)


def _full(name: str) -> str:
    return name if "." in name else f"public.{name}"


def _wanted(tables: Mapping[str, list[str]]) -> set[Right]:
    found: set[Right] = set()
    for table, by_service in RIGHTS.items():
        name = _full(table)
        if name in tables:
            for service, rights in by_service.items():
                found.update(rights_of(service, name, tables[name], rights))
    for functions, kind, privilege in (
        (VIEWS, "TABLE", "SELECT"), (FUNCTIONS, "FUNCTION", "EXECUTE"), (SEQUENCES, "SEQUENCE", "USAGE"),
    ):  # fmt: skip
        for name, services in functions.items():
            found.update(Right(LOGINS[service], kind, name, None, privilege) for service in services)
    for role, schema in {(right.role, right.name.partition(".")[0]) for right in found}:
        found.add(Right(role, "SCHEMA", schema, None, "USAGE"))
    return found


async def read_tables(connection: Connection) -> dict[str, list[str]]:
    """The columns of every table of ours, by its name with its schema."""
    return {row["name"]: row["columns"] for row in await connection.fetch(READ_TABLES)}


async def missing_rights(connection: Connection) -> list[Right]:
    """What services have to be granted and are not, of the roles that there are."""
    services = [LOGINS[name] for name in SERVICES]
    wanted, granted = await _wanted_and_granted(connection, services)
    return sorted(wanted - granted, key=repr)


async def _wanted_and_granted(connection: Connection, services: list[str]) -> tuple[set[Right], set[Right]]:
    """What this module says that the roles which there are should have, and what they have."""
    known = {row[0] for row in await connection.fetch(READ_ROLES, services)}
    wanted = {right for right in _wanted(await read_tables(connection)) if right.role in known}
    return wanted, {Right(*row.values()) for row in await connection.fetch(READ_GRANTED, services)}


async def apply_rights(connection: Connection, *, withdraw: bool = True) -> int:
    """Grant and withdraw what differs from this module; returns how much did.

    Without `withdraw` nothing is withdrawn: programs of before are alive, and may need it.

    Where the schema's owner may not make roles, those that its administrator has not made are left out, with a
    line in the log: the installation goes on with the login that all services share.
    """
    services = [LOGINS[name] for name in SERVICES]
    known = {row[0] for row in await connection.fetch(READ_ROLES, [*services, ALL_TENANTS])}
    missing = sorted({*services, ALL_TENANTS} - known)
    if missing:
        log.warning("service_roles_missing", roles=missing)
    if ALL_TENANTS not in known:
        return 0
    wanted, granted = await _wanted_and_granted(connection, services)
    members = {row[0] for row in await connection.fetch(READ_MEMBERS, ALL_TENANTS, services)}
    statements = [
        *(f"GRANT {ALL_TENANTS} TO {role}" for role in services if role in known - members),
        *(right.statement("REVOKE") for right in sorted(granted - wanted, key=repr) if withdraw),
        *(right.statement("GRANT") for right in sorted(wanted - granted, key=repr)),
    ]
    statements += await _memberships_as_tenant(connection)
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)
    return len(statements)


async def _memberships_as_tenant(connection: Connection) -> list[str]:
    """What makes indicators read as a tenant, where that is not so yet; nothing where there are no such roles."""
    reader = LOGINS["indicators"]
    if len(await connection.fetch(READ_ROLES, [AS_TENANT, reader])) < 2:  # noqa: PLR2004 - Both of them.
        log.warning("service_roles_missing", roles=[AS_TENANT])
        return []
    if await connection.fetchval(IS_AS_TENANT, AS_TENANT, reader):
        return []
    return [
        f"GRANT territoire_api TO {AS_TENANT} WITH INHERIT TRUE, SET FALSE",
        f"GRANT {AS_TENANT} TO {reader} WITH INHERIT FALSE, SET TRUE",
    ]


async def close_shared_login(connection: Connection) -> bool:
    """End the login that all services had in common, unless some process is still connected by it.

    Returns whether nobody can log in by it any more. A former version of the services goes on until it has been
    replaced; the next migration closes it then.
    """
    if not await connection.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", OWNER):
        return True
    if await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", OWNER):
        log.warning("shared_login_in_use", role=OWNER)
        return False
    try:
        await connection.execute(f"ALTER ROLE {OWNER} NOLOGIN")
    except InsufficientPrivilegeError:
        log.warning("shared_login_stays", role=OWNER)
        return False
    return True
