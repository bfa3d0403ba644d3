"""What the audit held before is read, sealed and verified after the upgrade, and keys open what they opened."""

from core.runtime.postgres import connect, open_pool
from registry.audit_chain import seal, verify
from registry.schema import migrate
from registry.tenants import authenticate
from tests.core.runtime.versions import migrate_up_to

PLANT = """
INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz');
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
SELECT id, 'clé', 'create', 'asset', '7', '{"name": "Borne"}' FROM tenant;
INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles)
SELECT 'abc', id, 'clé', sha256('secret'), '{manage,operate}' FROM tenant
"""


async def test_lines_and_keys_of_before_survive(empty_database_url: str) -> None:
    await migrate_up_to(53, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)
    before = await connection.fetch("SELECT id, tenant_id, at, actor, details FROM audit")

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool:
        after = await pool.fetch("SELECT id, tenant_id, at, actor, details FROM audit")
        sealed = await seal(pool)
        principal = await authenticate(pool, "terr_abc_secret")
    found = await verify(connection)
    await connection.close()
    assert [tuple(row) for row in after] == [tuple(row) for row in before]
    assert (sealed, found.sealed, found.problems, found.tail.lines) == (1, 1, (), 0)
    assert principal is not None
    assert principal.rights == {"manage", "field", "open_data", "operate", "people", "audit"}
