"""Jobs that decode stored frames again: requested, listed and cancelled here; `ingest.redecode` runs them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from registry.rows import Written, fetch_all, fetch_one, insert

COLUMNS = """id, tenant_id, device_id, (SELECT v.dev_eui FROM device v WHERE v.id = redecode.device_id) AS dev_eui,
device_profile_id, since, until, codec, codec_version_id, only_failed,
requested_by, created_at, state, reason, started_at, ended_at, reached_device_id, reached_at, frames, frames_done,
frames_decoded, frames_failed, values_removed, values_written"""
WRITTEN = Written("device_id, device_profile_id, since, until, codec, codec_version_id, only_failed")
REQUEST = f"""
INSERT INTO redecode (tenant_id, requested_by, {WRITTEN.columns})
VALUES ($1, $2, $3, $4, $5, least($6, now()), $7, $8, coalesce($9, false))
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

    @property
    def progress(self) -> float | None:
        """How far it is, from 0 to 1; None until its frames were counted."""
        if self.state == "done" or self.frames == 0:
            return 1.0
        return None if self.frames is None else min(1.0, self.frames_done / self.frames)


async def request_redecode(connection: Connection, tenant_id: int, *, requested_by: str, **job: Any) -> Redecode:
    """A new job of columns in `WRITTEN`, which waits for its turn; it leaves out uplinks that arrive later."""
    values = WRITTEN.values(job, partial=True)
    return await insert(connection, Redecode, REQUEST, tenant_id, requested_by, *values)


async def read_redecode(connection: Connection | Pool, redecode_id: int) -> Redecode | None:
    """One job."""
    return await fetch_one(connection, Redecode, READ, redecode_id)


async def list_redecodes(connection: Connection, *, before: int | None = None, most: int = 100) -> list[Redecode]:
    """The tenant's jobs, newest first, below the id `before`."""
    return await fetch_all(connection, Redecode, LIST, before, most)


async def cancel_redecode(connection: Connection, redecode_id: int) -> Redecode | None:
    """Cancel the job: what is decoded stays so, the rest is left. None when it has ended already."""
    return await fetch_one(connection, Redecode, CANCEL, redecode_id)
