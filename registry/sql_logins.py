"""Logins for tools that speak SQL: each bound to one tenant by its name, reading the views of the schema `bi`.

Made by whoever may make roles. `0116_logins_for_tools.sql` says what they see (decision 99).
"""

import re
import secrets
from typing import NamedTuple

from core.runtime.postgres import Connection, InsufficientPrivilegeError

GROUP = "territoire_bi"
NAME = re.compile(r"[a-z][a-z0-9]{0,30}")
CONNECTIONS = 8
# What one query may take of a machine that has uplinks to receive.
LIMITS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "search_path": "bi",
}

# Roles belong to a server and are in no backup, what the group was granted is.
PREPARE_GROUP = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{GROUP}') THEN
        CREATE ROLE {GROUP} NOLOGIN;
    END IF;
END $$
"""
FIND_TENANT = "SELECT id FROM tenant WHERE slug = $1"
ROLE_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
# What the views and the policies under them ask, with the rights of who reads; each says something of the reader's
# own tenant alone.
ASKED = """
SELECT DISTINCT p.oid::regprocedure::text FROM pg_depend d
JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
     AND p.pronamespace = 'public'::regnamespace
WHERE (d.classid = 'pg_rewrite'::regclass AND d.objid IN (
        SELECT r.oid FROM pg_rewrite r WHERE r.ev_class = ANY($1::text[]::regclass[])))
   OR (d.classid = 'pg_policy'::regclass AND d.objid IN (
        SELECT y.oid FROM pg_policy y WHERE y.polrelid = ANY($2::text[]::regclass[])))
"""
VIEWS = ["measurement", "latest", "rollup_hour", "rollup_day"]
TABLES = ["asset", "datastream", "alert"]
LIST_LOGINS = """
SELECT r.rolname::text AS role, t.slug AS tenant,
       (SELECT count(*)::int FROM pg_stat_activity a WHERE a.usename = r.rolname) AS connections
FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid AND g.rolname = 'territoire_bi'
JOIN pg_roles r ON r.oid = m.member AND r.rolcanlogin
LEFT JOIN tenant t ON t.id::text = substring(r.rolname FROM '^territoire_bi_([0-9]{1,9})_')
ORDER BY 1
"""


class NotMade(Exception):
    """No login was made or ended; the message, in French, says why."""


class Login(NamedTuple):
    """A login; `tenant` is None where its tenant is of another database of the server."""

    role: str
    tenant: str | None
    connections: int


async def create_login(connection: Connection, tenant_slug: str, name: str) -> tuple[str, str]:
    """A new login of a tenant: its role and its password, which is shown this once.

    Raises:
        NotMade: there is no such tenant, the name is taken or none, or one may not make roles.
    """
    if NAME.fullmatch(name) is None:
        raise NotMade("nom en minuscules et chiffres attendu, 31 au plus : grafana, excel…")
    tenant_id = await connection.fetchval(FIND_TENANT, tenant_slug)
    if tenant_id is None:
        raise NotMade(f"collectivité inconnue : {tenant_slug}")
    role, password = f"{GROUP}_{tenant_id}_{name}", secrets.token_urlsafe(24)
    if await connection.fetchval(ROLE_EXISTS, role):
        raise NotMade(f"{role} existe déjà : retirez-le d'abord, ou prenez un autre nom")
    try:
        async with connection.transaction():
            if not await connection.fetchval(ROLE_EXISTS, GROUP):
                await connection.execute(f"CREATE ROLE {GROUP} NOLOGIN")
            await connection.execute(f"GRANT USAGE ON SCHEMA bi TO {GROUP}")
            await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA bi TO {GROUP}")
            for function in [row[0] for row in await connection.fetch(ASKED, VIEWS, TABLES)]:
                await connection.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {GROUP}")
            # Names and passwords are of letters, digits, - and _: nothing to quote.
            await connection.execute(
                f"CREATE ROLE {role} LOGIN PASSWORD '{password}' CONNECTION LIMIT {CONNECTIONS} IN ROLE {GROUP}"
            )
            for setting, value in LIMITS.items():
                await connection.execute(f"ALTER ROLE {role} SET {setting} = '{value}'")
    except InsufficientPrivilegeError:
        raise NotMade(f"il faut un compte de la base qui crée des rôles (CREATEROLE) pour créer {role}") from None
    return role, password


async def list_logins(connection: Connection) -> list[Login]:
    """Every one of the server."""
    return [Login(*row) for row in await connection.fetch(LIST_LOGINS)]


async def drop_login(connection: Connection, role: str) -> None:
    """End a login and its connections.

    Raises:
        NotMade: it is none.
    """
    if role not in {one.role for one in await list_logins(connection)}:
        raise NotMade(f"{role} n'est pas un compte de lecture")
    await connection.execute(f"ALTER ROLE {role} NOLOGIN")
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
    await connection.execute(f"DROP ROLE {role}")
