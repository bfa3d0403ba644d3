"""SQL of cold files, and of the readings that become them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from ingest.binary_rows import BinaryRows, Readings
from ingest.chunks import Chunk
from ingest.cold.files import Written
from registry.rows import columns_of, entity, fetch_all, fetch_one

ROWS_AT_ONCE = 131_072
# A chunk of the largest tenant, row by row into a file.
COPY_WITHIN_S = 6 * 3600.0
# Files are read and written in the middle of a transaction.
PATIENT = "SET LOCAL idle_in_transaction_session_timeout = '15min'"


@dataclass(frozen=True, slots=True)
class ColdFile:
    """A file that the database names."""

    id: int
    tenant_id: int
    since: datetime
    until: datetime
    name: str
    datastream_ids: list[int]


@dataclass(frozen=True, slots=True)
class Cut:
    """Up to where a datastream's truth is in files; `before`, `warm`: what may be read up to there, and after."""

    id: int
    cut: datetime
    before: Sequence[Any]
    warm: Sequence[Any]


@dataclass(frozen=True, slots=True)
class ColdState:
    """Whose the folder is; while it fails, why, since when, and how many chunks stay that should have gone."""

    folder_id: str
    reason: str | None
    failed_since: datetime | None
    chunks: int


@dataclass(frozen=True, slots=True)
class Spans:
    """What an erasure takes out: whole datastreams, and of others periods."""

    datastream_ids: list[int]
    span_datastream_ids: list[int | None]
    span_during: Sequence[Any]


COLUMNS = columns_of(ColdFile)
# Up to where nothing of a datastream is left in the hypertable but what has come late, of all or of one.
GONE_BEFORE = """
coalesce((SELECT max(f.before) FROM observation.forgotten f
          WHERE f.hypertable = 'measurement' AND f.id IN (0, d.id)), '-infinity')
"""
TENANTS_DUE = f"""
SELECT DISTINCT d.tenant_id FROM datastream d
WHERE d.privacy_class < 2 AND {GONE_BEFORE} < $2
  AND EXISTS (SELECT FROM observation.measurement m WHERE m.datastream_id = d.id AND m.time >= $1 AND m.time < $2)
"""
ROWS_OF_TENANT = f"""
SELECT m.datastream_id, m.time, m.value, m.flags
FROM datastream d JOIN observation.measurement m ON m.datastream_id = d.id AND m.time >= $2 AND m.time < $3
WHERE d.tenant_id = $1 AND d.privacy_class < 2 AND {GONE_BEFORE} < $3 AND ($4::int[] IS NULL OR d.id = ANY($4))
ORDER BY m.datastream_id, m.time
"""
# Of a file: whose rows are nowhere else any more, and whose are not to be in it.
GONE_OF = f"""
SELECT d.id, d.privacy_class = 2 AS is_personal FROM datastream d
WHERE d.id = ANY($1::int[]) AND (d.privacy_class = 2 OR {GONE_BEFORE} >= $2)
"""
CLASSES_OF = (
    "SELECT DISTINCT privacy_class FROM datastream WHERE id = ANY($1::int[]) AND privacy_class < 2 ORDER BY 1"
)
FILES_OF_CHUNK = f"SELECT {COLUMNS} FROM observation.cold_file WHERE since = $1 AND until = $2"
FILE = f"SELECT {COLUMNS} FROM observation.cold_file WHERE id = $1"
NAMES = "SELECT name FROM observation.cold_file"
FILES_NAMED = f"SELECT {COLUMNS} FROM observation.cold_file WHERE name = ANY($1::text[]) ORDER BY id"
FILES_OF_STREAMS = (
    f"SELECT {COLUMNS} FROM observation.cold_file WHERE datastream_ids && $1::int[] ORDER BY since, id"
)
FILES_BETWEEN = f"""
SELECT {COLUMNS} FROM observation.cold_file
WHERE since < $3 AND until > $2 AND datastream_ids && $1::int[] ORDER BY since, id
"""
TOUCHES = "SELECT EXISTS (SELECT FROM observation.cold_file WHERE since < $2 AND until > $1)"
PERSONAL = f"""
SELECT {COLUMNS} FROM observation.cold_file f
WHERE f.datastream_ids && ARRAY(SELECT d.id FROM datastream d WHERE d.privacy_class = 2) ORDER BY f.id
"""
PERSONAL_OF = "SELECT id FROM datastream WHERE id = ANY($1::int[]) AND privacy_class = 2"
# No program reads what a file weighs, how many readings it has and of which classes: it is there for people.
RECORD = """
INSERT INTO observation.cold_file
    (tenant_id, since, until, name, readings, octets, digest, classes, datastream_ids)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant_id, since, until) DO UPDATE SET name = excluded.name, readings = excluded.readings,
    octets = excluded.octets, digest = excluded.digest, classes = excluded.classes,
    datastream_ids = excluded.datastream_ids, written_at = now()
"""
# Of this chunk the file that is not to be named any more: it has to go out of the folder.
REPLACE = """
INSERT INTO observation.cold_file_replaced (name)
SELECT name FROM observation.cold_file
WHERE tenant_id = $1 AND since = $2 AND until = $3 AND name IS DISTINCT FROM $4::text
ON CONFLICT (name) DO UPDATE SET removed_at = NULL
"""
NAMED_AGAIN = "DELETE FROM observation.cold_file_replaced WHERE name = $1"
REPLACED = "SELECT name FROM observation.cold_file_replaced"
REMOVED = """
INSERT INTO observation.cold_file_replaced (name, removed_at)
SELECT name, now() FROM unnest($1::text[]) AS name
ON CONFLICT (name) DO UPDATE SET removed_at = excluded.removed_at
"""
NOT_THERE = """
UPDATE observation.cold_file_replaced SET removed_at = now()
WHERE removed_at IS NULL AND NOT name = ANY($1::text[])
"""
FORGET = "DELETE FROM observation.cold_file WHERE tenant_id = $1 AND since = $2 AND until = $3"
MAY_HAVE_FILES = """
SELECT EXISTS (SELECT FROM observation.cold_file)
    OR EXISTS (SELECT FROM observation.cold_file_replaced WHERE removed_at IS NULL)
"""
STATE = "SELECT folder_id::text, reason, failed_since, chunks FROM observation.cold_state"
REPORT = """
UPDATE observation.cold_state
SET reason = $1::text, chunks = $2,
    failed_since = CASE WHEN $1::text IS NULL THEN NULL ELSE coalesce(failed_since, now()) END
WHERE (reason, chunks) IS DISTINCT FROM ($1::text, $2)
"""
ABOUT = "SELECT datastream_ids, span_datastream_ids, span_during FROM erasure_of_cold($1)"
COUNT_ERASED = "SELECT count_cold_erasure($1, $2)"
CUTS = f"""
SELECT c.id, c.cut, c.periods * tstzmultirange(tstzrange(NULL, c.cut)) AS before,
       c.periods * tstzmultirange(tstzrange(c.cut, NULL)) AS warm
FROM (SELECT d.id, {GONE_BEFORE} AS cut, w.periods::tstzmultirange AS periods
      FROM unnest($1::int[], $2::text[]) AS w (id, periods) JOIN datastream d ON d.id = w.id
      WHERE d.privacy_class < 2) AS c
WHERE c.cut > $3::timestamptz
"""
# What has come late to where the truth is in files, before the next rollups take it away.
LATE = """
SELECT m.datastream_id, m.time, m.value, m.flags
FROM unnest($1::int[], $2::timestamptz[]) AS w (id, cut)
JOIN observation.measurement m ON m.datastream_id = w.id AND m.time < w.cut
WHERE m.time >= $3::timestamptz AND m.time < $4::timestamptz
ORDER BY 1, 2
"""


async def tenants_due(connection: Connection, chunk: Chunk) -> set[int]:
    """Whose readings of classes 0 and 1 are in a chunk, and nowhere else."""
    return {row["tenant_id"] for row in await connection.fetch(TENANTS_DUE, chunk.since, chunk.until)}


async def copy_rows(
    connection: Connection, tenant_id: int, chunk: Chunk, ids: Sequence[int] | None, take: Any
) -> None:
    """These readings of a tenant in their order to `take`, which raises nothing."""
    rows = BinaryRows(take, ROWS_AT_ONCE)
    await connection.copy_from_query(
        ROWS_OF_TENANT, tenant_id, chunk.since, chunk.until, None if ids is None else list(ids),
        output=rows.receive, format="binary", timeout=COPY_WITHIN_S,
    )  # fmt: skip
    await rows.finish()


async def late_rows(
    connection: Connection, cuts: Sequence[Cut], since: datetime, until: datetime
) -> list[Readings]:
    """What the hypertable holds of these before their cuts."""
    found: list[Readings] = []

    async def collect(part: Readings) -> None:
        found.append(part)

    rows = BinaryRows(collect, ROWS_AT_ONCE)
    last = min(until, max(cut.cut for cut in cuts))
    await connection.copy_from_query(
        LATE, [cut.id for cut in cuts], [cut.cut for cut in cuts], since, last,
        output=rows.receive, format="binary", timeout=COPY_WITHIN_S,
    )  # fmt: skip
    await rows.finish()
    return found


async def gone_of(connection: Connection, ids: Collection[int], until: datetime) -> tuple[set[int], set[int]]:
    """Of these datastreams: those whose readings before `until` are in files alone, and the personal ones."""
    rows = await connection.fetch(GONE_OF, list(ids), until)
    return {row["id"] for row in rows if not row["is_personal"]}, {row["id"] for row in rows if row["is_personal"]}


async def files_of_chunk(connection: Connection, chunk: Chunk) -> dict[int, ColdFile]:
    """By tenant."""
    found = await fetch_all(connection, ColdFile, FILES_OF_CHUNK, chunk.since, chunk.until)
    return {file.tenant_id: file for file in found}


async def read_cold_file(connection: Connection, file_id: int) -> ColdFile | None:
    """One file."""
    return await fetch_one(connection, ColdFile, FILE, file_id)


async def names(connection: Connection) -> set[str]:
    """Of all files."""
    return {row["name"] for row in await connection.fetch(NAMES)}


async def files_named(connection: Connection, wanted: Collection[str]) -> list[ColdFile]:
    """Files by their names."""
    return await fetch_all(connection, ColdFile, FILES_NAMED, list(wanted))


async def files_of_streams(connection: Connection | Pool, ids: Collection[int]) -> list[ColdFile]:
    """Every file that holds something of these."""
    return await fetch_all(connection, ColdFile, FILES_OF_STREAMS, list(ids))


async def files_between(
    connection: Connection, ids: Collection[int], since: datetime, until: datetime
) -> list[ColdFile]:
    """Files that hold something of these between two instants, the oldest first."""
    return await fetch_all(connection, ColdFile, FILES_BETWEEN, list(ids), since, until)


async def touches(connection: Connection | Pool, since: datetime, until: datetime) -> bool:
    """Whether any file is of this period."""
    return await connection.fetchval(TOUCHES, since, until)


async def personal_files(connection: Connection | Pool) -> list[ColdFile]:
    """Files with datastreams that have become personal."""
    return await fetch_all(connection, ColdFile, PERSONAL)


async def personal_of(connection: Connection | Pool, ids: Collection[int]) -> set[int]:
    """Those of these that are personal."""
    return {row["id"] for row in await connection.fetch(PERSONAL_OF, list(ids))}


async def record(
    connection: Connection, tenant_id: int, since: datetime, until: datetime, written: Written | None
) -> None:
    """From the commit on this is the tenant's file of that chunk; None: there is none."""
    await connection.execute(REPLACE, tenant_id, since, until, None if written is None else written.name)
    if written is None:
        await connection.execute(FORGET, tenant_id, since, until)
        return
    await connection.execute(NAMED_AGAIN, written.name)
    classes = [row["privacy_class"] for row in await connection.fetch(CLASSES_OF, written.datastream_ids)]
    await connection.execute(
        RECORD, tenant_id, since, until, written.name, written.readings, written.octets, written.digest, classes,
        written.datastream_ids,
    )  # fmt: skip


async def replaced(connection: Connection) -> set[str]:
    """The names of files that are never to be named again."""
    return {row["name"] for row in await connection.fetch(REPLACED)}


async def removed(connection: Connection, gone: Collection[str], there: Collection[str]) -> None:
    """The folder has no longer what is `gone`, and is left with what is `there`."""
    await connection.execute(REMOVED, list(gone))
    await connection.execute(NOT_THERE, list(there))


async def may_have_files(pool: Pool) -> bool:
    """Whether a row names a file, or one that none names any more may still lie in the folder."""
    return await pool.fetchval(MAY_HAVE_FILES)


async def read_state(connection: Connection | Pool) -> ColdState:
    """Whose the folder is, and whether it fails."""
    row = await connection.fetchrow(STATE)
    assert row is not None  # noqa: S101 - A migration has made it.
    return entity(ColdState, row)


async def report(pool: Pool, reason: str | None, chunks: int) -> None:
    """Why so many chunks are kept that should have gone; None: none is."""
    await pool.execute(REPORT, reason, chunks)


async def cuts(connection: Connection, ids: Sequence[int], periods: Sequence[str], since: datetime) -> list[Cut]:
    """Of these datastreams: those whose truth is in files at `since`."""
    rows = await connection.fetch(CUTS, list(ids), list(periods), since)
    return [Cut(row["id"], row["cut"], row["before"], row["warm"]) for row in rows]


async def erased(pool: Pool, erasure_id: int) -> Spans | None:
    """What an erasure that is under way takes out."""
    return await fetch_one(pool, Spans, ABOUT, erasure_id)


async def count_erased(connection: Connection, erasure_id: int, readings: int) -> None:
    """So many readings are gone from files, for the receipt."""
    await connection.execute(COUNT_ERASED, erasure_id, readings)
