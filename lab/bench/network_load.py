"""Frames for the network service straight from the bus, and its uplinks back: no gateway, no bridge, no ingest.

Devices join for real: this is who answers the requests to transmit that a bridge would answer.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.downlinks import TransmitReply, decode_request, encode_transmit
from core.messages.frames import GatewayFrame
from core.messages.topics import shard_of_slot
from core.messages.uplinks import UPLINK_BATCHES
from core.model.identities import new_trace
from core.runtime.bus import Bus, ShardReader, connect_bus
from core.runtime.lease import read_shards
from core.runtime.postgres import Pool, open_pool
from lab.device.application import PreparedPayloads
from lab.device.device import Device
from lab.fleet.benchmark import plan_benchmark
from lab.fleet.build import build_device
from lab.fleet.bulk import provision_in_bulk
from lab.fleet.tenancy import prepare_tenant
from lab.radio.clock import now_us
from lab.radio.medium import RadioMedium
from lab.radio.transmission import BANDWIDTH, CHANNELS, Transmission
from lorawan.frame import MType, mtype_of, routing_slot
from services.supervisor.run_info import RunInfo

# As large as the bridge's own messages are at 12,000 frames a second.
MESSAGE_FRAMES = 125
JOIN_BATCH = 50
JOIN_WITHIN_S = 60.0
# Frames of a shard on their way at most: of more, nothing would be known but the backlog.
IN_FLIGHT = 5_000
FETCH_MESSAGES = 64
FETCH_S = 0.2
QUIET_S = 20.0

READ_COUNTERS = """
SELECT d.dev_eui, s.f_cnt_up FROM session s JOIN device d ON d.id = s.device_id
WHERE d.tenant_id = $1 AND s.closed_at IS NULL
"""


class UplinksLost(Exception):
    """Not every frame became one uplink, or a session was not saved; the message says how many, in French."""


@dataclass(slots=True)
class BusLoad:
    """Devices with sessions, and where their frames go."""

    bus: Bus
    pool: Pool
    tenant_id: int
    shards: int
    devices: list[Device]
    gateway_ids: Sequence[bytes]
    readers: list[ShardReader] = field(default_factory=list[ShardReader])
    _progress: asyncio.Event = field(default_factory=asyncio.Event)

    def _frame(self, device: Device, octets: bytes) -> GatewayFrame:
        """As a bridge has it now; the context says whose it is."""
        number, at_us = device.number, now_us()
        device.sent_until_us, device.frequency = at_us, CHANNELS[number % 3]
        gateway_id = self.gateway_ids[number % len(self.gateway_ids)]
        return GatewayFrame(
            octets, gateway_id, at_us, at_us, number.to_bytes(4), device.frequency, device.spreading_factor,
            BANDWIDTH, 0, -80.0, 5.0, 0, 0, 0, new_trace(),
        )  # fmt: skip

    def _shard_of(self, octets: bytes) -> int:
        slot = routing_slot(octets)
        assert slot is not None
        return shard_of_slot(slot, self.shards)

    async def answer(self, octets: bytes) -> bytes:
        """A request to transmit: the device receives it in the first window that it names."""
        request = decode_request(octets)
        device, sent = self.devices[int.from_bytes(request.context)], request.transmissions[0]
        if mtype_of(sent.phy_payload) is MType.JOIN_ACCEPT:
            if device.dev_nonce is not None:
                device.accept(sent.phy_payload, device.dev_nonce, now_us())
            self._progress.set()
        else:
            start_us = device.sent_until_us + sent.delay_us
            transmission = Transmission(sent.phy_payload, sent.frequency, sent.spreading_factor, start_us, 0)
            reception = device.lock_on(transmission)
            if reception is not None:
                reception()
        return encode_transmit(TransmitReply("OK", 0, 0, request.uplink_at_us + sent.delay_us))

    async def join(self) -> None:
        """Return when every device has a session.

        Raises:
            TimeoutError: some have none after a minute.
        """
        async with asyncio.timeout(JOIN_WITHIN_S):
            for start in range(0, len(self.devices), JOIN_BATCH):
                batch = self.devices[start : start + JOIN_BATCH]
                for device in batch:
                    octets = device.next_join_request()
                    frame = self._frame(device, octets)
                    await self.bus.publish(topics.frames(self._shard_of(octets)), encode_batch([frame]))
                while any(device.session is None for device in batch):
                    self._progress.clear()
                    await self._progress.wait()

    async def play(self, octets: Sequence[tuple[Device, bytes]]) -> float:
        """Publish these frames and read as many uplinks; the seconds from the first to the last.

        Raises:
            UplinksLost: some did not come, or came twice.
        """
        lanes: list[list[tuple[Device, bytes]]] = [[] for _ in range(self.shards)]
        for device, one in octets:
            lanes[self._shard_of(one)].append((device, one))
        ids: set[bytes] = set()
        began = time.monotonic()
        results = await asyncio.gather(*(self._play(shard, lane, ids) for shard, lane in enumerate(lanes)))
        took = time.monotonic() - began
        if sum(results) != len(octets) or len(ids) != len(octets):
            raise UplinksLost(f"{len(octets)} trames, {sum(results)} montantes, {len(ids)} différentes")
        return took

    async def _play(self, shard: int, lane: Sequence[tuple[Device, bytes]], ids: set[bytes]) -> int:
        """One shard's frames, and its uplinks back: how many."""
        published = received = 0
        room = asyncio.Event()

        async def publish() -> None:
            nonlocal published
            for start in range(0, len(lane), MESSAGE_FRAMES):
                while published - received > IN_FLIGHT:
                    room.clear()
                    await room.wait()
                part = lane[start : start + MESSAGE_FRAMES]
                published += len(part)
                message = encode_batch([self._frame(device, one) for device, one in part])
                await self.bus.publish(topics.frames(shard), message)

        publishing = asyncio.create_task(publish(), name=f"publish {shard}")
        received_at = time.monotonic()
        while received < len(lane) and time.monotonic() - received_at < QUIET_S:
            for message in await self.readers[shard].fetch(FETCH_MESSAGES, FETCH_S):
                uplinks = UPLINK_BATCHES.decode(message.data)
                received += len(uplinks)
                ids.update([uplink.uplink_id for uplink in uplinks])
                await message.ack()
                received_at = time.monotonic()
                room.set()
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        return received

    async def check_sessions(self) -> None:
        """Every session is saved as far as its device has come.

        Raises:
            UplinksLost: one is not.
        """
        rows = await self.pool.fetch(READ_COUNTERS, self.tenant_id)
        saved = Counter({bytes(row["dev_eui"]): row["f_cnt_up"] for row in rows})
        behind = [one for one in self.devices if one.session and saved[one.dev_eui] != one.session.f_cnt_up]
        if behind:
            raise UplinksLost(f"{len(behind)} sessions ne sont pas enregistrées là où leur équipement en est")

    def frames(self, each: int) -> list[tuple[Device, bytes]]:
        """The next frames of all devices, `each` of each, in turn."""
        return [
            (device, device.next_frame(device.application.next_message(0)))
            for _ in range(each)
            for device in self.devices
        ]


@asynccontextmanager
async def open_bus_load(run: RunInfo, devices: int, gateways: int) -> AsyncGenerator[BusLoad]:
    """A tenant of its own whose devices have joined.

    Raises:
        ProvisioningFailed: the API rejected the fleet.
        TimeoutError: the network does not answer.
    """
    name = f"reseau {now_us()}"
    async with open_pool(run.database_url, "bench") as pool, connect_bus(run.nats_url, "bench") as bus:
        tenant, api_key = await prepare_tenant(pool, name.replace(" ", "-"), name.capitalize())
        plan = plan_benchmark(name, devices, gateways)
        await provision_in_bulk(run, tenant.id, api_key, plan)
        async with pool.acquire() as connection:
            shards = await read_shards(connection)
        medium = RadioMedium(random.Random(name))  # Nobody is in its range.
        made = [
            build_device(
                one,
                (),
                medium,
                random.Random(f"{name} {one.number}"),
                application=PreparedPayloads(one.application, now_us()),
            )
            for one in plan.devices
        ]
        load = BusLoad(bus, pool, tenant.id, shards, made, [one.gateway_id for one in plan.gateways])
        for gateway_id in load.gateway_ids:
            await bus.respond(topics.gateway_down(gateway_id), load.answer)
        load.readers += [
            await bus.read_shard(topics.UPLINKS, topics.uplinks(shard), f"bench-{shard}")
            for shard in range(shards)
        ]
        await load.join()
        yield load
