# pyright: reportUnknownMemberType=false
"""Reads a consumer of the bus: one request waits there for whatever comes, for many messages or for seconds.

The driver's own fetch asks what there is, is told that there is nothing, and asks again to wait: four messages,
and for each answer two tasks, a timer and a random name (docs/performance.md).
"""

import asyncio
from collections import deque
from typing import NamedTuple

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo, Header
from nats.js.errors import APIError, ServiceUnavailableError

# A request that has brought nothing for so long ends with a word from the server: the consumer is there.
WAITS_S = 4.0
# Without that word it was lost, with the server that led the consumer say.
LOST_AFTER_S = 1.0
# What the server says is on its way is awaited for so long.
ON_ITS_WAY_S = 0.05

_NOTHING_CAME = frozenset({"404", "408"})
_NOBODY_THERE = "503"
# Of the tokens of an acknowledgement's subject, $JS.ACK...: nine up to nats-server 2.9, eleven or more since.
_FIRST_TOKENS = 9
_SEQUENCE_AND_TIME = (5, 7)
_SEQUENCE_AND_TIME_WITH_DOMAIN = (7, 9)


class Placed(NamedTuple):
    """Where a message is in its stream: what the subject says that it is acknowledged to.

    `time_us` is the stream's clock, in integers only: the driver makes a datetime of it. `delivery` is the
    consumer's own number of this delivery: each is one more than the last, redeliveries as well. `behind` is how
    many messages wait behind this one.
    """

    sequence: int
    time_us: int
    delivery: int
    behind: int

    @classmethod
    def of(cls, reply: str) -> "Placed":
        """Read the subject."""
        tokens = reply.split(".")
        sequence, time = _SEQUENCE_AND_TIME if len(tokens) == _FIRST_TOKENS else _SEQUENCE_AND_TIME_WITH_DOMAIN
        return cls(
            int(tokens[sequence]), int(tokens[time]) // 1000, int(tokens[sequence + 1]), int(tokens[time + 1])
        )


class Pull:
    """What a pull consumer delivers, as it comes. At most one request waits, and nothing is asked for unread."""

    def __init__(self, client: Client, jetstream: JetStreamContext, stream: str, consumer: str) -> None:
        self._client = client
        self._jetstream = jetstream
        self._stream = stream
        self._consumer = consumer
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._came = deque[Msg]()
        self._arrived = asyncio.Event()
        self._rejection: Msg | None = None
        self._asked = 0  # How many requests were sent; each is answered to a subject of its own.
        self._left = 0  # How many messages the last one may still bring.
        self._lost_at = 0.0
        self.answered_at = 0.0
        """The loop's time when the consumer has last shown that it exists."""

    async def open(self) -> "Pull":
        """Listen for what will be asked for."""
        self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._receive)
        return self

    async def unsubscribe(self) -> None:
        """Listen no more: what the server sends all the same is nobody's, and comes again to the next reader."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def consumer_info(self) -> ConsumerInfo:
        """What the server says of the consumer; raises NotFoundError when there is none."""
        return await self._jetstream.consumer_info(self._stream, self._consumer)

    async def fetch(self, most: int, timeout: float) -> list[Msg]:  # noqa: ASYNC109 - As the driver's own.
        """Up to `most` messages: what has come, and what the server says is on its way.

        Raises:
            TimeoutError: nothing has come in time; the request waits on.
            APIError: the server has rejected the request, or there is no such consumer.
        """
        async with asyncio.timeout(timeout):
            while not self._came:
                if self._client.is_closed:
                    raise ConnectionClosedError
                self._raise_rejection()
                await self._ask(most)
                await self._more()
        while len(self._came) < most and self._is_on_its_way():
            try:
                async with asyncio.timeout(ON_ITS_WAY_S):
                    await self._more()
            except TimeoutError:
                break
        return [self._came.popleft() for _ in range(min(most, len(self._came)))]

    def ask_anew(self) -> None:
        """The request that waits is void: the next fetch sends another."""
        self._left = 0

    async def _ask(self, most: int) -> None:
        now = asyncio.get_running_loop().time()
        if self._left and now < self._lost_at:
            return
        self._asked += 1
        self._left, self._lost_at = most, now + WAITS_S + LOST_AFTER_S
        request = msgspec.json.encode({"batch": most, "expires": int(WAITS_S * 1_000_000_000)})
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._client.publish(subject, request, reply=f"{self._inbox}.{self._asked}")

    async def _more(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    def _is_on_its_way(self) -> bool:
        return self._left > 0 and Placed.of(self._came[-1].reply).behind > 0

    async def _receive(self, message: Msg) -> None:
        """In a task of the driver's: a message of the consumer, or what the server says of a request."""
        status = message.headers.get(Header.STATUS) if message.headers else None
        if status is None or status in _NOTHING_CAME:
            self.answered_at = asyncio.get_running_loop().time()
        if status is None:
            self._came.append(message)
            self._left = max(0, self._left - 1)
        elif message.subject == f"{self._inbox}.{self._asked}":
            self._left = 0
            if status not in _NOTHING_CAME:
                self._rejection = message
        self._arrived.set()

    def _raise_rejection(self) -> None:
        rejection, self._rejection = self._rejection, None
        if rejection is None:
            return
        headers = rejection.headers or {}
        status = headers.get(Header.STATUS, "")
        if status == _NOBODY_THERE:
            raise ServiceUnavailableError
        raise APIError(code=int(status), description=headers.get(Header.DESCRIPTION))
