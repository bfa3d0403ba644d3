"""The whole service on real sockets, a real bus, a real broker and a real database."""

import asyncio
import os
import secrets
import signal
import sys

import httpx
import pytest

from core.messages import topics
from core.messages.frames import FRAME_BATCHES
from core.runtime.bus import connect_bus
from core.runtime.postgres import Pool
from gateways import semtech_udp
from lorawan.identifiers import GatewayId
from services.gateway_bridge.app import run
from services.gateway_bridge.settings import Settings
from tests.gateways.stations import (
    JOIN_REQUEST,
    RX1_DELAY_US,
    TMST,
    UPLINK,
    Rig,
    UdpStation,
    downlink,
    now_us,
    open_rig,
    ready,
    register,
    replica,
    until,
)


async def on_the_air(rig: Rig, station: UdpStation) -> None:
    await register(rig.pool, station.gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    await station.speak()
    await rig.reachable(station.gateway_id)


async def obey(station: UdpStation, count: int) -> None:
    for _ in range(count):
        await station.answer(await station.command(), "OK")


async def test_a_gateway_is_received_within_5_s_of_its_registration_and_was_noted_before(
    rig: Rig, gateway_id: GatewayId
) -> None:
    async def is_noted() -> int:
        return await rig.pool.fetchval("SELECT count(*) FROM unknown_gateway WHERE gateway_id = $1", gateway_id)

    async with rig.udp_station(gateway_id) as station:
        await station.speak()
        await until(is_noted)
        await register(rig.pool, gateway_id)  # No nudge: the poll finds it.
        registered_at = now_us()
        await rig.reachable(gateway_id)  # Its PULL_DATA came before it was ours, and is remembered.
        reachable_at = now_us()
        await station.receive(UPLINK)

        assert reachable_at - registered_at < 6_000_000  # The poll's 5 s, and what it takes.
        assert [frame.phy_payload for frame in await rig.frames(1)] == [UPLINK]


async def test_one_bad_rxpk_costs_its_neighbours_nothing(rig: Rig, gateway_id: GatewayId) -> None:
    good = (
        b'{"tmst":1,"freq":868.1,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/5","rssi":-71,"lsnr":8.2,'
        b'"data":"QPF9vkkAIAABlUN4disR/w0="}'
    )
    async with rig.udp_station(gateway_id) as station:
        await on_the_air(rig, station)
        rejected = await rig.metric('territoire_gateway_bridge_uplinks_total{result="rejected_data"}')
        bad = b'{"freq":868.1,"datr":"SF7BW125","data":"%%%"}'
        await station.say(b"\x02\x00\x07\x00" + gateway_id + b'{"rxpk":[' + bad + b"," + good + b"," + bad + b"]}")

        frames = await rig.frames(1)

        assert len(frames[0].phy_payload) == 17
        assert await rig.metric('territoire_gateway_bridge_uplinks_total{result="rejected_data"}') == rejected + 2


async def test_after_a_burst_of_random_datagrams_a_valid_one_is_answered(rig: Rig, gateway_id: GatewayId) -> None:
    async with rig.udp_station(gateway_id) as station, rig.udp_station(gateway_id) as forger:
        await on_the_air(rig, station)
        for number in range(2_000):
            header = b"" if number % 2 else b"\x02" + secrets.token_bytes(2) + bytes([number % 7])
            await forger.say(header + secrets.token_bytes(number % 200))
        await station.receive(UPLINK)

        assert [frame.phy_payload for frame in await rig.frames(1)] == [UPLINK]
        counted = 'territoire_gateway_bridge_datagrams_total{result="not_a_datagram",type="unknown"}'
        assert await rig.metric(counted) > 0


async def test_a_full_sub_band_is_rejected_with_the_instant_when_it_fits(rig: Rig, gateway_id: GatewayId) -> None:
    # 10 % of an hour is 360 s, of which commands may have 90 %: 324 s were used up half an hour ago.
    async with rig.udp_station(gateway_id) as station:
        await rig.pool.execute(
            "INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority, status) "
            "VALUES ($1, now() - interval '30 minutes', 869525000, 324000000, 1, 'OK')",
            gateway_id,
        )
        await on_the_air(rig, station)

        reply = await rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 1_000_000))

        assert (reply.status, reply.index) == ("DUTY_CYCLE_OVERFLOW", -1)
        assert reply.fits_at_us > now_us() + 20 * 60 * 1_000_000
        assert station.commands.empty()


async def test_a_restarted_bridge_goes_on_with_the_ledger(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    async with (
        open_rig(bridge_settings, pool, gateway_mqtt_url) as rig,
        rig.udp_station(gateway_id) as station,
    ):
        await on_the_air(rig, station)
        obeying = asyncio.create_task(obey(station, 1))
        reply = await rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 1_000_000))
        await obeying
        assert reply.status == "OK"
    rows = await pool.fetch("SELECT status, frequency, airtime_us, downlink_id FROM transmission")
    # As long a transmission as the law allows in one hour, still to be answered when its bridge died.
    await pool.execute(
        "UPDATE transmission SET status = NULL, airtime_us = 324000000, starts_at = now() - interval '20 minutes'"
    )

    async with (
        open_rig(bridge_settings, pool, gateway_mqtt_url) as rig,
        rig.udp_station(gateway_id) as station,
    ):
        await station.speak()
        await rig.reachable(gateway_id)
        refused = await rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 1_000_000))

    assert [tuple(row) for row in rows] == [("OK", 869_525_000, 164_864, 7)]
    assert refused.status == "DUTY_CYCLE_OVERFLOW"


async def test_a_window_that_has_passed_is_too_late(rig: Rig, gateway_id: GatewayId) -> None:
    async with rig.udp_station(gateway_id) as station:
        await on_the_air(rig, station)
        heard_at = now_us() - RX1_DELAY_US - 100_000  # RX1 has begun, RX2 begins in 0.9 s.

        obeying = asyncio.create_task(obey(station, 1))
        second = await rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=heard_at))
        await obeying
        neither = await rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=heard_at - RX1_DELAY_US))

        assert (second.status, second.index) == ("OK", 1)
        assert (neither.status, neither.index) == ("TOO_LATE", -1)


async def test_a_restarted_forwarder_is_reached_on_its_new_socket_once_the_old_one_is_silent(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    settings = bridge_settings.model_copy(update={"udp_address_lock_s": 3.0, "udp_gateway_rate": 1.0})
    async with (
        open_rig(settings, pool, gateway_mqtt_url) as rig,
        rig.udp_station(gateway_id) as former,
        rig.udp_station(gateway_id) as latter,
    ):
        await on_the_air(rig, former)
        for _ in range(30):  # Ten at once are a gateway's own: these are not.
            await latter.speak()
        await former.speak()
        obeying = asyncio.create_task(obey(former, 1))
        reply = await rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=now_us()))
        await obeying
        assert (reply.status, latter.commands.qsize()) == ("OK", 0)

        async def is_reached() -> bool:
            await latter.speak()
            obeying = asyncio.create_task(obey(latter, 1))
            reply = await rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=now_us()))
            obeying.cancel()
            return reply.status == "OK"

        await until(is_reached)


async def test_a_replica_lets_go_of_a_gateway_that_another_claims_and_takes_it_back(
    rig: Rig, gateway_id: GatewayId
) -> None:
    async with rig.udp_station(gateway_id) as station:
        await on_the_air(rig, station)
        await rig.bus.nudge(topics.gateway_claim(gateway_id), b"another replica")
        await rig.unreachable(gateway_id)

        await station.speak()
        await rig.reachable(gateway_id)


async def test_a_malformed_request_has_an_answer(rig: Rig, gateway_id: GatewayId) -> None:
    async with rig.udp_station(gateway_id) as station:
        await on_the_air(rig, station)

        answer = await rig.bus.request(topics.gateway_down(gateway_id), b"\xc1garbage", 5)

        assert b"INTERNAL_ERROR" in answer


async def test_statistics_and_signs_of_life_are_saved(rig: Rig, gateway_id: GatewayId) -> None:
    stat = b'{"stat":{"time":"2026-11-25 08:59:28 GMT","rxnb":12,"rxok":10,"ackr":99.5,"dwnb":2,"txnb":1}}'
    async with rig.udp_station(gateway_id) as station:
        await on_the_air(rig, station)
        await station.say(b"\x02\x00\x08\x00" + gateway_id + stat)
        row = None
        async with asyncio.timeout(8):
            while row is None or "rxnb" not in row["stats"]:
                await asyncio.sleep(0.1)
                row = await rig.pool.fetchrow("SELECT * FROM gateway_state")

        assert (row["frontend"], row["address"]) == ("semtech_udp", "127.0.0.1")
        assert row["stats"] == {"rxnb": 12, "rxok": 10, "ackr": 99.5, "dwnb": 2, "txnb": 1}


async def test_an_up_event_is_acknowledged_only_once_its_frame_is_in_the_stream(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    await register(pool, gateway_id)
    waiting = "territoire_gateway_bridge_uplinks_total"
    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig, rig.mqtt_station(gateway_id) as station:
        await station.speak()
        await rig.reachable(gateway_id)
        before = await rig.metric(f'{waiting}{{result="forwarded"}}')
        for _ in range(3):
            await station.receive(UPLINK)
        await rig.frames(3)
        assert await rig.metric(f'{waiting}{{result="forwarded"}}') == before + 3
    # Away: the broker keeps what the gateway says, and gives it to the next bridge with its own time.
    heard_at = now_us() - 120_000_000
    async with rig.mqtt_station(gateway_id) as station:
        await station.receive(JOIN_REQUEST, time_us=heard_at)
    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig:
        (frame,) = await rig.frames(1)

    assert (frame.phy_payload, frame.time_us) == (JOIN_REQUEST, heard_at)


async def test_a_will_closes_the_path_and_is_noted(rig: Rig, gateway_id: GatewayId) -> None:
    async def is_offline() -> bool:
        return await rig.pool.fetchval("SELECT stats->>'online' FROM gateway_state") == "false"

    await register(rig.pool, gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    async with rig.mqtt_station(gateway_id, as_json=True) as station:
        await rig.reachable(gateway_id, station.speak)
        await station.publish("state/conn", b'{"gatewayId":"%s"}' % gateway_id.hex().encode())

        await rig.unreachable(gateway_id)
        await until(is_offline)


async def test_sigterm_flushes_what_was_received_and_exits_with_zero(
    bridge_settings: Settings, pool: Pool, gateway_id: GatewayId
) -> None:
    await register(pool, gateway_id)
    settings = bridge_settings
    env = os.environ | {
        "TERRITOIRE_DATABASE_URL": settings.database_url.get_secret_value(),
        "TERRITOIRE_NATS_URL": settings.nats_url.get_secret_value(),
        "TERRITOIRE_UDP_HOST": "127.0.0.1",
        "TERRITOIRE_UDP_PORT": str(settings.udp_port),
        "TERRITOIRE_HEALTH_PORT": str(settings.health_port),
    }
    async with connect_bus(settings.nats_url.get_secret_value(), "test") as bus:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.gateway_bridge", env=env, stdout=asyncio.subprocess.PIPE
        )
        waiting = asyncio.create_task(_exit_before_ready(process))
        await ready(f"http://127.0.0.1:{settings.health_port}", waiting)
        rig = Rig(settings.udp_port, "", "", bus, pool, [])
        async with rig.udp_station(gateway_id) as station:
            for _ in range(50):
                await station.receive(UPLINK)
            await asyncio.sleep(0)
            process.send_signal(signal.SIGTERM)  # There is no stream yet: everything waits in the bridge.
            await bus.ensure_streams()
            output, _ = await process.communicate()
        waiting.cancel()
        found = 0
        for shard in range(4):
            reader = await bus.read_shard(topics.FRAMES, topics.frames(shard), f"test-{shard}")
            found += sum(len(FRAME_BATCHES.decode(message.data)) for message in await reader.fetch(100, 0.2))

    assert process.returncode == 0, output.decode()
    assert found == 50


async def test_a_bridge_that_is_told_to_stop_reads_on_until_nothing_comes_and_is_not_ready_meanwhile(
    rig: Rig, bridge_settings: Settings, gateway_id: GatewayId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semtech_udp, "SILENT_S", 2.0)
    settings, stopping = replica(bridge_settings, "leaving"), asyncio.Event()
    settings = settings.model_copy(update={"udp_read_on_s": 30})
    assert settings.lingers_s == 30
    await register(rig.pool, gateway_id)
    health_url = f"http://127.0.0.1:{settings.health_port}"
    leaving = asyncio.create_task(run(settings, stopping))
    await ready(health_url, leaving)
    left = Rig(settings.udp_port, health_url, "", rig.bus, rig.pool, rig.readers)
    async with left.udp_station(gateway_id) as station:
        await station.receive(UPLINK)
        stopping.set()
        for _ in range(30):
            await asyncio.sleep(0.1)
            await station.receive(UPLINK)
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{health_url}/readyz")
            alive = await client.get(f"{health_url}/livez")
        async with asyncio.timeout(15):
            await leaving

    assert (answer.status_code, alive.status_code) == (503, 200)
    assert "stop" in answer.text
    assert len(await rig.frames(31)) == 31


async def _exit_before_ready(process: asyncio.subprocess.Process) -> None:
    await process.wait()
    raise AssertionError(f"the bridge ended with {process.returncode}")


def test_the_counter_of_the_stations_turns_over_within_two_windows() -> None:
    assert TMST + 1_000_000 > 1 << 32
