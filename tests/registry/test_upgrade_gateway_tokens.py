"""Stations of before credentials have a month; other gateways, and new ones, were never without."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect, open_pool
from registry.gateway_tokens import read_tokens, read_unproved, save_uses
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
g AS (INSERT INTO gateway (tenant_id, gateway_id, name)
      SELECT t.id, int8send(n), 'g' || n FROM t, generate_series(1, 3) n RETURNING id, name)
INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at)
SELECT id, CASE name WHEN 'g1' THEN 'basics_station' ELSE 'semtech_udp' END, '192.0.2.1', now() FROM g
WHERE name <> 'g3'
"""


TOKENS = """
INSERT INTO gateway_token (id, gateway_id, secret_sha256, created_at)
SELECT repeat(n::text, 16), min(g.id), sha256('x'), now() + n * interval '1 s'
FROM gateway g, generate_series(0, 1) n GROUP BY n
"""


async def test_a_station_of_before_goes_on_without_a_credential_for_a_month(empty_database_url: str) -> None:
    await migrate_up_to(53, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)
    await connection.close()

    await migrate_up_to(57, empty_database_url, after=53)
    connection = await connect(empty_database_url)
    await connection.execute(TOKENS)
    await connection.close()

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool, pool.acquire() as session:
        (unproved,) = await read_unproved(session)
        tokens = await read_tokens(session)
        await save_uses(session, ["1" * 16], [])
        ended = await session.fetchval("SELECT count(*) FROM gateway_token WHERE expires_at IS NOT NULL")
    # Two made by hand, as before CUPS: that one is used ends nothing.
    assert ([token.is_valid(datetime.now(UTC)) for token in tokens], ended) == ([True, True], 0)
    assert unproved.name == "g1"
    assert timedelta(days=29) < unproved.until - datetime.now(UTC) <= timedelta(days=30)
