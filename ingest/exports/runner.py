"""Writes exports: streams by the handful, each handful copied in one reading transaction of who asked for it.

A transaction that copies writes nothing, so it holds up no feed; and each begins by asking anew what may be read.
A job that a crash has cut short begins again: its file is none before its last part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from core.runtime.postgres import DATABASE_AWAY, Connection, DiskFullError, Pool
from ingest.binary_rows import Readings
from ingest.cold.files import ColdFailure
from ingest.cold.store import touches
from ingest.exports import store
from ingest.exports.bucket_lines import BucketLines
from ingest.exports.buckets import BucketFile, LineRows
from ingest.exports.cold_reading import ColdStream, hold_chunks, read_cold
from ingest.exports.lines import LineForm, Stream, line_form
from ingest.exports.store import ExportJob, Readable
from ingest.exports.writer import ExportFailed, NotOurs, PartWriter

# Of streams: few at first; then as many as have about so many readings, which take seconds.
FIRST_HANDFUL, HANDFUL_MOST, READINGS_AT_ONCE = 16, 512, 500_000
LINES_AT_ONCE = 10_000
# Where files are read, all readings of a handful are in memory: ten years of each.
OLD_HANDFUL_MOST = 4
# A file that is written anew at that moment has another name.
COLD_ATTEMPTS = 5
DENIED_TEXT = "la clé qui l'a demandé n'est plus valable, ou la personne n'a plus de rôle"
COLD_TEXT = (
    "une partie de cette période est dans le dossier des mesures anciennes, qui ne se lit pas en ce moment : "
    "demandez une période plus récente, ou recommencez plus tard"
)
DISK_TEXT = "le disque du serveur est plein : rien n'est gardé de cet export"
DEFECT_TEXT = "le serveur n'a pas pu écrire ce fichier jusqu'au bout"

log = structlog.get_logger()


class FileForm(Protocol):
    """How readings become a file."""

    async def begin(self) -> None:
        """What stands before all readings."""
        ...

    async def copy(
        self, connection: Connection, streams: Sequence[Readable], since: datetime, until: datetime
    ) -> int:
        """The readings of these streams; how many."""
        ...

    async def put(self, connection: Connection, stream: Stream, readings: Readings) -> None:
        """Readings of a stream that were read elsewhere."""
        ...

    async def finish(self) -> None:
        """What stands behind them."""
        ...


class LineFile:
    """CSV or NDJSON: the database makes the lines, nothing here looks at them."""

    def __init__(self, form: LineForm, writer: PartWriter) -> None:
        self._form = form
        self._writer = writer

    async def begin(self) -> None:
        """The names of the columns."""
        await self._writer.write(self._form.header.encode())

    async def copy(
        self, connection: Connection, streams: Sequence[Readable], since: datetime, until: datetime
    ) -> int:
        """A line for each reading."""
        return await store.copy_lines(connection, self._form, streams, since, until, self._writer.write)

    async def put(self, connection: Connection, stream: Stream, readings: Readings) -> None:
        """As `copy`: the database makes these lines, too."""
        for part in readings.parts(LINES_AT_ONCE):
            await self._writer.write(await store.lines_of(connection, self._form, stream, part))

    async def finish(self) -> None:
        """Nothing follows."""


async def export_next(pool: Pool, runner: str, room: int, cold_folder: Path | None = None) -> ExportJob | None:
    """Write the next file that no process writes; None when there is none. `runner` names this process.

    `room`: how many octets the files of everybody may fill together; `cold_folder`: where readings are that were
    dropped.

    Raises one of DATABASE_AWAY: the job begins again with the next call.
    """
    job = await store.claim_export(pool, runner)
    if job is None:
        return None
    log.info("export_began", job=job.id, form=job.format, streams=job.streams)
    writer = PartWriter(pool, job.id, runner, room)
    try:
        readings = await _write(pool, runner, job, writer, cold_folder)
        digest = await writer.close()
    except NotOurs:
        log.info("export_left", job=job.id)
    except (ExportFailed, ColdFailure, DiskFullError) as wrong:
        reason = _reason(wrong)
        await store.end_export(pool, job.id, runner, "failed", reason)
        log.warning("export_failed", job=job.id, reason=type(wrong).__name__)
    except DATABASE_AWAY:
        raise
    except Exception:
        await store.end_export(pool, job.id, runner, "failed", DEFECT_TEXT)
        log.exception("export_failed", job=job.id)
    else:
        await store.end_export(pool, job.id, runner, "done", None, digest)
        log.info("export_done", job=job.id, readings=readings)
    return job


def _reason(wrong: Exception) -> str:
    if isinstance(wrong, ColdFailure):
        return COLD_TEXT
    return str(wrong) if isinstance(wrong, ExportFailed) else DISK_TEXT


async def _write(pool: Pool, runner: str, job: ExportJob, writer: PartWriter, cold_folder: Path | None) -> int:
    file = await _file_of(pool, job, writer)
    ids = await store.list_streams(pool, job.id)
    await file.begin()
    reached = readings = 0
    # Buckets are made of rollups, which no file has.
    is_old = not isinstance(file, BucketFile) and await touches(pool, job.since, job.until)
    handful, most = (1, OLD_HANDFUL_MOST) if is_old else (FIRST_HANDFUL, HANDFUL_MOST)
    while reached < len(ids):
        asked = ids[reached : reached + handful]
        try:
            copied, streams = await _write_handful(pool, runner, job, file, asked, cold_folder)
        except DATABASE_AWAY:
            if writer.failure is not None:
                raise writer.failure from None
            raise
        reached += len(asked)
        readings += copied
        await store.record_progress(pool, job.id, runner, reached, readings, streams)
        handful = max(1, min(most, len(asked) * READINGS_AT_ONCE // max(copied, 1)))
    await file.finish()
    return readings


async def _write_handful(
    pool: Pool,
    runner: str,
    job: ExportJob,
    file: FileForm | BucketFile,
    asked: Sequence[int],
    cold_folder: Path | None,
) -> tuple[int, list[Readable]]:
    """In one transaction: how many readings, and of which streams what could be read."""
    if isinstance(file, BucketFile):
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            streams = await _enter(connection, job, runner, asked)
            return await file.copy(connection, streams, job.since, job.until) if streams else 0, streams
    for _ in range(COLD_ATTEMPTS):
        async with (
            pool.acquire() as connection,
            connection.transaction(readonly=True, isolation="repeatable_read"),
        ):
            await hold_chunks(connection)
            streams = await _enter(connection, job, runner, asked)
            try:
                cold = await read_cold(connection, cold_folder, streams, job.since, job.until)
            except FileNotFoundError:
                continue
            return await _copy(connection, file, streams, job, cold), streams
    raise ColdFailure("broken")


async def _copy(
    connection: Connection,
    file: FileForm,
    streams: Sequence[Readable],
    job: ExportJob,
    cold: Mapping[int, ColdStream],
) -> int:
    """Of each stream first what files have, then what the hypertable has: its readings stay in order."""
    if not cold:
        return await file.copy(connection, streams, job.since, job.until) if streams else 0
    copied = 0
    for one in streams:
        found = cold.get(one.stream.id)
        if found is not None:
            await file.put(connection, one.stream, found.readings)
            copied += len(found.readings)
        left = one if found is None else replace(one, periods=found.warm)
        copied += await file.copy(connection, [left], job.since, job.until)
    return copied


async def _enter(connection: Connection, job: ExportJob, runner: str, ids: Sequence[int]) -> list[Readable]:
    """What may be read of these streams in this transaction."""
    match await store.enter_export(connection, job.id, runner):
        case "entered":
            return await store.readable(connection, ids)
        case "denied":
            raise ExportFailed(DENIED_TEXT)
        case _:
            raise NotOurs(f"export {job.id}")


async def _file_of(pool: Pool, job: ExportJob, writer: PartWriter) -> FileForm | BucketFile:
    if job.bucket is not None:
        zone = await store.tenant_zone(pool, job.tenant_id)
        if job.format == "parquet":
            from ingest.exports.parquet import open_bucket_rows  # noqa: PLC0415 - As below.

            return BucketFile(open_bucket_rows(writer), job.bucket, zone)
        lines = BucketLines(job.format, is_spreadsheet=job.spreadsheet, zone=zone)
        return BucketFile(LineRows(lines, writer), job.bucket, zone)
    if job.format == "parquet":
        from ingest.exports.parquet import open_parquet  # noqa: PLC0415 - 100 MB in memory, of an optional extra.

        return open_parquet(writer)
    zone = await store.zone_of(pool)
    return LineFile(line_form(job.format, is_spreadsheet=job.spreadsheet, zone=zone), writer)
