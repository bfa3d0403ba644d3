"""MAC commands through the running service: asked with downlinks, answered with uplinks, kept in the session."""

import msgspec
import pytest

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.topics import shard_of_slot
from lorawan.commands import encode_commands, parse_downlink_commands
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.commands.link_adr import LinkAdrAns, LinkAdrReq
from lorawan.commands.new_channel import NewChannelAns, NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupAns, RxParamSetupReq
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.crypto import Direction, SessionCipher, SessionKeys, wrap_key
from lorawan.frame import DownlinkFrame, UplinkFCtrl, routing_slot
from lorawan.identifiers import DevAddr, slot_of_dev_addr
from tests.network.conftest import eventually

KEK = bytes(range(16))
SHARDS = 4
ADR = UplinkFCtrl(adr=True)


def opened(device, request, f_cnt: int) -> tuple[DownlinkFrame, tuple]:
    """The frame as the device reads it, and the commands in it, wherever they are."""
    phy_payload = request.transmissions[0].phy_payload
    frame = DownlinkFrame.from_bytes(phy_payload)
    assert device.cipher.verify_downlink(phy_payload, device.dev_addr, f_cnt)
    octets = frame.f_opts
    if frame.f_port == 0:
        octets = device.cipher.crypt(Direction.DOWN, device.dev_addr, f_cnt, 0, frame.frm_payload)
    return frame, parse_downlink_commands(octets).commands


async def receive_slow(network, device, **fields) -> None:
    """An uplink on SF12 in ADR, as a bridge publishes it."""
    phy_payload = device.uplink(f_ctrl=ADR, **fields)
    copies = [msgspec.structs.replace(copy, spreading_factor=12) for copy in network.frames_of(phy_payload)]
    shard = shard_of_slot(routing_slot(phy_payload), SHARDS)
    await network.bus.publish(topics.frames(shard), encode_batch(copies))


async def status_due(network) -> None:
    """From the next start on, every device is to be asked for its battery."""
    await network.pool.execute("""UPDATE session SET mac_state = '{"channels": 255, "status_due_us": 0}'""")


async def test_a_device_is_asked_for_its_battery_and_what_it_says_is_kept(network) -> None:
    device = await network.joined()
    await network.stop()
    await status_due(network)
    await network.start()

    await network.receive(device.uplink())
    frame, commands = opened(device, await network.bridge.next(), 0)
    await network.receive(device.uplink(f_opts=DevStatusAns(200, -5).to_bytes()))
    await network.all_acknowledged()
    row = await network.pool.fetchrow("SELECT * FROM device_status")
    state = msgspec.json.decode(await network.pool.fetchval("SELECT mac_state::text FROM session"))

    assert commands == (DevStatusReq(),)
    assert frame.f_port is None
    assert (row["device_id"], row["battery"], row["margin"]) == (device.id, 200, -5)
    assert "asked" not in state
    assert state["status_due_us"] > 0
    assert network.bridge.requests.empty()


async def test_an_outstanding_mac_request_is_repeated_after_a_crash(network) -> None:
    device = await network.joined()
    await network.stop()
    await status_due(network)
    await network.start()
    for f_cnt in range(3):
        await network.receive(device.uplink())
        assert opened(device, await network.bridge.next(), f_cnt)[1] == (DevStatusReq(),)
    await network.all_acknowledged()

    await network.crash()
    await network.start()
    await network.receive(device.uplink())
    await network.all_acknowledged()
    (asked,) = msgspec.json.decode(await network.pool.fetchval("SELECT mac_state::text FROM session"))["asked"]

    # Three times without an answer: the fourth has to wait.
    assert network.bridge.requests.empty()
    assert asked[2:4] == [0, 1]


async def test_commands_go_out_beside_a_row(network) -> None:
    device = await network.joined()
    await network.stop()
    await status_due(network)
    await network.start()
    downlink_id = await network.enqueue(device, payload=b"open")

    await network.receive(device.uplink())
    frame, commands = opened(device, await network.bridge.next(), 0)
    await network.downlink(downlink_id, "sent")

    assert frame.f_port == 10
    assert commands == (DevStatusReq(),)


async def test_a_session_opened_with_another_delay_is_given_ours_and_answered_by_it(network) -> None:
    device = await network.joined()
    await network.stop()
    network.settings = network.settings.model_copy(update={"rx1_delay": 5})
    await network.start()

    await network.receive(device.uplink())
    request = await network.bridge.next()
    _, commands = opened(device, request, 0)
    await network.receive(device.uplink(f_opts=RxTimingSetupAns().to_bytes()))
    answer = await network.bridge.next()
    await network.all_acknowledged()
    await network.crash()
    await network.start()
    await network.receive(device.uplink(confirmed=True))
    later = await network.bridge.next()

    assert commands == (RxTimingSetupReq(5),)
    assert request.transmissions[0].delay_us == 1_000_000
    # The answer is sticky: a downlink ends it, at the new delay already.
    assert opened(device, answer, 1)[1] == ()
    assert [t.delay_us for t in answer.transmissions] == [5_000_000, 6_000_000]
    assert [t.delay_us for t in later.transmissions] == [5_000_000, 6_000_000]


async def test_a_session_with_another_rx2_is_moved_to_ours_where_that_is_wanted(network) -> None:
    device = await network.joined()
    await network.stop()
    await network.pool.execute("UPDATE session SET rx2_data_rate = 0")
    network.settings = network.settings.model_copy(update={"rx2_for_all": True})
    await network.start()

    await network.receive(device.uplink())
    before = await network.bridge.next()
    await network.receive(device.uplink(f_opts=RxParamSetupAns(True, True, True).to_bytes()))
    after = await network.bridge.next()
    await network.all_acknowledged()

    assert opened(device, before, 0)[1] == (RxParamSetupReq(0, 3, 869_525_000),)
    assert [t.spreading_factor for t in before.transmissions] == [7, 12]
    assert [t.spreading_factor for t in after.transmissions] == [7, 9]
    assert await network.pool.fetchval("SELECT rx2_data_rate FROM session") == 3


async def test_an_abp_device_is_given_the_channels_that_a_join_would_have_brought(network) -> None:
    await network.stop()
    device = await network.device()
    keys = SessionKeys(bytes([1]) * 16, bytes([2]) * 16)
    device.dev_addr, device.cipher = DevAddr(bytes.fromhex("26011234")), SessionCipher(keys)
    slot = slot_of_dev_addr(device.dev_addr)
    await network.pool.execute(
        "UPDATE device SET activation = 'ABP', app_key_wrapped = NULL, slot = $1 WHERE id = $2", slot, device.id
    )
    await network.pool.execute(
        "INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id) "
        "VALUES ($1, $2, $3, $4, 'kek-1')",
        device.id,
        device.dev_addr,
        wrap_key(KEK, keys.nwk_s_key),
        wrap_key(KEK, keys.app_s_key),
    )
    await network.start()
    downlink_id = await network.enqueue(device, payload=b"open")
    yes = NewChannelAns(True, True)

    await network.receive(device.uplink())
    alone, first = opened(device, await network.bridge.next(), 0)
    await network.receive(device.uplink(f_opts=encode_commands([yes] * 3)))
    beside, second = opened(device, await network.bridge.next(), 1)
    await network.receive(device.uplink(f_opts=encode_commands([yes] * 2)))
    await network.downlink(downlink_id, "sent")
    await network.all_acknowledged()

    # Eighteen octets do not fit into FOpts: the row waits for the next uplink, as FPending says.
    assert (alone.f_port, alone.f_ctrl.f_pending, len(first)) == (0, True, 3)
    assert (beside.f_port, len(second)) == (10, 2)
    assert {type(request) for request in first + second} == {NewChannelReq}
    assert [request.frequency for request in first + second] == [867_100_000 + n * 200_000 for n in range(5)]


async def test_adr_speeds_a_device_up_and_remembers_what_it_took(network) -> None:
    device = await network.joined()
    for _ in range(3):
        await receive_slow(network, device)
        assert (await network.next_uplink()).spreading_factor == 12
    assert network.bridge.requests.empty()

    await receive_slow(network, device)
    frame, commands = opened(device, await network.bridge.next(), 0)
    await network.receive(device.uplink(f_ctrl=ADR, f_opts=LinkAdrAns(True, True, True).to_bytes()))
    await network.all_acknowledged()
    state = msgspec.json.decode(await network.pool.fetchval("SELECT mac_state::text FROM session"))

    # SNR 8 dB, SF12 needs -20 dB, 12.5 dB are kept while few uplinks were received: five steps.
    assert commands == (LinkAdrReq(5, 0, 0xFF, 0, 1),)
    assert frame.f_ctrl.adr
    assert (state["data_rate"], state.get("asked")) == (5, None)


async def test_adr_backs_off_for_a_device_that_accepts_and_does_not_move(network) -> None:
    device = await network.joined()
    for _ in range(4):
        await receive_slow(network, device)
    _, commands = opened(device, await network.bridge.next(), 0)

    await receive_slow(network, device, f_opts=LinkAdrAns(True, True, True).to_bytes())
    for _ in range(6):  # More than ADR needs to decide anew.
        await receive_slow(network, device)
    await receive_slow(network, device, confirmed=True)
    frame, nothing = opened(device, await network.bridge.next(), 1)
    await network.all_acknowledged()
    (asked,) = msgspec.json.decode(await network.pool.fetchval("SELECT mac_state::text FROM session"))["asked"]

    assert commands == (LinkAdrReq(5, 0, 0xFF, 0, 1),)
    assert (frame.f_ctrl.ack, nothing) == (True, ())
    assert asked[3] == 1  # Failures.


async def profile_says(network, **columns) -> None:
    """The one profile that there is, and everybody has read it."""
    sets = ", ".join(f"{name} = ${place}" for place, name in enumerate(columns, 1))
    await network.pool.execute(f"UPDATE device_profile SET {sets}", *columns.values())
    await network.stop()
    await network.start()


async def test_the_windows_of_the_profile_are_given_with_the_join(network) -> None:
    device = await network.device()
    await profile_says(network, rx1_delay=3, rx2_data_rate=0)

    await network.receive(device.join())
    accept = device.receive_accept((await network.bridge.next()).transmissions[0].phy_payload)
    await network.receive(device.uplink(confirmed=True))
    answer = await network.bridge.next()

    assert (accept.rx1_delay, accept.rx2_dr) == (3, 0)
    assert [t.delay_us for t in answer.transmissions] == [3_000_000, 4_000_000]
    assert [t.spreading_factor for t in answer.transmissions] == [7, 12]


async def test_the_windows_of_the_profile_are_asked_of_sessions_that_were_opened_otherwise(network) -> None:
    device = await network.joined()
    await profile_says(network, rx1_delay=3, rx2_data_rate=0)

    await network.receive(device.uplink())
    _, commands = opened(device, await network.bridge.next(), 0)

    assert set(commands) == {RxTimingSetupReq(3), RxParamSetupReq(0, 0, 869_525_000)}


async def test_adr_is_off_for_a_profile_that_says_so(network) -> None:
    device = await network.joined()
    await profile_says(network, adr=False)

    for _ in range(6):
        await receive_slow(network, device)
    await receive_slow(network, device, confirmed=True)
    frame, commands = opened(device, await network.bridge.next(), 0)

    assert (frame.f_ctrl.ack, frame.f_ctrl.adr, commands) == (True, False, ())


async def test_adr_stays_within_the_bounds_of_the_profile(network) -> None:
    device = await network.joined()
    await profile_says(network, adr_max_data_rate=3, adr_max_tx_power=0)

    for _ in range(4):
        await receive_slow(network, device)
    _, commands = opened(device, await network.bridge.next(), 0)

    assert commands == (LinkAdrReq(3, 0, 0xFF, 0, 1),)


async def test_a_profile_that_changes_is_followed_without_a_restart(network) -> None:
    device = await network.joined()
    await network.pool.execute("UPDATE device_profile SET rx1_delay = 2")
    await network.bus.nudge(topics.REGISTRY_CHANGED)

    async def is_asked() -> bool:
        await network.receive(device.uplink())
        await network.all_acknowledged()
        return not network.bridge.requests.empty()

    await eventually(is_asked)
    _, commands = opened(device, await network.bridge.next(), 0)

    assert commands == (RxTimingSetupReq(2),)


async def test_a_device_that_sets_adr_ack_req_is_sent_its_plan_again(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink(f_ctrl=UplinkFCtrl(adr=True, adr_ack_req=True)))
    _, commands = opened(device, await network.bridge.next(), 0)

    assert commands == (LinkAdrReq(5, 0, 0xFF, 0, 1),)


@pytest.mark.parametrize("mac_state", ['{"channels": "all"}', "[]", "7"])
async def test_a_state_that_cannot_be_read_costs_neither_the_session_nor_the_start(
    network, mac_state: str
) -> None:
    device = await network.joined()
    await network.stop()
    await network.pool.execute("UPDATE session SET mac_state = $1::text::jsonb", mac_state)
    await network.start()

    await network.receive(device.uplink(b"still there"))

    assert (await network.next_uplink()).payload == b"still there"
