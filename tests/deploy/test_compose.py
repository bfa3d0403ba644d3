"""The compose file and the secrets that its script makes belong together, and its servers start."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.messages.permissions import OWNER, USERS
from core.runtime.lifetime import DRAIN_DEADLINE_S, UNWIND_S
from core.runtime.mqtt import MqttSession, MqttSettings
from core.runtime.settings import SETTING_NAMES
from integrations.mqtt_accounts.broker import Account
from integrations.mqtt_accounts.dynamic_security import ANSWERS, DynamicSecurity
from integrations.mqtt_accounts.wanted import Permissions
from services.supervisor.launch import Launch, program
from services.supervisor.mosquitto import PLUGIN, password_line, plugin
from services.supervisor.ports import free_tcp_port
from services.supervisor.stack_options import SERVICES
from tests.k8s.test_rules import PREFIX, known_settings, settings_of

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text("utf-8"))
OPERATOR: dict[str, Any] = COMPOSE["services"]["operator"]
PROCESSES = {
    name: service
    for name, service in COMPOSE["services"].items()
    if service["image"].startswith("territoire:") and service is not OPERATOR
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What secrets.sh leaves, in a folder of its own."""
    folder = tmp_path_factory.mktemp("deploy")
    shutil.copy(CHECKOUT / "deploy" / "secrets.sh", folder)
    subprocess.run(["sh", folder / "secrets.sh", "territoire.example"], check=True, capture_output=True)
    return folder


def test_every_process_is_there_with_all_its_settings_and_no_other() -> None:
    assert {service["command"][0] for service in PROCESSES.values()} == {
        f"services.{name}" for name in (*SERVICES, "migrate")
    }
    known = known_settings()
    for name, service in PROCESSES.items():
        told = set(service["environment"])
        fields = settings_of(service["command"][0]).model_fields
        assert {PREFIX + field.upper() for field, info in fields.items() if info.is_required()} <= told, name
        assert told <= known, name


def test_every_variable_is_made_by_the_script_or_has_a_default(made: Path) -> None:
    text = (CHECKOUT / "deploy" / "compose.yaml").read_text("utf-8")
    wanted = dict(re.findall(r"\$\{([A-Z_]+)(:-|:\?)", text))
    written = dict(line.split("=", 1) for line in (made / ".env").read_text("utf-8").splitlines())

    assert {name for name, how in wanted.items() if how == ":?"} <= written.keys()
    assert set(written) <= set(wanted)
    assert all(written.values())
    assert len(bytes.fromhex(written["KEK"])) == 32


def test_the_bus_has_a_login_for_each_process_and_reads_any_password_as_text() -> None:
    told = COMPOSE["services"]["nats"]["environment"]
    wanted = {"NATS_PASSWORD": "migrate"} | {f"{service.upper()}_BUS": service for service in USERS}
    assert told.keys() == {"POD_NAME", *wanted}
    addresses = {
        service["command"][0].removeprefix("services."): service["environment"]["TERRITOIRE_NATS_URL"]
        for service in PROCESSES.values()
    }
    for variable, process in wanted.items():
        assert re.fullmatch(rf'"\$\{{{variable}:\?[^}}]*\}}"', told[variable])
        login = OWNER if process == "migrate" else USERS[process]
        assert addresses[process].startswith(f"nats://{login}:${{{variable}:?")


def test_containers_are_bound_and_their_images_pinned() -> None:
    for name, service in COMPOSE["services"].items():
        assert re.search(r":\d", service["image"]), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "user" in service or name == "nats", name
        assert service["logging"]["options"]["max-size"], name


def test_only_services_that_need_it_reach_the_outside_network() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in COMPOSE["services"].items() if "outside" in service["networks"]}
    # Gateways, stations, other networks, webhooks and mail, people; what an alarm sends.
    assert outside == {"mosquitto", "gateway-bridge", "intake", "alerting", "api", "operator"}
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published.keys() <= outside
    for name in ("api", "intake"):
        assert all(port.startswith("127.0.0.1:") for port in published[name])
    assert {"1700:1700/udp", "127.0.0.1:3001:3001", "127.0.0.1:3002:3002"} == set(published["gateway-bridge"])
    assert published["mosquitto"] == ["8883:8883"]


def test_everything_is_asked_how_it_is_and_starts_after_what_it_needs() -> None:
    for name, service in COMPOSE["services"].items():
        ends = name in {"migrate", "operator"}
        assert (service["healthcheck"] == {"disable": True}) == ends, name
        assert service["restart"] == ("no" if ends else "unless-stopped"), name
        for needed, how in service.get("depends_on", {}).items():
            is_awaited = how["condition"] == "service_completed_successfully"
            assert is_awaited == (needed == "migrate") == (name in PROCESSES and name != "migrate"), name
    for name, service in PROCESSES.items():
        if name != "migrate":
            assert (
                f":{service['environment']['TERRITOIRE_HEALTH_PORT']}/readyz" in service["healthcheck"]["test"][-1]
                or name == "api"
            )
            assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_DEADLINE_S + UNWIND_S
            assert service["env_file"] == [{"path": "territoire.env", "required": False}]


def test_what_an_operator_runs_starts_by_nothing_else_and_is_told_what_its_commands_read(made: Path) -> None:
    assert OPERATOR["profiles"] == ["operator"]
    assert OPERATOR["depends_on"] == {}
    told = OPERATOR["environment"]
    assert told.keys() <= SETTING_NAMES
    # As the services are told it: what it opens and what it restores is what they open.
    for name in ("TERRITOIRE_KEK", "TERRITOIRE_KEK_ID", "TERRITOIRE_KEK_FORMER"):
        assert told[name] == COMPOSE["services"]["network"]["environment"][name]
    owner = COMPOSE["services"]["migrate"]["environment"]["TERRITOIRE_DATABASE_URL"]
    for name in ("DATABASE_URL", "BACKUP_DATABASE_URL", "RESTORE_DATABASE_URL"):
        assert told[f"TERRITOIRE_{name}"] == owner


def test_data_outlive_their_containers_and_what_is_mounted_is_there(made: Path) -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            if source in COMPOSE["volumes"]:
                assert target in {"/var/lib/postgresql/data", "/data", "/mosquitto/data", "/var/lib/territoire"}
            elif source.startswith("./secrets"):
                assert (made / source).exists(), source
                assert volume.endswith(":ro")
            else:
                assert (CHECKOUT / "deploy" / source).resolve().is_file(), source
                assert volume.endswith(":ro")
    assert {volume.split(":")[0] for service in COMPOSE["services"].values()
            for volume in service.get("volumes", [])} >= set(COMPOSE["volumes"])  # fmt: skip


def test_each_server_may_read_what_it_is_given_and_nobody_else(made: Path) -> None:
    """The account that starts the containers is root: only root can hand a file to another account."""
    for name in ("passwords", "tls.crt", "tls.key"):
        status = (made / "secrets" / "broker" / name).stat()
        assert f"{status.st_uid}:{status.st_gid}" == COMPOSE["services"]["mosquitto"]["user"]
        assert status.st_mode & 0o077 == 0
    authority = (made / "secrets" / "ca.crt").stat()
    assert f"{authority.st_uid}:{authority.st_gid}" == COMPOSE["services"]["gateway-bridge"]["user"]
    assert (made / "secrets" / "ca.key").stat().st_uid == 0


def test_a_second_run_of_secrets_sh_changes_no_file(made: Path) -> None:
    files = [made / ".env", *sorted(file for file in (made / "secrets").rglob("*") if file.is_file())]
    before = [file.read_bytes() for file in files]

    subprocess.run(["sh", made / "secrets.sh"], check=True, capture_output=True)

    assert [file.read_bytes() for file in files] == before
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


@pytest.fixture
def broker(made: Path, tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """mosquitto with the very configuration that compose and Kubernetes mount, elsewhere."""
    port = free_tcp_port()
    folder = CHECKOUT / "k8s" / "components" / "mosquitto"
    configuration = (folder / "mosquitto.conf").read_text("utf-8")
    for mounted, here in (
        ("listener 8883", f"listener {port} 127.0.0.1"),
        ("/etc/mosquitto/tls", str(made / "secrets" / "broker")),
        ("/etc/mosquitto/accounts", str(made / "secrets" / "broker")),
        ("/etc/mosquitto/conf", str(folder)),
        (f"/usr/lib/{PLUGIN}", str(plugin())),
        ("/mosquitto/data/", f"{tmp_path}/"),
        ("/tmp/mosquitto.pid", f"{tmp_path}/mosquitto.pid"),
    ):
        assert mounted in configuration
        configuration = configuration.replace(mounted, here)
    (tmp_path / "mosquitto.conf").write_text(f"{configuration}user root\n", "utf-8")
    launch = Launch((program("mosquitto", "mosquitto"), "-c", str(tmp_path / "mosquitto.conf")))
    with subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL)) as process:
        yield port, process
        process.terminate()


def run_secrets(made: Path, *arguments: str) -> int:
    return subprocess.run(["sh", made / "secrets.sh", *arguments], capture_output=True, check=False).returncode


@asynccontextmanager
async def connected(port: int, made: Path, account: str, topic: str) -> AsyncGenerator[MqttSession]:
    authority, client_id = made / "secrets" / "ca.crt", account.partition(":")[0]
    settings = MqttSettings(
        mqtt_url=f"mqtts://{account}@localhost:{port}?ca={authority}",  # type: ignore[arg-type]
        mqtt_client_id=client_id,
    )
    connection = MqttSession(settings, [topic])
    task = asyncio.create_task(connection.run())
    async with asyncio.timeout(30):
        await connection.connected()
    yield connection
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.starts_processes
async def test_accounts_of_the_api_and_of_before_enter_the_broker_over_tls_and_survive_a_reload(
    broker: tuple[int, subprocess.Popen[bytes]], made: Path
) -> None:
    port, process = broker
    written = dict(line.split("=", 1) for line in (made / ".env").read_text("utf-8").splitlines())
    passwords = made / "secrets" / "broker" / "passwords"
    before = passwords.read_text("utf-8")
    ours, of_before, name = "0016c001ff10a235", "0016c001ff10a236", f"tgw_{'a' * 16}"
    account = Account(name, "x", Permissions(frozenset(), frozenset({f"gateway/{ours}/command/+"})))
    async with connected(port, made, f"accounts:{written['MQTT_ACCOUNTS_PASSWORD']}", ANSWERS) as maker:
        await DynamicSecurity(maker).create([account])
    try:
        # As mosquitto_passwd and the script of before left it; the script of today keeps it.
        passwords.write_text(before + password_line(of_before, "x"), "utf-8")
        assert await asyncio.to_thread(run_secrets, made) == 0
        process.send_signal(signal.SIGHUP)  # As `docker compose kill -s HUP mosquitto` does.

        for user, topic in (
            (f"bridge:{written['MQTT_PASSWORD']}", "+/gateway/+/event/+"),
            (f"{of_before}:x", f"eu868/gateway/{of_before}/command/+"),
            (f"{name}:x", f"gateway/{ours}/command/+"),
        ):
            async with connected(port, made, user, topic):
                pass
    finally:
        passwords.write_text(before, "utf-8")
    assert await asyncio.to_thread(run_secrets, made, "--gateway", ours) == 2


@pytest.mark.starts_processes
@pytest.mark.parametrize("component", ["nats-single", "nats-cluster"])
def test_the_bus_reads_its_configuration(component: str, made: Path, tmp_path: Path) -> None:
    text = (CHECKOUT / "k8s" / "components" / component / "nats.conf").read_text("utf-8")
    users = os.path.relpath(CHECKOUT / "k8s" / "components" / "nats-users", tmp_path)
    text = text.replace("/etc/nats/tls/ca.crt", str(made / "secrets" / "ca.crt")).replace("../users", users)
    (tmp_path / "nats.conf").write_text(text.replace("/etc/nats/tls", str(made / "secrets" / "broker")), "utf-8")

    done = subprocess.run(
        [program("nats-server", "nats-server"), "-t", "-c", tmp_path / "nats.conf"],
        env={"POD_NAME": "nats-0", "NATS_PASSWORD": "x", **{f"{name.upper()}_BUS": "x" for name in USERS}},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
