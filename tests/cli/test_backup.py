"""A stack's database in a file, and from the file into another stack that goes on where the first was."""

import asyncio
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyrage.x25519 import Identity  # pyright: ignore[reportMissingModuleSource]
from typer.testing import CliRunner, Result

from cli.app import app
from cli.backup import Manifest, digest_of, manifest_file
from cli.encryption import is_encrypted
from cli.restored import COUNTERS_AHEAD
from core.runtime.postgres import connect
from lorawan.crypto import wrap_key
from registry.erasures import append_to_ledger, digests_of
from registry.keys import KeyWrap
from registry.ledger_file import LEDGER_NAME
from registry.schema import migrations
from services.supervisor.home import Home
from services.supervisor.stack import Stack
from services.supervisor.stack_options import StackOptions
from services.supervisor.supervisor import ChildSpec

OPTIONS = StackOptions(udp_port=0, api_port=0, services=("maintenance",))
FILL = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'elsys.ers' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 3, '\\x{ours}', 'kek-1' FROM p
      RETURNING id, tenant_id),
s AS (INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_down)
      SELECT id, '\\x00000001', '\\x{ours}', '\\x{ours}', 'kek-1', 7 FROM d),
k AS (INSERT INTO device_decoding_key (device_id, key_wrapped, kek_id)
      SELECT id, decode(repeat('00', 24), 'hex'), 'kek-0' FROM d),
f AS (INSERT INTO datastream (tenant_id, device_id, quantity, unit)
      SELECT tenant_id, id, 'temperature', 'Cel' FROM d RETURNING id),
a AS (INSERT INTO asset (tenant_id, kind, name, privacy_class) SELECT id, 'dwelling', 'chez Anne Onyme', 2 FROM t)
INSERT INTO observation.measurement
SELECT id, now() - n * interval '1 hour', n, 0 FROM f, generate_series(1, 5000) n
"""

CLUSTER = "SELECT system_identifier FROM pg_control_system()"
NEXT_TENANT = "SELECT nextval(pg_get_serial_sequence('tenant', 'id'))"
NEXT_MEASUREMENT = (
    "INSERT INTO observation.measurement SELECT id, now() + interval '1 minute', 1, 0 FROM datastream"
)


def territoire(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    made = server_folder / request.node.name
    made.mkdir(mode=0o711)
    yield made
    shutil.rmtree(made)


async def test_a_restored_stack_has_every_row_but_what_was_erased_since_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, identity = folder / "sauvegarde.dump", Identity.generate()
    former, later = Home(folder / "former"), Home(folder / "later")
    (folder / "cle.txt").write_text(f"# clé\n{identity}\n")
    (folder / "autre.txt").write_text(str(Identity.generate()))
    monkeypatch.setenv("TERRITOIRE_ERASURE_SETTLE_S", "0")
    monkeypatch.setenv("TERRITOIRE_BACKUP_RECIPIENTS", str(identity.to_public()))
    with former.held():
        stack = Stack(former, replace(OPTIONS, services=("maintenance", "api")))
        run = await stack.start()
        connection = await connect(run.database_admin_url)
        ours = wrap_key(bytes.fromhex(run.kek), bytes(16))
        await connection.execute(FILL.replace("{ours}", ours.hex()))
        saved = await asyncio.to_thread(territoire, "backup", file, "--home", former.folder)
        shown = await asyncio.to_thread(territoire, "status", "--home", former.folder, "--backups", folder)
        told = await asyncio.to_thread(
            territoire, "status", "--home", former.folder, "--backups", folder, "--json"
        )
        asset = await connection.fetchval("SELECT 'asset-' || id FROM asset")
        cluster = await connection.fetchval(CLUSTER)
        await connection.close()
        of_metz = ("--tenant", "metz", "--home", former.folder)
        found = await asyncio.to_thread(territoire, "person", "list", "onyme", *of_metz)
        out = await asyncio.to_thread(territoire, "person", "export", asset, folder / "anne.zip", *of_metz)
        receipt = ("--reason", "demande", "--yes", "--receipt", folder / "recu.json")
        erased = await asyncio.to_thread(territoire, "person", "erase", asset, *receipt, *of_metz)
        await stack.stop()
    assert saved.exit_code == 0, saved.output
    assert b"Onyme" not in file.read_bytes()
    assert is_encrypted(file)
    assert [one.exit_code for one in (found, out, erased)] == [0, 0, 0], (found.output, out.output, erased.output)
    assert asset in found.output
    with zipfile.ZipFile(folder / "anne.zip") as exported:
        assert "chez Anne Onyme" in exported.read("asset.csv").decode()
    assert (folder / "anne.zip").stat().st_mode & 0o077 == 0
    assert json.loads((folder / "recu.json").read_text())["counts"]["asset"] == 1
    assert "5000 mesures" in saved.output
    assert shown.exit_code == told.exit_code == 0, shown.output
    check_status(shown.output, json.loads(told.output), run.api_url, folder)
    assert file.stat().st_mode & 0o077 == 0
    assert json.loads(manifest_file(file).read_bytes())["kek_ids"] == ["kek-0", "kek-1"]

    ledger = former.folder / LEDGER_NAME
    command = ("restore", file, "--home", later.folder, "--secrets", former.folder / "secrets.json")
    refused = [
        await asyncio.to_thread(territoire, *command, *more)
        for more in (
            (),
            ("--identity", folder / "autre.txt", "--ledger", ledger),
            ("--identity", folder / "cle.txt", "--ledger", folder / "perdu.jsonl"),
        )
    ]
    # As a line under a key of after these secrets: whom it names is not known.
    later_key = folder / "clé-neuve.jsonl"
    later_key.write_bytes(ledger.read_bytes())
    append_to_ledger(later_key, digests_of(KeyWrap("kek-9", bytes(32)), ["person/1/1"]), datetime.now(UTC))
    opened = (*command, "--identity", folder / "cle.txt")
    closed = await asyncio.to_thread(territoire, *opened, "--ledger", later_key)
    started = await asyncio.to_thread(territoire, "up", "--home", later.folder)
    restored = await asyncio.to_thread(territoire, *opened, "--ledger", ledger)

    assert (closed.exit_code, started.exit_code != 0) == (1, True)
    assert "n'est pas complète" in closed.output
    assert "kek-9" in closed.output
    assert [one.exit_code for one in refused] == [2, 2, 2]
    for one, words in zip(refused, ("--identity", "n'ouvre pas", "registre des effacements"), strict=True):
        assert words in one.output
    assert restored.exit_code == 0, restored.output
    assert "1 effacement fait à nouveau" in restored.output
    assert "n'ouvre pas tout ce qui est sous kek-0" in restored.output
    with later.held():
        stack = Stack(later, OPTIONS)
        run = await stack.start()
        assert await all_ready(stack) == {"postgres", "nats", "mosquitto", "maintenance"}
        connection = await connect(run.database_admin_url)
        assert await connection.fetchval("SELECT count(*) FROM observation.measurement") == 5000
        # As after a change of PostgreSQL's version: another cluster, which goes on where the first one was.
        assert await connection.fetchval(CLUSTER) != cluster
        assert await connection.fetchval(NEXT_TENANT) > await connection.fetchval("SELECT max(id) FROM tenant")
        assert await connection.execute(NEXT_MEASUREMENT) == "INSERT 0 1"
        said = await connection.fetchrow("SELECT entity_id, details FROM audit WHERE action = 'restore'")
        assert (said["entity_id"], said["details"]) == (file.name, {"after": {"erased_again": 1}})
        assert await connection.fetchval("SELECT f_cnt_down FROM session") == 7 + COUNTERS_AHEAD
        assert await connection.fetchval("SELECT count(*) FROM asset") == 0
        assert (later.folder / LEDGER_NAME).read_bytes() == ledger.read_bytes()
        await connection.close()
        assert run.kek == former.secrets().kek
        await stack.stop()


def check_status(shown: str, status: dict[str, Any], url: str, folder: Path) -> None:
    """What runs, what is in it, and the backup that was made a moment before."""
    assert status["url"] == url
    assert [(one["name"], one["ready"]) for one in status["services"]] == [
        ("fork_server", True),
        ("postgres", True),
        ("nats", True),
        ("mosquitto", True),
        ("maintenance", True),
        ("api", True),
    ]
    assert status["database"]["schema"] == status["database"]["schema_wanted"] == len(migrations())
    assert status["database"]["devices"] == 1
    assert [one["name"] for one in status["streams"]] == ["FRAMES", "UPLINKS"]
    assert status["disk"]["free"] > 0
    assert status["backups"] == str(folder)
    assert status["backup_at"] is not None
    assert status["problems"] == {}
    for words in (url, "6 prêts", f"schéma {len(migrations())}", "NATS 2.", "il y a", "Tout est prêt."):
        assert words in shown


async def all_ready(stack: Stack) -> set[str]:
    specs: list[ChildSpec] = [child.spec for child in stack.supervisor.children]
    return {spec.name for spec in specs if await spec.ready()}


def write_manifest(
    file: Path, sha256: str, version: str = "2.19", sealed: Mapping[str, list[str]] = {}, compressed: int = 0
) -> None:
    manifest = Manifest(
        1,
        version,
        {},
        dict(sealed),
        made_at=datetime.now(UTC),
        kek_ids=["kek-1"],
        octets=0,
        sha256=sha256,
        compressed_chunks=compressed,
    )
    manifest_file(file).write_bytes(msgspec.json.encode(manifest))


def test_a_backup_that_was_changed_or_lacks_its_manifest_is_not_restored(folder: Path) -> None:
    file, secrets = folder / "sauvegarde.dump", folder / "secrets.json"
    file.write_bytes(b"PGDMP")
    home = Home(folder / "source")
    with home.held():
        secrets.write_bytes(msgspec.json.encode(home.secrets()))

    without = territoire("restore", file, "--home", folder / "new", "--secrets", secrets)
    write_manifest(file, sha256="other")
    changed = territoire("restore", file, "--home", folder / "new", "--secrets", secrets)

    assert (without.exit_code, changed.exit_code) == (2, 2)
    assert "a changé depuis" in changed.output
    assert not (folder / "new").exists()


def test_a_backup_whose_keys_the_given_key_does_not_open_is_not_restored(folder: Path) -> None:
    file, secrets = folder / "sauvegarde.dump", folder / "secrets.json"
    file.write_bytes(b"PGDMP")
    home = Home(folder / "source")
    with home.held():
        secrets.write_bytes(msgspec.json.encode(home.secrets()))
    foreign = KeyWrap("kek-1", bytes(32)).wrap(bytes(16), "a").hex() + " a"
    write_manifest(file, digest_of(file), sealed={"kek-1": [foreign]})

    refused = territoire("restore", file, "--home", folder / "new", "--secrets", secrets)
    insisted = territoire("restore", file, "--home", folder / "new", "--secrets", secrets, "--without-keys")

    assert refused.exit_code == 2
    assert "n'ouvre aucune clé d'équipement de cette sauvegarde (kek-1)" in refused.output
    assert "ces équipements seront muets" in insisted.output
    assert "pg_restore a échoué" in insisted.output


@pytest.mark.parametrize(
    ("version", "compressed", "words"),
    [("2.18.2", 0, "est de TimescaleDB 2.18.2, ce serveur a la"), ("2.19.1", 3, "3 tranches de mesures y sont")],
)
def test_a_backup_that_this_servers_timescaledb_cannot_read_is_not_restored(
    folder: Path, version: str, compressed: int, words: str
) -> None:
    file, secrets = folder / "sauvegarde.dump", folder / "secrets.json"
    file.write_bytes(b"PGDMP")
    home = Home(folder / "source")
    with home.held():
        secrets.write_bytes(msgspec.json.encode(home.secrets()))
    write_manifest(file, digest_of(file), version, compressed=compressed)

    refused = territoire("restore", file, "--home", folder / "new", "--secrets", secrets)

    assert refused.exit_code == 2, refused.output
    assert "rien n'est restauré" in refused.output
    assert words in refused.output


def test_a_restore_never_writes_into_a_home_that_holds_something(folder: Path) -> None:
    file, home = folder / "sauvegarde.dump", Home(folder / "home")
    file.write_bytes(b"")
    with home.held():
        home.secrets()
    write_manifest(file, sha256=digest_of(file))

    done = territoire("restore", file, "--home", home.folder, "--secrets", home.folder / "secrets.json")

    assert done.exit_code == 2
    assert "n'est pas vide" in done.output


def test_without_a_stack_a_backup_says_so(folder: Path) -> None:
    done = territoire("backup", folder / "x.dump", "--home", folder, "--plain")

    assert done.exit_code == 3
    assert "aucune pile ne tourne" in done.output


def test_a_backup_is_made_for_a_public_key_unless_that_is_turned_off_or_former_ones_were_plain(
    folder: Path,
) -> None:
    private = str(Identity.generate())
    nobody = territoire("backup", folder, "--home", folder)
    wrong = territoire("backup", folder, "--home", folder, "--recipients", private)
    (folder / "territoire-2026-11-25T021500.dump").touch()
    write_manifest(folder / "territoire-2026-11-25T021500.dump", sha256="")
    before = territoire("backup", folder, "--home", folder)

    assert (nobody.exit_code, wrong.exit_code, before.exit_code) == (2, 2, 3)
    assert "age-keygen" in nobody.output
    assert "clé privée" in wrong.output
    assert private not in wrong.output
    assert "en clair, comme celles d'avant" in before.output
