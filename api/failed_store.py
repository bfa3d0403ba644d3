"""SQL of frames that no codec could read, by device and reason, through the views of row security."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from registry.rows import fetch_all

# Of a detail its octets and numbers are left out, so that frames that fail alike are counted together.
FAILED = r"""
SELECT v.dev_eui, v.name AS device_name, u.codec, u.codec_version, count(*) AS frames, min(u.time) AS first_at,
       max(u.time) AS last_at, (array_agg(u.reason ORDER BY u.time DESC))[1] AS reason,
       (array_agg(u.detail ORDER BY u.time DESC))[1] AS detail,
       (array_agg(u.f_port ORDER BY u.time DESC))[1] AS f_port,
       (array_agg(u.payload ORDER BY u.time DESC))[1] AS payload
FROM uplink u JOIN device v ON v.id = u.device_id
WHERE u.status = 'undecodable' AND u.time >= $1 AND u.time < $2 AND ($3::bytea IS NULL OR v.dev_eui = $3)
  AND ($4::int IS NULL OR v.device_profile_id = $4)
GROUP BY v.dev_eui, v.name, u.codec, u.codec_version,
         u.reason, regexp_replace(u.detail, '\m[0-9a-f]*[0-9][0-9a-f]*\M', '', 'g')
ORDER BY max(u.time) DESC, v.dev_eui LIMIT $5
"""


@dataclass(frozen=True, slots=True)
class FailedFrames:
    """Frames of one device that failed alike; `reason`, `f_port` and `payload` are those of the last one."""

    dev_eui: bytes
    device_name: str
    codec: str | None
    codec_version: int | None
    frames: int
    first_at: datetime
    last_at: datetime
    reason: str | None
    detail: str | None
    f_port: int | None
    payload: bytes


async def list_failed(
    connection: Connection,
    since: datetime,
    until: datetime,
    *,
    dev_eui: bytes | None = None,
    device_profile_id: int | None = None,
    most: int = 100,
) -> list[FailedFrames]:
    """Whatever failed in a period, the last first."""
    return await fetch_all(connection, FailedFrames, FAILED, since, until, dev_eui, device_profile_id, most)
