"""run.json: addresses, ports and credentials of a running one-machine stack."""

import re
from pathlib import Path

import msgspec

FILE_NAME = "run.json"
# Version 1 does not say its version. This program reads both, and writes the newer one: commands are of the same
# release as the stack, or of the next one while an upgrade waits for the restart.
FORMER, CURRENT = 1, 2
RESTART = "redémarrez la pile avec ce programme : sudo systemctl restart territoire (ou ./territoire up)"
# The folder in the home whose files name the children that are not to be started again for the time being.
HELD = "held"


class ServiceInfo(msgspec.Struct, frozen=True):
    """One child of the supervisor."""

    name: str
    pid: int | None
    restarts: int
    log: str
    health_url: str | None = None
    """Base of /livez, /readyz and /metrics; None for the servers that are not ours."""
    ports: dict[str, int] = {}
    """What this replica listens on for others: `udp` and `station`, `api`, `intake`."""
    restarted_at: tuple[float, ...] = ()
    """Its last restarts, in seconds since the epoch; empty of a release that did not note them."""


class RunInfo(msgspec.Struct, frozen=True):
    """Every address, port and credential of the stack in `home`. The file is for its owner's eyes (0600)."""

    home: str
    mode: str
    supervisor_pid: int
    started_at: float
    """Seconds since the epoch."""
    api_url: str
    udp_host: str
    udp_port: int
    database_url: str
    """As territoire_service, which sees all tenants and into which nobody logs: by the superuser's login."""
    database_admin_url: str
    """As the cluster's superuser."""
    nats_url: str
    """As the login that may everything there, and is no service's."""
    mqtt_url: str
    """Where gateways come by MQTT, each with an account that the API made."""
    mqtt_bridge_url: str
    kek: str
    kek_id: str
    api_key: str
    """Of the operator's own tenant, with every role."""
    login_email: str = ""
    login_password: str = ""
    """Of the first person, as it was made; it may have been changed since."""
    services: tuple[ServiceInfo, ...] = ()
    intake_url: str = ""
    """Where other people's LNS push."""
    former_keks: str = ""
    """Key-encryption keys that open what is not rotated yet, as TERRITOIRE_KEK_FORMER has them."""
    station_url: str = ""
    """Where gateways that run LoRa Basics Station ask first: their `tc.uri`."""
    version: int = FORMER
    """Of this file; `Stack` writes CURRENT."""
    supervisor_identity: str = ""
    """By `process_identity`; empty of a release that did not note it."""

    @property
    def logs(self) -> Path:
        """The folder of the log files, one per child."""
        return Path(self.home) / "logs"

    def service(self, name: str) -> ServiceInfo:
        """The child of this name.

        Raises:
            KeyError: this stack has no such child.
        """
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def replicas(self, name: str) -> tuple[ServiceInfo, ...]:
        """The children of this service: `network`, or `network-1`, `network-2`...; none when it has none."""
        return tuple(one for one in self.services if re.fullmatch(rf"{re.escape(name)}(-\d+)?", one.name))


class UnreadableRunInfo(Exception):
    """A run.json that this program does not read. In French: what is wrong, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} : {remedy}")
        self.what = what
        self.remedy = remedy


class _Version(msgspec.Struct):
    version: int = FORMER


def read_run_info(home: Path) -> RunInfo:
    """What the stack in `home` wrote, this program's or the one of a release before.

    Raises:
        FileNotFoundError: no stack was started in this folder.
        UnreadableRunInfo: the file is a newer program's, or none of ours.
    """
    octets = (home / FILE_NAME).read_bytes()
    try:
        version = msgspec.json.decode(octets, type=_Version).version
        if version in {FORMER, CURRENT}:
            return msgspec.json.decode(octets, type=RunInfo)
    except msgspec.DecodeError as malformed:
        raise UnreadableRunInfo(f"{FILE_NAME} n'est pas lisible ({malformed})", RESTART) from malformed
    raise UnreadableRunInfo(
        f"la pile est d'un programme plus récent que celui-ci ({FILE_NAME} est en version {version}, il lit la "
        f"{FORMER} et la {CURRENT})",
        f"lancez cette commande avec le programme de la pile, ou {RESTART}",
    )
