"""A frame that crashes the process costs no other uplink (docs/architecture.md, "Poison")."""

import asyncio
import os
import signal

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.topics import shard_of_slot
from lorawan.frame import routing_slot
from services.supervisor.forking import ForkedProcess
from tests.forked_programs import start_program

ENDS = 9
MOST_STARTS = 8


async def start_poisoned(network, poison: bytes) -> ForkedProcess:
    settings = network.settings
    return await start_program(
        "tests.network.poisoned_service",
        os.environ
        | {
            "POISON": poison.hex(),
            "TERRITOIRE_DATABASE_URL": settings.database_url.get_secret_value(),
            "TERRITOIRE_NATS_URL": settings.nats_url.get_secret_value(),
            "TERRITOIRE_INSTANCE": settings.instance,
            "TERRITOIRE_KEK": settings.kek.get_secret_value(),
        },
    )


async def ends_until_all_is_acknowledged(network, poison: bytes) -> int:
    """Start the poisoned service again each time that it ends; returns how often it did."""
    for ends in range(MOST_STARTS):
        process = await start_poisoned(network, poison)
        ended = asyncio.create_task(process.wait())
        emptied = asyncio.create_task(network.all_acknowledged())
        await asyncio.wait((ended, emptied), return_when=asyncio.FIRST_COMPLETED)
        if emptied.done():
            process.send_signal(signal.SIGTERM)
            assert await ended == 0
            return ends
        emptied.cancel()
        assert await ended == ENDS
    raise AssertionError(f"it ended {MOST_STARTS} times")


def shard_of(phy_payload: bytes) -> int:
    slot = routing_slot(phy_payload)
    assert slot is not None
    return shard_of_slot(slot, 4)


async def test_the_frame_in_hand_at_the_third_end_is_quarantined_and_every_other_is_an_uplink(network) -> None:
    devices = [await network.joined(number=number) for number in range(1, 5)]
    await network.stop()
    by_shard: dict[int, list[bytes]] = {}
    for device in devices:
        for payload in (b"before", b"here", b"after"):
            phy = device.uplink(payload)
            by_shard.setdefault(shard_of(phy), []).append(phy)
    poison = devices[0].uplink(b"poison")
    by_shard[shard_of(poison)].insert(1, poison)
    for shard, frames in by_shard.items():
        octets = encode_batch([copy for phy in frames for copy in network.frames_of(phy)])
        await network.bus.publish(topics.frames(shard), octets)

    ends = await ends_until_all_is_acknowledged(network, poison)

    assert ends == 3
    quarantined = await network.pool.fetch("SELECT service, reason, detail, data FROM observation.quarantine")
    assert [(row["service"], row["data"]) for row in quarantined] == [("network", poison)]
    assert (quarantined[0]["reason"], quarantined[0]["detail"]) == ("poison", "3")
    expected = {(device.id, payload) for device in devices for payload in (b"before", b"here", b"after")}
    heard: set[tuple[int, bytes]] = set()
    while heard != expected:
        uplink = await network.next_uplink()
        if not uplink.late:  # What was committed before an end comes again, as a late copy of the same uplink.
            heard.add((uplink.device_id, uplink.payload))
