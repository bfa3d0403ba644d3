"""One of the processes that write a history: its own blocks, week after week, each in one transaction."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from core.model.quantities import Kind
from core.runtime.errors import describe_defect
from core.runtime.postgres import Connection, connect
from ingest.binary_copy import HEADER, TRAILER
from ingest.store import MEASUREMENT_COLUMNS, SCHEMA
from lab.history.days import Day, midnight_us, weeks
from lab.history.plan import SeriesPlan
from lab.history.rows import Grid, Template, fill, make_template
from lab.history.sources import Source
from lab.history.store import LAST_DAY, RAISE_LAST_SEEN, SET_LATEST, HistoryPlan, roll_up_week
from lorawan.instants import from_us

# For this loader alone: what a power cut takes with it is written again by the next run.
SESSION = (
    "SET synchronous_commit = off",
    "SET jit = off",
    "SET work_mem = '64MB'",
    "SET max_parallel_workers_per_gather = 0",
    # A plan for the very week: only its chunks are looked at.
    "SET plan_cache_mode = force_custom_plan",
)
# One reading in about fifteen thousand is out of its quantity's range, as devices have it.
WEEKS_PER_SUSPECT = 60
OUT_OF_RANGE = {
    "co2": 65_535.0, "temperature": 3_276.7, "relative_humidity": 127.5, "fill_level": 121.4,
    "active_power": 4_294_967.0, "battery_level": 255.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """Datastreams that one transaction writes a week of; all indexes, all states, or neither."""

    ids: tuple[int, ...]
    series: tuple[SeriesPlan, ...]

    @property
    def kind(self) -> Kind:
        """How their values are rolled up; of the first one, if they are neither indexes nor states."""
        return self.series[0].channel.kind


@dataclass(frozen=True, slots=True)
class Written:
    """What one transaction wrote, or found written by a former run; the last of a worker carries its CPU time."""

    rows: int = 0
    hours: int = 0
    days: int = 0
    is_new: bool = True
    client_cpu_s: float = 0.0
    failure: str | None = None


class BlockWriter:
    """The sources of one block, from the first day on."""

    def __init__(self, block: Block, done_until_us: int, *, spoils: bool = True) -> None:
        self.block = block
        self._spoils = spoils
        self._done_until_us = done_until_us
        self._sources: list[Source] = [one.source() for one in block.series]
        self._suspects = Random(f"suspects of {block.series[0].seed}")

    def rows(self, week: Sequence[Day]) -> tuple[bytearray, int]:
        """The week in COPY format, in the order of the primary key, and how many rows."""
        octets, count, templates = bytearray(HEADER), 0, dict[Grid, Template]()
        for id_, plan, source in zip(self.block.ids, self.block.series, self._sources, strict=True):
            template = templates.get(plan.grid)
            if template is None:
                template = templates[plan.grid] = make_template(plan.grid, week)
            values: list[float] = []
            for day, slots in zip(week, template.slots, strict=True):
                values += source.day(day, slots)
            octets += fill(template, id_, values, self._spoil(plan, values))
            count += template.count
        return octets + TRAILER, count

    def _spoil(self, plan: SeriesPlan, values: list[float]) -> int | None:
        """Now and then put a value out of range into the week; its place, never the last."""
        wrong = OUT_OF_RANGE.get(plan.channel.quantity)
        if not self._spoils or wrong is None or self._suspects.random() * WEEKS_PER_SUSPECT > 1 or len(values) < 2:  # noqa: PLR2004
            return None
        place = self._suspects.randrange(len(values) - 1)
        values[place] = wrong
        return place

    def is_written(self, week: Sequence[Day]) -> bool:
        """Whether a former run wrote this week of the block."""
        return week[-1].end_us <= self._done_until_us


async def write_blocks(
    connection: Connection,
    history_plan: HistoryPlan,
    timezone: str,
    blocks: Sequence[Block],
    stopping: Callable[[], bool],
    report: Callable[[Written], None],
    *,
    spoils: bool = True,
) -> None:
    """Write what is not there yet, block by block; after `stopping` says so, no further transaction begins.

    A block's weeks follow each other: the pages that they fill are in memory, and indexes grow at their ends.
    `spoils`: now and then a reading is out of its range.
    """
    for statement in SESSION:
        await connection.execute(statement)
    every_week = list(weeks(history_plan.since, history_plan.until, ZoneInfo(timezone)))
    for block in blocks:
        writer = BlockWriter(block, await _done_until_us(connection, block, timezone), spoils=spoils)
        for week in every_week:
            if stopping():
                return
            octets, count = writer.rows(week)
            if writer.is_written(week):
                report(Written(count, is_new=False))
                continue
            hours, days = await _write_week(
                connection, block, week, octets, timezone, is_last=week is every_week[-1]
            )
            report(Written(count, hours, days))


async def _write_week(
    connection: Connection, block: Block, week: Sequence[Day], octets: bytearray, timezone: str, *, is_last: bool
) -> tuple[int, int]:
    since, until = from_us(week[0].start_us), from_us(week[-1].end_us)
    source: Any = octets  # The driver takes a buffer as it is; its stubs know files only.
    async with connection.transaction():
        await connection.copy_to_table(
            "measurement", source=source, columns=MEASUREMENT_COLUMNS, schema_name=SCHEMA, format="binary"
        )
        made = await roll_up_week(connection, block.ids, since, until, timezone, block.kind)
        if is_last:
            await connection.execute(SET_LATEST, block.ids, since, until)
            await connection.execute(RAISE_LAST_SEEN, block.ids)
    return made


async def _done_until_us(connection: Connection, block: Block, timezone: str) -> int:
    last: datetime | None = await connection.fetchval(LAST_DAY, block.ids)
    if last is None:
        return 0
    day = last.astimezone(ZoneInfo(timezone)).date() + timedelta(1)
    return midnight_us(day, ZoneInfo(timezone))


def run_worker(
    url: str,
    history_plan: HistoryPlan,
    timezone: str,
    blocks: Sequence[Block],
    stopping: Event,
    reports: "SimpleQueue[Written]",
) -> None:
    """The whole life of a worker process; a failure is its last report."""
    # Ctrl-C reaches the whole terminal: the parent asks us to stop between two transactions.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def asked_to_stop() -> bool:
        return stopping.is_set() or os.getppid() != parent

    async def work() -> None:
        connection = await connect(url, "simulate-history")
        try:
            await write_blocks(connection, history_plan, timezone, blocks, asked_to_stop, reports.put)
        finally:
            await connection.close()

    failure: str | None = None
    try:
        asyncio.run(work())
    except Exception as wrong:  # noqa: BLE001 - Whatever it is, the parent says it to the operator.
        failure = describe_defect(wrong)
    reports.put(Written(client_cpu_s=time.process_time(), failure=failure))
