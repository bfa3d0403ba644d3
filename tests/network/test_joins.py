"""Over-the-air activation against the real database, answered through a recording bridge."""

from prometheus_client import REGISTRY

from lorawan.frame import UplinkFCtrl
from lorawan.identifiers import slot_of_dev_addr, slot_of_dev_eui
from lorawan.join import JoinRequest
from network.deduplication import Group
from network.join_handler import JoinHandler

A_WRONG_KEY = bytes(16)
A_GATEWAY = bytes([0xAA] * 7 + [1])


def joins_counted(result: str) -> float:
    return REGISTRY.get_sample_value("territoire_network_joins_total", {"result": result}) or 0.0


async def sessions_of(network, device) -> list:
    return await network.pool.fetch("SELECT * FROM session WHERE device_id = $1 ORDER BY id", device.id)


async def test_a_join_is_answered_in_rx1_and_opens_a_session_of_its_slot(network) -> None:
    device = await network.device()

    phy = device.join()
    await network.receive(phy)
    request = await network.bridge.next()
    accept = device.receive_accept(request.transmissions[0].phy_payload)
    (session,) = await sessions_of(network, device)

    (rx1,) = request.transmissions
    assert (rx1.delay_us, rx1.frequency, rx1.spreading_factor) == (5_000_000, 868_100_000, 7)
    assert request.context == b"\0\0\0\1"
    assert session["dev_addr"] == accept.dev_addr
    assert slot_of_dev_addr(accept.dev_addr) == slot_of_dev_eui(device.dev_eui)
    assert accept.rx2_dr == session["rx2_data_rate"]
    assert session["first_uplink_at"] is None


async def test_a_join_whose_rx1_is_rejected_is_answered_in_rx2_with_the_same_accept(network) -> None:
    device = await network.device()
    network.bridge.statuses[A_GATEWAY] = "COLLISION_PACKET"

    await network.receive(device.join(), [A_GATEWAY])
    first, second = await network.bridge.next(), await network.bridge.next()

    (rx1,), (rx2,) = first.transmissions, second.transmissions
    assert (rx2.delay_us, rx2.frequency, rx2.spreading_factor) == (6_000_000, 869_525_000, 12)
    assert rx1.phy_payload == rx2.phy_payload


async def test_the_first_uplink_of_a_new_session_closes_the_old_one(network) -> None:
    device = await network.joined()
    old_cipher, old_addr = device.cipher, device.dev_addr
    await network.receive(device.join())
    request = await network.bridge.next()
    # The device has not received the accept: its old session still works.
    await network.receive(device.uplink(b"old"))
    assert (await network.next_uplink()).payload == b"old"
    before = [session["closed_at"] for session in await sessions_of(network, device)]

    device.receive_accept(request.transmissions[0].phy_payload)
    await network.receive(device.uplink(b"new"))
    uplink = await network.next_uplink()
    await network.all_acknowledged()
    after = await sessions_of(network, device)

    assert uplink.payload == b"new"
    assert before == [None, None]
    assert after[0]["closed_at"] is not None
    assert after[1]["closed_at"] is None
    assert uplink.session_id == after[1]["id"]
    assert (old_cipher, old_addr) != (device.cipher, device.dev_addr)


async def test_a_used_dev_nonce_is_rejected_once_the_session_is_in_use(network) -> None:
    device = await network.joined()
    before = joins_counted("dev_nonce_used")

    await network.receive(device.join(dev_nonce=1))
    await network.all_acknowledged()

    assert joins_counted("dev_nonce_used") == before + 1
    assert len(await sessions_of(network, device)) == 1


async def test_a_join_whose_accept_was_lost_in_a_crash_gets_the_same_accept(network) -> None:
    device = await network.device()
    phy = device.join()
    await network.receive(phy)
    first = await network.bridge.next()
    await network.all_acknowledged()
    await network.crash()
    await network.start()

    await network.receive(phy)
    second = await network.bridge.next()

    assert second.transmissions[0].phy_payload == first.transmissions[0].phy_payload
    assert len(await sessions_of(network, device)) == 1


async def test_a_second_copy_of_a_join_after_the_window_is_not_answered_twice(network) -> None:
    device = await network.device()
    phy = device.join()
    await network.receive(phy)
    await network.bridge.next()
    await network.all_acknowledged()
    before = joins_counted("repeated")

    await network.receive(phy, [bytes([0xAA] * 7 + [2])])
    await network.all_acknowledged()

    assert joins_counted("repeated") == before + 1
    assert network.bridge.requests.empty()


async def test_a_join_that_is_replayed_after_its_window_gets_no_accept(network) -> None:
    device = await network.device()
    phy = device.join()
    await network.receive(phy)
    await network.bridge.next()
    await network.all_acknowledged()
    await network.stop()  # Nor is it the service's memory that keeps it from answering.
    await network.pool.execute("UPDATE session SET activated_at = activated_at - interval '7 seconds'")
    await network.start()
    before = joins_counted("dev_nonce_used"), joins_counted("repeated")

    await network.receive(phy)
    await network.all_acknowledged()

    assert (joins_counted("dev_nonce_used"), joins_counted("repeated")) == (before[0] + 1, before[1])
    assert network.bridge.requests.empty()


async def test_a_dev_nonce_that_comes_twice_in_one_batch_opens_one_session(idle_network) -> None:
    network = idle_network
    device = await network.device()
    phy = device.join()
    groups = [Group(phy, network.clock(), network.frames_of(phy)) for _ in range(2)]

    async with network.pool.acquire() as connection, connection.transaction():
        outcomes = await JoinHandler(network.settings).admit(connection, groups, network.clock())

    assert sorted(outcome.result for outcome in outcomes) == ["accepted", "dev_nonce_used"]
    assert len(await sessions_of(network, device)) == 1


async def test_join_nonces_rise_and_dev_nonces_are_remembered(network) -> None:
    device = await network.device()
    nonces = []
    for _ in range(2):
        await network.receive(device.join())
        nonces.append(device.receive_accept((await network.bridge.next()).transmissions[0].phy_payload).join_nonce)

    used = await network.pool.fetch("SELECT dev_nonce FROM dev_nonce ORDER BY 1")
    assert nonces == [1, 2]
    assert [row["dev_nonce"] for row in used] == [1, 2]


async def test_joins_that_deserve_no_answer_touch_nothing(network) -> None:
    device = await network.device()
    disabled = await network.device(number=2)
    await network.pool.execute("UPDATE device SET enabled = false WHERE id = $1", disabled.id)
    counts = {result: joins_counted(result) for result in ("late", "unknown_device", "mic", "disabled")}
    stranger = JoinRequest.signed(A_WRONG_KEY, bytes(8), b"\x01" * 8, 1).to_bytes()
    forged = JoinRequest.signed(A_WRONG_KEY, bytes(8), device.dev_eui, 1).to_bytes()

    await network.receive(device.join(), time_us=1_700_000_000_000_000)
    await network.receive(stranger)
    await network.receive(forged)
    await network.receive(disabled.join())
    await network.all_acknowledged()

    for result, before in counts.items():
        assert joins_counted(result) == before + 1, result
    assert await network.pool.fetchval("SELECT count(*) FROM dev_nonce") == 0
    assert await network.pool.fetchval("SELECT count(*) FROM session") == 0
    assert network.bridge.requests.empty()


async def test_an_unreachable_gateway_is_passed_over_for_the_next(idle_network) -> None:
    network = idle_network
    await network.start()
    device = await network.device()
    nobody = bytes([0xBB] * 8)

    await network.receive(device.join(), [nobody, bytes([0xAA] * 7 + [2])])
    request = await network.bridge.next()

    assert request.gateway_id[-1] == 2


async def test_an_adr_ack_req_is_answered_with_an_empty_downlink(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink(f_ctrl=UplinkFCtrl(adr_ack_req=True)))
    request = await network.bridge.next()

    assert len(request.transmissions[0].phy_payload) == 12
