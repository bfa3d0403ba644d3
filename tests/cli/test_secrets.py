"""`territoire secrets`: what is listed without a value, and what a renewal changes, and when."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from cli.installed import Installed
from core.runtime.postgres import InvalidPasswordError, connect
from services.supervisor.credentials import RENEWABLE, Secrets
from services.supervisor.home import Home
from services.supervisor.mosquitto import _connect_packet
from services.supervisor.stack import Stack
from services.supervisor.stack_options import SERVICES, StackOptions
from tests.cli.in_process import territoire

ALL_SERVICES = StackOptions(udp_port=0, api_port=0)
NO_SERVICES = StackOptions(udp_port=0, api_port=0, services=())
# As a program of before this command left it.
OLDER = {
    "postgres": "a" * 8,
    "nats": "b" * 8,
    "mqtt": {"bridge": "d" * 8},
    "kek": "11" * 32,
    "operator_key": "e" * 8,
}
IN_AUDIT = "SELECT entity_id FROM audit WHERE action = 'rotate' AND entity = 'secret' ORDER BY id"


@pytest.fixture
def older(tmp_path: Path) -> Home:
    (tmp_path / "secrets.json").write_text(json.dumps(OLDER), "utf-8")
    return Home(tmp_path)


def test_what_was_made_before_it_was_noted_is_not_known_and_listing_changes_nothing(older: Home) -> None:
    before = older.secrets_file.read_bytes()

    shown = territoire("secrets", "list", "--home", str(older.folder))
    told = json.loads(territoire("secrets", "list", "--json", "--home", str(older.folder)).stdout)

    assert older.secrets_file.read_bytes() == before
    assert [one["name"] for one in told] == [*RENEWABLE, "kek", "operator-key", "operator-password"]
    assert all(one["since"] is None and not one["pending"] for one in told)
    assert shown.stdout.count("inconnu") == len(told)
    assert "11" * 32 not in shown.stdout
    renewed_with = {one["name"]: one["renew_with"] for one in told}
    assert renewed_with["bus-network"] == "./territoire secrets renew bus-network"
    assert renewed_with["kek"].startswith("./territoire keys new")


def test_a_stopped_stack_is_renewed_for_its_next_start(older: Home) -> None:
    before = datetime.now(UTC)

    done = territoire("secrets", "renew", "mqtt-bridge", "bus-owner", "--home", str(older.folder))

    kept = older.read_secrets()
    assert done.returncode == 0
    assert "bus-owner, mqtt-bridge.\n" in done.stdout
    assert "prochain démarrage" in done.stdout
    assert "l'audit n'a pas cette ligne" in done.stdout
    assert kept.nats != OLDER["nats"]
    assert kept.mqtt["bridge"] != "d" * 8
    assert (kept.postgres, kept.kek) == (OLDER["postgres"], OLDER["kek"])
    assert before <= kept.since["bus-owner"] <= datetime.now(UTC)
    assert "database-owner" not in kept.since
    assert not {kept.nats, kept.mqtt["bridge"]} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "attendu des noms"),
        (("--all", "bus-api"), 2, "attendu des noms"),
        (("bus-netwrok",), 2, "est-ce bus-network ?"),
        (("database-gateway_bridge",), 2, "est-ce database-gateway-bridge ?"),
        (("bus-api", "xyzzy"), 2, "xyzzy n'est pas un secret d'ici (./territoire secrets list)"),
        (("kek",), 2, "./territoire keys new"),
        (("operator-key",), 2, "dans la console : Clés"),
    ],
)
def test_what_cannot_be_renewed_is_refused_and_changes_nothing(
    older: Home, arguments: tuple[str, ...], status: int, said: str
) -> None:
    before = older.secrets_file.read_bytes()

    refused = territoire("secrets", "renew", *arguments, "--home", str(older.folder))

    assert (refused.returncode, said in refused.stderr) == (status, True), refused.stderr
    assert older.secrets_file.read_bytes() == before


@pytest.mark.parametrize("command", [("list",), ("renew", "--all")])
def test_no_stack_a_home_of_another_account_and_a_file_that_is_none_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    nothing = territoire("secrets", *command, "--home", str(tmp_path))
    (tmp_path / "secrets.json").write_text("{", "utf-8")
    broken = territoire("secrets", *command, "--home", str(tmp_path))

    def closed(_home: Home) -> Secrets:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Home, "read_secrets", closed)
    of_another = territoire("secrets", *command, "--home", str(tmp_path))

    assert (nothing.returncode, broken.returncode, of_another.returncode) == (3, 2, 1)
    assert "aucune pile ici" in nothing.stderr
    assert "n'est pas le secrets.json d'une pile" in broken.stderr
    assert "seuls le compte de la pile et root" in of_another.stderr
    assert "sudo ./territoire" in of_another.stderr


def test_an_installed_server_is_found_and_its_backups_and_archive_are_listed(
    older: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Installed(older.folder, None, {"TERRITOIRE_BACKUP_RECIPIENTS": "age1x"})
    for module in ("cli.secrets", "cli.running", "cli.installed"):
        monkeypatch.setattr(f"{module}.installed", lambda: server, raising=False)
    (older.postgres_data.parent / "pgbackrest").mkdir(parents=True)
    (older.postgres_data.parent / "pgbackrest" / "pgbackrest.conf").touch()

    told = json.loads(territoire("secrets", "list", "--json").stdout)

    assert {"archive", "backups"} <= {one["name"] for one in told}


async def enters_bus(url: str, password: str) -> bool:
    """By the protocol itself: what the server answers to a ping after these credentials."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        await reader.readline()
        given = json.dumps({"verbose": False, "user": place.username, "pass": password})
        writer.write(f"CONNECT {given}\r\nPING\r\n".encode())
        return (await reader.readline()).startswith(b"PONG")
    finally:
        writer.close()


async def enters_broker(url: str, user: str, password: str) -> bool:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(_connect_packet("essai", user, password))
        return (await reader.readexactly(4))[3] == 0
    finally:
        writer.close()


async def enters_database(url: str, password: str) -> bool:
    place = urlsplit(url)
    try:
        connection = await connect(
            place._replace(netloc=place.netloc.replace(place.password or "", password)).geturl()
        )
    except InvalidPasswordError:
        return False
    await connection.close()
    return True


async def entered(stack: Stack, kept: Secrets) -> Mapping[str, bool]:
    """Who is let in by these credentials, by the names that `secrets list` has."""
    found: dict[str, bool] = {}
    addresses = {service: stack.environment(service, f"{service}-1") for service in SERVICES}
    run = stack.run
    found["database-owner"] = await enters_database(run.database_admin_url, kept.postgres)
    found["bus-owner"] = await enters_bus(run.nats_url, kept.nats)
    for service, told in addresses.items():
        name = service.replace("_", "-")
        database, bus = told["TERRITOIRE_DATABASE_URL"], told["TERRITOIRE_NATS_URL"]
        found[f"database-{name}"] = await enters_database(database, kept.database[service])
        found[f"bus-{name}"] = await enters_bus(bus, kept.bus[service])
    for account in ("bridge", "accounts"):
        found[f"mqtt-{account}"] = await enters_broker(run.mqtt_url, account, kept.mqtt[account])
    return found


def passwords_of(kept: Secrets) -> set[str]:
    return {kept.postgres, kept.nats, kept.kek, *kept.database.values(), *kept.bus.values(), *kept.mqtt.values()}


async def test_all_are_renewed_while_everything_runs_and_taken_at_the_restart(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(server_folder / "renewed")

    async def secrets(*arguments: str) -> str:
        done = await asyncio.to_thread(territoire, "secrets", *arguments, "--home", str(home.folder))
        assert done.returncode == 0, done.stderr
        return done.stdout

    with home.held():
        stack = Stack(home, ALL_SERVICES)
        run = await stack.start()
        former = home.read_secrets()
        connection = await connect(run.database_admin_url)
        await connection.execute("INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest')")
        with monkeypatch.context() as full:
            full.setattr(Home, "_write_private", lambda *_: (_ for _ in ()).throw(OSError(28, "no room")))
            refused = await asyncio.to_thread(territoire, "secrets", "renew", "--all", "--home", str(home.folder))
        assert refused.returncode == 1
        assert "rien n'est changé" in refused.stderr
        assert await connection.fetch(IN_AUDIT) == []

        said = await secrets("renew", "--all")

        renewed = home.read_secrets()
        assert await connection.fetch(IN_AUDIT) == [(name,) for name in RENEWABLE]
        await connection.close()
        assert passwords_of(former) & passwords_of(renewed) == {former.kek}
        # What runs goes on with what it has, until it is started again.
        assert all((await stack.supervisor.all_ready()).values())
        assert set((await entered(stack, former)).values()) == {True}
        pending = {one["name"] for one in json.loads(await secrets("list", "--json")) if one["pending"]}
        assert pending == set(RENEWABLE)
        await stack.stop()

        stack = Stack(home, ALL_SERVICES)
        run = await stack.start()  # Returns when every service is ready.
        assert await entered(stack, former) == dict.fromkeys(RENEWABLE, False)
        assert await entered(stack, renewed) == dict.fromkeys(RENEWABLE, True)
        connection = await connect(run.database_admin_url)
        assert await connection.fetchval("SELECT count(*) FROM tenant WHERE slug = 'brest'") == 1
        await connection.close()
        listed = await secrets("list")
        assert "prochain démarrage" not in listed
        shown = said + listed + refused.stderr + command_lines(run.services) + logs_of(home)
        await stack.stop()
    assert not [value for value in passwords_of(former) | passwords_of(renewed) if value in shown]


def command_lines(services: object) -> str:
    pids = [one.pid for one in services if one.pid is not None]  # type: ignore[attr-defined]
    return "\n".join(Path(f"/proc/{pid}/cmdline").read_text("utf-8") for pid in pids)


def logs_of(home: Home) -> str:
    return "\n".join(file.read_text("utf-8", "replace") for file in home.logs.iterdir())


def start(folder: Path) -> None:
    home = Home(folder)
    with home.held():
        asyncio.run(Stack(home, NO_SERVICES).start())
        time.sleep(60)


@pytest.mark.starts_processes
async def test_a_start_that_is_killed_at_any_moment_is_made_good_by_the_next(server_folder: Path) -> None:
    home = Home(server_folder / "killed")
    with home.held():
        stack = Stack(home, NO_SERVICES)
        await stack.start()
        await stack.stop()
    for after_s in (0.3, 0.9, 1.8):
        done = await asyncio.to_thread(territoire, "secrets", "renew", "--all", "--home", str(home.folder))
        assert done.returncode == 0, done.stderr
        starting = get_context("fork").Process(target=start, args=(home.folder,))
        starting.start()
        await asyncio.sleep(after_s)
        assert starting.pid is not None
        os.kill(starting.pid, signal.SIGKILL)
        await asyncio.to_thread(starting.join)

    with home.held():
        stack = Stack(home, NO_SERVICES)
        run = await stack.start()
        kept = msgspec.json.decode(home.secrets_file.read_bytes(), type=Secrets)
        assert await enters_database(run.database_admin_url, kept.postgres)
        assert await enters_bus(run.nats_url, kept.nats)
        assert await enters_broker(run.mqtt_url, "bridge", kept.mqtt["bridge"])
        connection = await connect(run.database_admin_url)
        assert await connection.fetchval("SELECT count(*) FROM tenant") == 1
        await connection.close()
        await stack.stop()
