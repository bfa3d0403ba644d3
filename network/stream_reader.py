"""From messages to closed groups, and back to their acknowledgement."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from core.messages import topics
from core.messages.batch import UnreadableBatch
from core.messages.frames import FRAME_BATCHES, Frame
from core.model.quarantine import Quarantined, QuarantineReason
from core.runtime.bus import BUS_AWAY, Message
from core.runtime.errors import describe
from core.runtime.lease import WHOLE_MESSAGE
from network import poison_guard
from network.deduplication import Group
from network.shards import HeldMessage, Shard

log = structlog.get_logger()


@dataclass(slots=True)
class Work:
    """One closed group of one shard, or something of that shard that nobody can read."""

    shard: Shard
    group: Group | None = None
    poison: Quarantined | None = None
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
        frames = await _decode(shard, message)
    except UnreadableBatch as unreadable:
        reason = poison_guard.reason_of_unread(shard, message.sequence)
        poison = Quarantined(message.subject, message.sequence, reason, message.data, str(unreadable))
        return [Work(shard, poison=poison, sequences=(message.sequence,))]
    held.unfinished = shard.windows.add(message.sequence, message.published_at_us, frames)
    if not held.unfinished:
        del shard.held[message.sequence]
        await _acknowledge_message(message)
    return []


async def _decode(shard: Shard, message: Message) -> Sequence[Frame]:
    if not shard.lease.is_careful:
        return FRAME_BATCHES.decode(message.data)
    if shard.lease.is_poison(message.sequence, WHOLE_MESSAGE):
        raise UnreadableBatch(poison_guard.crashes(shard))
    await poison_guard.pick_up_message(shard, message.sequence)
    try:
        return FRAME_BATCHES.decode(message.data)
    finally:
        await poison_guard.lay_down(shard)


def cut(work: Sequence[Work], most: int) -> Iterator[list[Work]]:
    """What goes into one transaction: up to `most` together, and alone what is to be taken carefully.

    A group that its shard's owners had in hand when they ended is poison by now.
    """
    together = [item for item in work if not item.shard.lease.is_careful]
    for start in range(0, len(together), most):
        yield together[start : start + most]
    for item in work:
        if item.shard.lease.is_careful:
            yield [_judged_by_crashes(item)]


def _judged_by_crashes(item: Work) -> Work:
    shard, group = item.shard, item.group
    if group is None or not shard.lease.is_poison(*_first_copy(shard, group)):
        return item
    subject = topics.frames(shard.number)
    detail = poison_guard.crashes(shard)
    poison = Quarantined(subject, group.sequences[0], QuarantineReason.POISON, group.phy_payload, detail)
    return Work(shard, poison=poison, sequences=item.sequences)


def _first_copy(shard: Shard, group: Group) -> tuple[int, int]:
    """The place of a group's first copy: its message, and which of that message's frames it is."""
    sequence = group.sequences[0]
    frames = FRAME_BATCHES.decode(shard.held[sequence].message.data)
    return sequence, [frame.phy_payload for frame in frames].index(group.phy_payload)


async def pick_up(work: Sequence[Work]) -> None:
    """In careful times, note the group before anybody looks at it."""
    shard, group = work[0].shard, work[0].group
    if shard.lease.is_careful and group is not None:
        await poison_guard.pick_up(shard, *_first_copy(shard, group))


async def lay_down(work: Sequence[Work]) -> None:
    """It is committed, and did not end this process."""
    shard, group = work[0].shard, work[0].group
    if shard.lease.is_careful and group is not None:
        await poison_guard.lay_down(shard)


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
        log.warning("acknowledgement_lost", sequence=message.sequence, error=describe(away))
