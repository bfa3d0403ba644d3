"""What it takes to take over a shard that many devices are in: `python -m lab.bench.takeover [--devices 62500]`.

A million devices over sixteen shards are 62,500 in each. What network does first is done here by its own code, on
a PostgreSQL of its own: read the sessions, unwrap their keys, read the devices. Printed: seconds, microseconds and
octets of memory for each device, and how long the event loop stood still at the most: a lease is renewed every two
seconds, and a replica that stands still for four lets go of everything.
"""

import argparse
import asyncio
import gc
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from cli.running import print_json
from core.messages.topics import slots_of_shard
from core.runtime.postgres import Pool, open_pool
from lorawan.identifiers import DevAddr, slot_of_dev_addr
from network import store
from network.held_state import DeviceCache, SessionTable
from registry.keys import KeyWrap, session_owner
from registry.schema import migrate
from services.supervisor.launch import Launch
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import DATABASE, PrivatePostgres

SHARDS, SHARD = 16, 0
KEYS = KeyWrap("kek-1", bytes(range(32)))
TICK_S = 0.01
PLANT = """
WITH tenant AS (INSERT INTO tenant (slug, name) VALUES ('reprise', 'Reprise') RETURNING id),
profile AS (
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec) SELECT id, 'p', 'v', 'm', 'c' FROM tenant
    RETURNING id, tenant_id
), devices AS (
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
    SELECT tenant_id, int8send(n), int8send(1), n::text, id, $1, 'ABP'
    FROM profile, generate_series(1::bigint, $2::bigint) AS n RETURNING id, name
)
INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_up, last_digest,
                     last_uplink_id, last_uplink_at, first_uplink_at, last_heard_by)
SELECT d.id, a.address, a.nwk_s_key, a.app_s_key, 'kek-1', 100, '\\x0011223344556677', gen_random_uuid(), now(),
       now(),
       '[["AAAAAAAAAAA=", "AAAAAA==", 0, 868100000, 7, 125000, -80.0, 5.0, 0]]'
FROM devices d JOIN unnest($3::bytea[], $4::bytea[], $5::bytea[])
     WITH ORDINALITY AS a (address, nwk_s_key, app_s_key, number) ON a.number = d.name::bigint
"""


def addresses(count: int) -> list[DevAddr]:
    """DevAddrs of the shard's slot."""
    source, slot = random.Random("takeover"), slots_of_shard(SHARD, SHARDS)[0]
    found: list[DevAddr] = []
    while len(found) < count:
        address = DevAddr(source.randbytes(4))
        if slot_of_dev_addr(address) == slot:
            found.append(address)
    return found


async def plant(pool: Pool, devices: int) -> None:
    """Devices of the shard, each with an open session."""
    dev_addrs = addresses(devices)
    sealed = [
        [
            KEYS.wrap(bytes(16), session_owner(number.to_bytes(8), dev_addr, kind))
            for number, dev_addr in enumerate(dev_addrs, 1)
        ]
        for kind in ("nwk_s_key", "app_s_key")
    ]
    await pool.execute(
        PLANT, slots_of_shard(SHARD, SHARDS)[0], devices, [bytes(one) for one in dev_addrs], *sealed
    )


class Stalls:
    """How long the loop stood still, at the most."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_S)
            self.longest_s = max(self.longest_s, time.monotonic() - began - TICK_S)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


async def take_shard(pool: Pool, devices: int) -> dict[str, Any]:
    """As `network.shards` does it."""
    slots, stalls = slots_of_shard(SHARD, SHARDS), Stalls()
    table, cache = SessionTable(), DeviceCache()
    before, watching = _resident(), asyncio.create_task(stalls.watch())
    began = time.monotonic()
    async with pool.acquire() as connection, connection.transaction():
        found = await store.read_all_sessions(connection, slots, KEYS)
        await cache.load(connection, slots, [held.device_id for held in found.held])
    for held in found.held:
        table.add_session(held)
    took_s = time.monotonic() - began
    await asyncio.sleep(2 * TICK_S)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return {
        "devices": devices,
        "held": len(table),
        "sealed": len(found.sealed),
        "seconds": round(took_s, 2),
        "us_per_device": round(took_s * 1e6 / devices, 1),
        "octets_per_device": round((_resident() - before) / devices),
        "loop_stood_still_s": round(stalls.longest_s, 2),
    }


@asynccontextmanager
async def database(folder: Path) -> AsyncGenerator[str]:
    """A migrated database of its own."""
    server = PrivatePostgres(folder / "pg", free_tcp_port(), "bench", durable=False)
    server.prepare()
    launch: Launch = server.launch()
    process = await asyncio.create_subprocess_exec(*launch.argv, **launch.arguments(asyncio.subprocess.DEVNULL))
    try:
        async with asyncio.timeout(60):
            while not await server.ready():  # noqa: ASYNC110 - Another process has no event of ours.
                await asyncio.sleep(TICK_S)
        await server.create_database()
        await migrate(server.url(DATABASE), shards=SHARDS, passwords={})
        yield server.url(DATABASE)
    finally:
        process.send_signal(launch.stop_signal)
        await process.wait()


async def measure(folder: Path, devices: int) -> dict[str, Any]:
    """Plant the devices and take their shard."""
    async with database(folder) as url, open_pool(url, "bench", command_timeout=300) as pool:
        await plant(pool, devices)
        await pool.execute("ANALYZE")
        gc.collect()
        gc.freeze()
        return await take_shard(pool, devices)


def main(argv: Sequence[str]) -> int:
    """Print one JSON object; 1 when not every session was read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=62_500)
    devices = parser.parse_args(argv).devices
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="territoire-takeover-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        figures = asyncio.run(measure(Path(folder), devices))
    print_json(figures)
    return 0 if figures["held"] == figures["devices"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
