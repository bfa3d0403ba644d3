"""Days of the radio are made once they are over, and again for what came late; by the role of the process."""

from datetime import date, timedelta

import pytest

from core.runtime.leader import NotLeader, leading
from core.runtime.postgres import Pool, open_pool
from indicators.network.refresh import LOCK, NetworkDays

WORLD = """
INSERT INTO tenant (id, slug, name) OVERRIDING SYSTEM VALUE VALUES (1, 'm', 'M');
INSERT INTO device_profile (id, tenant_id, name, vendor, model, codec, expected_interval) OVERRIDING SYSTEM VALUE
VALUES (1, 1, 'p', 'v', 'm', 'c', '1 hour');
INSERT INTO device (id, tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
OVERRIDING SYSTEM VALUE
VALUES (1, 1, int8send(1), int8send(1), 'd', 1, 0, decode(repeat('00', 24), 'hex'), 'k');
"""
UPLINK = """
INSERT INTO observation.uplink
    (device_id, time, uplink_id, session_id, f_cnt, f_port, payload, received_at, status, radio)
SELECT 1, t, gen_random_uuid(), 1, $2, 85, 'x', t, 'empty', '{"spreading_factor": 7, "bandwidth": 125000}'
FROM (SELECT (now() AT TIME ZONE 'Europe/Paris')::date - $1::int + time '12:00' AS local) AS noon,
     LATERAL (SELECT local AT TIME ZONE 'Europe/Paris' AS t) AS instant
"""
DAYS = "SELECT day, received FROM observation.network_day ORDER BY day"
TODAY = "SELECT (now() AT TIME ZONE 'Europe/Paris')::date"


async def rows(pool: Pool) -> list[tuple[date, int]]:
    return [tuple(row) for row in await pool.fetch(DAYS)]


async def test_days_that_are_over_are_made_and_what_came_late_is_in_the_next_ones(database, pool: Pool) -> None:
    await pool.execute(WORLD)
    today = await pool.fetchval(TODAY)
    for back in (0, 1, 20):
        await pool.execute(UPLINK, back, 0)
    async with open_pool(database.url_of("indicators"), "test", size=2) as ours:
        days = NetworkDays(ours)
        first = await days.refresh()
        made = await rows(pool)
        again = await days.refresh()
        await pool.execute(UPLINK.replace("12:00", "13:00"), 1, 1)
        await pool.execute(UPLINK.replace("12:00", "13:00"), 20, 1)
        # Another process begins with what is there: the days that are still open to what comes late.
        restarted = await NetworkDays(ours).refresh()

    assert made == [(today - timedelta(days=20), 1), (today - timedelta(days=1), 1)]
    assert (first, again) == (30, 0)
    assert restarted == 29  # All but the one that has rows and is older.
    assert await rows(pool) == [(today - timedelta(days=20), 1), (today - timedelta(days=1), 2)]


async def test_another_replica_does_not_begin_beside_it(pool: Pool) -> None:
    async with leading(pool, LOCK):
        with pytest.raises(NotLeader):
            await NetworkDays(pool).refresh()
