"""Devices, their profiles and what they serve, as the services read them."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.model.entities import Assignment, Device, DeviceProfile
from core.registry.rows import entity
from core.runtime.postgres import Connection, Pool
from lorawan.identifiers import DevEui

READ_DEVICE_BY_DEV_EUI = """
SELECT id, tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation, skip_f_cnt_check, enabled
FROM device WHERE dev_eui = $1
"""
READ_DEVICES = """
SELECT id, tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation, skip_f_cnt_check, enabled
FROM device WHERE slot = ANY($1::smallint[]) AND ($2::int[] IS NULL OR id = ANY($2))
"""
READ_PROFILES = """
SELECT id, tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version, region,
       expected_interval, capabilities
FROM device_profile
"""
READ_CURRENT_ASSIGNMENTS = """
SELECT id, tenant_id, asset_id, device_id, position, lower(during) AS since, upper(during) AS until
FROM assignment WHERE during @> now() AND ($1::int[] IS NULL OR device_id = ANY($1))
"""
READ_ASSIGNMENTS = """
SELECT id, tenant_id, asset_id, device_id, position, lower(during) AS since, upper(during) AS until
FROM assignment WHERE device_id = ANY($1::int[]) ORDER BY device_id, during
"""
READ_ROOT_KEY = "SELECT app_key_wrapped, kek_id FROM device WHERE id = $1"


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A root key under a key-encryption key (RFC 3394)."""

    wrapped: bytes
    kek_id: str


async def device_by_dev_eui(connection: Connection | Pool, dev_eui: DevEui) -> Device | None:
    """The device with this DevEUI, if it is registered (and visible)."""
    row = await connection.fetchrow(READ_DEVICE_BY_DEV_EUI, dev_eui)
    return None if row is None else entity(Device, row)


async def read_devices(
    connection: Connection | Pool, slots: Sequence[int], ids: Sequence[int] | None = None
) -> list[Device]:
    """Every device of these slots, or those of them with these ids."""
    return [entity(Device, row) for row in await connection.fetch(READ_DEVICES, slots, ids)]


async def read_profiles(connection: Connection | Pool) -> dict[int, DeviceProfile]:
    """Every device profile by id: there are as many as models in use."""
    return {row["id"]: entity(DeviceProfile, row) for row in await connection.fetch(READ_PROFILES)}


async def read_current_assignments(
    connection: Connection | Pool, device_ids: Sequence[int] | None = None
) -> dict[int, Assignment]:
    """What each device serves now, by device id."""
    rows = await connection.fetch(READ_CURRENT_ASSIGNMENTS, device_ids)
    return {row["device_id"]: entity(Assignment, row) for row in rows}


async def read_assignments(
    connection: Connection | Pool, device_ids: Sequence[int]
) -> dict[int, list[Assignment]]:
    """All that each of these devices has served or will serve, earliest first, by device id."""
    served: dict[int, list[Assignment]] = {}
    for row in await connection.fetch(READ_ASSIGNMENTS, device_ids):
        served.setdefault(row["device_id"], []).append(entity(Assignment, row))
    return served


async def read_root_key(connection: Connection | Pool, device_id: int) -> WrappedKey | None:
    """The wrapped AppKey of an OTAA device. Only the network service's role may read it."""
    row = await connection.fetchrow(READ_ROOT_KEY, device_id)
    if row is None or row["app_key_wrapped"] is None:
        return None
    return WrappedKey(row["app_key_wrapped"], row["kek_id"])
