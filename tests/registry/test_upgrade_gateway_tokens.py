"""Stations of before credentials have a month; other gateways, and new ones, were never without."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect, open_pool
from registry.gateway_tokens import read_unproved
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


async def test_a_station_of_before_goes_on_without_a_credential_for_a_month(empty_database_url: str) -> None:
    await migrate_up_to(53, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)
    await connection.close()

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool, pool.acquire() as session:
        (unproved,) = await read_unproved(session)
    assert unproved.name == "g1"
    assert timedelta(days=29) < unproved.until - datetime.now(UTC) <= timedelta(days=30)
