"""Stations on real connections to a whole bridge: what the contract of all frontends does not say."""

import asyncio
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.messages import topics
from lorawan.identifiers import GatewayId
from tests.gateways.stations import (
    RX1_DELAY_US,
    UPLINK,
    Rig,
    downlink,
    now_us,
    until,
)
from tests.gateways.ws_station import (
    WsStation,
    connect_to,
    counted,
    dashed,
    discover,
    message_of,
    on_the_air,
    up_info,
    ws_station,
)


def answer_in_a_second(gateway_id: GatewayId, *, within_us: int = 1_000_000):
    heard_at_us = now_us() + within_us - RX1_DELAY_US
    return downlink(gateway_id, uplink_at_us=heard_at_us, context=WsStation.traits.context)


# --- Where to go -------------------------------------------------------------------------------------


async def test_a_station_is_sent_where_it_came_from_and_listed_while_it_is_unknown(
    rig: Rig, gateway_id: GatewayId
) -> None:
    discovered = await discover(f"ws://localhost:{rig.station_port}", dashed(gateway_id))

    async def is_listed() -> str | None:
        return await rig.pool.fetchval("SELECT frontend FROM unknown_gateway WHERE gateway_id = $1", gateway_id)

    assert discovered["uri"] == f"ws://localhost:{rig.station_port}/gateway/{gateway_id.hex()}"
    await until(is_listed)
    assert await is_listed() == "basics_station"


async def test_a_question_that_is_none_costs_nobody_else_anything(rig: Rig, gateway_id: GatewayId) -> None:
    before = await counted(rig, "discovery", "malformed")

    for question in ("{}", "[", '{"router":"?"}'):
        async with connect_to(f"{rig.station_url}/router-info") as connection:
            await connection.send(question)
            with pytest.raises(ConnectionClosed):
                await connection.recv()

    assert await counted(rig, "discovery", "malformed") == before + 3
    assert "uri" in await discover(rig.station_url, dashed(gateway_id))


@pytest.mark.parametrize("path", ["/", "/gateway/", "/gateway/xyz", "/traffic", "/gateway/" + "0" * 17])
async def test_other_addresses_are_not_found(rig: Rig, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect_to(f"{rig.station_url}{path}"):
            pass

    assert refused.value.response.status_code == 404


async def test_an_address_that_a_station_has_no_room_for_is_said_to_be_too_long(
    rig: Rig, gateway_id: GatewayId
) -> None:
    name = f"ws://{'a' * 100}:{rig.station_port}"

    discovered = await discover(name, dashed(gateway_id), host="127.0.0.1", port=rig.station_port)

    assert "too long" in discovered["error"]


async def test_discovery_with_two_host_headers_answers_with_our_own_address(
    rig: Rig, gateway_id: GatewayId
) -> None:
    discovered = await discover(rig.station_url, dashed(gateway_id), additional_headers={"Host": "elsewhere:1"})

    assert discovered["uri"] == f"ws://127.0.0.1:{rig.station_port}/gateway/{gateway_id.hex()}"


# --- What a station receives -------------------------------------------------------------------------


@pytest.mark.parametrize(("features", "lifted"), [("rmtsh gps", True), ("rmtsh prod", False), (None, True)])
async def test_limits_are_lifted_only_where_the_station_lets_them(
    rig: Rig, gateway_id: GatewayId, features: object, lifted: bool
) -> None:
    async with ws_station(rig.station_url, gateway_id, features=features) as station:
        assert station.config["region"] == "EU863"
        assert [station.config.get(name, False) for name in ("nocca", "nodc", "nodwell")] == [lifted] * 3
        assert abs(station.config["MuxTime"] - time.time()) < 5


async def test_a_second_board_is_configured_from_the_moment_that_it_is_registered(
    rig: Rig, gateway_id: GatewayId
) -> None:
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        await rig.pool.execute("UPDATE gateway SET boards = 2 WHERE gateway_id = $1", gateway_id)
        await rig.bus.nudge(topics.REGISTRY_CHANGED)
        async with asyncio.timeout(20):
            await station.connection.wait_closed()

    async with ws_station(rig.station_url, gateway_id) as station:
        assert station.config["hwspec"] == "sx1301/2"
        assert len(station.config["sx1301_conf"]) == 2


async def test_a_station_is_sent_the_time(rig: Rig, gateway_id: GatewayId) -> None:
    async with ws_station(rig.station_url, gateway_id) as station:
        await station.send({"msgtype": "timesync", "txtime": 2**60 + 1})
        answer = await station.answered()

    gps_us = (time.time() - 315_964_800 + 18) * 1e6
    assert answer["txtime"] == 2**60 + 1
    assert abs(answer["gpstime"] - gps_us) < 5e6
    assert abs(answer["MuxTime"] - time.time()) < 5


async def test_what_a_station_is_and_how_far_away_is_saved(rig: Rig, gateway_id: GatewayId) -> None:
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        # The last MuxTime that it had came 400 ms ago, by its own clock.
        for _ in range(20):
            await station.send(message_of(UPLINK, up_info(), ref_time=time.time() - 0.4))
        await rig.frames(20)
        await station.introduce()

        async def is_saved() -> bool:
            found = await rig.pool.fetchrow(
                "SELECT frontend, stats FROM gateway_state JOIN gateway g ON g.id = gateway_state.gateway_id "
                "WHERE g.gateway_id = $1",
                gateway_id,
            )
            stats = {} if found is None else found["stats"]
            wanted = {"station": "2.0.6(linux/std)", "model": "linux", "online": True}
            return stats.items() >= wanted.items() and 350 <= stats["rtt_ms"] <= 500

        await until(is_saved)


# --- Downlinks ---------------------------------------------------------------------------------------


async def test_a_window_that_the_ledger_rejects_is_not_offered(rig: Rig, gateway_id: GatewayId) -> None:
    # 1 % of an hour is 36 s: RX1's sub-band is used up, RX2's is not.
    await rig.pool.execute(
        "INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority, status) "
        "VALUES ($1, now() - interval '30 minutes', 868100000, 36000000, 1, 'OK')",
        gateway_id,
    )
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        asking = asyncio.create_task(rig.transmit(gateway_id, answer_in_a_second(gateway_id)))
        asked = await station.downlink()
        await station.transmitted(asked, "RX1")
        reply = await asking

    assert (asked["RxDelay"], asked["RX1Freq"], asked["RX1DR"]) == (6, 869_525_000, 3)
    assert "RX2Freq" not in asked
    assert (reply.status, reply.index) == ("OK", 1)


async def test_when_every_window_is_rejected_the_station_is_not_asked(rig: Rig, gateway_id: GatewayId) -> None:
    await rig.pool.execute(
        "INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority, status) "
        "SELECT $1, now() - interval '30 minutes', f, 360000000, 1, 'OK' "
        "FROM unnest('{868100000,869525000}'::int[]) AS f",
        gateway_id,
    )
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        reply = await rig.transmit(gateway_id, answer_in_a_second(gateway_id))

        assert (reply.status, reply.index) == ("DUTY_CYCLE_OVERFLOW", -1)
        assert reply.fits_at_us > now_us()
        assert station.downlinks.empty()


async def test_a_dntxed_that_never_comes_is_a_negative_acknowledgement_of_ours(
    rig: Rig, gateway_id: GatewayId
) -> None:
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        missing, late = await counted(rig, "dntxed", "missing"), await counted(rig, "dntxed", "unexpected")
        lost = asyncio.create_task(
            rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 1_000_000))
        )
        silent = await station.downlink()
        reply = await lost
        await station.transmitted(silent, "RX2")  # Nobody waits for it any more.
        asking = asyncio.create_task(
            rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 2_000_000))
        )
        following = await station.downlink()
        await station.transmitted(following, "RX2")

        assert (reply.status, reply.index) == ("NO_ACK", 0)
        assert (await asking).status == "OK"
        assert following["diid"] != silent["diid"]
        assert await counted(rig, "dntxed", "missing") == missing + 1
        assert await counted(rig, "dntxed", "unexpected") == late + 1


async def test_both_windows_stay_booked_when_the_station_is_silent(rig: Rig, gateway_id: GatewayId) -> None:
    async with ws_station(rig.station_url, gateway_id):
        await on_the_air(rig, gateway_id)
        reply = await rig.transmit(gateway_id, answer_in_a_second(gateway_id))

        async def are_noted() -> bool:
            rows = await rig.pool.fetch("SELECT status FROM transmission WHERE gateway_id = $1", gateway_id)
            return [row["status"] for row in rows] == ["NO_ACK", "NO_ACK"]

        assert (reply.status, reply.index) == ("NO_ACK", 0)
        await until(are_noted)


async def test_an_uplink_of_another_protocol_gives_a_station_no_instant(rig: Rig, gateway_id: GatewayId) -> None:
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        reply = await rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=now_us()))  # With a tmst.

        assert reply.status == "INTERNAL_ERROR"
        assert station.downlinks.empty()


async def test_a_dntxed_on_the_next_connection_counts(rig: Rig, gateway_id: GatewayId) -> None:
    async with ws_station(rig.station_url, gateway_id) as first:
        await on_the_air(rig, gateway_id)
        asking = asyncio.create_task(rig.transmit(gateway_id, answer_in_a_second(gateway_id, within_us=2_000_000)))
        asked = await first.downlink()
        first.connection.transport.abort()
        async with ws_station(rig.station_url, gateway_id) as second:
            await second.transmitted(asked, "RX1")

            assert (await asking).status == "OK"
