"""The upgrade that brings the rules about cabinets: a tenant's own rules and open alerts stay as they are."""

from dataclasses import replace

from alerting.defaults import DEFAULT_RULES
from alerting.rule_store import list_rules
from core.runtime.postgres import connect
from registry.schema import migrate, migrations
from tests.core.runtime.versions import migrate_up_to

OWN = "SELECT name, kind, quantity, message, enabled FROM alert_rule WHERE id = 1"


async def test_tenants_of_before_get_the_rules_about_cabinets_and_keep_their_own_and_what_is_open(
    empty_database_url: str,
) -> None:
    before = next(place for place, one in enumerate(migrations()) if one.name.endswith("_cabinet_supervision.sql"))
    await migrate_up_to(before, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(
        "INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz'), ('nancy', 'Nancy');"
        "INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, fire_value, enabled) "
        "VALUES (1, 'breaker', 'boolean', 'tilt', 'info', 'le nôtre', 1, false);"
        "INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, series, fire_op, fire_value, "
        "clear_op, clear_value) VALUES (1, 'dark', 'threshold', 'active_power', 'critical', 'm', 'power_ratio', "
        "'<', 20, '>', 50);"
        "INSERT INTO alert (tenant_id, rule_id, severity, message, condition, opened_at, fired_at) "
        "VALUES (1, 2, 'critical', 'éteinte', 'firing', now(), now())"
    )
    own = await connection.fetchrow(OWN)

    await migrate(empty_database_url)

    assert await connection.fetchrow(OWN) == own
    assert await connection.fetchval("SELECT message FROM alert WHERE workflow = 'open'") == "éteinte"
    rules = await list_rules(connection)
    await connection.close()
    expected = {rule.name: rule for rule in DEFAULT_RULES}
    made = [rule for rule in rules if rule.id > 2]
    names = {"under_power", "lost_phase", "lost_phase_current", "contract_power", "breaker", "cabinet_door"}
    assert {(rule.tenant_id, rule.name) for rule in made} == {
        (tenant, name) for tenant in (1, 2) for name in names if (tenant, name) != (1, "breaker")
    }
    for rule in made:
        assert rule == replace(expected[rule.name], id=rule.id, tenant_id=rule.tenant_id)
