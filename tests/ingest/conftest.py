"""A registry to ingest for, and uplinks."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.topics import shard_of_slot
from core.messages.uplinks import Reception, Uplink
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool
from services.ingest.app import run
from services.ingest.settings import IngestSettings

NOW_US = 1_795_597_200_000_000  # 2026-11-25
GATEWAY_IDS = [bytes([0, 128, 0, 0, 0, 0, 0, number]) for number in range(3)]
EM400 = bytes.fromhex("01755c0367010104824408050001")  # README of em400-udl: 92 %, 25.7 Cel, 2116 mm, tilted.
SHARDS = 4
KEK = bytes(range(16))


@dataclass(slots=True)
class Planted:
    """One tenant's registry, grown by the test."""

    pool: Pool
    tenant_id: int = 0
    gateways: list[int] = field(default_factory=list[int])

    async def begin(self) -> None:
        self.tenant_id = await self.pool.fetchval(
            "INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest') RETURNING id"
        )
        for gateway_id in GATEWAY_IDS[:2]:  # The third receives and is not registered.
            self.gateways.append(
                await self.pool.fetchval(
                    "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, $2, 'g') RETURNING id",
                    self.tenant_id,
                    gateway_id,
                )
            )

    async def profile(self, codec: str, options: dict[str, Any] | None = None) -> int:
        return await self.pool.fetchval(
            "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_options) "
            "VALUES ($1, gen_random_uuid()::text, 'v', 'm', $2, $3) RETURNING id",
            self.tenant_id,
            codec,
            options or {},
        )

    async def asset(self, attributes: dict[str, Any] | None = None) -> int:
        return await self.pool.fetchval(
            "INSERT INTO asset (tenant_id, kind, name, attributes) "
            "VALUES ($1, 'glass_container', gen_random_uuid()::text, $2) RETURNING id",
            self.tenant_id,
            attributes or {},
        )

    async def device(self, profile_id: int, asset_id: int | None = None) -> int:
        device_id = await self.pool.fetchval(
            "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) "
            "VALUES ($1, $3, $3, 'd', $2, 0, 'ABP') RETURNING id",
            self.tenant_id,
            profile_id,
            secrets.token_bytes(8),
        )
        if asset_id is not None:
            await self.assign(device_id, asset_id)
        return device_id

    async def assign(self, device_id: int, asset_id: int) -> None:
        await self.pool.execute(
            "INSERT INTO assignment (tenant_id, asset_id, device_id, during) "
            "VALUES ($1, $2, $3, tstzrange('2020-01-01', NULL))",
            self.tenant_id,
            asset_id,
            device_id,
        )

    async def count(self, table: str) -> int:
        return await self.pool.fetchval(f"SELECT count(*) FROM observation.{table}")


@pytest.fixture
def planted_in() -> Callable[[Pool], Awaitable[Planted]]:
    async def plant(pool: Pool) -> Planted:
        registry = Planted(pool)
        await registry.begin()
        return registry

    return plant


@pytest.fixture
async def planted(pool: Pool, planted_in: Callable[[Pool], Awaitable[Planted]]) -> Planted:
    return await planted_in(pool)


@pytest.fixture
def make_uplink() -> Callable[..., Uplink]:
    def make(device_id: int, f_cnt: int = 1, payload: bytes = EM400, **changes: Any) -> Uplink:
        values: dict[str, Any] = {
            "uplink_id": uuid5(NAMESPACE_OID, f"{device_id} {f_cnt}").bytes,
            "device_id": device_id,
            "session_id": 1,
            "f_cnt": f_cnt,
            "f_port": 85,
            "payload": payload,
            "confirmed": False,
            "time_us": NOW_US + f_cnt * 1_000_000,
            "received_at_us": NOW_US + f_cnt * 1_000_000 + 7,
            "frequency": 868_100_000,
            "spreading_factor": 7,
            "bandwidth": 125_000,
            "late": False,
            "receptions": [Reception(GATEWAY_IDS[0], 0, -100.0, 5.5), Reception(GATEWAY_IDS[2], 0, -90.0, 3.0)],
        }
        return Uplink(**(values | changes))

    return make


@pytest.fixture
async def bus(nats_url: str) -> AsyncGenerator[Bus]:
    async with connect_bus(nats_url, "test") as connected:
        await connected.ensure_streams()
        yield connected


@pytest.fixture
def send(bus: Bus) -> Callable[..., Awaitable[None]]:
    """Publish uplinks in one message, on a shard of UPLINKS."""

    async def publish(*uplinks: Uplink, slot: int = 0) -> None:
        await bus.publish(topics.uplinks(shard_of_slot(slot, SHARDS)), encode_batch(uplinks))

    return publish


@pytest.fixture
def until_drained(bus: Bus) -> Callable[[], Awaitable[None]]:
    """Return once everything on UPLINKS is acknowledged."""

    async def wait() -> None:
        async with asyncio.timeout(90):
            while await bus.stream_messages(topics.UPLINKS):  # noqa: ASYNC110 - The server has no event for it.
                await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def ingesting(database_url: str, nats_url: str) -> Callable[..., AbstractAsyncContextManager[None]]:
    """The service while the block runs, then a clean stop."""

    @asynccontextmanager
    async def running(
        database: str = database_url, nats: str = nats_url, instance: str = "a", **others: Any
    ) -> AsyncGenerator[None]:
        settings = IngestSettings.model_validate(
            {"database_url": database, "nats_url": nats, "kek": KEK.hex(), "instance": instance, "linger_ms": 0}
            | others
        )
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:  # A service that fails ends the test, and says why.
            tasks.create_task(run(settings, stopping))
            yield
            stopping.set()

    return running
