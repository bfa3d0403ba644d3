"""The upgrade that brings quotas and proofs: what a tenant has stays, and its addresses go on receiving."""

from core.runtime.postgres import connect
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

# The last schema without both.
BEFORE = 63
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
s AS (INSERT INTO event_source (tenant_id, name, secret_wrapped, kek_id)
      SELECT id, n::text, 'x', 'kek-1' FROM t, generate_series(1, 120) n)
INSERT INTO webhook_endpoint (tenant_id, url, secret_wrapped, kek_id, state, disabled_reason)
SELECT id, 'https://' || state || '.example/', 'x', 'kek-1', state, reason
FROM t, (VALUES ('enabled', NULL), ('disabled', 'à la demande')) AS v (state, reason)
"""


async def test_existing_endpoints_count_as_proved_and_a_tenant_above_a_default_keeps_what_it_has(
    empty_database_url: str,
) -> None:
    await migrate_up_to(BEFORE, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)

    await migrate(empty_database_url)

    endpoints = await connection.fetch("SELECT state, proved_at = created_at AS is_proved FROM webhook_endpoint")
    quotas = await connection.fetch("SELECT kind, most FROM quota")
    await connection.close()
    assert sorted(map(tuple, endpoints)) == [("disabled", True), ("enabled", True)]
    assert list(map(tuple, quotas)) == [("event_sources", 150)]
