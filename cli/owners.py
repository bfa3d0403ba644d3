"""Accounts of another server that own what is in a backup: made for as long as a restore takes.

One server calls the owner of everything `territoire_admin`, CloudNativePG's manifest `territoire`. Which accounts
own views and functions decides what row security lets through them, so a backup is restored with its owners; what
an account owned that is none of ours is then given to the owner here.
"""

import re
from collections.abc import Iterable

from core.runtime.postgres import Connection
from registry.rights import ALL_TENANTS, AS_TENANT, LOGINS, OWNER
from registry.sql_logins import GROUP

OURS = {OWNER, "territoire_views", ALL_TENANTS, AS_TENANT, GROUP, *LOGINS.values()}
READ_ROLE = "SELECT rolsuper OR rolcanlogin AS is_somebody FROM pg_roles WHERE rolname = $1"


def quoted(name: str) -> str:
    """An identifier as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def as_written(name: str) -> str:
    """An identifier as people write it in SQL: quoted where it has to be."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted(name)


async def lend(connection: Connection, owners: set[str], owner: str) -> list[str]:
    """Those that are none of ours, without a login; one that a restore which failed has left is used again."""
    others: list[str] = []
    for name in sorted(owners - OURS - {owner}):
        if name.startswith("pg_"):  # Every server has these.
            continue
        is_somebody = await connection.fetchval(READ_ROLE, name)
        if is_somebody is None:
            await connection.execute(f"CREATE ROLE {quoted(name)} NOLOGIN")
        if not is_somebody:
            others.append(name)
    return others


async def hand_over(connection: Connection, others: Iterable[str], owner: str) -> None:
    """Give the owner all that these own in this database, and end them."""
    for name in others:
        await connection.execute(f"REASSIGN OWNED BY {quoted(name)} TO {quoted(owner)}")
        await connection.execute(f"DROP OWNED BY {quoted(name)}")  # What they were granted.
        await connection.execute(f"DROP ROLE {quoted(name)}")
