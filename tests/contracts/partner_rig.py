"""A partner that was built on ChirpStack: its application here, its own broker, and its own client there."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import aiomqtt
import pytest

from registry.applications import create_application
from registry.downlinks import enqueue
from registry.keys import KeyWrap
from services.supervisor.mosquitto import BRIDGE, SIMULATOR
from services.supervisor.ports import LOOPBACK
from tests.contracts.lns_rig import KEK, Bench, SourceOfTest, now_us, until
from tests.contracts.lns_samples import SAMPLES, SampleUplink


@dataclass
class Partner:
    """A partner: its broker's address, and all that its own client has received there."""

    bench: Bench
    heard: SampleUplink
    client: aiomqtt.Client
    source: SourceOfTest
    application_id: UUID = field(default_factory=lambda: UUID(bytes=secrets.token_bytes(16), version=4))
    application: int = 0
    device_id: int = 0
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    async def listen(self) -> None:
        await self.client.subscribe(f"application/{self.application_id}/device/+/event/#", qos=1)
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.received.append((str(message.topic), json.loads(message.payload)))

    async def plant(self, port: int, name: str = "Hyperviseur", **asked: Any) -> int:
        async with self.bench.pool.acquire() as connection:
            return await create_application(
                connection,
                KeyWrap("kek-1", KEK),
                self.bench.tenant_id,
                self.bench.broker.accounts[BRIDGE],
                {
                    "name": name,
                    "mqtt_url": f"mqtt://{LOOPBACK}:{port}",
                    "mqtt_user": BRIDGE,
                    "application_id": None,
                    "all_devices": True,
                    "takes_commands": True,
                    **asked,
                },
            )

    def events(self, kind: str) -> list[dict[str, Any]]:
        topic = f"application/{self.application_id}/device/{self.heard.dev_eui.hex()}/event/{kind}"
        return [event for at, event in self.received if at == topic]

    async def collect(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        async def enough() -> bool:
            return len(self.events(kind)) >= count

        await until(enough)
        return self.events(kind)

    async def speak(self, body: Any, dev_eui: str = "", **how: Any) -> None:
        topic = f"application/{self.application_id}/device/{dev_eui or self.heard.dev_eui.hex()}/command/down"
        await self.client.publish(topic, body if isinstance(body, bytes) else json.dumps(body), qos=1, **how)

    def command(self, **other: Any) -> dict[str, Any]:
        return {"devEui": self.heard.dev_eui.hex(), "fPort": 10, "data": "AQID"} | other

    async def downlink(self, **asked: Any) -> int:
        not_after = datetime.fromisoformat("2199-01-01T00:00:00+00:00")
        async with self.bench.pool.acquire() as connection:
            row = await enqueue(
                connection, self.device_id, f_port=10, payload=b"\1\2\3", not_after=not_after, **asked
            )
        return row.id

    async def wait_for_state(self, column: str, value: int) -> None:
        """Return once the application's row says so."""

        async def says() -> bool:
            found = await self.bench.pool.fetchval(
                f"SELECT {column} FROM application_state WHERE application_id = $1", self.application
            )
            return found == value

        await until(says)

    async def is_kept(self) -> None:
        """Return once a replica is connected: who publishes has subscribed before."""
        await self.bench.pool.execute("INSERT INTO device_status VALUES ($1, 1, 1, now())", self.device_id)
        await self.collect("status")

    async def uplink(self, sample: SampleUplink | None = None) -> None:
        answer = await self.bench.post(self.source, SAMPLES["chirpstack"].write(sample or self.heard))
        assert answer.status_code == 200


@pytest.fixture
async def partner(bench: Bench) -> AsyncGenerator[Partner]:
    broker, heard = bench.broker, SampleUplink(now_us() - 500_000)
    password = broker.accounts[SIMULATOR]
    async with (
        aiomqtt.Client(LOOPBACK, broker.port, username=SIMULATOR, password=password) as client,
        asyncio.TaskGroup() as tasks,
    ):
        made = Partner(bench, heard, client, await bench.source(SAMPLES["chirpstack"]))
        made.device_id = await bench.device(heard)
        made.application = await made.plant(broker.port, application_id=made.application_id)
        listening = tasks.create_task(made.listen())
        yield made
        listening.cancel()
