"""Grants and transfers of before count as accepted; a former process still offers."""

from core.runtime.postgres import connect
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

PLANT = """
INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz'), ('nancy', 'Nancy');
INSERT INTO asset (tenant_id, kind, name) VALUES (1, 'room', 'Salle 1'), (2, 'room', 'Salle 2');
INSERT INTO access_grant (tenant_id, grantee_id, everything, role, valid, granted_by, revoked_at, revoked_by)
VALUES (1, 2, true, 'reader', '[2020-01-01,)', 'a', NULL, NULL),
    (1, 2, true, 'reader', '[2020-01-01,)', 'a', now(), 'b');
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES
    (1, 'clé', 'transfer', 'asset', '2', '{"to": 2, "kept_as": 7, "history": "stays"}'),
    (1, 'clé', 'transfer', 'asset', '99', '{"to": 2, "kept_as": null}')
"""


async def test_grants_and_transfers_of_before_the_upgrade_count_as_accepted(empty_database_url: str) -> None:
    await migrate_up_to(63, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)

    await migrate(empty_database_url)

    grants = await connection.fetch(
        "SELECT grantee_id, offered_to, offered_slug, accepted_at = created_at FROM access_grant ORDER BY id"
    )
    transfers = await connection.fetch(
        "SELECT tenant_id, asset_id, asset_name, history, offered_slug, accepted_at IS NOT NULL, kept_as "
        "FROM asset_transfer ORDER BY id"
    )
    async with connection.transaction():
        await connection.execute("SELECT seal_transaction(2, false, 2, '{}')")
        granted = await connection.fetch("SELECT asset_id FROM granted_asset()")
    # As a process of the former version does until it is replaced.
    offered = await connection.fetchrow(
        "INSERT INTO access_grant (tenant_id, grantee_id, everything, role, valid, granted_by) "
        "VALUES (2, 1, true, 'reader', '[2020-01-01,)', 'a') RETURNING grantee_id, offered_to, offered_slug"
    )
    await connection.close()
    assert [tuple(row) for row in grants] == [(2, 2, "nancy", True)] * 2
    assert [tuple(row) for row in transfers] == [
        (1, 2, "Salle 2", "stays", "nancy", True, 7),
        (1, None, "", "goes_along", "nancy", True, None),
    ]
    assert [row["asset_id"] for row in granted] == [1]
    assert offered is not None
    assert tuple(offered) == (None, 1, "metz")
