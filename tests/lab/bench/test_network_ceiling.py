import asyncio
import os
import sys

import msgspec

from core.runtime.bus import connect_bus
from core.runtime.postgres import connect
from lab.bench.network_ceiling import IN, NATS_URL, OUT, UPDATE, URL, Drained


async def test_the_ceiling_works_off_every_frame_and_leaves_nothing_behind(database, nats_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "lab.bench.network_ceiling", "4100", "125"),
        env={**os.environ, URL: database.admin_url, NATS_URL: nats_url},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    drained = msgspec.json.decode(output, type=Drained)
    assert process.returncode == 0
    assert drained.frames == 4_100
    assert drained.cpu_s > 0
    assert drained.seconds > 0
    connection = await connect(database.admin_url)
    assert await connection.fetchval("SELECT to_regnamespace('bench')") is None
    assert (await connection.prepare(UPDATE)) is not None
    await connection.close()
    async with connect_bus(nats_url, "tests") as bus:
        names = msgspec.json.decode(await bus.request("$JS.API.STREAM.NAMES", b"", 5))["streams"] or []
    assert not {IN, OUT} & set(names)
