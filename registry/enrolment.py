"""SQL of devices for the API; keys come in wrapped and never go out."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from lorawan.identifiers import DevAddr, DevEui, JoinEui, slot_of_dev_addr, slot_of_dev_eui
from registry.rows import entity

COLUMNS = """d.id, d.tenant_id, d.dev_eui, d.join_eui, d.name, d.device_profile_id, d.activation,
d.skip_f_cnt_check, d.enabled, d.lns_source_id, d.created_at, s.asset_id, s.position"""
SERVED = "LEFT JOIN assignment s ON s.device_id = d.id AND upper_inf(s.during)"
# A profile that is neither its own nor everybody's makes no row.
CREATE = """
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation, app_key_wrapped,
                    kek_id, skip_f_cnt_check, lns_source_id)
SELECT $1, $2, $3, $4, p.id, $6, $7, $8, $9, $10, $11 FROM device_profile p
WHERE p.id = $5 AND (p.tenant_id IS NULL OR p.tenant_id = $1)
RETURNING id, created_at
"""
IMPORT_SESSION = "SELECT import_session($1, $2, $3, $4, $5)"
READ = f"SELECT {COLUMNS} FROM device d {SERVED} WHERE d.dev_eui = $1"
LIST = f"""
SELECT {COLUMNS} FROM device d {SERVED}
WHERE d.id > $1 AND ($2::int IS NULL OR d.device_profile_id = $2) AND ($3::boolean IS NULL OR d.enabled = $3)
  AND ($4::text IS NULL OR strpos(lower(d.name), lower($4)) > 0 OR strpos(encode(d.dev_eui, 'hex'), lower($4)) > 0)
ORDER BY d.id LIMIT $5
"""
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


@dataclass(frozen=True, slots=True)
class OtaaKeys:
    """The root key of a device that joins, wrapped under `kek_id`."""

    app_key_wrapped: bytes
    kek_id: str


@dataclass(frozen=True, slots=True)
class AbpSession:
    """The session that a device was given in the factory, its keys wrapped under `kek_id`."""

    dev_addr: DevAddr
    nwk_s_key_wrapped: bytes
    app_s_key_wrapped: bytes
    kek_id: str


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """What to change of a device; None leaves a field as it is."""

    enabled: bool | None = None
    name: str | None = None
    device_profile_id: int | None = None
    skip_f_cnt_check: bool | None = None
    lns_source_id: int | None = None  # 0: our own network.


class UnknownProfile(LookupError):
    """There is no such device profile for this tenant."""


class DeviceHasHistory(Exception):
    """The device was heard or spoken to: what it said would lose its author."""


async def create_device(
    connection: Connection,
    tenant_id: int,
    *,
    dev_eui: DevEui,
    join_eui: JoinEui,
    name: str,
    device_profile_id: int,
    keys: OtaaKeys | AbpSession | None,
    skip_f_cnt_check: bool,
    lns_source_id: int | None = None,
) -> tuple[int, datetime]:
    """A new device's id and instant.

    An ABP device is owned by its DevAddr's slot until it joins (docs/architecture.md, "Slots, shards, owners").

    Without `keys` another network activates it. `lns_source_id` is a source of this tenant, by way of which the
    device is told things; None: our own network.

    Raises:
        UniqueViolationError: the DevEUI is registered, in this tenant or in another.
        UnknownProfile: no such profile is visible.
    """
    is_abp = isinstance(keys, AbpSession)
    activation = "EXTERNAL" if keys is None else "ABP" if is_abp else "OTAA"
    row = await connection.fetchrow(
        CREATE,
        tenant_id,
        dev_eui,
        join_eui,
        name,
        device_profile_id,
        slot_of_dev_addr(keys.dev_addr) if is_abp else slot_of_dev_eui(dev_eui),
        activation,
        keys.app_key_wrapped if isinstance(keys, OtaaKeys) else None,
        None if keys is None else keys.kek_id,
        skip_f_cnt_check,
        lns_source_id,
    )
    if row is None:
        raise UnknownProfile(f"device profile {device_profile_id}")
    if is_abp:
        session_id = await connection.fetchval(
            IMPORT_SESSION, row["id"], keys.dev_addr, keys.nwk_s_key_wrapped, keys.app_s_key_wrapped, keys.kek_id
        )
        assert session_id is not None  # noqa: S101 - The device was made in this very transaction.
    return row["id"], row["created_at"]


async def read_enrolled(connection: Connection, dev_eui: bytes) -> EnrolledDevice | None:
    """One device, with the asset that it serves now."""
    row = await connection.fetchrow(READ, dev_eui)
    return None if row is None else entity(EnrolledDevice, row)


async def list_enrolled(
    connection: Connection,
    *,
    after: int = 0,
    device_profile_id: int | None = None,
    enabled: bool | None = None,
    search: str | None = None,
    most: int = 100,
) -> list[EnrolledDevice]:
    """Devices by id, beyond `after`; `search` looks in names and DevEUIs."""
    rows = await connection.fetch(LIST, after, device_profile_id, enabled, search, most)
    return [entity(EnrolledDevice, row) for row in rows]


async def update_device(connection: Connection, dev_eui: bytes, change: DeviceChange) -> bool:
    """Change a device, live on every replica within 5 s; False when there is no such device.

    Raises NotNullViolationError (BAD_DATA) for a profile that is not visible: check it before.
    """
    changed = await connection.fetchval(
        UPDATE,
        dev_eui,
        change.enabled,
        change.name,
        change.device_profile_id,
        change.skip_f_cnt_check,
        change.lns_source_id,
    )
    return changed is True


async def delete_device(connection: Connection, device_id: int) -> None:
    """Remove a device that was registered by mistake.

    Raises:
        DeviceHasHistory: it was heard, or spoken to; disable it instead.
    """
    if await connection.fetchval(HAS_HISTORY, device_id):
        raise DeviceHasHistory(f"device {device_id}")
    await connection.execute(DELETE_ASSIGNMENTS, device_id)
    await connection.execute(DELETE, device_id)
