"""The one-machine stack: its servers and services, their order and their settings."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from registry.ledger_file import LEDGER_NAME
from registry.rights import LOGINS, OWNER
from services.supervisor.credentials import Secrets
from services.supervisor.forking import ForkServer
from services.supervisor.home import Home
from services.supervisor.kept_sockets import KeptSockets
from services.supervisor.launch import Launch, system_path
from services.supervisor.loopback import answers_ok
from services.supervisor.mosquitto import ACCOUNTS, BRIDGE, PrivateMosquitto
from services.supervisor.nats import PrivateNats, Room
from services.supervisor.notify import is_notified
from services.supervisor.pgbackrest import PgBackRest
from services.supervisor.ports import LOOPBACK
from services.supervisor.postgres import PrivatePostgres
from services.supervisor.process_identity import identity_of
from services.supervisor.run_info import CURRENT, RunInfo, ServiceInfo, read_run_info
from services.supervisor.stack_options import BUS, LISTENERS, StackOptions, StackPorts
from services.supervisor.supervisor import Child, ChildSpec, Start, StartFailed, Supervisor, execute

FORK_SERVER = "fork_server"
# Which services wrap or open keys: the key-encryption key is handed to no other.
UNWRAP = frozenset({"network", "intake", "ingest", "alerting", "maintenance", "api"})
# What the operator may say otherwise than we do: where people reach the API.
CHOSEN = ("TERRITOIRE_PUBLIC_URL",)
# Ours, or a single replica's: not handed on.
NOT_THEIRS = {
    "TERRITOIRE_HOME",
    "TERRITOIRE_OPTIONS",
    "TERRITOIRE_BACKUP_DATABASE_URL",
    "TERRITOIRE_BACKUP_PLAIN",
    "TERRITOIRE_BACKUP_RECIPIENTS",
    "TERRITOIRE_PITR_S3_KEY",
    "TERRITOIRE_PITR_S3_SECRET",
    "TERRITOIRE_POSTGRES_PROGRAMS",
    "TERRITOIRE_RESTORE_DATABASE_URL",
    "TERRITOIRE_MQTT_URL",
    "TERRITOIRE_MQTT_ACCOUNTS",
    "TERRITOIRE_MQTT_ACCOUNTS_URL",
    "TERRITOIRE_MQTT_EVENTS_URL",
    "TERRITOIRE_MQTT_PUBLIC_URL",
    "TERRITOIRE_KEK",
    "TERRITOIRE_KEK_ID",
    "TERRITOIRE_KEK_FORMER",
    "TERRITOIRE_KEK_FILE",
    "TERRITOIRE_KEK_COMMAND",
    "TERRITOIRE_LOGINS",
}
# The first person, until they are given an address of their own.
OPERATOR_EMAIL = "operateur@localhost"
# A service drains for 20 s at most before it gives up by itself.
SERVICE_STOP_S = 25.0
SERVER_STOP_S = 20.0
# Servers of a cluster elect who leads them once they have started, and make no stream before.
CLUSTER_ATTEMPTS, CLUSTER_EVERY_S = 10, 1.0


@dataclass(frozen=True, slots=True)
class Servers:
    """The private servers of one home."""

    postgres: PrivatePostgres
    bus: Mapping[str, PrivateNats]
    """By the name of the child: one, or those of a cluster."""
    mosquitto: PrivateMosquitto

    @property
    def bus_url(self) -> str:
        """All servers of the bus, by the owner's login."""
        return ",".join(one.url for one in self.bus.values())

    def bus_url_of(self, service: str) -> str:
        """The same by a service's."""
        return ",".join(one.url_of(service) for one in self.bus.values())


class Stack:
    """The children of one home. Call it with the home held."""

    def __init__(
        self,
        home: Home,
        options: StackOptions,
        ports: StackPorts | None = None,
        kept: KeptSockets | None = None,
    ) -> None:
        self._home = home
        self._options = options
        self._secrets = home.secrets()
        self._kept = KeptSockets() if kept is None else kept
        self._ports = StackPorts.free(options, self._kept) if ports is None else ports
        self.servers = _servers(home, self._secrets, self._ports, options)
        self._fork_server = ForkServer(
            [f"services.{name}" for name in ("migrate", *options.services)], _of_interpreter()
        )
        self.supervisor = Supervisor(changed=self._publish, held=home.holds)
        self.run = self._describe()

    @classmethod
    def running(cls, home: Home) -> "Stack":
        """The one that another process runs in this home: for the environments of its services."""
        run = read_run_info(home.folder)
        return cls(home, StackOptions.of(run), StackPorts.of(run))

    def _describe(self) -> RunInfo:
        servers, secrets, options = self.servers, self._secrets, self._options
        first = {what: port for name in LISTENERS for what, port in self._ports.listeners[f"{name}-1"].items()}
        return RunInfo(
            home=str(self._home.folder),
            mode=options.mode,
            supervisor_pid=os.getpid(),
            started_at=time.time(),
            api_url=f"http://{_reachable(options.api_host)}:{first['api']}",
            intake_url=f"http://{_reachable(options.intake_host)}:{first['intake']}",
            station_url=f"ws://{_reachable(options.udp_host)}:{first['station']}",
            udp_host=_reachable(options.udp_host),
            udp_port=first["udp"],
            database_url=f"{servers.postgres.url()}?role={OWNER}",
            database_admin_url=servers.postgres.url(),
            nats_url=servers.bus_url,
            mqtt_url=servers.mosquitto.address,
            mqtt_bridge_url=servers.mosquitto.url(BRIDGE),
            kek=secrets.kek,
            kek_id=secrets.kek_id,
            former_keks=secrets.former_keks_text,
            api_key=secrets.operator_key,
            login_email=OPERATOR_EMAIL,
            login_password=secrets.operator_password,
            version=CURRENT,
            supervisor_identity=identity_of(os.getpid()) or "",
        )

    def _publish(self) -> None:
        """Write run.json with the pids of this instant."""
        services = tuple(
            ServiceInfo(
                child.spec.name,
                child.pid,
                child.restarts,
                str(child.spec.log),
                child.spec.health_url,
                dict(child.spec.ports),
                tuple(child.restarted_at),
            )
            for child in self.supervisor.children
        )
        self._home.write_run_info(msgspec.structs.replace(self.run, services=services))

    async def start(self) -> RunInfo:
        """Start everything in order; returns when every service's /readyz answers 200.

        Raises:
            StartFailed: a child does not start; those that did are still running: call `stop`.
            PortTaken: somebody else has the gateways' UDP port by now.
            ClusterRefused, ServerMissing: PostgreSQL cannot be prepared.
        """
        servers = self.servers
        if "gateway_bridge" in self._options.services:
            self._kept.open(self._options.udp_host, self._ports.udp)  # First: what comes from now on waits for us.
        if self._forks:
            launch, log = self._fork_server.launch(), self._home.log(FORK_SERVER)
            spec = ChildSpec(FORK_SERVER, launch, log, self._fork_server.is_there, start=self._fork_server.start)
            await self.supervisor.start([spec])  # First: it imports while the servers start.
        await asyncio.to_thread(servers.postgres.prepare)
        for one in servers.bus.values():
            one.prepare()
        servers.mosquitto.prepare()
        await self.supervisor.start(
            [
                self._server("postgres", servers.postgres.launch(), servers.postgres.ready),
                *(
                    self._server(name, one.launch(), one.ready, Room(one.folder))
                    for name, one in servers.bus.items()
                ),
                self._server("mosquitto", servers.mosquitto.launch(), servers.mosquitto.ready),
            ]
        )
        await servers.postgres.create_database()
        await self._migrate()
        options = self._options
        await self.supervisor.start(
            [self._service(name, *child) for name in options.services for child in options.children(name)]
        )
        self._publish()
        return self.current()

    def current(self) -> RunInfo:
        """What run.json says at this instant."""
        return read_run_info(self._home.folder)

    async def _migrate(self) -> None:
        launch, log = self._migrate_launch(), self._home.log("migrate")
        for left in reversed(range(CLUSTER_ATTEMPTS if self._is_cluster else 1)):
            try:
                await self.supervisor.run_to_completion("migrate", launch, log, self._start)
            except StartFailed:
                if not left:
                    raise
                await asyncio.sleep(CLUSTER_EVERY_S)
            else:
                return

    @property
    def _is_cluster(self) -> bool:
        return len(self.servers.bus) > 1

    def _server(
        self,
        name: str,
        launch: Launch,
        ready: Callable[[], Awaitable[bool]],
        room_lasts_s: Callable[[], float | None] | None = None,
    ) -> ChildSpec:
        return ChildSpec(
            name,
            launch,
            self._home.log(name),
            ready,
            ready_within=None,
            stop_within=SERVER_STOP_S,
            room_lasts_s=room_lasts_s,
        )

    def _service(self, name: str, child: str, instance: str) -> ChildSpec:
        ports = self._ports.listeners.get(instance, {})
        health_url = f"http://{LOOPBACK}:{self._ports.health[instance]}"
        return ChildSpec(
            child,
            Launch(
                (sys.executable, "-P", "-m", f"services.{name}"),
                env=self.environment(name, instance),
                handed=self._kept.sockets.get(instance),
            ),
            self._home.log(child),
            lambda: answers_ok(f"{health_url}/readyz"),
            ready_within=60.0,
            is_required=not is_notified(),
            stop_within=SERVICE_STOP_S,
            health_url=health_url,
            ports=ports,
            start=self._start,
        )

    async def all_live(self) -> bool:
        """Whether every process of ours that runs answers, or was just started; one that has ended will be."""
        return all(await asyncio.gather(*(_is_live(child) for child in self.supervisor.children)))

    @property
    def _forks(self) -> bool:
        """Whether there are enough processes of ours that importing once is worth it."""
        return len(self._options.services) > 1

    @property
    def _start(self) -> Start:
        return self._fork_server.fork if self._forks else execute

    def environment(self, name: str, instance: str) -> dict[str, str]:
        """The environment of a replica of a service."""
        run, options, ports = self.run, self._options, self._ports.listeners.get(instance, {})
        environment = {
            **_inherited(),
            "TERRITOIRE_DATABASE_URL": self.servers.postgres.url(
                user=LOGINS[name], password=self._secrets.database[name]
            ),
            "TERRITOIRE_NATS_URL": self.servers.bus_url_of(name),
            # The same at every restart: a replica that comes back takes its shards back at once.
            "TERRITOIRE_INSTANCE": instance,
            "TERRITOIRE_HEALTH_PORT": str(self._ports.health[instance]),
        }
        if name in UNWRAP:
            environment |= {
                "TERRITOIRE_KEK": run.kek,
                "TERRITOIRE_KEK_ID": run.kek_id,
                **({"TERRITOIRE_KEK_FORMER": run.former_keks} if run.former_keks else {}),
            }
        if name == "gateway_bridge":
            environment |= {
                "TERRITOIRE_UDP_HOST": options.udp_host,
                "TERRITOIRE_UDP_PORT": str(ports["udp"]),
                "TERRITOIRE_STATION_HOST": options.udp_host,
                "TERRITOIRE_STATION_PORT": str(ports["station"]),
            }
            # The broker keeps one session for us: two readers would throw each other out, or read all of it twice.
            environment |= self._broker_of_bridge() if instance == "gateway_bridge-1" else {}
            if instance != "gateway_bridge-1":  # One port of that number.
                environment.pop("TERRITOIRE_CUPS_PORT", None)
        if name == "intake":
            environment |= {
                "TERRITOIRE_INTAKE_HOST": options.intake_host,
                "TERRITOIRE_INTAKE_PORT": str(ports["intake"]),
                **self._broker_of_intake(),
            }
        if name == "maintenance":
            environment["TERRITOIRE_DISK_FOLDER"] = str(self._home.postgres_data)
            environment.setdefault("TERRITOIRE_ERASURE_LEDGER", str(self._home.folder / LEDGER_NAME))
        if name == "alerting":
            environment["TERRITOIRE_PUBLIC_URL"] = run.api_url  # For the links in webhooks.
        if name == "api":
            environment |= {
                "TERRITOIRE_API_HOST": options.api_host,
                "TERRITOIRE_API_PORT": str(ports["api"]),
                **self._broker_of_accesses(),
            }
        chosen = {name: os.environ[name] for name in CHOSEN if name in os.environ}
        return environment | {name: value for name, value in chosen.items() if name in environment}

    def _broker_of_bridge(self) -> dict[str, str]:
        """The broker, and whether its accounts prove who speaks: of ours they do."""
        if "TERRITOIRE_MQTT_URL" in os.environ:
            said = os.environ.get("TERRITOIRE_MQTT_ACCOUNTS", "shared")
            return {"TERRITOIRE_MQTT_URL": os.environ["TERRITOIRE_MQTT_URL"], "TERRITOIRE_MQTT_ACCOUNTS": said}
        return {"TERRITOIRE_MQTT_URL": self.run.mqtt_bridge_url, "TERRITOIRE_MQTT_ACCOUNTS": "per_gateway"}

    def _broker_of_intake(self) -> dict[str, str]:
        """The broker as the account that makes others; of the operator's own only when they give us one."""
        given = ("TERRITOIRE_MQTT_ACCOUNTS_URL", "TERRITOIRE_MQTT_EVENTS_URL")
        if given[0] in os.environ:
            return {name: os.environ[name] for name in given if name in os.environ}
        if "TERRITOIRE_MQTT_URL" in os.environ:
            return {}
        return {"TERRITOIRE_MQTT_ACCOUNTS_URL": self.servers.mosquitto.url(ACCOUNTS)}

    def _broker_of_accesses(self) -> dict[str, str]:
        """Where applications reach the broker: of the operator's own as they say."""
        if "TERRITOIRE_MQTT_PUBLIC_URL" in os.environ or "TERRITOIRE_MQTT_URL" in os.environ:
            return {"TERRITOIRE_MQTT_PUBLIC_URL": os.environ.get("TERRITOIRE_MQTT_PUBLIC_URL", "")}
        return {"TERRITOIRE_MQTT_PUBLIC_URL": self.servers.mosquitto.address}

    def _migrate_launch(self) -> Launch:
        environment = {
            **_inherited(),
            "TERRITOIRE_DATABASE_URL": self.run.database_admin_url,
            "TERRITOIRE_NATS_URL": self.run.nats_url,
            "TERRITOIRE_LOGINS": msgspec.json.encode(self._secrets.database).decode(),
            "TERRITOIRE_OPERATOR_KEY": self._secrets.operator_key,
            "TERRITOIRE_OPERATOR_EMAIL": OPERATOR_EMAIL,
            "TERRITOIRE_OPERATOR_PASSWORD": self._secrets.operator_password,
        }
        if self._is_cluster:
            environment["TERRITOIRE_BUS_REPLICAS"] = str(len(self.servers.bus))
        return Launch((sys.executable, "-P", "-m", "services.migrate"), env=environment)

    async def stop(self) -> None:
        """Stop everything, services first, servers last."""
        await self.supervisor.stop()
        self._kept.close()


def _servers(home: Home, secrets: Secrets, ports: StackPorts, options: StackOptions) -> Servers:
    accounts = {account: secrets.mqtt[account] for account in (BRIDGE, ACCOUNTS)}
    archiving = PgBackRest.beside(home.postgres_data).settings()
    return Servers(
        PrivatePostgres(home.postgres_data, ports.postgres, secrets.postgres, {**archiving, **options.postgres}),
        _bus_servers(home, secrets, ports, options),
        PrivateMosquitto(home.folder / "mosquitto", ports.mosquitto, accounts),
    )


def _bus_servers(home: Home, secrets: Secrets, ports: StackPorts, options: StackOptions) -> dict[str, PrivateNats]:
    found: dict[str, PrivateNats] = {}
    for place, (child, _) in enumerate(options.children(BUS)):
        name = f"territoire-{home.identity}{child.removeprefix(BUS)}"
        routes = (*ports.routes[place:], *ports.routes[:place])
        folder = home.folder / child
        found[child] = PrivateNats(folder, ports.nats[place], secrets.nats, name, users=secrets.bus, routes=routes)
    return found


def _reachable(host: str) -> str:
    return LOOPBACK if host == "0.0.0.0" else host  # noqa: S104


def _inherited() -> dict[str, str]:
    """What a service takes from our environment: the settings that the operator wrote there, and little else."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if (name in {"LANG", "LC_ALL", "TZ"} or name.startswith(("OTEL_", "TERRITOIRE_")))
        and name not in NOT_THEIRS
    }
    return {"PATH": system_path(), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", **kept}


def _of_interpreter() -> dict[str, str]:
    """The part that an interpreter reads when it starts; no setting, since some are secrets."""
    return {name: value for name, value in _inherited().items() if not name.startswith(("OTEL_", "TERRITOIRE_"))}


def checkout() -> Path:
    """The folder of the checkout that this program runs from."""
    return Path(__file__).resolve().parents[2]


async def _is_live(child: Child) -> bool:
    url = child.spec.health_url
    if child.pid is None or url is None:
        return True
    answers = await answers_ok(f"{url}/livez")
    child.has_answered |= answers
    return answers or child.is_young
