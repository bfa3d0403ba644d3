"""What a one-machine stack consists of, and the ports that it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from services.supervisor.kept_sockets import KeptSockets
from services.supervisor.ports import LOOPBACK, free_tcp_port, tcp_port, udp_port
from services.supervisor.run_info import RunInfo

SERVICES = (
    "gateway_bridge",
    "network",
    "intake",
    "ingest",
    "alerting",
    "lighting",
    "maintenance",
    "indicators",
    "api",
)
# A bus of three servers is a cluster, as in Kubernetes: for the lab, since one machine gains nothing by it.
BUS = "nats"
# Which of them listen to others than our own processes, and for what.
LISTENERS: Mapping[str, tuple[str, ...]] = {
    "gateway_bridge": ("udp", "station"),
    "api": ("api",),
    "intake": ("intake",),
}


class WantedPort(NamedTuple):
    """A port that an option asks for, and how it is taken; 0 is any free one."""

    choose: Callable[[int, str], int]
    number: int
    host: str

    def reserve(self) -> int:
        """The port at this instant.

        Raises:
            PortTaken: somebody listens on it, or it may not be bound.
        """
        return self.choose(self.number, self.host)


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What the operator chooses; 0 is any free port."""

    mode: str = "up"
    udp_host: str = "0.0.0.0"  # noqa: S104  (gateways are on the network)
    udp_port: int = 1700
    api_host: str = LOOPBACK
    api_port: int = 8080
    services: tuple[str, ...] = SERVICES
    replicas: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many of a service, by name; those that are not named are one. Of those that listen to others, the first
    has the port that is asked for, and the next ones any free port: run.json says which."""
    postgres: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings of the private PostgreSQL beyond its own: benchmarks want commit timestamps."""
    intake_host: str = LOOPBACK
    intake_port: int = 0
    station_port: int = 0
    """On `udp_host`, as gateways are."""

    @property
    def wanted(self) -> dict[str, WantedPort]:
        """What is listened on for others, by kind."""
        return {
            "udp": WantedPort(udp_port, self.udp_port, self.udp_host),
            "station": WantedPort(tcp_port, self.station_port, self.udp_host),
            "api": WantedPort(tcp_port, self.api_port, self.api_host),
            "intake": WantedPort(tcp_port, self.intake_port, self.intake_host),
        }

    def children(self, service: str) -> list[tuple[str, str]]:
        """Name and instance of each replica: `network` alone, else `network-1`, `network-2`..."""
        count = self.replicas.get(service, 1)
        instances = [f"{service}-{number}" for number in range(1, count + 1)]
        return [(service, instances[0])] if count == 1 else [(instance, instance) for instance in instances]

    @classmethod
    def of(cls, run: RunInfo) -> Self:
        """Those of a stack that runs, as far as its services' settings depend on them."""
        hosts = [urlsplit(url).hostname or LOOPBACK for url in (run.api_url, run.intake_url)]
        bus = {BUS: len(run.replicas(BUS))}
        return cls(run.mode, udp_host=run.udp_host, api_host=hosts[0], intake_host=hosts[1], replicas=bus)


@dataclass(frozen=True, slots=True)
class StackPorts:
    """Every port of a stack, by replica where there are several."""

    postgres: int
    nats: tuple[int, ...]
    """Of each server of the bus."""
    routes: tuple[int, ...]
    """On which these speak with each other; none where there is one."""
    mosquitto: int
    health: Mapping[str, int]
    listeners: Mapping[str, Mapping[str, int]]
    """What each replica listens on for others, by instance and kind."""

    @classmethod
    def free(cls, options: StackOptions, kept: KeptSockets) -> Self:
        """Those that are wanted, else free ones; of a socket that was kept for a bridge, its own.

        Raises:
            PortTaken: one that is wanted is in use.
        """
        health = {instance: free_tcp_port() for name in options.services for _, instance in options.children(name)}
        listeners = _listeners(options, kept)
        bus = options.children(BUS)
        clients = tuple(free_tcp_port() for _ in bus)
        routes = tuple(free_tcp_port() for _ in bus) if len(bus) > 1 else ()
        return cls(free_tcp_port(), clients, routes, free_tcp_port(), health, listeners)

    @property
    def udp(self) -> dict[str, int]:
        """Of each bridge, by instance."""
        return {instance: ports["udp"] for instance, ports in self.listeners.items() if "udp" in ports}

    @classmethod
    def of(cls, run: RunInfo) -> Self:
        """Those of a stack that runs."""
        services = {
            one.name if one.name.rpartition("-")[2].isdecimal() else f"{one.name}-1": one
            for one in run.services
            if one.health_url is not None
        }
        health = {instance: _port(one.health_url or "") for instance, one in services.items()}
        listeners = {instance: one.ports for instance, one in services.items()}
        bus = tuple(_port(url) for url in run.nats_url.split(","))
        return cls(_port(run.database_admin_url), bus, (), _port(run.mqtt_url), health, listeners)


def _port(url: str) -> int:
    return urlsplit(url).port or 0


def _listeners(options: StackOptions, kept: KeptSockets) -> dict[str, dict[str, int]]:
    """Chosen for each replica of a service that listens to others."""
    found: dict[str, dict[str, int]] = {}
    for name, kinds in LISTENERS.items():
        for number, (_, instance) in enumerate(options.children(name)):
            found[instance] = {}
            for kind in kinds:
                wanted = options.wanted[kind]
                wanted = wanted._replace(number=0) if number else wanted
                port = kept.claim(instance, wanted.host, wanted.number) if kind == "udp" else None
                found[instance][kind] = wanted.reserve() if port is None else port
    return found
