"""What the audit held before is read, sealed and verified after the upgrade, and keys open what they opened."""

from hashlib import sha256

from core.runtime.postgres import connect, open_pool
from registry.audit_chain import seal, verify
from registry.schema import migrate, migrations
from registry.sessions import find_session
from registry.tenants import authenticate
from tests.core.runtime.versions import WRITE_LEDGER, migrate_up_to

PLANT = """
INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz');
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
SELECT id, 'clé', 'create', 'asset', '7', '{"name": "Borne"}' FROM tenant;
INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles)
SELECT 'abc', id, 'clé', sha256('secret'), '{manage,operate}' FROM tenant
"""

PLANT_SESSION = """
INSERT INTO person (email, name) VALUES ('a@metz.example', 'A');
INSERT INTO membership (person_id, tenant_id, role) SELECT p.id, t.id, 'reader' FROM person p, tenant t;
INSERT INTO person_session (token_sha256, person_id, tenant_id, address, expires_at)
SELECT sha256('jeton'), p.id, t.id, '192.0.2.1', now() + interval '1 hour' FROM person p, tenant t;
INSERT INTO rejected_login VALUES ('192.0.2.1', now(), 0)
"""


async def migrate_on(number: int, database_url: str) -> None:
    """From where `migrate_up_to` has left it."""
    connection = await connect(database_url)
    for migration in migrations()[53:number]:
        await connection.execute(migration.sql.replace("{shards}", "4"))
        await connection.execute(WRITE_LEDGER, migration.number, migration.name, migration.checksum)
    await connection.close()


async def test_lines_and_keys_of_before_survive(empty_database_url: str) -> None:
    await migrate_up_to(53, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)
    before = await connection.fetch("SELECT id, tenant_id, at, actor, details FROM audit")
    await migrate_on(63, empty_database_url)
    await connection.execute(PLANT_SESSION)

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool:
        after = await pool.fetch("SELECT id, tenant_id, at, actor, details FROM audit")
        sealed = await seal(pool)
        principal = await authenticate(pool, "terr_abc_secret")
        session = await find_session(pool, sha256(b"jeton").digest())
    found = await verify(connection)
    await connection.close()
    assert [tuple(row) for row in after] == [tuple(row) for row in before]
    assert (sealed, found.sealed, found.problems, found.tail.lines) == (1, 1, (), 0)
    assert session is not None
    assert (session.tenant_slug, session.role, session.id) == ("metz", "reader", 1)
    assert principal is not None
    assert principal.asset_kinds == ()
    assert principal.rights == {"manage", "field", "open_data", "operate", "people", "audit"}
