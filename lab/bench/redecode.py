"""How fast stored frames are decoded again, by the maintenance service of a stack of its own.

Hourly frames: first nobody could read them, and a native codec does; then a script reads them otherwise, so that
every value is replaced. Rollups are made meanwhile, as ever.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from core.runtime.postgres import Pool, open_pool
from registry.codecs import create_codec, publish_version
from registry.redecodes import Redecode, read_redecode, request_redecode
from services.supervisor.run_info import RunInfo

GOAL_FRAMES, GOAL_S = 1_000_000, 600
ASK_EVERY_S = 0.5
CODEC = "milesight.em400"
# Battery, temperature, distance and tilt, all a little beside what the native codec reads.
SCRIPT = """
function decodeUplink(input) {
  var bytes = input.bytes;
  var data = {};
  for (var i = 0; i < bytes.length;) {
    var channel = bytes[i++], type = bytes[i++];
    if (channel === 0x01 && type === 0x75) { data.battery = bytes[i] - 1; i += 1; }
    else if (channel === 0x03 && type === 0x67) { data.temperature = uint16(bytes, i) / 10 - 1; i += 2; }
    else if (channel === 0x04 && type === 0x82) { data.distance = uint16(bytes, i) + 1; i += 2; }
    else if (channel === 0x05 && type === 0x00) { data.tilt = 1 - bytes[i]; i += 1; }
    else break;
  }
  return { data: data };
}
function uint16(bytes, at) { return bytes[at] | bytes[at + 1] << 8; }
"""
MAPPING = [
    {"path": "battery", "quantity": "battery_level"},
    {"path": "temperature", "quantity": "temperature"},
    {"path": "distance", "quantity": "distance"},
    {"path": "tilt", "quantity": "tilt"},
]

MAKE_TENANT = "INSERT INTO tenant (slug, name) VALUES ('mesure', 'Mesure') RETURNING id"
MAKE_PROFILE = """
INSERT INTO device_profile (tenant_id, name, vendor, model, codec, mapping)
VALUES ($1, 'mesure', 'Milesight', 'EM400', 'inconnu', $2) RETURNING id
"""
MAKE_DEVICES = """
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
SELECT $1, int8send(n), int8send(n), 'd' || n, $2, n % 16, 'ABP'
FROM generate_series(1::bigint, $3::bigint) AS n
"""
MAKE_FRAMES = """
INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, f_port, payload, received_at,
                                status, reason, codec)
SELECT d.id, at, gen_random_uuid(), 1, n, 85, set_byte('\\x01755c0367010104824408050001', 5, n % 250), at,
       'undecodable', 'unknown_codec', 'inconnu'
FROM device d CROSS JOIN generate_series(1, $2::int) AS n
CROSS JOIN LATERAL (SELECT $3::timestamptz - n * interval '1 hour' + d.id * interval '1 second' AS at) AS a
WHERE d.tenant_id = $1
"""

POINT = "UPDATE device_profile SET codec = 'mesure', codec_version_id = $2 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Options:
    """`frames` in all, of so many devices."""

    frames: int = GOAL_FRAMES
    devices: int = 500


def run(info: RunInfo, options: Options, console: Console) -> dict[str, Any]:
    """The figures of both runs."""
    return asyncio.run(_run(info, options, console))


async def _run(info: RunInfo, options: Options, console: Console) -> dict[str, Any]:
    async with open_pool(info.database_url, "bench", command_timeout=3_600) as pool:
        tenant_id, profile_id = await _fill(pool, options)
        console.print(f"{options.frames} trames écrites, {options.devices} capteurs", highlight=False)
        native = await _run_job(pool, console, tenant_id, profile_id, codec=CODEC)
        async with pool.acquire() as connection, connection.transaction():
            codec = await create_codec(connection, tenant_id, name="mesure")
            version_id, _ = await publish_version(
                connection, codec.id, language="javascript", source=SCRIPT, form=None, author="bench"
            )
            await connection.execute(POINT, profile_id, version_id)
        script = await _run_job(pool, console, tenant_id, profile_id)
    return {
        "native": native,
        "script": script,
        "reached": all(one["seconds_for_a_million"] <= GOAL_S for one in (native, script)),
    }


async def _fill(pool: Pool, options: Options) -> tuple[int, int]:
    tenant_id = await pool.fetchval(MAKE_TENANT)
    profile_id = await pool.fetchval(MAKE_PROFILE, tenant_id, MAPPING)
    await pool.execute(MAKE_DEVICES, tenant_id, profile_id, options.devices)
    hours = options.frames // options.devices
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await pool.execute(MAKE_FRAMES, tenant_id, hours, midnight)
    return tenant_id, profile_id


async def _run_job(
    pool: Pool, console: Console, tenant_id: int, profile_id: int, codec: str | None = None
) -> dict[str, Any]:
    """One job over everything, done by maintenance."""
    began = time.perf_counter()
    async with pool.acquire() as connection:
        job = await request_redecode(
            connection,
            tenant_id,
            device_profile_id=profile_id,
            since=datetime.now(UTC) - timedelta(days=3_650),
            until=datetime.now(UTC),
            codec=codec,
            requested_by="bench",
        )
    ended = await _ended(pool, job.id)
    took = time.perf_counter() - began
    figures = {
        "codec": codec or "script",
        "frames": ended.frames_done,
        "decoded": ended.frames_decoded,
        "values_removed": ended.values_removed,
        "values_written": ended.values_written,
        "seconds": round(took, 1),
        "frames_per_second": round(ended.frames_done / took),
        "seconds_for_a_million": round(took * 1_000_000 / max(1, ended.frames_done)),
    }
    console.print(
        f"  {figures['codec']} : {figures['frames']} trames en {took:.0f} s, {figures['frames_per_second']}/s ; "
        f"{figures['values_removed']} valeurs retirées, {figures['values_written']} écrites ; un million en "
        f"{figures['seconds_for_a_million']} s (but {GOAL_S})",
        highlight=False,
    )
    return figures


async def _ended(pool: Pool, redecode_id: int) -> Redecode:
    while True:
        job = await read_redecode(pool, redecode_id)
        assert job is not None
        if job.state not in {"waiting", "running"}:
            return job
        await asyncio.sleep(ASK_EVERY_S)
