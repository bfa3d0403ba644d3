"""One shard that this replica owns: the messages read, and those that are not acknowledged yet."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import structlog

from core.messages.batch import UnreadableBatch
from core.runtime.bus import BUS_AWAY, Message
from core.runtime.errors import describe
from core.runtime.lease import Lease

log = structlog.get_logger()


class Unit(Protocol):
    """What is stored or goes to quarantine as a whole: the uplinks of a message, or the receptions of a frame."""

    @property
    def shard(self) -> "OwnedShard[Any]":
        """The shard that it belongs to."""
        ...

    @property
    def sequences(self) -> Sequence[int]:
        """The messages that it is made of, each once; each is acknowledged when all its units are done."""
        ...


U = TypeVar("U", bound=Unit)


class Decoded(NamedTuple):
    """A message that was read: how many items it has, and how many units it has a part in."""

    items: int
    units: int


@dataclass(slots=True)
class HeldMessage:
    """A message that is not acknowledged, and how many of its units are not done."""

    message: Message
    unfinished: int


class OwnedShard(ABC, Generic[U]):
    """Messages wait until the worker takes them, and are held until their units are done."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.is_ours = True
        self.is_leaving = False
        """Another replica is to have the shard: nothing more is read, and nothing new is to be planned."""
        self.waiting: deque[Message] = deque()
        self.held: dict[int, HeldMessage] = {}
        self.reading_since: float | None = None
        """Monotonic time since when the reader waits for messages; None while it waits for the worker."""
        self._octets_waiting = 0
        self._highest_sequence = 0
        self._was_taken = asyncio.Event()
        self._serving = asyncio.current_task()

    @property
    def number(self) -> int:
        """Its number, below SHARDS."""
        return self.lease.shard

    @abstractmethod
    def decode(self, message: Message) -> Decoded:
        """Decode a message, in the order of the stream; raises UnreadableBatch."""

    @abstractmethod
    def unreadable(self, message: Message, why: UnreadableBatch | None) -> U:
        """A message that goes to quarantine whole; `why` None: the process has ended while it was decoded."""

    @abstractmethod
    def take_units(self) -> list[U]:
        """The units that are complete, in the order of the stream; each is returned once."""

    def due_in_s(self, _now: float) -> float | None:
        """When units will be complete though no message comes; None: never."""
        return None

    async def finish(self) -> None:
        """All messages read are done, and another replica is to have the shard: end other work of it."""
        return

    def forget(self) -> None:
        """The shard is lost: remove what memory holds of it. Called once."""
        return

    def stop(self) -> None:
        """The lease is lost: read, publish and store nothing more until it is taken anew."""
        if not self.is_ours:
            return
        self.is_ours = False
        if self._serving is not None and self._serving is not asyncio.current_task():
            self._serving.cancel()
        self.forget()

    def add_waiting(self, messages: Sequence[Message]) -> None:
        """Add messages that were read."""
        for message in messages:
            self.waiting.append(message)
            self._octets_waiting += len(message.data)

    async def until_taken(self, octets: int) -> None:
        """Wait while more than this many octets wait to be taken."""
        while self._octets_waiting > octets:
            self._was_taken.clear()
            await self._was_taken.wait()

    def next_message(self) -> Message:
        """The message that has waited longest."""
        message = self.waiting.popleft()
        self._octets_waiting -= len(message.data)
        if not self.waiting:
            self._was_taken.set()
        return message

    async def hold(self, message: Message) -> bool:
        """Take responsibility for a message; False: it was delivered once more and is held already."""
        if message.sequence > self._highest_sequence:
            self._highest_sequence = message.sequence
            self.held[message.sequence] = HeldMessage(message, 1)
            return True
        if message.sequence not in self.held:  # Its acknowledgement was lost.
            await _acknowledge(message)
        return False

    async def set_units(self, message: Message, units: int) -> None:
        """Set how many units a held message has a part in; with none it is done."""
        if units:
            self.held[message.sequence].unfinished = units
        else:
            del self.held[message.sequence]
            await _acknowledge(message)

    def add_parts(self, sequences: Iterable[int], more: int) -> None:
        """A unit was divided: its messages have `more` further units."""
        for sequence in sequences:
            self.held[sequence].unfinished += more

    def unacknowledged(self) -> Iterator[Message]:
        """Every message that the bus must not deliver once more."""
        yield from [*(held.message for held in self.held.values()), *self.waiting]


async def acknowledge(units: Iterable[Unit]) -> None:
    """These units are done. A message is acknowledged when all its units are."""
    for unit in units:
        shard = unit.shard
        for sequence in unit.sequences:
            held = shard.held.get(sequence)
            if held is None:
                continue
            held.unfinished -= 1
            if held.unfinished <= 0:
                del shard.held[sequence]
                await _acknowledge(held.message)


async def _acknowledge(message: Message) -> None:
    try:
        await message.ack()
    except BUS_AWAY as away:
        # It is delivered again, recognised by its sequence or by what is stored, and acknowledged then.
        log.warning("acknowledgement_lost", sequence=message.sequence, error=describe(away))
