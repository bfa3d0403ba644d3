import asyncio
import json
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.utils import floatToGoString

from core.runtime.postgres import Pool, connect
from ingest.maintenance.jobs import Job, keep_house
from registry.audit import write_audit
from registry.decoding_keys import set_device_key
from registry.keys import KeyWrap
from registry.redecodes import read_redecode, request_redecode
from registry.tenants import create_tenant
from services.maintenance.settings import MaintenanceSettings
from tests.forked_programs import start_program
from tests.ingest.conftest import Planted


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()
    except OSError:
        return 0, ""


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.fixture
async def service(database_url: str, free_port: int, tmp_path: Path):
    """The process; its address."""
    environment = {
        "PATH": os.environ["PATH"],
        "TERRITOIRE_DATABASE_URL": database_url,
        "TERRITOIRE_NATS_URL": "nats://127.0.0.1:1",
        "TERRITOIRE_KEK": "00" * 16,
        "TERRITOIRE_HEALTH_PORT": str(free_port),
        "TERRITOIRE_ROLLUPS_EVERY_S": "0.2",
        "TERRITOIRE_DISK_FOLDER": str(tmp_path),
        "TERRITOIRE_INSTANCE": "maintenance-test",
        "TERRITOIRE_AUDIT_EXPORT": "syslog+tcp://127.0.0.1:1",
    }
    process = await start_program("services.maintenance", environment, tmp_path / "service.log")
    try:
        yield f"http://127.0.0.1:{free_port}"
    finally:
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 20)
    assert code == 0


async def test_closed_hours_are_rolled_up_and_it_shows(
    pool: Pool, measuring, service: str, tmp_path: Path
) -> None:
    [datastream] = await measuring.datastreams("temperature")
    await measuring.write((datastream, datetime.now(UTC) - timedelta(days=2), 20.0, 0))
    await until(lambda: pool.fetchval("SELECT count(*) = 1 FROM observation.rollup_day"))

    expected = [
        'territoire_maintenance_rolled_up_buckets_total{bucket="day"} 1.0',
        'territoire_maintenance_last_success_timestamp_seconds{task="housekeeping"}',
        'territoire_maintenance_last_success_timestamp_seconds{task="rollups"}',
        'territoire_maintenance_last_success_timestamp_seconds{task="supervision"}',
        'territoire_maintenance_period_seconds{task="supervision"} 30.0\n',
        'territoire_maintenance_chunks{compressed="no",hypertable="measurement"}',
        "territoire_maintenance_dirty_rows",
        f"territoire_maintenance_disk_bytes {floatToGoString(shutil.disk_usage(tmp_path).total)}\n",
    ]

    async def shown() -> bool:
        _, metrics = await asyncio.to_thread(get, f"{service}/metrics")
        return all(line in metrics for line in expected)

    await until(shown)
    status, _ = await asyncio.to_thread(get, f"{service}/readyz")

    assert status == 200


async def test_a_siem_that_is_away_leaves_maintenance_ready(pool: Pool, service: str) -> None:
    """Somebody would be woken for it, and an upgrade would wait for this replica."""
    tenant = await create_tenant(pool, "sdef", "SDEF")
    async with pool.acquire() as connection:
        await write_audit(connection, tenant.id, "clé", "create", "asset", 1, {"address": "192.0.2.1"})

    async def has_failed() -> bool:
        _, metrics = await asyncio.to_thread(get, f"{service}/metrics")
        return 'territoire_maintenance_passes_total{outcome="failed",task="audit_export"}' in metrics

    await until(has_failed)
    status, body = await asyncio.to_thread(get, f"{service}/readyz")

    assert status == 200, body


async def test_a_defect_of_one_job_is_logged_with_its_place_and_it_is_tried_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)
        if len(done) == 1:
            raise KeyError("unforeseen")

    job = Job("exports", 0.0, work)
    await job.run_once()
    problem = job.problem
    await job.run_once()

    assert (problem, job.problem) == ("KeyError: 'unforeseen'", None)
    assert "job_broken" in capsys.readouterr().out


async def test_a_job_that_fails_is_logged_and_tried_again(database, pool: Pool, measuring, service: str) -> None:
    owner = await connect(database.admin_url)
    await owner.execute("UPDATE deployment SET timezone = 'Pacific/Marquesas'")
    [datastream] = await measuring.datastreams("temperature")
    await measuring.write((datastream, datetime.now(UTC) - timedelta(days=2), 20.0, 0))

    async def unready() -> bool:
        status, body = await asyncio.to_thread(get, f"{service}/readyz")
        return status == 503 and "Marquesas" in json.loads(body)["problems"].get("rollups", "")

    await until(unready)
    await owner.execute("UPDATE deployment SET timezone = 'Europe/Paris'")
    await owner.close()

    await until(lambda: pool.fetchval("SELECT count(*) = 1 FROM observation.rollup_day"))


async def test_the_house_is_kept_on_an_empty_database(pool: Pool, database_url: str) -> None:
    await keep_house(pool, MaintenanceSettings(database_url=database_url, nats_url="nats://x", kek="00" * 16))

    assert await pool.fetchval("SELECT count(*) FROM observation.forgotten") == 0


async def test_telegrams_that_waited_for_their_meters_key_are_decoded_again_with_it(
    pool: Pool, service: str
) -> None:
    """OMS specification volume 2, annex N, N.2.1: a gas meter in mode 5. The key is under the service's KEK."""
    telegram = "2e4493157856341233037a2a0020255923c95aaa26d1b2e7493b013ec4a6f6d3529b520edff0ea6defc99d6d69ebf3"
    key = bytes.fromhex("0102030405060708090a0b0c0d0e0f11")
    planted = Planted(pool)
    await planted.begin()
    device_id = await planted.device(await planted.profile("oms.wmbus"))
    at = datetime.now(UTC) - timedelta(hours=2)
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, f_cnt, f_port, payload, received_at, status) "
        "VALUES ($1, $2, gen_random_uuid(), 1, 1, $3, $2, 'undecodable')",
        device_id,
        at,
        bytes.fromhex(telegram),
    )
    async with pool.acquire() as connection:
        await set_device_key(connection, KeyWrap("kek-1", bytes(16)), device_id, key)
        since, until_ = at - timedelta(hours=1), at + timedelta(hours=1)
        job = await request_redecode(
            connection, planted.tenant_id, requested_by="essai", device_id=device_id, since=since, until=until_
        )

    async def done() -> bool:
        return (await read_redecode(pool, job.id)).state == "done"

    await until(done)
    assert service
    assert await pool.fetchval("SELECT status FROM observation.uplink") == "decoded"
    assert await pool.fetchval(
        "SELECT m.value FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id "
        "WHERE d.quantity = 'gas_volume'"
    ) == pytest.approx(28504.27)
