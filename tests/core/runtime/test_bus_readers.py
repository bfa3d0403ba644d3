"""What a reader of a shard makes of its deliveries, by the numbers that the server gives them."""

from dataclasses import dataclass
from typing import Any

import pytest

from core.runtime.bus import ShardReader
from core.runtime.ownership import batches

AT_NS = 1_900_000_000_000_000_000


@dataclass
class Delivered:
    """A message as the driver hands it out; `reply` as nats-server 2.10 writes it."""

    reply: str
    data: bytes = b""
    subject: str = "territoire.frames.0"


def delivered(sequence: int, delivery: int, *, domain: bool = False) -> Delivered:
    head = "$JS.ACK.hub.account" if domain else "$JS.ACK"
    tail = ".token" if domain else ""
    return Delivered(f"{head}.FRAMES.network-0-1.1.{sequence}.{delivery}.{AT_NS}.0{tail}")


@dataclass
class Subscription:
    """What the consumer delivers, fetch by fetch."""

    fetches: list[list[Delivered]]
    answered_at: float = 0.0

    async def fetch(self, _most: int, timeout: float) -> list[Delivered]:  # noqa: ASYNC109 - As the real one.
        del timeout
        return self.fetches.pop(0)


def reader_of(*fetches: list[Delivered]) -> ShardReader:
    subscription: Any = Subscription(list(fetches))
    denials: Any = type("Denials", (), {"count": 0})
    return ShardReader(subscription, lambda: 0, 0, denials)


async def sequences(reader: ShardReader) -> list[int]:
    return [message.sequence async for read in batches(reader, 10) for message in read]


@pytest.mark.parametrize("domain", [False, True])
async def test_a_reader_ends_before_what_comes_behind_a_delivery_that_never_arrived(domain: bool) -> None:
    """It died with the server that led the consumer, and comes again behind newer ones."""
    first = [delivered(7, 1, domain=domain), delivered(8, 2, domain=domain)]
    behind = [delivered(10, 4, domain=domain), delivered(9, 5, domain=domain)]

    reader = reader_of(first, behind)

    assert await sequences(reader) == [7, 8]
    assert reader.was_interrupted
    assert list(reader.open) == [7, 8]


async def test_a_reader_ends_when_its_first_delivery_never_arrived() -> None:
    assert await sequences(reader_of([delivered(8, 2)])) == []


async def test_deliveries_that_a_new_leader_repeats_are_none_that_are_missing() -> None:
    reader = reader_of([delivered(7, 1), delivered(8, 2)], [delivered(8, 2), delivered(9, 3)], [delivered(11, 5)])

    assert await sequences(reader) == [7, 8, 8, 9]
