"""The machine of an installation, and its backups, as `doctor` finds them."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from typer.testing import CliRunner

from cli import machine
from cli.app import app
from cli.backup import Manifest
from cli.backup_examination import examine_backups
from cli.findings import Severity, worst
from cli.place import Place
from cli.up import read_start_options
from core.runtime.postgres import connect
from lab.certificates import Authority
from services.supervisor.home import Home
from tests.cli.memory_disks import memory_disk
from tests.cli.test_doctor import about
from tests.conftest import Database


def test_a_disk_that_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    severities: list[Severity] = []
    for free in (500, 150, 20):
        usage = SimpleNamespace(total=1000, free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        severities.append(machine.examine_disk(tmp_path / "not" / "yet").severity)

    assert severities == [Severity.GOOD, Severity.WARNING, Severity.CRITICAL]


@pytest.fixture
def disk_of_its_own(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Mounts one of 100 pages, so many of which are taken, on a folder of the home or beside it."""
    with ExitStack() as mounted:

        def mount(name: str, taken: int) -> Path:
            folder = mounted.enter_context(memory_disk(tmp_path / name, "size=400k"))
            (folder / "taken").write_bytes(b"x" * 4096 * taken)
            return folder

        yield mount


def test_every_disk_that_something_stands_on_is_looked_at_once(
    tmp_path: Path,
    disk_of_its_own: Callable[[str, int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.supervisor.home.may_enter", lambda *_: True)
    disk_of_its_own("home/postgres", 97)
    disk_of_its_own("home/nats", 10)
    backups = disk_of_its_own("backups", 85)
    arguments = ["doctor", "--home", str(tmp_path / "home"), "--backups", str(backups), "--json"]

    done = CliRunner().invoke(app, arguments)

    found = [one for one in msgspec.json.decode(done.stdout)["findings"] if one["subject"] == "disque"]
    assert [(one["names"], one["severity"], one["kind"]) for one in found[1:]] == [
        (["base de données"], 2, "disk.scarce"),
        (["bus"], 0, ""),
        (["sauvegardes"], 1, "disk.scarce"),
    ]
    assert found[0]["names"] == []


def test_a_home_on_one_disk_is_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "home" / "nats").mkdir(parents=True)

    found = machine.examine_machine(tmp_path / "home", tmp_path / "backups")

    assert [one.title for one in found if one.subject == "disque"] == ["disque"]


def test_a_udp_buffer_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rmem_max").write_text("212992\n", "ascii")
    monkeypatch.setattr(machine, "RMEM_MAX", tmp_path / "rmem_max")

    found = about(machine.examine_machine(None, None), "tampon UDP")

    assert found.severity is Severity.WARNING
    assert "sysctl -w net.core.rmem_max=4194304" in found.remedy


@pytest.mark.parametrize(("what", "port"), [("--station-port", 3001), ("--intake-port", 8081)])
def test_a_port_that_no_option_names_is_the_one_that_up_takes(what: str, port: int) -> None:
    with socket.socket() as taken, suppress(OSError):  # By somebody else on this machine, then.
        taken.bind(("127.0.0.1", port))
        taken.listen()
        found = machine.examine_ports(read_start_options("--udp-port 0 --api-port 0"))

    assert [one.what.startswith(f"port TCP {port}") for one in found if what in one.remedy] == [True]


def test_a_certificate_that_expires_tomorrow_and_one_that_is_none(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).sign("lns")

    assert machine.examine_certificate(certificate).severity is Severity.WARNING
    assert machine.examine_certificate(key).severity is Severity.CRITICAL


async def test_a_backup_that_is_old(tmp_path: Path) -> None:
    async def severity() -> Severity:
        return worst(await examine_backups(tmp_path, Place()))

    assert await severity() is Severity.CRITICAL
    for name, age in (("old", timedelta(days=9)), ("new", timedelta(hours=2))):
        (tmp_path / f"{name}.dump").touch()
        manifest = Manifest(1, "2", {}, made_at=datetime.now(UTC) - age, kek_ids=[], octets=0, sha256="")
        (tmp_path / f"{name}.dump.json").write_bytes(msgspec.json.encode(manifest))

    assert await severity() is Severity.GOOD
    (tmp_path / "new.dump").unlink()
    assert await severity() is Severity.CRITICAL


def test_a_server_whose_first_night_is_still_to_come_has_no_backup_yet(tmp_path: Path) -> None:
    home, backups = Home(tmp_path / "home"), tmp_path / "backups"
    home.folder.mkdir(mode=0o711)
    backups.mkdir()
    with home.held():  # As the first start does.
        pass

    def about_backups() -> tuple[int, str]:
        arguments = ["doctor", "--home", str(home.folder), "--backups", str(backups), "--json"]
        told = msgspec.json.decode(CliRunner().invoke(app, arguments).stdout)["findings"]
        [found] = [one for one in told if one["subject"] == "sauvegarde"]
        return found["severity"], found["what"].partition(" : ")[0]

    assert about_backups() == (0, "pas encore")
    for hours, expected in (
        (35, (0, "pas encore")),
        (37, (2, f"aucune dans {backups}")),
        (-2, (2, f"aucune dans {backups}")),
    ):
        first = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
        os.utime(home.folder / "lock", (first, first))
        assert about_backups() == expected


async def test_a_container_s_database_says_whether_its_first_night_is_still_to_come(
    database: Database, tmp_path: Path
) -> None:
    place = Place(database_url=database.admin_url)
    severities = [worst(await examine_backups(tmp_path, place))]
    admin = await connect(database.admin_url)
    await admin.execute(
        "UPDATE schema_migration SET applied_at = applied_at - interval '37 hours' WHERE number = 1"
    )
    await admin.close()
    severities.append(worst(await examine_backups(tmp_path, place)))

    assert severities == [Severity.GOOD, Severity.CRITICAL]
