"""Downlink rows, from queued to their end, through gateways that answer as the test sets it."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from core.messages import topics
from core.messages.downlinks import TransmitReply, TransmitRequest, encode_transmit
from core.messages.topics import shard_of_slot
from core.runtime.clock import wall_clock_us
from core.runtime.lease import take_lease
from lorawan.commands import parse_downlink_commands
from lorawan.commands.device_time import DeviceTimeAns
from lorawan.commands.link_check import LinkCheckAns
from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.frame import DownlinkFrame, UplinkFCtrl
from lorawan.identifiers import slot_of_dev_eui
from lorawan.join import allocate_dev_addr
from lorawan.mac_state import MacState
from lorawan.session import Session
from network import downlink_store
from network.deduplication import Deduplication
from network.downlink_dispatch import Dispatcher
from network.downlink_planner import AnswerCandidate, Downlinks
from network.held_state import DeviceCache, SessionTable
from network.receive import Opportunity
from network.sessions import HeldSession, Progress
from network.shards import SERVICE, Shard, Shards
from registry.downlinks import read_downlink

GATEWAY_1, GATEWAY_2 = (bytes([0xAA] * 7 + [number]) for number in (1, 2))


def opened(device, request: TransmitRequest, f_cnt: int) -> tuple[DownlinkFrame, bytes]:
    """The frame as the device reads it, with its MIC checked under this counter."""
    phy_payload = request.transmissions[0].phy_payload
    frame = DownlinkFrame.from_bytes(phy_payload)
    assert device.cipher.verify_downlink(phy_payload, device.dev_addr, f_cnt)
    payload = device.cipher.crypt(Direction.DOWN, device.dev_addr, f_cnt, frame.f_port or 0, frame.frm_payload)
    return frame, payload


async def test_a_confirmed_uplink_is_acknowledged_in_both_windows(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink(confirmed=True))
    request = await network.bridge.next()
    frame, _ = opened(device, request, 0)

    assert frame.f_ctrl.ack
    assert [t.delay_us for t in request.transmissions] == [1_000_000, 2_000_000]
    assert request.transmissions[0].phy_payload == request.transmissions[1].phy_payload
    assert request.downlink_id == 0
    assert request.priority == 0


async def test_a_row_waits_for_the_uplink_of_a_class_a_device_and_is_sent(network) -> None:
    device = await network.joined()
    downlink_id = await network.enqueue(device, payload=b"open")
    assert network.bridge.requests.empty()

    await network.receive(device.uplink())
    request = await network.bridge.next()
    frame, payload = opened(device, request, 0)
    row = await network.downlink(downlink_id, "sent")

    assert (frame.f_port, payload, frame.f_ctrl.ack) == (10, b"open", False)
    assert request.downlink_id == downlink_id
    assert (row.f_cnt_down, row.gateway_id, row.attempts) == (0, GATEWAY_1, 1)
    assert row.sent_at is not None


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_row_was_sent_when_its_own_clock_allows_it_whatever_its_bridge_s_says(network, hours: int) -> None:
    device = await network.joined()
    network.bridge.starts_at_us = wall_clock_us() + hours * 3_600_000_000
    downlink_id = await network.enqueue(device, payload=b"open")

    await network.receive(device.uplink())
    await network.bridge.next()
    row = await network.downlink(downlink_id, "sent")

    assert abs(row.sent_at - datetime.now(UTC)) < timedelta(seconds=40)


async def test_what_a_device_asks_is_answered_in_f_opts(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink(f_opts=b"\x02\x0d"), [GATEWAY_1, GATEWAY_2])
    frame, _ = opened(device, await network.bridge.next(), 0)
    link_check, device_time = parse_downlink_commands(frame.f_opts).commands

    assert link_check == LinkCheckAns(margin=15, gateway_count=2)
    assert isinstance(device_time, DeviceTimeAns)


async def test_f_cnt_down_goes_on_after_a_crash(network) -> None:
    device = await network.joined()
    await network.receive(device.uplink(confirmed=True))
    opened(device, await network.bridge.next(), 0)
    await network.all_acknowledged()
    await network.crash()
    await network.start()

    await network.receive(device.uplink(confirmed=True))

    opened(device, await network.bridge.next(), 1)


async def test_a_rejection_sends_a_new_frame_through_the_next_gateway(network) -> None:
    device = await network.joined()
    network.bridge.statuses[GATEWAY_1] = "COLLISION_PACKET"
    downlink_id = await network.enqueue(device)

    await network.receive(device.uplink(), [GATEWAY_1, GATEWAY_2])
    first, second = await network.bridge.next(), await network.bridge.next()
    row = await network.downlink(downlink_id, "sent")

    assert (first.gateway_id, second.gateway_id) == (GATEWAY_1, GATEWAY_2)
    opened(device, first, 0)
    opened(device, second, 1)
    assert (row.f_cnt_down, row.gateway_id) == (1, GATEWAY_2)


async def test_when_the_best_gateway_dies_between_uplink_and_answer_another_answers_in_rx2_with_a_new_f_cnt_down(
    network,
) -> None:
    device = await network.joined()
    network.bridge.statuses[GATEWAY_1] = "NO_ACK"  # In RX1: it may have transmitted, and would disturb another.

    await network.receive(device.uplink(confirmed=True), [GATEWAY_1, GATEWAY_2])
    first, second = await network.bridge.next(), await network.bridge.next()

    assert (first.gateway_id, second.gateway_id) == (GATEWAY_1, GATEWAY_2)
    opened(device, first, 0)
    frame, _ = opened(device, second, 1)
    assert frame.f_ctrl.ack
    assert [t.delay_us for t in second.transmissions] == [2_000_000]


async def test_when_the_best_gateway_is_busy_in_rx1_anothers_rx1_comes_before_its_own_rx2(network) -> None:
    device = await network.joined()
    network.bridge.statuses |= {GATEWAY_1: "COLLISION_PACKET", GATEWAY_2: "COLLISION_PACKET"}

    await network.receive(device.uplink(confirmed=True), [GATEWAY_1, GATEWAY_2])
    asked = [await network.bridge.next() for _ in range(4)]

    assert [request.gateway_id for request in asked] == [GATEWAY_1, GATEWAY_2] * 2
    assert [request.falls_back for request in asked] == [False, False, True, True]
    assert [request.transmissions[0].delay_us for request in asked] == [1_000_000] * 2 + [2_000_000] * 2
    for f_cnt, request in enumerate(asked):
        opened(device, request, f_cnt)


async def test_a_gateway_that_nobody_reaches_is_asked_once_and_another_still_answers_in_rx1(network) -> None:
    device = await network.joined()
    gone = bytes([0xCC] * 8)

    await network.receive(device.uplink(confirmed=True), [gone, GATEWAY_2])
    request = await network.bridge.next()

    assert request.gateway_id == GATEWAY_2
    assert request.transmissions[0].delay_us == 1_000_000
    opened(device, request, 1)


async def test_while_a_gateway_is_asked_the_next_device_is_answered_by_another_that_receives_it_well(
    network,
) -> None:
    one, two = await network.joined(number=1), await network.joined(number=2)
    busy, asked, answered = bytes([0xBB] * 8), asyncio.Event(), asyncio.Event()

    async def answer(_octets: bytes) -> bytes:
        asked.set()
        await answered.wait()
        return encode_transmit(TransmitReply("OK", 0, 0, 0))

    await network.bus.respond(topics.gateway_down(busy), answer, queue="bridge")
    await network.receive(one.uplink(confirmed=True), [busy])
    await asyncio.wait_for(asked.wait(), 10)

    await network.receive(two.uplink(confirmed=True), [busy, GATEWAY_2])
    request = await network.bridge.next()
    answered.set()

    assert request.gateway_id == GATEWAY_2


async def test_a_row_that_no_gateway_takes_waits_with_its_reason(network) -> None:
    device = await network.joined()
    network.bridge.statuses[GATEWAY_1] = "DUTY_CYCLE_OVERFLOW"
    downlink_id = await network.enqueue(device)

    await network.receive(device.uplink())
    await network.bridge.next()
    await network.settled(downlink_id)
    row = await network.pool.fetchrow("SELECT * FROM downlink WHERE id = $1", downlink_id)

    assert (row["state"], row["reason"], row["attempts"]) == ("queued", "DUTY_CYCLE_OVERFLOW", 0)
    assert row["not_before"] is not None


async def test_a_row_fails_with_its_reason_after_three_attempts(network) -> None:
    device = await network.joined()
    network.bridge.statuses[GATEWAY_1] = "TX_FREQ"
    downlink_id = await network.enqueue(device)

    for _ in range(3):
        await network.pool.execute("UPDATE downlink SET not_before = NULL")
        await network.receive(device.uplink())
        await network.bridge.next()
        await network.settled(downlink_id)
    row = await network.downlink(downlink_id, "failed")

    assert (row.reason, row.attempts) == ("TX_FREQ", 3)


async def test_a_payload_with_no_room_fails_and_does_not_block_the_next(network) -> None:
    device = await network.joined()
    too_large = await network.enqueue(device, payload=bytes(242), priority=1)
    await network.pool.execute("UPDATE session SET rx2_data_rate = 0")
    after = await network.enqueue(device, payload=b"small", priority=2)

    await network.receive(slow(network, device))
    row = await network.downlink(too_large, "failed")
    await network.receive(device.uplink())
    await network.downlink(after, "sent")

    assert row.reason == "PAYLOAD_TOO_LARGE"


def slow(network, device) -> bytes:
    """An uplink on SF12, whose RX1 has room for 51 octets."""
    made = network.frames_of
    network.frames_of = lambda phy, gateways, **heard: [
        type(copy)(**{**{f: getattr(copy, f) for f in copy.__struct_fields__}, "spreading_factor": 12})
        for copy in made(phy, gateways, **heard)
    ]
    return device.uplink()


async def test_a_confirmed_downlink_is_acknowledged_by_the_next_uplink(network) -> None:
    device = await network.joined()
    downlink_id = await network.enqueue(device, confirmed=True)
    await network.receive(device.uplink())
    frame, _ = opened(device, await network.bridge.next(), 0)
    await network.downlink(downlink_id, "sent")

    await network.receive(device.uplink(f_ctrl=UplinkFCtrl(ack=True)))
    row = await network.downlink(downlink_id, "acknowledged")

    assert frame.confirmed
    assert row.reason is None


async def test_a_confirmed_downlink_without_acknowledgement_goes_out_again_under_a_new_counter(network) -> None:
    device = await network.joined()
    downlink_id = await network.enqueue(device, confirmed=True)
    await network.receive(device.uplink())
    opened(device, await network.bridge.next(), 0)
    await network.downlink(downlink_id, "sent")
    await network.pool.execute("UPDATE downlink SET sent_at = sent_at - interval '10 seconds'")

    await network.receive(device.uplink())
    opened(device, await network.bridge.next(), 1)
    row = await network.downlink(downlink_id, "sent")

    assert row.attempts == 2


async def test_a_stale_uplink_is_published_and_plans_no_downlink(network) -> None:
    device = await network.joined()
    downlink_id = await network.enqueue(device)

    await network.receive(device.uplink(b"old", confirmed=True), time_us=1_764_000_000_000_000)
    uplink = await network.next_uplink()
    await network.all_acknowledged()
    await network.receive(device.uplink(b"new"))
    request = await network.bridge.next()

    assert (uplink.payload, uplink.time_us) == (b"old", 1_764_000_000_000_000)
    assert request.downlink_id == downlink_id
    opened(device, request, 0)


async def test_an_expired_row_says_so(network) -> None:
    device = await network.joined()

    downlink_id = await network.enqueue(device, not_after_s=0)  # The window of the first uplink may still be open.

    row = await network.downlink(downlink_id, "expired")
    assert row.reason == "NOT_AFTER"


async def test_a_class_c_row_goes_out_at_once_on_rx2_after_the_class_a_windows(network) -> None:
    device = await network.joined(device_class="C")
    heard_at_us = await network.pool.fetchval(
        "SELECT (extract(epoch FROM last_uplink_at) * 1e6)::bigint FROM session WHERE device_id = $1", device.id
    )

    downlink_id = await network.enqueue(device, payload=b"on")
    request = await network.bridge.next()
    _, payload = opened(device, request, 0)
    await network.downlink(downlink_id, "sent")

    (transmission,) = request.transmissions
    session = await network.pool.fetchrow("SELECT * FROM session WHERE device_id = $1", device.id)
    spreading_factor = {0: 12, 3: 9}[session["rx2_data_rate"]]
    assert transmission.immediate
    assert (transmission.frequency, transmission.spreading_factor) == (869_525_000, spreading_factor)
    assert payload == b"on"
    assert request.uplink_at_us == 0
    assert request.latest_at_us - heard_at_us >= 2_000_000 + 3_000_000


async def test_a_class_c_row_that_comes_with_an_uplink_waits_until_rx2_is_over(network) -> None:
    device = await network.joined(device_class="C")
    heard_at_us = network.clock()
    await network.receive(device.uplink(), time_us=heard_at_us)
    await network.next_uplink()
    await network.all_acknowledged()

    await network.enqueue(device)
    request = await network.request_as_time_passes()

    # RX2 opens 2 s after the uplink and is over half a second later; the row may then wait for a radio for 3 s.
    assert request.latest_at_us - heard_at_us >= 2_500_000 + 3_000_000


async def test_a_class_c_row_waits_for_the_first_uplink_of_the_session(network) -> None:
    device = await network.device(device_class="C")
    await network.receive(device.join())
    device.receive_accept((await network.bridge.next()).transmissions[0].phy_payload)
    downlink_id = await network.enqueue(device)
    await network.receive(device.join())  # Whatever else is asked of the bridge comes before the row.
    device.receive_accept((await network.bridge.next()).transmissions[0].phy_payload)

    await network.receive(device.uplink())
    request = await network.bridge.next()

    assert request.downlink_id == downlink_id


async def test_a_row_found_sending_after_a_crash_is_sent_again(idle_network) -> None:
    network = idle_network
    await network.start()
    device = await network.joined(device_class="C")
    await network.crash()
    downlink_id = await network.enqueue(device)
    await network.pool.execute("UPDATE downlink SET state = 'sending', attempts = 1")

    await network.start()
    row = await network.downlink(downlink_id, "sent")

    assert row.attempts == 2


@pytest.mark.parametrize("device_class", ["A", "C"])
async def test_a_cancelled_row_is_never_sent(network, device_class: str) -> None:
    device = await network.joined(device_class=device_class)
    # In one transaction: to class C the first one would be sent as soon as it can be seen.
    async with network.pool.acquire() as connection, connection.transaction():
        cancelled = await network.enqueue_in(connection, device, payload=b"no")
        await connection.execute("UPDATE downlink SET state = 'cancelled' WHERE id = $1", cancelled.id)
    wanted = await network.enqueue(device, payload=b"yes")

    await network.receive(device.uplink())
    request = await network.bridge.next()

    assert request.downlink_id == wanted


async def test_a_row_whose_request_was_forgotten_is_sent_after_all(network) -> None:
    device = await network.joined(device_class="C")
    downlink_id = await network.enqueue(device)
    await network.downlink(downlink_id, "sent")

    # As after a commit that the database carried out and did not live to confirm.
    await network.pool.execute("UPDATE downlink SET state = 'sending' WHERE id = $1", downlink_id)
    await network.time_passes(3)  # The first one is off the air.
    row = await network.downlink(downlink_id, "sent")

    assert row.attempts == 2


async def test_a_confirmed_row_of_a_device_that_stays_silent_fails_and_lets_the_next_one_through(network) -> None:
    device = await network.joined()
    downlink_id = await network.enqueue(device, confirmed=True)
    await network.receive(device.uplink())
    await network.bridge.next()
    await network.downlink(downlink_id, "sent")

    await network.pool.execute(
        "UPDATE downlink SET sent_at = now() - interval '26 hours', not_after = now() - interval '1 hour'"
    )
    failed = await network.downlink(downlink_id, "failed")
    next_id = await network.enqueue(device, payload=b"next")
    await network.receive(device.uplink())

    assert failed.reason == "DEVICE_SILENT"
    assert (await network.bridge.next()).downlink_id == next_id


async def test_a_row_is_answered_for_when_too_many_devices_wait_to_ask_about_each(network, monkeypatch) -> None:
    monkeypatch.setattr(downlink_store, "MAX_CONCERNED", 0)
    device = await network.joined()
    downlink_id = await network.enqueue(device)

    await network.receive(device.uplink())

    assert (await network.bridge.next()).downlink_id == downlink_id


async def test_nothing_is_planned_for_a_shard_that_is_lost_while_its_rows_are_looked_at(idle_network) -> None:
    network = idle_network
    device = await network.device()
    slot = slot_of_dev_eui(device.dev_eui)
    row_id = await network.enqueue(device, not_after_s=-1)
    sessions, devices = SessionTable(), DeviceCache()
    shards = Shards(network.pool, network.settings, sessions, devices, 4)
    lease = await take_lease(network.pool, SERVICE, shard_of_slot(slot, 4), "under-test")
    assert lease is not None
    shard = Shard(shards, lease, Deduplication(200_000))
    shards._owned[shard.number] = shard
    cipher = SessionCipher(SessionKeys(bytes(16), bytes(16)))
    state = Session(allocate_dev_addr(0, slot, secrets.randbelow))
    session = HeldSession(1, device.id, cipher, Progress(state, MacState(0xFF)))
    offer = AnswerCandidate(Opportunity(session, (), 0, False, b"", must_answer=False), True, False)
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'downlink'::regclass)"

    async with asyncio.TaskGroup() as tasks:
        dispatcher = Dispatcher(network.pool, network.bus, shards, network.settings, tasks)
        downlinks = Downlinks(network.pool, network.bus, shards, sessions, devices, dispatcher)
        async with network.pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE downlink IN ACCESS EXCLUSIVE MODE")
            planning = tasks.create_task(downlinks.plan_due(poll=True))
            downlinks.queue_answers([offer])
            while not await connection.fetchval(waits):
                pass
            await network.pool.execute("UPDATE shard_lease SET epoch = epoch + 1, owner = 'another'")
            shards.drop(shard)
        await planning

    row = await read_downlink(network.pool, row_id)
    assert row is not None
    assert row.state == "queued"
