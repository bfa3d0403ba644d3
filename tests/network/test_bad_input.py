"""What is wrong with a frame, a gateway or a row costs that frame, that gateway or that row."""

import asyncio
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.topics import shard_of_slot
from lorawan.frame import DownlinkFrame, routing_slot
from tests.network.conftest import GATEWAYS, SHARDS, Network, RadioDevice

HOUR_US = 3_600_000_000
LIAR, HONEST = GATEWAYS[:2]
numbers = count(1)


async def receive_dated(network: Network, phy_payload: bytes, *times: tuple[bytes, int]) -> None:
    """In one message: which gateway received it, and how far off its time is."""
    slot = routing_slot(phy_payload)
    assert slot is not None
    copies = [
        replace(copy, time_us=copy.received_at_us + off_us)
        for gateway_id, off_us in times
        for copy in network.frames_of(phy_payload, (gateway_id,))
    ]
    await network.bus.publish(topics.frames(shard_of_slot(slot, SHARDS)), encode_batch(copies))


@pytest.mark.parametrize(
    "off_us", [-HOUR_US, -20 * 365 * 24 * HOUR_US, HOUR_US], ids=["an-hour", "gps-1980", "ahead"]
)
async def test_a_gateway_that_lies_about_time_does_not_date_what_others_received_too(network, off_us: int) -> None:
    device = await network.joined()
    before = network.clock()

    await receive_dated(network, device.uplink(b"data", confirmed=True), (LIAR, off_us), (HONEST, 0))
    request = await network.bridge.next()
    uplink = await network.next_uplink()

    assert [t.delay_us for t in request.transmissions] == [1_000_000, 2_000_000]
    assert before <= uplink.time_us <= network.clock()


async def test_a_join_that_a_liar_received_first_is_let_in(network) -> None:
    device = await network.device()

    await receive_dated(network, device.join(), (LIAR, -HOUR_US), (HONEST, 0))

    assert device.receive_accept((await network.bridge.next()).transmissions[0].phy_payload).join_nonce == 1


async def test_what_a_liar_alone_has_received_is_stored_and_the_next_frame_is_answered(network) -> None:
    device = await network.joined()

    await receive_dated(network, device.uplink(b"lie", confirmed=True), (LIAR, -HOUR_US))
    stored = await network.next_uplink()
    await network.receive(device.uplink(b"truth", confirmed=True), (HONEST,))
    request = await network.bridge.next()

    assert stored.payload == b"lie"
    frame = DownlinkFrame.from_bytes(request.transmissions[0].phy_payload)
    assert (request.gateway_id, frame.f_cnt, frame.f_ctrl.ack) == (HONEST, 0, True)


@pytest.mark.parametrize(
    "poison",
    [
        "last_heard_by = '[{\"gateway\": 1}]'",
        "last_heard_by = '{}'",
        "nwk_s_key_wrapped = '\\x0102'",
        "mac_state = '[1, 2]'",
        "rx2_data_rate = 15",
    ],
)
async def test_a_poisoned_session_keeps_out_its_device_and_nobody_else(network, poison: str) -> None:
    ill, well = await network.joined(number=1), await network.joined(number=2)
    await network.stop()
    await network.pool.execute(f"UPDATE session SET {poison} WHERE device_id = $1", ill.id)
    await network.start()

    await network.receive(ill.uplink(confirmed=True))
    await network.receive(well.uplink(b"well", confirmed=True))
    async with asyncio.timeout(30):
        while (await network.next_uplink()).device_id != well.id:
            pass
        while DownlinkFrame.from_bytes((await network.bridge.next()).transmissions[0].phy_payload).dev_addr != (
            well.dev_addr
        ):
            pass
    await network.all_acknowledged()

    await network.receive(ill.join())  # A session of its own is all that it needs.
    async with asyncio.timeout(30):
        while len(accept := (await network.bridge.next()).transmissions[0].phy_payload) != 33:
            pass
    assert ill.receive_accept(accept).join_nonce == 2


class Speaking:
    """One network and one device for all examples."""

    network: Network | None = None
    device: RadioDevice | None = None


phy_payloads = st.binary(min_size=1, max_size=255) | st.builds(
    lambda head, rest: bytes([head]) + rest,
    st.sampled_from([0x00, 0x20, 0x40, 0x60, 0x80, 0xA0, 0xC0, 0xE0]),
    st.binary(max_size=60),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(phy_payloads, max_size=30),
    own=st.lists(st.tuples(st.integers(0, 22), st.integers(0, 255)), max_size=10),
)
async def test_whatever_is_on_the_air_a_valid_frame_afterwards_is_answered_at_once(
    network: Network, said: list[bytes], own: list[tuple[int, int]]
) -> None:
    device = Speaking.device if Speaking.network is network else None
    if device is None:
        Speaking.network, Speaking.device = network, (device := await network.joined())
    valid = device.uplink(b"%d" % next(numbers), confirmed=True)
    damaged = [valid[:at] + bytes([octet]) + valid[at + 1 :] for at, octet in own if at < len(valid)]
    for phy_payload in (*said, *(each for each in damaged if each != valid)):
        if routing_slot(phy_payload) is not None:
            await network.receive(phy_payload)

    await network.receive(valid)
    request = await network.bridge.next()

    frame = DownlinkFrame.from_bytes(request.transmissions[0].phy_payload)
    assert (frame.dev_addr, frame.f_ctrl.ack) == (device.dev_addr, True)
    assert request.transmissions[0].delay_us == 1_000_000
