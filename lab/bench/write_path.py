"""What ingest costs by itself: uplinks on the bus, in; committed rows, out.

`python -m lab.bench.write_path [--uplinks 120000] [--rate 0] [--json]` starts a PostgreSQL, a nats-server and one
ingest of its own, plays uplinks of five measures each from 2,000 devices, and prints CPU time per uplink of each
process and how long an uplink took from its reception to its commit. `--rate 0`: as many as the bus takes.
"""

import argparse
import asyncio
import json
import os
import secrets
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.uplinks import Reception, Uplink
from core.runtime.bus import Bus, connect_bus
from core.runtime.clock import wall_clock_us
from core.runtime.postgres import Pool, connect, open_pool
from registry.schema import migrate
from services.supervisor.launch import Launch
from services.supervisor.nats import PrivateNats
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import PrivatePostgres

ROOT = Path(__file__).parents[2]
DEVICES, SHARDS, MESSAGE_UPLINKS = 2_000, 4, 100
GATEWAY_ID = bytes.fromhex("0080000000000001")
SERVER_SETTINGS = {"track_commit_timestamp": "on", "shared_buffers": "1GB", "max_wal_size": "4GB"}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PLANT = """
WITH owner AS (INSERT INTO tenant (slug, name) VALUES ('bench', 'Bench') RETURNING id),
gateways AS (INSERT INTO gateway (tenant_id, gateway_id, name) SELECT id, $2, 'g' FROM owner),
profile AS (
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
    SELECT id, 'ers', 'Elsys', 'ERS CO2', 'elsys.ers_co2' FROM owner RETURNING id, tenant_id
),
assets AS (
    INSERT INTO asset (tenant_id, kind, name)
    SELECT tenant_id, 'room', n::text FROM profile, generate_series(1, $1::int) n RETURNING id, tenant_id, name
),
devices AS (
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
    SELECT tenant_id, int8send(n), int8send(n), n::text, id, n % 16, 'ABP'
    FROM profile, generate_series(1, $1::int) n RETURNING id, name
)
INSERT INTO assignment (tenant_id, asset_id, device_id, during)
SELECT a.tenant_id, a.id, d.id, tstzrange('2020-01-01', NULL) FROM assets a JOIN devices d USING (name)
"""
LATENCY = """
SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP
       (ORDER BY extract(epoch FROM pg_xact_commit_timestamp(xmin) - received_at)) FROM observation.uplink
"""


@dataclass(slots=True)
class Stack:
    """The processes of one run."""

    postgres: PrivatePostgres
    nats: PrivateNats
    processes: dict[str, subprocess.Popen[bytes]]

    def cpu_s(self) -> dict[str, float]:
        """CPU time so far, of each process with its children that live."""
        return {name: sum(map(_cpu_s, _family(process.pid))) for name, process in self.processes.items()}


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *map(int, children)]


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def uplink_of(device_id: int, f_cnt: int, now_us: int) -> Uplink:
    """Five measures of an Elsys ERS CO2, received by one gateway."""
    payload = struct.pack(
        ">BhBBBHBBBH", 1, 200 + f_cnt % 50, 2, 40, 4, 300 + f_cnt % 99, 5, 3, 6, 600 + device_id % 80
    )
    return Uplink(
        secrets.token_bytes(16), device_id, device_id, f_cnt, 5, payload, False, now_us, now_us, 868_100_000, 7,
        125_000, False, [Reception(GATEWAY_ID, 0, -97.0, 7.5)],
    )  # fmt: skip


async def play(bus: Bus, device_ids: Sequence[int], uplinks: int, rate: int) -> None:
    """Publish uplinks over all shards, as network does: what a shard has gathered goes out every 25 ms."""
    loop, started = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    sent = 0
    waiting: list[list[Uplink]] = [[] for _ in range(SHARDS)]
    while sent < uplinks:
        due = min(uplinks, int((loop.time() - started) * rate)) if rate else sent + SHARDS * MESSAGE_UPLINKS
        for number in range(sent, min(due, uplinks)):
            f_cnt, place = divmod(number, len(device_ids))
            waiting[place % SHARDS].append(uplink_of(device_ids[place], f_cnt, wall_clock_us()))
        sent = max(sent, min(due, uplinks))
        await asyncio.gather(
            *(
                bus.publish(topics.uplinks(shard), encode_batch(items), secrets.token_hex(8))
                for shard, items in enumerate(waiting)
                if items
            )
        )
        waiting = [[] for _ in range(SHARDS)]
        if rate:
            await asyncio.sleep(0.025)


def _start(stack: ExitStack, launch: Launch, log: Path) -> subprocess.Popen[bytes]:
    output = stack.enter_context(log.open("ab"))
    arguments: dict[str, Any] = launch.arguments(output)
    process = subprocess.Popen[bytes](launch.argv, **arguments)
    stack.callback(process.wait, 30)
    stack.callback(process.send_signal, launch.stop_signal)
    return process


async def _until(condition: Any, every_s: float = 0.02) -> None:
    while not await condition():  # noqa: ASYNC110 - Servers have no event for it.
        await asyncio.sleep(every_s)


async def measure(
    pool: Pool, bus: Bus, stack: Stack, arguments: argparse.Namespace, ingest: Launch
) -> dict[str, Any]:
    """Warm up with one uplink of each device, then play and count."""
    device_ids = [row["id"] for row in await pool.fetch("SELECT id FROM device ORDER BY id")]

    async def drained() -> bool:
        if stack.processes["ingest"].poll() is not None:
            raise SystemExit((stack.nats.folder.parent / "ingest.log").read_text("utf-8")[-2_000:])
        return not await bus.stream_messages(topics.UPLINKS)

    with ExitStack() as running:
        log = stack.nats.folder.parent / "ingest.log"
        stack.processes["ingest"] = _start(running, ingest, log)
        await play(bus, device_ids, DEVICES, 0)
        await asyncio.wait_for(_until(drained), 60)
        await pool.execute("TRUNCATE observation.uplink, observation.uplink_seen")
        before, started = stack.cpu_s(), time.monotonic()
        await play(bus, device_ids, arguments.uplinks, arguments.rate)
        await asyncio.wait_for(_until(drained), 600)
        seconds, after = time.monotonic() - started, stack.cpu_s()
    stored = await pool.fetchval("SELECT count(*) FROM observation.uplink")
    p50, p95, p99 = await pool.fetchval(LATENCY)
    return {
        "uplinks": stored,
        "missing": arguments.uplinks - stored,
        "uplinks_per_second": round(stored / seconds),
        "cpu_us_per_uplink": {
            name: round((after[name] - before.get(name, 0.0)) / stored * 1e6, 1) for name in after
        },
        "latency_ms": {"p50": round(p50 * 1e3), "p95": round(p95 * 1e3), "p99": round(p99 * 1e3)},
    }


async def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Servers, schema, devices, then `measure`."""
    postgres = PrivatePostgres(folder / "pg", free_tcp_port(), secrets.token_hex(16), SERVER_SETTINGS)
    bus_server = PrivateNats(folder / "nats", free_tcp_port(), secrets.token_hex(16), "bench")
    postgres.prepare()
    bus_server.prepare()
    with ExitStack() as servers:
        stack = Stack(postgres, bus_server, {})
        stack.processes["postgres"] = _start(servers, postgres.launch(), folder / "postgres.log")
        stack.processes["nats"] = _start(servers, bus_server.launch(), folder / "nats.log")
        await _until(postgres.ready)
        await _until(bus_server.ready)
        await postgres.create_database()
        password = secrets.token_hex(16)
        await migrate(postgres.url(), shards=SHARDS, passwords={"territoire_service": password})
        admin = await connect(postgres.url())
        await admin.execute("GRANT TRUNCATE ON ALL TABLES IN SCHEMA observation TO territoire_service")
        await admin.close()
        url = postgres.url(user="territoire_service", password=password)
        environment = dict(os.environ) | {
            "PYTHONPATH": str(ROOT),
            "TERRITOIRE_DATABASE_URL": url,
            "TERRITOIRE_NATS_URL": bus_server.url,
            "TERRITOIRE_KEK": secrets.token_hex(16),
            "TERRITOIRE_INSTANCE": "bench",
        }
        argv = (sys.executable, *arguments.through.split(), "-m", "services.ingest")
        ingest = Launch(argv, environment, ROOT)
        async with open_pool(url, "bench") as pool, connect_bus(bus_server.url, "bench") as bus:
            await bus.ensure_streams()
            await pool.execute(PLANT, DEVICES, GATEWAY_ID)
            return await measure(pool, bus, stack, arguments, ingest)


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uplinks", type=int, default=120_000)
    parser.add_argument("--rate", type=int, default=0, help="uplinks a second; 0: all that can be")
    parser.add_argument("--through", default="", help="arguments of Python before -m, as of a profiler")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="territoire-bench-") as name:
        Path(name).chmod(0o711)
        figures = uvloop.run(run(arguments, Path(name)))
    sys.stdout.write(json.dumps(figures) + "\n" if arguments.json else json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
