"""Who owns a shard: a row on the database's clock, with an epoch that fences (DESIGN 2)."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from core.runtime.postgres import DATABASE_AWAY, Connection, Pool, UniqueViolationError

LEASE_S = 6.0
RENEW_EVERY_S = 2.0
# The owner stops this long after it sent its last successful renewal, by its own monotonic clock.
STOP_AFTER_S = 5.0

# Taken when free, when expired, or when the former owner was this very replica before its restart.
TAKE = """
INSERT INTO shard_lease AS held (service, shard, epoch, owner, expires_at)
VALUES ($1, $2, 1, $3, now() + make_interval(secs => $4))
ON CONFLICT (service, shard) DO UPDATE
SET epoch = held.epoch + 1, owner = excluded.owner, expires_at = excluded.expires_at
WHERE held.expires_at < now() OR held.owner = excluded.owner
RETURNING epoch
"""
RENEW = """
UPDATE shard_lease SET expires_at = now() + make_interval(secs => $4)
WHERE service = $1 AND shard = $2 AND epoch = $3
RETURNING true
"""
RELEASE = "UPDATE shard_lease SET expires_at = '-infinity' WHERE service = $1 AND shard = $2 AND epoch = $3"
FENCE = "SELECT 1 FROM shard_lease WHERE service = $1 AND shard = $2 AND epoch = $3 FOR KEY SHARE"
FENCE_ALL = """
SELECT shard FROM shard_lease
WHERE service = $1 AND (shard, epoch) IN (SELECT * FROM unnest($2::smallint[], $3::bigint[]))
ORDER BY shard FOR KEY SHARE
"""
READ_SHARDS = "SELECT shards FROM deployment"

log = structlog.get_logger()


class LeaseLost(Exception):
    """Somebody else owns the shard now, or may: stop at once, write nothing more."""


async def read_shards(connection: Connection) -> int:
    """SHARDS, as the first migration wrote it."""
    return await connection.fetchval(READ_SHARDS)


@dataclass(slots=True)
class Lease:
    """The right to read, publish and write for one shard."""

    service: str
    shard: int
    epoch: int
    renewed_at: float  # Of this process's monotonic clock, before the renewal was sent.

    async def fence(self, connection: Connection) -> None:
        """First statement of every transaction of an owner: it holds up a take-over until the commit.

        Raises:
            LeaseLost: the shard has another owner.
        """
        if await connection.fetchval(FENCE, self.service, self.shard, self.epoch) is None:
            raise LeaseLost(f"{self.service} shard {self.shard} epoch {self.epoch}")

    def check(self) -> None:
        """Raises LeaseLost when the last renewal is too old to publish or to ask for a transmission."""
        if asyncio.get_running_loop().time() - self.renewed_at > STOP_AFTER_S:
            raise LeaseLost(f"{self.service} shard {self.shard} epoch {self.epoch}: not renewed in time")


async def fence_all(connection: Connection, leases: Sequence[Lease]) -> list[Lease]:
    """As `Lease.fence` for several shards of one service in one statement; returns those that are lost."""
    if not leases:
        return []
    held = await connection.fetch(
        FENCE_ALL, leases[0].service, [lease.shard for lease in leases], [lease.epoch for lease in leases]
    )
    shards = {row["shard"] for row in held}
    return [lease for lease in leases if lease.shard not in shards]


async def take_lease(pool: Pool, service: str, shard: int, owner: str) -> Lease | None:
    """The lease of a shard if it is free, expired, or was this owner's before a restart; None otherwise."""
    asked_at = asyncio.get_running_loop().time()
    try:
        epoch = await pool.fetchval(TAKE, service, shard, owner, LEASE_S)
    except UniqueViolationError:
        # The row of a new shard has two unique keys, and another replica is inserting it at this instant.
        return None
    return None if epoch is None else Lease(service, shard, epoch, asked_at)


async def keep_lease(pool: Pool, lease: Lease) -> None:
    """Renew for ever; raises LeaseLost when that is no longer possible."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        asked_at = loop.time()
        try:
            async with asyncio.timeout(RENEW_EVERY_S):
                renewed = await pool.fetchval(RENEW, lease.service, lease.shard, lease.epoch, LEASE_S)
        except DATABASE_AWAY as away:
            log.warning("lease_not_renewed", shard=lease.shard, error=str(away) or type(away).__name__)
            lease.check()
            continue
        if renewed is None:
            raise LeaseLost(f"{lease.service} shard {lease.shard} epoch {lease.epoch}: taken over")
        lease.renewed_at = asked_at


async def release_lease(pool: Pool, lease: Lease) -> None:
    """Let go, so that the next owner need not wait: from here on `lease.check()` refuses whatever is under way."""
    lease.renewed_at = -math.inf
    try:
        await pool.execute(RELEASE, lease.service, lease.shard, lease.epoch)
    except DATABASE_AWAY as away:
        log.warning("lease_not_released", shard=lease.shard, error=str(away) or type(away).__name__)
