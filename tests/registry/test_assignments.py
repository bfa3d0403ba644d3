import asyncio
import secrets

import pytest

from core.runtime.postgres import Pool
from registry.assets import create_asset
from registry.assignments import UnknownAsset, UnknownDevEui, assign, end_assignment, read_serving
from registry.tenants import create_tenant
from tests.entering import tenant_transaction


class AssetWithDevices:
    """A tenant with an asset and devices, as the API's role sees it."""

    def __init__(self, pool: Pool, tenant_id: int) -> None:
        self._pool = pool
        self.tenant_id = tenant_id

    async def asset(self) -> int:
        made = await create_asset(
            self._pool,
            self.tenant_id,
            {
                "kind": "bin",
                "name": secrets.token_hex(4),
                "commune": "",
                "street": "",
                "latitude": None,
                "longitude": None,
                "attributes": {},
                "privacy_class": 0,
                "tags": [],
                "external_reference": None,
                "insee": None,
                "quarter": "",
            },
        )
        return made.id

    async def device(self) -> bytes:
        dev_eui = secrets.token_bytes(8)
        await self._pool.execute(
            "WITH p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec) "
            "VALUES ($1, $2, 'v', 'm', 'c') RETURNING id) "
            "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped) "
            "SELECT $1, $3, $3, 'd', p.id, 0, 'x' FROM p",
            self.tenant_id,
            dev_eui.hex(),
            dev_eui,
        )
        return dev_eui


@pytest.fixture
async def asset_with_devices(pool: Pool) -> AssetWithDevices:
    return AssetWithDevices(pool, (await create_tenant(pool, "sdef", "SDEF")).id)


async def test_concurrent_replacements_leave_one_device_and_no_gap(
    asset_with_devices: AssetWithDevices, pool: Pool, api_pool: Pool
) -> None:
    asset_id, devices = await asset_with_devices.asset(), [await asset_with_devices.device() for _ in range(6)]

    async def replace(dev_eui: bytes) -> None:
        async with tenant_transaction(api_pool, asset_with_devices.tenant_id) as connection:
            assert await assign(connection, asset_id, dev_eui, "")

    await asyncio.gather(*(replace(dev_eui) for dev_eui in devices))
    rows = await pool.fetch(
        "SELECT lower(during) AS since, upper(during) AS until FROM assignment ORDER BY during"
    )

    assert len(rows) == len(devices)
    assert [row["until"] for row in rows[:-1]] == [row["since"] for row in rows[1:]]
    assert rows[-1]["until"] is None


async def test_a_device_that_is_claimed_by_two_assets_at_once_serves_one(
    asset_with_devices: AssetWithDevices, pool: Pool, api_pool: Pool
) -> None:
    assets, dev_eui = [await asset_with_devices.asset() for _ in range(4)], await asset_with_devices.device()

    async def claim(asset_id: int) -> None:
        async with tenant_transaction(api_pool, asset_with_devices.tenant_id) as connection:
            await assign(connection, asset_id, dev_eui, "")

    await asyncio.gather(*(claim(asset_id) for asset_id in assets))

    assert await pool.fetchval("SELECT count(*) FROM assignment WHERE during @> now()") == 1
    assert await pool.fetchval("SELECT count(*) FROM assignment") == len(assets)


async def test_an_ended_assignment_leaves_the_asset_unserved(
    asset_with_devices: AssetWithDevices, api_pool: Pool
) -> None:
    asset_id, dev_eui = await asset_with_devices.asset(), await asset_with_devices.device()
    async with tenant_transaction(api_pool, asset_with_devices.tenant_id) as connection:
        await assign(connection, asset_id, dev_eui, "haut")

    async with tenant_transaction(api_pool, asset_with_devices.tenant_id) as connection:
        elsewhere = await end_assignment(connection, asset_id, "bas")
        ended = await end_assignment(connection, asset_id)
        serving = await read_serving(connection, asset_id)

    assert (elsewhere, ended, serving) == (0, 1, [])


async def test_another_tenant_assigns_nothing(
    asset_with_devices: AssetWithDevices, pool: Pool, api_pool: Pool
) -> None:
    asset_id, dev_eui = await asset_with_devices.asset(), await asset_with_devices.device()
    other = AssetWithDevices(pool, (await create_tenant(pool, "autre", "Autre")).id)
    their_asset = await other.asset()

    with pytest.raises(UnknownAsset):
        async with tenant_transaction(api_pool, other.tenant_id) as connection:
            await assign(connection, asset_id, dev_eui, "")
    with pytest.raises(UnknownDevEui):
        async with tenant_transaction(api_pool, other.tenant_id) as connection:
            await assign(connection, their_asset, dev_eui, "")
