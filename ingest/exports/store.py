"""SQL of exports: jobs, the streams and parts of their files, and the readings that are copied into them."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.model.calendar_buckets import Unit
from core.model.region import region_of
from core.runtime.postgres import Connection, Pool
from ingest.binary_rows import Readings
from ingest.exports.lines import LineForm, Stream
from registry.listing import Statement, numbered
from registry.places import Place
from registry.rows import columns_of, entity, fetch_all, fetch_one, insert
from registry.wanted_datastreams import ASSET_WANTED, WantedDatastreams

STREAMS_MOST = 5_000
# A replica that gives no sign of life for so long is replaced; one of the same name goes on at once.
HELD_FOR = timedelta(seconds=60)
KEPT_FOR = timedelta(days=1)
PART_OCTETS = 1 << 20
Sink = Callable[[bytes], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class ExportJob:
    """A file that is asked for, and how far it is."""

    id: int
    tenant_id: int
    format: str
    spreadsheet: bool
    bucket: Unit | None
    since: datetime
    until: datetime
    selection: dict[str, Any]
    requested_by: str
    key_id: str | None
    person_id: int | None
    created_at: datetime
    state: str  # waiting, running, done, failed, cancelled
    reason: str | None
    started_at: datetime | None
    ended_at: datetime | None
    streams: int
    reached: int
    readings: int
    octets: int
    digest: bytes | None

    @property
    def progress(self) -> float:
        """How far it is, from 0 to 1."""
        return 1.0 if self.state == "done" else min(1.0, self.reached / max(self.streams, 1))

    @property
    def expires_at(self) -> datetime | None:
        """Until when its file is there."""
        return self.ended_at + KEPT_FOR if self.state == "done" and self.ended_at is not None else None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which datastreams are chosen; None: whatever they are."""

    datastream_ids: Sequence[int] | None = None
    asset_ids: Sequence[int] | None = None
    kind: str | None = None
    quantity: str | None = None
    tag: str | None = None
    commune: str | None = None


COLUMNS = columns_of(ExportJob)


def _choosing(readable: str = "") -> Statement:
    return numbered(f"""
SELECT d.id FROM datastream d LEFT JOIN asset a ON a.id = d.asset_id
WHERE {readable} (:ids::int[] IS NULL OR d.id = ANY(:ids)) AND {ASSET_WANTED}
ORDER BY a.name COLLATE french, a.id, d.position, d.channel, d.quantity, d.id LIMIT :most
""")


CHOOSE = _choosing()
# Of a service, which has entered a tenant and sees more than its own.
CHOOSE_READABLE = _choosing("d.id IN (SELECT readable_streams()) AND")
VISIBLE_DATASTREAMS = "SELECT id FROM datastream WHERE id = ANY($1::int[])"
VISIBLE_ASSETS = "SELECT id FROM asset WHERE id = ANY($1::int[])"
REQUEST = f"""
INSERT INTO export_job (tenant_id, format, spreadsheet, since, until, selection, requested_by, key_id, person_id,
                        streams, bucket)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING {COLUMNS}
"""
ADD_STREAMS = """
INSERT INTO export_stream (job_id, tenant_id, place, datastream_id)
SELECT $1, $2, w.place, w.id FROM unnest($3::int[]) WITH ORDINALITY AS w (id, place)
"""
READ = f"SELECT {COLUMNS} FROM export_job WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM export_job WHERE $1::int IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"
CANCEL = f"""
UPDATE export_job SET state = 'cancelled', ended_at = now()
WHERE id = $1 AND state IN ('waiting', 'running', 'done') RETURNING {COLUMNS}
"""
DROP_PARTS = "DELETE FROM export_part WHERE job_id = $1"
WRITTEN_STREAMS = "SELECT datastream_id FROM export_stream WHERE job_id = $1 AND periods IS NOT NULL ORDER BY 1"
# Whole, and of streams that may still be read; asked again with each part.
IS_WHOLE = """
SELECT j.state = 'done' AND j.octets = (SELECT coalesce(sum(p.octets), 0) FROM export_part p WHERE p.job_id = j.id)
FROM export_job j WHERE j.id = $1
"""
IS_READABLE = "SELECT export_is_readable($1)"
PART = "SELECT content FROM export_part WHERE job_id = $1 AND number = $2 AND export_is_readable($1)"

# As with imports: first whose tenant has waited longest.
CLAIM = f"""
UPDATE export_job SET state = 'running', started_at = now(), taken_by = $1, taken_until = now() + $2::interval,
                      reached = 0, readings = 0, octets = 0
WHERE id = (SELECT j.id FROM export_job j
            WHERE j.state IN ('waiting', 'running')
              AND (coalesce(j.taken_until, '-infinity') < now() OR j.taken_by = $1)
            ORDER BY (SELECT max(o.ended_at) FROM export_job o WHERE o.tenant_id = j.tenant_id) NULLS FIRST,
                     j.taken_until NULLS FIRST, j.id
            FOR UPDATE OF j SKIP LOCKED LIMIT 1)
RETURNING {COLUMNS}
"""
FORGET_PERIODS = "UPDATE export_stream SET periods = NULL WHERE job_id = $1 AND periods IS NOT NULL"
STREAMS = "SELECT datastream_id FROM export_stream WHERE job_id = $1 ORDER BY place"
ENTER = "SELECT enter_export($1, $2)"
PERIODS = """
SELECT r.datastream_id AS id, r.periods, a.name AS asset, a.kind, a.commune, d.position, d.channel, d.quantity,
       d.unit
FROM readable_periods($1) r JOIN datastream d ON d.id = r.datastream_id LEFT JOIN asset a ON a.id = d.asset_id
ORDER BY array_position($1, r.datastream_id)
"""
# One range a line: a stream has several when several periods were granted.
RANGES = """
SELECT s.id, s.prefix, p.period
FROM unnest($1::int[], $2::text[], $3::text[]) WITH ORDINALITY AS s (id, prefix, periods, place)
CROSS JOIN LATERAL unnest(s.periods::tstzmultirange) AS p (period)
"""
OF_RANGES = f"""
FROM ({RANGES}) r CROSS JOIN LATERAL (
    SELECT o.time, o.value, o.flags FROM observation.measurement o
    WHERE o.datastream_id = r.id AND o.time >= $4 AND o.time < $5
      AND o.time >= coalesce(lower(r.period), '-infinity') AND o.time <= coalesce(upper(r.period), 'infinity')
      AND o.time <@ r.period
    ORDER BY o.time) m
"""
LINE = """
{prefix} || to_char(m.time AT TIME ZONE {zone}, CASE WHEN m.time = date_trunc('second', m.time) THEN {whole}
                    ELSE {exact} END)
|| {before_value}::text
|| CASE WHEN {decimal}::text = '.' THEN m.value::text ELSE replace(m.value::text, '.', {decimal}) END
|| {before_flags}::text || ({flags}::text[])[m.flags + 1] || {end}::text
"""
NAMES = ("zone", "whole", "exact", "before_value", "before_flags", "end", "decimal", "flags")


def _line(prefix: str, first: int) -> str:
    return LINE.format(prefix=prefix, **{name: f"${number}" for number, name in enumerate(NAMES, first)})


LINES = f"SELECT {_line('r.prefix', 6)} {OF_RANGES}"
# Complete lines: neither of these stands in any, so that COPY adds nothing.
AS_THEY_ARE = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}
ROWS = f"SELECT r.id, m.time, m.value, m.flags {OF_RANGES}"
AS_OCTETS = {"format": "binary"}
# Of readings that were read elsewhere.
LINES_OF = f"""
SELECT string_agg(l.line, E'\\n' ORDER BY l.place) || E'\\n' FROM (
    SELECT {_line("$1::text", 5)} AS line, m.place
    FROM (SELECT timestamptz 'epoch' + c.us * interval '1 microsecond' AS time, c.value, c.flags, c.place
          FROM unnest($2::bigint[], $3::float8[], $4::int2[]) WITH ORDINALITY AS c (us, value, flags, place)) m) l
"""
# Of who asks: through the view, a page of each stream from where the former page ended.
PAGE_OF_LINES = f"""
SELECT r.place, m.time, {_line("r.prefix", 6)} AS line
FROM unnest($1::int[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS r (id, prefix, since, place)
CROSS JOIN LATERAL (
    SELECT v.time, v.value, v.flags FROM measurement v
    WHERE v.datastream_id = r.id AND v.time >= r.since AND v.time < $4 ORDER BY v.time LIMIT $5) m
LIMIT $5
"""
COUNT_UP_TO = """
SELECT count(*) FROM (SELECT FROM measurement WHERE datastream_id = ANY($1::int[]) AND time >= $2 AND time < $3
                      LIMIT $4) r
"""
TENANT_REGION = "SELECT t.department, d.timezone FROM tenant t CROSS JOIN deployment d WHERE t.id = $1"
DEPLOYMENT_ZONE = "SELECT timezone FROM deployment"

# A part, and how far the job is, while it is this process's and the parts of all files have room.
PUT_PART = """
WITH job AS (
    UPDATE export_job SET octets = octets + $4, taken_until = now() + $6::interval
    WHERE id = $1 AND taken_by = $2 AND state = 'running' RETURNING id, tenant_id
)
INSERT INTO export_part (job_id, tenant_id, number, octets, content) SELECT id, tenant_id, $3, $4, $5 FROM job
"""
KEPT_OCTETS = "SELECT coalesce(sum(octets), 0)::bigint FROM export_part"
PROGRESS = """
UPDATE export_job SET reached = $3, readings = $4, taken_until = now() + $5::interval
WHERE id = $1 AND taken_by = $2 AND state = 'running'
"""
RECORD_PERIODS = """
UPDATE export_stream s SET periods = w.periods::tstzmultirange
FROM unnest($2::int[], $3::text[]) AS w (id, periods) WHERE s.job_id = $1 AND s.datastream_id = w.id
"""
# On behalf of who asked for it: the line is written with the end.
END = """
WITH ended AS (
    UPDATE export_job SET state = $3, reason = $4, digest = $5, ended_at = now(), taken_until = NULL
    WHERE id = $1 AND taken_by = $2 AND state = 'running'
    RETURNING id, tenant_id, requested_by, format, state, reason, streams, readings, octets
)
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
SELECT e.tenant_id, 'export', 'export.end', 'export', e.id::text,
       jsonb_build_object('on_behalf_of', e.requested_by, 'before', jsonb_build_object('state', 'running'),
                          'after', to_jsonb(e) - 'tenant_id' - 'requested_by' - 'id')
FROM ended e
"""
WAIT_AGAIN = """
UPDATE export_job SET state = 'waiting', taken_by = NULL, taken_until = NULL, reached = 0, readings = 0, octets = 0
WHERE id = $1 AND taken_by = $2 AND state = 'running'
"""


@dataclass(frozen=True, slots=True)
class Readable:
    """A datastream that may be read now, and its instants as PostgreSQL writes a multirange."""

    stream: Stream
    periods: str


async def choose(connection: Connection, wanted: Selection) -> list[int]:
    """The datastreams that the caller sees and has chosen, in the order of a file; at most one too many."""
    return await _choose(connection, CHOOSE, wanted)


async def choose_readable(connection: Connection, wanted: Selection) -> list[int]:
    """As `choose`, for a service that has entered a tenant with somebody's rights."""
    return await _choose(connection, CHOOSE_READABLE, wanted)


async def _choose(connection: Connection, statement: Statement, wanted: Selection) -> list[int]:
    place = Place(commune=wanted.commune)
    chosen = WantedDatastreams(
        wanted.asset_ids, None, wanted.quantity, wanted.kind, wanted.tag, place=place
    ).values()
    del chosen["dev_eui"]
    values = statement.values({**chosen, "ids": wanted.datastream_ids, "most": STREAMS_MOST + 1})
    return [row["id"] for row in await connection.fetch(statement.sql, *values)]


async def unknown(connection: Connection, wanted: Selection) -> tuple[str, int] | None:
    """The first id among those that are named which the caller does not see, and what it is of."""
    for name, ids, statement in (
        ("datastream_ids", wanted.datastream_ids, VISIBLE_DATASTREAMS),
        ("asset_ids", wanted.asset_ids, VISIBLE_ASSETS),
    ):
        if ids:
            seen = {row["id"] for row in await connection.fetch(statement, list(ids))}
            missing = next((one for one in ids if one not in seen), None)
            if missing is not None:
                return name, missing
    return None


async def request_export(
    connection: Connection,
    tenant_id: int,
    streams: Sequence[int],
    *,
    form: str,
    is_spreadsheet: bool,
    since: datetime,
    until: datetime,
    selection: dict[str, Any],
    requested_by: str,
    key_id: str | None,
    person_id: int | None,
    bucket: Unit | None = None,
) -> ExportJob:
    """A new job, which waits for its turn."""
    job = await insert(
        connection, ExportJob, REQUEST, tenant_id, form, is_spreadsheet, since, until, selection, requested_by,
        key_id, person_id, len(streams), bucket,
    )  # fmt: skip
    await connection.execute(ADD_STREAMS, job.id, tenant_id, list(streams))
    return job


async def read_export(connection: Connection | Pool, job_id: int) -> ExportJob | None:
    """One job."""
    return await fetch_one(connection, ExportJob, READ, job_id)


async def list_exports(connection: Connection, *, before: int | None = None, most: int = 100) -> list[ExportJob]:
    """The tenant's jobs, newest first, below the id `before`."""
    return await fetch_all(connection, ExportJob, LIST, before, most)


async def cancel_export(connection: Connection, job_id: int) -> ExportJob | None:
    """End the job, or drop its file. None when there is nothing of it any more."""
    job = await fetch_one(connection, ExportJob, CANCEL, job_id)
    if job is not None:
        await connection.execute(DROP_PARTS, job_id)
    return job


async def written_streams(connection: Connection, job_id: int) -> list[int]:
    """The datastreams whose readings are in the file."""
    return [row["datastream_id"] for row in await connection.fetch(WRITTEN_STREAMS, job_id)]


async def is_whole(connection: Connection, job_id: int) -> bool:
    """Whether the file is done, and every octet of it there."""
    return await connection.fetchval(IS_WHOLE, job_id) is True


async def is_readable(connection: Connection, job_id: int) -> bool:
    """Whether all that the file holds may still be read by the caller."""
    return await connection.fetchval(IS_READABLE, job_id)


async def read_part(connection: Connection, job_id: int, number: int) -> bytes | None:
    """A part of the file; None: it is gone, or may be read no more."""
    return await connection.fetchval(PART, job_id, number)


async def page_of_lines(
    connection: Connection,
    form: LineForm,
    streams: Sequence[Stream],
    since: Sequence[datetime],
    until: datetime,
    most: int,
) -> list[tuple[int, datetime, str]]:
    """Up to so many lines of these streams, each from its instant: the stream's place, the instant, the line."""
    prefixes = [form.prefix(stream) for stream in streams]
    rows = await connection.fetch(
        PAGE_OF_LINES, [stream.id for stream in streams], prefixes, list(since), until, most, *_values(form)
    )
    return [(row["place"] - 1, row["time"], row["line"]) for row in rows]


async def count_up_to(
    connection: Connection, ids: Sequence[int], since: datetime, until: datetime, most: int
) -> int:
    """How many readings the caller may read of these, counted up to `most`."""
    return await connection.fetchval(COUNT_UP_TO, list(ids), since, until, most)


async def zone_of(connection: Connection | Pool) -> str:
    """The time zone of the deployment's calendar."""
    return await connection.fetchval(DEPLOYMENT_ZONE)


async def tenant_zone(connection: Connection | Pool, tenant_id: int) -> ZoneInfo:
    """The time zone of a tenant's calendar, which buckets go by."""
    row = await connection.fetchrow(TENANT_REGION, tenant_id)
    assert row is not None  # noqa: S101 - A tenant is never deleted.
    return region_of(row["department"], row["timezone"]).zone


async def claim_export(pool: Pool, runner: str) -> ExportJob | None:
    """The next job that no process has, from its beginning; it is this one's from now on."""
    async with pool.acquire() as connection, connection.transaction():
        job = await fetch_one(connection, ExportJob, CLAIM, runner, HELD_FOR)
        if job is not None:  # What another one has written of it.
            await connection.execute(DROP_PARTS, job.id)
            await connection.execute(FORGET_PERIODS, job.id)
    return job


async def list_streams(pool: Pool, job_id: int) -> list[int]:
    """The datastreams of the job, in the order of the file."""
    return [row["datastream_id"] for row in await pool.fetch(STREAMS, job_id)]


async def enter_export(connection: Connection, job_id: int, runner: str) -> str | None:
    """Enter the job's tenant with the rights of who asked: `entered`, `denied`, or None, not this process's."""
    return await connection.fetchval(ENTER, job_id, runner)


async def readable(connection: Connection, ids: Sequence[int]) -> list[Readable]:
    """Those of these that may be read in this transaction, in this order."""
    rows = await connection.fetch(PERIODS, list(ids))
    return [Readable(entity(Stream, row), multirange(row["periods"])) for row in rows]


def multirange(ranges: Sequence[Any]) -> str:
    """As PostgreSQL reads it."""
    return "{" + ",".join(map(_range, ranges)) + "}"


def _range(one: Any) -> str:
    low, high = ("" if end is None else end.isoformat() for end in (one.lower, one.upper))
    return f"{'[' if one.lower_inc else '('}{low},{high}{']' if one.upper_inc else ')'}"


def _values(form: LineForm) -> list[Any]:
    return [list(value) if name == "flags" else value for name in NAMES for value in (getattr(form, name),)]


async def copy_lines(
    connection: Connection,
    form: LineForm,
    streams: Sequence[Readable],
    since: datetime,
    until: datetime,
    sink: Sink,
) -> int:
    """The lines of these streams into `sink`, as they come; how many."""
    prefixes = [form.prefix(one.stream) for one in streams]
    values = (prefixes, streams, since, until, *_values(form))
    return await _copy(connection, LINES, AS_THEY_ARE, sink, *values)


async def lines_of(connection: Connection, form: LineForm, stream: Stream, readings: Readings) -> bytes:
    """The lines of readings of one stream that were read elsewhere."""
    columns = (column.tolist() for column in (readings.times, readings.values, readings.flags))
    lines = await connection.fetchval(LINES_OF, form.prefix(stream), *columns, *_values(form))
    return lines.encode()


async def copy_rows(
    connection: Connection, streams: Sequence[Readable], since: datetime, until: datetime, sink: Sink
) -> int:
    """The readings of these streams in PostgreSQL's binary format into `sink`; how many."""
    return await _copy(connection, ROWS, AS_OCTETS, sink, [""] * len(streams), streams, since, until)


async def _copy(
    connection: Connection,
    statement: str,
    written: dict[str, Any],
    sink: Sink,
    prefixes: list[str],
    streams: Sequence[Readable],
    since: datetime,
    until: datetime,
    *values: Any,
) -> int:
    ids, periods = [one.stream.id for one in streams], [one.periods for one in streams]
    status = await connection.copy_from_query(
        statement, ids, prefixes, periods, since, until, *values, output=sink, **written
    )
    return int(status.rpartition(" ")[2])


async def put_part(pool: Pool, job_id: int, runner: str, number: int, content: bytes) -> bool:
    """The next part of the file; False when the job is not this process's any more."""
    status = await pool.execute(PUT_PART, job_id, runner, number, len(content), content, HELD_FOR)
    return status == "INSERT 0 1"


async def kept_octets(pool: Pool) -> int:
    """How much all files fill."""
    return await pool.fetchval(KEPT_OCTETS)


async def record_progress(
    pool: Pool, job_id: int, runner: str, reached: int, readings: int, streams: Sequence[Readable]
) -> None:
    """How far the job is, and what could be read of these streams."""
    async with pool.acquire() as connection, connection.transaction():
        if await connection.execute(PROGRESS, job_id, runner, reached, readings, HELD_FOR) == "UPDATE 1":
            ids, periods = [one.stream.id for one in streams], [one.periods for one in streams]
            await connection.execute(RECORD_PERIODS, job_id, ids, periods)


async def end_export(
    pool: Pool, job_id: int, runner: str, state: str, reason: str | None = None, digest: bytes | None = None
) -> None:
    """The job has ended, with its line in the audit; of one that failed nothing is kept."""
    async with pool.acquire() as connection, connection.transaction():
        if (
            await connection.execute(END, job_id, runner, state, reason, digest) != "INSERT 0 0"
            and state != "done"
        ):
            await connection.execute(DROP_PARTS, job_id)


async def wait_again(pool: Pool, job_id: int, runner: str) -> None:
    """Another process may take the job at once."""
    await pool.execute(WAIT_AGAIN, job_id, runner)
