"""What is known of every gateway: who spoke in its name, and what it did."""

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY

from core.messages import topics
from core.messages.frames import GatewayFrame
from core.runtime.postgres import Pool
from gateways import gateway_activity
from gateways.gateway_activity import WHAT, Activity
from gateways.known_gateways import Gateways, LastSeen
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from tests.gateways.stations import UPLINK, Rig, downlink, now_us, open_rig, register, until
from tests.receptions import reception

ELSEWHERE = "127.0.0.2"
BAD_CRC = b'{"rxpk":[{"stat":-1,"freq":868.1,"datr":"SF7BW125","data":"AA=="}],"stat":{"rxnb":12,"rxok":10}}'
PUSH = b"\x02\x00\x07\x00"


class Sink:
    def __init__(self) -> None:
        self.frames: list[GatewayFrame] = []

    def submit_frame(self, frame: GatewayFrame, done: Any = None) -> None:
        self.frames.append(frame)


def frame(gateway_id: GatewayId, phy_payload: bytes, at_us: int, antenna: int = 0) -> GatewayFrame:
    return reception(phy_payload, gateway_id, at_us, antenna=antenna)


async def watching(pool: Pool, gateway_id: GatewayId) -> tuple[Activity, Sink]:
    await register(pool, gateway_id)
    gateways, sink = Gateways(pool), Sink()
    await gateways.load()
    return Activity(pool, gateways, sink), sink


async def hours(pool: Pool) -> list[tuple]:
    rows = await pool.fetch("SELECT * FROM gateway_hour ORDER BY hour")
    return [
        (row["uplinks"], row["duplicates"], row["crc_errors"], row["rejected"], row["limited"]) for row in rows
    ]


def series(gateway_id: GatewayId, what: str) -> float | None:
    labels = {"gateway_id": gateway_id.hex(), "what": what}
    return REGISTRY.get_sample_value("territoire_gateway_bridge_gateway_frames_total", labels)


async def on_the_air(rig: Rig, gateway_id: GatewayId, station) -> None:
    await register(rig.pool, gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    await station.speak()
    await rig.reachable(gateway_id)
    await station.speak()  # Registered by now: its address is kept.


async def test_who_speaks_from_elsewhere_while_a_gateway_speaks_gets_neither_downlinks_nor_frames_in(
    rig: Rig, gateway_id: GatewayId
) -> None:
    async def is_noted() -> Any:
        return await rig.pool.fetchrow("SELECT * FROM gateway_address_change")

    async with rig.udp_station(gateway_id) as station, rig.udp_station(gateway_id, ELSEWHERE) as thief:
        await on_the_air(rig, gateway_id, station)
        await station.receive(UPLINK)
        await thief.speak()  # It has its answer, as everybody.
        await thief.receive(UPLINK)
        asked = asyncio.create_task(rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=now_us())))
        await station.answer(await station.command(), "OK")

        assert (await asked).status == "OK"
        assert thief.commands.empty()
        await until(is_noted)
        row = await is_noted()
        assert (row["former"], row["address"], row["refused"]) == ("127.0.0.1", ELSEWHERE, True)
        await until(lambda: rig.pool.fetchval("SELECT address FROM gateway_state"))  # Written after rejections.
        assert await rig.pool.fetchval("SELECT address FROM gateway_state") == "127.0.0.1"
        assert len(await rig.frames(1)) == 1


async def test_an_answer_from_another_gateway_under_the_same_token_is_not_taken(
    rig: Rig, gateway_id: GatewayId
) -> None:
    other = GatewayId(bytes(reversed(gateway_id)))
    async with rig.udp_station(gateway_id) as station, rig.udp_station(other) as stranger:
        await register(rig.pool, other)
        await on_the_air(rig, gateway_id, station)
        asked = asyncio.create_task(rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=now_us())))
        command = await station.command()
        await stranger.answer(command, "TX_FREQ")
        await stranger.speak()  # It has been read.
        await station.answer(command, "OK")

        assert (await asked).status == "OK"


async def test_rejected_addresses_that_could_not_be_written_are_added_to_the_next(
    pool: Pool, gateway_id: GatewayId, monkeypatch
) -> None:
    await register(pool, gateway_id)
    gateways = Gateways(pool)
    await gateways.load()
    sightings = LastSeen(pool, gateways)

    async def is_away(*_: object) -> None:
        raise ConnectionRefusedError

    sightings.reject_address(gateway_id, "semtech_udp", "192.0.2.7", "198.51.100.4")
    with monkeypatch.context() as away:
        away.setattr("gateways.known_gateways.save_address_changes", is_away)
        await sightings.save()
    sightings.reject_address(gateway_id, "semtech_udp", "192.0.2.7", "198.51.100.4")
    await sightings.save()
    await sightings.save()  # Nothing new.

    assert await pool.fetch("SELECT refused, times FROM gateway_address_change") == [(True, 2)]
    requested = "SELECT kind, (facts ->> 'times')::int, (facts ->> 'refused')::boolean FROM alert_request"
    assert await pool.fetch(requested) == [("gateway_address", 2, True)]


async def test_without_a_lock_a_gateway_moves_at_once_and_leaves_a_change(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    async def address() -> Any:
        return await pool.fetchval("SELECT address FROM gateway_state")

    async def is_at(expected: str) -> bool:
        return await address() == expected

    settings = bridge_settings.model_copy(update={"udp_address_lock_s": 0.0})
    async with (
        open_rig(settings, pool, gateway_mqtt_url) as rig,
        rig.udp_station(gateway_id) as former,
        rig.udp_station(gateway_id, ELSEWHERE) as latter,
    ):
        await on_the_air(rig, gateway_id, former)
        await until(lambda: is_at("127.0.0.1"))
        await latter.speak()
        await until(lambda: is_at(ELSEWHERE))

        row = await pool.fetchrow("SELECT * FROM gateway_address_change")
        assert (row["former"], row["address"], row["refused"], row["times"]) == ("127.0.0.1", ELSEWHERE, False, 1)


async def test_a_gateway_beyond_its_rate_is_dropped_and_counted_and_others_are_received(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    settings = bridge_settings.model_copy(update={"udp_gateway_rate": 1.0})  # Ten at once.
    other = GatewayId(bytes(reversed(gateway_id)))
    async with (
        open_rig(settings, pool, gateway_mqtt_url) as rig,
        rig.udp_station(gateway_id) as wild,
        rig.udp_station(other) as calm,
    ):
        await register(pool, other)
        await on_the_air(rig, gateway_id, wild)
        for _ in range(30):
            await wild.say(PUSH + gateway_id + b"{}")
        await calm.speak()  # It is answered, after all of them.

    assert series(gateway_id, "limited") >= 20
    assert (await hours(pool))[0][4] >= 20


async def test_what_a_gateway_did_is_in_the_metrics_and_in_its_hour_once_the_bridge_has_ended(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    async def is_online() -> bool:
        labels = {"gateway_id": gateway_id.hex()}
        return REGISTRY.get_sample_value("territoire_gateway_bridge_gateway_online", labels) == 1

    before = time.time()
    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig, rig.udp_station(gateway_id) as station:
        await on_the_air(rig, gateway_id, station)
        await station.receive(UPLINK, UPLINK, UPLINK[:-1] + b"\0")
        await station.say(PUSH + gateway_id + BAD_CRC)
        asked = asyncio.create_task(rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=now_us())))
        await station.answer(await station.command(), "OK")
        await asked
        await until(is_online)

    name = {"gateway_id": gateway_id.hex()}
    sample = REGISTRY.get_sample_value
    prefix = "territoire_gateway_bridge_gateway_"
    assert sample(f"{prefix}downlinks_total", name | {"result": "OK"}) == 1
    assert (sample(f"{prefix}last_seen_timestamp_seconds", name) or 0) > before
    counted = {what: series(gateway_id, what) for what in WHAT}
    assert counted == {"uplinks": 2, "duplicates": 1, "crc_errors": 2, "rejected": 1, "limited": 0}
    assert await hours(pool) == [(2, 1, 2, 1, 0)]
    assert 0 < await pool.fetchval("SELECT round_trip_ms FROM gateway_hour") < 1000


@pytest.mark.parametrize(
    ("later_us", "antenna", "counted"), [(0, 0, (1, 1)), (0, 1, (1, 0)), (3_000_000, 0, (2, 0))]
)
async def test_a_mirrored_frame_is_a_duplicate_and_a_second_antenna_or_a_repetition_is_not(
    pool: Pool, gateway_id: GatewayId, later_us: int, antenna: int, counted: tuple[int, int]
) -> None:
    watched, sink = await watching(pool, gateway_id)

    watched.submit_frame(frame(gateway_id, UPLINK, 1_000_000))
    watched.submit_frame(frame(gateway_id, UPLINK, 1_000_000 + later_us, antenna))
    await watched.save()

    assert [row[:2] for row in await hours(pool)] == [counted]
    assert len(sink.frames) == 2  # Whatever it counts, nothing is held back.


async def test_hours_add_up_and_what_could_not_be_written_goes_with_the_next(
    pool: Pool, gateway_id: GatewayId, monkeypatch
) -> None:
    watched, _ = await watching(pool, gateway_id)

    async def is_away(*_: object) -> None:
        raise ConnectionRefusedError

    watched.count_activity(gateway_id, rejected=1)
    await watched.save()
    with monkeypatch.context() as away:
        away.setattr(gateway_activity, "save_hours", is_away)
        watched.count_activity(gateway_id, rejected=2)
        await watched.save()
    watched.count_activity(gateway_id, rejected=3)
    await watched.save()
    await watched.save()  # Nothing new.

    assert sum(row[3] for row in await hours(pool)) == 6


async def test_a_number_that_a_gateway_invents_is_written_all_the_same(pool: Pool, gateway_id: GatewayId) -> None:
    watched, _ = await watching(pool, gateway_id)

    watched.count_activity(gateway_id, received=10**30, received_ok=-(10**30))
    watched.count_activity(gateway_id, received=1, received_ok=10**30)
    await watched.save()

    assert [row[2] for row in await hours(pool)] == [gateway_activity.MOST_CRC_ERRORS]


async def test_gateways_that_are_not_registered_have_neither_rows_nor_series(
    pool: Pool, gateway_id: GatewayId
) -> None:
    watched, sink = await watching(pool, gateway_id)
    stranger = GatewayId(bytes(reversed(gateway_id)))

    watched.submit_frame(frame(stranger, UPLINK, 1))
    watched.count_activity(stranger, rejected=1)
    watched.measured(stranger, 1.0)
    await watched.save()

    assert await hours(pool) == []
    assert series(stranger, "rejected") is None
    assert len(sink.frames) == 1


async def test_the_series_of_a_gateway_end_with_its_registration(pool: Pool, gateway_id: GatewayId) -> None:
    await register(pool, gateway_id)
    gateways = Gateways(pool)
    await gateways.load()
    watched = Activity(pool, gateways, Sink())
    watched.count_activity(gateway_id, rejected=1)
    await watched.save()
    before = series(gateway_id, "rejected")

    await pool.execute("DELETE FROM gateway")
    await gateways.load()
    await watched.save()

    assert (before, series(gateway_id, "rejected")) == (1, None)
