"""The API's process presents itself to the database, before it asks what SQL that runs as its role may not.

What logs people in, and what changes who logs in and how, asks for it (`0068_vouched_logins.sql`): a proof derived
from the password of the process's login, for one transaction. The end of each migration sets the digest that the
database compares.
"""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from core.runtime.errors import OperatorError
from core.runtime.postgres import Connection, Pool, password_proof, proof_of, transaction_of
from registry.policies import API_NAME

VOUCH = "SELECT vouch($1)"
# Until a process of a former version is gone, which presents nothing, nothing is demanded.
DEMAND = """
UPDATE seal_secret SET api_sha256 = $1
WHERE api_sha256 IS NOT NULL OR NOT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND usename = 'territoire_api' AND application_name <> $2)
"""
IS_DEMANDED = "SELECT api_sha256 IS NOT NULL FROM seal_secret"


class NotVouched(OperatorError):
    """The database does not know this process by the password of its login."""

    def __init__(self) -> None:
        super().__init__(
            "the database does not know this process by its password: run migrate with TERRITOIRE_LOGINS",
            "la base ne reconnaît pas ce processus à son mot de passe : relancez la migration avec les mots de "
            "passe de tous les services (TERRITOIRE_LOGINS)",
        )


async def _vouch(connection: Connection) -> None:
    if not await connection.fetchval(VOUCH, proof_of(connection)):
        raise NotVouched


@asynccontextmanager
async def vouched(at: Connection | Pool) -> AsyncGenerator[Connection]:
    """A connection on which logins may be asked for, until its transaction ends; of a pool, one transaction.

    Raises:
        NotVouched: the password of this process is not that of the last migration.
    """
    async with transaction_of(at) as connection:
        await _vouch(connection)
        yield connection


async def vouched_value(at: Connection | Pool, statement: str, *values: Any) -> Any:
    """The first value of the statement's row."""
    async with vouched(at) as connection:
        return await connection.fetchval(statement, *values)


async def demand_vouching(connection: Connection, password: str) -> bool:
    """From now on the API presents the proof of this password; False while a former API is connected."""
    await connection.execute(DEMAND, hashlib.sha256(password_proof(password)).digest(), API_NAME)
    return await connection.fetchval(IS_DEMANDED)
