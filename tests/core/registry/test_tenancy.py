"""Row security: a tenant sees its own rows, a service all, and nobody sees anything without saying who."""

from datetime import UTC, datetime

import pytest

from core.registry.datastreams import make_datastream
from core.runtime.postgres import Pool, PostgresError, connect, tenant_transaction

VIEWS = ("measurement", "latest", "uplink", "reception")
# Tables without a tenant: what they hold belongs to the installation, or is read through views only.
UNSCOPED = {
    "deployment": "one row of settings",
    "registry_change": "entity names and ids, no content",
    "schema_migration": "the ledger of migrations",
    "gateway_state": "scoped through gateway",
    "tenant": "scoped by its own id",
    "unknown_gateway": "gateways that belong to nobody yet",
    "shard_lease": "no tenant's data",
    "dev_nonce": "not readable by the API",
    "join_nonce": "not readable by the API",
    "session": "not readable by the API",
    "transmission": "not readable by the API",
}
NOT_FOR_THE_API = {"dev_nonce", "join_nonce", "session", "transmission", "shard_lease"}


async def plant(pool: Pool, slug: str) -> tuple[int, int]:
    """A tenant with one device, one datastream and one measurement of it."""
    tenant_id = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ($1, $1) RETURNING id", slug)
    profile_id = await pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) "
        "VALUES ($1, 'p', 'v', 'm', 'c') RETURNING id",
        tenant_id,
    )
    device_id = await pool.fetchval(
        "INSERT INTO device "
        "(tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id) "
        "VALUES ($1, $2, $2, 'd', $3, 0, 'x', 'kek-1') RETURNING id",
        tenant_id,
        slug.encode().ljust(8, b"\0"),
        profile_id,
    )
    datastream = await make_datastream(
        pool,
        tenant_id=tenant_id,
        asset_id=None,
        device_id=device_id,
        position="",
        channel="",
        quantity="temperature",
        unit="Cel",
    )
    now = datetime.now(UTC)
    await pool.execute("INSERT INTO observation.measurement VALUES ($1, $2, 20, 0)", datastream.id, now)
    await pool.execute("INSERT INTO observation.latest VALUES ($1, $2, 20, 0)", datastream.id, now)
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) "
        "VALUES ($1, $2, gen_random_uuid(), '', $2, 'empty')",
        device_id,
        now,
    )
    await pool.execute(
        "INSERT INTO observation.reception VALUES ($1, $2, gen_random_uuid(), 1, 0, -80, 5)", device_id, now
    )
    return tenant_id, datastream.id


@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_of_observations_shows_a_tenant_its_own_rows_only(
    pool: Pool, api_pool: Pool, view: str
) -> None:
    mine, _ = await plant(pool, "mine")
    await plant(pool, "theirs")

    async with tenant_transaction(api_pool, mine) as connection:
        seen = await connection.fetchval(f"SELECT count(*) FROM {view}")
    unsaid = await api_pool.fetchval(f"SELECT count(*) FROM {view}")

    assert seen == 1
    assert unsaid == 0


async def test_naming_another_tenants_datastream_shows_nothing(pool: Pool, api_pool: Pool) -> None:
    mine, _ = await plant(pool, "mine")
    _, theirs = await plant(pool, "theirs")

    async with tenant_transaction(api_pool, mine) as connection:
        rows = await connection.fetch("SELECT * FROM measurement WHERE datastream_id = ANY($1)", [theirs])

    assert rows == []


async def test_the_api_cannot_enter_the_schema_of_observations(api_pool: Pool) -> None:
    with pytest.raises(PostgresError, match="permission denied for schema observation"):
        await api_pool.fetch("SELECT * FROM observation.measurement")


async def test_the_api_writes_a_root_key_and_cannot_read_it(api_pool: Pool) -> None:
    with pytest.raises(PostgresError, match="permission denied for table device"):
        await api_pool.fetch("SELECT app_key_wrapped FROM device")


async def test_a_tenant_cannot_write_a_row_for_another(pool: Pool, api_pool: Pool) -> None:
    mine, _ = await plant(pool, "mine")
    theirs, _ = await plant(pool, "theirs")

    with pytest.raises(PostgresError, match="row-level security"):
        async with tenant_transaction(api_pool, mine) as connection:
            await connection.execute("INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'bin', 'b')", theirs)


async def test_every_table_is_scoped_or_listed_with_a_reason(database) -> None:
    connection = await connect(database.admin_url)
    rows = await connection.fetch(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS scoped FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    readable = {
        row["relname"]
        for row in rows
        if await connection.fetchval(
            "SELECT has_any_column_privilege('territoire_api', $1::regclass, 'SELECT')", row["relname"]
        )
    }
    await connection.close()

    unscoped = {row["relname"] for row in rows if not row["scoped"]}

    assert unscoped <= set(UNSCOPED)
    assert readable.isdisjoint(NOT_FOR_THE_API)


async def test_audit_lines_stay(pool: Pool) -> None:
    with pytest.raises(PostgresError, match="permission denied"):
        await pool.execute("DELETE FROM audit")
