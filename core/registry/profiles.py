"""Device profiles, written and listed for whoever manages them; row security bounds every statement."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core.model.entities import DeviceProfile
from core.registry.rows import entity
from core.runtime.postgres import Connection

COLUMNS = """id, tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version, region,
expected_interval, capabilities"""
CREATE = f"""
INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version,
                            expected_interval, capabilities)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM device_profile WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM device_profile WHERE id > $1 ORDER BY id LIMIT $2"
UPDATE = f"""
UPDATE device_profile SET
    name = coalesce($2, name), vendor = coalesce($3, vendor), model = coalesce($4, model),
    codec = coalesce($5, codec), codec_options = coalesce($6, codec_options),
    device_class = coalesce($7, device_class), mac_version = coalesce($8, mac_version),
    expected_interval = coalesce($9, expected_interval), capabilities = coalesce($10, capabilities)
WHERE id = $1
RETURNING {COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What to change of a profile; None leaves a field as it is."""

    name: str | None = None
    vendor: str | None = None
    model: str | None = None
    codec: str | None = None
    codec_options: dict[str, Any] | None = None
    device_class: str | None = None
    mac_version: str | None = None
    expected_interval: timedelta | None = None
    capabilities: list[str] | None = None


async def create_profile(
    connection: Connection,
    tenant_id: int,
    *,
    name: str,
    vendor: str,
    model: str,
    codec: str,
    codec_options: dict[str, Any],
    device_class: str,
    mac_version: str,
    expected_interval: timedelta,
    capabilities: list[str],
) -> DeviceProfile:
    """A new profile of this tenant; raises UniqueViolationError when the name is taken."""
    row = await connection.fetchrow(
        CREATE,
        tenant_id,
        name,
        vendor,
        model,
        codec,
        codec_options,
        device_class,
        mac_version,
        expected_interval,
        capabilities,
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
        change.codec,
        change.codec_options,
        change.device_class,
        change.mac_version,
        change.expected_interval,
        change.capabilities,
    )
    return None if row is None else entity(DeviceProfile, row)
