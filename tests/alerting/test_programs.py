"""Rules read the program of the lamps that they watch, as soon as it is assigned."""

from datetime import UTC, datetime

from alerting.rulebook import Rulebook, place
from alerting.rules.duty import is_lit
from core.runtime.postgres import Pool
from registry.changes import Change
from registry.datastreams import make_datastream

PLANT = """
INSERT INTO tenant (slug, name, department) VALUES ('brest', 'Brest', '29');
INSERT INTO device_profile (tenant_id, name, vendor, model, codec) VALUES (1, 'p', 'v', 'm', 'c');
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
VALUES (1, int8send(1), int8send(1), 'd', 1, 0, 'x', 'k');
INSERT INTO asset (tenant_id, kind, name, latitude, longitude, attributes, parent_id) VALUES
    (1, 'lighting_cabinet', 'Armoire', 48.39, -4.49, '{"rated_power_w": 900}', NULL),
    (1, 'lighting_circuit', 'Départ', 48.39, -4.49, '{"rated_power_w": 500}', 1);
INSERT INTO lighting_program (tenant_id, name) VALUES (1, 'Coupure');
INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author)
VALUES (1, 1, 1, '{"default": {"night_cut": ["23:30", "05:00"]}}', 'a')
"""
# A Wednesday, two hours before dawn's and after the evening's margins.
AT_TWO = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


async def test_a_rule_reads_the_program_of_the_cabinet_above_once_it_is_assigned(pool: Pool) -> None:
    await pool.execute(PLANT)
    stream = await make_datastream(
        pool, tenant_id=1, asset_id=2, device_id=1, position="", channel="", quantity="active_power", unit="W"
    )
    rulebook = Rulebook(pool)
    await rulebook.load()
    before = place((await rulebook.watched([stream.id], AT_TWO))[stream.id], None)

    await pool.execute(
        "INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by) VALUES (1, 1, 1, 'a')"
    )
    rows = await pool.fetch("SELECT entity, entity_id FROM registry_change WHERE entity = 'lighting'")
    await rulebook.apply([Change(*row) for row in rows])
    after = place((await rulebook.watched([stream.id], AT_TWO))[stream.id], None)

    assert (before.rated_power_w, after.rated_power_w) == (500, 500)
    assert (is_lit(AT_TWO, before), is_lit(AT_TWO, after)) == (True, False)
    assert after.school_zone == "B"
