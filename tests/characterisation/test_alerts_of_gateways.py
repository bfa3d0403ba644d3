"""A gateway that speaks from another address: which rows its bridge and alerting leave, between them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from alerting.alert_store import resolve
from core.messages import topics
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from lorawan.identifiers import GatewayId
from tests.characterisation.alert_world import EVENTS, NOTICES, alerts, alerts_follow, no_more_than, rows, until
from tests.gateways.stations import UPLINK, Rig, UdpStation, register

ELSEWHERE = "127.0.0.2"
MOVED = (
    "Passerelle test ({eui}) : elle parle désormais depuis 127.0.0.1, et non plus depuis {former} : vérifier que "
    "c'est bien elle."
)
REJECTED = (
    "Passerelle test ({eui}) : quelqu'un parle en son nom depuis 127.0.0.2 pendant qu'elle parle depuis "
    "127.0.0.1. Ces messages sont refusés ; si elle a déménagé, elle est à nouveau entendue au bout d'une minute."
)
WAS_AT = "UPDATE gateway_state SET address = $1"


def alert_of(gateway_id: bytes, message: str, **changes: Any) -> dict[str, Any]:
    return {
        "tenant": "brest",
        "rule": "gateway_address",
        "kind": "gateway_address",
        "gateway": gateway_id,
        "asset_id": None,
        "device_id": None,
        "datastream_id": None,
        "subject": None,
        "team_id": None,
        "severity": "warning",
        "message": message,
        "condition": "firing",
        "workflow": "open",
        "value": 1.0,
        "threshold": None,
        "occurrences": 1,
        "told": True,
        "muted_by": None,
        "muted_until": None,
        "is_flapping": False,
        "reopen_at": None,
        "due_at": None,
        "fired_when_opened": True,
    } | changes


def moved(gateway_id: bytes, former: str) -> str:
    return MOVED.format(eui=gateway_id.hex(), former=former)


@asynccontextmanager
async def gateway_known_at_its_address(rig: Rig, gateway_id: GatewayId) -> AsyncGenerator[UdpStation]:
    """A registered gateway of which the bridge has written from where it speaks."""

    async def is_known() -> bool:
        await station.speak()
        return await rig.pool.fetchval("SELECT EXISTS (SELECT FROM gateway_state WHERE address = '127.0.0.1')")

    await register(rig.pool, gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    async with rig.udp_station(gateway_id) as station:
        await until(is_known, "the gateway's address")
        yield station


async def moves(rig: Rig, station: UdpStation, former: str) -> None:
    """It was last seen at `former`, and now speaks from where it is."""

    async def is_noted() -> bool:
        await station.speak()
        noted = "SELECT EXISTS (SELECT FROM gateway_address_change WHERE former = $1 AND NOT refused)"
        return await rig.pool.fetchval(noted, former)

    await rig.pool.execute(WAS_AT, former)
    await until(is_noted, f"a move from {former}")


async def test_gateway_that_moves_opens_one_alert_and_moving_again_is_one_more_occurrence(
    rig: Rig, bus: Bus, pool: Pool, database_url: str, nats_url: str, gateway_id: GatewayId
) -> None:
    async with (
        alerts_follow(pool, database_url, nats_url),
        gateway_known_at_its_address(rig, gateway_id) as station,
    ):
        await moves(rig, station, "192.0.2.7")
        first = await alerts(pool, occurrences=1)
        await moves(rig, station, "192.0.2.8")
        again = await alerts(pool, occurrences=2)

    assert first == [alert_of(gateway_id, moved(gateway_id, "192.0.2.7"))]
    assert again == [alert_of(gateway_id, moved(gateway_id, "192.0.2.8"), occurrences=2)]
    assert await rows(pool, EVENTS) == []
    assert await rows(pool, NOTICES) == [
        {
            "tenant": "brest",
            "team_id": None,
            "event": "alert.opened",
            "severity": "warning",
            "cadence": "now",
            "message": moved(gateway_id, "192.0.2.7"),
            "held_until": None,
            "rung": 0,
        }
    ]
    assert await rows(pool, "SELECT name, kind, severity::text, enabled FROM alert_rule") == [
        {"name": "gateway_address", "kind": "gateway_address", "severity": "warning", "enabled": True}
    ]


async def test_frames_in_a_gateway_s_name_from_elsewhere_open_one_alert_with_how_many_they_were(
    rig: Rig, bus: Bus, pool: Pool, database_url: str, nats_url: str, gateway_id: GatewayId
) -> None:
    async def all_are_written() -> bool:
        times = "SELECT sum(times)::int FROM gateway_address_change WHERE refused"
        return await pool.fetchval(times) == 3

    async def every_request_is_taken() -> bool:
        return not await pool.fetchval("SELECT count(*) FROM alert_request")

    async with (
        alerts_follow(pool, database_url, nats_url),
        gateway_known_at_its_address(rig, gateway_id) as station,
        rig.udp_station(gateway_id, ELSEWHERE) as thief,
    ):
        await station.receive(UPLINK)
        for _ in range(3):
            await thief.receive(UPLINK)
        await until(all_are_written, "three rejected frames")
        await until(every_request_is_taken, "every request for an alert became one")
        found = await alerts(pool, occurrences=1)

    # In one write or in several: then the value is what the last one counted.
    (alert,) = found
    times_by_occurrences = {1: [3.0], 2: [1.0, 2.0], 3: [1.0]}
    how_often = {"value": alert["value"], "occurrences": alert["occurrences"]}
    assert alert["value"] in times_by_occurrences[alert["occurrences"]]
    assert alert == alert_of(gateway_id, REJECTED.format(eui=gateway_id.hex()), **how_often)


async def test_gateway_that_moves_within_a_day_of_the_end_of_its_alert_opens_another_one(
    rig: Rig, bus: Bus, pool: Pool, database_url: str, nats_url: str, gateway_id: GatewayId
) -> None:
    async with (
        alerts_follow(pool, database_url, nats_url),
        gateway_known_at_its_address(rig, gateway_id) as station,
    ):
        await moves(rig, station, "192.0.2.7")
        await alerts(pool, occurrences=1)
        async with pool.acquire() as connection, connection.transaction():
            await resolve(connection, await pool.fetchval("SELECT id FROM alert"), "astreinte", "c'est elle")
        await moves(rig, station, "192.0.2.8")
        found = await alerts(pool, occurrences=1, count=2)

    assert found == [
        alert_of(gateway_id, moved(gateway_id, "192.0.2.7"), workflow="resolved"),
        alert_of(gateway_id, moved(gateway_id, "192.0.2.8")),
    ]
    assert [(row["actor"], row["action"]) for row in await rows(pool, EVENTS)] == [("astreinte", "resolved")]
    assert [row["event"] for row in await rows(pool, NOTICES)] == ["alert.opened", "alert.opened"]


async def test_gateway_that_moves_opens_no_alert_where_the_rule_is_switched_off(
    rig: Rig, bus: Bus, pool: Pool, database_url: str, nats_url: str, gateway_id: GatewayId
) -> None:
    async with (
        alerts_follow(pool, database_url, nats_url),
        gateway_known_at_its_address(rig, gateway_id) as station,
    ):
        await pool.execute(
            "INSERT INTO alert_rule (tenant_id, name, kind, severity, message, enabled) "
            "SELECT id, 'gateway_address', 'gateway_address', 'warning', 'm', false FROM tenant"
        )
        await moves(rig, station, "192.0.2.7")
        await no_more_than(pool, 0)

    assert await pool.fetchval("SELECT count(*) FROM alert_rule") == 1
    assert await rows(pool, NOTICES) == []


async def test_gateway_that_moves_while_alerting_is_away_has_one_alert_of_that_instant(
    rig: Rig, bus: Bus, pool: Pool, database_url: str, nats_url: str, gateway_id: GatewayId
) -> None:
    async with gateway_known_at_its_address(rig, gateway_id) as station:
        await moves(rig, station, "192.0.2.7")
        await asyncio.sleep(3)
        returned_at = datetime.now(UTC)
        async with alerts_follow(pool, database_url, nats_url):
            found = await alerts(pool, occurrences=1)
        opened_at = await pool.fetchval("SELECT opened_at FROM alert")
        seen_at = await pool.fetchval("SELECT first_at FROM gateway_address_change")

    assert found == [alert_of(gateway_id, moved(gateway_id, "192.0.2.7"))]
    assert opened_at == seen_at
    assert opened_at < returned_at - timedelta(seconds=2)
