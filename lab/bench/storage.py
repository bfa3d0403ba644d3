"""`territoire bench storage`: what an uplink takes: octets on the disk, in the log, on the bus; and memory.

A few devices report for real and fast, so that each has in one chunk as many rows as a real one in a week: the
indexes fill as they do in service. Rollups are then measured on a year of history, which nothing waits for.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool, open_pool
from lab.bench.observation import wait_until_stored
from lab.bench.scaling_probes import Peaks
from lab.load.load import Load, open_load
from services.supervisor.run_info import RunInfo

ARRIVES_WITHIN_S = 120.0
# Chunks or parts, or the table itself where there are none; TOAST is with the heap.
READ_SIZES = """
WITH part AS (
    SELECT CASE WHEN h.table_name IS NULL THEN format('%I.%I', n.nspname, c.relname)::regclass
                ELSE format('%I.%I', k.schema_name, k.table_name)::regclass END AS part
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN _timescaledb_catalog.hypertable h ON h.schema_name = n.nspname AND h.table_name = c.relname
    LEFT JOIN _timescaledb_catalog.chunk k ON k.hypertable_id = h.id
    WHERE c.oid = $1::text::regclass AND (h.id IS NULL OR k.id IS NOT NULL)
    UNION ALL
    SELECT relid FROM pg_partition_tree($1::text::regclass) WHERE isleaf
)
SELECT coalesce(sum(pg_table_size(part)), 0)::bigint AS heap,
       coalesce(sum(pg_indexes_size(part)), 0)::bigint AS indexes
FROM part
"""
READ_LOG = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
READ_EDITION = "SELECT current_setting('timescaledb.license')"
# What grows with time, and what grows with devices.
BY_UPLINK = (
    "observation.uplink", "observation.reception", "observation.measurement", "observation.uplink_seen",
)  # fmt: skip
BY_DEVICE = (
    "device", "asset", "assignment", "session", "datastream", "observation.latest", "dev_nonce", "join_nonce",
)  # fmt: skip
BY_HISTORY = ("observation.rollup_hour", "observation.rollup_day")


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chooses. Devices are few, so that each fills a week's chunk as one in service does."""

    devices: int = 500
    gateways: int = 24
    rate: float = 2_000.0
    seconds: float = 120.0
    copies: float = 1.0


@dataclass(slots=True)
class Octets:
    """What went over the bus, counted by a listener that takes nothing away."""

    by_stream: Counter[str] = field(default_factory=Counter[str])

    async def listen(self, bus: Bus) -> None:
        """Count from now on."""

        async def count_octets(subject: str, data: bytes) -> None:
            self.by_stream[subject.split(".")[1]] += len(data)

        for stream in ("frames", "uplinks", "measurements"):
            await bus.subscribe(f"territoire.{stream}.*", count_octets)


@dataclass(frozen=True, slots=True)
class Size:
    """A table: rows, and octets of heap and indexes."""

    rows: int
    heap: int
    indexes: int

    @property
    def per_row(self) -> dict[str, float]:
        """Octets of one row."""
        rows = max(1, self.rows)
        return {"heap": round(self.heap / rows, 1), "indexes": round(self.indexes / rows, 1)}


async def read_size(pool: Pool, table: str) -> Size:
    """One table, its chunks included."""
    row = await pool.fetchrow(READ_SIZES, table)
    assert row is not None
    rows = await pool.fetchval(f"SELECT count(*) FROM {table}", timeout=300)
    return Size(rows, row["heap"], row["indexes"])


async def _sizes(pool: Pool, tables: tuple[str, ...]) -> dict[str, Size]:
    return {table: await read_size(pool, table) for table in tables}


async def measure(run: RunInfo, options: Options, console: Console) -> dict[str, Any]:
    """The figures of a running stack that has nothing in it yet.

    Raises:
        ProvisioningFailed, JoinsTakeTooLong: the message says what happened.
    """
    octets, peaks = Octets(), Peaks(run)
    # Catalogues of chunks and the log's position are the superuser's to read.
    async with (
        open_pool(run.database_admin_url, "bench", command_timeout=300) as pool,
        connect_bus(run.nats_url, "bench") as bus,
        open_load(
            run, devices=options.devices, gateways=options.gateways, receptions=options.copies, console=console
        ) as load,
    ):
        edition = await pool.fetchval(READ_EDITION)
        log_before = await pool.fetchval(READ_LOG)
        await octets.listen(bus)
        console.print(f"{options.rate:.0f} trames/s pendant {options.seconds:.0f} s", highlight=False)
        played = await load.play(options.rate, options.seconds)
        await wait_until_stored(bus, pool, played.uplinks, played.began_us, ARRIVES_WITHIN_S)
        peaks.look()
        log = await pool.fetchval(READ_LOG) - log_before
        by_uplink, by_device = await _sizes(pool, BY_UPLINK), await _sizes(pool, BY_DEVICE)
        sparse = await _log_of_one_round(pool, bus, load, options)
    uplinks = by_uplink["observation.uplink"].rows
    return {
        "uplinks": uplinks,
        "devices": options.devices,
        "edition": edition,
        "values_per_uplink": round(by_uplink["observation.measurement"].rows / max(1, uplinks), 2),
        "octets_per_row": {table: {"rows": size.rows, **size.per_row} for table, size in by_uplink.items()},
        "octets_per_device": {
            table: {name: round(total / options.devices, 1) for name, total in _totals(size).items()}
            for table, size in by_device.items()
        },
        "log_octets_per_uplink": round(log / max(1, uplinks), 1),
        "log_octets_per_uplink_after_a_checkpoint": round(sparse, 1),
        "bus_octets_per_uplink": {
            stream: round(all_of / max(1, uplinks), 1) for stream, all_of in octets.by_stream.items()
        },
        "peak_megabytes": {child: round(size) for child, size in peaks.megabytes.items()},
    }


async def _log_of_one_round(pool: Pool, bus: Bus, load: Load, options: Options) -> float:
    """WAL of an uplink when each device speaks once between two checkpoints.

    So it is in service, and the page of each of its series is then written whole.
    """
    async with pool.acquire() as connection:
        await connection.execute("CHECKPOINT")
    before = await pool.fetchval(READ_LOG)
    played = await load.play(options.rate, options.devices / options.rate)
    await wait_until_stored(bus, pool, played.uplinks, played.began_us, ARRIVES_WITHIN_S)
    return (await pool.fetchval(READ_LOG) - before) / max(1, played.uplinks)


def _totals(size: Size) -> Mapping[str, int]:
    return {"heap": size.heap, "indexes": size.indexes}


async def measure_history(run: RunInfo) -> dict[str, Any]:
    """Octets of a row of each table of rollups, and hours for each measurement, once a history is written."""
    async with open_pool(run.database_admin_url, "bench", command_timeout=300) as pool:
        sizes = await _sizes(pool, BY_HISTORY)
    return {table: {"rows": size.rows, **size.per_row} for table, size in sizes.items()}


def print_storage(console: Console, figures: Mapping[str, Any]) -> None:
    """For people."""
    table = Table(title=f"{figures['uplinks']} trames de {figures['devices']} capteurs, par ligne")
    for heading in ("table", "lignes", "octets", "index", "ensemble"):
        table.add_column(heading, justify="left" if heading == "table" else "right")
    for name, size in figures["octets_per_row"].items():
        whole = size["heap"] + size["indexes"]
        table.add_row(name, str(size["rows"]), f"{size['heap']:.0f}", f"{size['indexes']:.0f}", f"{whole:.0f}")
    console.print(table)
    fixed = sum(size["heap"] + size["indexes"] for size in figures["octets_per_device"].values())
    bus = ", ".join(f"{name} {octets:.0f}" for name, octets in figures["bus_octets_per_uplink"].items())
    console.print(
        f"Par trame : {figures['values_per_uplink']} mesures, {figures['log_octets_per_uplink']:.0f} octets de "
        f"journal (WAL), {figures['log_octets_per_uplink_after_a_checkpoint']:.0f} quand chaque capteur ne parle "
        f"qu'une fois entre deux points de reprise ; bus : {bus}. Par capteur : {fixed:.0f} octets de registre.",
        highlight=False,
    )
    memory = ", ".join(f"{child} {size}" for child, size in figures["peak_megabytes"].items())
    console.print(f"Mémoire au plus (Mo) : {memory}. TimescaleDB : {figures['edition']}.", highlight=False)
