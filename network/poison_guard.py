"""Reads a batch that crashed two owners item by item (docs/architecture.md, "Poison")."""

import asyncio

import structlog

from core.runtime.errors import describe
from core.runtime.lease import WHOLE_MESSAGE, LeaseLost, note_done, note_in_hand
from core.runtime.ownership import ShardsLost
from core.runtime.postgres import DATABASE_AWAY
from network.shards import SERVICE, Shard

TRY_AGAIN_S = 0.5

log = structlog.get_logger()


def reason(shard: Shard) -> str:
    """Why something of this shard goes to quarantine without being looked at."""
    return f"in hand when the network server ended, {shard.lease.crashes} times on this batch"


async def pick_up(shard: Shard, sequence: int, item: int) -> None:
    """Note what is looked at next.

    Raises:
        ShardsLost: the shard has another owner.
    """
    try:
        await note_in_hand(shard.pool, shard.lease, sequence, item)
    except LeaseLost as lost:
        raise ShardsLost(SERVICE, [shard.number]) from lost


async def pick_up_message(shard: Shard, sequence: int) -> None:
    """Note that a message is about to be decoded, however long the database is away, while the shard is ours."""
    while shard.is_ours:
        try:
            await pick_up(shard, sequence, WHOLE_MESSAGE)
        except ShardsLost:
            return  # What comes of it is refused by the fence.
        except DATABASE_AWAY as away:
            log.warning("in_hand_not_noted", error=describe(away))
            await asyncio.sleep(TRY_AGAIN_S)
        else:
            return


async def lay_down(shard: Shard) -> None:
    """It did not end this process. When that cannot be told now, the next thing in hand tells it."""
    try:
        await note_done(shard.pool, shard.lease)
    except (LeaseLost, *DATABASE_AWAY) as away:
        log.warning("in_hand_not_cleared", error=describe(away))
