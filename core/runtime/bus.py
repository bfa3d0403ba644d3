# pyright: reportUnknownMemberType=false
"""JetStream: streams, ordered shard readers, publishes that are repeated until acknowledged, requests.

Nothing else imports nats. What shapes this module was measured (docs/decisions/0038-two-brokers-two-trusts.md):
re-attaching to a durable consumer hands out newer messages first, so a shard is taken by deleting every consumer
on its subject and creating `{service}-{shard}-{epoch}`; `fetch` on an empty stream raises nats' own TimeoutError.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError, ServiceUnavailableError

from core.messages import topics
from core.runtime.bus_connection import Denials, NoJetStream, NoMajority, connected
from core.runtime.errors import describe
from core.runtime.pull import Placed, Pull
from core.runtime.streams import MEASUREMENTS_STREAM, STREAMS
from core.runtime.waiting import Waiting

ACK_WAIT_S = 30
MAX_ACK_PENDING = 4_000
PUBLISH_TIMEOUT_S = 5
FORGOTTEN_AFTER_S = 300

NoResponders = nats.errors.NoRespondersError

BUS_AWAY = (nats.errors.Error, JetStreamError, OSError, TimeoutError)

T = TypeVar("T")

log = structlog.get_logger()


def raise_if_cancelled() -> None:
    """End a task that was cancelled and does not know it.

    Python 3.11's wait_for, which the drivers of both brokers use, forgets a cancellation that comes together with
    the answer: called after each such answer, this remembers it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _answer(asking: Awaitable[T]) -> T:
    """What the driver returns or raises: an answer may be an error, and forgets a cancellation all the same."""
    try:
        return await asking
    finally:
        raise_if_cancelled()


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages of a consumer: not handed out yet, handed out and not acknowledged, and of those more than once."""

    waiting: int
    unacknowledged: int
    redelivered: int


@dataclass(frozen=True, slots=True)
class StreamRoom:
    """`filled`: which share of its room is used. A missing copy is gone, or not in step with the leader."""

    messages: int
    filled: float
    copies_missing: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a shard, with its place in the stream and the stream's own clock."""

    sequence: int
    published_at_us: int
    data: bytes
    subject: str
    _raw: Msg
    _open: dict[int, None]  # Of its reader.

    async def ack(self) -> None:
        """Acknowledge: the message's effect is committed, and the stream may delete it."""
        await self._raw.ack()
        self._open.pop(self.sequence, None)

    async def in_progress(self) -> None:
        """Still at work: restart `ack_wait`."""
        await self._raw.in_progress()


class ShardReader:
    """Reads one shard's subject in stream order, un-acknowledged messages first."""

    def __init__(
        self,
        subscription: Pull,
        reconnections: Callable[[], int],
        before: int,
        denials: Denials,
    ) -> None:
        self._subscription = subscription
        self._reconnections = reconnections
        self._before = before
        self._denials = denials
        self._last_sequence = 0
        self._last_delivery = 0
        self._lost_some = False
        self.was_asked = False
        """Whether what there is was asked for: whoever reads knows what is to be known before."""
        self.acknowledges = True
        """Whether what it reads is to be acknowledged."""
        self.open: dict[int, None] = {}
        """The sequences that were handed out and are not acknowledged, in the order of their first delivery."""
        self.draining = asyncio.Event()
        """Set when the shard is to be let go: nothing more is to be read."""
        self.first_waiting: int | None = None
        """The first un-acknowledged sequence when a work-queue subject was taken over; None: there was none."""
        self.handed_out_before = 0
        """The last sequence that the former consumer handed out; 0 when there was none or it never did."""
        self.before_first: Callable[[int], Awaitable[None]] | None = None
        """Awaited once, with the first message's sequence, before that message is handed out."""

    def is_done_with(self, sequence: int) -> bool:
        """Whether everything up to here is acknowledged, as far as this reader has come."""
        return self._last_sequence > sequence and not any(held <= sequence for held in self.open)

    @property
    def was_interrupted(self) -> bool:
        """Whether the connection was made anew since this reader was opened, or messages were lost on their way.

        They are lost in the client, and between the servers of a cluster when the one dies that leads the
        consumer: the connection to another of them knows nothing of it, but a number is missing among the
        deliveries. What was swallowed counts as delivered and comes again after `ack_wait`, behind newer messages:
        what is read from now on is out of order.
        """
        return self._lost_some or self._reconnections() != self._before

    async def fetch(self, most: int = 100, timeout_s: float = 0.5) -> list[Message]:
        """Up to `most` messages; an empty list when none came within `timeout_s`; raises one of BUS_AWAY."""
        self.was_asked = True
        before = self._denials.count
        try:
            raws = await _answer(self._subscription.fetch(most, timeout=timeout_s))
        except TimeoutError:
            if self._denials.count > before:  # An empty queue is no news.
                denied = self._denials.since(before, "$JS.API.CONSUMER.MSG.NEXT.")
                if denied is not None:
                    self._subscription.ask_anew()
                    raise denied from None
            return []
        places = [Placed.of(raw.reply) for raw in raws]
        if self._is_one_missing(raws, places):
            return []
        messages = [
            Message(place.sequence, place.time_us, raw.data, raw.subject, raw, self.open)
            for raw, place in zip(raws, places, strict=True)
        ]
        if self.before_first is not None and messages:
            try:
                await self.before_first(messages[0].sequence)
            except BaseException:
                self._lost_some = True
                raise
            self.before_first = None
        if self.acknowledges and messages:
            self.open.update((message.sequence, None) for message in messages)
            self._last_sequence = max(self._last_sequence, *(message.sequence for message in messages))
        return messages

    def _is_one_missing(self, raws: Sequence[Msg], places: Sequence[Placed]) -> bool:
        """Whether a delivery never came; a new leader may begin again with numbers that the former one gave."""
        for raw, place in zip(raws, places, strict=True):
            if place.delivery > self._last_delivery + 1:
                self._lost_some = True
                log.warning(
                    "delivery_missing", subject=raw.subject, after=self._last_delivery, came=place.delivery
                )
            self._last_delivery = place.delivery
        return self._lost_some

    @property
    def answered_at(self) -> float:
        """The loop's time when the consumer has last shown that it exists; 0: not yet."""
        return self._subscription.answered_at

    async def close(self) -> None:
        """Unsubscribe; what is un-acknowledged is left to the next reader."""
        with suppress(*BUS_AWAY):
            await self._subscription.unsubscribe()

    async def backlog(self) -> Backlog:
        """The backlog of its consumer; raises one of BUS_AWAY, also when the consumer is gone."""
        info = await _answer(self._subscription.consumer_info())
        return Backlog(info.num_pending or 0, info.num_ack_pending or 0, info.num_redelivered or 0)


CONNECTIONS = b'{"auth": true, "limit": 4096}'


class _Connection(msgspec.Struct):
    name: str = ""
    authorized_user: str = ""


class _ConnectionList(msgspec.Struct):
    connections: list[_Connection] = []


class _Connections(msgspec.Struct):
    data: _ConnectionList


class Bus:
    """A connection to the bus."""

    def __init__(self, client: Client, denials: Denials) -> None:
        self._client = client
        self._denials = denials
        self._jetstream = client.jetstream(timeout=PUBLISH_TIMEOUT_S)
        self._echo = ""
        self._echoed = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether the server answers at this moment."""
        return self._client.is_connected

    @property
    def denials(self) -> int:
        """How often the server has denied this login something."""
        return self._denials.count

    async def logins(self) -> list[tuple[str, str]]:
        """The name of each connection to the server that answers, and by which login it is made; '': by none.

        Only the owner's login may ask, about its own account.
        """
        answer = await self.request("$SYS.REQ.ACCOUNT.PING.CONNZ", CONNECTIONS, PUBLISH_TIMEOUT_S)
        found = msgspec.json.decode(answer, type=_Connections).data.connections
        return [(one.name, one.authorized_user) for one in found]

    async def _ask(self, asking: Awaitable[T], subject: str = "$JS.API.") -> T:
        """The answer; raises BusDenied where there is none because this login may not ask."""
        before = self._denials.count
        try:
            return await _answer(asking)
        except TimeoutError:
            denied = self._denials.since(before, subject) if self._denials.count > before else None
            if denied is not None:
                raise denied from None
            raise

    @property
    def server_version(self) -> str:
        """The version that the server reports."""
        version = self._client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    async def answers(self, within_s: float) -> bool:
        """Whether the server carries a message of ours back to us in time.

        A connection that was cut looks whole for a quarter of a minute, and the driver's own ping, once given up,
        ends its reading.
        """

        async def receive_nudge(_message: Msg) -> None:
            self._echoed.set()

        self._echoed.clear()
        try:
            async with asyncio.timeout(within_s):
                if not self._echo:
                    inbox = self._client.new_inbox()
                    await self._client.subscribe(inbox, cb=receive_nudge)
                    self._echo = inbox
                await self._client.publish(self._echo, b"")
                await self._echoed.wait()
        except BUS_AWAY:
            return False
        return True

    @property
    def reconnections(self) -> int:
        """How often the connection was made anew; acknowledgements sent just before may be lost."""
        return self._client.stats["reconnects"]

    async def ensure_streams(self, replicas: int = 1) -> None:
        """Create the streams that are missing; only `services/migrate` does this.

        `replicas` of each: a publish is acknowledged by their majority. MEASUREMENTS, too: with a single copy the
        loss of its server leaves a cluster without alerts until that one is back.
        """
        for config in (replace(one, num_replicas=replicas) for one in (*STREAMS, MEASUREMENTS_STREAM)):
            try:
                await self._jetstream.update_stream(config)
            except NotFoundError:
                await self._jetstream.add_stream(config)

    async def keep_measurements_for(self, seconds: float) -> None:
        """Have MEASUREMENTS forget after so long, until the streams are ensured again."""
        await self._jetstream.update_stream(replace(MEASUREMENTS_STREAM, max_age=seconds))

    async def ensure_measurements_stream(self) -> None:
        """MEASUREMENTS is kept in memory: the first client after a restart of the server makes it again.

        With as many copies as the streams have that are on disk.
        """
        try:
            await self._jetstream.stream_info(topics.MEASUREMENTS)
        except NotFoundError:
            replicas = await self._replicas_of(topics.UPLINKS)
            await self._jetstream.add_stream(replace(MEASUREMENTS_STREAM, num_replicas=replicas))

    async def _replicas_of(self, stream: str) -> int:
        try:
            return (await self._jetstream.stream_info(stream)).config.num_replicas or 1
        except NotFoundError:
            return 1

    async def publish_once(self, subject: str, data: bytes, message_id: str | None = None) -> int:
        """Publish and return the stream sequence; raises one of BUS_AWAY when it was not acknowledged."""
        headers = {"Nats-Msg-Id": message_id} if message_id else None
        stored = await self._ask(self._jetstream.publish(subject, data, headers=headers), subject)
        return stored.seq

    async def publish(self, subject: str, data: bytes, message_id: str | None = None) -> int:
        """Publish until it is acknowledged, however long the bus is away or full.

        With a `message_id` the retries of these very octets are stored once.
        """
        attempt = 0
        while True:
            try:
                return await self.publish_once(subject, data, message_id)
            except BUS_AWAY as refused:
                if isinstance(refused, nats.errors.ConnectionClosedError):
                    raise
                if attempt % 10 == 0:
                    log.warning("publish_retried", subject=subject, error=describe(refused))
                attempt += 1
                await asyncio.sleep(random.uniform(0.05, min(2.0, 0.1 * attempt)))  # noqa: S311

    async def read_shard(
        self, stream: str, subject: str, consumer: str, check: Callable[[], None] = lambda: None
    ) -> ShardReader:
        """Take a work-queue subject over: its former consumers go, all that is un-acknowledged comes again.

        `check` raises when the subject is no longer ours to take; then no consumer is touched.
        """
        before = self.reconnections
        handed_out = 0
        former = await self._ask(self._jetstream.consumers_info(stream))
        check()  # Had we slept before we asked, the answer would name the consumer of the next owner.
        for info in former:
            if info.config.filter_subject == subject:
                handed_out = max(handed_out, info.delivered.stream_seq if info.delivered else 0)
                await self._jetstream.delete_consumer(stream, info.name)
        taken = await self._jetstream.add_consumer(
            stream,
            ConsumerConfig(
                durable_name=consumer,
                filter_subject=subject,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                max_ack_pending=MAX_ACK_PENDING,
            ),
        )
        # Nobody acknowledges any more: the first message that the stream still holds is the first that waits.
        first = await self._jetstream.get_msg(stream, 1, subject, next=True) if taken.num_pending else None
        reader = await self._opened(self._pull(stream, consumer), before)
        reader.handed_out_before = handed_out
        reader.first_waiting = None if first is None else first.seq
        return reader

    async def _pull(self, stream: str, consumer: str) -> Pull:
        return await Pull(self._client, self._jetstream, stream, consumer).open()

    async def _opened(self, opening: Coroutine[Any, Any, Pull], before: int) -> ShardReader:
        """The reader of a subscription that is being made; when we are cancelled meanwhile, it is given back."""
        making = asyncio.create_task(opening, name="open reader")
        try:
            subscription = await _answer(asyncio.shield(making))
        except asyncio.CancelledError:
            with suppress(*BUS_AWAY):
                await (await making).unsubscribe()
            raise
        return ShardReader(subscription, lambda: self.reconnections, before, self._denials)

    async def follow_from_now(self, stream: str, subject: str) -> ShardReader:
        """Read what is published from now on, by a reader that reads the table first; nothing is acknowledged.

        A consumer of this reader's own, without a name; the server forgets it when nobody has asked for long.
        """
        before = self.reconnections
        consumer = self._client.new_inbox().rpartition(".")[2]
        config = ConsumerConfig(
            name=consumer,
            filter_subject=subject,
            deliver_policy=DeliverPolicy.NEW,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=FORGOTTEN_AFTER_S,
            mem_storage=True,
        )
        await self._ask(self._jetstream.add_consumer(stream, config))
        reader = await self._opened(self._pull(stream, consumer), before)
        reader.acknowledges = False
        return reader

    async def room(self, stream: str) -> StreamRoom | None:
        """What a stream holds, and whether it has all of its copies; None: no such stream.

        Of a stream without a leader a server that is left over answers for itself, for as long as it lives
        (nats-server 2.10): that is none.
        """
        try:
            info = await self._ask(self._jetstream.stream_info(stream))
        except NotFoundError:
            return None
        except ServiceUnavailableError as unavailable:
            if unavailable.err_code is None:  # Nobody took the question: not even a cluster without a leader.
                raise NoJetStream from unavailable
            raise
        if info.cluster is not None and not info.cluster.leader:
            raise NoMajority(stream)
        followers = (info.cluster.replicas or []) if info.cluster is not None else []
        in_step = sum(bool(one.current) and not one.offline for one in followers)
        return StreamRoom(
            info.state.messages,
            info.state.bytes / (info.config.max_bytes or 1),
            (info.config.num_replicas or 1) - 1 - in_step,
        )

    async def stream_messages(self, stream: str) -> int:
        """How many messages a stream holds."""
        return (await self._jetstream.stream_info(stream)).state.messages

    async def unacknowledged(self, stream: str) -> int:
        """How many messages of a stream were handed out and are not acknowledged."""
        return sum(info.num_ack_pending or 0 for info in await self._jetstream.consumers_info(stream))

    async def positions(self) -> dict[str, int]:
        """The sequence of the last message of each stream that there is."""
        found: dict[str, int] = {}
        for stream in (topics.FRAMES, topics.UPLINKS, topics.MEASUREMENTS):
            with suppress(NotFoundError):
                found[stream] = (await _answer(self._jetstream.stream_info(stream))).state.last_seq
        return found

    async def is_read_up_to(self, positions: dict[str, int]) -> bool:
        """Whether the work queues hold nothing of what they held then; of measurements that is dropped.

        Who reads measurements finds a gap, and reads the table, which is their truth.
        """
        for stream, position in positions.items():
            state = (await _answer(self._jetstream.stream_info(stream))).state
            if not state.messages or state.first_seq > position:
                continue
            if stream != topics.MEASUREMENTS:
                return False
            await _answer(self._jetstream.purge_stream(stream, seq=position + 1))
        return True

    async def forget_readers(self) -> None:
        """Delete every reader of the work queues, and MEASUREMENTS: who reads that next reads the table first."""
        for stream in STREAMS:
            for reader in await self._jetstream.consumers_info(stream.name or ""):
                await self._jetstream.delete_consumer(reader.stream_name, reader.name)
        with suppress(NotFoundError):
            await self._jetstream.delete_stream(topics.MEASUREMENTS)

    async def nudge(self, subject: str, data: bytes = b"") -> None:
        """Publish to those who listen now, without a guarantee: rows are the truth, a nudge saves the wait."""
        await self._client.publish(subject, data)

    async def subscribe(
        self, subject: str, handle: Callable[[str, bytes], Awaitable[None]], *, queue: str = ""
    ) -> Subscription:
        """Call `handle(subject, data)` for each message of a core subject, one after the other."""

        async def receive(message: Msg) -> None:
            await handle(message.subject, message.data)

        return await self._client.subscribe(subject, queue=queue, cb=receive)

    async def respond(
        self, subject: str, answer: Callable[[bytes], Awaitable[bytes]], *, queue: str = ""
    ) -> Subscription:
        """Answer requests on `subject`, concurrently; of a queue group only one member gets each request."""
        running: set[asyncio.Task[None]] = set()

        async def reply(message: Msg) -> None:
            try:
                await message.respond(await answer(message.data))
            except BUS_AWAY as gone:
                log.warning("reply_not_sent", subject=subject, error=describe(gone))

        async def receive(message: Msg) -> None:
            task = asyncio.create_task(reply(message), name=f"respond {subject}")
            running.add(task)
            task.add_done_callback(running.discard)

        return await self._client.subscribe(subject, queue=queue, cb=receive)

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        """Ask and wait; raises NoResponders at once when nobody listens, TimeoutError when no answer came."""
        return (await self._ask(self._client.request(subject, data, timeout=timeout_s), subject)).data


@asynccontextmanager
async def connect_bus(
    nats_url: str, name: str, waiting: Waiting | None = None, *, within_s: float | None = None
) -> AsyncGenerator[Bus]:
    """The bus while the block runs, as `core.runtime.bus_connection.connected` has it."""
    async with connected(nats_url, name, waiting, within_s=within_s) as (client, denials):
        yield Bus(client, denials)
