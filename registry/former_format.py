"""When values that name no owner (RFC 3394) no longer open: once none is left in the database.

`deployment.keys_sealed_at` says so: `keys rotate` sets it when it finds none any more, no service may, and nothing
takes it back. It goes with the rows: a dump of before still opens where it is restored, and in one of after a
value of before that somebody planted does not.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

import structlog

from core.runtime.errors import describe
from core.runtime.keks import FormerFormat
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool
from core.runtime.settings import KeySettings
from registry.keys import MULTIPLE
from registry.sealed_columns import SEALED_TABLES

LOOK_EVERY_S = 5.0
READ_SEALED_AT = "SELECT keys_sealed_at FROM deployment"
_LEFT = " OR ".join(
    f"EXISTS (SELECT FROM {table.name} WHERE "
    + " OR ".join(f"octet_length({column.name}) % {MULTIPLE} = 0" for column in table.columns)
    + ")"
    for table in SEALED_TABLES
)
CLOSE = f"UPDATE deployment SET keys_sealed_at = now() WHERE keys_sealed_at IS NULL AND NOT ({_LEFT})"

log = structlog.get_logger()


async def read_sealed_at(connection: Connection | Pool) -> datetime | None:
    """Since when nothing of the former format opens; None: it still does."""
    return await connection.fetchval(READ_SEALED_AT)


async def reject_former_format(connection: Connection) -> datetime | None:
    """Refuse values of the former format for good if none is left; since when they are."""
    await connection.execute(CLOSE)
    return await read_sealed_at(connection)


@asynccontextmanager
async def following_former_format(pool: Pool, settings: object) -> AsyncGenerator[None]:
    """While the block runs, a process that has keys learns within seconds that the former format is refused."""
    if not isinstance(settings, KeySettings):
        yield
        return
    former = settings.keks.former_format
    former.is_rejected = await read_sealed_at(pool) is not None
    looking = asyncio.create_task(_look(pool, former), name="look for the former format's end")
    try:
        yield
    finally:
        looking.cancel()


async def _look(pool: Pool, former: FormerFormat) -> None:
    while not former.is_rejected:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            former.is_rejected = await read_sealed_at(pool) is not None
        except DATABASE_AWAY as away:
            log.warning("former_format_not_read", error=describe(away))
    log.info("former_format_rejected")
