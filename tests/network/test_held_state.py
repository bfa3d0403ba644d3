from lorawan.identifiers import slot_of_dev_eui
from network.held_state import DeviceCache


async def test_the_device_of_a_session_of_ours_is_known_though_its_slot_is_not_yet(idle_network) -> None:
    """It was imported under another network's DevAddr and has just joined: its next uplink moves its slot."""
    device = await idle_network.device()
    elsewhere = [slot for slot in range(16) if slot != slot_of_dev_eui(device.dev_eui)]
    loaded, refreshed, stranger = DeviceCache(), DeviceCache(), DeviceCache()

    async with idle_network.pool.acquire() as connection, connection.transaction():
        await loaded.load(connection, elsewhere, [device.id])
        await refreshed.refresh(connection, elsewhere, [device.id], [device.id])
        await stranger.load(connection, elsewhere, [])

    assert loaded.is_enabled(device.id)
    assert refreshed.is_enabled(device.id)
    assert not stranger.is_enabled(device.id)
