"""Messages to groups: one frame, gateway after gateway, under a counter that nothing takes back."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from core.messages import topics
from core.messages.topics import shard_of_slot
from lorawan.crypto import Direction, SessionCipher, SessionKeys, wrap_key
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import DevAddr
from registry.multicast import (
    MulticastMessage,
    create_group,
    enqueue_multicast,
    read_group,
    read_message,
    set_members,
)
from tests.network.conftest import GATEWAYS, KEK, SHARDS, Network, eventually

ADDRESS = DevAddr(bytes.fromhex("00c0ffee"))
KEYS = SessionKeys(bytes([3]) * 16, bytes([4]) * 16)
CIPHER = SessionCipher(KEYS)


async def group_of(network: Network, *devices, repeats: int = 1) -> int:
    tenant_id = await network.pool.fetchval("SELECT id FROM tenant")
    given = {
        "name": "rue",
        "dev_addr": ADDRESS,
        "nwk_s_key_wrapped": wrap_key(KEK, KEYS.nwk_s_key),
        "app_s_key_wrapped": wrap_key(KEK, KEYS.app_s_key),
        "kek_id": "kek-1",
        "sealed_for": uuid4(),
    }
    given |= {"data_rate": 3, "frequency": 869_525_000, "repeats": repeats, "f_cnt": 0}
    async with network.pool.acquire() as connection, connection.transaction():
        group = await create_group(connection, tenant_id, given)
        await set_members(connection, group.id, [device.dev_eui for device in devices])
    return group.id


async def enqueue(
    network: Network, group_id: int, payload: bytes = b"dim", *, f_port: int = 10, not_after_s: float = 60
) -> int:
    async with network.pool.acquire() as connection, connection.transaction():
        message = await enqueue_multicast(
            connection,
            group_id,
            f_port=f_port,
            payload=payload,
            priority=1,
            not_after=datetime.now(UTC) + timedelta(seconds=not_after_s),
        )
    assert message is not None
    await network.bus.nudge(topics.downlink_due(shard_of_slot(group_id & 15, SHARDS)))
    return message.id


async def ended(network: Network, message_id: int) -> MulticastMessage:
    async def has_ended() -> bool:
        row = await read_message(network.pool, message_id)
        return row is not None and row.state not in {"queued", "sending"}

    await eventually(has_ended)
    row = await read_message(network.pool, message_id)
    assert row is not None
    return row


def opened(phy_payload: bytes, f_cnt: int) -> bytes:
    frame = DownlinkFrame.from_bytes(phy_payload)
    assert frame.dev_addr == ADDRESS
    assert CIPHER.verify_downlink(phy_payload, ADDRESS, f_cnt)
    return CIPHER.crypt(Direction.DOWN, ADDRESS, f_cnt, 10, frame.frm_payload)


async def two_streets(network: Network):
    """Two class C devices, each received by a gateway of its own."""
    first = await network.joined(device_class="C", number=1)
    second = await network.joined(device_class="C", number=2)
    await network.receive(second.uplink(), [GATEWAYS[1]])
    await network.all_acknowledged()
    return first, second


async def test_every_member_gets_the_same_frame_through_a_gateway_that_receives_it(network) -> None:
    group_id = await group_of(network, *await two_streets(network), repeats=2)

    message = await ended(network, await enqueue(network, group_id))
    requests = [network.bridge.requests.get_nowait() for _ in range(4)]

    assert (message.state, message.reason, message.f_cnt) == ("sent", None, 0)
    assert [request.gateway_id for request in requests] == [GATEWAYS[0], GATEWAYS[1]] * 2
    (phy_payload,) = {request.transmissions[0].phy_payload for request in requests}
    assert opened(phy_payload, 0) == b"dim"
    (way,) = {
        (t.immediate, t.frequency, t.spreading_factor) for request in requests for t in request.transmissions
    }
    assert way == (True, 869_525_000, 9)
    assert [(e["repeat"], e["status"]) for e in message.emissions] == [(0, "OK"), (0, "OK"), (1, "OK"), (1, "OK")]


async def test_messages_of_a_group_follow_each_other_under_rising_counters(network) -> None:
    group_id = await group_of(network, await network.joined(device_class="C"))

    ids = [await enqueue(network, group_id, payload) for payload in (b"one", b"two", b"three")]
    messages = [await ended(network, message_id) for message_id in ids]
    said = [network.bridge.requests.get_nowait().transmissions[0].phy_payload for _ in ids]
    group = await read_group(network.pool, group_id)

    assert [message.f_cnt for message in messages] == [0, 1, 2]
    assert [opened(phy_payload, f_cnt) for f_cnt, phy_payload in enumerate(said)] == [b"one", b"two", b"three"]
    assert group is not None
    assert group.f_cnt == 3


async def test_an_owner_that_takes_over_goes_on_with_the_same_number_and_the_same_frame(network) -> None:
    group_id = await group_of(network, *await two_streets(network))
    network.bridge.statuses[GATEWAYS[1]] = "COLLISION_PACKET"
    message_id = await enqueue(network, group_id)
    before = [await network.bridge.next(), await network.bridge.next()]

    await network.crash()
    network.bridge.statuses.clear()
    await network.start()
    message = await ended(network, message_id)
    after = [network.bridge.requests.get_nowait() for _ in range(network.bridge.requests.qsize())]

    assert message.f_cnt == 0
    assert [request.gateway_id for request in before] == [GATEWAYS[0], GATEWAYS[1]]
    assert after[-1].gateway_id == GATEWAYS[1]
    assert len({request.transmissions[0].phy_payload for request in before + after}) == 1


async def test_a_gateway_that_is_away_is_named_and_the_others_are_not_kept_waiting_for_ever(
    network, monkeypatch
) -> None:
    monkeypatch.setattr("network.multicast.TRY_AGAIN_US", 1_000)
    group_id = await group_of(network, *await two_streets(network))
    network.bridge.statuses[GATEWAYS[0]] = "NO_ACK"

    message = await ended(network, await enqueue(network, group_id))

    assert (message.state, message.reason) == ("sent", "SOME_GATEWAYS")
    assert [(e["gateway_id"], e["status"]) for e in message.emissions] == [
        (GATEWAYS[0].hex(), "NO_ACK"),
        (GATEWAYS[1].hex(), "OK"),
    ]
    assert network.bridge.requests.qsize() == 4


@pytest.mark.parametrize(
    ("payload", "is_received", "reason"),
    [(b"dim", False, "NO_MEMBER_HEARD"), (bytes(116), True, "PAYLOAD_TOO_LARGE")],
)
async def test_a_message_that_cannot_be_said_says_why_and_blocks_nothing(
    network, payload: bytes, is_received: bool, reason: str
) -> None:
    device = await network.joined(device_class="C") if is_received else await network.device(device_class="C")
    group_id = await group_of(network, device)

    message = await ended(network, await enqueue(network, group_id, payload))

    assert (message.state, message.reason) == ("failed", reason)
    assert network.bridge.requests.empty()


async def test_a_row_that_nobody_can_read_ends_itself_and_nothing_else(network) -> None:
    group_id = await group_of(network, await network.joined(device_class="C"))
    await network.stop()
    poisoned = await enqueue(network, group_id)
    await network.pool.execute("""UPDATE multicast_message SET emissions = '["?"]'""")
    await network.start()

    message = await ended(network, poisoned)
    after = await ended(network, await enqueue(network, group_id, b"after"))

    assert (message.state, message.reason) == ("failed", "INTERNAL_ERROR")
    assert (after.state, after.f_cnt) == ("sent", 1)


async def test_a_message_that_nobody_wants_any_more_expires(network) -> None:
    group_id = await group_of(network, await network.joined(device_class="C"))
    await network.stop()
    message_id = await enqueue(network, group_id, not_after_s=-1)
    await network.start()

    message = await ended(network, message_id)

    assert (message.state, message.reason, message.f_cnt) == ("expired", "NOT_AFTER", None)
    assert network.bridge.requests.empty()
