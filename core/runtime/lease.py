"""Who owns a shard: a row on the database's clock, with an epoch that fences."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool, UniqueViolationError

LEASE_S = 6.0
RENEW_EVERY_S = 2.0
# The owner stops this long after it sent its last successful renewal, by its own monotonic clock.
STOP_AFTER_S = 5.0

# After this many crashes on the same first message its batch is processed item by item, and after one more the
# item that was in hand goes to quarantine unread (core.runtime.poison_guard).
GUARDED_AFTER = 2
QUARANTINE_AFTER = 3
MOST_CRASHES = 1000
# The item in hand while a message is decoded.
WHOLE_MESSAGE = -1

# Taken when free, when expired, or when the former owner was this very replica before its restart.
# What the row says of the former owner stays until the new one is about to read a message.
TAKE = """
INSERT INTO shard_lease AS held (service, shard, epoch, owner, expires_at, released)
VALUES ($1, $2, 1, $3, now() + make_interval(secs => $4), true)
ON CONFLICT (service, shard) DO UPDATE
SET epoch = held.epoch + 1, owner = excluded.owner, expires_at = excluded.expires_at
WHERE held.expires_at < now() OR held.owner = excluded.owner
RETURNING epoch, released, first_sequence, crashes, in_hand_sequence, in_hand_item
"""
# All shards that a replica holds of a service. One that was let go meanwhile stays free.
RENEW = """
UPDATE shard_lease SET expires_at = now() + make_interval(secs => $4)
WHERE service = $1 AND (shard, epoch) IN (SELECT * FROM unnest($2::smallint[], $3::bigint[]))
  AND expires_at > '-infinity'
RETURNING shard
"""
RELEASE = """
UPDATE shard_lease SET expires_at = '-infinity', released = $4
WHERE service = $1 AND shard = $2 AND epoch = $3
"""
NOTE_FIRST = """
UPDATE shard_lease
SET released = false, first_sequence = $4, crashes = $5, in_hand_sequence = $6, in_hand_item = $7
WHERE service = $1 AND shard = $2 AND epoch = $3
RETURNING true
"""
FENCE = "SELECT 1 FROM shard_lease WHERE service = $1 AND shard = $2 AND epoch = $3 FOR KEY SHARE"
FENCE_ALL = """
SELECT shard FROM shard_lease
WHERE service = $1 AND (shard, epoch) IN (SELECT * FROM unnest($2::smallint[], $3::bigint[]))
ORDER BY shard FOR KEY SHARE
"""
READ_SHARDS = "SELECT shards FROM deployment"

log = structlog.get_logger()


class LeaseLost(Exception):
    """Another replica owns the shard now, or may: stop at once, write nothing more."""


async def read_shards(connection: Connection) -> int:
    """SHARDS, as the first migration wrote it."""
    return await connection.fetchval(READ_SHARDS)


@dataclass(frozen=True, slots=True)
class Former:
    """How the former owners of a shard ended, as the lease row has it."""

    released: bool = True
    """The last owner let go by itself; otherwise it was killed, lost its lease, or failed."""
    first_sequence: int | None = None
    crashes: int = 0
    in_hand: tuple[int, int] | None = None

    def crashes_on(self, first_sequence: int, handed_out: int) -> int:
        """How many owners in a row ended without letting go while the batch of this first message was theirs.

        `handed_out` is the last sequence that the last owner was given: later messages cannot have crashed it. An
        owner that worked item by item may have finished the batch's first messages: what it had in hand is of the
        same batch.
        """
        if self.released:
            return 0
        saw_it = handed_out >= first_sequence
        is_in_hand = (
            self.crashes >= GUARDED_AFTER and self.in_hand is not None and self.in_hand[0] >= first_sequence
        )
        is_same = self.first_sequence == first_sequence or is_in_hand
        return min(self.crashes * is_same + saw_it, MOST_CRASHES)


@dataclass(slots=True)
class Lease:
    """The right to read, publish and write for one shard, and how its former owners ended."""

    service: str
    shard: int
    epoch: int
    renewed_at: float  # Of this process's monotonic clock, before the renewal was sent.
    former: Former = Former()
    crashes: int = 0
    """How many owners in a row ended without letting go, with the batch un-acknowledged that is read first now."""
    in_hand: tuple[int, int] | None = None
    """After `QUARANTINE_AFTER` crashes: the message and the item in it that the last owner had in hand."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when another replica is to have the shard: `batches` ends once every message it gave is acknowledged."""
    has_passed: Callable[[], bool] | None = None
    """Whether every message that the dead owner had been given is acknowledged."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when whoever renews it has found that it is to be let go."""
    _why: Exception | None = None

    @property
    def is_guarded(self) -> bool:
        """Whether items are processed one by one, each between `poison_guard.begin` and `poison_guard.commit`.

        So it is after two crashes, until everything is acknowledged that the last owner had been given; from then
        on `crashes` is 0.
        """
        if self.crashes >= GUARDED_AFTER and self.has_passed is not None and self.has_passed():
            self.crashes, self.in_hand = 0, None
        return self.crashes >= GUARDED_AFTER

    def is_poison(self, sequence: int, item: int) -> bool:
        """Whether this item goes to quarantine unread, because the service crashed on it."""
        return self.crashes >= QUARANTINE_AFTER and self.in_hand == (sequence, item)

    async def fence(self, connection: Connection) -> None:
        """First statement of every transaction of an owner: it holds up a take-over until the commit.

        Raises:
            LeaseLost: the shard has another owner.
        """
        if await connection.fetchval(FENCE, self.service, self.shard, self.epoch) is None:
            raise LeaseLost(f"{self.service} shard {self.shard} epoch {self.epoch}")

    def end(self, why: Exception) -> None:
        """It is to be let go, for the first reason that is given."""
        if not self.ended.is_set():
            self._why = why
            self.ended.set()

    async def until_ended(self) -> None:
        """Wait until it is to be let go; raises why."""
        await self.ended.wait()
        assert self._why is not None  # noqa: S101 - Both are set together.
        raise self._why

    def is_fresh(self) -> bool:
        """Whether the last renewal is recent enough to publish or to ask for a transmission."""
        return asyncio.get_running_loop().time() - self.renewed_at <= STOP_AFTER_S

    def check(self) -> None:
        """Raises LeaseLost when the lease is not fresh."""
        if not self.is_fresh():
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
        row = await pool.fetchrow(TAKE, service, shard, owner, LEASE_S)
    except UniqueViolationError:
        # The row of a new shard has two unique keys, and another replica is inserting it at this instant.
        return None
    if row is None:
        return None
    in_hand = None if row["in_hand_sequence"] is None else (row["in_hand_sequence"], row["in_hand_item"])
    former = Former(row["released"], row["first_sequence"], row["crashes"], in_hand)
    return Lease(service, shard, row["epoch"], asked_at, former)


async def record_first_unacknowledged(pool: Pool, lease: Lease, sequence: int, handed_out: int) -> None:
    """Count the crashes before the first un-acknowledged message is read: one write for each taking of the lease.

    `handed_out` is the last sequence that the former owner was given, 0 when it was given nothing.

    Raises:
        LeaseLost: the shard has another owner.
    """
    crashes = lease.former.crashes_on(sequence, handed_out)
    in_hand = lease.former.in_hand if crashes >= QUARANTINE_AFTER else None
    noted = (sequence, crashes, *(in_hand or (None, None)))
    await write_row(pool, NOTE_FIRST, lease, *noted)
    lease.crashes, lease.in_hand = crashes, in_hand


async def write_row(pool: Pool, statement: str, lease: Lease, *values: int | None) -> None:
    """Run an update of the lease's row, which returns something while the lease is held.

    Raises:
        LeaseLost: the shard has another owner.
    """
    if await pool.fetchval(statement, lease.service, lease.shard, lease.epoch, *values) is None:
        raise LeaseLost(f"{lease.service} shard {lease.shard} epoch {lease.epoch}")


async def keep_lease(pool: Pool, lease: Lease) -> None:
    """Renew one that stands by itself, for ever; raises LeaseLost when that is no longer possible."""
    while not lease.ended.is_set():
        await asyncio.sleep(RENEW_EVERY_S)
        await renew_leases(pool, [lease])
    await lease.until_ended()


async def keep_leases(pool: Pool, held: Callable[[], Sequence[Lease]]) -> None:
    """Renew all leases that are held of one service, by one statement; one that cannot be renewed is ended."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        leases = [lease for lease in held() if not lease.ended.is_set() and lease.renewed_at > -math.inf]
        if leases:
            await renew_leases(pool, leases)


async def renew_leases(pool: Pool, leases: Sequence[Lease]) -> None:
    """Renew these, which are of one service, once; those that another has, or that are too old, are ended."""
    asked_at, service = asyncio.get_running_loop().time(), leases[0].service
    shards, epochs = [lease.shard for lease in leases], [lease.epoch for lease in leases]
    try:
        async with asyncio.timeout(RENEW_EVERY_S):
            renewed = {row["shard"] for row in await pool.fetch(RENEW, service, shards, epochs, LEASE_S)}
    except DATABASE_AWAY as away:
        log.warning("leases_not_renewed", shards=shards, error=describe(away))
        for lease in leases:
            if not lease.is_fresh():
                lease.end(LeaseLost(f"{service} shard {lease.shard} epoch {lease.epoch}: not renewed in time"))
        return
    for lease in leases:
        if lease.shard not in renewed:
            lease.end(LeaseLost(f"{service} shard {lease.shard} epoch {lease.epoch}: taken over"))
        elif lease.renewed_at > -math.inf:  # Meanwhile it may have been let go.
            lease.renewed_at = asked_at


async def release_lease(pool: Pool, lease: Lease, *, cleanly: bool = True) -> None:
    """Let go, so that the next owner need not wait: from here on `lease.check()` raises for whatever is under way.

    Not `cleanly` means because the service failed: it counts as a crash.
    """
    lease.renewed_at = -math.inf
    try:
        await pool.execute(RELEASE, lease.service, lease.shard, lease.epoch, cleanly)
    except DATABASE_AWAY as away:
        log.warning("lease_not_released", shard=lease.shard, error=describe(away))
