"""From an HTTP source to a municipal webhook, through intake, ingest and alerting as they run.

Which readings are judged, by which rules, and what of them is told.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from core.messages.measurements import Flag
from core.runtime.bus import connect_bus
from core.runtime.postgres import Pool
from registry.assignments import assign
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
NEW_DEVICE = b"neuf\0\0\0\0"
REPLACEMENT = """
WITH p AS (
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec, expected_interval)
    VALUES ($1, 'neuf', 'v', 'm', 'elsys.ers_co2', make_interval(secs => $3)) RETURNING id
)
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
SELECT $1, $2, $2, 'neuf', id, 0, 'x', 'kek-1' FROM p
"""
# As most rules are: it judges no improbable values.
WARM = """
INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, fire_op, fire_value, clear_op,
                        clear_value)
VALUES ($1, 'warm', 'threshold', 'temperature', 'info', '{asset} : {value}', '>', 40, '<', 35)
"""


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

    async def replace(self, expected_interval_s: float) -> None:
        """Another device serves the bin from now on."""
        await self.pool.execute(REPLACEMENT, self.place.tenant_id, NEW_DEVICE, expected_interval_s)
        async with self.pool.acquire() as connection, connection.transaction():
            await assign(connection, self.place.asset_id, NEW_DEVICE, "")

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

    async def notified(self, rule: str, count: int) -> list[str]:
        """The messages of a rule, once there are so many."""

        async def are_there() -> bool:
            return len(self.messages(rule)) >= count

        await until(are_there)
        return self.messages(rule)


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
                    return (await client.get(f"http://127.0.0.1:{port}/")).status_code == 404
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
    await pool.execute(WARM, place.tenant_id)
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
    (told,) = await journey.notified("bin_fire", 1)

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


@pytest.mark.parametrize(
    "stated",
    [
        timedelta(hours=1),
        "1970-01-01T00:00:00Z",
        "2099-01-01T00:00:00Z",
        timedelta(days=-400),
    ],
    ids=["an hour ahead", "1970", "2099", "400 days ago"],
)
async def test_an_instant_that_is_not_credible_is_marked_and_neither_a_last_value_nor_a_page(
    journey: Journey, stated: timedelta | str
) -> None:
    await journey.send(21.0)
    before = datetime.now(UTC)
    await journey.send(45.0, stated if isinstance(stated, str) else datetime.now(UTC) + stated)
    rows = await journey.stored(2)
    await journey.send(22.0)
    await journey.judged(22.0)
    last = await journey.pool.fetchval("SELECT max(value) FROM observation.latest")

    assert [(row["value"], row["flags"]) for row in rows] == [(21.0, 0), (45.0, 2)]
    assert before <= rows[-1]["time"] <= datetime.now(UTC)
    assert last == 22.0
    assert await journey.place.alerts() == []


async def test_what_is_61_days_old_is_stored_at_its_own_instant_and_pages_nobody(journey: Journey) -> None:
    old = datetime.now(UTC).replace(microsecond=0) - timedelta(days=61)
    await journey.send(21.0)
    await journey.stored(1)
    await journey.send(45.0, old)
    await journey.send(20.0, datetime.now(UTC) + timedelta(minutes=4))
    rows = await journey.stored(3)
    await journey.judged(20.0)

    assert [(row["value"], row["flags"]) for row in rows] == [(45.0, 0), (21.0, 0), (20.0, 0)]
    assert rows[0]["time"] == old
    assert rows[-1]["time"] <= datetime.now(UTC)
    assert await journey.pool.fetchval("SELECT value FROM observation.latest") == 20.0
    assert await journey.place.alerts() == []


async def test_a_second_value_of_a_source_is_listed_counts_once_it_is_authoritative_and_pages_nobody(
    journey: Journey,
) -> None:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    await journey.send(21.0, at)
    await journey.stored(1)
    await journey.send(45.0, at)
    as_it_was = await journey.stored(2)
    await journey.pool.execute("UPDATE lns_source SET authoritative = true")
    await journey.send(180.1, at)
    corrected = await journey.stored(3)
    await journey.send(22.0)
    await journey.judged(22.0)
    stated = "SELECT value FROM observation.correction ORDER BY value"

    assert [tuple(row) for row in as_it_was] == [(at, 21.0, 0)]
    assert [tuple(row)[:2] for row in corrected] == [(at, 180.1)]
    assert corrected[0]["flags"] & Flag.CORRECTED
    assert [row["value"] for row in await journey.pool.fetch(stated)] == [21.0, 45.0, 180.1]
    assert await journey.place.alerts() == []
    assert journey.receiver.requests == []


async def test_a_fire_is_told_whatever_instant_the_source_states(journey: Journey) -> None:
    await journey.send(21.0)
    await journey.send(90.0, "2099-01-01T00:00:00Z")
    (told,) = await journey.notified("bin_fire", 1)

    assert "90\u00a0°C" in told
    assert "instant improbable" in told.lower()


async def test_a_source_that_repeats_suspect_times_is_an_alert_of_its_own(
    journey: Journey,
) -> None:
    for temperature in (20.0, 20.5):
        await journey.send(temperature, "1970-01-01T00:00:00Z")
    await journey.stored(2)
    once = await journey.pool.fetchval("SELECT count(*) FROM alert_request")
    for temperature in (21.0, 21.5, 22.0):
        await journey.send(temperature, "1970-01-01T00:00:00Z")
    (told,) = await journey.notified("wrong_clock", 1)
    await journey.stored(5)

    assert once == 0
    assert told.startswith("opened: Source 4G ")
    assert "horloge" in told


async def test_a_replacement_that_never_speaks_is_missed_and_the_formers_alerts_end_as_replaced(
    journey: Journey,
) -> None:
    await journey.send(90.0)
    await journey.notified("bin_fire", 1)
    await journey.replace(expected_interval_s=0.5)
    (silent,) = await journey.notified("device_silent", 1)
    opened, ended = await journey.notified("bin_fire", 2)

    assert opened.startswith("opened: ")
    assert ended.startswith("resolved: ")
    assert "remplacé" in ended
    assert silent.startswith("opened: ")
    assert "neuf" in silent


async def test_a_replacement_that_speaks_is_judged_by_what_it_says(journey: Journey) -> None:
    await journey.send(90.0)
    await journey.notified("bin_fire", 1)
    await journey.replace(expected_interval_s=3600)
    await journey.send(88.0, dev_eui=NEW_DEVICE)
    told = await journey.notified("bin_fire", 3)

    assert [message.split(":")[0] for message in told] == ["opened", "resolved", "reopened"]
    assert "88\u00a0°C" in told[-1]
