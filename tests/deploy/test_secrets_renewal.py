"""`secrets.sh renew` and what compose's servers make of it: real servers stand where the containers would."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from core.messages.permissions import OWNER, USERS
from core.runtime.postgres import InvalidPasswordError, connect
from services.supervisor.credentials import BUS_OWNER, DATABASE_OWNER, OF_BUS, OF_DATABASE, RENEWABLE
from services.supervisor.launch import Launch, program, system_path
from services.supervisor.mosquitto import ACCOUNTS, BRIDGE
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import PrivatePostgres, binaries, server_account
from tests.cli.test_secrets import enters_broker, enters_bus, enters_database
from tests.conftest import Database, run_apart, running
from tests.deploy.test_compose import CHECKOUT
from tests.deploy.test_compose_backup import STAND_IN

# As compose.yaml has them.
VARIABLES = {
    DATABASE_OWNER: "OWNER_PASSWORD",
    BUS_OWNER: "NATS_PASSWORD",
    "mqtt-bridge": "MQTT_PASSWORD",
    "mqtt-accounts": "MQTT_ACCOUNTS_PASSWORD",
    **{name: f"{service.upper()}_DATABASE" for service, name in OF_DATABASE.items()},
    **{name: f"{service.upper()}_BUS" for service, name in OF_BUS.items()},
}
# Programs that the script starts; before each of the first ones, which change files, it is killed once.
CHANGING = ("chmod", "chown", "mv", "openssl", "python3", "rm", "sync")
OTHERS = ("cut", "date", "grep", "sed", "tr")
NOTED = """\
#!/bin/sh
echo "$0 $*" >>{folder}/command-lines
"""
COUNTED = """\
echo >>{folder}/count
[ "$(wc -l <{folder}/count)" -lt "$LAST" ] || kill -9 0
"""
pytestmark = pytest.mark.starts_processes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(CHECKOUT / "deploy" / "secrets.sh", folder)
    assert secrets(folder, "territoire.example").returncode == 0
    return folder


@pytest.fixture
def deploy(made: Path, tmp_path: Path) -> Path:
    """A folder with everything made."""
    subprocess.run(["cp", "-a", made, tmp_path / "deploy"], check=True)
    return tmp_path / "deploy"


def secrets(deploy: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", deploy / "secrets.sh", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


def written(deploy: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (deploy / ".env").read_text("utf-8").splitlines())


def since(deploy: Path) -> dict[str, str]:
    return dict(line.split(" ") for line in (deploy / "secrets" / "since").read_text("utf-8").splitlines())


def test_all_that_is_renewable_on_one_server_is_here_under_the_same_names(deploy: Path) -> None:
    listed = secrets(deploy, "list")

    assert listed.returncode == 0
    assert [line.split(" ")[0] for line in listed.stdout.splitlines()] == [
        "secret", *RENEWABLE, "kek", "operator-key", "mqtt-certificate"
    ]  # fmt: skip
    assert since(deploy).keys() == {*RENEWABLE, "kek"}
    assert listed.stdout.count("inconnu") == 1  # The operator's key, which the console renews.
    assert not [value for value in written(deploy).values() if len(value) > 20 and value in listed.stdout]


@pytest.mark.parametrize(
    "name", ["database-owner", "bus-owner", "database-gateway-bridge", "bus-api", "mqtt-bridge"]
)
def test_what_is_renewed_is_that_and_nothing_else(deploy: Path, name: str) -> None:
    (deploy / ".env").write_text((deploy / ".env").read_text("utf-8") + "KEK_FORMER=a=b,c=d", "utf-8")
    (deploy / "secrets" / "since").write_text("kek 2026-01-01T00:00:00Z\n", "utf-8")
    os.chown(deploy / ".env", 12345, 12345)
    passwords = deploy / "secrets" / "broker" / "passwords"
    with passwords.open("a", encoding="utf-8") as of_before:
        of_before.write("0016c001ff10a236:$7$101$x$y\n")
    before, accounts = written(deploy), passwords.read_text("utf-8").splitlines()

    done = secrets(deploy, "renew", name)

    after = written(deploy)
    assert done.returncode == 0, done.stderr
    assert {key for key in after if after[key] != before[key]} == {VARIABLES[name]}
    assert list(after) == list(before)
    assert len(bytes.fromhex(after[VARIABLES[name]])) == 24
    changed = [
        a.split(":")[0] for a, b in zip(accounts, passwords.read_text().splitlines(), strict=True) if a != b
    ]
    assert changed == (["bridge"] if name == "mqtt-bridge" else [])
    assert since(deploy).keys() == {"kek", name}
    status, of_broker = (deploy / ".env").stat(), passwords.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (12345, 0o600)
    assert (of_broker.st_uid, stat.S_IMODE(of_broker.st_mode)) == (1883, 0o600)
    assert "docker compose up -d" in done.stdout
    assert ("kill -s HUP mosquitto" in done.stdout) == (name == "mqtt-bridge")
    assert after[VARIABLES[name]] not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("renew",), 2, "attendu des secrets"),
        (("renew", "bus-netwrok"), 2, "est-ce bus-network ?"),
        (("renew", "bus-api", "--all"), 2, "--all n'est pas un secret d'ici"),
        (("renew", "kek"), 2, "« Les clés de chiffrement »"),
        (("renew", "operator-key"), 2, "dans la console"),
        (("renew", "mqtt-certificate"), 2, "« Renouveler un secret »"),
    ],
)
def test_what_cannot_be_renewed_is_refused_and_changes_nothing(
    deploy: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    before = (deploy / ".env").read_bytes()

    refused = secrets(deploy, *arguments)

    assert (refused.returncode, said in refused.stderr) == (status, True), refused.stderr
    assert (deploy / ".env").read_bytes() == before


@pytest.mark.parametrize("command", ["list", "renew"])
def test_a_folder_without_secrets_is_told_so_and_help_needs_none(tmp_path: Path, command: str) -> None:
    shutil.copy(CHECKOUT / "deploy" / "secrets.sh", tmp_path)

    nothing, helped = secrets(tmp_path, command, "--all"), secrets(tmp_path, "--help")

    assert (nothing.returncode, helped.returncode) == (3, 0)
    assert "aucun secret ici" in nothing.stderr
    assert "renew --all" in helped.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["secrets.sh"]


async def test_the_audit_has_a_line_for_each_where_the_database_runs(
    deploy: Path, database: Database, tmp_path: Path
) -> None:
    url = urlsplit(database.admin_url)
    (tmp_path / "docker").write_text(STAND_IN, "utf-8")
    (tmp_path / "docker").chmod(0o755)
    container = {
        "PATH": f"{tmp_path}:{binaries()}:{os.environ['PATH']}",
        "POSTGRES_USER": str(url.username),
        "POSTGRES_DB": url.path[1:],
        "PGHOST": str(url.hostname),
        "PGPORT": str(url.port),
        "PGPASSWORD": str(url.password),
    }

    done = await asyncio.to_thread(secrets, deploy, "renew", "bus-api", "database-api", **container)
    away = await asyncio.to_thread(secrets, deploy, "renew", "bus-api", **{**container, "PGPORT": "1"})

    connection = await connect(database.admin_url)
    lines = await connection.fetch(
        "SELECT tenant_id, actor, entity_id FROM audit WHERE entity = 'secret' ORDER BY id"
    )
    await connection.close()
    assert (done.returncode, away.returncode) == (0, 0)
    assert lines == [(None, "root (serveur)", "bus-api"), (None, "root (serveur)", "database-api")]
    assert "l'audit" not in done.stdout
    assert "l'audit n'a pas cette ligne" in away.stdout


def digest_of(deploy: Path, account: str) -> str:
    lines = (deploy / "secrets" / "broker" / "passwords").read_text("utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{account}:"))


@pytest.mark.timeout(400)
def test_a_renewal_that_is_killed_is_whole_or_none_after_the_next_run(deploy: Path, tmp_path: Path) -> None:
    stand_ins = tmp_path / "stand-ins"
    stand_ins.mkdir()
    for name in (*CHANGING, *OTHERS):
        text = NOTED + (COUNTED if name in CHANGING else "") + f'exec {shutil.which(name)} "$@"\n'
        (stand_ins / name).write_text(text.format(folder=stand_ins), "utf-8")
        (stand_ins / name).chmod(0o755)
    path, outcomes, last = f"{stand_ins}:{os.environ['PATH']}", set[str](), 0
    values = set(written(deploy).values())
    while True:
        last += 1
        (stand_ins / "count").write_text("", "utf-8")
        before, account = written(deploy), digest_of(deploy, BRIDGE)
        done = secrets(deploy, "renew", "mqtt-bridge", "bus-owner", PATH=path, LAST=str(last))
        values |= set(written(deploy).values())
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        # As it was left, compose can start from it.
        assert written(deploy).keys() == before.keys()
        again = secrets(deploy)
        assert again.returncode == 0, again.stderr
        after = written(deploy)
        values |= set(after.values())
        changed = {key for key in after if after[key] != before[key]}
        assert changed in (set(), {"MQTT_PASSWORD", "NATS_PASSWORD"})
        assert bool(changed) == (digest_of(deploy, BRIDGE) != account)
        outcomes.add("renewed" if changed else "as before")
        left = {file.name for file in (*deploy.iterdir(), *(deploy / "secrets").iterdir())}
        assert not [name for name in left if name.endswith((".part", ".next"))]
    assert outcomes == {"renewed", "as before"}
    assert last > 10
    command_lines = (stand_ins / "command-lines").read_text("utf-8")
    assert not [value for value in values if len(value) > 20 and value in command_lines]


def test_the_broker_takes_the_new_accounts_when_it_is_told_and_no_former(deploy: Path, tmp_path: Path) -> None:
    port, passwords = free_tcp_port(), deploy / "secrets" / "broker" / "passwords"
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n")
    launch = Launch((program("mosquitto", "mosquitto"), "-c", str(conf)))
    former, url = written(deploy), f"mqtt://127.0.0.1:{port}"

    async def enters(kept: Mapping[str, str]) -> list[bool]:
        of_each = {BRIDGE: kept["MQTT_PASSWORD"], ACCOUNTS: kept["MQTT_ACCOUNTS_PASSWORD"]}
        return [await enters_broker(url, user, password) for user, password in of_each.items()]

    async def answers() -> bool:
        try:
            return all(await enters(former))
        except OSError:
            return False

    with subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL)) as broker:
        try:
            assert run_apart(until(answers))
            assert secrets(deploy, "renew", "mqtt-bridge", "mqtt-accounts").returncode == 0
            renewed = written(deploy)
            assert run_apart(enters(former)) == [True, True]
            broker.send_signal(signal.SIGHUP)  # As `docker compose kill -s HUP mosquitto` does.
            assert run_apart(until(lambda: all_of(enters(renewed))))
            assert run_apart(enters(former)) == [False, False]
        finally:
            broker.terminate()


async def all_of(entering: Awaitable[list[bool]]) -> bool:
    return all(await entering)


async def until(holds: Callable[[], Awaitable[bool]]) -> bool:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 - Another process has no event.
            await asyncio.sleep(0.05)
    return True


def test_the_bus_lets_in_by_the_new_passwords_alone(deploy: Path, tmp_path: Path) -> None:
    port = free_tcp_port()
    users = os.path.relpath(CHECKOUT / "k8s" / "components" / "nats-users", tmp_path)
    conf = tmp_path / "nats.conf"
    conf.write_text(f'listen: "127.0.0.1:{port}"\ninclude "{users}/users.conf"\n')
    former = written(deploy)
    assert secrets(deploy, "renew", "--all").returncode == 0
    renewed = written(deploy)
    # In quotes, as compose hands them over.
    told = {name: f'"{value}"' for name, value in renewed.items() if name.endswith(("_BUS", "NATS_PASSWORD"))}
    launch = Launch((program("nats-server", "nats-server"), "-c", str(conf)), env={"PATH": system_path(), **told})
    variables = {OWNER: "NATS_PASSWORD"} | {user: f"{service.upper()}_BUS" for service, user in USERS.items()}

    async def entered(kept: Mapping[str, str]) -> set[bool]:
        urls = {f"nats://{user}:x@127.0.0.1:{port}": kept[name] for user, name in variables.items()}
        return {await enters_bus(url, password) for url, password in urls.items()}

    async def answers() -> bool:
        try:
            return await entered(renewed) == {True}
        except OSError:
            return False

    with running(launch, answers, tmp_path / "log"):
        assert run_apart(entered(former)) == {False}


@pytest.fixture
def container(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[PrivatePostgres]:
    """The database's volume as the image made it, with a table in it."""
    folder = server_folder / request.node.name[:30]
    folder.mkdir(mode=0o711)
    server = PrivatePostgres(folder / "data", free_tcp_port(), "0f" * 24, durable=False)
    server.prepare()
    shutil.copy(CHECKOUT / "deploy" / "database.sh", folder)
    (folder / "docker-entrypoint.sh").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "docker-entrypoint.sh").chmod(0o755)
    with running(started_as_compose_does(server), server.ready, folder / "log"):
        run_apart(asked(server, "CREATE TABLE kept AS SELECT 7 AS number"))
    yield server
    shutil.rmtree(folder)


def started_as_compose_does(server: PrivatePostgres) -> Launch:
    """By the script, in the environment of the container."""
    folder, launch = server.data.parent, server.launch()
    postgres = Path(launch.argv[0])
    environment = {
        "PATH": f"{folder}:{postgres.parent}:{system_path()}",
        "PGDATA": str(server.data),
        "POSTGRES_USER": "territoire_admin",
        "POSTGRES_DB": "postgres",
        "POSTGRES_PASSWORD": server.password,
    }
    argv = ("sh", str(folder / "database.sh"), "postgres", *launch.argv[1:])
    return replace(launch, argv=argv, env=environment, account=server_account())


async def asked(server: PrivatePostgres, statement: str) -> object:
    connection = await connect(server.url("postgres"))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("password", ["1e" * 24, "l'été \\ $HOME `id` %s"])
def test_the_database_starts_with_the_owner_s_password_of_now(container: PrivatePostgres, password: str) -> None:
    changed, log = replace(container, password=password), container.data.parent / "log"

    with running(started_as_compose_does(changed), changed.ready, log):
        assert run_apart(asked(changed, "SELECT number FROM kept")) == 7
        with pytest.raises(InvalidPasswordError):
            run_apart(asked(container, "SELECT 1"))
    assert password not in log.read_text("utf-8")


def test_a_database_whose_password_cannot_be_set_starts_all_the_same(container: PrivatePostgres) -> None:
    log, launch = container.data.parent / "log", started_as_compose_does(replace(container, password="x"))
    nobody = {**launch.env, "POSTGRES_USER": "somebody-else"}

    with running(replace(launch, env=nobody), container.ready, log):
        assert run_apart(enters_database(container.url("postgres"), container.password))
    assert "the owner's password is not set" in log.read_text("utf-8")
