"""Sessions that another LNS began go on here: under their counters, by their DevAddr's shard, until a join."""

import secrets

from core.messages import topics
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import DevAddr, slot_of_dev_addr, slot_of_dev_eui
from registry.imports import Imported, ImportedDevice, ImportedSession, import_device
from registry.keys import KeyWrap
from tests.entering import tenant_transaction
from tests.network.conftest import APP_KEY, KEK, Network, RadioDevice

NEXT_UP, NEXT_DOWN = 70_000, 17


async def bring(network: Network, *, with_key: bool) -> tuple[RadioDevice, Imported]:
    """A device of another LNS with its session, and with its root key where it can join again."""
    tenant_id = await network.pool.fetchval(
        "INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest') RETURNING id"
    )
    profile_id = await network.pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) VALUES ($1, 'p', 'v', 'm', 'c') "
        "RETURNING id",
        tenant_id,
    )
    dev_eui, dev_addr = bytes.fromhex("70b3d57ed0001234"), DevAddr(bytes.fromhex("260b1235"))
    assert slot_of_dev_addr(dev_addr) % 4 != slot_of_dev_eui(dev_eui) % 4  # Another shard than its own.
    keys = SessionKeys(secrets.token_bytes(16), secrets.token_bytes(16))
    imported = ImportedDevice(
        dev_eui,
        bytes(8),
        "benne 12",
        profile_id,
        APP_KEY if with_key else None,
        None,
        ImportedSession(dev_addr, keys.nwk_s_key, keys.app_s_key, NEXT_UP, NEXT_DOWN),
    )
    async with tenant_transaction(network.pool, tenant_id) as connection:
        done = await import_device(connection, KeyWrap("kek-1", KEK), tenant_id, imported)
    await network.bus.nudge(topics.REGISTRY_CHANGED)
    device_id = await network.pool.fetchval("SELECT id FROM device WHERE dev_eui = $1", dev_eui)
    device = RadioDevice(device_id, dev_eui, f_cnt=NEXT_UP + 2, dev_addr=dev_addr, cipher=SessionCipher(keys))
    return device, done


async def test_an_imported_session_goes_on_under_its_counters_in_both_directions(idle_network: Network) -> None:
    device, _ = await bring(idle_network, with_key=False)
    await idle_network.start()

    await idle_network.receive(device.uplink(b"goes on", confirmed=True))

    uplink = await idle_network.next_uplink()
    request = await idle_network.bridge.next()
    acknowledgement = DownlinkFrame.from_bytes(request.transmissions[0].phy_payload)
    assert (uplink.device_id, uplink.payload, uplink.f_cnt) == (device.id, b"goes on", NEXT_UP + 2)
    assert uplink.session_id > 0
    assert (acknowledgement.f_cnt, acknowledgement.f_ctrl.ack) == (NEXT_DOWN, True)


async def test_a_session_that_is_imported_while_the_network_runs_is_live_at_once(network: Network) -> None:
    device, _ = await bring(network, with_key=False)

    async def is_known() -> bool:
        await network.receive(device.uplink(b"hello"))
        await network.all_acknowledged()
        return not network.uplinks.empty()

    for _ in range(50):
        if await is_known():
            break

    assert (await network.next_uplink()).device_id == device.id


async def test_a_device_with_an_imported_session_comes_home_with_its_next_join(idle_network: Network) -> None:
    device, _ = await bring(idle_network, with_key=True)
    await idle_network.start()
    await idle_network.receive(device.uplink(b"before"))
    before = await idle_network.next_uplink()
    away = await idle_network.pool.fetchval("SELECT slot FROM device WHERE id = $1", device.id)

    await idle_network.receive(device.join())
    device.receive_accept((await idle_network.bridge.next()).transmissions[0].phy_payload)
    await idle_network.receive(device.uplink(b"after"))
    after = await idle_network.next_uplink()
    await idle_network.all_acknowledged()

    home = await idle_network.pool.fetchval("SELECT slot FROM device WHERE id = $1", device.id)
    open_sessions = await idle_network.pool.fetch("SELECT id FROM session WHERE closed_at IS NULL")
    assert (before.payload, after.payload) == (b"before", b"after")
    assert (away, home) == (slot_of_dev_addr(DevAddr(bytes.fromhex("260b1235"))), slot_of_dev_eui(device.dev_eui))
    assert [row["id"] for row in open_sessions] == [after.session_id]
