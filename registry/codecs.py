"""Codecs that are data: immutable versions, their suspension, and the profiles that point to them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from core.model.entities import DeviceProfile
from core.runtime.postgres import Connection, Pool
from registry.profiles import Decoding
from registry.rows import entity, fetch_all, fetch_one, insert

CREATE = """
INSERT INTO codec (tenant_id, name, vendor, model) VALUES ($1, $2, $3, $4)
RETURNING id, tenant_id, name, vendor, model, created_at, 0 AS versions, NULL::int AS last_version_id
"""
ENTRIES = """
SELECT c.id, c.tenant_id, c.name, c.vendor, c.model, c.created_at, coalesce(v.versions, 0)::int AS versions,
       v.last_version_id
FROM codec c LEFT JOIN LATERAL (
    SELECT max(version) AS versions, (array_agg(id ORDER BY version DESC))[1] AS last_version_id
    FROM codec_version WHERE codec_id = c.id
) AS v ON true
"""
READ = f"{ENTRIES} WHERE c.id = $1"
LIST = f"""
{ENTRIES}
WHERE c.id > $1 AND ($2::text IS NULL OR strpos(folded(concat_ws(' ', c.name, c.vendor, c.model)), folded($2)) > 0)
ORDER BY c.id LIMIT $3
"""
# Versions of one codec are numbered one after another.
LOCK = "SELECT id FROM codec WHERE id = $1 FOR UPDATE"
SAME = """
SELECT id FROM codec_version
WHERE codec_id = $1 AND sha256 = $2 AND language = $3 AND form IS NOT DISTINCT FROM $4
ORDER BY version DESC LIMIT 1
"""
PUBLISH = """
INSERT INTO codec_version (codec_id, version, language, source, sha256, form, examples, author, note)
SELECT $1, coalesce((SELECT max(version) FROM codec_version WHERE codec_id = $1), 0) + 1,
       $2, $3, $4, $5, $6, $7, $8
RETURNING id
"""
COLUMNS = """v.id, v.tenant_id, v.codec_id, c.name, v.version, v.language, v.source, v.sha256, v.form, v.examples,
v.author, v.note, v.created_at, v.quarantined_at, v.quarantine_reason,
v.quarantine_detail, v.released_at, v.released_by"""
READ_VERSION = f"SELECT {COLUMNS} FROM codec_version v JOIN codec c ON c.id = v.codec_id WHERE v.id = $1"
READ_VERSIONS = (
    f"SELECT {COLUMNS} FROM codec_version v JOIN codec c ON c.id = v.codec_id WHERE v.id = ANY($1::int[])"
)
LIST_VERSIONS = f"""
SELECT {COLUMNS} FROM codec_version v JOIN codec c ON c.id = v.codec_id
WHERE v.codec_id = $1 AND ($2::int IS NULL OR v.version < $2) ORDER BY v.version DESC LIMIT $3
"""
QUARANTINE = """
UPDATE codec_version SET quarantined_at = now(), quarantine_reason = $2, quarantine_detail = NULL,
    released_at = NULL, released_by = NULL
WHERE id = $1 AND quarantined_at IS NULL RETURNING true
"""
RELEASE = """
UPDATE codec_version SET quarantined_at = NULL, quarantine_reason = NULL, quarantine_detail = NULL,
    released_at = now(), released_by = $2
WHERE id = $1 AND quarantined_at IS NOT NULL RETURNING true
"""
OVERRIDE_COLUMNS = "tenant_id, device_profile_id, codec_version_id, shadow_version_id, mapping, updated_at"
READ_OVERRIDES = f"SELECT {OVERRIDE_COLUMNS} FROM device_profile_override"
READ_OVERRIDE = f"{READ_OVERRIDES} WHERE tenant_id = $1 AND device_profile_id = $2"
SET_OVERRIDE = f"""
INSERT INTO device_profile_override (tenant_id, device_profile_id, codec_version_id, shadow_version_id, mapping)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, device_profile_id) DO UPDATE
SET codec_version_id = excluded.codec_version_id, shadow_version_id = excluded.shadow_version_id,
    mapping = excluded.mapping, updated_at = now()
RETURNING {OVERRIDE_COLUMNS}
"""
DELETE_OVERRIDE = """
DELETE FROM device_profile_override WHERE tenant_id = $1 AND device_profile_id = $2 RETURNING true
"""


@dataclass(frozen=True, slots=True)
class CodecEntry:
    """A codec by name, with how many versions it has. `tenant_id` None: offered to every tenant."""

    id: int
    tenant_id: int | None
    name: str
    vendor: str
    model: str
    created_at: datetime
    versions: int
    last_version_id: int | None


@dataclass(frozen=True, slots=True)
class CodecVersion:
    """What a device profile points to; immutable but for its quarantine.

    `language` is javascript or declarative. `form` (decodeUplink, Decoder, Decode) is None when it is found by the
    resolution order. `sha256` is of the source in UTF-8. While `quarantined_at` is set, no process runs it.
    """

    id: int
    tenant_id: int | None
    codec_id: int
    name: str
    version: int
    language: str
    source: str
    sha256: bytes
    form: str | None
    examples: tuple[dict[str, Any], ...]
    author: str
    note: str
    created_at: datetime
    quarantined_at: datetime | None
    quarantine_reason: str | None
    quarantine_detail: str | None
    released_at: datetime | None
    released_by: str | None


@dataclass(frozen=True, slots=True)
class Override:
    """What a tenant's devices of a profile that is offered to all use instead of the profile's own.

    Without a version of its own, the profile's version and mapping hold, and the shadow is the tenant's.
    """

    tenant_id: int
    device_profile_id: int
    codec_version_id: int | None
    shadow_version_id: int | None
    mapping: tuple[dict[str, Any], ...]
    updated_at: datetime


async def create_codec(
    connection: Connection, tenant_id: int | None, *, name: str, vendor: str = "", model: str = ""
) -> CodecEntry:
    """A new codec without a version; raises UniqueViolationError when the tenant has one of this name."""
    return await insert(connection, CodecEntry, CREATE, tenant_id, name, vendor, model)


async def read_codec(connection: Connection | Pool, codec_id: int) -> CodecEntry | None:
    """One codec, the tenant's own or one that is offered to every tenant."""
    return await fetch_one(connection, CodecEntry, READ, codec_id)


async def list_codecs(
    connection: Connection, *, after: int = 0, search: str | None = None, most: int = 100
) -> list[CodecEntry]:
    """Visible codecs by id, beyond `after`; `search` looks into name, vendor and model."""
    return await fetch_all(connection, CodecEntry, LIST, after, search, most)


async def publish_version(
    connection: Connection,
    codec_id: int,
    *,
    language: str,
    source: str,
    form: str | None,
    author: str,
    examples: Sequence[dict[str, Any]] = (),
    note: str = "",
) -> tuple[int, bool]:
    """The id of the version with this source, and whether it is new: the same source again is the same version.

    Raises:
        LookupError: no such codec may be written by this tenant.
    """
    if await connection.fetchval(LOCK, codec_id) is None:
        raise LookupError(f"codec {codec_id}")
    digest = hashlib.sha256(source.encode()).digest()
    same = await connection.fetchval(SAME, codec_id, digest, language, form)
    if same is not None:
        return same, False
    made = await connection.fetchval(
        PUBLISH, codec_id, language, source, digest, form, list(examples), author, note
    )
    return made, True


async def read_version(connection: Connection | Pool, version_id: int) -> CodecVersion | None:
    """One version, with its source."""
    return await fetch_one(connection, CodecVersion, READ_VERSION, version_id)


async def read_versions(connection: Connection | Pool, version_ids: Sequence[int]) -> dict[int, CodecVersion]:
    """These versions by id."""
    rows = await connection.fetch(READ_VERSIONS, version_ids)
    return {row["id"]: entity(CodecVersion, row) for row in rows}


async def list_versions(
    connection: Connection, codec_id: int, *, before: int | None = None, most: int = 100
) -> list[CodecVersion]:
    """Versions of a codec, newest first, below the number `before`."""
    return await fetch_all(connection, CodecVersion, LIST_VERSIONS, codec_id, before, most)


async def quarantine_version(connection: Connection | Pool, version_id: int, reason: str) -> bool:
    """Suspend the version on every replica within 5 s; False when it is suspended already."""
    return await connection.fetchval(QUARANTINE, version_id, reason) is True


async def release_version(connection: Connection, version_id: int, released_by: str) -> bool:
    """End the suspension; False when it was not suspended, or is not this tenant's to release."""
    return await connection.fetchval(RELEASE, version_id, released_by) is True


def decoding_with(profile: DeviceProfile, override: Override | None) -> Decoding:
    """How frames of these devices are decoded: by the tenant's override, else by the profile."""
    if override is None:
        return Decoding.of(profile)
    if override.codec_version_id is None:
        return replace(Decoding.of(profile), shadow_version_id=override.shadow_version_id)
    return Decoding(profile.codec, override.codec_version_id, override.shadow_version_id, override.mapping)


async def read_overrides(connection: Connection | Pool) -> dict[tuple[int, int], Override]:
    """Every override by tenant and device profile: for the services."""
    rows = [entity(Override, row) for row in await connection.fetch(READ_OVERRIDES)]
    return {(row.tenant_id, row.device_profile_id): row for row in rows}


async def read_override(connection: Connection, tenant_id: int, device_profile_id: int) -> Override | None:
    """What this tenant uses instead of the profile's version and mapping; None: no override."""
    return await fetch_one(connection, Override, READ_OVERRIDE, tenant_id, device_profile_id)


async def set_override(
    connection: Connection,
    tenant_id: int,
    device_profile_id: int,
    *,
    codec_version_id: int | None,
    shadow_version_id: int | None,
    mapping: Sequence[dict[str, Any]],
) -> Override:
    """Set the version that the tenant's devices of this profile use; None: the profile's.

    Raises ForeignKeyViolationError for a version of another tenant.
    """
    return await insert(
        connection,
        Override,
        SET_OVERRIDE,
        tenant_id,
        device_profile_id,
        codec_version_id,
        shadow_version_id,
        list(mapping),
    )


async def delete_override(connection: Connection, tenant_id: int, device_profile_id: int) -> bool:
    """Remove the override: the profile's version holds again. False when there was none."""
    return await connection.fetchval(DELETE_OVERRIDE, tenant_id, device_profile_id) is True
