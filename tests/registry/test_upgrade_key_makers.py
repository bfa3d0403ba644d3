"""The upgrade that says who made a key takes it from the audit."""

from core.runtime.postgres import connect
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

BEFORE = 84
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
k AS (INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles)
      SELECT n, id, n, sha256('x'), '{read}' FROM t, unnest('{a,b,c}'::text[]) n)
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
SELECT id, actor, action, 'api_key', key, '{}' FROM t, (VALUES
    ('personne 7', 'create', 'a'), ('personne 8', 'update', 'a'), ('clé de metz', 'create', 'b')
) AS v (actor, action, key)
"""


async def test_keys_of_before_are_of_the_person_who_the_audit_says_made_them(empty_database_url: str) -> None:
    await migrate_up_to(BEFORE, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)
    await migrate(empty_database_url)

    rows = await connection.fetch("SELECT id, made_by FROM api_key ORDER BY id")
    await connection.close()
    assert [tuple(row) for row in rows] == [("a", "personne 7"), ("b", ""), ("c", "")]
