"""Installations that a test breaks, each in one way, and what `doctor` says of it: which part, why, what to do.

Of each the whole command is run, as an operator types it: in French, without a stack trace, in ten seconds.
"""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import msgspec
import pytest

from cli import database_report, machine
from cli.backup import Manifest
from cli.findings import Severity
from core.runtime.bus import connect_bus
from lab.certificates import Authority
from registry.schema import migrations
from services.supervisor.launch import program
from services.supervisor.mosquitto import BRIDGE, SIMULATOR, PrivateMosquitto
from services.supervisor.ports import LOOPBACK, free_tcp_port
from services.supervisor.postgres import PrivatePostgres, binaries, libpq_environment
from services.supervisor.run_info import FILE_NAME, RunInfo, ServiceInfo
from tests.cli.breakable import Installation, replace_run
from tests.conftest import Database, plain_server, run_apart

KEK = "11" * 32
# Of a stack that takes what is free.
OTHER_PORTS = "--station-port 0 --api-port 0 --intake-port 0"
CHUNK = """
INSERT INTO observation.uplink (device_id, time, uplink_id, f_cnt, f_port, payload, received_at, status)
SELECT id, now(), gen_random_uuid(), 1, 5, '\\x00', now(), 'decoded' FROM device
"""


@pytest.fixture(scope="module")
def plain(server_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    """The tests' own server has its TimescaleDB loaded for every database from the start."""
    folder = server_folder / f"plain-{secrets.token_hex(4)}"
    with plain_server(folder, tmp_path_factory.mktemp("plain") / "postgres.log") as server:
        yield server


@pytest.fixture
def installation(
    database: Database,
    empty_database_url: str,
    plain: PrivatePostgres,
    nats_url: str,
    mosquitto_server: PrivateMosquitto,
    tmp_path: Path,
    run: RunInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Installation]:
    async def make_streams() -> None:
        async with connect_bus(nats_url, "test") as bus:
            await bus.ensure_streams()

    run_apart(make_streams())
    folder = tmp_path / "pile"
    one = Installation(
        database,
        empty_database_url,
        plain,
        mosquitto_server,
        folder,
        replace_run(
            run,
            home=str(folder),
            database_url=database.admin_url,
            nats_url=nats_url,
            mqtt_bridge_url=mosquitto_server.url(BRIDGE),
            kek=KEK,
        ),
        monkeypatch,
        {
            "TERRITOIRE_DATABASE_URL": database.admin_url,
            "TERRITOIRE_NATS_URL": nats_url,
            "TERRITOIRE_MQTT_URL": mosquitto_server.url(BRIDGE),
            "TERRITOIRE_KEK": KEK,
        },
    )
    with one.until:
        yield one


# Each breaks one thing.


def database_away(at: Installation) -> None:
    at.database_address(port=str(free_tcp_port()))


def database_silent(at: Installation) -> None:
    at.database_address(port=str(at.silent()))


def password_wrong(at: Installation) -> None:
    at.database_address(password="faux")


def base_unknown(at: Installation) -> None:
    at.database_address(base="/nulle")


def tls_unknown_to_server(at: Installation) -> None:
    at.database_address(query="sslmode=require")


def no_connection_left(at: Installation) -> None:
    at.sql(f'ALTER DATABASE "{at.database.name}" CONNECTION LIMIT 0')
    at.set(DATABASE_URL=at.database.url_of("maintenance"))


def account_of_a_service(at: Installation) -> None:
    at.set(DATABASE_URL=at.database.url_of("gateway_bridge"))


def rights_withdrawn(at: Installation) -> None:
    at.sql("REVOKE ALL ON downlink FROM territoire_network")


def timescaledb_missing(at: Installation) -> None:
    at.set(DATABASE_URL=at.empty_url)


def timescaledb_of_before(at: Installation) -> None:
    at.on_a_server_of("2.18.2")


def timescaledb_put_back(at: Installation) -> None:
    at.on_a_server_of("2.20.0")


def compressed_by_another_edition(at: Installation) -> None:
    at.seal(KEK)
    at.sql(CHUNK, "UPDATE _timescaledb_catalog.chunk SET status = 1")


def never_migrated(at: Installation) -> None:
    at.sql("CREATE EXTENSION timescaledb", url=at.empty_url)
    at.set(DATABASE_URL=at.empty_url)


def migration_missing(at: Installation) -> None:
    at.sql(f"DELETE FROM schema_migration WHERE number = {len(migrations())}")


def schema_newer(at: Installation) -> None:
    at.sql("INSERT INTO schema_migration (number, name, checksum, min_compatible) VALUES (999, 'later', 'x', 999)")


def migration_changed(at: Installation) -> None:
    at.sql("UPDATE schema_migration SET checksum = 'other' WHERE number = 7")


def table_locked(at: Installation) -> None:
    """By a session that somebody has forgotten."""
    url = at.database.admin_url
    statement = "BEGIN; LOCK TABLE device; SELECT pg_sleep(60)"
    session = subprocess.Popen([binaries() / "psql", "-X", "-c", statement], env=libpq_environment(url))
    at.until.callback(session.wait)
    at.until.callback(session.kill)
    at.sql(
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'device'::regclass "
        "AND mode = 'AccessExclusiveLock' AND granted) LOOP PERFORM pg_sleep(0.05); END LOOP; END $$"
    )


def clock_skewed(at: Installation) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=1)

    at.monkeypatch.setattr(database_report, "datetime", Later)


def time_zone_unknown(at: Installation) -> None:
    at.sql("UPDATE deployment SET timezone = 'Europe/Metz'")


def other_shards(at: Installation) -> None:
    at.set(SHARDS="16")


def nobody_s_shard(at: Installation) -> None:
    at.sql(
        "INSERT INTO shard_lease (service, shard, epoch, owner, expires_at) "
        "VALUES ('ingest', 2, 7, 'ingest-1', now() - interval '5 minutes')"
    )


def key_of_another(at: Installation) -> None:
    at.seal("22" * 32)


def key_torn(at: Installation) -> None:
    at.set(KEK=KEK[:-1])


def bus_away(at: Installation) -> None:
    at.set(NATS_URL=f"nats://127.0.0.1:{free_tcp_port()}")


def bus_password_wrong(at: Installation) -> None:
    url = urlsplit(at.environment["TERRITOIRE_NATS_URL"])
    at.set(NATS_URL=f"nats://{url.username}:faux@{url.hostname}:{url.port}")


def bus_silent(at: Installation) -> None:
    at.set(NATS_URL=f"nats://127.0.0.1:{at.silent()}")


def bus_without_jetstream(at: Installation) -> None:
    port = free_tcp_port()
    at.server(program("nats-server", "nats-server"), "-a", LOOPBACK, "-p", str(port), port=port)
    at.set(NATS_URL=f"nats://127.0.0.1:{port}")


def stream_missing(at: Installation) -> None:
    async def delete() -> None:
        async with connect_bus(at.environment["TERRITOIRE_NATS_URL"], "test") as bus:
            await bus._jetstream.delete_stream("UPLINKS")

    run_apart(delete())


def broker_silent(at: Installation) -> None:
    at.set(MQTT_URL=f"mqtt://bridge:x@127.0.0.1:{at.silent()}")


def broker_password_wrong(at: Installation) -> None:
    at.set(MQTT_URL=f"mqtt://bridge:faux@127.0.0.1:{at.mosquitto.port}")


def broker_rights_missing(at: Installation) -> None:
    at.set(MQTT_URL=at.mosquitto.url(SIMULATOR))


def broker_open(at: Installation) -> None:
    port = free_tcp_port()
    at.folder.mkdir()
    (at.folder / "open.conf").write_text(f"listener {port} {LOOPBACK}\nallow_anonymous true\nuser root\n", "ascii")
    at.server(program("mosquitto", "mosquitto"), "-c", str(at.folder / "open.conf"), port=port)
    at.set(MQTT_URL=f"mqtt://bridge:x@127.0.0.1:{port}")


def address_empty(at: Installation) -> None:
    at.set(NATS_URL="")


def setting_wrong(at: Installation) -> None:
    at.set(KEEP_UPLINKS_MONTHS="treize")


def setting_misspelt(at: Installation) -> None:
    at.set(KEEP_UPLINK_MONTHS="13")


def certificate_ended(at: Installation) -> None:
    certificate, _ = Authority(at.folder.parent).sign("lns")
    at.arguments += ["--certificate", str(certificate)]

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=3)

    at.monkeypatch.setattr(machine, "datetime", Later)


def certificate_is_none(at: Installation) -> None:
    (at.folder.parent / "lns.pem").write_text("pas un certificat", "utf-8")
    at.arguments += ["--certificate", str(at.folder.parent / "lns.pem")]


def backup_old(at: Installation) -> None:
    (at.folder.parent / "old.dump").touch()
    manifest = Manifest(1, "2", {}, made_at=datetime.now(UTC) - timedelta(days=2), kek_ids=[], octets=0, sha256="")
    (at.folder.parent / "old.dump.json").write_bytes(msgspec.json.encode(manifest))
    at.arguments += ["--backups", str(at.folder.parent)]


def disk_full(at: Installation) -> None:
    at.stack()
    usage = SimpleNamespace(total=1000, free=20)
    at.monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def held_port(at: Installation) -> int:
    """On which gateways send to somebody else, or to the stack that runs."""
    taken = at.until.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    taken.bind((LOOPBACK, 0))
    return int(taken.getsockname()[1])


def no_stack(at: Installation, options: str) -> None:
    at.environment.clear()
    at.set(OPTIONS=options)


def disk_read_only(at: Installation) -> None:
    at.stack()
    of_now = os.statvfs(at.folder)
    sizes = {name: getattr(of_now, name) for name in ("f_bavail", "f_bfree", "f_blocks", "f_frsize")}
    at.monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**sizes, f_flag=os.ST_RDONLY))


def port_taken(at: Installation) -> None:
    no_stack(at, f"{OTHER_PORTS} --udp-port {held_port(at)}")


def port_taken_in_one_word(at: Installation) -> None:
    no_stack(at, f"{OTHER_PORTS} --udp-host={LOOPBACK} --udp-port={held_port(at)}")


def host_of_another_machine(at: Installation) -> None:
    no_stack(at, f"{OTHER_PORTS} --udp-host 192.0.2.1 --udp-port 1700")


def options_with_an_open_quote(at: Installation) -> None:
    at.set(OPTIONS='--udp-host "0.0.0.0')


def option_misspelt(at: Installation) -> None:
    at.set(OPTIONS="--udp-ports 1700")


def option_of_no_port(at: Installation) -> None:
    at.set(OPTIONS="--udp-port=70000")


def option_of_no_service(at: Installation) -> None:
    at.set(OPTIONS="--services network,ingset")


def stack_killed(at: Installation) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    at.stack(supervisor_pid=ended.pid)


def stack_whose_file_is_torn(at: Installation) -> None:
    at.stack()
    (at.folder / FILE_NAME).write_text('{"home": "/x", "mode": 3}', "utf-8")
    at.set(OPTIONS=f"{OTHER_PORTS} --udp-port {held_port(at)}")


def stack_of_a_newer_program(at: Installation) -> None:
    at.stack(version=99)
    at.set(OPTIONS=f"{OTHER_PORTS} --udp-port {held_port(at)}")


def process_dead(at: Installation) -> None:
    log = at.folder.parent / "network.log"
    log.write_text('{"event": "ended", "message": "plus de mémoire"}\n', "utf-8")
    dead = ServiceInfo("network", None, 4, str(log), f"http://127.0.0.1:{free_tcp_port()}")
    at.stack(services=(dead,))


def everything_silent(at: Installation) -> None:
    database_silent(at)
    bus_silent(at)
    broker_silent(at)


BROKEN: dict[Callable[[Installation], None], tuple[str, str, str]] = {
    database_away: ("base de données", "rien n'écoute à cette adresse", "PostgreSQL tourne"),
    database_silent: ("base de données", "ne répond pas", "PostgreSQL tourne"),
    password_wrong: ("base de données", "le mot de passe de ce compte est refusé", "mot de passe"),
    base_unknown: ("base de données", "cette base n'y existe pas", "son adresse"),
    tls_unknown_to_server: ("base de données", "refuse TLS", "son adresse"),
    no_connection_left: ("base de données", "plus de connexion libre", "PostgreSQL"),
    account_of_a_service: (
        "base de données",
        "refuse : ce compte n'en a pas le droit",
        "les adresses de la migration",
    ),
    rights_withdrawn: ("droits sur la base", "territoire_network : ", "./territoire migrate"),
    timescaledb_missing: ("TimescaleDB", "timescaledb manque", "CREATE EXTENSION timescaledb"),
    timescaledb_of_before: (
        "TimescaleDB",
        "la base en est à TimescaleDB 2.18.2",
        "ALTER EXTENSION timescaledb UPDATE",
    ),
    timescaledb_put_back: ("TimescaleDB", "la base est de TimescaleDB 2.20.0", "remettez-lui la 2.20.0"),
    compressed_by_another_edition: ("TimescaleDB", "édition Apache", "decompress_chunk("),
    never_migrated: ("schéma", "0001_registry.sql", "./territoire migrate"),
    migration_missing: ("schéma", "il manque la migration", "./territoire migrate"),
    schema_newer: ("schéma", "à la version 999", "reprenez le programme récent"),
    migration_changed: ("schéma", "n'est pas celle qui a été appliquée", "reprenez le programme"),
    table_locked: ("base de données", "une table verrouillée", "PostgreSQL"),
    clock_skewed: ("horloge de la base", "s d'écart avec cette machine", "chrony"),
    time_zone_unknown: ("fuseau horaire", "« Europe/Metz »", "UPDATE deployment"),
    other_shards: ("parts", "TERRITOIRE_SHARDS vaut 16, la base est divisée en 4", "./territoire reshard"),
    nobody_s_shard: ("service (ingest)", "part 2", "redémarrez-le"),
    key_of_another: ("clé de chiffrement", "n'ouvre pas 1 clés d'équipements", "rétablissez la clé"),
    key_torn: ("clé de chiffrement", "n'en est pas une", "copiez-la à nouveau"),
    bus_away: ("bus", "rien n'écoute à cette adresse", "nats-server tourne"),
    bus_password_wrong: ("bus", "le compte ou le mot de passe est refusé", "mot de passe"),
    bus_silent: ("bus", "ne répond pas", "nats-server tourne"),
    bus_without_jetstream: ("bus", "sans JetStream", "jetstream {"),
    stream_missing: ("bus", "le flux UPLINKS manque", "./territoire migrate"),
    broker_silent: ("courtier MQTT", "ne répond pas", "le courtier tourne"),
    broker_password_wrong: ("courtier MQTT", "n'a pas le droit d'entrer", "« bridge »"),
    broker_rights_missing: ("courtier MQTT", "les droits de ce compte n'y suffisent pas", "acl"),
    broker_open: ("courtier MQTT", "laisse entrer sans mot de passe", "allow_anonymous false"),
    address_empty: ("réglages", "TERRITOIRE_NATS_URL=", "territoire.env"),
    setting_wrong: ("réglages", "TERRITOIRE_KEEP_UPLINKS_MONTHS=« treize »", "territoire.env"),
    setting_misspelt: ("réglages", "vouliez-vous dire TERRITOIRE_KEEP_UPLINKS_MONTHS", "territoire.env"),
    certificate_ended: ("certificat", "expiré depuis", "renouvelez-le"),
    certificate_is_none: ("certificat", "ne se lit pas", "PEM"),
    backup_old: ("sauvegarde", "la dernière a 48 heures", "./territoire backup"),
    disk_full: ("disque", "presque plein", "libérez de la place"),
    disk_read_only: ("disque", "en lecture seule", "remount,rw"),
    port_taken: ("port", "port UDP", "ss -lnptu"),
    stack_killed: ("pile", "a été tuée", "territoire up"),
    process_dead: ("processus (network)", "arrêté", "plus de mémoire"),
    port_taken_in_one_word: ("port", f"sur {LOOPBACK}", "ss -lnptu"),
    host_of_another_machine: ("port", "port UDP 1700 sur 192.0.2.1", "--udp-host"),
    options_with_an_open_quote: ("réglages", "TERRITOIRE_OPTIONS ne se lit pas : un guillemet", "territoire.env"),
    option_misspelt: ("réglages", "Il n'y a pas d'option --udp-ports", "territoire.env"),
    option_of_no_port: ("réglages", "'--udp-port' : au plus 65535", "territoire.env"),
    option_of_no_service: ("réglages", "service inconnu : ingset", "territoire.env"),
    stack_whose_file_is_torn: ("pile", "run.json n'est pas lisible", "redémarrez la pile"),
    stack_of_a_newer_program: ("pile", "programme plus récent", "redémarrez la pile"),
    everything_silent: ("courtier MQTT", "ne répond pas", "le courtier tourne"),
}


def test_one_that_works_has_nothing_to_repair(installation: Installation) -> None:
    _, found, shown = installation.examine()

    assert [finding for finding in found if finding.severity is Severity.CRITICAL] == []
    assert {"base de données", "bus", "courtier MQTT"} <= {finding.subject for finding in found}
    assert "en panne" not in shown


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_each_that_is_broken_is_named_with_what_to_do(
    installation: Installation, broken: Callable[[Installation], None]
) -> None:
    subject, what, remedy = BROKEN[broken]
    broken(installation)

    status, found, _ = installation.examine()

    said = "\n".join(f"{one.severity} {one.title} : {one.what} -> {one.remedy}" for one in found)
    about = [finding for finding in found if subject in {finding.subject, finding.title} and finding.severity]
    assert [finding for finding in about if what in finding.what and remedy in finding.remedy], said
    assert all(finding.remedy for finding in found if finding.severity), said
    assert status == max(finding.severity for finding in found)
    # Nothing else is said to be broken than what is: a second finding would send people elsewhere.
    others = {one.title for one in found if one.severity is Severity.CRITICAL and one not in about}
    assert others <= MORE.get(broken, set()), said


# What a fault brings with it, or the test's own way of making it.
MORE: dict[Callable[[Installation], None], set[str]] = {
    everything_silent: {"base de données", "bus"},
    port_taken: {"pile"},
    port_taken_in_one_word: {"pile"},
    host_of_another_machine: {"pile"},
}


def test_they_are_many() -> None:
    assert len(BROKEN) >= 20
