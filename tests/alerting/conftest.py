"""A bin with its device and datastream, and a real receiver of webhooks that believes only signatures."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from alerting import alert_store, store
from alerting.defaults import create_default_rules
from core.runtime.health import serve_http
from core.runtime.postgres import Pool
from registry.datastreams import make_datastream
from registry.keys import KeyWrap
from tests.proved import create_proved_endpoint

KEYS = KeyWrap("kek-1", bytes(16))
LOOPBACK = ["127.0.0.1/32"]


@dataclass
class Receiver:
    """Answers with `statuses` in turn, the last for ever; waits for `gate` before each answer."""

    url: str = ""
    secret: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    requests: list[dict[str, Any]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def record_delivery(self, headers: dict[str, str], content: bytes) -> int:
        Webhook(self.secret).verify(content, headers)  # Raises, hence 500 and no entry, when it is forged.
        self.requests.append(
            {"id": headers["webhook-id"], "body": json.loads(content), "octets": content, "headers": headers}
        )
        async with self.arrived:
            self.arrived.notify_all()
        await self.gate.wait()
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    async def until(self, count: int, within_s: float = 20) -> None:
        async with asyncio.timeout(within_s), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)

    @property
    def answer_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value.encode()) for name, value in self.headers.items()]

    @property
    def types(self) -> list[str]:
        return [request["body"]["type"] for request in self.requests]


@asynccontextmanager
async def receiving(receiver: Receiver | None = None) -> AsyncGenerator[Receiver]:
    receiver = receiver or Receiver()
    receiver.gate.set()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # The process that was sending it is dead.
            content, more = content + message.get("body", b""), message.get("more_body", False)
        status = await receiver.record_delivery(
            {name.decode(): value.decode() for name, value in scope["headers"]}, content
        )
        await send({"type": "http.response.start", "status": status, "headers": receiver.answer_headers})
        await send({"type": "http.response.body", "body": receiver.body})

    async with serve_http(app, "127.0.0.1", 0, shutdown_timeout_s=1) as port:
        receiver.url = f"http://127.0.0.1:{port}/alertes"
        yield receiver
        receiver.gate.set()


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as opened:
        yield opened


@pytest.fixture
async def second_receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as opened:
        yield opened


@dataclass(frozen=True)
class Place:
    """A bin and what serves it."""

    tenant_id: int
    asset_id: int
    device_id: int
    datastream_id: int
    pool: Pool

    async def rule(self, name: str) -> int:
        return await self.pool.fetchval(
            "SELECT id FROM alert_rule WHERE tenant_id = $1 AND name = $2", self.tenant_id, name
        )

    async def store_value(self, at: datetime, value: float, flags: int = 0) -> None:
        """As ingest writes it."""
        await self.pool.execute(
            "INSERT INTO observation.measurement VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            self.datastream_id,
            at,
            value,
            flags,
        )
        await self.pool.execute(
            "INSERT INTO observation.latest VALUES ($1, $2, $3, $4) ON CONFLICT (datastream_id) DO UPDATE "
            "SET time = excluded.time, value = excluded.value WHERE latest.time < excluded.time",
            self.datastream_id,
            at,
            value,
            flags,
        )

    async def endpoint(self, receiver: Receiver) -> store.Endpoint:
        endpoint, receiver.secret = await create_proved_endpoint(self.pool, KEYS, self.tenant_id, receiver.url)
        return endpoint

    async def alerts(self) -> list[alert_store.Alert]:
        return await alert_store.list_alerts(self.pool)


MakePlace = Callable[..., Awaitable[Place]]


@pytest.fixture
def make_place(pool: Pool) -> MakePlace:
    async def make(slug: str = "sdef", interval_s: float = 3600) -> Place:
        tenant_id = await pool.fetchval(
            "INSERT INTO tenant (slug, name, webhook_allow_list) VALUES ($1, $1, $2) RETURNING id", slug, LOOPBACK
        )
        await create_default_rules(pool, tenant_id)
        profile = await pool.fetchval(
            "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, expected_interval) "
            "VALUES ($1, 'p', 'Milesight', 'EM400', 'c', make_interval(secs => $2)) RETURNING id",
            tenant_id,
            interval_s,
        )
        device = await pool.fetchval(
            "INSERT INTO device "
            "(tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id) "
            "VALUES ($1, $2, $2, 'em400-12', $3, 0, 'x', 'kek-1') RETURNING id",
            tenant_id,
            slug.encode().ljust(8, b"\0"),
            profile,
        )
        asset = await pool.fetchval(
            "INSERT INTO asset (tenant_id, kind, name, street, commune) "
            "VALUES ($1, 'waste_container', 'Bac 12', '3 rue de Siam', 'Brest') RETURNING id",
            tenant_id,
        )
        await pool.execute(
            "INSERT INTO assignment (tenant_id, asset_id, device_id) VALUES ($1, $2, $3)", tenant_id, asset, device
        )
        datastream = await make_datastream(
            pool,
            tenant_id=tenant_id,
            asset_id=asset,
            device_id=device,
            position="",
            channel="",
            quantity="fill_level",
            unit="%",
        )
        return Place(tenant_id, asset, device, datastream.id, pool)

    return make


@pytest.fixture
async def place(make_place: MakePlace) -> Place:
    return await make_place()
