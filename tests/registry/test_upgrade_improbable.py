"""Rules of before schema 50: a bin's fire is judged by improbable values from the upgrade on, others as before."""

from core.runtime.postgres import connect, open_pool
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id)
INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, fire_op, fire_value, clear_op,
                        clear_value)
SELECT id, name, 'threshold', quantity, 'critical', 'm', '>', 60, '<', 50
FROM t, (VALUES ('bin_fire', 'temperature'), ('frost', 'temperature'), ('co2', 'co2')) AS v (name, quantity)
"""


async def test_a_bins_fire_is_judged_by_improbable_values_after_the_upgrade(empty_database_url: str) -> None:
    await migrate_up_to(49, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)
    await connection.execute(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) VALUES (NULL, 'p', 'v', 'm', 'c')"
    )
    await connection.close()
    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool:
        rules = await pool.fetch(
            "SELECT name, judges_improbable, enabled, fire_value FROM alert_rule "
            "WHERE name IN ('bin_fire', 'co2', 'frost') ORDER BY name"
        )
        assert [tuple(rule) for rule in rules] == [
            ("bin_fire", True, True, 60),
            ("co2", False, True, 60),
            ("frost", False, True, 60),
        ]
        assert await pool.fetchval("SELECT sensor_ranges FROM device_profile WHERE name = 'p'") == []
