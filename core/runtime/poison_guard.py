"""After two crashes on a batch its items are processed one at a time, each recorded in the lease row before.

The lease row names the item in hand. When the process ends a third time, that item is known: `Lease.is_poison`.
"""

import asyncio

import structlog

from core.runtime.errors import describe
from core.runtime.lease import WHOLE_MESSAGE, Lease, LeaseLost, write_row
from core.runtime.ownership import ShardsLost
from core.runtime.postgres import DATABASE_AWAY, Pool

TRY_AGAIN_S = 0.5

NOTE_IN_HAND = """
UPDATE shard_lease SET in_hand_sequence = $4, in_hand_item = $5
WHERE service = $1 AND shard = $2 AND epoch = $3
RETURNING true
"""

log = structlog.get_logger()


async def begin(pool: Pool, lease: Lease, sequence: int, item: int = WHOLE_MESSAGE) -> None:
    """While `lease.is_guarded`: record which item is processed next, in case it ends this process.

    `item` is its place in its message, from 0, or WHOLE_MESSAGE while that is decoded. Committed before this
    returns. A process has one item in hand at a time, whatever the number of its shards: what ends it is blamed on
    every item that is recorded then.

    Raises:
        ShardsLost: the shard has another owner.
    """
    await _write(pool, lease, sequence, item)


async def begin_decoding(pool: Pool, lease: Lease, sequence: int) -> None:
    """Record that a message is about to be decoded, however long the database is away.

    Returns also when the shard has another owner: the fence then rejects what comes of the message.
    """
    while True:
        try:
            await begin(pool, lease, sequence)
        except ShardsLost:
            return
        except DATABASE_AWAY as away:
            log.warning("in_hand_not_noted", error=describe(away))
            await asyncio.sleep(TRY_AGAIN_S)
        else:
            return


async def commit(pool: Pool, lease: Lease) -> None:
    """Record that the item in hand is done: a crash from now on has another cause.

    Where this cannot be written now, the next `begin` replaces what the row says.
    """
    try:
        await _write(pool, lease, None, None)
    except (ShardsLost, *DATABASE_AWAY) as away:
        log.warning("in_hand_not_cleared", error=describe(away))


async def _write(pool: Pool, lease: Lease, sequence: int | None, item: int | None) -> None:
    try:
        await write_row(pool, NOTE_IN_HAND, lease, sequence, item)
    except LeaseLost as lost:
        raise ShardsLost(lease.service, [lease.shard]) from lost
