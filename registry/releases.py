"""Which release every living process of the services is, so that nothing is taken away that one of them uses."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge

from core import VERSION
from core.messages.versions import WRITTEN
from core.runtime.errors import OperatorError, describe
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool

ANNOUNCE_EVERY_S = 20.0
# A process that was killed, or whose database was away, counts as alive for so long.
ALIVE_S = 60.0

# $1 service, $2 instance, $3 release, $4 how many migrations it knows. Returns how many the oldest program knows
# that works on the schema.
ANNOUNCE = """
INSERT INTO service_release (service, instance, release, knows, seen_at) VALUES ($1, $2, $3, $4, now())
ON CONFLICT (service, instance) DO UPDATE
SET release = excluded.release, knows = excluded.knows, seen_at = excluded.seen_at
RETURNING (SELECT max(min_compatible) FROM schema_migration)
"""
READ_LIVING = """
SELECT DISTINCT service FROM service_release WHERE seen_at > now() - make_interval(secs => $1) ORDER BY service
"""
WITHDRAW = "DELETE FROM service_release WHERE service = $1 AND instance = $2"
READ_BEFORE = """
SELECT service, instance, release, knows FROM service_release
WHERE knows < $1 AND seen_at > now() - make_interval(secs => $2)
ORDER BY service, instance
"""

MESSAGE_VERSION = Gauge("territoire_message_version", "Version in which this process writes messages")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Program:
    """One living process. `knows`: how many migrations its release has."""

    service: str
    instance: str
    release: str
    knows: int


async def hold_off(connection: Connection) -> None:
    """Until the transaction ends no process announces itself; one that waited is then told what is needed."""
    if not await connection.fetchval("SELECT to_regclass('service_release') IS NULL"):
        await connection.execute("LOCK TABLE service_release IN SHARE MODE")


async def programs_before(connection: Connection, number: int) -> list[Program]:
    """Living processes that know fewer migrations than this; none where the table is not made yet."""
    if await connection.fetchval("SELECT to_regclass('service_release') IS NULL"):
        return []
    return [Program(**dict(row)) for row in await connection.fetch(READ_BEFORE, number, ALIVE_S)]


async def living_services(connection: Connection) -> list[str]:
    """Names of the services of which a process lives."""
    return [service for (service,) in await connection.fetch(READ_LIVING, ALIVE_S)]


class Overtaken(OperatorError):
    """While nobody heard from this process, what it uses was taken away: it ends before it writes anything."""

    def __init__(self, knows: int, needed: int) -> None:
        super().__init__(
            f"the schema needs a program that knows {needed} migrations, this one knows {knows}",
            f"la base demande un programme qui connaît au moins la migration {needed}, celui-ci ne connaît que la "
            f"{knows} : il était absent quand ce dont il se sert a été retiré. Installez la version suivante",
        )


@asynccontextmanager
async def announced(pool: Pool, service: str, instance: str, knows: int) -> AsyncGenerator[None]:
    """While the block runs, the database says that this process lives, and of which release it is.

    Its answer says in which version the process may write messages: asked every 20 s, and never for a message.

    Raises:
        Overtaken: a contract step has not waited for this process, which it could not see.
    """
    using = asyncio.current_task()
    assert using is not None  # noqa: S101 - There is one wherever there is an await.
    overtaken: list[Overtaken] = []

    async def repeat() -> None:
        try:
            await _repeat(pool, service, instance, knows)
        except Overtaken as too_old:
            overtaken.append(too_old)
            using.cancel()

    await _announce(pool, service, instance, knows)
    repeating = asyncio.create_task(repeat(), name="announce the release")
    try:
        yield
    except asyncio.CancelledError:
        if overtaken and using.uncancel() == 0:
            raise overtaken[0] from None
        raise
    finally:
        repeating.cancel()
        WRITTEN.learn(0)
        try:
            await pool.execute(WITHDRAW, service, instance)
        except DATABASE_AWAY as away:
            log.warning("release_not_withdrawn", error=describe(away))


async def _announce(pool: Pool, service: str, instance: str, knows: int) -> None:
    needed = await pool.fetchval(ANNOUNCE, service, instance, VERSION, knows) or 0
    if needed > knows:
        raise Overtaken(knows, needed)
    WRITTEN.learn(needed)
    MESSAGE_VERSION.set(WRITTEN.number)


async def _repeat(pool: Pool, service: str, instance: str, knows: int) -> None:
    while True:
        await asyncio.sleep(ANNOUNCE_EVERY_S)
        try:
            await _announce(pool, service, instance, knows)
        except DATABASE_AWAY as away:
            log.warning("release_not_announced", error=describe(away))
