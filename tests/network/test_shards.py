"""Who owns a shard, and what happens to it on the way from one owner to the next."""

import asyncio

from prometheus_client import REGISTRY

from core.messages import topics
from lorawan.crypto import SessionCipher, SessionKeys, wrap_key
from lorawan.identifiers import DevAddr, slot_of_dev_addr, slot_of_dev_eui
from services.network.app import run
from services.network.settings import NetworkSettings
from tests.network.conftest import PATIENCE_S

STEAL = "UPDATE shard_lease SET epoch = epoch + 1, owner = 'another', expires_at = now() + interval '1 minute'"


def shards_owned() -> float:
    return REGISTRY.get_sample_value("territoire_network_shards_owned") or 0.0


async def until_owned(count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while shards_owned() != count:  # noqa: ASYNC110 - a gauge has no event.
            await asyncio.sleep(0.02)


async def test_another_replica_goes_on_where_the_first_stopped(network, nats_url, database) -> None:
    device = await network.joined()
    other = NetworkSettings(
        database_url=database.service_url, nats_url=nats_url, instance="other", kek=bytes(range(16)).hex()
    )
    stopping = asyncio.Event()
    await network.stop()
    await network.receive(device.uplink(b"in between"))

    running = asyncio.create_task(run(other, stopping))
    uplink = await network.next_uplink()
    await network.all_acknowledged()
    stopping.set()
    await running

    assert (uplink.payload, uplink.f_cnt) == (b"in between", 1)


async def test_an_owner_that_lost_its_leases_stops_and_goes_on_once_they_are_free(network) -> None:
    device = await network.joined()
    await network.pool.execute(STEAL)
    await network.receive(device.uplink(b"data"))
    await until_owned(0)
    saved = await network.pool.fetchval("SELECT f_cnt_up FROM session")

    await network.pool.execute("UPDATE shard_lease SET expires_at = now()")
    await network.all_acknowledged()

    assert saved == 1
    assert await network.pool.fetchval("SELECT f_cnt_up FROM session") == 2


async def test_an_imported_session_is_served_by_its_address_until_the_device_joins(network) -> None:
    device = await network.device()
    home = slot_of_dev_eui(device.dev_eui)
    foreign = next(
        address
        for number in range(1000)
        if slot_of_dev_addr(address := DevAddr(number.to_bytes(4))) % 4 != home % 4
    )
    keys = SessionKeys(b"n" * 16, b"a" * 16)
    device.dev_addr, device.cipher = foreign, SessionCipher(keys)
    kek = bytes(range(16))
    await network.pool.execute(
        "INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id) "
        "VALUES ($1, $2, $3, $4, 'kek-1')",
        device.id,
        foreign,
        wrap_key(kek, keys.nwk_s_key),
        wrap_key(kek, keys.app_s_key),
    )
    await network.pool.execute("UPDATE device SET slot = $2 WHERE id = $1", device.id, slot_of_dev_addr(foreign))
    await network.bus.nudge(topics.REGISTRY_CHANGED)
    async with asyncio.timeout(PATIENCE_S):
        while network.uplinks.empty():
            await network.receive(device.uplink(b"imported"))
            await network.all_acknowledged()
    imported = await network.next_uplink()

    await network.receive(device.join())
    device.receive_accept((await network.bridge.next()).transmissions[0].phy_payload)
    await network.receive(device.uplink(b"joined"))
    joined = await network.next_uplink()
    await network.all_acknowledged()

    assert imported.payload == b"imported"
    assert joined.payload == b"joined"
    assert await network.pool.fetchval("SELECT slot FROM device WHERE id = $1", device.id) == home
    assert await network.pool.fetchval("SELECT count(*) FROM session WHERE closed_at IS NULL") == 1


async def test_shards_move_to_a_second_replica_while_devices_speak(network, nats_url, database) -> None:
    devices = [await network.joined(number=number) for number in range(1, 6)]
    other = NetworkSettings(
        database_url=database.service_url, nats_url=nats_url, instance="other", kek=bytes(range(16)).hex()
    )
    stopping = asyncio.Event()

    async def shared() -> bool:
        rows = await network.pool.fetch(
            "SELECT owner, count(*) AS shards FROM shard_lease WHERE expires_at > now() GROUP BY owner"
        )
        return {row["owner"]: row["shards"] for row in rows} == {"under-test": 2, "other": 2}

    running = asyncio.create_task(run(other, stopping))
    async with asyncio.timeout(PATIENCE_S):
        while not await shared():
            for device in devices:
                await network.receive(device.uplink())
    for device in devices:
        await network.receive(device.uplink(b"last"))
    await network.all_acknowledged()
    stopping.set()
    await running

    heard: dict[int, list[int]] = {}
    while not network.uplinks.empty():
        uplink = network.uplinks.get_nowait()
        if not uplink.late:
            heard.setdefault(uplink.device_id, []).append(uplink.f_cnt)
    assert heard == {device.id: list(range(1, device.f_cnt)) for device in devices}
