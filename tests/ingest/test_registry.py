"""What is known of devices, assets and gateways follows the registry while ingest runs."""

import pytest

from core.runtime.bus import Bus
from ingest.batch import UplinkMessage
from ingest.prepare import Registry, prepare
from ingest.registry_cache import KnownDevices, KnownGateways
from registry.changes import RegistryWatcher
from tests.ingest.test_app import CONTAINER, EM310, MakeUplink, Planted


async def test_a_new_codec_a_new_container_and_a_replaced_device_are_live_at_the_next_uplink(
    planted: Planted, bus: Bus, make_uplink: MakeUplink
) -> None:
    pool = planted.pool
    profile_id = await planted.profile("acme.forgotten")
    asset_id = await planted.asset()
    device_id = await planted.device(profile_id, asset_id)
    registry = Registry(pool, KnownDevices(pool), KnownGateways(pool))
    watcher = RegistryWatcher(pool, bus, registry.apply)
    f_cnt = 0

    async def found() -> tuple[set[str], set[int | None]]:
        nonlocal f_cnt
        f_cnt += 1
        await watcher.poll()
        prepared = await prepare([UplinkMessage("s", f_cnt, [make_uplink(device_id, f_cnt, EM310)])], registry)
        ids = list(prepared.uplinks[0].rows)
        rows = await pool.fetch("SELECT quantity, asset_id FROM datastream WHERE id = ANY($1)", ids)
        return {row["quantity"] for row in rows}, {row["asset_id"] for row in rows}

    assert await found() == (set(), set())
    await pool.execute("UPDATE device_profile SET codec = 'milesight.em310'")
    assert await found() == ({"battery_level", "distance", "tilt"}, {asset_id})
    await pool.execute("UPDATE asset SET attributes = $1", CONTAINER)
    assert await found() == ({"battery_level", "distance", "tilt", "fill_level"}, {asset_id})
    await pool.execute("DELETE FROM assignment")
    assert await found() == ({"battery_level", "distance", "tilt"}, {None})
    replacement = await planted.device(profile_id)
    await planted.assign(replacement, asset_id)
    device_id = replacement
    quantities, assets = await found()
    assert assets == {asset_id}
    assert await pool.fetchval("SELECT count(*) FROM datastream WHERE asset_id = $1", asset_id) == len(quantities)
    assert (
        await pool.fetchval("SELECT DISTINCT device_id FROM datastream WHERE asset_id = $1", asset_id)
        == replacement
    )


async def test_a_gateway_registered_while_ingest_runs_is_known_at_its_next_reception(
    planted: Planted, bus: Bus, make_uplink: MakeUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.registry_cache.READ_AGAIN_EVERY_S", 0.0)
    pool = planted.pool
    device_id = await planted.device(await planted.profile("milesight.em400"))
    registry = Registry(pool, KnownDevices(pool), KnownGateways(pool))
    before = await prepare([UplinkMessage("s", 1, [make_uplink(device_id, 1)])], registry)

    await pool.execute(
        "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, '\\x0080000000000002', 'new')",
        planted.tenant_id,
    )
    after = await prepare([UplinkMessage("s", 2, [make_uplink(device_id, 2)])], registry)

    assert before.batch is not None
    assert after.batch is not None
    assert (len(before.batch.receptions), before.batch.receptions_skipped) == (1, 1)
    assert (len(after.batch.receptions), after.batch.receptions_skipped) == (2, 0)
