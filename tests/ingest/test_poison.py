"""An uplink that ends the process itself: three crashes, then quarantine, and everything else is stored."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from core.messages.uplinks import Uplink

# The service, but for one payload that ends it as a fault in a library would: at once, without a word.
DEADLY = """
import os
from decoders.catalogue import CODECS
from decoders.codec import Codec
ordinary = CODECS["milesight.em400"]
def decode(f_port, payload, time_us, options):
    if payload == b"deadly":
        os._exit(66)
    return ordinary.decode(f_port, payload, time_us, options)
CODECS["milesight.em400"] = Codec(ordinary.name, ordinary.version, decode)
from core.runtime.lifetime import run_service
from services.ingest.app import run
from services.ingest.settings import IngestSettings
run_service("ingest", IngestSettings, run)
"""


@pytest.fixture
def start(database_url: str, nats_url: str, tmp_path: Path) -> Callable[[], subprocess.Popen[bytes]]:
    environment = dict(os.environ) | {
        "TERRITOIRE_DATABASE_URL": database_url,
        "TERRITOIRE_NATS_URL": nats_url,
        "TERRITOIRE_KEK": "00" * 16,
        "TERRITOIRE_INSTANCE": "a",
        "TERRITOIRE_LINGER_MS": "0",
    }

    def spawn() -> subprocess.Popen[bytes]:
        with (tmp_path / "ingest.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", DEADLY], env=environment, stdout=log, stderr=log)

    return spawn


async def test_three_crashes_and_the_item_in_hand_goes_to_quarantine_while_its_neighbours_are_stored(
    planted: Any,
    send: Callable[..., Awaitable[None]],
    make_uplink: Callable[..., Uplink],
    until_drained: Callable[[], Awaitable[None]],
    start: Callable[[], subprocess.Popen[bytes]],
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))
    deadly = make_uplink(device_id, 4, b"deadly")
    await send(*(make_uplink(device_id, f_cnt) for f_cnt in (1, 2)))
    await send(make_uplink(device_id, 3), deadly, make_uplink(device_id, 5))
    await send(*(make_uplink(device_id, f_cnt) for f_cnt in (6, 7)), slot=1)
    crashes, process = 0, start()
    drained = asyncio.create_task(until_drained())
    try:
        while not drained.done():
            if process.poll() is not None:
                assert process.returncode == 66
                crashes += 1
                process = start()
            await asyncio.sleep(0.05)
        await drained
        await send(make_uplink(device_id, 8))
        await until_drained()
    finally:
        process.terminate()
        process.wait(20)

    assert crashes == 3
    rows = await planted.pool.fetch("SELECT f_cnt FROM observation.uplink ORDER BY f_cnt")
    assert [row["f_cnt"] for row in rows] == [1, 2, 3, 5, 6, 7, 8]
    (quarantined,) = await planted.pool.fetch("SELECT sequence, reason, detail, data FROM observation.quarantine")
    assert quarantined["sequence"] == 2
    assert (quarantined["reason"], quarantined["detail"]) == ("poison", "3")
    assert deadly.uplink_id in quarantined["data"]
    assert await planted.count("measurement") == 7 * 4
