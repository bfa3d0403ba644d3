"""From an HTTP source to a municipal webhook, through intake, ingest and alerting as they run.

Which readings are judged, by which rules, and what of them is told.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from core.runtime.bus import connect_bus
from core.runtime.postgres import Pool
from registry.lns_sources import create_source
from services.alerting.app import run as run_alerting
from services.alerting.settings import AlertingSettings
from services.ingest.app import run as run_ingest
from services.ingest.settings import IngestSettings
from services.intake.app import run as run_intake
from services.intake.settings import IntakeSettings
from tests.alerting.conftest import KEYS, MakePlace, Place, Receiver, make_place, receiver

__all__ = ["make_place", "receiver"]

KEK = SecretStr(bytes(16).hex())
PATIENCE_S = 60.0


@dataclass
class Journey:
    """A bin whose sensor (elsys.ers_co2) sends by an HTTP source of its tenant, and who is told."""

    pool: Pool
    place: Place
    url: str
    token: str
    source_id: int
    receiver: Receiver
    sent: int = 0
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=PATIENCE_S))

    async def send(self, temperature: float, time: datetime | str | None = None, dev_eui: bytes = b"") -> None:
        """A temperature at a stated instant, or none."""
        self.sent += 1
        body = {
            "device": (dev_eui or b"ville\0\0\0").hex(),
            "f_cnt": self.sent,
            "port": 5,
            "payload": (b"\x01" + round(temperature * 10).to_bytes(2, signed=True)).hex(),
        }
        if time is not None:
            body["time"] = time if isinstance(time, str) else time.isoformat()
        answer = await self.client.post(
            f"{self.url}/lns/{self.source_id}", json=body, headers={"Authorization": f"Bearer {self.token}"}
        )
        assert answer.status_code == 200, answer.text

    async def stored(self, count: int) -> list[Any]:
        """The measured temperatures in the order of their arrival, once there are so many uplinks."""
        await until(
            lambda: self.pool.fetchval(
                "SELECT count(*) >= $1 FROM observation.uplink WHERE status = 'decoded'", count
            )
        )
        return await self.pool.fetch(
            "SELECT m.time, m.value, m.flags FROM observation.measurement m "
            "JOIN datastream s ON s.id = m.datastream_id WHERE s.quantity = 'temperature' ORDER BY m.time"
        )

    async def judged(self, value: float) -> None:
        """Wait until `bin_fire` has judged a plausible value, so that what came before it was judged, too."""
        await until(
            lambda: self.pool.fetchval(
                "SELECT EXISTS (SELECT FROM rule_state t JOIN alert_rule r ON r.id = t.rule_id "
                "WHERE r.name = 'bin_fire' AND t.value = $1)",
                value,
            )
        )

    def messages(self, rule: str) -> list[str]:
        """What was told of a rule: the event and the text."""
        return [
            f"{body['type'].removeprefix('alert.')}: {body['data']['message']}"
            for request in self.receiver.requests
            if (body := request["body"])["data"]["rule"] == rule
        ]


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - It waits for another process's transaction.
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(database_url: str, nats_url: str, port: int) -> AsyncGenerator[None]:
    """Intake, ingest and alerting in this process."""
    common: dict[str, Any] = {"database_url": SecretStr(database_url), "nats_url": SecretStr(nats_url), "kek": KEK}
    stopping = asyncio.Event()
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
    async with asyncio.TaskGroup() as tasks:
        alerting = AlertingSettings(**common, instance="alerting-t", sweep_s=0.2, least_watch_s=0, dispatch_s=0.5)
        tasks.create_task(run_intake(IntakeSettings(**common, instance="intake-t", intake_port=port), stopping))
        tasks.create_task(run_ingest(IngestSettings(**common, instance="ingest-t"), stopping))
        tasks.create_task(run_alerting(alerting, stopping))
        async with httpx.AsyncClient() as client:

            async def listens() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
                return False

            await until(listens)
        yield
        stopping.set()


@pytest.fixture
async def journey(
    pool: Pool, database_url: str, nats_url: str, free_port: int, make_place: MakePlace, receiver: Receiver
) -> AsyncGenerator[Journey]:
    place = await make_place("ville")
    await pool.execute("UPDATE device_profile SET codec = 'elsys.ers_co2'")
    await place.endpoint(receiver)
    async with pool.acquire() as connection:
        source = {"name": "4G", "kind": "generic"}
        source_id, token = await create_source(connection, KEYS, place.tenant_id, None, source)
    assert token is not None
    async with running(database_url, nats_url, free_port):
        journey = Journey(pool, place, f"http://127.0.0.1:{free_port}", token, source_id, receiver)
        yield journey
        await journey.client.aclose()


async def test_a_bin_on_fire_is_told_though_its_sensor_is_made_for_less(journey: Journey) -> None:
    await journey.send(21.0)
    await journey.send(180.1)
    await journey.receiver.until(1, PATIENCE_S)

    (told,) = journey.messages("bin_fire")
    assert told.startswith("opened: ")
    assert "180,1\u00a0°C" in told
    assert "valeur improbable" in told.lower()


async def test_an_error_code_and_what_cannot_be_are_stored_and_told_to_nobody(journey: Journey) -> None:
    await journey.pool.execute(
        "UPDATE device_profile SET sensor_ranges = $1",
        [{"quantity": "temperature", "maximum": 140, "error_codes": [850.0, 85.0]}],
    )
    await journey.send(21.0)
    await journey.stored(1)
    for value in (3276.7, -3276.8, 2999.9, 850.0, 85.0, -300.0):
        await journey.send(value)
    await journey.send(22.0)
    rows = await journey.stored(8)
    await journey.judged(22.0)

    assert {(row["value"], row["flags"]) for row in rows} == {
        (21.0, 0), (22.0, 0), (3276.7, 1), (-3276.8, 1), (2999.9, 1), (-300.0, 1)
    }  # fmt: skip
    assert await journey.place.alerts() == []
