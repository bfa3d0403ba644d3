"""SQL of scheduled drops: schedules, as their tenant makes them, and drops, each with its receipt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from core.model.calendar_buckets import Unit
from core.runtime.postgres import Connection, Pool
from ingest.exports.timetable import Covers, Frequency, Timetable
from registry.keys import KeyWrap, row_owner
from registry.rows import Written, columns_of, fetch_all, fetch_one

# A replica that gives no sign of life for so long is replaced; one of the same name goes on at once.
HELD_FOR = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class ExportSchedule:
    """An export that is made again and again, and where its files go; without its secret."""

    id: int
    tenant_id: int
    name: str
    format: str
    spreadsheet: bool
    bucket: Unit | None
    selection: dict[str, Any]
    frequency: Frequency
    every_hours: int | None
    at_hour: int
    on_day: int
    covers: Covers
    file_name: str
    checksum_file: bool
    target: str  # folder, sftp
    directory: str
    host: str | None
    port: int | None
    username: str | None
    authentication: str | None  # password, private_key
    host_key: str | None
    seen_host_key: str | None
    enabled: bool
    stopped_reason: str | None
    requested_by: str
    key_id: str | None
    person_id: int | None
    created_at: datetime
    next_at: datetime
    covered_until: datetime
    test_wanted: bool
    tested_at: datetime | None
    test_reason: str | None
    failing_since: datetime | None

    @property
    def timetable(self) -> Timetable:
        """When it is due."""
        return Timetable(self.frequency, self.every_hours, self.at_hour, self.on_day, self.covers)

    @property
    def waits_for_host_key(self) -> bool:
        """Nothing is sent before somebody has said which machine the server is."""
        return self.target == "sftp" and self.host_key is None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a schedule go, with what opens it; `slug` is its tenant's."""

    target: str
    slug: str
    directory: str
    host: str | None
    port: int | None
    username: str | None
    authentication: str | None
    secret_wrapped: bytes | None = field(repr=False)
    sealed_for: UUID
    host_key: str | None
    webhook_allow_list: tuple[str, ...]

    def secret(self, keys: KeyWrap) -> str:
        """The password or the private key.

        Raises:
            WrongKek: another key-encryption key sealed it, or for another row.
        """
        return keys.unwrap_text(self.secret_wrapped or b"", row_owner("export_schedule", self.sealed_for))


@dataclass(frozen=True, slots=True)
class ExportDrop:
    """One run over one period: how far it is, and its receipt."""

    id: int
    tenant_id: int
    schedule_id: int
    since: datetime
    until: datetime
    file_name: str
    state: str  # waiting, writing, sending, done, failed
    attempts: int
    next_at: datetime
    export_id: int | None
    placed: bool | None
    """Whether its file is at its place; None: it may be."""
    reason: str | None
    streams: int
    readings: int
    octets: int
    digest: bytes | None
    created_at: datetime
    ended_at: datetime | None


COLUMNS, DROP_COLUMNS = columns_of(ExportSchedule), columns_of(ExportDrop)
WRITTEN = Written(
    "name, format, spreadsheet, bucket, selection, frequency, every_hours, at_hour, on_day, covers, file_name, "
    "checksum_file, target, directory, host, port, username, authentication, host_key, requested_by, key_id, "
    "person_id, next_at"
)
CREATE = f"""
INSERT INTO export_schedule (tenant_id, secret_wrapped, kek_id, sealed_for, {WRITTEN.columns})
VALUES ($1, $2, $3, $4, {WRITTEN.parameters(5)}) RETURNING id
"""
LIST = f"SELECT {COLUMNS} FROM export_schedule ORDER BY id"
READ = f"SELECT {COLUMNS} FROM export_schedule WHERE id = $1"
READ_SEALED_FOR = "SELECT sealed_for FROM export_schedule WHERE id = $1"
DELETE = "DELETE FROM export_schedule WHERE id = $1 RETURNING true"
RESEAL = "UPDATE export_schedule SET secret_wrapped = $2, kek_id = $3 WHERE id = $1"
SET_HOST_KEY = "UPDATE export_schedule SET host_key = $2, next_at = $3 WHERE id = $1"
# Who lets it go on answers for it from now on: theirs are the rights of each run.
RESUME = """
UPDATE export_schedule SET enabled = true, stopped_reason = NULL, failing_since = NULL, requested_by = $2,
                           key_id = $3, person_id = $4, next_at = $5
WHERE id = $1
"""
SUSPEND = "UPDATE export_schedule SET enabled = false, failing_since = NULL WHERE id = $1"
WANT_TEST = "UPDATE export_schedule SET test_wanted = true WHERE id = $1"
# One for a period: the same one again where it has ended, with the same name, and then it may replace its file.
DROP_NOW = f"""
INSERT INTO export_drop (tenant_id, schedule_id, since, until, file_name) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (schedule_id, since, until) DO UPDATE
SET state = 'waiting', attempts = 0, next_at = now(), reason = NULL, ended_at = NULL, export_id = NULL
WHERE export_drop.state IN ('done', 'failed')
RETURNING {DROP_COLUMNS}
"""
REPEAT = f"""
UPDATE export_drop SET state = 'waiting', attempts = 0, next_at = now(), reason = NULL, ended_at = NULL,
                       export_id = NULL
WHERE id = $2 AND schedule_id = $1 AND state IN ('done', 'failed') RETURNING {DROP_COLUMNS}
"""
LIST_DROPS = f"""
SELECT {DROP_COLUMNS} FROM export_drop WHERE schedule_id = $1 AND ($2::int IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""
READ_DROP = f"SELECT {DROP_COLUMNS} FROM export_drop WHERE schedule_id = $1 AND id = $2"
LAST_DROPS = f"""
SELECT DISTINCT ON (schedule_id) {DROP_COLUMNS} FROM export_drop ORDER BY schedule_id, id DESC
"""
NOW = "SELECT now() AS now, timezone FROM deployment"

# Of the service that drops.
NEXT_DUE = f"""
SELECT {COLUMNS} FROM export_schedule
WHERE enabled AND next_at <= now() AND (target = 'folder' OR host_key IS NOT NULL)
ORDER BY next_at FOR UPDATE SKIP LOCKED LIMIT 1
"""
SET_NEXT = "UPDATE export_schedule SET next_at = $2 WHERE id = $1"
HAS_OPEN = """
SELECT EXISTS (SELECT FROM export_drop WHERE schedule_id = $1 AND state IN ('waiting', 'writing', 'sending'))
"""
ADD_DROP = """
INSERT INTO export_drop (tenant_id, schedule_id, since, until, file_name) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (schedule_id, since, until) DO NOTHING
"""
CLAIM_TEST = f"""
UPDATE export_schedule SET test_wanted = false
WHERE id = (SELECT id FROM export_schedule WHERE test_wanted ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING {COLUMNS}
"""
SAVE_TEST = """
UPDATE export_schedule SET tested_at = now(), test_reason = $2, seen_host_key = coalesce($3, seen_host_key)
WHERE id = $1
"""
CLAIM = f"""
UPDATE export_drop SET taken_by = $1, taken_until = now() + $2::interval
WHERE id = (SELECT id FROM export_drop
            WHERE state IN ('waiting', 'writing', 'sending') AND next_at <= $4
              AND (coalesce(taken_until, '-infinity') < now() OR taken_by = $1) AND id <> ALL($3::int[])
            ORDER BY next_at FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING {DROP_COLUMNS}
"""
READ_PLACE = """
SELECT s.target, t.slug, s.directory, s.host, s.port, s.username, s.authentication, s.secret_wrapped, s.sealed_for,
       s.host_key, t.webhook_allow_list
FROM export_schedule s JOIN tenant t ON t.id = s.tenant_id WHERE s.id = $1
"""
ENTER = "SELECT roles, role FROM enter_export_schedule($1)"
JOB = "SELECT state, reason, readings, octets, digest FROM export_job WHERE id = $1"
IS_READABLE = "SELECT export_is_readable($1)"
PART = "SELECT content FROM export_part WHERE job_id = $1 AND number = $2"
# Each of these only while the drop is this process's.
HOLD = """
UPDATE export_drop SET taken_until = now() + $3::interval WHERE id = $1 AND taken_by = $2 RETURNING true
"""
WRITING = """
UPDATE export_drop SET state = 'writing', export_id = $3, streams = $4, next_at = now(), taken_until = NULL
WHERE id = $1 AND taken_by = $2 RETURNING true
"""
LOOK_AGAIN = """
UPDATE export_drop SET state = $3, next_at = now() + $4::interval, taken_until = NULL
WHERE id = $1 AND taken_by = $2 RETURNING true
"""
PLACED = "UPDATE export_drop SET placed = $3 WHERE id = $1 AND taken_by = $2 RETURNING true"
TRY_AGAIN = """
UPDATE export_drop SET state = $3, attempts = attempts + 1, reason = $4, next_at = now() + $5::interval,
                       taken_until = NULL
WHERE id = $1 AND taken_by = $2 RETURNING true
"""
END = """
UPDATE export_drop SET state = $3, reason = $4, ended_at = now(), taken_until = NULL, attempts = attempts + 1,
                       placed = CASE WHEN $3 = 'done' THEN true ELSE placed END,
                       readings = coalesce($5, readings), octets = coalesce($6, octets),
                       digest = coalesce($7, digest)
WHERE id = $1 AND taken_by = $2 RETURNING true
"""
DROPPED = """
UPDATE export_schedule SET covered_until = greatest(covered_until, $2), failing_since = NULL WHERE id = $1
"""
FAILS = "UPDATE export_schedule SET failing_since = coalesce(failing_since, now()) WHERE id = $1"
STOP = """
UPDATE export_schedule SET enabled = false, stopped_reason = $2, failing_since = coalesce(failing_since, now())
WHERE id = $1
"""


async def create_schedule(
    connection: Connection, keys: KeyWrap, tenant_id: int, secret: str | None, schedule: Mapping[str, Any]
) -> int:
    """A new schedule's id, of the columns in `WRITTEN`; its first test is wanted.

    Raises UniqueViolationError when the tenant has one of this name.
    """
    sealed_for = uuid4()
    sealed = keys.wrap_secret(secret, row_owner("export_schedule", sealed_for))
    return await connection.fetchval(CREATE, tenant_id, *sealed, sealed_for, *WRITTEN.values(schedule))


async def list_schedules(connection: Connection) -> list[ExportSchedule]:
    """Every visible schedule, oldest first."""
    return await fetch_all(connection, ExportSchedule, LIST)


async def read_schedule(connection: Connection | Pool, schedule_id: int) -> ExportSchedule | None:
    """One schedule."""
    return await fetch_one(connection, ExportSchedule, READ, schedule_id)


async def delete_schedule(connection: Connection, schedule_id: int) -> bool:
    """Remove a schedule with its receipts; what it has dropped stays where it is. False: there is none."""
    return await connection.fetchval(DELETE, schedule_id) is True


async def set_secret(connection: Connection, keys: KeyWrap, schedule_id: int, secret: str) -> None:
    """Another password or private key from now on."""
    sealed_for = await connection.fetchval(READ_SEALED_FOR, schedule_id)
    sealed = keys.wrap_secret(secret, row_owner("export_schedule", sealed_for))
    await connection.execute(RESEAL, schedule_id, *sealed)


async def set_host_key(connection: Connection, schedule_id: int, host_key: str, next_at: datetime) -> None:
    """This machine, and no other, is the server from now on."""
    await connection.execute(SET_HOST_KEY, schedule_id, host_key, next_at)


async def resume(
    connection: Connection,
    schedule_id: int,
    *,
    requested_by: str,
    key_id: str | None,
    person_id: int | None,
    next_at: datetime,
) -> None:
    """Let it go on, from `next_at`, with the rights of who says so."""
    await connection.execute(RESUME, schedule_id, requested_by, key_id, person_id, next_at)


async def suspend(connection: Connection, schedule_id: int) -> None:
    """Nothing is due any more; what is under way goes on."""
    await connection.execute(SUSPEND, schedule_id)


async def want_test(connection: Connection, schedule_id: int) -> None:
    """Its place is to be tried, soon."""
    await connection.execute(WANT_TEST, schedule_id)


async def drop_now(
    connection: Connection, schedule: ExportSchedule, since: datetime, until: datetime, file_name: str
) -> ExportDrop | None:
    """A drop of this period, or the one that there was, again; None: it is under way."""
    values = (schedule.tenant_id, schedule.id, since, until, file_name)
    return await fetch_one(connection, ExportDrop, DROP_NOW, *values)


async def repeat_drop(connection: Connection, schedule_id: int, drop_id: int) -> ExportDrop | None:
    """The same drop again; None: it is under way."""
    return await fetch_one(connection, ExportDrop, REPEAT, schedule_id, drop_id)


async def list_drops(
    connection: Connection, schedule_id: int, *, before: int | None = None, most: int = 100
) -> list[ExportDrop]:
    """The drops of a schedule, newest first, below the id `before`."""
    return await fetch_all(connection, ExportDrop, LIST_DROPS, schedule_id, before, most)


async def read_drop(connection: Connection, schedule_id: int, drop_id: int) -> ExportDrop | None:
    """One drop of a schedule."""
    return await fetch_one(connection, ExportDrop, READ_DROP, schedule_id, drop_id)


async def last_drops(connection: Connection) -> dict[int, ExportDrop]:
    """The last drop of each visible schedule, by the schedule's id."""
    return {drop.schedule_id: drop for drop in await fetch_all(connection, ExportDrop, LAST_DROPS)}


async def clock(connection: Connection | Pool) -> tuple[datetime, ZoneInfo]:
    """The database's time, and the zone of the deployment's calendar."""
    row = await connection.fetchrow(NOW)
    assert row is not None  # noqa: S101 - The first migration wrote it.
    return row["now"], ZoneInfo(row["timezone"])


async def next_due_schedule(connection: Connection) -> ExportSchedule | None:
    """One that is due and that nobody has, locked; None: none is."""
    return await fetch_one(connection, ExportSchedule, NEXT_DUE)


async def begin_drop(
    connection: Connection, schedule: ExportSchedule, since: datetime, until: datetime, file_name: str
) -> None:
    """A drop of this period, unless there was one."""
    await connection.execute(ADD_DROP, schedule.tenant_id, schedule.id, since, until, file_name)


async def has_open_drop(connection: Connection, schedule_id: int) -> bool:
    """Whether a drop of it is under way."""
    return await connection.fetchval(HAS_OPEN, schedule_id)


async def set_next(connection: Connection, schedule_id: int, next_at: datetime) -> None:
    """When it is due next."""
    await connection.execute(SET_NEXT, schedule_id, next_at)


async def claim_test(pool: Pool) -> ExportSchedule | None:
    """One whose place is to be tried; nobody else tries it."""
    return await fetch_one(pool, ExportSchedule, CLAIM_TEST)


async def save_test(pool: Pool, schedule_id: int, reason: str | None, seen_host_key: str | None) -> None:
    """What came of a test; no reason: it takes files."""
    await pool.execute(SAVE_TEST, schedule_id, reason, seen_host_key)


async def claim_drop(pool: Pool, runner: str, others: list[int], due: datetime) -> ExportDrop | None:
    """The next drop to go on with, due by then, but for `others`; it is this process's from now on."""
    return await fetch_one(pool, ExportDrop, CLAIM, runner, HELD_FOR, others, due)


async def read_place(pool: Pool, schedule_id: int) -> Place | None:
    """Where its files go."""
    return await fetch_one(pool, Place, READ_PLACE, schedule_id)


async def enter_schedule(connection: Connection, schedule_id: int) -> tuple[list[str] | None, str | None]:
    """Enter its tenant with the rights of who made it: the roles of a key, or the role of a person; or neither."""
    row = await connection.fetchrow(ENTER, schedule_id)
    return (None, None) if row is None else (row["roles"], row["role"])


@dataclass(frozen=True, slots=True)
class WrittenExport:
    """How far the export of a drop is."""

    state: str
    reason: str | None
    readings: int
    octets: int
    digest: bytes | None


async def read_export_of(pool: Pool, job_id: int) -> WrittenExport | None:
    """The export of a drop; None: it is gone."""
    return await fetch_one(pool, WrittenExport, JOB, job_id)


async def is_readable(connection: Connection, job_id: int) -> bool:
    """Whether all that its file holds may still be read by who was entered."""
    return await connection.fetchval(IS_READABLE, job_id)


async def read_part(pool: Pool, job_id: int, number: int) -> bytes | None:
    """A part of its file; None: there is none."""
    return await pool.fetchval(PART, job_id, number)


async def hold(pool: Pool, drop_id: int, runner: str) -> bool:
    """Go on with it; False when it is another process's."""
    return await pool.fetchval(HOLD, drop_id, runner, HELD_FOR) is True


async def set_writing(connection: Connection, drop_id: int, runner: str, export_id: int, streams: int) -> bool:
    """Its export is asked for; False when it is another process's."""
    return await connection.fetchval(WRITING, drop_id, runner, export_id, streams) is True


async def look_again(pool: Pool, drop_id: int, runner: str, state: str, wait: timedelta) -> bool:
    """Nothing to do for it for a while."""
    return await pool.fetchval(LOOK_AGAIN, drop_id, runner, state, wait) is True


async def set_placed(pool: Pool, drop_id: int, runner: str, *, placed: bool | None) -> bool:
    """From now on its file may be at its place (None), or it is certain that it is not."""
    return await pool.fetchval(PLACED, drop_id, runner, placed) is True


async def try_again(pool: Pool, drop_id: int, runner: str, state: str, reason: str, wait: timedelta) -> bool:
    """It failed, and is tried again after a while."""
    return await pool.fetchval(TRY_AGAIN, drop_id, runner, state, reason, wait) is True


async def end_drop(
    connection: Connection, drop: ExportDrop, runner: str, reason: str | None, file: WrittenExport | None
) -> bool:
    """It has ended, as its schedule knows; with a reason it has failed. False when it is another process's."""
    held = (None, None, None) if file is None else (file.readings, file.octets, file.digest)
    state = "done" if reason is None else "failed"
    if await connection.fetchval(END, drop.id, runner, state, reason, *held) is not True:
        return False
    if reason is None:
        await connection.execute(DROPPED, drop.schedule_id, drop.until)
    else:
        await connection.execute(FAILS, drop.schedule_id)
    return True


async def stop_schedule(connection: Connection, schedule_id: int, reason: str) -> None:
    """Nothing is due any more, before a person lets it go on."""
    await connection.execute(STOP, schedule_id, reason)
