"""When each device was last heard: of all at once by what is stored of assets, of a few by what they measured."""

from core.runtime.postgres import Pool
from tests.entering import tenant_transaction

PLANT = (
    """
    INSERT INTO tenant (slug, name, member_of)
    VALUES ('syndicat', 'S', NULL), ('commune', 'C', 1), ('x', 'X', NULL)
    """,
    """
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec, expected_interval)
    VALUES (NULL, 'p', 'v', 'm', 'c', interval '1 hour')
    """,
    """
    INSERT INTO asset (tenant_id, kind, name)
    SELECT 1 + (n = 12)::int, 'room', 'a' || n FROM generate_series(1, 12) n
    """,
    """
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation, enabled,
                        owned_since)
    SELECT 1 + (n = 12)::int, int8send(n), int8send(0), 'd' || n, 1, 0, 'EXTERNAL', n <> 6,
           CASE WHEN n = 7 THEN now() - interval '20 minutes' ELSE '-infinity' END
    FROM generate_series(1, 13) n
    """,
)
# Asset, device, how many minutes ago the assignment began and (0: never) ended.
ASSIGNED = (
    (1, 1, 600, 0),  # Alone.
    *((2, 2, 600, 0), (2, 3, 600, 0)),  # Two on one asset, the second silent.
    *((3, 4, 600, 60), (3, 5, 60, 0)),  # Replaced, the new one not heard yet.
    (4, 6, 600, 0),  # Disabled.
    (5, 7, 600, 0),  # Heard before it was given to its owner.
    *((6, 8, 600, 60), (7, 8, 60, 0)),  # It has served another asset before, and is not heard since.
    *((8, 9, 600, 60), (2, 9, 60, 0)),  # The same, where others are, too.
    (9, 10, 600, 300),  # Serves nothing any more.
    (10, 11, 600, 0),  # What it measures is kept no longer.
    (12, 12, 600, 0),  # Of a member.
)
ASSIGN = """
INSERT INTO assignment (tenant_id, asset_id, device_id, position, during)
SELECT a.tenant_id, a.id, $2::int, $2::int::text,
       tstzrange(now() - make_interval(mins => $3::int),
                 CASE WHEN $4::int > 0 THEN now() - make_interval(mins => $4::int) END)
FROM asset a WHERE a.id = $1
"""
# Asset (NULL: none was served), device, quantity, flags, minutes ago.
MEASURED = (
    *((1, 1, "temperature", 0, 5), (1, 1, "humidity", 0, 9), (1, 1, "battery_level", 4, 1)),
    *((2, 2, "temperature", 0, 3), (2, 3, "humidity", 0, 500)),
    *((3, 4, "temperature", 0, 61), (4, 6, "temperature", 0, 7), (5, 7, "temperature", 0, 30)),
    *((6, 8, "temperature", 0, 70), (8, 9, "temperature", 0, 80)),
    *((9, 10, "temperature", 0, 301), (None, 10, "temperature", 0, 2)),
    *((10, 11, "temperature", 0, 4), (12, 12, "temperature", 0, 6), (None, 13, "temperature", 0, 8)),
)
MEASURE = """
WITH stream AS (
    INSERT INTO datastream (tenant_id, asset_id, device_id, position, quantity, unit)
    SELECT d.tenant_id, $1, d.id, d.id::text, $3, '1' FROM device d WHERE d.id = $2 RETURNING id
)
INSERT INTO observation.latest (datastream_id, time, value, flags)
SELECT id, now() - make_interval(mins => $5), 50, $4 FROM stream
"""
FORGET = "UPDATE datastream SET fine_until = now() - interval '1 day' WHERE asset_id = 10"
HEARD = """
SELECT device_id, round(extract(epoch FROM now() - last_seen_at) / 60)::int AS minutes, battery
FROM device_heard($1, $2) ORDER BY device_id
"""
SEEN = {1: 5, 2: 3, 3: 500, 4: 61, 6: 7, 8: 70, 9: 80, 10: 2, 12: 6, 13: 8}
MINUTES = {device: SEEN.get(device) for device in range(1, 14)}


async def test_devices_of_all_at_once_were_heard_when_those_one_by_one_were(pool: Pool) -> None:
    async with pool.acquire() as connection:
        for statement in PLANT:
            await connection.execute(statement)
        await connection.executemany(ASSIGN, ASSIGNED)
        for measured in MEASURED:
            await connection.execute(MEASURE, *measured)
        await connection.execute(FORGET)

    for tenant, minutes in ((1, MINUTES), (2, {12: 6}), (3, dict[int, int]())):
        async with tenant_transaction(pool, tenant) as connection:
            at_once = await connection.fetch(HEARD, None, "both")
            of_these = await connection.fetch(HEARD, list(range(1, 14)), "both")
            seen = await connection.fetch(HEARD, None, "seen")
            batteries = await connection.fetch(HEARD, None, "battery")

        assert at_once == of_these
        assert [tuple(row) for row in seen] == [(*row[:2], None) for row in map(tuple, at_once)]
        assert [tuple(row) for row in batteries] == [(row[0], None, row[2]) for row in map(tuple, at_once)]
        assert {row["device_id"]: row["minutes"] for row in at_once} == minutes
    assert at_once == []
