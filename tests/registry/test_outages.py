"""Outages are recorded: the bridge's and the platform's at the next start, a gateway's while the bridge runs."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from core.runtime.postgres import Pool, connect
from registry.outages import Outage, beat, read_outages, recorded_since, watch_outages
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to
from tests.entering import tenant_transaction

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


async def all_outages(pool: Pool) -> list[Outage]:
    return await read_outages(pool, NOW - DAY, NOW + DAY)


async def make_gateway(pool: Pool) -> tuple[int, int]:
    """A tenant and its gateway."""
    tenant_id = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id")
    gateway_id = await pool.fetchval(
        "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, '\\x0102030405060708', 'G') RETURNING id",
        tenant_id,
    )
    return tenant_id, gateway_id


async def see_gateway(pool: Pool, gateway_id: int, seen_at: datetime) -> None:
    await pool.execute(
        "INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) VALUES ($1, 'udp', 'a', $2) "
        "ON CONFLICT (gateway_id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
        gateway_id,
        seen_at,
    )


@pytest.mark.parametrize("what", ["bridge", "platform"])
async def test_a_killed_process_was_away_from_its_last_sign_of_life_to_its_next_start(
    pool: Pool, what: Literal["bridge", "platform"]
) -> None:
    for seconds in (0, 2, 4):
        await beat(pool, what, at(seconds), NOW)
    await beat(pool, what, at(30), at(29))
    await beat(pool, what, at(32), at(29))

    assert await all_outages(pool) == [Outage(what, None, at(4), at(30))]


async def test_a_second_replica_that_starts_while_the_first_runs_records_no_outage(pool: Pool) -> None:
    for seconds in (0, 2):
        await beat(pool, "bridge", at(seconds), NOW)
    await beat(pool, "bridge", at(3), at(3))

    assert await all_outages(pool) == []


async def test_a_database_that_is_away_is_an_outage_of_the_platform_and_none_of_the_bridge(pool: Pool) -> None:
    both: tuple[Literal["bridge", "platform"], ...] = ("bridge", "platform")
    for what in both:
        await beat(pool, what, NOW, NOW)
        await beat(pool, what, at(100), NOW)

    assert await all_outages(pool) == [Outage("platform", None, NOW, at(100))]


async def test_an_outage_of_the_bridge_is_known_while_it_lasts(pool: Pool) -> None:
    await beat(pool, "bridge", NOW, NOW)
    await watch_outages(pool, at(60))
    await watch_outages(pool, at(70))
    lasting = await all_outages(pool)
    await beat(pool, "bridge", at(80), at(79))

    assert lasting == [Outage("bridge", None, NOW, None)]
    assert await all_outages(pool) == [Outage("bridge", None, NOW, at(80))]


async def test_a_bridge_that_only_could_not_write_was_not_away(pool: Pool) -> None:
    await beat(pool, "bridge", NOW, NOW)
    await watch_outages(pool, at(60))
    await beat(pool, "bridge", at(61), NOW)

    assert await all_outages(pool) == []


async def test_a_gateway_without_power_is_away_until_it_is_seen_again(pool: Pool) -> None:
    _, gateway_id = await make_gateway(pool)
    await see_gateway(pool, gateway_id, NOW)
    for seconds in range(0, 400, 10):
        await beat(pool, "bridge", at(seconds), NOW)
        await watch_outages(pool, at(seconds))
    lasting = await all_outages(pool)
    await see_gateway(pool, gateway_id, at(401))
    await watch_outages(pool, at(402))

    assert lasting == [Outage("gateway", gateway_id, NOW, None)]
    assert await all_outages(pool) == [Outage("gateway", gateway_id, NOW, at(401))]
    assert await read_outages(pool, NOW, at(402), [gateway_id + 1]) == []


async def test_while_the_bridge_is_away_and_two_minutes_after_no_gateway_is_called_away(pool: Pool) -> None:
    _, gateway_id = await make_gateway(pool)
    await see_gateway(pool, gateway_id, NOW)
    await beat(pool, "bridge", NOW, NOW)
    await watch_outages(pool, at(600))
    for seconds in range(610, 720, 2):
        await beat(pool, "bridge", at(seconds), at(609))
        await watch_outages(pool, at(seconds))
    before = {outage.what for outage in await all_outages(pool)}
    await beat(pool, "bridge", at(735), at(609))
    await watch_outages(pool, at(735))

    assert before == {"bridge"}
    assert {outage.what for outage in await all_outages(pool)} == {"bridge", "gateway"}


async def test_a_tenant_sees_outages_of_its_own_gateways_and_of_the_platform(pool: Pool, api_pool: Pool) -> None:
    tenant_id, gateway_id = await make_gateway(pool)
    other = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('nancy', 'Nancy') RETURNING id")
    await pool.execute(
        "INSERT INTO outage (what, gateway_id, began_at, ended_at) VALUES ('gateway', $1, $2, $3), "
        "('bridge', NULL, $2, $3)",
        gateway_id,
        NOW,
        at(60),
    )
    seen: dict[int, list[str]] = {}
    for tenant in (tenant_id, other):
        async with tenant_transaction(api_pool, tenant) as connection:
            seen[tenant] = sorted(outage.what for outage in await read_outages(connection, NOW - DAY, NOW + DAY))

    assert seen == {tenant_id: ["bridge", "gateway"], other: ["bridge"]}


async def test_outages_are_recorded_since_the_upgrade(empty_database_url: str) -> None:
    await migrate_up_to(41, empty_database_url)
    before = datetime.now(UTC)
    await migrate(empty_database_url)
    connection = await connect(empty_database_url)
    since = await recorded_since(connection)
    await connection.close()

    assert since is not None
    assert before - timedelta(seconds=5) <= since <= datetime.now(UTC) + timedelta(seconds=5)
