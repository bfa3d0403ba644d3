"""A clock is given its multicast group by a message of its own, and nobody else sees the keys."""

import random
from datetime import UTC, datetime

import msgspec

from core.messages import topics
from core.messages.topics import shard_of_slot
from lab.device.device import Device, DeviceSession
from lab.device.lamp_clock import LampClock
from lab.radio.medium import RadioMedium
from lab.radio.transmission import RX2_FREQUENCY, Transmission
from lighting.group_keys import give_group_keys
from lorawan.frame import DownlinkFrame
from registry.multicast import MulticastGroup, read_group
from tests.network.conftest import APP_KEY, SHARDS, Network, eventually
from tests.network.test_multicast import ADDRESS, KEYS, ended, enqueue, group_of

PASSED_US = 60_000_000


def receive_uplink(clock: Device, phy_payload: bytes, frequency: int, spreading_factor: int) -> bool:
    """Whether the device listens there; what it receives, it acts on."""
    at_us = clock.sent_until_us + PASSED_US
    receive = clock.lock_on(Transmission(phy_payload, frequency, spreading_factor, at_us, 1_000))
    if receive is not None:
        receive()
    return receive is not None


async def test_a_clock_is_given_its_group_by_its_own_message_and_obeys_the_group_from_then_on(
    network: Network,
) -> None:
    radio = await network.joined(device_class="C")
    await network.pool.execute("UPDATE device_profile SET codec = 'territoire.clock'")
    group_id = await group_of(network, radio, repeats=2)
    await network.pool.execute("UPDATE multicast_group SET f_cnt = 70000 WHERE id = $1", group_id)
    assert radio.cipher is not None
    answers: list[float] = []
    cabinet = LampClock((1_000, 500), is_set=True)
    clock = Device(
        1, radio.dev_eui, bytes(8), APP_KEY, cabinet, (), RadioMedium(random.Random(1)), random.Random(1),
        is_class_c=True, answer_later=lambda _device, _message, delay_s: answers.append(delay_s),
        session=DeviceSession(radio.dev_addr, radio.cipher, f_cnt_up=radio.f_cnt),
    )  # fmt: skip

    async def give() -> list[int]:
        """Have the keys sent that are due; the rows of all so far."""
        for slot in (await give_group_keys(network.pool, datetime.now(UTC))).slots:
            await network.bus.nudge(topics.downlink_due(shard_of_slot(slot, SHARDS)))
        return [row[0] for row in await network.pool.fetch("SELECT id FROM downlink ORDER BY id")]

    async def state() -> MulticastGroup:
        group = await read_group(network.pool, group_id)
        assert group is not None
        return group

    (row_id,) = await give()
    given = await network.request_as_time_passes()
    row = await network.downlink(row_id, "sent")
    assert (row.f_port, row.payload, row.keys_of_group, row.confirmed) == (65, b"", group_id, True)
    stored = await network.pool.fetchval("SELECT string_agg(to_jsonb(d)::text, '') FROM downlink d")
    for key in (KEYS.nwk_s_key, KEYS.app_s_key):
        assert key.hex() not in stored
        assert key not in msgspec.msgpack.encode(given)
    assert await give() == [row_id]
    assert ((await state()).keys_given_to, (await state()).keys_acknowledged_by) == ((radio.dev_eui,), ())

    (sent,) = given.transmissions
    assert receive_uplink(clock, sent.phy_payload, RX2_FREQUENCY, 12)
    assert cabinet.group is not None
    assert (cabinet.group.address, cabinet.group.first_f_cnt) == (ADDRESS, 70_000)
    await network.receive(clock.next_frame(cabinet.next_message(network.clock())))
    await network.downlink(row_id, "acknowledged")
    await give()
    assert ((await state()).keys_given_to, (await state()).keys_acknowledged_by) == ((), (radio.dev_eui,))

    override = bytes((7, 0, 40, 12)) + (2**32 - 1).to_bytes(4)
    await ended(network, await enqueue(network, group_id, override, f_port=62))
    (multicast,) = (await network.bridge.next()).transmissions
    assert DownlinkFrame.from_bytes(multicast.phy_payload).f_cnt == 70_000 & 0xFFFF
    assert not receive_uplink(clock, multicast.phy_payload, multicast.frequency, 12)
    for _ in range(2):
        assert receive_uplink(clock, multicast.phy_payload, multicast.frequency, multicast.spreading_factor)
    assert (cabinet.sequence, cabinet.outcome) == (7, 1)
    assert len(answers) == 1
    assert 0 <= answers[0] <= 900

    # It joins again: it is given them again, and is not counted on until it has acknowledged once more.
    while not network.bridge.requests.empty():
        network.bridge.requests.get_nowait()
    await network.receive(radio.join())
    radio.receive_accept((await network.bridge.next()).transmissions[0].phy_payload)
    await network.receive(radio.uplink(b"again"))

    async def is_given_again() -> bool:
        return len(await give()) > 1

    await eventually(is_given_again)
    assert (await state()).keys_acknowledged_by == ()
