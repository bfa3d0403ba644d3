"""SQL of device profiles for the API; row security bounds every statement."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core.model.entities import DeviceProfile
from core.runtime.postgres import Connection
from registry.rows import entity

COLUMNS = """id, tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version, region,
expected_interval, capabilities, codec_version_id, shadow_version_id, mapping, firmware_from, firmware_until,
commands, regional_revision, supports_join, max_eirp"""
CREATE = f"""
INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version,
                            expected_interval, capabilities, codec_version_id, shadow_version_id, mapping,
                            firmware_from, firmware_until, commands, regional_revision, supports_join, max_eirp)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM device_profile WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM device_profile WHERE id > $1 ORDER BY id LIMIT $2"
UPDATE = f"""
UPDATE device_profile SET
    name = coalesce($2, name), vendor = coalesce($3, vendor), model = coalesce($4, model),
    codec_options = coalesce($5, codec_options), device_class = coalesce($6, device_class),
    mac_version = coalesce($7, mac_version), expected_interval = coalesce($8, expected_interval),
    capabilities = coalesce($9, capabilities), firmware_from = coalesce($10, firmware_from),
    firmware_until = coalesce($11, firmware_until), commands = coalesce($12, commands),
    regional_revision = coalesce($13, regional_revision), supports_join = coalesce($14, supports_join),
    max_eirp = coalesce($15, max_eirp)
WHERE id = $1
RETURNING {COLUMNS}
"""
POINT = f"""
UPDATE device_profile SET codec = $2, codec_version_id = $3, shadow_version_id = $4, mapping = $5
WHERE id = $1
RETURNING {COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a profile's frames are read: a native codec by name, or a version of the codec of that name.

    `mapping` says what a vendor's own names mean; a native codec needs none.
    """

    codec: str
    codec_version_id: int | None = None
    shadow_version_id: int | None = None
    mapping: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, profile: DeviceProfile) -> "Decoding":
        """How this profile's frames are read now."""
        return cls(profile.codec, profile.codec_version_id, profile.shadow_version_id, profile.mapping)


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What to change of a profile; None leaves a field as it is. How frames are read, `point_profile` changes."""

    name: str | None = None
    vendor: str | None = None
    model: str | None = None
    codec_options: dict[str, Any] | None = None
    device_class: str | None = None
    mac_version: str | None = None
    expected_interval: timedelta | None = None
    capabilities: list[str] | None = None
    firmware_from: str | None = None
    firmware_until: str | None = None
    commands: list[dict[str, Any]] | None = None
    regional_revision: str | None = None
    supports_join: bool | None = None
    max_eirp: int | None = None


async def create_profile(
    connection: Connection,
    tenant_id: int | None,
    *,
    name: str,
    vendor: str,
    model: str,
    decoding: Decoding,
    codec_options: dict[str, Any],
    device_class: str,
    mac_version: str,
    expected_interval: timedelta,
    capabilities: list[str],
    firmware_from: str = "",
    firmware_until: str = "",
    commands: list[dict[str, Any]] | None = None,
    regional_revision: str = "",
    supports_join: bool = True,
    max_eirp: int | None = None,
) -> DeviceProfile:
    """A new profile of this tenant, or with None one that is offered to every tenant.

    Raises UniqueViolationError when the name is taken, ForeignKeyViolationError for another tenant's version.
    """
    row = await connection.fetchrow(
        CREATE,
        tenant_id,
        name,
        vendor,
        model,
        decoding.codec,
        codec_options,
        device_class,
        mac_version,
        expected_interval,
        capabilities,
        decoding.codec_version_id,
        decoding.shadow_version_id,
        list(decoding.mapping),
        firmware_from,
        firmware_until,
        commands or [],
        regional_revision,
        supports_join,
        max_eirp,
    )
    assert row is not None  # noqa: S101 - RETURNING of an INSERT.
    return entity(DeviceProfile, row)


async def read_profile(connection: Connection, profile_id: int) -> DeviceProfile | None:
    """One profile, the tenant's own or one that is offered to every tenant."""
    row = await connection.fetchrow(READ, profile_id)
    return None if row is None else entity(DeviceProfile, row)


async def list_profiles(connection: Connection, *, after: int = 0, most: int = 100) -> list[DeviceProfile]:
    """Visible profiles by id, beyond `after`."""
    return [entity(DeviceProfile, row) for row in await connection.fetch(LIST, after, most)]


async def update_profile(connection: Connection, profile_id: int, change: ProfileChange) -> DeviceProfile | None:
    """The profile after the change; None when it is not the tenant's own."""
    row = await connection.fetchrow(
        UPDATE,
        profile_id,
        change.name,
        change.vendor,
        change.model,
        change.codec_options,
        change.device_class,
        change.mac_version,
        change.expected_interval,
        change.capabilities,
        change.firmware_from,
        change.firmware_until,
        change.commands,
        change.regional_revision,
        change.supports_join,
        change.max_eirp,
    )
    return None if row is None else entity(DeviceProfile, row)


async def point_profile(connection: Connection, profile_id: int, decoding: Decoding) -> DeviceProfile | None:
    """The profile once its frames are read so, live within 5 s; None when it is not the tenant's own.

    Raises ForeignKeyViolationError for another tenant's version.
    """
    row = await connection.fetchrow(
        POINT,
        profile_id,
        decoding.codec,
        decoding.codec_version_id,
        decoding.shadow_version_id,
        list(decoding.mapping),
    )
    return None if row is None else entity(DeviceProfile, row)
