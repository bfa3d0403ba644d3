"""Jobs that decode stored frames again: requested, listed and cancelled here; `ingest.redecode` runs them."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection, Pool
from registry.rows import entity

COLUMNS = """id, tenant_id, device_id, (SELECT v.dev_eui FROM device v WHERE v.id = redecode.device_id) AS dev_eui,
device_profile_id, since, until, codec, codec_version_id, only_failed,
requested_by, created_at, state, reason, started_at, ended_at, reached_device_id, reached_at, frames, frames_done,
frames_decoded, frames_failed, values_removed, values_written"""
REQUEST = f"""
INSERT INTO redecode (tenant_id, device_id, device_profile_id, since, until, codec, codec_version_id, only_failed,
                      requested_by)
VALUES ($1, $2, $3, $4, least($5, now()), $6, $7, $8, $9)
RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM redecode WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM redecode WHERE $1::int IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"
CANCEL = f"""
UPDATE redecode SET state = 'cancelled', ended_at = now() WHERE id = $1 AND state IN ('waiting', 'running')
RETURNING {COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class Redecode:
    """A job and how far it is.

    It covers one device, the devices of one profile, or all of the tenant's. `codec` names a native codec,
    `codec_version_id` a published version; without either each profile's own is used. `frames` is counted when it
    starts.
    """

    id: int
    tenant_id: int
    device_id: int | None
    dev_eui: bytes | None
    device_profile_id: int | None
    since: datetime
    until: datetime
    codec: str | None
    codec_version_id: int | None
    only_failed: bool
    requested_by: str
    created_at: datetime
    state: str  # waiting, running, done, failed, cancelled
    reason: str | None
    started_at: datetime | None
    ended_at: datetime | None
    reached_device_id: int
    reached_at: datetime
    frames: int | None
    frames_done: int
    frames_decoded: int
    frames_failed: int
    values_removed: int
    values_written: int


async def request_redecode(
    connection: Connection,
    tenant_id: int,
    *,
    device_id: int | None = None,
    device_profile_id: int | None = None,
    since: datetime,
    until: datetime,
    codec: str | None = None,
    codec_version_id: int | None = None,
    only_failed: bool = False,
    requested_by: str,
) -> Redecode:
    """A job that waits for its turn; what comes in from now on is none of its business."""
    row = await connection.fetchrow(
        REQUEST,
        tenant_id,
        device_id,
        device_profile_id,
        since,
        until,
        codec,
        codec_version_id,
        only_failed,
        requested_by,
    )
    assert row is not None  # noqa: S101 - RETURNING of an INSERT.
    return entity(Redecode, row)


async def read_redecode(connection: Connection | Pool, redecode_id: int) -> Redecode | None:
    """One job."""
    row = await connection.fetchrow(READ, redecode_id)
    return None if row is None else entity(Redecode, row)


async def list_redecodes(connection: Connection, *, before: int | None = None, most: int = 100) -> list[Redecode]:
    """The tenant's jobs, newest first, below the id `before`."""
    return [entity(Redecode, row) for row in await connection.fetch(LIST, before, most)]


async def cancel_redecode(connection: Connection, redecode_id: int) -> Redecode | None:
    """What is done stays done, the rest is left; None when it has ended already."""
    row = await connection.fetchrow(CANCEL, redecode_id)
    return None if row is None else entity(Redecode, row)
