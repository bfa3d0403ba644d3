"""Frames straight on the bus, and a network of a few lines that makes an uplink of each."""

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import blake2b

import pytest

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.downlinks import Transmission, TransmitRequest, decode_reply, encode_transmit
from core.messages.frames import FRAME_BATCHES, GatewayFrame
from core.messages.uplinks import Uplink
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool
from lab.bench import network_load
from lab.bench.network_load import BusLoad, UplinksLost
from lab.device.application import PreparedPayloads
from lab.device.device import Device, DeviceSession
from lab.fleet.benchmark import plan_benchmark
from lab.fleet.build import build_device
from lab.radio.medium import RadioMedium
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.identifiers import DevAddr
from lorawan.join import JoinAccept

SHARDS = 2
AT_US = 1_795_000_000_000_000


def devices(count: int) -> list[Device]:
    medium = RadioMedium(random.Random(1))
    made = [
        build_device(plan, (), medium, random.Random(1), application=PreparedPayloads(plan.application, AT_US))
        for plan in plan_benchmark("bus", count, 0).devices
    ]
    for device in made:
        cipher = SessionCipher(SessionKeys(secrets.token_bytes(16), secrets.token_bytes(16)))
        device.session = DeviceSession(DevAddr(secrets.token_bytes(4)), cipher)
    return made


def uplink(frame: GatewayFrame) -> Uplink:
    identity = blake2b(frame.phy_payload, digest_size=16).digest()
    return Uplink(identity, 1, 1, 0, 1, b"", False, AT_US, AT_US, 868_100_000, 7, 125_000, False, [])


async def echo(bus: Bus, shard: int, *, loses: int, doubles: int) -> None:
    reader = await bus.read_shard(topics.FRAMES, topics.frames(shard), f"echo-{shard}")
    while True:
        for message in await reader.fetch(10, 0.1):
            frames = FRAME_BATCHES.decode(message.data)
            uplinks = [uplink(frame) for frame in frames[loses:]] + [
                uplink(frame) for frame in frames[len(frames) - doubles :]
            ]
            await bus.publish(topics.uplinks(shard), encode_batch(uplinks))
            await message.ack()


@asynccontextmanager
async def on_the_bus(pool: Pool, nats_url: str, *, loses: int = 0, doubles: int = 0) -> AsyncGenerator[BusLoad]:
    async with connect_bus(nats_url, "tests") as bus:
        await bus.ensure_streams()
        load = BusLoad(bus, pool, 1, SHARDS, devices(40), [b"gateway1"])
        load.readers += [
            await bus.read_shard(topics.UPLINKS, topics.uplinks(shard), f"bench-{shard}")
            for shard in range(SHARDS)
        ]
        echoing = [asyncio.create_task(echo(bus, shard, loses=loses, doubles=doubles)) for shard in range(SHARDS)]
        try:
            yield load
        finally:
            for task in echoing:
                task.cancel()
            await asyncio.gather(*echoing, return_exceptions=True)


async def test_every_frame_comes_back_as_one_uplink(pool: Pool, nats_url: str, monkeypatch) -> None:
    monkeypatch.setattr(network_load, "IN_FLIGHT", 250)  # The publishers have to wait for their readers.

    async with on_the_bus(pool, nats_url) as load:
        took = await load.play(load.frames(60))

    assert took > 0


@pytest.mark.parametrize(("loses", "doubles"), [(1, 0), (0, 1), (1, 1)])
async def test_what_is_lost_or_doubled_is_reported(
    pool: Pool, nats_url: str, monkeypatch, loses: int, doubles: int
) -> None:
    monkeypatch.setattr(network_load, "QUIET_S", 1.0)

    async with on_the_bus(pool, nats_url, loses=loses, doubles=doubles) as load:
        with pytest.raises(UplinksLost):
            await load.play(load.frames(10))


async def test_a_device_takes_the_accept_that_a_request_to_transmit_carries(pool: Pool, nats_url: str) -> None:
    async with connect_bus(nats_url, "tests") as bus:
        load = BusLoad(bus, pool, 1, SHARDS, devices(2), [b"gateway1"])
        device = load.devices[1]
        device.session = None
        device.next_join_request()
        accept = JoinAccept(1, 0, DevAddr(bytes(4))).to_bytes(device.app_key)
        sent = Transmission(accept, 868_100_000, 7, 125_000, 5_000_000, False)
        request = TransmitRequest(0, b"gateway1", (1).to_bytes(4), AT_US, AT_US, 0, [sent])

        reply = decode_reply(await load.answer(encode_transmit(request)))

    assert (reply.status, reply.starts_at_us) == ("OK", AT_US + 5_000_000)
    assert device.session is not None
