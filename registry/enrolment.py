"""SQL of devices for the API; keys come in wrapped and never go out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from core.runtime.postgres import Connection
from lorawan.identifiers import DevAddr, slot_of_dev_addr, slot_of_dev_eui
from registry.keys import KeyWrap, device_owner, session_owner
from registry.rows import Written, fetch_one

COLUMNS = """d.id, d.tenant_id, d.dev_eui, d.join_eui, d.name, d.device_profile_id, d.activation,
d.skip_f_cnt_check, d.enabled, d.lns_source_id, d.created_at, s.asset_id, s.position, d.archived_at"""
SERVED = "LEFT JOIN assignment s ON s.device_id = d.id AND upper_inf(s.during)"
# A profile that is neither its own nor everybody's makes no row.
WRITTEN = Written("dev_eui, join_eui, name, skip_f_cnt_check, lns_source_id")
CREATE = f"""
INSERT INTO device (tenant_id, device_profile_id, slot, activation, app_key_wrapped, kek_id, app_key_fingerprint,
                    {WRITTEN.columns})
SELECT $1, p.id, $3, $4, $5, $6, $7, {WRITTEN.parameters(8)} FROM device_profile p
WHERE p.id = $2 AND (p.tenant_id IS NULL OR p.tenant_id = $1)
RETURNING id
"""
IMPORT_SESSION = "SELECT import_session($1, $2, $3, $4, $5, $6)"
READ = f"SELECT {COLUMNS} FROM device d {SERVED} WHERE d.dev_eui = $1"
READ_DEV_ADDR = "SELECT dev_addr_of($1)"
ARCHIVE = """
UPDATE device SET archived_at = CASE WHEN $2::boolean THEN coalesce(archived_at, now()) END, enabled = NOT $2
WHERE dev_eui = $1 AND (archived_at IS NOT NULL) <> $2 RETURNING true
"""
CHANGED = Written("enabled, name, device_profile_id, skip_f_cnt_check, lns_source_id")
UPDATE = """
UPDATE device SET enabled = coalesce($2, enabled), name = coalesce($3, name),
    device_profile_id = CASE WHEN $4::int IS NULL THEN device_profile_id
                             ELSE (SELECT p.id FROM device_profile p WHERE p.id = $4
                                   AND (p.tenant_id IS NULL OR p.tenant_id = device.tenant_id)) END,
    skip_f_cnt_check = coalesce($5, skip_f_cnt_check),
    lns_source_id = CASE WHEN $6::int IS NULL THEN lns_source_id ELSE nullif($6, 0) END
WHERE dev_eui = $1
RETURNING true
"""
HAS_HISTORY = """
SELECT EXISTS (SELECT FROM uplink WHERE device_id = $1)
    OR EXISTS (SELECT FROM datastream WHERE device_id = $1)
    OR EXISTS (SELECT FROM downlink WHERE device_id = $1)
"""
DELETE_ASSIGNMENTS = "DELETE FROM assignment WHERE device_id = $1"
DELETE = "DELETE FROM device WHERE id = $1"


@dataclass(frozen=True, slots=True)
class EnrolledDevice:
    """A device as its manager sees it, with the asset that it serves now."""

    id: int
    tenant_id: int
    dev_eui: bytes
    join_eui: bytes
    name: str
    device_profile_id: int
    activation: str
    skip_f_cnt_check: bool
    enabled: bool
    lns_source_id: int | None
    created_at: datetime
    asset_id: int | None
    position: str | None
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class OtaaKeys:
    """The root key of a device that joins, sealed under `kek_id` for its DevEUI."""

    app_key_wrapped: bytes
    kek_id: str
    fingerprint: bytes

    @classmethod
    def seal(cls, keys: KeyWrap, dev_eui: bytes, app_key: bytes) -> Self:
        """The key as the database may hold it."""
        owner = device_owner(dev_eui, "app_key")
        return cls(keys.wrap(app_key, owner), keys.kek_id, keys.fingerprint(owner, app_key))


@dataclass(frozen=True, slots=True)
class AbpSession:
    """The session that a device was given in the factory, its keys sealed under `kek_id` for both addresses."""

    dev_addr: DevAddr
    nwk_s_key_wrapped: bytes
    app_s_key_wrapped: bytes
    kek_id: str
    fingerprint: bytes

    @classmethod
    def seal(cls, keys: KeyWrap, dev_eui: bytes, dev_addr: DevAddr, nwk_s_key: bytes, app_s_key: bytes) -> Self:
        """The session as the database may hold it."""
        return cls(
            dev_addr,
            keys.wrap(nwk_s_key, session_owner(dev_eui, dev_addr, "nwk_s_key")),
            keys.wrap(app_s_key, session_owner(dev_eui, dev_addr, "app_s_key")),
            keys.kek_id,
            keys.fingerprint(session_owner(dev_eui, dev_addr, "keys"), nwk_s_key, app_s_key),
        )


class UnknownProfile(LookupError):
    """There is no such device profile for this tenant."""


class DeviceHasHistory(Exception):
    """The device has uplinks or downlinks: without it they would have no device."""


async def create_device(
    connection: Connection,
    tenant_id: int,
    device_profile_id: int,
    keys: OtaaKeys | AbpSession | None,
    device: Mapping[str, Any],
) -> int:
    """A new device's id.

    An ABP device is owned by its DevAddr's slot until it joins (docs/architecture.md, "Slots, shards, owners").

    Without `keys` another network activates it. Of the columns in `WRITTEN`, `lns_source_id` is a source of this
    tenant, by way of which the device gets its downlinks; None: our own network.

    Raises:
        UniqueViolationError: the DevEUI is registered, in this tenant or in another.
        UnknownProfile: no such profile is visible.
    """
    is_abp = isinstance(keys, AbpSession)
    device_id = await connection.fetchval(
        CREATE,
        tenant_id,
        device_profile_id,
        slot_of_dev_addr(keys.dev_addr) if is_abp else slot_of_dev_eui(device["dev_eui"]),
        "EXTERNAL" if keys is None else "ABP" if is_abp else "OTAA",
        keys.app_key_wrapped if isinstance(keys, OtaaKeys) else None,
        None if keys is None else keys.kek_id,
        keys.fingerprint if isinstance(keys, OtaaKeys) else None,
        *WRITTEN.values(device),
    )
    if device_id is None:
        raise UnknownProfile(f"device profile {device_profile_id}")
    if is_abp:
        session_id = await connection.fetchval(
            IMPORT_SESSION, device_id, keys.dev_addr, keys.nwk_s_key_wrapped, keys.app_s_key_wrapped, keys.kek_id,
            keys.fingerprint,
        )  # fmt: skip
        assert session_id is not None  # noqa: S101 - The device was made in this very transaction.
    return device_id


async def read_enrolled(connection: Connection, dev_eui: bytes) -> EnrolledDevice | None:
    """One device, with the asset that it serves now."""
    return await fetch_one(connection, EnrolledDevice, READ, dev_eui)


async def read_dev_addr(connection: Connection, device_id: int) -> bytes | None:
    """The short address under which a device speaks now; None when it has no open session."""
    return await connection.fetchval(READ_DEV_ADDR, device_id)


async def archive_device(connection: Connection, dev_eui: bytes, *, archived: bool) -> None:
    """Disabled and out of lists from now on, or enabled and in them again."""
    await connection.execute(ARCHIVE, dev_eui, archived)


async def update_device(connection: Connection, dev_eui: bytes, change: Mapping[str, Any]) -> bool:
    """Change columns in `CHANGED`, live on every replica within 5 s; False when there is no such device.

    None leaves a column as it is; `lns_source_id` 0 is our own network.
    Raises NotNullViolationError (BAD_DATA) for a profile that is not visible: check it before.
    """
    return await connection.fetchval(UPDATE, dev_eui, *CHANGED.values(change, partial=True)) is True


async def delete_device(connection: Connection, device_id: int) -> None:
    """Remove a device that was registered by mistake.

    Raises:
        DeviceHasHistory: it has uplinks or downlinks; disable it instead.
    """
    if await connection.fetchval(HAS_HISTORY, device_id):
        raise DeviceHasHistory(f"device {device_id}")
    await connection.execute(DELETE_ASSIGNMENTS, device_id)
    await connection.execute(DELETE, device_id)
