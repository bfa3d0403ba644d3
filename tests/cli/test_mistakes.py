"""What the operator's commands say where an argument, a setting, a server or a disk is not as it should be.

In French, in a line or two, with a status that is not zero, and never by a stack trace.
"""

import gc
import json
import os
import re
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import typer

from cli import machine
from cli.api_client import open_api
from cli.doctor import examine
from cli.findings import Finding, Severity
from cli.install import write_files
from cli.installed import installed
from tests.cli.in_process import Ran, territoire
from tests.conftest import Administrator, Cluster, Database

# Of Python, of libraries and of the system, as they stand in their source.
ENGLISH = re.compile(
    r"Errno|No such file|Connect call|invalid DSN|Traceback|not found|could not|Object missing|Error\b"
)
# A folder of the kernel's, in which nobody makes a file, root neither.
TAKES_NOTHING = "/sys"
NOTHING_LISTENS = "rien n'écoute à cette adresse"
AWAY = {"TERRITOIRE_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/x", "TERRITOIRE_NATS_URL": "nats://127.0.0.1:1"}
NO_ADDRESS = {"TERRITOIRE_DATABASE_URL": "la base de la mairie", "TERRITOIRE_NATS_URL": "nats://127.0.0.1:1"}
EMPTY = {"TERRITOIRE_DATABASE_URL": "", "TERRITOIRE_NATS_URL": ""}
NO_DATABASE = "réglage faux : TERRITOIRE_DATABASE_URL"
UPLOAD = ("backup", "x.dump", "--plain", "--database-url")
SECRETS = {"postgres": "a", "nats": "b", "mqtt": {}, "kek": "11" * 32, "operator_key": "c"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with files that are none of ours, and no stack on this machine."""
    monkeypatch.chdir(tmp_path)
    for module in ("cli.running", "cli.place"):
        monkeypatch.setattr(f"{module}.usual_homes", lambda: [tmp_path / "pile"])
    (tmp_path / "faux.json").write_text('{"a": 1}', "utf-8")
    (tmp_path / "secrets.json").write_text(json.dumps(SECRETS), "utf-8")
    (tmp_path / "x.dump").touch()
    (tmp_path / "x.dump.json").write_text("{}", "utf-8")
    (tmp_path / "vide").mkdir()


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "said"),
    [
        (("status",), NO_ADDRESS, 1, "TERRITOIRE_DATABASE_URL n'est pas une adresse"),
        (("status",), EMPTY, 1, "TERRITOIRE_NATS_URL n'est pas une adresse"),
        (("status",), AWAY, 1, NOTHING_LISTENS),
        (("doctor",), EMPTY, 2, NO_DATABASE),
        (("doctor", "--certificate", "/nulle.pem"), {}, 2, "'/nulle.pem' n'existe pas"),
        (("migrate", "--check"), NO_ADDRESS, 2, NO_DATABASE),
        (("migrate", "--check"), EMPTY, 2, NO_DATABASE),
        (("migrate", "--check"), AWAY, 1, NOTHING_LISTENS),
        (("migrate",), AWAY, 1, NOTHING_LISTENS),
        (("reshard", "16"), NO_ADDRESS, 2, NO_DATABASE),
        (("reshard", "16"), AWAY, 1, NOTHING_LISTENS),
        (("reshard", "16"), {"TERRITOIRE_DATABASE_URL": AWAY["TERRITOIRE_DATABASE_URL"]}, 2, "NATS_URL manque"),
        (("pitr", "drill", "--cluster", "x"), {}, 2, "TERRITOIRE_DATABASE_URL manque"),
        (("pitr", "drill", "--cluster", "x"), EMPTY, 2, NO_DATABASE),
        (("pitr", "drill", "--cluster", "x"), AWAY, 1, NOTHING_LISTENS),
        (("pitr", "configure", "sftp://a@b:xx/d", "--home", "vide"), {}, 2, "le port n'est pas un nombre"),
        (("pitr", "configure", "sftp://u@h:0/x", "--home", "vide"), {}, 2, "le port n'est pas un nombre"),
        (("pitr", "configure", "sftp://[::1/x", "--home", "vide"), {}, 2, "les crochets d'une adresse IPv6"),
        (("pitr", "configure", "sftp://u@h/x", "--host-key", "SHA256:é", "--home", "vide"), {}, 2,
         "--host-key SHA256:… : l'empreinte"),
        (("pitr", "configure", "/a", "--keep", "99999999", "--home", "vide"), {}, 2, "au plus 36500"),
        (("pitr", "configure", "/a", "--home", TAKES_NOTHING), {}, 1, f"{TAKES_NOTHING}/postgres : "),
        (("pitr", "configure", "s3://a/b?endpoint=c", "--ca", "d.pem", "--s3-key", "e", "--s3-secret", "f",
          "--home", "vide"), {}, 2, "d.pem : n'existe pas"),
        ((*UPLOAD, AWAY["TERRITOIRE_DATABASE_URL"], "--force"), {}, 1, NOTHING_LISTENS),
        ((*UPLOAD, "la base de la mairie", "--force"), {}, 2, "--database-url : attendu postgresql://"),
        (("restore", "x.dump", "--home", "h", "--secrets", "nuls.json"), {}, 2, "nuls.json : n'existe pas"),
        (("restore", "x.dump", "--home", "h", "--secrets", "faux.json"), {}, 2, "faux.json n'est pas le secrets"),
        (("restore", "nulle.dump", "--home", "h", "--secrets", "secrets.json"), {}, 2, "nulle.dump : n'existe"),
        (("restore", "x.dump", "--home", "h", "--secrets", "secrets.json"), {}, 2, "x.dump.json n'est pas ce que"),
        (("up", "--home", f"{TAKES_NOTHING}/pile", "--udp-port", "0"), {}, 1, f"{TAKES_NOTHING}/pile : "),
        (("images", "--overlay", "/nulle"), {}, 2, "/nulle n'est pas un dossier"),
        (("alarm", "--test"), {"TERRITOIRE_ALARM_URL": ""}, 2, "personne à prévenir"),
        (("alarm", "--test"), {"TERRITOIRE_ALARM_URL": "chat"}, 2, "réglage faux : TERRITOIRE_ALARM_URL"),
        (("alarm", "--test"), {"TERRITOIRE_ALARM_URL": "http://127.0.0.1:1/"}, 1, NOTHING_LISTENS),
        (("alarm", "--test"),
         {"TERRITOIRE_ALARM_MAIL": "a@b.fr", "TERRITOIRE_SMTP_URL": "smtp://127.0.0.1:1"}, 1, NOTHING_LISTENS),
    ],
)  # fmt: skip
def test_a_mistake_is_named_in_french(
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    status: int,
    said: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")

    ran = territoire(*arguments, **environment)

    shown = ran.stdout + ran.stderr
    assert said in shown
    assert ran.returncode == status
    assert ENGLISH.findall(shown) == []


LONG = "x" * 300


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("release", "--to", "faux.json"), "faux.json : n'est pas un dossier"),
        (("backup", LONG, "--plain"), "ce nom est trop long"),
        (("person", "ledger", "vide"), "vide : c'est un dossier"),
        (("person", "ledger", f"{TAKES_NOTHING}/x.jsonl"), f"{TAKES_NOTHING}/x.jsonl : "),
        (("person", "ledger", LONG), "ce nom est trop long"),
    ],
)
def test_a_file_that_the_system_refuses_is_named(
    database: Database, arguments: tuple[str, ...], said: str
) -> None:
    url = database.admin_url
    environment = {
        "TERRITOIRE_BACKUP_DATABASE_URL": url,
        "TERRITOIRE_DATABASE_URL": url,
        "TERRITOIRE_KEK": "11" * 32,
    }

    ran = territoire(*arguments, **environment)

    assert (ran.returncode, ENGLISH.findall(ran.stderr)) == (1, [])
    assert said in ran.stderr


@pytest.mark.parametrize(
    "instant", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00", "0001-01-01", "9999-12-31"]
)
def test_an_instant_at_the_ends_of_time_is_named(tmp_path: Path, instant: str) -> None:
    (tmp_path / "pgbackrest").mkdir()
    (tmp_path / "pgbackrest" / "pgbackrest.conf").touch()
    options = ("--home", "h", "--secrets", "secrets.json", "--repository", "pgbackrest", "--without-ledger")

    ran = territoire("restore", "--to", instant, *options)

    assert ran.returncode != 0
    assert ENGLISH.findall(ran.stderr) == []
    if "T" in instant:
        assert f"--to {instant} : attendu un instant" in ran.stderr
        assert ran.returncode == 2


@pytest.mark.parametrize("suffix", ["", ".part", ".json"])
def test_what_is_no_file_is_not_replaced(database: Database, tmp_path: Path, suffix: str) -> None:
    pipe = tmp_path / f"y.dump{suffix}"
    os.mkfifo(pipe)

    ran = territoire("backup", "y.dump", "--plain", "--force", "--database-url", database.admin_url)

    assert ran.returncode == 2
    assert f"y.dump{suffix} n'est pas un fichier ordinaire" in ran.stderr
    assert pipe.is_fifo()


@pytest.mark.parametrize("suffix", ["", ".part"])
def test_what_is_no_file_is_not_replaced_by_what_the_api_answers(tmp_path: Path, suffix: str) -> None:
    pipe, file = tmp_path / f"mesures.csv{suffix}", tmp_path / "mesures.csv"
    os.mkfifo(pipe)

    with open_api("terr_a_b", "http://127.0.0.1:1", None) as api:
        with pytest.raises(typer.Exit):
            api.download("/v1/x", file)
        with pytest.raises(typer.Exit):
            api.download_in_ranges("/v1/x", file, 1, lambda _: None)

    assert pipe.is_fifo()


def test_a_path_in_a_command_that_is_told_is_quoted_as_a_shell_needs_it(tmp_path: Path) -> None:
    home = tmp_path / "pile de l'été"
    home.mkdir()

    ran = territoire("pitr", "configure", "/depot", "--home", str(home))

    assert ran.returncode == 0, ran.stderr
    told = next(line for line in ran.stdout.splitlines() if "pitr backup" in line)
    assert shlex.split(told) == ["./territoire", "pitr", "backup", "--home", str(home)]


def test_a_backup_says_which_folder_takes_nothing(database) -> None:
    ran = territoire("backup", f"{TAKES_NOTHING}/x.dump", "--plain", "--database-url", database.admin_url)

    assert (ran.returncode, ENGLISH.findall(ran.stderr)) == (1, [])
    assert f"{TAKES_NOTHING}/x.dump.part : " in ran.stderr


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("command", "changed"),
    [(("reshard", "16"), "rien n'est changé"), (("migrate",), "la base est à jour")],
)
def test_a_bus_that_is_away_is_not_waited_for_for_ever(
    database, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], changed: str
) -> None:
    for module in ("cli.reshard", "services.migrate.__main__"):
        monkeypatch.setattr(f"{module}.BUS_WITHIN_S", 1.0)
    addresses = {"TERRITOIRE_DATABASE_URL": database.admin_url, "TERRITOIRE_NATS_URL": "nats://127.0.0.1:1"}

    ran = territoire(*command, **addresses)

    assert (ran.returncode, ENGLISH.findall(ran.stderr)) == (1, [])
    assert f"{changed} : le bus ne répond pas (127.0.0.1:1) : {NOTHING_LISTENS}" in ran.stderr


async def test_a_server_whose_alarm_reaches_nobody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "serveur"
    names = ("CHECKOUT", "PYTHON", "USER", "BACKUPS", "KEPT")
    write_files(tmp_path, {**dict.fromkeys(names, "/x"), "HOME": str(home)})
    monkeypatch.setattr("cli.place.installed", lambda: installed(tmp_path))
    monkeypatch.setattr(machine, "examine_ports", lambda _: [])
    said: list[list[Finding]] = []
    for line in ("", "TERRITOIRE_ALARM_URL=chat", "TERRITOIRE_ALARM_URL=https://chat.mairie.fr/hooks/1"):
        with (tmp_path / "etc/territoire/territoire.env").open("a", encoding="utf-8") as settings:
            settings.write(f"{line}\n")
        said.append([one for one in await examine(home, [], None) if one.subject == "astreinte"])

    assert [[one.severity for one in found] for found in said] == [[Severity.WARNING], [Severity.CRITICAL], []]
    assert "alarm --test" in said[0][0].remedy


@pytest.mark.parametrize(("shards", "status"), [("16", 1), ("4", 0), ("5", 2)])
def test_a_check_says_that_the_number_of_parts_is_another(
    database: Database, nats_url: str, shards: str, status: int
) -> None:
    environment = {"TERRITOIRE_DATABASE_URL": database.admin_url, "TERRITOIRE_NATS_URL": nats_url}
    ran = [territoire("migrate", *of, **environment, TERRITOIRE_SHARDS=shards) for of in (("--check",), ())]

    assert [one.returncode for one in ran] == [status, status], ran
    if status == 1:
        assert "Refusé : TERRITOIRE_SHARDS vaut 16, et la base est divisée en 4 parts" in ran[0].stdout
    if status == 2:
        assert "TERRITOIRE_SHARDS" in ran[0].stderr


@pytest.fixture
def plain_login(cluster: Cluster, administrator: Administrator) -> Iterator[str]:
    """An account that may enter, and nothing else."""
    name, password = f"quidam_{secrets.token_hex(4)}", secrets.token_hex(8)
    administrator.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    yield f"{name}:{password}@"
    administrator.execute(f"DROP ROLE {name}")


@pytest.mark.timeout(60)
def test_a_bus_that_says_nothing_is_not_waited_for_for_ever(
    database: Database, hanging_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.reshard.BUS_WITHIN_S", 1.0)
    bus = f"nats://127.0.0.1:{hanging_port}"

    ran = territoire("reshard", "16", TERRITOIRE_DATABASE_URL=database.admin_url, TERRITOIRE_NATS_URL=bus)

    assert ran.returncode == 1
    assert ran.stderr.endswith(f"le bus ne répond pas (127.0.0.1:{hanging_port}) : pas de réponse\n")


OF_THE_DATABASE = [
    ("migrate", "--check"),
    ("migrate",),
    ("backup", "y.dump", "--plain"),
    ("keys", "check"),
    ("keys", "rotate"),
    ("keys", "allow-export", "terr_x"),
    ("audit", "verify"),
    ("person", "ledger", "effacements.jsonl"),
    ("person", "again", "vide.jsonl"),
    ("bi", "list"),
    ("reshard", "16"),
]


def run_on(command: tuple[str, ...], database: str, bus: str) -> Ran:
    """With the address of this database, by the option where there is one."""
    Path("vide.jsonl").touch()
    option = ("--database-url", database) if command[0] in {"backup", "bi"} else ()
    environment = {"TERRITOIRE_DATABASE_URL": database, "TERRITOIRE_NATS_URL": bus, "TERRITOIRE_KEK": "11" * 32}
    return territoire(*command, *option, **environment)


@pytest.mark.parametrize("command", OF_THE_DATABASE, ids=" ".join)
def test_an_account_that_is_not_the_owner_s_is_told_so(
    database: Database,
    plain_login: str,
    nats_url: str,
    command: tuple[str, ...],
    capfd: pytest.CaptureFixture[str],
) -> None:
    owner = urlsplit(database.admin_url)
    url = urlunsplit(owner._replace(netloc=plain_login + owner.netloc.rpartition("@")[2]))

    ran = run_on(command, url, nats_url)
    gc.collect()  # What a loop has left open is shown then.

    assert (ran.returncode, ENGLISH.findall(ran.stderr)) == (1, [])
    assert "ce compte n'en a pas le droit ; donnez l'adresse du propriétaire du schéma" in ran.stderr
    assert "Event loop" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("command", [one for one in OF_THE_DATABASE if one[0] != "migrate"], ids=" ".join)
def test_a_database_that_is_none_of_ours_is_named_so(
    empty_database_url: str, nats_url: str, command: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run_on(command, empty_database_url, nats_url)
    gc.collect()

    assert (ran.returncode, ENGLISH.findall(ran.stderr)) == (1, [])
    assert "cette base n'a pas le schéma de ce programme" in ran.stderr
    assert "Event loop" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("command", OF_THE_DATABASE, ids=" ".join)
def test_a_database_that_is_away_is_named_so(command: tuple[str, ...]) -> None:
    ran = run_on(command, AWAY["TERRITOIRE_DATABASE_URL"], AWAY["TERRITOIRE_NATS_URL"])

    assert (ran.returncode, ENGLISH.findall(ran.stderr)) == (1, [])
    assert f"ne répond pas : {NOTHING_LISTENS}" in ran.stderr.replace(", relancez (", " : ").replace(
        "pas (", "pas : "
    )
