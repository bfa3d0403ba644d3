"""The log of a real cluster in a repository on a disk, and what a drill makes of it.

Restores to an instant, SFTP, S3 and drills that fail: test_restored_instant.py, with `--browser`.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.pitr_configure import WrongPlace, hexadecimal
from core.runtime.postgres import connect
from services.supervisor.credentials import DATABASE_OWNER
from services.supervisor.home import Home
from services.supervisor.pgbackrest import PgBackRest
from services.supervisor.run_info import RunInfo
from services.supervisor.stack import Stack
from services.supervisor.stack_options import StackOptions

OPTIONS = StackOptions("reshard", udp_port=0, api_port=0, services=())
needs_pgbackrest = pytest.mark.skipif(
    shutil.which("pgbackrest") is None, reason="apt-get install pgbackrest (./territoire test)"
)
pytestmark = [pytest.mark.timeout(400), needs_pgbackrest]


async def territoire(*arguments: object, **environment: str) -> Result:
    words = [str(argument) for argument in arguments]
    return await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)


@asynccontextmanager
async def stack(home: Home, options: StackOptions = OPTIONS) -> AsyncIterator[RunInfo]:
    running = Stack(home, options)
    try:
        yield await running.start()
    finally:
        await running.stop()


async def configured(home: Home, *arguments: object, **environment: str) -> None:
    done = await territoire("pitr", "configure", *arguments, "--home", home.folder, **environment)
    assert done.exit_code == 0, done.output


def depot(folder: Path) -> Path:
    """A disk that the server's account may write to."""
    made = folder / "depot"
    made.mkdir()
    shutil.chown(made, "postgres") if folder.owner() == "root" else None
    return made


async def test_a_mark_has_exactly_what_was_committed_before_it(folder: Path) -> None:
    """Eight writers at once; what a server has when it is restored to the mark is what was counted."""
    home = Home(folder / "home")

    async def write(url: str, number: int, stopping: asyncio.Event) -> None:
        connection, written = await connect(url), 0
        while not stopping.is_set():
            written += 1
            values = f"'t{number}-{written}', 'x'"
            await connection.execute(f"INSERT INTO tenant (slug, name) VALUES ({values})")
        await connection.close()

    with home.held():
        await configured(home, depot(folder) / "pitr")
        async with stack(home) as run:
            assert (await territoire("pitr", "backup", "--home", home.folder)).exit_code == 0
            stopping = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for number in range(8):
                    tasks.create_task(write(run.database_admin_url, number, stopping))
                # What is restored has the superuser's password of its time, whatever the home says since.
                home.change_secrets(lambda kept: kept.renewed([DATABASE_OWNER], datetime.now(UTC)))
                drilled = await territoire("pitr", "drill", "--home", home.folder)
                stopping.set()
            connection = await connect(run.database_admin_url)
            assert await connection.fetchval("SELECT count(*) FROM tenant") > 100
            await connection.close()
    assert drilled.exit_code == 0, drilled.output


async def test_what_no_place_is_is_rejected(folder: Path) -> None:
    home = Home(folder / "home")
    with home.held():
        home.secrets()
    own = ("--home", home.folder)
    access = {"TERRITOIRE_PITR_S3_KEY": "identifiant", "TERRITOIRE_PITR_S3_SECRET": "secret"}
    for place, words in (
        ("relatif", "attendu un dossier"),
        ("sftp://nas/pitr", "attendu sftp://compte"),
        ("sftp://moi:secret@nas/pitr", "pas de mot de passe"),
        ("sftp://moi@nas/pitr", "--host-key SHA256"),
        ("s3://seau/x", "endpoint="),
        ("s3://seau/x?endpoint=a&taille=2", "inconnu dans s3://… : taille"),
    ):
        refused = await territoire("pitr", "configure", place, *own, **access)
        assert (refused.exit_code, words in refused.output) == (2, True), refused.output
    nothing = await territoire("pitr", "drill", *own)
    await configured(home, "/mnt/a")
    twice = await territoire("pitr", "configure", "/mnt/b", *own)
    before = PgBackRest.beside(home.postgres_data).configuration.read_text()
    await configured(home, "/mnt/b", "--force", "--keep", "7")
    after = PgBackRest.beside(home.postgres_data).configuration.read_text()

    assert nothing.exit_code == 3
    assert twice.exit_code == 2
    phrases = {next(line for line in text.splitlines() if "cipher-pass" in line) for text in (before, after)}
    assert len(phrases) == 1
    assert "repo1-retention-full=7\n" in after
    assert PgBackRest.beside(home.postgres_data).configuration.stat().st_mode & 0o077 == 0


def test_a_fingerprint_is_compared_in_hexadecimal() -> None:
    # ssh-keygen -lf: 43 signs of base 64, which are 32 octets; of 32 zeros all are A.
    assert hexadecimal("SHA256:" + "A" * 43) == "00" * 32
    for wrong in ("", "MD5:00", "SHA256:AAAA", "SHA256:***"):
        with pytest.raises(WrongPlace):
            hexadecimal(wrong)


async def test_an_instant_is_in_the_past_and_needs_its_repository(folder: Path) -> None:
    secrets = folder / "secrets.json"
    home = Home(folder / "source")
    with home.held():
        secrets.write_bytes(msgspec.json.encode(home.secrets()))
    (folder / "pgbackrest").mkdir()
    (folder / "pgbackrest/pgbackrest.conf").touch()
    command = ("restore", "--home", folder / "new", "--secrets", secrets)
    of_archive = ("--repository", folder / "pgbackrest", "--without-ledger")
    refused = [
        await territoire(*command, *more)
        for more in (
            (),
            (folder / "x.dump", "--to", "latest"),
            ("--to", "latest"),
            ("--to", "hier", *of_archive),
            ("--to", "2999-01-01 10:00", *of_archive),
            ("--to", "latest", *of_archive[:2]),
        )
    ]

    assert [one.exit_code for one in refused] == [2] * len(refused)
    words = ("ou --to", "ou --to", "--repository", "attendu un instant", "pas encore venu", "--ledger")
    for one, expected in zip(refused, words, strict=True):
        assert expected in one.output
    assert not (folder / "new").exists()
