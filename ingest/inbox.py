"""What was read of each owned shard and is not acknowledged, and the taking of it, in each shard's order."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from core.messages.batch import UnreadableBatch
from core.messages.uplinks import UPLINK_BATCHES, Uplink
from core.model.quarantine import Quarantined, QuarantineReason
from core.runtime.bus import BUS_AWAY, Message, ShardReader
from core.runtime.errors import describe
from core.runtime.lease import Lease
from core.runtime.ownership import batches
from ingest.batch import Delivered
from ingest.pipeline import readable
from ingest.settings import BatchSettings
from ingest.telemetry import SHARDS_OWNED

# A fetch brings what has come meanwhile; asking less often costs less.
FETCH_PAUSE_S = 0.02

log = structlog.get_logger()


@dataclass(slots=True)
class Inbox:
    """The messages of one shard: `waiting`, then `held` by a pass until they are acknowledged."""

    lease: Lease
    waiting: deque[tuple[Message, list[Uplink], list[Quarantined]]] = field(
        default_factory=deque[tuple[Message, list[Uplink], list[Quarantined]]]
    )
    held: deque[Message] = field(default_factory=deque[Message])
    uplinks_waiting: int = 0
    was_taken: asyncio.Event = field(default_factory=asyncio.Event)  # Since its reader last looked.
    emptied: asyncio.Event = field(default_factory=asyncio.Event)  # All is acknowledged.
    is_ours: bool = True

    def add(self, message: Message) -> None:
        """Read it; what cannot be read waits in its place, for quarantine."""
        uplinks: list[Uplink] = []
        unreadable: list[Quarantined] = []
        try:
            uplinks = UPLINK_BATCHES.decode(message.data)
        except UnreadableBatch as why:
            reason, detail = QuarantineReason.UNREADABLE_BATCH, readable(str(why))
            unreadable.append(Quarantined(message.subject, message.sequence, reason, message.data, detail))
        self.waiting.append((message, uplinks, unreadable))
        self.uplinks_waiting += len(uplinks)
        self.emptied.clear()

    async def acknowledge(self, messages: list[Message]) -> None:
        """The oldest that are held. What is committed and not acknowledged comes again, and changes nothing."""
        try:
            for message in messages:
                await message.ack()
        except BUS_AWAY as away:
            log.warning("not_acknowledged", error=describe(away))
        for _ in messages:
            self.held.popleft()
        if not self.held and not self.waiting:
            self.emptied.set()


@dataclass(frozen=True, slots=True)
class Taken:
    """What a pass has taken of one shard."""

    inbox: Inbox
    messages: list[Message] = field(default_factory=list[Message])
    delivered: list[Delivered] = field(default_factory=list[Delivered])
    unreadable: list[Quarantined] = field(default_factory=list[Quarantined])
    # Of each message: when its oldest uplink was received.
    oldest_us: list[int] = field(default_factory=list[int])

    def add_oldest(self) -> int:
        """Take the message that has waited longest; returns how many uplinks it has."""
        inbox = self.inbox
        message, uplinks, unreadable = inbox.waiting.popleft()
        inbox.uplinks_waiting -= len(uplinks)
        inbox.held.append(message)
        inbox.was_taken.set()
        self.messages.append(message)
        self.unreadable.extend(unreadable)
        if uplinks:
            self.delivered.append(Delivered(message.subject, message.sequence, uplinks))
            self.oldest_us.append(min(uplink.received_at_us for uplink in uplinks))
        return len(uplinks)


class Inboxes:
    """The inboxes of all shards that this replica owns."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._inboxes: list[Inbox] = []
        self.arrived = asyncio.Event()

    async def serve(self, lease: Lease, reader: ShardReader) -> None:
        """Read one shard, a pass ahead at most; for a `ShardOwner`."""
        inbox = Inbox(lease)
        self._inboxes.append(inbox)
        SHARDS_OWNED.inc()
        try:
            async for messages in batches(reader, self._settings.fetch_messages):
                for message in messages:
                    inbox.add(message)
                self.arrived.set()
                while inbox.uplinks_waiting >= self._settings.pass_uplinks:
                    inbox.was_taken.clear()
                    await inbox.was_taken.wait()
                if len(messages) < self._settings.fetch_messages and self._settings.linger_ms:
                    await asyncio.sleep(FETCH_PAUSE_S)
            if lease.draining.is_set() and (inbox.held or inbox.waiting):
                await inbox.emptied.wait()
        finally:
            inbox.is_ours = False
            self._inboxes.remove(inbox)
            SHARDS_OWNED.dec()

    def careful(self) -> Inbox | None:
        """A shard whose items are to be taken one by one."""
        return next((inbox for inbox in self._inboxes if inbox.waiting and inbox.lease.is_careful), None)

    def take(self) -> list[Taken]:
        """Messages of every shard in turn, in each shard's order, until there are enough uplinks."""
        self.arrived.clear()
        taken: list[Taken] = []
        room = self._settings.pass_uplinks
        for inbox in self._inboxes:
            if inbox.lease.is_careful:
                continue
            of_shard = Taken(inbox)
            while inbox.waiting and room > 0:
                room -= max(1, of_shard.add_oldest())
            if of_shard.messages:
                taken.append(of_shard)
        self._inboxes = [*self._inboxes[1:], *self._inboxes[:1]]  # The next pass begins with another shard.
        if any(inbox.waiting for inbox in self._inboxes):
            self.arrived.set()
        return taken

    def unacknowledged(self) -> Iterator[Message]:
        """Every message that the bus must not hand out once more."""
        for inbox in list(self._inboxes):
            yield from [*inbox.held, *(message for message, _, _ in inbox.waiting)]
