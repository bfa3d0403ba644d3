import asyncio
import secrets
import time
from contextlib import suppress

from prometheus_client import REGISTRY

from core.runtime.postgres import Pool
from gateways.known_gateways import Gateways, LastSeen
from lorawan.identifiers import GatewayId
from tests.gateways.stations import register

EUI = GatewayId(bytes.fromhex("0102030405060708"))


def shown_at(gateway_id: GatewayId = EUI) -> float | None:
    """When it was last heard, by the metric."""
    name = "territoire_gateway_bridge_gateway_last_seen_timestamp_seconds"
    return REGISTRY.get_sample_value(name, {"gateway_id": gateway_id.hex()})


async def test_a_gateway_that_is_removed_while_it_is_noted_stops_nothing(pool: Pool) -> None:
    await register(pool, EUI)
    gateways = Gateways(pool)
    await gateways.load()
    sightings = LastSeen(pool, gateways)
    sightings.record_seen(EUI, "semtech_udp", "192.0.2.1")

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM gateway WHERE gateway_id = $1", EUI)
        saving = asyncio.create_task(sightings.save())
        async with asyncio.timeout(30):
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - rows have no event.
                await asyncio.sleep(0.02)
    await saving
    await sightings.save()

    assert await pool.fetchval("SELECT count(*) FROM gateway_state") == 0


async def test_a_move_that_another_replica_writes_while_this_one_saves_is_noted_all_the_same(pool: Pool) -> None:
    await register(pool, EUI)
    gateways = Gateways(pool)
    await gateways.load()
    sightings = LastSeen(pool, gateways)
    sightings.record_seen(EUI, "semtech_udp", "192.0.2.1")
    await sightings.save()

    sightings.record_seen(EUI, "semtech_udp", "192.0.2.1")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE gateway_state SET address = '192.0.2.2'")
        saving = asyncio.create_task(sightings.save())
        async with asyncio.timeout(30):
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - rows have no event.
                await asyncio.sleep(0.02)
    await saving

    [move] = await pool.fetch("SELECT former, address FROM gateway_address_change")
    assert tuple(move) == ("192.0.2.2", "192.0.2.1")


async def test_what_a_bridge_was_saving_when_it_was_stopped_is_saved_with_the_last(pool: Pool) -> None:
    await register(pool, EUI)
    gateways = Gateways(pool)
    await gateways.load()
    sightings = LastSeen(pool, gateways)
    sightings.record_seen(EUI, "semtech_udp", "192.0.2.1")

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE gateway_state")
        saving = asyncio.create_task(sightings.save())
        async with asyncio.timeout(30):
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - rows have no event.
                await asyncio.sleep(0.02)
        saving.cancel()
        with suppress(asyncio.CancelledError):
            await saving
    await sightings.save()

    assert await pool.fetchval("SELECT address FROM gateway_state") == "192.0.2.1"


async def test_a_token_that_is_used_while_its_gateway_is_saved_is_saved_with_the_next(pool: Pool) -> None:
    await register(pool, EUI)
    tokens = "INSERT INTO gateway_token (id, gateway_id, secret_sha256) SELECT $1, id, sha256('x') FROM gateway"
    for name in ("0" * 16, "1" * 16):
        await pool.execute(tokens, name)
    gateways = Gateways(pool)
    await gateways.load()
    former, newer = gateways.tokens_of(EUI)
    sightings = LastSeen(pool, gateways)
    sightings.record_proof(EUI, former)

    saving = asyncio.create_task(sightings.save())
    await asyncio.sleep(0)  # It has begun, and waits for a connection.
    sightings.record_proof(EUI, newer)
    await saving
    await sightings.save()

    assert await pool.fetchval("SELECT count(*) FROM gateway_token WHERE last_used_at IS NOT NULL") == 2


async def test_a_gateway_that_was_lost_while_the_bridge_was_replaced_is_missed(pool: Pool) -> None:
    await register(pool, EUI)
    await pool.execute(
        "INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) "
        "SELECT id, 'semtech_udp', '192.0.2.1', 'epoch'::timestamptz + interval '1 hour' FROM gateway"
    )

    await Gateways(pool).load()

    assert shown_at() == 3600


async def test_a_gateway_that_speaks_while_the_database_does_not_answer_is_not_missed(pool: Pool) -> None:
    await register(pool, EUI)
    gateways = Gateways(pool)
    await gateways.load()
    sightings = LastSeen(pool, gateways)

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE gateway_state")
        sightings.record_seen(EUI, "semtech_udp", "192.0.2.1")
        saving = asyncio.create_task(sightings.save())
        await asyncio.sleep(0.2)
        before = time.time()
        sightings.record_seen(EUI, "semtech_udp", "192.0.2.1")
        shown = shown_at()
        saving.cancel()
        with suppress(asyncio.CancelledError):
            await saving

    assert shown is not None
    assert shown >= before


async def test_nobody_s_gateway_has_a_series(pool: Pool) -> None:
    """Anybody can invent them."""
    sightings, nobody_s = LastSeen(pool, Gateways(pool)), GatewayId(secrets.token_bytes(8))

    sightings.record_seen(nobody_s, "semtech_udp", "192.0.2.1")

    assert shown_at(nobody_s) is None


async def test_that_nobody_speaks_in_a_gateways_name_is_shown_before_somebody_does(pool: Pool) -> None:
    """The alarm rings at the first one: a counter that begins with it has not risen."""
    await register(pool, EUI)

    await Gateways(pool).load()

    labels = {"gateway_id": EUI.hex(), "verdict": "refused"}
    assert REGISTRY.get_sample_value("territoire_gateway_bridge_gateway_address_changes_total", labels) is not None
