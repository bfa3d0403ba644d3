"""Decoding again what waited for its meter's key, by the profile's codec or by one that the job names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.runtime.postgres import Pool
from ingest.redecode import redecode_next
from ingest.workers import NoWorkers
from registry.decoding_keys import set_device_key
from registry.keys import KeyWrap
from registry.redecodes import Redecode, read_redecode, request_redecode
from tests.ingest.conftest import Planted

KEYS = KeyWrap("kek-1", bytes(range(16)))
KEY = bytes.fromhex("0102030405060708090a0b0c0d0e0f11")
# OMS specification volume 2, annex N, N.2.1; mode 5.
TELEGRAM = bytes.fromhex(
    "2e4493157856341233037a2a0020255923c95aaa26d1b2e7493b013ec4a6f6d3529b520edff0ea6defc99d6d69ebf3"
)
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)


async def redecoded(pool: Pool, of_profile: str, keys: KeyWrap | None, **what: Any) -> Redecode:
    """The job about one stored telegram of a meter whose key is set."""
    planted = Planted(pool)
    await planted.begin()
    device_id = await planted.device(await planted.profile(of_profile))
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, f_cnt, f_port, payload, received_at, status) "
        "VALUES ($1, $2, gen_random_uuid(), 1, 1, $3, $2, 'undecodable')",
        device_id,
        AT,
        TELEGRAM,
    )
    async with pool.acquire() as connection:
        await set_device_key(connection, KEYS, device_id, KEY)
        job = await request_redecode(
            connection,
            planted.tenant_id,
            device_id=device_id,
            requested_by="essai",
            since=AT - timedelta(days=1),
            until=AT + timedelta(days=1),
            **what,
        )
        # What the clock of this machine says is none of the test's business.
        await connection.execute("UPDATE redecode SET until = $2 WHERE id = $1", job.id, AT + timedelta(days=1))
    await redecode_next(pool, NoWorkers(), "m1", keys)
    ended = await read_redecode(pool, job.id)
    assert ended is not None
    return ended


@pytest.mark.parametrize(("codec", "what"), [("oms.wmbus", {}), ("acme.forgotten", {"codec": "oms.wmbus"})])
async def test_a_key_that_came_late_reads_what_is_stored(pool: Pool, codec: str, what: dict[str, Any]) -> None:
    job = await redecoded(pool, codec, KEYS, **what)

    assert (job.state, job.frames_decoded, job.frames_failed) == ("done", 1, 0)
    assert await pool.fetchval("SELECT status FROM observation.uplink") == "decoded"


async def test_under_a_wrong_kek_the_frame_keeps_its_reason_and_the_job_ends(pool: Pool) -> None:
    job = await redecoded(pool, "oms.wmbus", KeyWrap("kek-2", bytes(16)))

    assert (job.state, job.frames_decoded, job.frames_failed) == ("done", 0, 1)
    assert "ne s'ouvre pas" in await pool.fetchval("SELECT detail FROM observation.uplink")
