"""The compose file and the secrets that its script makes belong together, and its servers start."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.runtime.mqtt import MqttEdge, MqttSettings
from services.supervisor.launch import Launch, program
from services.supervisor.ports import free_tcp_port
from services.supervisor.stack import SERVICES
from tests.k8s.test_rules import PREFIX, known_settings, settings_of

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text("utf-8"))
PROCESSES = {
    name: service for name, service in COMPOSE["services"].items() if service["image"].startswith("territoire:")
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


def test_containers_are_bound_and_their_images_pinned() -> None:
    for name, service in COMPOSE["services"].items():
        assert re.search(r":\d", service["image"]), name
        assert "no-new-privileges:true" in service["security_opt"], name
        if name != "database":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name


def test_what_exists_is_never_made_anew(made: Path) -> None:
    files = [made / ".env", *sorted((made / "secrets").iterdir())]
    before = [file.read_bytes() for file in files]

    subprocess.run(["sh", made / "secrets.sh"], check=True, capture_output=True)

    assert [file.read_bytes() for file in files] == before
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


@pytest.fixture
def broker(made: Path, tmp_path: Path) -> Iterator[int]:
    """mosquitto with the very configuration that compose and Kubernetes mount, elsewhere."""
    port = free_tcp_port()
    folder = CHECKOUT / "k8s" / "components" / "mosquitto"
    configuration = (folder / "mosquitto.conf").read_text("utf-8")
    for mounted, here in (
        ("listener 8883", f"listener {port} 127.0.0.1"),
        ("/etc/mosquitto/tls", str(made / "secrets")),
        ("/etc/mosquitto/accounts", str(made / "secrets")),
        ("/etc/mosquitto/conf", str(folder)),
        ("/mosquitto/data/", f"{tmp_path}/"),
        ("/tmp/mosquitto.pid", f"{tmp_path}/mosquitto.pid"),
    ):
        assert mounted in configuration
        configuration = configuration.replace(mounted, here)
    (tmp_path / "mosquitto.conf").write_text(f"{configuration}user root\n", "utf-8")
    launch = Launch((program("mosquitto", "mosquitto"), "-c", str(tmp_path / "mosquitto.conf")))
    with subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL)) as process:
        yield port
        process.terminate()


async def test_the_bridge_speaks_with_the_broker_over_tls(broker: int, made: Path) -> None:
    written = dict(line.split("=", 1) for line in (made / ".env").read_text("utf-8").splitlines())
    authority = made / "secrets" / "ca.crt"
    url = f"mqtts://bridge:{written['MQTT_PASSWORD']}@localhost:{broker}?ca={authority}"
    connection = MqttEdge(MqttSettings(mqtt_url=url), ["+/gateway/+/event/+"])
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(connection.run())
        await connection.connected()
        running.cancel()


@pytest.mark.parametrize("component", ["nats-single", "nats-cluster"])
def test_the_bus_reads_its_configuration(component: str, made: Path, tmp_path: Path) -> None:
    text = (CHECKOUT / "k8s" / "components" / component / "nats.conf").read_text("utf-8")
    text = text.replace("/etc/nats/tls/ca.crt", str(made / "secrets" / "ca.crt"))
    (tmp_path / "nats.conf").write_text(text.replace("/etc/nats/tls", str(made / "secrets")), "utf-8")

    done = subprocess.run(
        [program("nats-server", "nats-server"), "-t", "-c", tmp_path / "nats.conf"],
        env={"POD_NAME": "nats-0", "NATS_PASSWORD": "x"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
