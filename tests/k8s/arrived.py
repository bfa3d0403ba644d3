"""A cluster's servers on this machine, as the manifests lay them out: for an installation that moves there."""

import json
import secrets
import shutil
import signal
import socket
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from core.messages.permissions import OWNER as BUS_OWNER
from core.messages.permissions import USERS
from registry.rights import LOGINS
from services.supervisor.forking import ForkedProcess
from services.supervisor.launch import program
from services.supervisor.ports import free_tcp_port, free_udp_port
from services.supervisor.postgres import SUPERUSER, PrivatePostgres
from tests.conftest import running
from tests.forked_programs import start_program
from tests.gateways.stations import until
from tests.k8s.conftest import Manifest, Rendered, containers_of
from tests.k8s.servers import COMPONENTS, eventually, here, start
from tests.registry.test_timescale import psql

# What a small machine has not, and what a stack on one address cannot.
NOT_HERE = {"shared_buffers": "64MB", "effective_cache_size": "128MB", "max_wal_size": "256MB"}
PORTS = ("API_PORT", "INTAKE_PORT", "STATION_PORT", "CUPS_PORT", "HEALTH_PORT")
OF_A_BROKER = "gateway-bridge-mqtt"


@dataclass
class Arrived:
    """An overlay's database and bus. CloudNativePG's superuser is `postgres`, the schema's owner is none."""

    overlay: Rendered
    folder: Path
    kek: str
    server: PrivatePostgres
    bus_port: int
    owner_password: str = field(default_factory=lambda: secrets.token_hex(12))
    passwords: Mapping[str, str] = field(default_factory=lambda: {one: secrets.token_hex(12) for one in LOGINS})
    bus_passwords: Mapping[str, str] = field(
        # Without quotes nats-server takes such a one for a number.
        default_factory=lambda: {one: "6e056f31134f" + secrets.token_hex(4) for one in (BUS_OWNER, *USERS)}
    )
    api_key: str = "terr_0123456789ab_duneautre"

    @property
    def bootstrap(self) -> Manifest:
        """How the operator makes the database."""
        return self.overlay.named("Cluster", "database")["spec"]["bootstrap"]["initdb"]

    @property
    def superuser_url(self) -> str:
        """As the secret of the drill has it."""
        return self.server.url(self.bootstrap["database"], "postgres")

    @property
    def owner_url(self) -> str:
        """As migrate is given it."""
        return self.server.url(self.bootstrap["database"], self.bootstrap["owner"], self.owner_password)

    def bus_url(self, service: str) -> str:
        """As the secret has it for this service, or for the owner of the bus."""
        return f"nats://{USERS.get(service, service)}:{self.bus_passwords[service]}@127.0.0.1:{self.bus_port}"

    @cached_property
    def secrets(self) -> Mapping[tuple[str, str], str]:
        """What the vault holds, by the names that docs/kubernetes.md gives."""
        named = {service: service.replace("_", "-") for service in LOGINS}
        database = {
            f"{named[service]}-url": self.server.url(
                self.bootstrap["database"], LOGINS[service], self.passwords[service]
            )
            for service in LOGINS
        }
        bus = {f"{named[service]}-url": self.bus_url(service) for service in USERS}
        return {
            **{("territoire-database", key): value for key, value in database.items()},
            ("territoire-database", "owner-url"): self.owner_url,
            ("territoire-database", "logins"): json.dumps(dict(self.passwords)),
            **{("territoire-bus", key): value for key, value in bus.items()},
            ("territoire-bus", "url"): self.bus_url(BUS_OWNER),
            ("territoire-kek", "kek"): self.kek,
            ("territoire-operator", "api-key"): self.api_key,
        }

    def environment(self, workload: Manifest) -> dict[str, str]:
        """What the first container of a workload is told."""
        found = dict(self.overlay.settings)
        for entry in containers_of(workload)[0]["env"]:
            value = self._value(entry, workload)
            if value is not None:
                found[entry["name"]] = value
        return found

    def _value(self, entry: Manifest, workload: Manifest) -> str | None:
        if "value" in entry:
            return entry["value"]
        source = entry["valueFrom"]
        if "fieldRef" in source:
            return workload["metadata"]["name"] + "-0"
        reference = source["secretKeyRef"]
        value = self.secrets.get((reference["name"], reference["key"]))
        assert value is not None or reference.get("optional"), reference
        return value

    @property
    def migrate(self) -> dict[str, str]:
        """What migrate is told; one bus server here has one copy of a stream."""
        return {**self.environment(self.overlay.named("Job", "migrate")), "TERRITOIRE_BUS_REPLICAS": "1"}

    @asynccontextmanager
    async def services(self) -> AsyncGenerator[Mapping[str, dict[str, str]]]:
        """Every process of the overlay, ready; what each is told, on ports of its own. Without the broker's."""
        told: dict[str, dict[str, str]] = {}
        processes: list[ForkedProcess] = []
        try:
            for workload in self.overlay.of("Deployment"):
                name = workload["metadata"]["name"]
                container = containers_of(workload)[0]
                if container["image"].partition(":")[0] != "territoire" or name == OF_A_BROKER:
                    continue
                told[name] = self.environment(workload) | {
                    **{f"TERRITOIRE_{port}": str(free_tcp_port()) for port in PORTS},
                    "TERRITOIRE_UDP_PORT": str(free_udp_port()),
                    "TERRITOIRE_UDP_HOST": "127.0.0.1",
                    "TERRITOIRE_UDP_READ_ON_S": "0",
                }
                log = self.folder / f"{name}.log"
                processes.append(await start_program(container["args"][0], told[name], log))
            for name, environment in told.items():
                url = f"http://127.0.0.1:{environment['TERRITOIRE_HEALTH_PORT']}/readyz"

                async def ready(url: str = url) -> bool:
                    return _answers(url)

                try:
                    await until(ready, 300)
                except TimeoutError:
                    raise AssertionError((self.folder / f"{name}.log").read_text()[-3000:]) from None
            yield told
        finally:
            for process in processes:
                process.send_signal(signal.SIGKILL)
                await process.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


@contextmanager
def arrived(overlay: Rendered, folder: Path, kek: str) -> Generator[Arrived]:
    """Database and bus of an overlay, as empty as CloudNativePG and a first start leave them."""
    parameters = overlay.named("Cluster", "database")["spec"]["postgresql"]["parameters"]
    server = PrivatePostgres(
        folder / "pg",
        free_tcp_port(),
        secrets.token_hex(16),
        {**parameters, **NOT_HERE},
        durable=False,
    )
    server.prepare()
    port = free_tcp_port()
    there = Arrived(overlay, folder, kek, server, port)
    (folder / "nats").mkdir()
    configuration = here((COMPONENTS / "nats-single" / "nats.conf").read_text("utf-8"), folder / "nats", port)
    (folder / "nats" / "nats.conf").write_text(configuration, "utf-8")
    known = {f"{service.upper()}_BUS": f'"{there.bus_passwords[service]}"' for service in USERS}
    known["NATS_PASSWORD"] = f'"{there.bus_passwords[BUS_OWNER]}"'
    with running(server.launch(), server.ready, folder / "postgres.log"):
        bootstrap(there)
        binary, file = program("nats-server", "nats-server"), folder / "nats" / "nats.conf"
        bus = start(binary, "-c", str(file), POD_NAME="nats-0", **known)  # fmt: skip
        try:
            assert eventually(lambda: _greets(port))
            yield there
        finally:
            bus.terminate()
            bus.wait()
    shutil.rmtree(server.data, ignore_errors=True)


def _greets(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as opened:
        return bool(opened.recv(4))


def bootstrap(there: Arrived) -> None:
    """As CloudNativePG does by the manifest: its superuser, the owner, the database, then SQL by the superuser."""
    made, server = there.bootstrap, there.server
    psql(server.url("postgres"), "CREATE ROLE other SUPERUSER LOGIN PASSWORD 'other'")
    psql(server.url("postgres", "other", "other"), f"ALTER ROLE {SUPERUSER} RENAME TO postgres")
    psql(
        server.url("postgres", "postgres"),
        "DROP ROLE other",
        f"CREATE ROLE {made['owner']} LOGIN PASSWORD '{there.owner_password}'",
        f"CREATE DATABASE {made['database']} OWNER {made['owner']} TEMPLATE template0 "
        f"ENCODING '{made['encoding']}' LC_COLLATE '{made['localeCollate']}' LC_CTYPE '{made['localeCType']}'",
    )
    psql(there.superuser_url, *made["postInitApplicationSQL"])


def json_of(url: str, key: str = "", body: Any = None) -> Any:
    """What an API answers to this key."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    data = None if body is None else json.dumps(body).encode()
    for left in reversed(range(20)):
        try:
            with urlopen(Request(url, data, headers), timeout=60) as answer:
                return json.load(answer)
        except HTTPError as refused:
            if refused.code != 503 or not left:  # "Réessayez", of a machine that has much to do.
                raise AssertionError(refused.read().decode()) from None
            time.sleep(3)
    raise AssertionError
