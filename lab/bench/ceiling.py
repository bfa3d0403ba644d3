"""What PostgreSQL takes at most: two writers that COPY the same rows, in binary, 10,000 at a time.

`python -m lab.bench.ceiling NUMBER BATCHES` is one writer; TERRITOIRE_BENCH_URL names the database.
"""

import asyncio
import os
import struct
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from core.runtime.postgres import connect

WRITERS = 2
BATCH = 10_000
BATCHES = 150
URL = "TERRITOIRE_BENCH_URL"
CREATE = """
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.measurement (LIKE observation.measurement INCLUDING ALL);
SELECT create_hypertable('bench.measurement', 'time', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);
"""
DROP = "DROP SCHEMA bench CASCADE"
# As they were written, each writer those of its own half of the datastreams.
READ_ROWS = """
SELECT datastream_id, (extract(epoch FROM time) * 1000000)::bigint - 946684800000000 AS time, value, flags
FROM observation.measurement WHERE datastream_id % $1 = $2 AND time > now() - interval '1 day' LIMIT $3
"""
COLUMNS = ("datastream_id", "time", "value", "flags")
# PostgreSQL's binary COPY: signature, flags, extension; per row the number of fields, then each with its length.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
ROW = struct.Struct(">hiiiqidih")
READY = b"ready\n"


class CeilingFailed(Exception):
    """A writer ended with an error; the message is what it said."""


class Written(msgspec.Struct):
    """What one writer did, on the machine's monotonic clock."""

    rows: int
    began: float
    ended: float


def batches_of(rows: list[tuple[int, int, float, int]], count: int) -> list[bytes]:
    """`count` whole COPY streams of these rows, each later by what the rows last, so that no key comes twice."""
    span = max(row[1] for row in rows) - min(row[1] for row in rows) + 1
    return [
        HEADER
        + b"".join(
            ROW.pack(4, 4, datastream, 8, at + place * span, 8, value, 2, flags)
            for datastream, at, value, flags in rows
        )
        + TRAILER
        for place in range(count)
    ]


async def _once(octets: bytes) -> AsyncGenerator[bytes]:
    yield octets


async def _write(number: int, count: int) -> None:
    connection: Any = await connect(os.environ[URL], "bench-ceiling")
    try:
        found = await connection.fetch(READ_ROWS, WRITERS, number, BATCH)
        rows = [(row["datastream_id"], row["time"], row["value"], row["flags"]) for row in found]
        batches = batches_of(rows, count)
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)
        began = time.monotonic()
        for batch in batches:
            await connection.copy_to_table(
                "measurement", schema_name="bench", columns=COLUMNS, source=_once(batch), format="binary"
            )
        written = Written(len(rows) * count, began, time.monotonic())
        sys.stdout.buffer.write(msgspec.json.encode(written) + b"\n")
    finally:
        await connection.close()


async def measure_ceiling(admin_url: str, batches: int = BATCHES) -> float:
    """Rows per second of two writers together, on the server and the rows of this run.

    Raises:
        CeilingFailed: a writer ended with an error.
    """
    connection: Any = await connect(admin_url, "bench-ceiling")
    try:
        await connection.execute(CREATE)
        try:
            written = await _run_writers(admin_url, batches)
        finally:
            await connection.execute(DROP)
    finally:
        await connection.close()
    took = max(one.ended for one in written) - min(one.began for one in written)
    return sum(one.rows for one in written) / took


async def _run_writers(admin_url: str, batches: int) -> list[Written]:
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "lab.bench.ceiling", str(number), str(batches)),
            env={**os.environ, URL: admin_url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for number in range(WRITERS)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            if await writer.stdout.readline() != READY:
                raise CeilingFailed((await writer.communicate())[1].decode()[-2_000:])
        outputs = await asyncio.gather(*(writer.communicate(b"\n") for writer in writers))
    finally:
        for writer in writers:
            if writer.returncode is None:
                writer.kill()
    for writer, (_, errors) in zip(writers, outputs, strict=True):
        if writer.returncode != 0:
            raise CeilingFailed(errors.decode()[-2_000:])
    return [msgspec.json.decode(output, type=Written) for output, _ in outputs]


if __name__ == "__main__":
    asyncio.run(_write(int(sys.argv[1]), int(sys.argv[2])))
