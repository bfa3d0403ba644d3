"""Datastreams of a whole batch are found or made at once."""

import pytest

from core.runtime.postgres import ForeignKeyViolationError, Pool
from registry.datastreams import WantedDatastream, make_datastreams

STORED = "SELECT asset_id, device_id, channel, unit FROM datastream ORDER BY id"


@pytest.fixture
async def tenant(pool: Pool) -> int:
    return await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest') RETURNING id")


@pytest.fixture
async def devices(pool: Pool, tenant: int) -> list[int]:
    profile = await pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) "
        "VALUES ($1, 'p', 'v', 'm', 'c') RETURNING id",
        tenant,
    )
    rows = await pool.fetch(
        "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) "
        "SELECT $1, eui, eui, 'd', $2, 0, 'ABP' "
        "FROM (SELECT decode(lpad(n::text, 16, '0'), 'hex') AS eui FROM generate_series(1, 3) n) RETURNING id",
        tenant,
        profile,
    )
    return sorted(row["id"] for row in rows)


@pytest.fixture
async def asset(pool: Pool, tenant: int) -> int:
    return await pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'room', 'Salle 1') RETURNING id", tenant
    )


async def test_many_are_made_and_found_again_each_with_its_own_id(
    pool: Pool, tenant: int, devices: list[int], asset: int
) -> None:
    first, second, third = devices
    wanted = [
        WantedDatastream(tenant, None, second, "", "", "temperature", "°C"),
        WantedDatastream(tenant, asset, first, "", "1", "temperature", "°C"),
        WantedDatastream(tenant, None, third, "", "", "temperature", "°C"),
        WantedDatastream(tenant, asset, first, "nord", "1", "temperature", "°C"),
    ]

    made = await make_datastreams(pool, wanted)

    assert set(made) == set(wanted)
    assert len(set(made.values())) == 4
    assert await make_datastreams(pool, [*reversed(wanted)]) == made
    for want, id_ in made.items():
        row = await pool.fetchrow(
            "SELECT asset_id, device_id, position, channel FROM datastream WHERE id = $1", id_
        )
        assert row is not None
        assert tuple(row) == (want.asset_id, want.device_id, want.position, want.channel)


async def test_two_devices_that_want_one_asset_s_datastream_at_once_share_it(
    pool: Pool, tenant: int, devices: list[int], asset: int
) -> None:
    """As when a sensor is replaced and both are in one batch: the one that was made last goes on with it."""
    first, second, _ = devices
    of_both = [WantedDatastream(tenant, asset, device, "", "", "temperature", "°C") for device in (second, first)]

    made = await make_datastreams(pool, of_both)

    assert len(set(made.values())) == 1
    assert [tuple(row) for row in await pool.fetch(STORED)] == [(asset, second, "", "°C")]


async def test_a_device_that_served_an_asset_before_takes_nothing_back(
    pool: Pool, tenant: int, devices: list[int], asset: int
) -> None:
    first, second, _ = devices
    await make_datastreams(pool, [WantedDatastream(tenant, asset, second, "", "", "temperature", "°C")])

    await make_datastreams(
        pool, [WantedDatastream(tenant, asset, first, "", "", "temperature", "°C", is_current=False)]
    )

    assert [tuple(row) for row in await pool.fetch(STORED)] == [(asset, second, "", "°C")]


async def test_of_a_device_that_is_gone_nothing_is_made(pool: Pool, tenant: int, devices: list[int]) -> None:
    wanted = [
        WantedDatastream(tenant, None, device, "", "", "temperature", "°C") for device in (*devices, 1_000_000)
    ]

    with pytest.raises(ForeignKeyViolationError):
        await make_datastreams(pool, wanted)

    assert await pool.fetch(STORED) == []
