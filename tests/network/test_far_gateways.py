"""Gateways behind mobile networks: which window they are asked for, which first, and the device's delay."""

from lorawan.commands import parse_downlink_commands
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.frame import DownlinkFrame
from tests.network.conftest import GATEWAYS, RadioDevice

MOBILE, FIBRE = GATEWAYS[:2]
FAR = {MOBILE: 850_000}


def commands_of(device: RadioDevice, phy_payload: bytes, f_cnt: int):
    assert device.cipher is not None
    assert device.cipher.verify_downlink(phy_payload, device.dev_addr, f_cnt)
    return parse_downlink_commands(DownlinkFrame.from_bytes(phy_payload).f_opts).commands


async def test_a_gateway_too_far_for_rx1_is_asked_for_rx2_alone(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink(confirmed=True), far_us=FAR)
    request = await network.bridge.next()

    assert [t.delay_us for t in request.transmissions] == [2_000_000]


async def test_of_two_gateways_the_near_one_answers_in_rx1_though_the_far_one_receives_better(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink(confirmed=True), (MOBILE, FIBRE), far_us=FAR)
    request = await network.bridge.next()

    assert request.gateway_id == FIBRE
    assert [t.delay_us for t in request.transmissions] == [1_000_000, 2_000_000]


async def test_a_gateway_that_cannot_be_in_time_uses_up_no_counter(network) -> None:
    device = await network.joined()
    network.bridge.statuses[FIBRE] = "TOO_LATE"

    # Nobody can ask MOBILE in time for anything: FIBRE alone is asked, once, under the first counter.
    await network.receive(device.uplink(confirmed=True), (MOBILE, FIBRE), far_us={MOBILE: 5_000_000})
    first = await network.bridge.next()
    network.bridge.statuses[FIBRE] = "OK"
    await network.receive(device.uplink(confirmed=True), (MOBILE, FIBRE), far_us={MOBILE: 5_000_000})
    second = await network.bridge.next()

    assert [first.gateway_id, second.gateway_id] == [FIBRE, FIBRE]
    assert commands_of(device, first.transmissions[0].phy_payload, 0) is not None
    assert commands_of(device, second.transmissions[0].phy_payload, 1) is not None


async def test_a_join_through_far_gateways_alone_is_given_five_seconds(network) -> None:
    device = await network.device()
    await network.receive(device.join(), far_us=FAR)
    accept = device.receive_accept((await network.bridge.next()).transmissions[0].phy_payload)

    await network.receive(device.uplink(confirmed=True), far_us=FAR)
    answer = await network.bridge.next()

    assert accept.rx1_delay == 5
    assert [t.delay_us for t in answer.transmissions] == [5_000_000, 6_000_000]
    assert commands_of(device, answer.transmissions[0].phy_payload, 0) == ()


async def test_a_join_that_a_near_gateway_received_too_is_given_a_second(network) -> None:
    device = await network.device()

    await network.receive(device.join(), (MOBILE, FIBRE), far_us=FAR | {FIBRE: 30_000})
    accept = device.receive_accept((await network.bridge.next()).transmissions[0].phy_payload)

    assert accept.rx1_delay == 1


async def test_a_device_that_is_received_through_far_gateways_is_moved_to_five_seconds_and_stays_there(
    network,
) -> None:
    device = await network.joined()

    await network.receive(device.uplink(), far_us=FAR)
    asked = await network.bridge.next()
    await network.receive(device.uplink(f_opts=RxTimingSetupAns().to_bytes()), far_us=FAR)
    ended = await network.bridge.next()
    await network.all_acknowledged()
    await network.crash()  # What was agreed outlives its owner.
    await network.start()
    await network.receive(device.uplink(confirmed=True), (FIBRE,), far_us={FIBRE: 20_000})
    near = await network.bridge.next()

    assert commands_of(device, asked.transmissions[0].phy_payload, 0) == (RxTimingSetupReq(5),)
    assert [t.delay_us for t in asked.transmissions] == [2_000_000]
    assert [t.delay_us for t in ended.transmissions] == [5_000_000, 6_000_000]
    # A fast gateway now and then is no reason to change it again.
    assert [t.delay_us for t in near.transmissions] == [5_000_000, 6_000_000]
    assert commands_of(device, near.transmissions[0].phy_payload, 2) == ()
