"""backup.sh and restore.sh against a real PostgreSQL, which stands where compose's container would."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pyrage
from pyrage.x25519 import Identity  # pyright: ignore[reportMissingModuleSource]

from cli.restored import COUNTERS_AHEAD
from core.runtime.postgres import connect
from registry.schema import require_schema
from services.supervisor.postgres import binaries
from tests.conftest import Database
from tests.deploy.test_compose import CHECKOUT

# `docker compose -f FILE exec -T database COMMAND...`: the command, here.
STAND_IN = """\
#!/bin/sh
while [ "$1" != database ] && [ "$1" != maintenance ]; do shift; done
shift
exec "$@"
"""
FILL = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'elsys.ers' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 3, '\\x00', 'kek-1' FROM p
      RETURNING id, tenant_id),
s AS (INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_down)
      SELECT id, '\\x00000001', '\\x00', '\\x00', 'kek-1', 7 FROM d),
f AS (INSERT INTO datastream (tenant_id, device_id, quantity, unit)
      SELECT tenant_id, id, 'temperature', 'Cel' FROM d RETURNING id)
INSERT INTO observation.measurement
SELECT id, now() - n * interval '1 hour', n, 0 FROM f, generate_series(1, 5000) n
"""
Script = Callable[..., "subprocess.CompletedProcess[str]"]


def dumps_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dump"))


def script(folder: Path, url: str, **settings: str) -> Script:
    """Runs one of the two with the environment that the container of this database has."""
    database = urlsplit(url)
    (folder / "docker").write_text(STAND_IN, "utf-8")
    (folder / "docker").chmod(0o755)
    environment = {
        "PATH": f"{folder}:{binaries()}:{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT), "PYTHON": sys.executable,
        **(settings or {"BACKUP_PLAIN": "true"}),
        "POSTGRES_USER": str(database.username), "POSTGRES_DB": database.path[1:],
        "PGHOST": str(database.hostname), "PGPORT": str(database.port), "PGPASSWORD": str(database.password),
    }  # fmt: skip

    def run(name: str, *arguments: "str | Path") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [CHECKOUT / "deploy" / name, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    return run


async def test_a_backup_is_restored_into_an_empty_database_and_nowhere_else(
    database: Database, empty_database_url: str, tmp_path: Path
) -> None:
    connection = await connect(database.admin_url, "test")
    await connection.execute(FILL)
    await connection.close()
    here, there = script(tmp_path, database.admin_url), script(tmp_path, empty_database_url)
    former = [tmp_path / f"territoire-2026-01-0{day}T021500.dump" for day in (1, 2, 3)]
    for file in former:
        file.touch()

    made = here("backup.sh", tmp_path, "2")
    (tmp_path / "other").mkdir()
    identity = Identity.generate()
    unsaid = script(tmp_path, database.admin_url, BACKUP_PLAIN="")("backup.sh", tmp_path / "other")
    sealing = script(tmp_path, database.admin_url, BACKUP_RECIPIENTS=str(identity.to_public()))
    sealed = sealing("backup.sh", tmp_path / "other")
    kept = dumps_in(tmp_path)
    refused = here("restore.sh", kept[-1])
    restored = there("restore.sh", kept[-1])

    assert made.returncode == 0, made.stderr
    assert (unsaid.returncode, "age-keygen" in unsaid.stderr) == (2, True)
    assert sealed.returncode == 0, sealed.stderr
    [secret] = (tmp_path / "other").glob("*.dump.age")
    assert pyrage.decrypt(secret.read_bytes(), [identity]).startswith(b"PGDMP")
    assert (tmp_path / "effacements.jsonl").exists()
    assert kept[:-1] == former[-1:]
    assert refused.returncode == 1
    assert "pas vide" in refused.stderr
    assert restored.returncode == 0, restored.stderr
    assert "1 équipements, 5000 mesures" in restored.stdout
    connection = await connect(empty_database_url, "test")
    await require_schema(connection)
    assert await connection.fetchval("SELECT f_cnt_down FROM session") == 7 + COUNTERS_AHEAD
    assert await connection.fetchval("SELECT count(*) FROM timescaledb_information.hypertables") > 0
    await connection.close()


async def test_a_backup_with_compressed_chunks_is_not_restored_into_the_apache_edition(
    database: Database, empty_database_url: str, tmp_path: Path
) -> None:
    """Its list of contents tells: what another edition compressed lies in tables of these names."""
    connection = await connect(database.admin_url, "test")
    await connection.execute("CREATE TABLE _timescaledb_internal.compress_hyper_9_9_chunk AS SELECT 1 AS x")
    await connection.close()
    assert script(tmp_path, database.admin_url)("backup.sh", tmp_path).returncode == 0

    refused = script(tmp_path, empty_database_url)("restore.sh", dumps_in(tmp_path)[0])

    assert refused.returncode == 1
    assert "édition Apache" in refused.stderr
    connection = await connect(empty_database_url, "test")
    assert await connection.fetchval("SELECT to_regclass('public.tenant')") is None
    await connection.close()


async def test_a_backup_that_changed_is_not_restored(
    database: Database, empty_database_url: str, tmp_path: Path
) -> None:
    assert script(tmp_path, database.admin_url)("backup.sh", tmp_path).returncode == 0
    [file] = dumps_in(tmp_path)
    file.write_bytes(file.read_bytes() + b"x")

    assert script(tmp_path, empty_database_url)("restore.sh", file).returncode != 0
    connection = await connect(empty_database_url, "test")
    assert await connection.fetchval("SELECT to_regclass('public.tenant')") is None
    await connection.close()
