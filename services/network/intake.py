"""From messages to closed groups, and back to their acknowledgement."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from core.messages.batch import UnreadableBatch
from core.messages.frames import FRAME_BATCHES
from core.runtime.bus import BUS_AWAY, Message
from services.network.deduplication import Group
from services.network.shards import HeldMessage, Shard
from services.network.store import Poison

log = structlog.get_logger()


@dataclass(slots=True)
class Work:
    """One closed group of one shard, or something of that shard that nobody can read."""

    shard: Shard
    group: Group | None = None
    poison: Poison | None = None
    sequences: Sequence[int] = ()


async def take(shard: Shard) -> list[Work]:
    """Decode what was read into windows; what closed, by the stream's clock, is work."""
    inbox, shard.inbox = shard.inbox, []
    work: list[Work] = []
    for message in inbox:
        work += await _sort(shard, message)
    now = asyncio.get_running_loop().time()
    if not inbox and shard.has_caught_up(now):
        shard.windows.close_until(shard.stream_now_us(now))
    shard.drained.set()
    return work + [Work(shard, group=group, sequences=group.sequences) for group in shard.windows.take_closed()]


async def _sort(shard: Shard, message: Message) -> list[Work]:
    if message.sequence <= shard.highest_sequence:
        # Delivered again although we hold it, or because its acknowledgement was lost.
        if message.sequence not in shard.held:
            await _acknowledge_message(message)
        return []
    shard.highest_sequence = message.sequence
    held = shard.held[message.sequence] = HeldMessage(message, 1)
    try:
        frames = FRAME_BATCHES.decode(message.data)
    except UnreadableBatch as unreadable:
        poison = Poison(message.subject, message.sequence, str(unreadable), message.data)
        return [Work(shard, poison=poison, sequences=(message.sequence,))]
    held.unfinished = shard.windows.add(message.sequence, message.published_at_us, frames)
    if not held.unfinished:
        del shard.held[message.sequence]
        await _acknowledge_message(message)
    return []


async def acknowledge(done: Sequence[Work]) -> None:
    """A message goes when every group with frames in it is done."""
    for item in done:
        for sequence in item.sequences:
            held = item.shard.held.get(sequence)
            if held is None:
                continue
            held.unfinished -= 1
            if held.unfinished <= 0:
                del item.shard.held[sequence]
                await _acknowledge_message(held.message)


async def _acknowledge_message(message: Message) -> None:
    try:
        await message.ack()
    except BUS_AWAY as away:
        # It comes again, is known by its sequence or by its session, and is acknowledged then.
        log.warning("acknowledgement_lost", sequence=message.sequence, error=str(away) or type(away).__name__)
