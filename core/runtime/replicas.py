"""Counts the live replicas of a service and the shards of each (docs/architecture.md, "Slots, shards, owners")."""

from collections.abc import Iterable

import structlog

from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Pool

ALIVE_S = 6.0
# A replica that was killed leaves its row; nothing but its room is lost by keeping it a while.
FORGOTTEN_AFTER_S = 600.0

# The row that this writes is not visible to the statement that writes it.
ANNOUNCE = """
WITH mine AS (
    INSERT INTO service_replica (service, instance, seen_at) VALUES ($1, $2, now())
    ON CONFLICT (service, instance) DO UPDATE SET seen_at = excluded.seen_at
)
SELECT instance FROM service_replica
WHERE service = $1 AND instance <> $2 AND seen_at > now() - make_interval(secs => $3)
"""
WITHDRAW = "DELETE FROM service_replica WHERE service = $1 AND instance = $2"
FORGET = "DELETE FROM service_replica WHERE service = $1 AND seen_at < now() - make_interval(secs => $2)"

log = structlog.get_logger()


def share_of(shards: int, instance: str, alive: Iterable[str]) -> int:
    """How many shards are this replica's: at most ceil(shards / replicas), and together all of them.

    Those whose names come first have one more where it does not divide: a ceiling for all leaves the last idle.
    """
    replicas = sorted({*alive, instance})
    least, left_over = divmod(shards, len(replicas))
    return least + (replicas.index(instance) < left_over)


async def announce(pool: Pool, service: str, instance: str) -> list[str]:
    """Record that this replica is alive; returns the other replicas that are."""
    return [row["instance"] for row in await pool.fetch(ANNOUNCE, service, instance, ALIVE_S)]


async def forget_the_dead(pool: Pool, service: str) -> None:
    """Drop the rows of replicas that were killed long ago."""
    await pool.execute(FORGET, service, FORGOTTEN_AFTER_S)


async def withdraw(pool: Pool, service: str, instance: str) -> None:
    """At a clean end: the others need not wait to take over this replica's share."""
    try:
        await pool.execute(WITHDRAW, service, instance)
    except DATABASE_AWAY as away:
        log.warning("replica_not_withdrawn", error=describe(away))
