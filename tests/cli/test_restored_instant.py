"""The cluster as it was at an instant; images and log by SFTP and by S3; drills that fail. With `--browser`."""

import asyncio
import errno
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import msgspec
import pytest

from cli.account import COUNTED, TIMESCALE_VERSION, mark_instant
from cli.restored import COUNTERS_AHEAD
from core.runtime.bus import connect_bus
from core.runtime.errors import SYSTEM_REASONS
from core.runtime.postgres import Connection, connect
from ingest.maintenance.restore_drills import read_drills
from lorawan.crypto import wrap_key
from registry.ledger_file import LEDGER_NAME
from services.supervisor.credentials import DATABASE_OWNER
from services.supervisor.home import Home
from services.supervisor.pgbackrest import ARCHIVE_TIMEOUT_S, PgBackRest
from services.supervisor.stack_options import StackOptions
from tests.cli.object_store import REGION, object_store
from tests.cli.test_backup import FILL
from tests.cli.test_pitr import configured, depot, needs_pgbackrest, stack, territoire
from tests.ingest.exports.sftp_server import USER, sftp_server
from tests.registry.test_timescale import AS_OF_BEFORE

MORE = """
INSERT INTO observation.measurement
SELECT f.id, now() - n * interval '1 minute' - interval '1 year', n, 0
FROM datastream f, generate_series(1, {rows}) n
"""
pytestmark = [pytest.mark.timeout(400), needs_pgbackrest]


async def naive_counts(connection: Connection) -> dict[str, int]:
    """By reading every row of what is counted."""
    tables = {name: text.rpartition(" ")[2] for name, text in COUNTED.items()}
    return {name: len(await connection.fetch(f"SELECT 1 FROM {table}")) for name, table in tables.items()}


async def test_the_database_as_it_was_at_an_instant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRITOIRE_ERASURE_SETTLE_S", "0")
    former, later = Home(folder / "former"), Home(folder / "later")
    with former.held():
        await configured(former, depot(folder) / "pitr")
        async with stack(former, StackOptions(udp_port=0, api_port=0, services=("maintenance", "api"))) as run:
            connection = await connect(run.database_admin_url)
            said = await connection.fetchrow(
                "SELECT current_setting('archive_mode') AS mode, current_setting('archive_timeout') AS timeout"
            )
            ours = wrap_key(bytes.fromhex(run.kek), bytes(16))
            await connection.execute(FILL.replace("{ours}", ours.hex()))
            image = await territoire("pitr", "backup", "--home", former.folder)
            assert image.exit_code == 0, image.output
            await asyncio.sleep(2)  # pgBackRest knows the second in which an image was whole.
            await connection.execute(MORE.format(rows=70))
            account = await naive_counts(connection)
            epoch = await connection.fetchval("SELECT epoch FROM feed_position()")
            instant = await connection.fetchval("SELECT clock_timestamp()")
            # What came after: measurements, a device that was spoken to, a dwelling that was erased.
            await connection.execute(MORE.format(rows=300).replace("1 year", "2 years"))
            await connection.execute("UPDATE session SET f_cnt_down = f_cnt_down + 9")
            asset = await connection.fetchval("SELECT 'asset-' || id FROM asset")
            of_metz = ("--tenant", "metz", "--home", former.folder)
            erased = await territoire("person", "erase", asset, "--reason", "demande", "--yes", *of_metz)
            assert erased.exit_code == 0, erased.output
            async with connect_bus(run.nats_url, "test") as bus:
                await bus.publish("territoire.frames.0", b"of then")
            drilled = await territoire("pitr", "drill", "--home", former.folder)
            drills = await read_drills(connection)
            await connection.close()
    assert (said["mode"], said["timeout"]) == ("on", f"{ARCHIVE_TIMEOUT_S}s")
    assert drilled.exit_code == 0, drilled.output
    assert (drills.was_ever_good, drills.last_outcome) == (True, "good")
    assert not (former.postgres_data.parent / "territoire-drill").exists()

    # The superuser's password was renewed after that instant.
    former.change_secrets(lambda kept: kept.renewed([DATABASE_OWNER], datetime.now(UTC)))
    command = ("restore", "--home", later.folder, "--secrets", former.folder / "secrets.json")
    command = (*command, "--repository", former.postgres_data.parent / "pgbackrest")
    with_ledger = ("--ledger", former.folder / LEDGER_NAME)
    early = await territoire(*command, *with_ledger, "--to", "2020-01-01T00:00:00+00:00")
    assert early.exit_code == 1
    assert list(later.folder.iterdir()) == []
    restored = await territoire(*command, *with_ledger, "--to", instant.isoformat())
    assert restored.exit_code == 0, restored.output
    for name, number in account.items():
        assert f"  {name} : {number}\n" in restored.output
    assert account["measurements"] == 5070
    assert "1 effacement fait à nouveau" in restored.output

    archive = PgBackRest.beside(later.postgres_data)
    assert archive.is_suspended
    with later.held():
        async with stack(later) as run:
            connection = await connect(run.database_admin_url)
            assert await connection.fetchval("SELECT current_setting('archive_mode')") == "off"
            now = await naive_counts(connection)
            assert {name: number for name, number in now.items() if number != account[name]} == {"assets": 0}
            assert await connection.fetchval("SELECT f_cnt_down FROM session") == 7 + COUNTERS_AHEAD
            assert await connection.fetchval("SELECT epoch FROM feed_position()") != epoch
            left = await connection.fetch(
                "SELECT 1 FROM pg_file_settings WHERE name ~ '^(restore_command|recovery)'"
            )
            assert left == []
            async with connect_bus(run.nats_url, "test") as bus:
                assert await bus.stream_messages("FRAMES") == 0
            await connection.close()
        refused = await territoire("pitr", "resume", "--home", former.folder)
        resumed = await territoire("pitr", "resume", "--home", later.folder)
        assert (refused.exit_code, resumed.exit_code) == (2, 0), resumed.output
        async with stack(later):
            image = await territoire("pitr", "backup", "--home", later.folder)
    assert image.exit_code == 0, image.output


async def test_an_instant_of_before_timescaledb_was_upgraded_is_brought_to_it(folder: Path) -> None:
    former, later, repository = Home(folder / "former"), Home(folder / "later"), depot(folder)
    with former.held():
        await configured(former, repository / "pitr")
        async with stack(former) as run:
            connection = await connect(run.database_admin_url)
            now = await connection.fetchval(TIMESCALE_VERSION)
            ours = wrap_key(bytes.fromhex(run.kek), bytes(16))
            await connection.execute(FILL.replace("{ours}", ours.hex()))
            await connection.execute(AS_OF_BEFORE.format(version="2.19.2"))
            await connection.close()
            image = await territoire("pitr", "backup", "--home", former.folder)
            assert image.exit_code == 0, image.output
    command = ("restore", "--secrets", former.folder / "secrets.json", "--without-ledger", "--to", "latest")
    command = (*command, "--repository", former.postgres_data.parent / "pgbackrest")

    restored = await territoire(*command, "--home", later.folder)

    assert restored.exit_code == 0, restored.output
    assert "  measurements : 5000\n" in restored.output
    with later.held():
        async with stack(later) as run:
            connection = await connect(run.database_admin_url)
            assert await connection.fetchval(TIMESCALE_VERSION) == now != "2.19.2"
            assert len(await connection.fetch("SELECT 1 FROM observation.measurement")) == 5000
            await connection.close()


async def check_store(home: Home) -> None:
    """An image goes there and comes back, whole, by the drill."""
    async with stack(home) as run:
        connection = await connect(run.database_admin_url)
        image = await territoire("pitr", "backup", "--home", home.folder)
        assert image.exit_code == 0, image.output
        await connection.execute("INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz de la Sauvegarde')")
        drilled = await territoire("pitr", "drill", "--home", home.folder)
        await connection.close()
        assert drilled.exit_code == 0, drilled.output


def check_encrypted(files: Mapping[str, bytes]) -> None:
    """OpenSSL's mark before the log and the lists; the parts of an image have none, but are no zstd either."""
    assert len([name for name in files if "/archive/" in name and name.endswith(".zst")]) > 2
    images = [name for name in files if "/bundle/" in name]
    assert images
    assert not any(files[name].startswith(b"\x28\xb5\x2f\xfd") for name in images)
    for name in files.keys() - set(images):
        assert files[name].startswith(b"Salted__"), name


async def test_by_sftp_to_a_machine_whose_key_is_known(folder: Path) -> None:
    home, own = Home(folder / "home"), folder / "cle"
    (folder / "loin").mkdir()
    async with sftp_server(folder / "loin") as server:
        own.write_text(server.client_key)
        place = f"sftp://{USER}@127.0.0.1:{server.port}/entree/pitr"
        known = asyncssh.import_public_key(server.host_key).get_fingerprint()
        with home.held():
            await configured(home, place, "--host-key", known, "--key", own)
            await check_store(home)
        files = {str(one): one.read_bytes() for one in (folder / "loin").rglob("*") if one.is_file()}
        other = asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
        again = ("--host-key", other, "--key", own, "--force")
        await configured(home, place, *again)
        repository = PgBackRest.beside(home.postgres_data)
        assert "fingerprint" in await asyncio.to_thread(repository.run, "info", "--output=json")
    check_encrypted(files)


async def test_by_s3_under_an_authority_of_one_s_own(folder: Path) -> None:
    home = Home(folder / "home")
    with object_store(folder, "sauvegardes") as store, home.held():
        place = f"s3://sauvegardes/metz?endpoint=localhost:{store.port}&region={REGION}"
        access = {"TERRITOIRE_PITR_S3_KEY": "identifiant", "TERRITOIRE_PITR_S3_SECRET": "secret"}
        await configured(home, place, "--ca", store.authority, **access)
        await check_store(home)
        check_encrypted(store.objects("sauvegardes"))


async def test_a_drill_that_does_not_find_its_counts_or_its_archive_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, outcomes = Home(folder / "home"), []

    async def one_more(url: str, name: str) -> object:
        account, place = await mark_instant(url, name)
        return msgspec.structs.replace(account, counts={**account.counts, "devices": 1}), place

    with home.held():
        await configured(home, depot(folder) / "pitr")
        async with stack(home) as run:
            assert (await territoire("pitr", "backup", "--home", home.folder)).exit_code == 0
            connection = await connect(run.database_admin_url)
            elsewhere = await territoire("pitr", "drill", "--home", home.folder, "--folder", folder / "ailleurs")
            outcomes.append((await read_drills(connection)).last_outcome)
            ledger = await territoire("pitr", "drill", "--home", home.folder, "--ledger", folder / "perdu.jsonl")
            outcomes.append((await read_drills(connection)).last_detail)
            monkeypatch.setattr("cli.drill.mark_instant", one_more)
            differs = await territoire("pitr", "drill", "--home", home.folder)
            outcomes.append((await read_drills(connection)).last_outcome)
            monkeypatch.undo()
            (folder / "depot").rename(folder / "parti")
            (folder / "depot").touch()
            monkeypatch.setattr("cli.drill.ARCHIVED_WITHIN_S", 3)
            away = await territoire("pitr", "drill", "--home", home.folder)
            outcomes.append((await read_drills(connection)).last_outcome)
            findings = json.loads((await territoire("doctor", "--home", home.folder, "--json")).output)["findings"]
            await connection.close()
    for refused, file in ((elsewhere, "ailleurs"), (ledger, "perdu.jsonl")):
        assert refused.exit_code == 1
        assert f"a échoué (not_restored) : {folder / file} : {SYSTEM_REASONS[errno.ENOENT]}" in refused.output
        assert "base de données" not in refused.output
    assert (differs.exit_code, away.exit_code) == (1, 1)
    assert "devices : 0 au lieu de 1" in differs.output
    missing = f"{folder / 'perdu.jsonl'} : {SYSTEM_REASONS[errno.ENOENT]}"
    assert outcomes == ["not_restored", missing, "counts_differ", "not_archived"]
    archive = {one["subject"]: one for one in findings}
    assert archive["archive"]["severity"] == archive["essai de restauration"]["severity"] == 2
