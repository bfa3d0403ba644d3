"""Row security: a tenant sees its own rows, a service all, and nobody sees anything without saying who."""

import re
from datetime import UTC, datetime

import pytest

from core.model.quantities import QUANTITIES, Kind
from core.runtime.postgres import Pool, PostgresError, connect
from registry.datastreams import make_datastream
from tests.entering import enter_tenant, tenant_transaction

VIEWS = ("measurement", "latest", "uplink", "reception", "correction", "meter_change")
# Tables without row security of their own, by schema and name: why no tenant can read another's rows there.
INSIDE = "the API's role cannot enter the schema"
NEVER_READ = "the API's role has no right to read it"
UNSCOPED = {
    "public.deployment": "one row of settings",
    "public.personal_term": "one row of terms",
    "public.registry_change": "entity names and ids, no content",
    "public.schema_migration": "the ledger of migrations",
    "public.service_release": "which release each living process is",
    "public.unknown_gateway": "gateways that belong to nobody yet; the API asks for the operator's role",
    "public.shard_lease": NEVER_READ,
    "public.service_replica": NEVER_READ,
    "public.heartbeat": NEVER_READ,
    "public.application_downlink": NEVER_READ,
    "public.dev_nonce": NEVER_READ,
    "public.join_nonce": NEVER_READ,
    "public.session": NEVER_READ,
    "public.password_reset": NEVER_READ,
    "public.recovery_code": NEVER_READ,
    "public.person_session": NEVER_READ,
    "public.personal_read": NEVER_READ,
    "public.audit_export": NEVER_READ,
    "public.login_failure": NEVER_READ,
    "public.audit_pending": NEVER_READ,
    "public.audit_seal": NEVER_READ,
    "public.audit_start": NEVER_READ,
    "public.rejected_login": NEVER_READ,
    "public.person_identity": NEVER_READ,
    "public.seal_secret": NEVER_READ,
    "public.quota_default": NEVER_READ,
    "public.erasure_step": NEVER_READ,
    "public.restore_drill": NEVER_READ,
}
CLOSED_SCHEMAS = ("observation", "observation_part", "jobs")
# Chunks and catalogues of TimescaleDB; that the API's role reads no chunk is tested below.
OF_TIMESCALEDB = re.compile(r"_?timescaledb_")
EVERY_RELATION = """
SELECT n.nspname AS schema, n.nspname || '.' || c.relname AS name, c.relkind IN ('v', 'm') AS is_view,
       c.relrowsecurity AND c.relforcerowsecurity AS scoped, pg_get_userbyid(c.relowner) AS owner,
       has_any_column_privilege('territoire_api', c.oid, 'SELECT')
           AND has_schema_privilege('territoire_api', n.oid, 'USAGE') AS readable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""

# Functions that act with their owner's rights, and where they look for what they name.
EVERY_DOOR = """
SELECT p.oid::regprocedure::text AS name,
       coalesce((SELECT set FROM unnest(p.proconfig) AS set WHERE set LIKE 'search_path=%'), '') AS settings
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""


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
    await pool.execute("INSERT INTO observation.correction VALUES ($1, $2, 21, 0)", datastream.id, now)
    await pool.execute(
        "INSERT INTO observation.meter_change (datastream_id, at, cause) VALUES ($1, $2, 'manual')",
        datastream.id,
        now,
    )
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


async def test_every_table_and_view_is_scoped_or_listed_with_a_reason(database) -> None:
    connection = await connect(database.admin_url)
    relations = [row for row in await connection.fetch(EVERY_RELATION) if not OF_TIMESCALEDB.match(row["schema"])]
    await connection.close()

    unscoped = {
        row["name"]
        for row in relations
        if not row["scoped"] and row["schema"] not in CLOSED_SCHEMAS and not row["is_view"]
    }
    readable = {row["name"] for row in relations if row["readable"]}
    views = {row["name"]: row["owner"] for row in relations if row["is_view"]}

    assert unscoped == UNSCOPED.keys()
    assert not {name for name, reason in UNSCOPED.items() if reason == NEVER_READ} & readable
    assert not {row["name"] for row in relations if row["schema"] in CLOSED_SCHEMAS} & readable
    # A view has the eyes of its owner: this one is bound by row security, and owns none of the tables.
    assert set(views.values()) == {"territoire_views"}
    assert not {row["name"] for row in relations if row["owner"] == "territoire_views"} - views.keys()


async def test_what_acts_with_its_owners_rights_looks_into_temporary_tables_last(database) -> None:
    connection = await connect(database.admin_url)
    doors = {row["name"]: row["settings"] for row in await connection.fetch(EVERY_DOOR)}
    await connection.close()

    assert "visible_tenants()" in doors
    # `SET search_path = public, pg_temp` in its definition.
    assert {name for name, settings in doors.items() if not settings.endswith(", pg_temp")} == set()


async def test_a_temporary_table_stands_in_for_none_of_ours(pool: Pool, api_pool: Pool) -> None:
    mine, _ = await plant(pool, "mine")
    theirs, _ = await plant(pool, "theirs")

    async with tenant_transaction(api_pool, mine) as connection:
        await connection.execute("CREATE TEMPORARY TABLE tenant (id int, member_of int) ON COMMIT DROP")
        await connection.execute("INSERT INTO pg_temp.tenant VALUES ($1, $2)", theirs, mine)
        seen = await connection.fetchval("SELECT visible_tenants()")

    assert seen == [mine]


async def test_the_role_of_the_views_is_bound_by_row_security(database) -> None:
    connection = await connect(database.admin_url)
    role = await connection.fetchrow("SELECT * FROM pg_roles WHERE rolname = 'territoire_views'")
    await connection.close()

    assert role is not None
    assert not role["rolsuper"]
    assert not role["rolbypassrls"]
    assert not role["rolcanlogin"]


async def test_the_api_reads_no_chunk_of_a_hypertable(pool: Pool, database) -> None:
    await plant(pool, "mine")
    connection = await connect(database.admin_url)
    chunks = [row for row in await connection.fetch(EVERY_RELATION) if row["name"].endswith("_chunk")]
    await connection.close()

    assert chunks
    assert not [row["name"] for row in chunks if row["readable"]]


async def test_what_was_rejected_of_a_device_is_its_owners_whatever_its_subject(
    pool: Pool, api_pool: Pool
) -> None:
    mine, _ = await plant(pool, "mine")
    theirs, _ = await plant(pool, "theirs")
    my_dev_eui = b"mine".ljust(8, b"\0")
    # Of their device, under the DevEUI of mine: whose it is, the device decides.
    await pool.execute(
        "INSERT INTO frame_refusal (subject, reason, device_id, gateway_id, first_at, last_at) "
        "SELECT $1, 'mic', id, int8send(1), now(), now() FROM device WHERE tenant_id = $2",
        my_dev_eui,
        theirs,
    )
    # Of nobody's device yet, under the same DevEUI, and of an unknown one.
    await pool.executemany(
        "INSERT INTO frame_refusal (subject, reason, gateway_id, first_at, last_at) "
        "VALUES ($1, 'unknown_device', int8send(1), now(), now())",
        [(my_dev_eui,), (b"stranger",)],
    )
    seen: dict[int, list[tuple[bytes, str]]] = {}
    for tenant in (mine, theirs):
        async with tenant_transaction(api_pool, tenant) as connection:
            rows = await connection.fetch("SELECT subject, reason FROM frame_refusal")
            seen[tenant] = [tuple(row) for row in rows]
    async with api_pool.acquire() as connection, connection.transaction():
        await enter_tenant(connection, None, is_operator=True)
        rows = await connection.fetch("SELECT subject, reason FROM frame_refusal ORDER BY subject")
        of_nobody = [tuple(row) for row in rows]

    assert seen == {mine: [(my_dev_eui, "unknown_device")], theirs: [(my_dev_eui, "mic")]}
    assert of_nobody == [(my_dev_eui, "unknown_device"), (b"stranger", "unknown_device")]


async def test_the_database_knows_which_quantities_count_up(pool: Pool) -> None:
    known = await pool.fetchval(
        "SELECT array_agg(q) FROM unnest($1::text[]) q WHERE counts_up(q)", list(QUANTITIES)
    )

    # A new counter needs a migration: its buckets end with the instant that they hold (views of 0009).
    assert set(known) == {name for name, quantity in QUANTITIES.items() if quantity.kind is Kind.COUNTER}


async def test_audit_lines_stay(pool: Pool) -> None:
    with pytest.raises(PostgresError, match="permission denied"):
        await pool.execute("DELETE FROM audit_line")
