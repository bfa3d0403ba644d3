"""A login for a tool sees its tenant's rows and no others, whatever SQL it runs; dashboards are read by one."""

import json
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from alerting.defaults import create_default_rules
from core.runtime.postgres import Connection, Pool, connect
from ingest.rollups import roll_up
from registry.sql_logins import NotMade, create_login, drop_login, list_logins

DASHBOARDS = sorted((Path(__file__).parents[2] / "deploy" / "grafana").glob("*.json"))
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
VIEWS = "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'bi'::regnamespace AND c.relkind = 'v'"
# What the login may call of what runs with other rights than its own.
DEFINERS = """
SELECT array_agg(p.proname::text ORDER BY p.proname) FROM pg_proc p
WHERE p.prosecdef AND p.prorettype <> 'trigger'::regtype AND has_function_privilege($1, p.oid, 'EXECUTE')
  AND p.pronamespace IN ('public'::regnamespace, 'observation'::regnamespace, 'jobs'::regnamespace)
"""
# What views and policies ask; each says something of the reader's own tenant alone.
ASKED = {
    *("current_tenant", "has_proved", "is_operator", "visible_tenants", "reachable_tenants", "granted_asset"),
    *("granted_alert", "opened_asset", "hidden_asset", "hidden_device", "hidden_datastream", "assets_of_kinds"),
    "shared_lighting_version",
}
WRITABLE = """
SELECT array_agg(c.oid::regclass::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'observation', 'jobs', 'bi') AND c.relkind IN ('r', 'v', 'p')
  AND has_table_privilege($1, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
"""
READABLE = """
SELECT array_agg(c.oid::regclass::text ORDER BY 1) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'observation', 'jobs') AND c.relkind IN ('r', 'v', 'p')
  AND has_any_column_privilege($1, c.oid, 'SELECT')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""


@pytest.fixture
async def streams(pool: Pool, measuring) -> dict[str, int]:
    """Of `mesures` one of each kind that dashboards ask for, one of a dwelling; and one of another tenant."""
    made = {}
    for quantity in ("water_volume", "active_energy_import", "fill_level", "co2", "temperature"):
        [made[quantity]] = await measuring.datastreams(quantity)
    [made["dwelling"]] = await measuring.datastreams("temperature", privacy_class=2)
    [made["theirs"]] = await measuring.datastreams("temperature")
    other = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('autre', 'Autre') RETURNING id")
    for table in ("asset", "datastream"):
        column = "id" if table == "datastream" else "(SELECT asset_id FROM datastream WHERE id = $2)"
        condition = "id = $2" if table == "datastream" else f"id = {column}"
        await pool.execute(f"UPDATE {table} SET tenant_id = $1 WHERE {condition}", other, made["theirs"])
    await pool.execute("UPDATE asset SET commune = 'Brest'")
    for n in range(50):
        await measuring.write(*((id_, NOW - timedelta(hours=n), 1200.0 - n, 0) for id_ in made.values()))
    await roll_up(pool)
    for slug in ("mesures", "autre"):
        tenant = await pool.fetchval("SELECT id FROM tenant WHERE slug = $1", slug)
        await create_default_rules(pool, tenant)
        await pool.execute(
            "INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at) "
            "SELECT r.tenant_id, r.id, a.id, 'warning', 'm', 'firing', now() FROM alert_rule r "
            "JOIN asset a ON a.tenant_id = r.tenant_id WHERE r.tenant_id = $1 AND r.name = 'bin_75'",
            tenant,
        )
    return made


@pytest.fixture
async def reader(database, streams) -> AsyncGenerator[Connection]:
    admin = await connect(database.admin_url)
    role, password = await create_login(admin, "mesures", f"t{database.name.removeprefix('test_')}")
    url = re.sub("//[^@]*@", f"//{role}:{password}@", database.admin_url)
    opened = await asyncpg.connect(url)
    yield opened
    await opened.close()
    await drop_login(admin, role)
    assert role not in {one.role for one in await list_logins(admin)}
    await admin.close()


async def test_a_login_sees_its_tenant_alone_and_no_dwelling_whatever_it_sets(
    reader: Connection, streams: dict[str, int], pool: Pool
) -> None:
    hidden = {streams["dwelling"], streams["theirs"]}
    ours = set(streams.values()) - hidden
    other = await pool.fetchval("SELECT id FROM tenant WHERE slug = 'autre'")
    hidden_assets = {
        row[0] for row in await pool.fetch("SELECT asset_id FROM datastream WHERE id = ANY($1)", hidden)
    }
    views = {row[0] for row in await pool.fetch(VIEWS)}

    for forged in (False, True):
        if forged:
            for setting, value in {
                "tenant": other,
                "operator": "on",
                "proved": f"{other}|{{operate}}",
                "seal": "",
            }.items():
                await reader.execute("SELECT set_config($1, $2, false)", f"app.{setting}", str(value))
        for view in views:
            rows = [dict(row) for row in await reader.fetch(f"SELECT * FROM bi.{view}")]
            if view in {"asset", "alert"}:
                seen = {row["id" if view == "asset" else "asset_id"] for row in rows}
                assert len(seen) == len(ours), view
                assert not seen & hidden_assets, view
            else:
                assert {row["id" if view == "datastream" else "datastream_id"] for row in rows} == ours, view
    assert len(views) == 7

    # A function of one's own that is asked first sees nothing that the view does not show.
    await reader.execute("SET default_transaction_read_only = off")
    await reader.execute(
        "CREATE FUNCTION pg_temp.spy(id int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS "
        "$$BEGIN IF id = ANY(current_setting('my.hidden')::int[]) THEN RAISE EXCEPTION 'seen'; END IF; "
        "RETURN true; END$$"
    )
    await reader.execute("SELECT set_config('my.hidden', $1, false)", str(hidden).replace("set()", "{}"))
    for view in views - {"asset", "alert", "datastream"}:
        assert await reader.fetchval(f"SELECT count(*) FROM bi.{view} WHERE pg_temp.spy(datastream_id)")


async def test_a_login_reads_nothing_but_its_views_and_ends_with_its_tenant(
    reader: Connection, pool: Pool, database
) -> None:
    role = await reader.fetchval("SELECT session_user::text")
    admin = await connect(database.admin_url)
    assert await admin.fetchval(WRITABLE, role) is None
    assert await admin.fetchval(READABLE, role) is None
    await admin.execute("REVOKE EXECUTE ON FUNCTION seal_transaction FROM PUBLIC")  # Tests alone let everybody.
    assert set(await admin.fetchval(DEFINERS, role)) == ASKED
    for statement in (
        "SELECT * FROM public.asset",
        "SELECT * FROM observation.measurement",
        "SELECT * FROM public.person",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.fetch(statement)

    await pool.execute("UPDATE tenant SET closed_at = now() WHERE slug = 'mesures'")

    assert await reader.fetchval("SELECT count(*) FROM bi.measurement") == 0
    with pytest.raises(NotMade, match="collectivité inconnue"):
        await create_login(admin, "personne", "grafana")
    with pytest.raises(NotMade, match="minuscules"):
        await create_login(admin, "mesures", "grafana'; --")
    await admin.close()


def queries(board: dict[str, Any]) -> list[str]:
    asked = [one["rawSql"] for panel in board["panels"] for one in panel["targets"]]
    return asked + [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]


def bound(sql: str) -> str:
    """As Grafana sends it: the period, and the communes that were chosen."""
    since = NOW - timedelta(days=30)
    period = rf"\1 BETWEEN '{since.isoformat()}' AND '{NOW.isoformat()}'"
    return re.sub(r"\$__timeFilter\(([\w.]+)\)", period, sql).replace("$commune", "'Brest', 'Morlaix'")


async def test_every_query_of_every_dashboard_is_answered_by_what_the_tenant_has(
    reader: Connection, streams: dict[str, int], pool: Pool
) -> None:
    theirs = await pool.fetchval(
        "SELECT a.name FROM asset a JOIN datastream d ON d.asset_id = a.id WHERE d.id = $1", streams["theirs"]
    )
    assert len(DASHBOARDS) == 3
    for path in DASHBOARDS:
        for sql in queries(json.loads(path.read_text("utf-8"))):
            assert "$" not in bound(sql), sql
            rows = await reader.fetch(bound(sql))
            assert rows, sql
            assert not any(theirs in row.values() for row in rows), sql
