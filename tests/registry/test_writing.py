"""A tenant that sees another tenant's rows changes none of them, in whatever table they are."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest

from core.runtime.postgres import BareConnection, InsufficientPrivilegeError, PostgresError, connect
from tests.conftest import Administrator, Cluster, fresh_database, run_apart
from tests.entering import enter_tenant
from tests.registry.test_visibility import fill
from tests.registry.worlds import GAUGE, Asset, Datastream, Device, Grant, Serving, World

SYNDICAT, COMMUNE, NEIGHBOUR = 0, 1, 2
# The syndicat sees its commune, and operates all that its neighbour has.
WORLD = World(
    member_of=(None, SYNDICAT, None, None),
    assets=tuple(Asset(tenant, "bin", (), 1) for tenant in range(3)),
    devices=tuple(Device(tenant, None) for tenant in range(3)),
    servings=tuple(Serving(index, index, (None, None)) for index in range(3)),
    datastreams=tuple(Datastream(index, index, index, GAUGE) for index in range(3)),
    grants=(
        Grant(NEIGHBOUR, SYNDICAT, None, None, None, "operator", (None, None), (None, None), revoked=False),
        Grant(COMMUNE, NEIGHBOUR, 1, None, None, "operator", (None, None), (None, None), revoked=False),
    ),
    tenures=(),
    events=tuple((index, 10) for index in range(3)),
    instants=(10,),
    consents=dict.fromkeys(range(3), False),
)
# Every table that says whose its rows are, with a column that the API's role may set, and whether it may delete.
TABLES = """
SELECT c.relname AS name,
       (SELECT a.attname FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
          AND a.attidentity <> 'a' AND has_column_privilege('territoire_api', c.oid, a.attnum, 'UPDATE')
        ORDER BY a.attname = 'tenant_id', a.attnum LIMIT 1) AS settable,
       has_table_privilege('territoire_api', c.oid, 'DELETE') AS deletable,
       has_any_column_privilege('territoire_api', c.oid, 'INSERT') AS insertable
FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
UNION ALL SELECT 'tenant', 'name', has_table_privilege('territoire_api', 'tenant', 'DELETE'), true
ORDER BY 1
"""
# Rows by their place and content: any change moves or alters one.
CONTENT = "SELECT md5(string_agg(t::text || ctid::text, ',' ORDER BY ctid)) FROM {table} t WHERE {of} <> $1"

REFUSED = InsufficientPrivilegeError.__name__
GRANT_ALL = "VALUES ($1, 1, true, 'operator', '(,)', 'x')"


@asynccontextmanager
async def world(admin_url: str) -> AsyncGenerator[BareConnection]:
    connection = await connect(admin_url)
    try:
        await fill(connection, WORLD)
        yield connection
    finally:
        await connection.close()


# Bounds are set by syndicats alone, of which the world has one.
BOUNDS_OF_ANOTHER = f"""
INSERT INTO lighting_bounds (tenant_id, member_id, set_by)
SELECT id, {SYNDICAT + 1}, 'a' FROM tenant WHERE id <> {SYNDICAT + 1} LIMIT 1
"""


@pytest.fixture(scope="module")
def filled_url(cluster: Cluster, administrator: Administrator) -> Iterator[str]:
    """One world for all that is rejected: a rejected statement leaves nothing behind."""

    async def fill_it(url: str) -> None:
        async with world(url):
            pass

    with fresh_database(cluster, administrator) as database:
        run_apart(fill_it(database.admin_url))
        yield database.admin_url


async def attempt(connection: BareConnection, statement: str, *arguments: object) -> str:
    """As the syndicat, in a transaction of its own that is committed; how many rows, or the error's name."""
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE territoire_api")
            await enter_tenant(connection, SYNDICAT + 1)
            return (await connection.execute(statement, *arguments)).rpartition(" ")[2]
    except PostgresError as refused:
        return type(refused).__name__


async def test_no_table_lets_the_rows_of_another_tenant_be_changed(database) -> None:
    async with world(database.admin_url) as connection:
        await connection.execute(BOUNDS_OF_ANOTHER)
        tables = await connection.fetch(TABLES)
        changed: dict[str, str] = {}
        for table in tables:
            name, of = table["name"], "id" if table["name"] == "tenant" else "tenant_id"
            before = await connection.fetchval(CONTENT.format(table=name, of=of), SYNDICAT + 1)
            if table["settable"]:
                column = table["settable"]
                done = await attempt(connection, f"UPDATE {name} SET {column} = {column}")
                assert done.isdecimal() or done == REFUSED, (name, done)
            if table["deletable"]:
                await attempt(connection, f"DELETE FROM {name} WHERE {of} <> $1", SYNDICAT + 1)
            after = await connection.fetchval(CONTENT.format(table=name, of=of), SYNDICAT + 1)
            if before != after:
                changed[name] = f"{before} -> {after}"
            if table["settable"] or table["deletable"]:
                assert before is not None, f"{name} has no rows that could be changed"

    assert len([table for table in tables if table["settable"]]) > 8
    assert changed == {}


@pytest.mark.parametrize("victim", [COMMUNE, NEIGHBOUR])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'bin', 'new')",
        "INSERT INTO access_grant (tenant_id, grantee_id, everything, role, valid, granted_by) " + GRANT_ALL,
        "INSERT INTO assignment (tenant_id, asset_id, device_id, during) VALUES ($1, $1, $1, '[2030-01-01,)')",
        "INSERT INTO audit (tenant_id, actor, action, entity, entity_id) VALUES ($1, 'a', 'b', 'c', 'd')",
        "INSERT INTO device_tenure (device_id, tenant_id, during) VALUES ($1, 1, '{(,)}')",
        "UPDATE asset SET tenant_id = $1 WHERE id = 1",
        "UPDATE device SET tenant_id = $1 WHERE id = 1",
        "UPDATE tenant SET member_of = 1 WHERE id = $1",
        "SELECT set_member_of($1, 1)",
        "SELECT transfer_asset($1, 1, false, 'x', '{}')",
        "UPDATE access_grant SET grantee_id = 1, accepted_at = now() WHERE tenant_id = $1",
        "SELECT decide_claim($1, true)",
        "SELECT keep_tenure($1, 1, '{(,)}', '{}')",
        "SELECT give_profiles(ARRAY[$1::int], 1)",
        "INSERT INTO lns_source (tenant_id, kind, transport, name) VALUES ($1, 'generic', 'http', 'new')",
        "INSERT INTO application (tenant_id, name, mqtt_url) VALUES ($1, 'new', 'mqtt://a.example')",
    ],
)
async def test_nothing_is_written_in_the_name_of_a_tenant_that_is_seen(
    filled_url: str, victim: int, statement: str
) -> None:
    connection = await connect(filled_url)
    try:
        done = await attempt(connection, statement, victim + 1)
    finally:
        await connection.close()

    assert done in {REFUSED, "NoDataFoundError"}
