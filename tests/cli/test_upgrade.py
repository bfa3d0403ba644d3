"""What an installation of the first frozen schema holds is all there after an upgrade, and after a restore."""

import asyncio
import json
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from typer.testing import CliRunner

from cli.app import app
from cli.backup import manifest_file
from core.runtime.postgres import Connection, connect
from lorawan.crypto import wrap_key
from registry.schema import migrate, migrations
from services.supervisor.credentials import Secrets
from services.supervisor.home import Home
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import PrivatePostgres
from tests.conftest import running
from tests.core.runtime.versions import migrate_up_to

# No file up to this one has changed since it could be installed.
FIRST_FROZEN = 13
FILL = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
k AS (INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles)
      SELECT '0123456789ab', id, 'essai', decode(repeat('11', 32), 'hex'), '{read,manage}' FROM t),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'elsys.ers' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, decode(lpad(to_hex(n), 16, '0'), 'hex'), '\\x0000000000000000', 'd' || n, id, n % 16,
             '\\x{wrapped}', 'kek-1' FROM p, generate_series(1, 20) n RETURNING id, tenant_id),
s AS (INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_down)
      SELECT id, '\\x00000001', '\\x{wrapped}', '\\x{wrapped}', 'kek-1', 7 FROM d RETURNING device_id),
n AS (INSERT INTO join_nonce SELECT id, 3 FROM d),
a AS (INSERT INTO asset (tenant_id, kind, name) SELECT tenant_id, 'bin', 'bac ' || id FROM d
      RETURNING id, tenant_id, split_part(name, ' ', 2)::int AS device_id),
g AS (INSERT INTO gateway (tenant_id, gateway_id, name)
      SELECT id, '\\x0102030405060708', 'Mairie' FROM t RETURNING id),
gs AS (INSERT INTO gateway_state SELECT id, 'udp', '192.0.2.1', now() FROM g),
x AS (INSERT INTO assignment (tenant_id, asset_id, device_id, during)
      SELECT tenant_id, id, device_id, '[2026-01-01,)' FROM a),
f AS (INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit)
      SELECT tenant_id, id, device_id, 'temperature', 'Cel' FROM a RETURNING id, tenant_id, asset_id),
r AS (INSERT INTO alert_rule (tenant_id, name, kind, asset_kind, quantity, fire_op, fire_value, clear_op,
                              clear_value, severity, message)
      SELECT id, 'chaud', 'threshold', 'bin', 'temperature', '>=', 60, '<', 50, 'critical', '{{value}}' FROM t
      RETURNING id, tenant_id),
al AS (INSERT INTO alert (tenant_id, rule_id, asset_id, datastream_id, severity, message, condition, opened_at)
       SELECT r.tenant_id, r.id, f.asset_id, f.id, 'critical', 'chaud', 'firing', now() FROM r, f),
w AS (INSERT INTO webhook_endpoint (tenant_id, url, secret_wrapped, kek_id)
      SELECT id, 'https://mairie.fr/x', '\\x{wrapped}', 'kek-1' FROM t),
l AS (INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after)
      SELECT tenant_id, id, 0, 10, '\\x01', now() FROM d),
tr AS (INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority)
       VALUES ('\\x0102030405060708', now(), 868100000, 61696, 1)),
q AS (INSERT INTO observation.quarantine (service, subject, sequence, reason, data)
      VALUES ('ingest', 'territoire.uplinks.0', 7, 'illisible', '\\x00')),
u AS (INSERT INTO observation.uplink (device_id, time, uplink_id, f_cnt, f_port, payload, received_at, status)
      SELECT d.id, at, gen_random_uuid(), n, 5, '\\x0100e2', at, 'decoded'
      FROM d, generate_series(1, 50) n, LATERAL (SELECT now() - n * interval '6 hours' AS at) t
      RETURNING device_id, time, uplink_id),
rc AS (INSERT INTO observation.reception (device_id, time, uplink_id, gateway_id, rssi, snr)
       SELECT u.device_id, u.time, u.uplink_id, g.id, -100, 5 FROM u, g),
rh AS (INSERT INTO observation.rollup_hour SELECT id, date_trunc('hour', now()), 1, 0, 1, 1, 1, 1, 1 FROM f),
rd AS (INSERT INTO observation.rollup_day SELECT id, current_date, 1, 0, 1, 1, 1, 1, 1 FROM f),
la AS (INSERT INTO observation.latest SELECT id, now(), 20, 0 FROM f)
INSERT INTO observation.measurement
SELECT id, now() - n * interval '6 hours', n, 0 FROM f, generate_series(1, 50) n
"""
# Migrations write into those that are left out themselves; the audit is a view of its lines since 0061.
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind IN ('r', 'p') OR c.relname = 'audit') AND n.nspname IN ('public', 'observation')
  AND c.relname NOT IN ('schema_migration', 'registry_change')
"""


# Every tenant is given the two rules about clocks (0081) and the six about cabinets (0095).
GIVEN = {"public.alert_rule": 8}


async def counts(connection: Connection) -> dict[str, int]:
    """The rows of every table there is."""
    tables = [row["format"] for row in await connection.fetch(TABLES)]
    return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}


def with_given(before: dict[str, int]) -> dict[str, int]:
    """What there was, and what migrations give to each tenant."""
    return before | {table: before[table] + rows for table, rows in GIVEN.items()}


async def old_installation(url: str, kek: str) -> dict[str, int]:
    """As the program of then left it; returns what is in it."""
    await migrate_up_to(FIRST_FROZEN, url)
    connection = await connect(url)
    wrapped = wrap_key(bytes.fromhex(kek), bytes(16))
    await connection.execute(FILL.replace("{wrapped}", wrapped.hex()))
    found = await counts(connection)
    await connection.close()
    return found


async def test_an_upgrade_keeps_every_row_of_every_table(empty_database_url: str) -> None:
    before = await old_installation(empty_database_url, "11" * 32)
    assert sum(1 for rows in before.values() if rows) > 20, before

    await migrate(empty_database_url)

    connection = await connect(empty_database_url)
    after = await counts(connection)
    await connection.close()
    assert {table: after.get(table) for table in before} == with_given(before)


async def test_a_backup_of_an_older_program_is_restored_and_upgraded(
    empty_database_url: str, server_folder: Path
) -> None:
    folder = server_folder / f"upgrade-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o711)
    kept, file, home = Secrets.fresh(datetime.now(UTC)), folder / "ancienne.dump", Home(folder / "home")
    (folder / "secrets.json").write_bytes(msgspec.json.encode(kept))
    before = await old_installation(empty_database_url, kept.kek)

    def territoire(*arguments: object) -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        return done.output

    await asyncio.to_thread(territoire, "backup", file, "--plain", "--database-url", empty_database_url)
    manifest = json.loads(manifest_file(file).read_bytes())
    assert (manifest["schema"], manifest["kek_ids"]) == (FIRST_FROZEN, ["kek-1"])
    assert len(manifest["sealed"]["kek-1"]) == len({"device", "nwk_s_key", "app_s_key", "webhook"})

    said = await asyncio.to_thread(
        territoire, "restore", file, "--home", home.folder, "--secrets", folder / "secrets.json"
    )
    assert "tous les comptes sont ceux de la sauvegarde" in said
    server = PrivatePostgres(home.postgres_data, free_tcp_port(), kept.postgres, durable=False)
    with running(server.launch(), server.ready, folder / "postgres.log"):
        connection = await connect(server.url())
        after = await counts(connection)
        schema = await connection.fetchval("SELECT max(number) FROM schema_migration")
        await connection.close()
    shutil.rmtree(folder)

    assert schema == len(migrations())
    # The audit has one line more: that it was restored.
    expected = with_given(before) | {"public.audit": before["public.audit"] + 1}
    assert {table: after.get(table) for table in before} == expected


def test_a_backup_of_a_newer_program_is_not_restored(tmp_path: Path) -> None:
    file = tmp_path / "plus-récente.dump"
    file.write_bytes(b"")
    (tmp_path / "secrets.json").write_bytes(msgspec.json.encode(Secrets.fresh(datetime.now(UTC))))
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    manifest = {"made_at": "2026-11-25T00:00:00Z", "schema": 999, "timescaledb": "2", "kek_ids": [], "counts": {}}
    manifest_file(file).write_bytes(msgspec.json.encode({**manifest, "octets": 0, "sha256": empty}))

    done = CliRunner().invoke(
        app, ["restore", str(file), "--home", str(tmp_path / "neuf"), "--secrets", str(tmp_path / "secrets.json")]
    )

    assert done.exit_code == 2
    assert "d'un programme plus récent (schéma 999" in done.output
    assert not (tmp_path / "neuf").exists()
