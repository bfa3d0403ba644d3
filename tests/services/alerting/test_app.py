"""The whole service: from a measurement on the bus, or only in the table, to a signed webhook."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import nats
import pytest
from pydantic import SecretStr

from alerting import alert_store
from alerting.rulebook import slot_of
from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.messages.topics import shard_of_slot
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool
from services.alerting.app import run
from services.alerting.settings import AlertingSettings
from tests.entering import tenant_transaction

SHARDS = 4


def ago(minutes: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes)


@pytest.fixture
async def bus(nats_url: str) -> AsyncGenerator[Bus]:
    async with connect_bus(nats_url, "test") as connected:
        await connected.ensure_streams()
        yield connected


@asynccontextmanager
async def serving(pool: Pool, database_url: str, nats_url: str) -> AsyncGenerator[None]:
    """The service in this process, once it reads every shard."""
    settings = AlertingSettings(
        database_url=SecretStr(database_url),
        nats_url=SecretStr(nats_url),
        kek=SecretStr(bytes(16).hex()),
        instance="alerting-test",
        sweep_s=0.1,
        least_watch_s=0,
        webhook_schedule_s=(0.05, 0.05),
        public_url="https://territoire.example.fr/",
    )
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run(settings, stopping))
        await reading(pool, nats_url)
        yield
        stopping.set()


async def reading(pool: Pool, nats_url: str, within_s: float = 20) -> None:
    """Every shard has a lease, and a consumer somebody asks."""
    client = await nats.connect(nats_url)
    try:

        async def everywhere() -> bool:
            leases = await pool.fetchval("SELECT count(*) FROM shard_lease WHERE service = 'alerting'")
            try:
                consumers = await client.jetstream().consumers_info(topics.MEASUREMENTS)
            except nats.js.errors.NotFoundError:
                return False
            asked = {one.config.filter_subject for one in consumers if one.num_waiting}
            return leases == len(asked) == SHARDS

        await until(everywhere, within_s)
    finally:
        await client.close()


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def publish(bus: Bus, place: Any, *values: tuple[datetime, float]) -> None:
    items = [Measurement(place.datastream_id, int(at.timestamp()) * 1_000_000, value, 0) for at, value in values]
    shard = shard_of_slot(slot_of(place.asset_id, place.device_id), SHARDS)
    await bus.publish(topics.measurements(shard), encode_batch(items))


async def test_a_bin_that_crosses_75_sends_one_webhook_and_its_redelivery_none(
    pool: Pool, database_url: str, nats_url: str, bus: Bus, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    crossing = ((ago(20), 76.0), (ago(10), 82.0))
    async with serving(pool, database_url, nats_url):
        await publish(bus, place, *crossing)
        await receiver.until(1)
        await publish(bus, place, *crossing)
        await publish(bus, place, (ago(5), 12.0))
        await receiver.until(2)
    opened, resolved = (request["body"] for request in receiver.requests)

    assert receiver.types == ["alert.opened", "alert.resolved"]
    assert opened["data"]["rule"] == "bin_75"
    assert opened["data"]["asset"]["commune"] == "Brest"
    assert opened["data"]["link"].startswith("https://territoire.example.fr/v1/alerts/")
    assert resolved["data"]["cause"] == "emptied"


async def test_what_was_committed_and_never_published_is_found_at_the_next_start(
    pool: Pool, database_url: str, nats_url: str, bus: Bus, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    async with serving(pool, database_url, nats_url):
        await publish(bus, place, (ago(20), 76.0))
        await until(lambda: pool.fetchval("SELECT count(*) = 1 FROM rule_state WHERE condition = 'pending'"))
    await place.store_value(ago(10), 82.0)  # Ingest was killed between its commit and its publish.
    async with serving(pool, database_url, nats_url):
        await receiver.until(1)

    assert receiver.types == ["alert.opened"]


async def test_a_stream_that_was_lost_is_made_again_and_the_gap_read_from_the_table(
    pool: Pool, database_url: str, nats_url: str, bus: Bus, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    async with serving(pool, database_url, nats_url):
        client = await nats.connect(nats_url)
        await client.jetstream().delete_stream(topics.MEASUREMENTS)
        await client.close()
        await place.store_value(ago(20), 76.0)
        await place.store_value(ago(10), 82.0)
        await receiver.until(1, within_s=60)

    assert receiver.types == ["alert.opened"]


async def test_a_full_bin_learnt_of_three_hours_late_is_told_with_both_instants_and_one_emptied_since_is_not(
    pool: Pool, database_url: str, nats_url: str, bus: Bus, make_place: Any, receiver: Any
) -> None:
    place, emptied = await make_place(), await make_place("metz")
    await place.endpoint(receiver)
    secret = receiver.secret
    await emptied.endpoint(receiver)
    receiver.secret = secret  # What the other tenant is told would be refused, and come again.
    async with serving(pool, database_url, nats_url):
        await publish(bus, emptied, (ago(190), 80.0), (ago(185), 82.0))
        await publish(bus, place, (ago(190), 80.0), (ago(185), 82.0))
        await publish(bus, emptied, (ago(180), 5.0))
        await receiver.until(1, within_s=60)
        data = receiver.requests[0]["body"]["data"]
        alerts = await place.alerts()

    assert receiver.types == ["alert.opened"]
    assert data["tenant"] == "sdef"
    assert "appris tard : dure depuis" in data["message"]
    assert datetime.fromisoformat(data["since"]) < ago(189)
    assert ago(5) < datetime.fromisoformat(data["learnt_at"]) < ago(-1)
    assert [alert.learnt_at is not None for alert in alerts] == [True]


async def test_an_end_that_a_person_declares_is_notified_to_those_who_got_the_opening(
    pool: Pool, api_pool: Pool, database_url: str, nats_url: str, bus: Bus, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    async with serving(pool, database_url, nats_url):
        await publish(bus, place, (ago(1), 80.0), (ago(0.5), 82.0))
        await receiver.until(1, within_s=60)
        (alert,) = await place.alerts()
        async with tenant_transaction(api_pool, place.tenant_id) as connection:
            await alert_store.resolve(connection, alert.id, "chef", "borne vidée à la main")
        await receiver.until(2, within_s=60)
        ended = receiver.requests[1]["body"]["data"]

    assert receiver.types == ["alert.opened", "alert.resolved"]
    assert ended["cause"] == "borne vidée à la main"
    assert ended["message"].endswith("fin d'alerte, borne vidée à la main (82\u00a0%).")


async def test_a_device_without_data_is_notified_and_so_is_its_return(
    pool: Pool, database_url: str, nats_url: str, bus: Bus, make_place: Any, receiver: Any
) -> None:
    place = await make_place(interval_s=0.5)
    await place.endpoint(receiver)
    async with serving(pool, database_url, nats_url):
        await publish(bus, place, (ago(0), 10.0))
        await receiver.until(1)
        await publish(bus, place, (ago(-1), 10.0))
        await receiver.until(2)

    assert receiver.types[:2] == ["alert.opened", "alert.resolved"]
    assert receiver.requests[0]["body"]["data"]["rule"] == "device_silent"
    assert receiver.requests[1]["body"]["data"]["cause"] == "heard"


async def test_a_rule_that_is_changed_is_live_within_five_seconds(
    pool: Pool, database_url: str, nats_url: str, bus: Bus, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    async with serving(pool, database_url, nats_url):
        await pool.execute("UPDATE alert_rule SET fire_value = 40, clear_value = 30 WHERE name = 'bin_75'")
        await bus.nudge(topics.REGISTRY_CHANGED)
        async with asyncio.timeout(6):
            minutes = 14.0
            while not receiver.requests:
                await publish(bus, place, (ago(minutes), 50.0), (ago(minutes - 0.05), 50.0))
                minutes -= 0.1
                await asyncio.sleep(0.1)

    assert receiver.requests[0]["body"]["data"]["threshold"] == 40


async def test_a_kill_while_a_webhook_is_on_its_way_sends_the_same_id_again(
    pool: Pool, database_url: str, nats_url: str, bus: Bus, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    receiver.gate.clear()
    environment = {
        "PATH": os.environ["PATH"],
        "TERRITOIRE_DATABASE_URL": database_url,
        "TERRITOIRE_NATS_URL": nats_url,
        "TERRITOIRE_KEK": bytes(16).hex(),
        "TERRITOIRE_INSTANCE": "alerting-test",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.alerting", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await reading(pool, nats_url)
        await publish(bus, place, (ago(20), 76.0), (ago(10), 82.0))
        await receiver.until(1)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    receiver.gate.set()
    async with serving(pool, database_url, nats_url):
        await receiver.until(2, within_s=40)

    first, second = receiver.requests
    assert first["id"] == second["id"]
    assert first["octets"] == second["octets"]
    assert len(await place.alerts()) == 1
