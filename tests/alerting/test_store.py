"""What the API may do with rules, alerts and endpoints, as its own role under row security."""

import re

import pytest

from alerting import alert_store, rule_store, store
from alerting.defaults import DEFAULT_RULES, create_default_rules
from alerting.rules.model import KINDS
from api.routes.alert_rules import NewRule
from core.runtime.postgres import Pool, PostgresError
from registry.keys import KeyWrap, row_owner
from registry.listing import Ask, Position
from tests.entering import tenant_transaction

KEYS = KeyWrap("kek-1", bytes(16))


async def make_tenant(pool: Pool, slug: str) -> int:
    tenant_id = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ($1, $1) RETURNING id", slug)
    await create_default_rules(pool, tenant_id)
    return tenant_id


async def make_alert(pool: Pool, tenant_id: int) -> int:
    return await pool.fetchval(
        "INSERT INTO alert (tenant_id, rule_id, severity, message, condition, opened_at) "
        "SELECT tenant_id, id, severity, 'plein', 'firing', now() FROM alert_rule "
        "WHERE tenant_id = $1 AND name = 'bin_75' RETURNING id",
        tenant_id,
    )


async def test_the_kinds_of_rules_are_the_tables_and_the_apis(pool: Pool) -> None:
    constraint = await pool.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'alert_rule_kind_check'"
    )

    assert set(re.findall(r"'(\w+)'", constraint)) == set(KINDS)
    assert NewRule.model_json_schema()["properties"]["kind"]["enum"] == list(KINDS)


async def test_a_new_tenant_has_the_default_rules_and_keeps_what_it_changes(pool: Pool, api_pool: Pool) -> None:
    tenant_id = await make_tenant(pool, "sdef")
    async with tenant_transaction(api_pool, tenant_id) as connection:
        rules = {rule.name: rule for rule in await rule_store.list_rules(connection)}
        changed = await rule_store.update_rule(connection, rules["bin_75"].id, {"fire_value": 80})
    await create_default_rules(pool, tenant_id)
    async with tenant_transaction(api_pool, tenant_id) as connection:
        kept = await rule_store.read_rule(connection, rules["bin_75"].id)

    assert set(rules) == {rule.name for rule in DEFAULT_RULES}
    assert changed is not None
    assert changed.fire_value == 80
    assert kept == changed


async def test_an_alert_is_listed_and_acknowledged_by_its_tenant_only(pool: Pool, api_pool: Pool) -> None:
    mine, theirs = await make_tenant(pool, "mine"), await make_tenant(pool, "theirs")
    alert_id = await make_alert(pool, mine)
    async with tenant_transaction(api_pool, theirs) as connection:
        seen_by_others = await alert_store.acknowledge(connection, alert_id, "them")
    async with tenant_transaction(api_pool, mine) as connection:
        opened = await alert_store.list_alerts(connection, alert_store.WantedAlerts(workflow=["open"]))
        taken = await alert_store.acknowledge(connection, alert_id, "astreinte")
        again = await alert_store.acknowledge(connection, alert_id, "another")
        left_open = await alert_store.list_alerts(connection, alert_store.WantedAlerts(workflow=["open"]))
        older = await alert_store.list_alerts(connection, ask=Ask("-id", Position(None, alert_id), 100))

    assert seen_by_others is None
    assert [alert.id for alert in opened] == [alert_id]
    assert taken is not None
    assert (taken.workflow, taken.acknowledged_by, taken.rule) == ("acknowledged", "astreinte", "bin_75")
    assert again == taken
    assert left_open == older == []


async def test_an_endpoints_secret_is_shown_once_and_never_read_again(pool: Pool, api_pool: Pool) -> None:
    tenant_id = await make_tenant(pool, "sdef")
    async with tenant_transaction(api_pool, tenant_id) as connection:
        endpoint, secret = await store.create_endpoint(connection, KEYS, tenant_id, "https://sig.example.fr/hook")
        listed = await store.list_endpoints(connection)
        off = await store.set_endpoint_enabled(connection, endpoint.id, enabled=False)

    stored, sealed_for = await pool.fetchrow("SELECT secret_wrapped, sealed_for FROM webhook_endpoint")

    assert secret.startswith("whsec_")
    assert store.secret_text(KEYS.unwrap(stored, row_owner("webhook_endpoint", sealed_for))) == secret
    assert listed == [endpoint]
    assert off is not None
    assert (off.state, off.disabled_reason) == ("disabled", "suspendue à la demande")
    with pytest.raises(PostgresError, match="permission denied"):
        async with tenant_transaction(api_pool, tenant_id) as connection:
            await connection.fetchval("SELECT secret_wrapped FROM webhook_endpoint")


async def test_a_deleted_endpoint_takes_its_waiting_messages_along(pool: Pool, api_pool: Pool) -> None:
    tenant_id = await make_tenant(pool, "sdef")
    async with tenant_transaction(api_pool, tenant_id) as connection:
        endpoint, _ = await store.create_endpoint(connection, KEYS, tenant_id, "https://sig.example.fr/hook")
    await pool.execute(
        "INSERT INTO jobs.pgqueuer (priority, status, entrypoint) VALUES (0, 'queued', $1), (0, 'queued', 'else')",
        f"webhook/{endpoint.id}",
    )
    async with tenant_transaction(api_pool, tenant_id) as connection:
        deleted = await store.delete_endpoint(connection, endpoint.id)
        again = await store.delete_endpoint(connection, endpoint.id)
        attempts = await store.list_attempts(connection, endpoint.id)

    assert (deleted, again, attempts) == (True, False, [])
    assert [row["entrypoint"] for row in await pool.fetch("SELECT entrypoint FROM jobs.pgqueuer")] == ["else"]


@pytest.mark.parametrize(
    "url",
    ["ftp://a.fr", "https://", "/hook", "https://u:p@a.fr", "http://a:99999/", "https://a b.fr", "http://[::1"],
)
def test_rejects_an_address_to_which_no_webhook_can_go(url: str) -> None:
    with pytest.raises(store.RejectedUrl):
        store.check_url(url)
