"""An application of a tenant that reads its events from our broker, with an access of its own, and keeps each."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from pydantic import SecretStr

from core.runtime.mqtt import MqttSession, MqttSettings
from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from lab.chaos.scene import Scene
from lab.chaos.stack.secured import Certified
from lab.chaos.witnesses.fleet import Flown
from lab.fleet.provision import Provisioner

# Every process knows a new access within five seconds.
KNOWN_WITHIN = timedelta(seconds=8)
CONNECTED_WITHIN_S, SETTLES_WITHIN_S, LOOKED_AT_EVERY_S = 60.0, 90.0, 1.0
NOW = "SELECT now()"
STORED = """
SELECT u.uplink_id FROM observation.uplink u JOIN device d ON d.id = u.device_id
WHERE d.tenant_id = $1 AND u.time >= $2
"""


class Up(msgspec.Struct, rename="camel"):
    """Of an event what names its uplink."""

    deduplication_id: str


@dataclass(slots=True)
class Application:
    """The uplinks whose events came, and how often each."""

    edge: MqttSession
    tenant_id: int
    since: datetime
    came: Counter[str] = field(default_factory=Counter[str])

    async def follow(self) -> None:
        """Take what comes, until cancelled."""
        while True:
            messages = await self.edge.batch()
            self.came.update(msgspec.json.decode(one.payload, type=Up).deduplication_id for one in messages)
            self.edge.ack(messages)

    async def missing(self, pool: Pool) -> int:
        """How many stored uplinks never came, once all had time to."""
        deadline, missing = time.monotonic() + SETTLES_WITHIN_S, -1
        while missing and time.monotonic() < deadline:
            with suppress(PostgresError, *DATABASE_AWAY):
                rows = await pool.fetch(STORED, self.tenant_id, self.since)
                missing = len({str(row["uplink_id"]) for row in rows} - self.came.keys())
            await asyncio.sleep(LOOKED_AT_EVERY_S)
        return missing


@asynccontextmanager
async def open_application(scene: Scene, flown: Flown, certified: Certified) -> AsyncGenerator[Application]:
    """It reads by TLS what comes of this fleet while the block runs."""
    run = scene.processes.run
    api = Provisioner(run.api_url, flown.key)
    try:
        # With what is personal: what is withheld from it, it could not tell from what is lost.
        made = await api.post("/v1/mqtt-accesses", {"name": "Hyperviseur", "personal": True})
    finally:
        await api.close()
    account = made["account"]
    scheme, _, address = certified.url_of(run.mqtt_url).partition("://")
    url = SecretStr(f"{scheme}://{account['username']}:{account['password']}@{address}")
    settings = MqttSettings(mqtt_url=url, mqtt_client_id=account["username"])
    edge = MqttSession(settings, [f"{made['access']['topics']}/device/+/event/up"])
    connecting = asyncio.create_task(edge.run(), name="application")
    try:
        async with asyncio.timeout(CONNECTED_WITHIN_S):
            await edge.connected()
        began: datetime = await scene.pool.fetchval(NOW)
        application = Application(edge, flown.tenant_id, began + KNOWN_WITHIN)
        following = asyncio.create_task(application.follow(), name="follow events")
        try:
            yield application
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
