"""What a file's head says that it locks, and that an expand step takes nothing away, by PostgreSQL's own account.

Below `FIRST_WITH_KIND` heads say nothing: that upgrade stops the services.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from core.runtime.postgres import Connection, connect
from registry.migration_files import FIRST_WITH_KIND, Held, Kind, Lock, Migration, parse
from registry.schema import apply_step, migrations
from tests.core.runtime.versions import WRITE_LEDGER, migrate_up_to
from tests.registry.taken_away import read_what_programs_use, taken_away

KNOWN = migrations()
# What blocks somebody's reading or writing, the weakest first; the locks of the rest are shared with both.
MODES = ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
HELD = tuple(Held)  # The shortest first.

READ_NAMES = """
SELECT c.oid, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname IN ('public', 'observation', 'observation_part', 'jobs')
"""
# The file that each table is in, and how often this session has begun to read it whole; chunks and parts, too.
READ_FILES = """
SELECT oid, relfilenode AS file, pg_stat_get_xact_numscans(oid) AS scans FROM pg_class WHERE relkind IN ('r', 'p')
"""
READ_LOCKS = """
SELECT relation, upper(trim(regexp_replace(regexp_replace(mode, 'Lock$', ''), '([A-Z])', ' \\1', 'g'))) AS mode
FROM pg_locks
WHERE pid = pg_backend_pid() AND relation = ANY($1::oid[])
  AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
READ_BELOW = """
WITH RECURSIVE below (oid) AS (
    SELECT $1::oid UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN below ON i.inhparent = below.oid
)
SELECT array_agg(oid) FROM below
"""

# A row in what is locked, made as soon as its table is there: what is done to it is done as it is done to many.
ROWS = {
    "tenant": "(slug, name) VALUES ('metz', 'Metz')",
    "asset": "(tenant_id, kind, name) VALUES (1, 'bin', 'Bac')",
    "gateway": "(tenant_id, gateway_id, name) VALUES (1, decode('0102030405060708', 'hex'), 'Toit')",
    "device_profile": "(tenant_id, name, vendor, model, codec, device_class) VALUES (1, 'p', 'v', 'm', 'c', 'A')",
    "device": "(tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) VALUES "
    "(1, decode('0102030405060708', 'hex'), decode('0102030405060708', 'hex'), 'Capteur', 1, 0, 'EXTERNAL')",
    "datastream": "(tenant_id, device_id, asset_id, quantity, unit) VALUES (1, 1, 1, 'fill_level', '%')",
    "observation.latest": "(datastream_id, time, value) VALUES (1, now(), 1)",
    "observation.dirty": "(hour, datastream_ids) VALUES (now(), '{1}')",
    "observation.rollup_hour": "(datastream_id, bucket, n, suspects) VALUES (1, '2026-01-01', 1, 0)",
    "observation.rollup_day": "(datastream_id, bucket, n, suspects) VALUES (1, '2026-01-01', 1, 0)",
    "team": "(tenant_id, name) VALUES (1, 'Astreinte')",
    "alert_rule": "(tenant_id, name, kind, severity, message) VALUES (1, 'muet', 'silence', 'info', 'Muet')",
    "alert": "(tenant_id, rule_id, severity, message, condition, opened_at) VALUES "
    "(1, (SELECT min(id) FROM alert_rule), 'info', 'Muet', 'firing', now())",
    "alert_request": "(tenant_id, kind, facts, at) VALUES (1, 'codec', '{}', now())",
    "webhook_endpoint": "(tenant_id, url, secret_wrapped, kek_id) VALUES (1, 'https://metz.example', '', 'k')",
    "application": "(tenant_id, name, mqtt_url) VALUES (1, 'Outil', 'mqtts://metz.example')",
    "application_state": "(application_id, tenant_id) VALUES (1, 1)",
    "mqtt_account": "(id, secret_wrapped, kek_id, sealed_for, tenant_id, name) VALUES "
    "('0123456789abcdef', '', 'k', gen_random_uuid(), 1, 'Outil')",
    "import_job": "(tenant_id, kind, format, coordinates, dry_run, requested_by) VALUES "
    "(1, 'assets', 'csv', 'wgs84', false, 'metz')",
    "export_job": "(tenant_id, format, since, until, requested_by, streams) VALUES "
    "(1, 'csv', '2026-01-01', '2026-01-02', 'metz', 1)",
    "export_schedule": "(tenant_id, name, format, frequency, covers, file_name, target, requested_by, "
    "next_at) VALUES (1, 'Nuit', 'csv', 'day', 'previous', 'nuit.csv', 'folder', 'metz', now())",
    "waste_round": "(tenant_id, planned_for, kind, threshold, forecast_threshold, forecast_part, next_round_on, "
    "trucks, truck_volume_l, truck_weight_kg, opens_at, closes_at, service_s, unloading_s, speed_kmh, "
    "depot_latitude, depot_longitude, outlet_latitude, outlet_longitude, distance_source, seed, iterations, "
    "solver, bins_before, metres_after, trips, created_by) VALUES (1, '2026-01-01', 'bin', 75, 75, 'p50', "
    "'2026-01-02', 1, 1, 1, '06:00', '18:00', 0, 0, 30, 48, -4, 48, -4, 'osrm', 1, 1, 'pyvrp', 0, 0, '[]', 'm')",
    "waste_round_stop": "(round_id, tenant_id, asset_id, chosen_by, left_reason) VALUES "
    "(1, 1, 1, 'forced', 'no_room')",
    "waste_round_outcome": "(tenant_id, round_id, asset_id, outcome, at, recorded_by) VALUES "
    "(1, 1, 1, 'emptied', now(), 'metz')",
}  # fmt: skip


async def add_rows(connection: Connection) -> None:
    for table, values in ROWS.items():
        if await connection.fetchval(
            "SELECT to_regclass($1) IS NOT NULL", table
        ) and not await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):
            await connection.execute(f"INSERT INTO {table} {values}")


async def apply(connection: Connection, migration: Migration) -> dict[str, Lock]:
    """Apply a file; returns the strongest lock on each table of before it, and what was done to it meanwhile."""
    names = {row["oid"]: row["name"] for row in await connection.fetch(READ_NAMES)}
    found: dict[str, Lock] = {}
    for step in migration.steps or (None,):
        if step is not None and step.index is not None:
            await apply_step(connection, step)  # Beside writers; in no transaction.
            continue
        async with connection.transaction():
            before = {row["oid"]: row for row in await connection.fetch(READ_FILES)}
            if step is None:
                await connection.execute(migration.sql)
            else:
                await apply_step(connection, step)
            for lock in await locks_of(connection, names, before):
                found[lock.table] = longer(lock, found.get(lock.table, lock))
    await connection.execute(WRITE_LEDGER, migration.number, migration.name, migration.checksum)
    return found


async def locks_of(connection: Connection, names: dict[int, str], before: Mapping[int, Any]) -> list[Lock]:
    """What this transaction holds of these tables until its end."""
    after = {row["oid"]: row for row in await connection.fetch(READ_FILES)}
    found: list[Lock] = []
    for oid, mode in await connection.fetch(READ_LOCKS, list(names)):
        below = set(await connection.fetchval(READ_BELOW, oid)) & before.keys() & after.keys()
        if any(after[one]["file"] != before[one]["file"] for one in below):
            held = Held.REWRITE
        elif any(after[one]["scans"] != before[one]["scans"] for one in below):
            held = Held.SCAN
        else:
            held = Held.INSTANT
        found.append(Lock(names[oid], mode, held))
    return found


def longer(one: Lock, other: Lock) -> Lock:
    mode = max(one.mode, other.mode, key=MODES.index)
    return Lock(one.table, mode, max(one.held, other.held, key=HELD.index))


@pytest.fixture
async def before_kinds(empty_database_url: str) -> AsyncIterator[Connection]:
    await migrate_up_to(FIRST_WITH_KIND - 1, empty_database_url)
    connection = await connect(empty_database_url)
    yield connection
    await connection.close()


# Demands on columns that were there which every row of programs of before meets, read by a person.
MET = {
    "public.webhook_endpoint webhook_endpoint_of_software",  # 0125: purpose is 'events' by default: it holds.
    "public.alert_rule alert_rule_limits_check",  # 0126: one kind more in the first of its two lists.
    "public.application application_that_reads",  # 0139: at_our_broker is false by default: it holds.
    "public.mqtt_account mqtt_account_of_partner",  # 0139: holds without an application, as before.
}


async def test_every_file_does_what_it_says(before_kinds: Connection) -> None:
    untrue: dict[str, set[Lock]] = {}
    lost: dict[str, set[str]] = {}
    schema = await read_what_programs_use(before_kinds)
    for migration in KNOWN[FIRST_WITH_KIND - 1 :]:
        await add_rows(before_kinds)
        if differing := set((await apply(before_kinds, migration)).values()) ^ set(migration.locks):
            untrue[migration.name] = differing
        before, schema = schema, await read_what_programs_use(before_kinds)
        if migration.kind is Kind.EXPAND and (found := set(taken_away(before, schema)) - MET):
            lost[migration.name] = found

    assert untrue == {}
    assert lost == {}


def made(sql: str, kind: str = "expand") -> Migration:
    found = parse(f"{len(KNOWN) + 1:04}_{kind}_of_a_test.sql", sql)
    assert found is not None
    return found


@pytest.fixture
async def connection(database) -> AsyncIterator[Connection]:
    connection = await connect(database.admin_url)
    yield connection
    await connection.close()


IN_STEPS = """
-- outside a transaction

-- step
ALTER TABLE asset ADD COLUMN a int;

-- step
ALTER TABLE asset ADD CHECK (a > 0);
"""


@pytest.mark.parametrize(
    ("sql", "mode", "held"),
    [
        ("ALTER TABLE asset ADD COLUMN a int DEFAULT 1;", "ACCESS EXCLUSIVE", Held.INSTANT),
        ("ALTER TABLE asset ADD CHECK (name <> '') NOT VALID;", "ACCESS EXCLUSIVE", Held.INSTANT),
        ("ALTER TABLE asset ADD COLUMN a int CHECK (a > 0);", "ACCESS EXCLUSIVE", Held.SCAN),
        ("ALTER TABLE asset ADD UNIQUE (id, name);", "ACCESS EXCLUSIVE", Held.SCAN),
        (IN_STEPS, "ACCESS EXCLUSIVE", Held.SCAN),
        ("CREATE INDEX ON asset (name);", "SHARE", Held.SCAN),
        ("ALTER TABLE asset ADD COLUMN a float DEFAULT random();", "ACCESS EXCLUSIVE", Held.REWRITE),
    ],
)
async def test_how_long_a_lock_is_held_is_seen(connection: Connection, sql: str, mode: str, held: Held) -> None:
    assert (await apply(connection, made(sql)))["asset"] == Lock("asset", mode, held)


async def test_a_part_that_is_written_anew_is_its_table_s(connection: Connection) -> None:
    await connection.execute("DROP VIEW rollup_day CASCADE")

    locked = await apply(connection, made("ALTER TABLE observation.rollup_day ALTER COLUMN n TYPE bigint;"))

    assert locked["observation.rollup_day"].held is Held.REWRITE


async def test_an_index_that_is_made_beside_writers_blocks_nobody(connection: Connection) -> None:
    index = "-- outside a transaction\n-- step\nCREATE INDEX CONCURRENTLY IF NOT EXISTS by_name ON asset (name);"

    assert await apply(connection, made(index)) == {}


NARROWER = """
ALTER TABLE import_job DROP CONSTRAINT import_job_kind_check,
    ADD CONSTRAINT import_job_kind_check CHECK (kind IN ('devices', 'assets'))
"""


@pytest.mark.parametrize(
    ("sql", "lost"),
    [
        ("DROP FUNCTION feed_subject CASCADE", "feed_subject() -> trigger"),
        ("ALTER TABLE asset RENAME COLUMN insee TO town", "public.asset.insee"),
        ("ALTER TABLE import_job ALTER COLUMN kind TYPE varchar(10)", "public.import_job.kind"),
        ("ALTER TABLE import_job SET SCHEMA observation_part", "public.import_job.kind"),
        ("ALTER TABLE asset ALTER COLUMN insee SET NOT NULL", "public.asset.insee must be given"),
        ("ALTER TABLE asset ADD COLUMN colour text NOT NULL", "public.asset.colour must be given"),
        ("ALTER TABLE asset ADD CONSTRAINT short CHECK (name < 'n') NOT VALID", "public.asset short"),
        ("CREATE UNIQUE INDEX once ON asset (name)", "public.asset once"),
        ("ALTER TYPE alert_severity RENAME VALUE 'info' TO 'low'", "alert_severity info"),
        (NARROWER, "public.import_job import_job_kind_check"),
    ],
)
async def test_what_is_taken_away_is_seen(connection: Connection, sql: str, lost: str) -> None:
    before = await read_what_programs_use(connection)
    await connection.execute(sql)

    assert lost in list(taken_away(before, await read_what_programs_use(connection)))


async def test_what_is_added_takes_nothing_away(connection: Connection) -> None:
    before = await read_what_programs_use(connection)
    await connection.execute("""
        ALTER TABLE asset ADD COLUMN colour text CHECK (colour IN ('red')), ADD UNIQUE (id, colour);
        CREATE TABLE of_a_test (asset_id int NOT NULL REFERENCES asset, UNIQUE (asset_id));
        ALTER TYPE alert_severity ADD VALUE 'worse';
    """)

    assert list(taken_away(before, await read_what_programs_use(connection))) == []
