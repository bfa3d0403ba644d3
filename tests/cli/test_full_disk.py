"""A disk that fills up while a command writes, and an archive that has not what is asked: in French."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from services.supervisor.home import Home
from tests.cli.in_process import territoire
from tests.cli.memory_disks import memory_disk
from tests.cli.test_mistakes import ENGLISH
from tests.cli.test_pitr import OPTIONS, configured, depot, needs_pgbackrest, stack
from tests.conftest import Database

SOME_MORE = 6_000_000
FULL = "le disque est plein"
pytestmark = [pytest.mark.timeout(400), pytest.mark.starts_processes]


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A megabyte, in memory."""
    with memory_disk(folder / "disque", "size=1m,mode=711") as disk:
        yield disk


@pytest.fixture
def secrets(folder: Path) -> Path:
    """Of a stack that was."""
    former = Home(folder / "former")
    with former.held():
        (folder / "secrets.json").write_bytes(msgspec.json.encode(former.secrets()))
    return folder / "secrets.json"


def failed(*arguments: object) -> str:
    """What a command says that does not succeed."""
    ran = territoire(*map(str, arguments))
    assert ran.returncode == 1, ran
    assert ENGLISH.findall(ran.stderr) == [], ran.stderr
    assert "space left" not in ran.stderr
    return ran.stderr


def test_a_backup_says_that_the_disk_is_full(database: Database, small_disk: Path) -> None:
    (small_disk / "rest").write_bytes(bytes(900_000))
    to = small_disk / "x.dump"

    assert FULL in failed("backup", to, "--plain", "--database-url", database.admin_url)
    assert [file.name for file in small_disk.iterdir()] == ["rest"]


def test_a_restore_says_that_the_disk_is_full(
    database: Database, folder: Path, small_disk: Path, secrets: Path
) -> None:
    file = folder / "x.dump"
    territoire("backup", str(file), "--plain", "--database-url", database.admin_url)

    assert FULL in failed("restore", file, "--home", small_disk / "home", "--secrets", secrets)


@needs_pgbackrest
def test_an_archive_says_that_it_does_not_go_back_so_far_or_that_the_disk_is_full(
    folder: Path, small_disk: Path, secrets: Path
) -> None:
    former = Home(folder / "former")
    repository = former.postgres_data.parent / "pgbackrest"
    rest = ("--secrets", secrets, "--repository", repository, "--without-ledger")
    restore = ("restore", *rest, "--home")

    async def archive() -> str:
        with former.held():
            await configured(former, depot(folder) / "pitr")
            no_image = await asyncio.to_thread(failed, *restore, folder / "a", "--to", "latest")
            async with stack(former, OPTIONS):
                image = await asyncio.to_thread(territoire, "pitr", "backup", "--home", str(former.folder))
                assert image.returncode == 0, image.stderr
            return no_image

    no_archive = asyncio.run(archive())
    before = failed(*restore, folder / "b", "--to", "2020-01-01")
    full = failed(*restore, small_disk / "c", "--to", "latest")
    octets = sum(file.stat().st_size for file in former.postgres_data.rglob("*") if "pg_wal" not in file.parts)
    room = f"remount,size={octets + SOME_MORE}"
    subprocess.run(["mount", "-o", room, small_disk], check=True)
    no_room_for_its_log = failed(*restore, small_disk / "c", "--to", "latest")
    configuration = repository / "pgbackrest.conf"
    configuration.write_text(configuration.read_text("utf-8").replace("cipher-pass=", "cipher-pass=x"), "utf-8")
    closed = failed(*restore, folder / "d", "--to", "latest")

    assert "il n'y a pas d'archive" in no_archive
    assert "l'archive ne remonte pas jusqu'à cet instant" in before
    assert FULL in full
    assert FULL in no_room_for_its_log
    assert "ne se déchiffre pas" in closed
