"""How shadow codec versions compare with live ones: counts, and the last few frames that differ."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from core.runtime.postgres import Connection, Pool
from registry.rows import arrays, fetch_all, fetch_one

# Of each tenant, profile and shadow version.
KEPT = 200
COUNT = """
INSERT INTO codec_shadow AS known (tenant_id, device_profile_id, shadow_version_id, compared, different,
                                   live_failed, shadow_failed, dropped)
SELECT * FROM unnest($1::int[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[])
ON CONFLICT (tenant_id, device_profile_id, shadow_version_id) DO UPDATE
SET compared = known.compared + excluded.compared, different = known.different + excluded.different,
    live_failed = known.live_failed + excluded.live_failed,
    shadow_failed = known.shadow_failed + excluded.shadow_failed,
    dropped = known.dropped + excluded.dropped, last_at = now()
"""
KEEP = """
INSERT INTO codec_difference (tenant_id, device_profile_id, shadow_version_id, device_id, uplink_id, time, f_port,
                              payload, live, shadow)
SELECT * FROM unnest($1::int[], $2::int[], $3::int[], $4::int[], $5::uuid[], $6::timestamptz[], $7::smallint[],
                     $8::bytea[], $9::jsonb[], $10::jsonb[])
ON CONFLICT (shadow_version_id, device_id, uplink_id) DO NOTHING
"""
FORGET_OLD = """
DELETE FROM codec_difference d USING (
    SELECT tenant_id, device_profile_id, shadow_version_id,
           (SELECT id FROM codec_difference o
            WHERE (o.tenant_id, o.device_profile_id, o.shadow_version_id)
                = (k.tenant_id, k.device_profile_id, k.shadow_version_id)
            ORDER BY id DESC OFFSET $4 LIMIT 1) AS last_id
    FROM unnest($1::int[], $2::int[], $3::int[]) AS k (tenant_id, device_profile_id, shadow_version_id)
) AS bound
WHERE (d.tenant_id, d.device_profile_id, d.shadow_version_id)
    = (bound.tenant_id, bound.device_profile_id, bound.shadow_version_id) AND d.id <= bound.last_id
"""
READ = """
SELECT shadow_version_id, compared, different, live_failed, shadow_failed, dropped, first_at, last_at
FROM codec_shadow WHERE tenant_id = $1 AND device_profile_id = $2 AND shadow_version_id = $3
"""
LIST = """
SELECT d.id, v.dev_eui, d.uplink_id, d.time, d.f_port, d.payload, d.live, d.shadow
FROM codec_difference d JOIN device v ON v.id = d.device_id
WHERE d.tenant_id = $1 AND d.device_profile_id = $2 AND d.shadow_version_id = $3
  AND ($4::bigint IS NULL OR d.id < $4)
ORDER BY d.id DESC LIMIT $5
"""
FORGET_COUNTS = "DELETE FROM codec_shadow WHERE tenant_id = $1 AND device_profile_id = $2"
FORGET_DIFFERENCES = "DELETE FROM codec_difference WHERE tenant_id = $1 AND device_profile_id = $2"
KEPT_OF_COMPARED = (
    "key.tenant_id, key.device_profile_id, key.shadow_version_id, device_id, uplink_id, time, f_port, payload, "
    "live, shadow"
)


class ShadowKey(NamedTuple):
    """Tenant, profile and shadow version."""

    tenant_id: int
    device_profile_id: int
    shadow_version_id: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One frame as the live codec and the shadow have read it: JSON with `reason`, `values` and `warnings`."""

    key: ShadowKey
    device_id: int
    uplink_id: UUID
    time: datetime
    f_port: int
    payload: bytes
    live: dict[str, Any]
    shadow: dict[str, Any]

    @property
    def differs(self) -> bool:
        """Whether live codec and shadow differ in reason, values or warnings."""
        return self.live != self.shadow


@dataclass(frozen=True, slots=True)
class ShadowCount:
    """How many frames were compared since the shadow was set, with which results."""

    shadow_version_id: int
    compared: int
    different: int
    live_failed: int
    shadow_failed: int
    dropped: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """A frame that live codec and shadow decode differently."""

    id: int
    dev_eui: bytes
    uplink_id: UUID
    time: datetime
    f_port: int
    payload: bytes
    live: dict[str, Any]
    shadow: dict[str, Any]


async def store_compared(
    connection: Connection, compared: Sequence[Compared], dropped: Counter[ShadowKey]
) -> None:
    """Count these frames, and keep the last that differ."""
    keys = sorted({one.key for one in compared} | dropped.keys())
    of_key = {key: [one for one in compared if one.key == key] for key in keys}
    tenants, profiles, versions = ([key[place] for key in keys] for place in range(3))
    await connection.execute(
        COUNT,
        tenants,
        profiles,
        versions,
        [len(of_key[key]) for key in keys],
        [sum(one.differs for one in of_key[key]) for key in keys],
        [sum(one.live["reason"] is not None for one in of_key[key]) for key in keys],
        [sum(one.shadow["reason"] is not None for one in of_key[key]) for key in keys],
        [dropped[key] for key in keys],
    )
    different = [one for one in compared if one.differs]
    if different:
        await connection.execute(KEEP, *arrays(different, KEPT_OF_COMPARED))
        await connection.execute(FORGET_OLD, tenants, profiles, versions, KEPT)


async def read_shadow(connection: Connection | Pool, key: ShadowKey) -> ShadowCount | None:
    """The counts of a shadow; None: no frame was compared yet."""
    return await fetch_one(connection, ShadowCount, READ, *key)


async def list_differences(
    connection: Connection | Pool, key: ShadowKey, *, before: int | None = None, most: int = 100
) -> list[Difference]:
    """The frames that differ, newest first, below the id `before`."""
    return await fetch_all(connection, Difference, LIST, *key, before, most)


async def forget_shadow(connection: Connection, tenant_id: int, device_profile_id: int) -> None:
    """Delete counts and differences of this profile: it has another shadow, or another live codec."""
    await connection.execute(FORGET_COUNTS, tenant_id, device_profile_id)
    await connection.execute(FORGET_DIFFERENCES, tenant_id, device_profile_id)
