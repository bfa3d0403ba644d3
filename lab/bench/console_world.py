"""A tenant with very many assets, as they are in the field: devices, last values, alerts, silent ones."""

from core.runtime.postgres import connect

# Three quantities each; one in thirty is silent, one in fifty was never heard, one in forty has an open alert.
STATEMENTS = (
    """
    INSERT INTO asset (tenant_id, kind, name, commune, street, latitude, longitude, attributes, privacy_class)
    SELECT $1, (ARRAY['lighting_cabinet', 'water_meter', 'room', 'glass_container'])[1 + n % 4], 'Actif ' || n,
           'Brest', 'rue ' || n % 200, 48.30 + random() * 0.18, -4.30 + random() * 0.35, '{}', 0
    FROM generate_series(1, $2::int) n
    """,
    """
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec, expected_interval)
    SELECT $1, 'Capteur du banc', 'banc', 'banc', 'cayenne_lpp', interval '1 day' WHERE $2::int > 0
    """,
    """
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
    SELECT $1, int8send((x'0070b3d5'::bigint << 32) + ($1::int::bigint << 20) + n), int8send(0), 'Capteur ' || n,
           (SELECT max(id) FROM device_profile WHERE tenant_id = $1), n % 16, 'EXTERNAL'
    FROM generate_series(1, $2::int) n
    """,
    """
    INSERT INTO assignment (tenant_id, asset_id, device_id, during)
    SELECT $1, a.id, d.id, tstzrange(now() - interval '90 days', NULL)
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM asset WHERE tenant_id = $1) a
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM device WHERE tenant_id = $1) d USING (n)
    WHERE n <= $2::int
    """,
    """
    INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit)
    SELECT $1, g.asset_id, g.device_id, q.quantity, q.unit
    FROM assignment g,
         (VALUES ('temperature', 'Cel'), ('battery_level', '%'), ('fill_level', '%')) AS q (quantity, unit)
    WHERE g.tenant_id = $1 AND $2::int > 0 ORDER BY g.asset_id, q.quantity
    """,
    """
    INSERT INTO observation.latest (datastream_id, asset_id, tenant_id, time, value, flags)
    SELECT id, asset_id, tenant_id,
           now() - CASE WHEN asset_id % 30 = 0 THEN interval '5 days' ELSE random() * interval '1 hour' END,
           random() * 100, 0
    FROM datastream WHERE tenant_id = $1 AND asset_id % 50 <> 0 AND $2::int > 0 ORDER BY id
    """,
    """
    SELECT refresh_expectations(array_agg(id)) FROM asset WHERE tenant_id = $1 AND $2::int > 0
    """,
    """
    SELECT raise_last_seen(array_agg(id)) FROM datastream WHERE tenant_id = $1 AND $2::int > 0
    """,
    """
    INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at)
    SELECT $1, (SELECT min(id) FROM alert_rule WHERE tenant_id = $1), id,
           (ARRAY['info', 'warning', 'major', 'critical'])[1 + id / 40 % 4]::alert_severity, 'banc', 'firing',
           now()
    FROM asset WHERE tenant_id = $1 AND id % 40 = 0 AND $2::int > 0
    """,
)
# As autovacuum does a minute later: without statistics the next statement loops where it should hash.
FILLED = "ANALYZE asset, device, assignment, datastream, alert, observation.latest, observation.expectation"
PATIENCE_S = 300.0


async def add_many(database_admin_url: str, tenant_id: int, count: int) -> None:
    """So many assets in a tenant that has none and has its default rules; without triggers, by the superuser."""
    connection = await connect(database_admin_url, "bench-world")
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            for statement in STATEMENTS:
                await connection.execute(statement, tenant_id, count, timeout=PATIENCE_S)
                await connection.execute(FILLED, timeout=PATIENCE_S)
    finally:
        await connection.close()
