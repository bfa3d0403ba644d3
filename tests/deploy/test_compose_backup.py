"""backup.sh and restore.sh against real servers, made as compose's is; a stand-in runs commands."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyrage
import pytest
from pyrage.x25519 import Identity  # pyright: ignore[reportMissingModuleSource]

from cli.restored import COUNTERS_AHEAD
from core.runtime.postgres import connect
from lorawan.crypto import wrap_key
from registry.ledger_file import LEDGER_NAME
from registry.rights import LOGINS
from registry.schema import migrate, require_schema
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import PrivatePostgres, binaries
from tests.cli.conftest import letters
from tests.cli.on_call import Letters
from tests.cli.test_pitr import territoire
from tests.conftest import running
from tests.deploy.test_compose import CHECKOUT, COMPOSE
from tests.k8s.servers import eventually
from tests.leftovers import owned_folder
from tests.registry.test_timescale import psql

# `docker compose [-f FILE] exec -T database COMMAND...` and `... run OPTIONS operator COMMAND...`: it, here.
# A path that is not below one that is mounted would not be there.
STAND_IN = """\
#!/bin/sh
echo "$*" >>"$0.log"
while [ "$1" != exec ] && [ "$1" != run ]; do shift; done
case "$1" in
exec) while [ "$1" != database ]; do shift; done; shift; exec "$@" ;;
run)
    mounted=
    while [ "$1" != operator ]; do
        [ "$1" != -e ] || export "$2"
        [ "$1" != -v ] || mounted="$mounted ${2%%:*}"
        shift
    done
    shift
    for word; do
        case "$word" in
        /*) echo "$mounted " | tr ' ' '\\n' | grep . | while read -r place; do
                case "$word" in "$place"*) echo "$place" ;; esac
            done | grep -q . || exit 99 ;;
        esac
    done
    exec "$PYTHON" -P -m cli "$@"
    ;;
esac
"""
KEK = "5a" * 32
FILL = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'elsys.ers' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 3, $1, 'kek-1' FROM p
      RETURNING id, tenant_id),
s AS (INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_down)
      SELECT id, '\\x00000001', $1, $1, 'kek-1', 7 FROM d),
f AS (INSERT INTO datastream (tenant_id, device_id, quantity, unit)
      SELECT tenant_id, id, 'temperature', 'Cel' FROM d RETURNING id)
INSERT INTO observation.measurement
SELECT id, now() - n * interval '1 hour', n, 0 FROM f, generate_series(1, 5000) n
"""
# Its scheduler holds a session in each database.
OF_THE_IMAGE = {"shared_preload_libraries": "timescaledb", "timescaledb.max_background_workers": "8"}
SCHEDULERS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = 'territoire' AND backend_type LIKE 'TimescaleDB%'
"""
PASSWORDS = dict.fromkeys(LOGINS.values(), "x")
EPOCH = "SELECT epoch::text FROM feed_position()"
__all__ = ["letters"]
Done = subprocess.CompletedProcess[str]
pytestmark = [pytest.mark.timeout(600), pytest.mark.starts_processes]


@dataclass(frozen=True)
class Server:
    """One that the image of compose.yaml has made: its superuser is `territoire`, whose is an empty database."""

    server: PrivatePostgres
    folder: Path

    @property
    def url(self) -> str:
        return self.server.url("territoire", "territoire", "mot-de-passe")

    def run(self, name: str, *arguments: "str | Path", **settings: str) -> Done:
        """One of the two scripts, or what an operator runs, with what the containers have, of compose.yaml."""
        written = {"OWNER_PASSWORD": "mot-de-passe", "NATS_PASSWORD": "x", "MQTT_PASSWORD": "x", "KEK": KEK}
        environment: dict[str, Any] = COMPOSE["services"]["operator"]["environment"]
        told = {key: self.of_this_machine(interpolated(value, written | settings))
                for key, value in environment.items()}  # fmt: skip
        at = urlsplit(self.url)
        of_container = {
            "POSTGRES_USER": "territoire", "POSTGRES_DB": "territoire", "PGPASSWORD": "mot-de-passe",
            "PGHOST": str(at.hostname), "PGPORT": str(at.port),
        }  # fmt: skip
        (self.folder / "docker").write_text(STAND_IN, "utf-8")
        (self.folder / "docker").chmod(0o755)
        path = f"{self.folder}:{binaries()}:{os.environ['PATH']}"
        script = CHECKOUT / "deploy" / name
        return subprocess.run(
            [script, *arguments] if script.exists() else [sys.executable, "-P", "-m", "cli", name, *arguments],
            env={"PATH": path, "PYTHON": sys.executable, **told, **of_container, **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    def of_this_machine(self, value: str) -> str:
        at = urlsplit(self.url)
        return value.replace("@database:5432", f"@{at.hostname}:{at.port}")


def interpolated(value: str, written: dict[str, str]) -> str:
    """As compose does with `.env`."""
    return re.sub(
        r"\$\{(\w+)(?:(:-)|:\?)([^}]*)\}", lambda m: written.get(m[1]) or (m[3] if m[2] else written[m[1]]), value
    )


@pytest.fixture
def fresh(server_folder: Path, tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Makes servers, each of its own."""
    with ExitStack() as started:

        def make(name: str) -> Server:
            folder = started.enter_context(owned_folder(server_folder))
            (tmp_path / name).mkdir()
            server = PrivatePostgres(folder / "data", free_tcp_port(), "x", OF_THE_IMAGE, durable=False)
            server.prepare()
            started.enter_context(running(server.launch(), server.ready, tmp_path / f"{name}.log"))
            psql(server.url("postgres"), "CREATE ROLE territoire SUPERUSER LOGIN PASSWORD 'mot-de-passe'")
            made = Server(server, tmp_path / name)
            empty(made)
            return made

        yield make


def empty(server: Server) -> None:
    psql(server.server.url("postgres"), "CREATE DATABASE territoire OWNER territoire")
    psql(server.url, "CREATE EXTENSION timescaledb")


async def filled(server: Server) -> None:
    """As a town's that has been running, with an account that reads the views."""
    await migrate(server.url, passwords=PASSWORDS)
    connection = await connect(server.url, "test")
    await connection.execute(FILL, wrap_key(bytes.fromhex(KEK), bytes(16)))
    await connection.close()
    made = await territoire("bi", "create", "metz", "grafana", "--database-url", server.url)
    assert made.exit_code == 0, made.output


def limit_of(server: Server) -> str:
    """-1: open; 0: to superusers alone."""
    return psql(server.server.url("postgres"), "SELECT datconnlimit FROM pg_database WHERE datname = 'territoire'")


async def epoch_of(server: Server) -> str:
    connection = await connect(server.url, "test")
    try:
        return await connection.fetchval(EPOCH)
    finally:
        await connection.close()


async def test_a_town_s_backup_is_restored_on_a_server_that_has_never_seen_it(
    fresh: Callable[[str], Server], tmp_path: Path
) -> None:
    here, identity = fresh("here"), Identity.generate()
    await filled(here)
    backups, key = tmp_path / "sauvegardes", tmp_path / "cle.txt"
    key.write_text(str(identity))

    unsaid = here.run("backup.sh", backups)
    made = here.run("backup.sh", backups, "2", BACKUP_RECIPIENTS=str(identity.to_public()))
    assert (unsaid.returncode, "age-keygen" in unsaid.stderr) == (2, True)
    assert made.returncode == 0, made.stderr
    [file] = backups.glob("*.dump.age")
    assert pyrage.decrypt(file.read_bytes(), [identity]).startswith(b"PGDMP")
    assert (backups / LEDGER_NAME).exists()
    assert file.stat().st_mode & 0o077 == 0

    there = fresh("there")
    foreign = there.run("restore.sh", file, key, KEK="00" * 32)
    sealed = there.run("restore.sh", file)
    (backups / LEDGER_NAME).rename(tmp_path / "registre")
    without = there.run("restore.sh", file, key)
    (tmp_path / "registre").rename(backups / LEDGER_NAME)
    refused = here.run("restore.sh", file, key)
    assert [one.returncode for one in (foreign, sealed, without, refused)] == [2] * 4
    for one, words in (
        (foreign, "n'ouvre aucune clé d'équipement de cette sauvegarde"),
        (sealed, "est chiffrée"),
        (without, "le registre des effacements se garde avec les sauvegardes"),
        (refused, "la base territoire n'est pas vide"),
    ):
        assert words in one.stderr

    restored = there.run("restore.sh", file, key)
    assert restored.returncode == 0, restored.stderr
    assert "5000 mesures, 0 trames, 1 équipements, tous les comptes sont ceux de la sauvegarde" in restored.stdout
    assert "docker volume rm territoire_nats" in restored.stdout
    connection = await connect(there.url, "test")
    await require_schema(connection)
    assert await connection.fetchval("SELECT f_cnt_down FROM session") == 7 + COUNTERS_AHEAD
    assert await connection.fetchval("SELECT count(*) FROM timescaledb_information.hypertables") > 0
    await connection.close()
    assert await epoch_of(there) != await epoch_of(here)
    # As its migration does afterwards, and one more account that reads.
    await migrate(there.url, passwords=PASSWORDS)
    again = await territoire("bi", "create", "metz", "grafana", "--database-url", there.url)
    assert again.exit_code == 0, again.output


async def test_the_database_of_before_is_set_aside_and_a_restore_that_was_cut_begins_again(
    fresh: Callable[[str], Server], tmp_path: Path
) -> None:
    here, backups = fresh("here"), tmp_path / "sauvegardes"
    await filled(here)
    assert here.run("backup.sh", backups, BACKUP_PLAIN="true").returncode == 0
    [file] = backups.glob("*.dump")
    manifest = file.with_name(f"{file.name}.json")
    whole = manifest.read_text("utf-8")
    manifest.write_text(whole.replace('"devices": 1', '"devices": 2'), "utf-8")
    assert eventually(lambda: psql(here.url, SCHEDULERS) != "0")
    psql(here.server.url("postgres"), "ALTER DATABASE territoire RENAME TO territoire_ancienne")

    cut = here.run("restore.sh", file)
    limit = limit_of(here)
    manifest.write_text(whole, "utf-8")
    again = here.run("restore.sh", file)

    assert (cut.returncode, limit, limit_of(here)) == (1, "0", "-1")
    assert "devices : 1 au lieu de 2" in cut.stdout
    assert again.returncode == 0, again.stderr
    kept = await connect(here.server.url("territoire_ancienne", "territoire", "mot-de-passe"), "test")
    assert await kept.fetchval("SELECT count(*) FROM observation.measurement") == 5000
    await kept.close()


async def test_a_backup_of_the_script_of_before_is_restored(
    fresh: Callable[[str], Server], tmp_path: Path
) -> None:
    """A digest and the ledger were beside it, and no manifest: its keys are tried once they are there."""
    here, backups = fresh("here"), tmp_path / "sauvegardes"
    await filled(here)
    backups.mkdir()
    file = backups / "territoire-2026-01-01T021500.dump"
    dump_as_before(here, file)
    goes_on = here.run("backup.sh", backups)
    assert "en clair, comme celles d'avant" in goes_on.stdout
    assert goes_on.returncode == 0, goes_on.stderr
    (backups / LEDGER_NAME).unlink()
    psql(here.server.url("postgres"), "ALTER DATABASE territoire RENAME TO territoire_ancienne")

    without = here.run("restore.sh", file)
    (backups / LEDGER_NAME).touch()
    foreign = here.run("restore.sh", file, KEK="00" * 32)
    restored = here.run("restore.sh", file)

    assert (without.returncode, foreign.returncode) == (2, 2)
    assert "registre des effacements" in without.stderr
    assert "n'ouvre aucune clé" in foreign.stderr
    assert restored.returncode == 0, restored.stderr
    assert "5000 mesures, 0 trames, 1 équipements, sans comptes à comparer" in restored.stdout

    psql(here.url, "CREATE TABLE _timescaledb_internal.compress_hyper_9_9_chunk AS SELECT 1 AS x")
    dump_as_before(here, file)
    psql(here.server.url("postgres"), "DROP DATABASE territoire WITH (FORCE)")
    compressed = here.run("restore.sh", file)
    assert limit_of(here) == "-1"  # Nothing is in it: it may be another town's.
    file.write_bytes(file.read_bytes() + b"x")
    changed = here.run("restore.sh", file)
    assert (compressed.returncode, "édition Apache" in compressed.stderr) == (2, True), compressed.stderr
    assert (changed.returncode, "a changé depuis" in changed.stderr) == (2, True)


async def test_an_alarm_that_cron_starts_tells_what_an_operators_container_sees(
    fresh: Callable[[str], Server], tmp_path: Path, letters: Letters
) -> None:
    here = fresh("here")
    await filled(here)
    # Of a server that was born today no backup is missed yet.
    psql(here.url, "UPDATE schema_migration SET applied_at = applied_at - interval '3 days'")
    (tmp_path / "sauvegardes").mkdir()
    away = f"x:y@127.0.0.1:{free_tcp_port()}"
    told = {name: os.environ[name] for name in ("TERRITOIRE_SMTP_URL", "TERRITOIRE_ALARM_MAIL")}
    told |= {"TERRITOIRE_HOME": str(here.folder), "TERRITOIRE_NATS_URL": f"nats://{away}"}
    told["TERRITOIRE_MQTT_URL"] = f"mqtt://{away}"

    statuses = [here.run("alarm", "--backups", tmp_path / "sauvegardes", **told) for _ in range(2)]
    examined = here.run("doctor", "--json", **told)

    assert [one.returncode for one in statuses] == [0, 0], statuses[-1].stderr
    assert {subject.partition(": ")[0] for subject in letters.subjects} == {
        "astreinte@mairie.fr",
        "chef@mairie.fr",
    }
    assert "bus" in letters.subjects[0]
    assert "sauvegarde" in letters.subjects[0]
    found = {one["subject"]: one["severity"] for one in json.loads(examined.stdout)["findings"]}
    assert found["disque"] < 2
    assert found["bus"] == 2
    assert "réglages" not in found, examined.stdout


def dump_as_before(server: Server, file: Path) -> None:
    subprocess.run([binaries() / "pg_dump", "--format=custom", "--compress=6", "-f", file, server.url], check=True)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_name(f"{file.name}.sha256").write_text(f"{digest}  {file.name}\n")
