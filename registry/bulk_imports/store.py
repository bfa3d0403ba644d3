"""SQL of bulk imports: jobs, their parts, what was refused, and the assets of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.runtime.postgres import Connection, Pool
from registry.bulk_imports.plan import Communes, KnownAsset, Parent, PlannedAsset, Rejection
from registry.keys import KeyWrap
from registry.rows import Written, arrays, columns_of, entity, fetch_all, fetch_one, insert

PARTS_MOST = 100
# A tenant's files of trials that may still be confirmed: each has up to 64 MB.
TRIALS_KEPT = 5
REJECTIONS_AT_ONCE = 5_000
# A replica that gives no sign of life for so long is replaced; one of the same name goes on at once.
HELD_FOR = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ImportJob:
    """A file that is read in the background, and how far that is. `lines` is counted when it begins."""

    id: int
    tenant_id: int
    kind: str
    format: str
    coordinates: str
    dry_run: bool
    file_name: str
    requested_by: str
    created_at: datetime
    state: str  # receiving, waiting, running, done, failed, cancelled
    reason: str | None
    started_at: datetime | None
    ended_at: datetime | None
    lines: int | None
    reached: int
    created: int
    updated: int
    unchanged: int
    refused: int
    header: tuple[str, ...]

    @property
    def progress(self) -> float | None:
        """How far it is, from 0 to 1; None until its lines were counted."""
        if self.state == "done" or self.lines == 0:
            return 1.0
        return None if self.lines is None else min(1.0, self.reached / self.lines)


@dataclass(frozen=True, slots=True)
class StoredRejection:
    """Why a line did not go in, and which of its reasons this is."""

    rejection: Rejection
    place: int


COLUMNS = columns_of(ImportJob)
WRITTEN = Written("kind, format, coordinates, dry_run, file_name")
REQUEST = f"""
INSERT INTO import_job (tenant_id, requested_by, {WRITTEN.columns}) VALUES ($1, $2, {WRITTEN.parameters(3)})
RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM import_job WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM import_job WHERE $1::int IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"
PUT_PART = """
INSERT INTO import_part (job_id, tenant_id, number, octets, content_wrapped, kek_id)
SELECT id, tenant_id, $2, $3, $4, $5 FROM import_job WHERE id = $1 AND state = 'receiving'
RETURNING true
"""
# Not ON CONFLICT, which would ask the API for the right to read what is sealed.
DROP_PART = "DELETE FROM import_part WHERE job_id = $1 AND number = $2"
RECEIVED = "SELECT number, octets FROM import_part WHERE job_id = $1 ORDER BY number"
START = f"""
UPDATE import_job SET state = 'waiting' WHERE id = $1 AND state = 'receiving' RETURNING {COLUMNS}
"""
CANCEL = f"""
UPDATE import_job SET state = 'cancelled', ended_at = now()
WHERE id = $1 AND state IN ('receiving', 'waiting', 'running') RETURNING {COLUMNS}
"""
# A trial that has ended becomes the import itself, of the same file.
CONFIRM = f"""
UPDATE import_job SET dry_run = false, state = 'waiting', started_at = NULL, ended_at = NULL, lines = NULL,
                      reached = 0, created = 0, updated = 0, unchanged = 0, refused = 0
WHERE id = $1 AND dry_run AND state = 'done' AND EXISTS (SELECT FROM import_part WHERE job_id = $1)
RETURNING {COLUMNS}
"""
DROP_REJECTIONS = "DELETE FROM import_rejection WHERE job_id = $1"
DROP_PARTS = "DELETE FROM import_part WHERE job_id = $1"
DROP_OLDER_TRIALS = """
DELETE FROM import_part WHERE job_id IN (
    SELECT id FROM import_job WHERE tenant_id = $1 AND dry_run AND state = 'done'
    ORDER BY ended_at DESC, id DESC OFFSET $2)
"""
REJECTIONS = """
SELECT line, place, "column", reason, cells FROM import_rejection WHERE job_id = $1 AND (line, place) > ($2, $3)
ORDER BY line, place LIMIT $4
"""

# First whose tenant has waited longest; of its own, what was taken before and did not end comes last, or one that
# never ends would hold up all others.
CLAIM = f"""
UPDATE import_job SET state = 'running', started_at = coalesce(started_at, now()), taken_by = $1,
                      taken_until = now() + $2::interval
WHERE id = (SELECT j.id FROM import_job j
            WHERE j.state IN ('waiting', 'running')
              AND (coalesce(j.taken_until, '-infinity') < now() OR j.taken_by = $1)
            ORDER BY (SELECT greatest(max(o.ended_at), max(o.taken_until)) FROM import_job o
                      WHERE o.tenant_id = j.tenant_id) NULLS FIRST,
                     j.taken_until NULLS FIRST, j.id
            FOR UPDATE OF j SKIP LOCKED LIMIT 1)
RETURNING {COLUMNS}
"""
OTHERS_WAIT = """
SELECT EXISTS (SELECT FROM import_job
               WHERE tenant_id <> $1 AND state IN ('waiting', 'running')
                 AND coalesce(taken_until, '-infinity') < now())
"""
GIVE_WAY = "UPDATE import_job SET taken_until = now() WHERE id = $1 AND taken_by = $2 AND state = 'running'"
PARTS = "SELECT number, content_wrapped FROM import_part WHERE job_id = $1 ORDER BY number"
COUNTED = """
UPDATE import_job SET lines = $3, header = $4::text[] WHERE id = $1 AND taken_by = $2 AND state = 'running'
"""
ENTER = "SELECT enter_import($1, $2)"
ROOM = "SELECT quota_room($1)"
PROGRESS = """
UPDATE import_job SET reached = $2, created = created + $3, updated = updated + $4, unchanged = unchanged + $5,
                      refused = refused + $6, taken_until = now() + $7::interval
WHERE id = $1
"""
REJECT = """
INSERT INTO import_rejection (job_id, tenant_id, line, place, "column", reason, cells)
SELECT $1, $2, line, row_number() OVER (PARTITION BY line ORDER BY n), "column", reason,
       string_to_array(cells, E'\\x1f')
FROM unnest($3::int[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY AS of (line, "column", reason, cells, n)
"""
# On behalf of who asked for it: the line is written with the end.
END = """
WITH ended AS (
    UPDATE import_job SET state = $3, reason = $4, ended_at = now(), taken_until = NULL
    WHERE id = $1 AND taken_by = $2 AND state = 'running'
    RETURNING id, tenant_id, requested_by, kind, dry_run, state, reason, created, updated, unchanged, refused
)
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
SELECT e.tenant_id, 'import', 'import.end', 'import', e.id::text,
       jsonb_build_object('on_behalf_of', e.requested_by, 'before', jsonb_build_object('state', 'running'),
                          'after', to_jsonb(e) - 'tenant_id' - 'requested_by' - 'id')
FROM ended e
"""

KNOWN = """
SELECT id, external_reference, name, commune, insee, street, quarter, latitude, longitude, attributes, tags,
       parent_id, archived_at IS NOT NULL AS archived
FROM asset WHERE tenant_id = $1 AND kind = $2 AND external_reference = ANY($3::text[]) ORDER BY id FOR UPDATE
"""
# Of before it had a reference: its name says which it is.
UNREFERENCED = """
SELECT id, external_reference, name, commune, insee, street, quarter, latitude, longitude, attributes, tags,
       parent_id, archived_at IS NOT NULL AS archived
FROM asset WHERE tenant_id = $1 AND kind = $2 AND external_reference IS NULL AND name = ANY($3::text[])
ORDER BY id FOR UPDATE
"""
PARENTS = """
SELECT kind, external_reference, id, commune, insee FROM asset
WHERE tenant_id = $1 AND archived_at IS NULL
  AND (kind, external_reference) IN (SELECT * FROM unnest($2::text[], $3::text[]))
"""
HOLDERS = "SELECT name, id FROM asset WHERE tenant_id = $1 AND kind = $2 AND name = ANY($3::text[])"
COMMUNES = """
SELECT DISTINCT ON (insee) insee, name FROM commune_outline WHERE tenant_id = $1 OR tenant_id IS NULL
ORDER BY insee, tenant_id NULLS LAST
"""
CREATE = """
INSERT INTO asset (tenant_id, kind, privacy_class, external_reference, name, commune, insee, street, quarter,
                   latitude, longitude, attributes, tags, parent_id)
SELECT $1, $2, NULL, w.reference, w.name, w.commune, w.insee, w.street, w.quarter, w.latitude, w.longitude,
       w.attributes, string_to_array(w.tags, ' '), w.parent_id
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::float8[], $10::float8[],
            $11::jsonb[], $12::text[], $13::int[])
     AS w (reference, name, commune, insee, street, quarter, latitude, longitude, attributes, tags, parent_id)
"""
# Two statements: what hangs where it hung is not asked again what class that makes it.
UPDATE = """
UPDATE asset a SET external_reference = w.reference, name = w.name, commune = w.commune, insee = w.insee,
                   street = w.street, quarter = w.quarter, latitude = w.latitude, longitude = w.longitude,
                   attributes = w.attributes, tags = string_to_array(w.tags, ' ')
FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::float8[],
            $10::float8[], $11::jsonb[], $12::text[])
     AS w (id, reference, name, commune, insee, street, quarter, latitude, longitude, attributes, tags)
WHERE a.id = w.id AND a.tenant_id = $1
"""
OF_ASSETS = "reference, name, commune, insee, street, quarter, latitude, longitude, attributes"
MOVE = """
UPDATE asset a SET parent_id = w.parent_id FROM unnest($2::int[], $3::int[]) AS w (id, parent_id)
WHERE a.id = w.id AND a.tenant_id = $1 AND a.parent_id IS DISTINCT FROM w.parent_id
"""
PROFILES = """
SELECT id, name FROM device_profile
WHERE (tenant_id = $1 OR tenant_id IS NULL) AND (name = ANY($2::text[]) OR id = ANY($3::int[]))
ORDER BY tenant_id NULLS FIRST
"""
SOURCES = "SELECT id FROM lns_source WHERE tenant_id = $1 AND id = ANY($2::int[])"


def part_owner(job_id: int, number: int) -> str:
    """For what a part is sealed."""
    return f"import_part/{job_id}/{number}/content"


async def request_import(connection: Connection, tenant_id: int, *, requested_by: str, **job: Any) -> ImportJob:
    """A new job of columns in `WRITTEN`, which receives its parts."""
    return await insert(connection, ImportJob, REQUEST, tenant_id, requested_by, *WRITTEN.values(job))


async def read_import(connection: Connection | Pool, job_id: int) -> ImportJob | None:
    """One job."""
    return await fetch_one(connection, ImportJob, READ, job_id)


async def list_imports(connection: Connection, *, before: int | None = None, most: int = 100) -> list[ImportJob]:
    """The tenant's jobs, newest first, below the id `before`."""
    return await fetch_all(connection, ImportJob, LIST, before, most)


async def put_part(connection: Connection, keys: KeyWrap, job_id: int, number: int, content: bytes) -> bool:
    """A part of the file in place of the one of this number; False when the job takes none any more."""
    sealed = keys.wrap_octets(content, part_owner(job_id, number))
    await connection.execute(DROP_PART, job_id, number)
    return await connection.fetchval(PUT_PART, job_id, number, len(content), sealed, keys.kek_id) is True


async def list_received(connection: Connection, job_id: int) -> dict[int, int]:
    """The octets of each part that is there, by number."""
    return {row["number"]: row["octets"] for row in await connection.fetch(RECEIVED, job_id)}


async def start_import(connection: Connection, job_id: int) -> ImportJob | None:
    """The job waits for its turn from now on; None when it does not receive any more."""
    return await fetch_one(connection, ImportJob, START, job_id)


async def confirm_import(connection: Connection, job_id: int) -> ImportJob | None:
    """The trial waits for its turn to be the import itself; None when it is none, or its file is gone."""
    job = await fetch_one(connection, ImportJob, CONFIRM, job_id)
    if job is not None:
        await connection.execute(DROP_REJECTIONS, job_id)
    return job


async def cancel_import(connection: Connection, job_id: int) -> ImportJob | None:
    """End the job: what went in stays, its parts go. None when it has ended already."""
    job = await fetch_one(connection, ImportJob, CANCEL, job_id)
    if job is not None:
        await connection.execute(DROP_PARTS, job_id)
    return job


async def list_rejections(
    connection: Connection, job_id: int, *, after: tuple[int, int] = (0, 0), most: int = REJECTIONS_AT_ONCE
) -> list[StoredRejection]:
    """What was refused, by line, beyond the line and place of the last one that was read."""
    rows = await connection.fetch(REJECTIONS, job_id, *after, most)
    return [
        StoredRejection(Rejection(row["line"], row["column"], row["reason"], tuple(row["cells"])), row["place"])
        for row in rows
    ]


async def claim_import(pool: Pool, runner: str) -> ImportJob | None:
    """The next job that no process has; it is this one's from now on."""
    return await fetch_one(pool, ImportJob, CLAIM, runner, HELD_FOR)


async def others_wait(pool: Pool, tenant_id: int) -> bool:
    """Whether another tenant has a job that no process has."""
    return await pool.fetchval(OTHERS_WAIT, tenant_id)


async def give_way(pool: Pool, job_id: int, runner: str) -> None:
    """The job goes on behind its last batch when its tenant's turn comes again."""
    await pool.execute(GIVE_WAY, job_id, runner)


async def read_file(pool: Pool, keys: KeyWrap, job_id: int) -> bytes:
    """The parts put together; raises WrongKek when one does not open."""
    parts = [
        keys.unwrap_octets(row["content_wrapped"], part_owner(job_id, row["number"]))
        for row in await pool.fetch(PARTS, job_id)
    ]
    return b"".join(parts)


async def set_counted(pool: Pool, job_id: int, runner: str, lines: int, header: Sequence[str]) -> None:
    """How many lines there are to read, and their columns."""
    await pool.execute(COUNTED, job_id, runner, lines, list(header))


async def enter_import(connection: Connection, job_id: int, runner: str) -> bool:
    """Enter the job's tenant, for this transaction; False when it is not this process's any more."""
    return await connection.fetchval(ENTER, job_id, runner) is not None


async def read_room(connection: Connection, quota: str) -> int:
    """How many more objects of this kind the tenant that was entered may have."""
    return await connection.fetchval(ROOM, quota)


async def record_progress(
    connection: Connection, job_id: int, reached: int, created: int, updated: int, unchanged: int, rejected: int
) -> None:
    """How far the job is, with this transaction."""
    await connection.execute(PROGRESS, job_id, reached, created, updated, unchanged, rejected, HELD_FOR)


async def record_rejections(connection: Connection, job: ImportJob, rejections: Sequence[Rejection]) -> None:
    """What did not go in, for its owner to mend."""
    if rejections:
        cells = ["\x1f".join(cell.replace("\x1f", " ") for cell in one.cells) for one in rejections]
        await connection.execute(REJECT, job.id, job.tenant_id, *arrays(rejections, "line, column, reason"), cells)


async def end_import(pool: Pool, job: ImportJob, runner: str, state: str, reason: str | None = None) -> None:
    """The job has ended, with its line in the audit; its parts go, unless it may be confirmed.

    Of trials, those of the last ones stay. What another process runs by now, or somebody has cancelled, is left as
    it is.
    """
    async with pool.acquire() as connection, connection.transaction():
        if await connection.execute(END, job.id, runner, state, reason) == "INSERT 0 0":
            return
        if not job.dry_run or state != "done":
            await connection.execute(DROP_PARTS, job.id)
        else:
            await connection.execute(DROP_OLDER_TRIALS, job.tenant_id, TRIALS_KEPT)


async def read_known(
    connection: Connection, tenant_id: int, asset_kind: str, references: Sequence[str]
) -> dict[str, KnownAsset]:
    """The assets of these references, locked."""
    rows = await connection.fetch(KNOWN, tenant_id, asset_kind, references)
    return {row["external_reference"]: entity(KnownAsset, row) for row in rows}


async def read_unreferenced(
    connection: Connection, tenant_id: int, asset_kind: str, names: Sequence[str]
) -> dict[str, KnownAsset]:
    """The assets of these names that have no reference yet, locked."""
    rows = await connection.fetch(UNREFERENCED, tenant_id, asset_kind, names)
    return {row["name"]: entity(KnownAsset, row) for row in rows}


async def read_parents(
    connection: Connection, tenant_id: int, named: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Parent]:
    """The assets of these kinds and references, on which others hang."""
    if not named:
        return {}
    rows = await connection.fetch(PARENTS, tenant_id, [kind for kind, _ in named], [name for _, name in named])
    return {
        (row["kind"], row["external_reference"]): Parent(row["id"], row["commune"], row["insee"]) for row in rows
    }


async def read_holders(
    connection: Connection, tenant_id: int, asset_kind: str, names: Sequence[str]
) -> dict[str, int]:
    """The assets that have these names."""
    return {row["name"]: row["id"] for row in await connection.fetch(HOLDERS, tenant_id, asset_kind, names)}


async def read_communes(connection: Connection | Pool, tenant_id: int) -> Communes:
    """The communes of which the tenant has outlines."""
    return Communes.of({row["insee"]: row["name"] for row in await connection.fetch(COMMUNES, tenant_id)})


async def write_assets(
    connection: Connection,
    tenant_id: int,
    asset_kind: str,
    created: Sequence[PlannedAsset],
    updated: Sequence[PlannedAsset],
) -> None:
    """Write what is new and what is another than it was."""
    if created:
        values = arrays(created, OF_ASSETS)
        tags, parents = [" ".join(one.tags) for one in created], [one.parent_id for one in created]
        await connection.execute(CREATE, tenant_id, asset_kind, *values, tags, parents)
    if updated:
        values = arrays(updated, f"id, {OF_ASSETS}")
        await connection.execute(UPDATE, tenant_id, *values, [" ".join(one.tags) for one in updated])
        await connection.execute(MOVE, tenant_id, *arrays(updated, "id, parent_id"))


async def read_profiles(
    connection: Connection, tenant_id: int, names: Sequence[str], ids: Sequence[int]
) -> tuple[dict[str, int], set[int]]:
    """The device profiles that the tenant may use: numbers by name, its own first, and all of their numbers."""
    rows = await connection.fetch(PROFILES, tenant_id, names, ids)
    return {row["name"]: row["id"] for row in rows}, {row["id"] for row in rows}


async def read_sources(connection: Connection, tenant_id: int, ids: Sequence[int]) -> set[int]:
    """Those of these sources that are the tenant's."""
    return {row["id"] for row in await connection.fetch(SOURCES, tenant_id, ids)}
