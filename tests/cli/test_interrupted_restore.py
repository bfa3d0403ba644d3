"""What a restore that was killed has left never starts as if it were whole; the same command begins it again."""

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from core.runtime.postgres import connect
from services.supervisor.home import Home
from services.supervisor.stack import Stack
from services.supervisor.stack_options import StackOptions
from tests.cli.test_pitr import OPTIONS, configured, depot, needs_pgbackrest, stack
from tests.conftest import Database

# The command line, killed where everything is in the database and nothing is made good yet.
KILLED = """
import os, signal, sys
import cli.restore, cli.restore_instant

async def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

cli.restore.make_good = cli.restore_instant.make_good = killed
from cli.app import app
app(sys.argv[1:])
"""
pytestmark = pytest.mark.starts_processes


def run(*words: object, killed: bool = False) -> "subprocess.CompletedProcess[str]":
    program = ("-c", KILLED) if killed else ("-m", "cli")
    return subprocess.run(
        [sys.executable, "-P", *program, *map(str, words)], capture_output=True, text=True, check=False
    )


def check_begun_again(command: tuple[object, ...], home: Home) -> None:
    """Killed, nothing starts there, and the same command ends well."""
    killed = run(*command, killed=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (home.postgres_data / "PG_VERSION").exists()

    started = run("up", "--home", home.folder, "--udp-port", 0, "--api-port", 0, "--services", "maintenance",
                  "--exit-after", 1)  # fmt: skip
    examined = run("doctor", "--home", home.folder)
    moved = home.folder.rename(home.folder.with_name("ailleurs"))
    elsewhere = run("backup", "--stopped", home.folder / "x.dump", "--plain", "--home", moved)
    moved.rename(home.folder)
    for refused in (started, elsewhere):
        assert refused.returncode == 1, refused.stdout
        assert "restauration interrompue" in refused.stderr
        assert "recommencez-la par la même commande" in refused.stderr
    assert "restauration interrompue" in examined.stdout

    again = run(*command)
    assert again.returncode == 0, again.stderr


async def test_a_backup_whose_restore_was_killed_is_restored_again(database: Database, folder: Path) -> None:
    connection = await connect(database.admin_url)
    await connection.execute("INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz')")
    epoch = await connection.fetchval("SELECT epoch FROM feed_position()")
    await connection.close()
    file, home = folder / "sauvegarde.dump", Home(folder / "home")
    saved = run("backup", file, "--plain", "--database-url", database.admin_url)
    assert saved.returncode == 0, saved.stderr
    former = Home(folder / "former")
    with former.held():
        (folder / "secrets.json").write_bytes(msgspec.json.encode(former.secrets()))

    check_begun_again(("restore", file, "--home", home.folder, "--secrets", folder / "secrets.json"), home)

    with home.held():
        stack = Stack(home, StackOptions(udp_port=0, api_port=0, services=()))
        connection = await connect((await stack.start()).database_admin_url)
        assert await connection.fetchval("SELECT count(*) FROM tenant WHERE slug = 'metz'") == 1
        assert await connection.fetchval("SELECT epoch FROM feed_position()") != epoch
        await connection.close()
        await stack.stop()


def test_counts_that_differ_leave_a_home_that_does_not_start(database: Database, folder: Path) -> None:
    file, home = folder / "sauvegarde.dump", Home(folder / "home")
    assert run("backup", file, "--plain", "--database-url", database.admin_url).returncode == 0
    manifest = file.with_name("sauvegarde.dump.json")
    text = manifest.read_text("utf-8").replace('"devices": 0', '"devices": 3')
    manifest.write_text(text, "utf-8")
    former = Home(folder / "former")
    with former.held():
        (folder / "secrets.json").write_bytes(msgspec.json.encode(former.secrets()))

    done = run("restore", file, "--home", home.folder, "--secrets", folder / "secrets.json")
    started = run("up", "--home", home.folder, "--udp-port", 0, "--api-port", 0, "--exit-after", 1)

    assert done.returncode == 1
    assert "devices : 0 au lieu de 3" in done.stdout
    assert started.returncode == 1
    assert "restauration interrompue" in started.stderr


@needs_pgbackrest
async def test_an_instant_whose_restore_was_killed_is_restored_again(folder: Path) -> None:
    former, home = Home(folder / "former"), Home(folder / "home")
    with former.held():
        await configured(former, depot(folder) / "pitr")
        async with stack(former, OPTIONS):
            image = run("pitr", "backup", "--home", former.folder)
            assert image.returncode == 0, image.stderr
    command = ("restore", "--to", "latest", "--home", home.folder, "--secrets", former.folder / "secrets.json",
               "--repository", former.postgres_data.parent / "pgbackrest", "--without-ledger")  # fmt: skip

    check_begun_again(command, home)


def test_a_folder_that_holds_anything_else_is_never_emptied(folder: Path) -> None:
    home = Home(folder / "home")
    with home.held():
        home.secrets()
    before = sorted(home.folder.iterdir())

    with pytest.raises(Exception, match="n'est pas vide"), home.restored():
        raise AssertionError

    assert sorted(home.folder.iterdir()) == before
