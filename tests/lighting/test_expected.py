"""What lamps should do now, by the program of their asset, of one above it, or of nobody."""

from datetime import UTC, datetime

import pytest

from core.runtime.postgres import Pool, PostgresError
from lighting.expected import expected_of
from tests.entering import tenant_transaction

# A cabinet with a cut, a circuit under it, one with a program of its own, one that is protected; one without any.
PLANT = """
INSERT INTO tenant (slug, name, department) VALUES ('brest', 'Brest', '29'), ('quimper', 'Quimper', '29');
INSERT INTO asset (tenant_id, kind, name, latitude, longitude, attributes, parent_id) VALUES
    (1, 'lighting_cabinet', 'Armoire', 48.39, -4.49, '{}', NULL),
    (1, 'lighting_circuit', 'Départ 1', NULL, NULL, '{"output": "1", "rated_power_w": 800}', 1),
    (1, 'lighting_circuit', 'Départ 2', NULL, NULL, '{"output": "2", "rated_power_w": 200}', 1),
    (1, 'lighting_circuit', 'Carrefour', NULL, NULL, '{"protected": true, "rated_power_w": 100}', 1),
    (1, 'light_point', 'Candélabre', 48.39, -4.49, '{}', 2),
    (1, 'lighting_cabinet', 'Sans programme', 48.39, -4.49, '{"rated_power_w": "beaucoup"}', NULL),
    (1, 'lighting_cabinet', 'Sans position', NULL, NULL, '{}', NULL);
INSERT INTO lighting_program (tenant_id, name) VALUES (1, 'Coupure'), (1, 'Gradation');
INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author) VALUES
    (1, 1, 1, '{"default": {"night_cut": ["23:30", "05:00"]},
                "rules": [{"dates": ["2026-12-24"], "schedule": {"lit": false}}]}', 'a'),
    (1, 2, 1, '{"default": {"dimming": [["22:00", 50]]}, "coefficient": 0.8}', 'a');
INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by)
VALUES (1, 1, 1, 'a'), (1, 3, 2, 'a');
"""
IN_FORCE = """
SELECT p.tenant_id, p.name, v.program -> 'default' ->> 'night_cut' FROM lighting_program_in_force f
JOIN lighting_program_version v ON v.id = f.version_id JOIN lighting_program p ON p.id = v.program_id
WHERE f.asset_id = 1
"""
ALL = range(1, 8)


async def test_a_program_is_inherited_and_a_protected_circuit_never_cut(pool: Pool, api_pool: Pool) -> None:
    await pool.execute(PLANT)

    at_two = await expected_of(pool, [*ALL, 99], datetime(2026, 11, 25, 1, 0, tzinfo=UTC))
    unlit_night = await expected_of(pool, [2, 4], datetime(2026, 12, 24, 20, 0, tzinfo=UTC))
    rows = await pool.fetch("SELECT asset_id, rated_power_w FROM lighting_program_in_force")
    powers = {row[0]: row[1] for row in rows}
    async with tenant_transaction(api_pool, 1) as connection:
        mine = await expected_of(connection, [2], datetime(2026, 11, 25, 1, 0, tzinfo=UTC))
    async with tenant_transaction(api_pool, 2) as connection:
        theirs = await expected_of(connection, [2], datetime(2026, 11, 25, 1, 0, tzinfo=UTC))
    with pytest.raises(PostgresError, match="permission denied"):
        await pool.execute("UPDATE lighting_program_version SET program = '{}' WHERE id = 1")

    levels = {asset: None if found is None else found.level for asset, found in at_two.items()}
    assert levels == {1: 0, 2: 0, 3: 50, 4: 100, 5: 0, 6: 100, 7: None, 99: None}
    assert at_two[3] is not None
    assert at_two[3].power_ratio == pytest.approx(0.4)
    assert [found is not None and found.on for found in unlit_night.values()] == [False, True]
    assert powers == {1: 1100, 2: 800, 3: 200, 4: 100, 5: None}
    assert mine[2] is not None
    assert theirs == {2: None}


async def test_a_cabinet_that_is_handed_over_burns_as_before(pool: Pool) -> None:
    await pool.execute(PLANT)

    await pool.execute("UPDATE asset SET tenant_id = 2 WHERE id = 1")
    in_force = await pool.fetch(IN_FORCE)
    told = await pool.fetch("SELECT DISTINCT entity_id FROM registry_change WHERE entity = 'lighting' ORDER BY 1")

    assert [tuple(row) for row in in_force] == [(2, "Coupure", '["23:30", "05:00"]')]
    assert [row[0] for row in told] == [1, 2]
