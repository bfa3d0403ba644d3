"""Devices, their profiles and what they serve, as the services read them."""

from collections.abc import AsyncGenerator, Sequence

from core.model.entities import Assignment, Device, DeviceProfile
from core.runtime.postgres import Connection, Pool
from registry.profiles import COLUMNS
from registry.rows import entity, fetch_all

PAGE = 2_000
READ_DEVICES = """
SELECT id, tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation, skip_f_cnt_check, enabled
FROM device WHERE slot = ANY($1::smallint[]) AND ($2::int[] IS NULL OR id = ANY($2))
"""
READ_PROFILES = f"SELECT {COLUMNS} FROM device_profile"
READ_ASSIGNMENTS = """
SELECT id, tenant_id, asset_id, device_id, position, lower(during) AS since, upper(during) AS until
FROM assignment WHERE device_id = ANY($1::int[]) ORDER BY device_id, during
"""


async def read_devices(
    connection: Connection | Pool, slots: Sequence[int], ids: Sequence[int] | None = None
) -> list[Device]:
    """Every device of these slots, or those of them with these ids."""
    return await fetch_all(connection, Device, READ_DEVICES, slots, ids)


async def each_device(connection: Connection, slots: Sequence[int]) -> AsyncGenerator[Device]:
    """Every device of these slots, page by page, in the caller's transaction: there may be tens of thousands."""
    async for row in connection.cursor(READ_DEVICES, slots, None, prefetch=PAGE):
        yield entity(Device, row)


async def read_profiles(connection: Connection | Pool) -> dict[int, DeviceProfile]:
    """Every device profile by id: there are as many as models in use."""
    return {row["id"]: entity(DeviceProfile, row) for row in await connection.fetch(READ_PROFILES)}


async def read_assignments(
    connection: Connection | Pool, device_ids: Sequence[int]
) -> dict[int, list[Assignment]]:
    """All that each of these devices has served or will serve, earliest first, by device id."""
    served: dict[int, list[Assignment]] = {}
    for row in await connection.fetch(READ_ASSIGNMENTS, device_ids):
        served.setdefault(row["device_id"], []).append(entity(Assignment, row))
    return served
