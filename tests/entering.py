"""Tests enter any tenant without a proof: their databases let everybody seal a transaction, and only theirs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from core.runtime.postgres import Connection, Pool
from registry.sharing import History, answer_transfer, propose_transfer

LET_EVERYBODY_SEAL = "GRANT EXECUTE ON FUNCTION seal_transaction TO PUBLIC"
ENTER = "SELECT seal_transaction($1, $2, $1, $3)"


async def enter_tenant(
    connection: Connection, tenant_id: int | None, *, is_operator: bool = False, rights: tuple[str, ...] = ()
) -> None:
    """For the rest of this transaction: this tenant's rows; None: nobody's."""
    await connection.execute(ENTER, tenant_id, is_operator, list(rights))


@asynccontextmanager
async def tenant_transaction(pool: Pool, tenant_id: int) -> AsyncGenerator[Connection]:
    """A transaction in which row security shows the rows of `tenant_id` and no others."""
    async with pool.acquire() as connection, connection.transaction():
        await enter_tenant(connection, tenant_id)
        yield connection


async def transfer(
    pool: Pool, giver: int, asset: int, receiver: int, history: History = History.GOES_ALONG
) -> None:
    """Give an asset to another tenant: offered and accepted."""
    slug = await pool.fetchval("SELECT slug FROM tenant WHERE id = $1", receiver)
    async with tenant_transaction(pool, giver) as connection:
        offered = await propose_transfer(connection, giver, asset, slug, history, actor="test", noted={})
    assert offered is not None
    async with tenant_transaction(pool, receiver) as connection:
        assert await answer_transfer(connection, offered.id, accepts=True)
