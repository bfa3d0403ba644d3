"""The cases that kill, stop or freeze services and servers: each, in turn, and with two replicas of everything."""

import signal

from core.messages import topics
from lab.chaos.case import SHARDED, Act, Around, Case, Layout
from lab.chaos.kills.bus_servers import lose_servers
from lab.chaos.kills.failover import fail_over
from lab.chaos.kills.in_turn import kill_any_replica, kill_each
from lab.chaos.kills.signals import freeze, freeze_owner, kill, terminate
from lab.chaos.kills.unacknowledged import kill_with_unacknowledged
from lab.chaos.upgrade.interrupted import harm_migrate
from lab.chaos.witnesses.fleet import with_mqtt_fleet
from lab.chaos.witnesses.in_use import in_use
from services.supervisor.stack_options import SERVICES

USED = {"alerting": "alertes", "lighting": "éclairage", "api": "API", "intake": "collecte des autres LNS"}
# Each once, the bridge when the load is no longer new to anybody, the database last, which takes the longest. Not
# the MQTT broker: what it holds for a bridge that comes back dies with it.
ALL = (*(one for one in SERVICES if one != "gateway_bridge"), "gateway_bridge", "nats", "postgres")
FRENCH = {
    "gateway_bridge": "pont des passerelles",
    "mosquitto": "courtier MQTT (mosquitto)",
    "network": "serveur de réseau",
    "ingest": "ingestion",
    "maintenance": "maintenance",
    "nats": "bus (nats-server)",
    "postgres": "PostgreSQL",
}
FEWEST_BATCHES = 10
CABINETS, QUICK_CABINETS = 8, 3


def _name(service: str) -> str:
    return service.replace("_", "-")


def _around(kind: str, service: str) -> Around | None:
    """The load is on UDP: for the broker there is a fleet besides."""
    return with_mqtt_fleet(kind) if service == "mosquitto" else None


def _kills() -> list[Case]:
    # In the tests all of them in turn, `kill-each`, but for the MQTT broker, which needs gateways of its own. The
    # bridge alone as well: what is sent while there is none is not lost.
    return [
        Case(
            f"kill-{_name(service)}",
            f"kill -9 : {french}",
            20,
            during=kill(service),
            around=_around("kill", service),
            quick_s=8 if service in {"gateway_bridge", "mosquitto"} else None,
            is_slow=service == "mosquitto",
        )
        for service, french in FRENCH.items()
    ]


def _terminations() -> list[Case]:
    return [
        Case(
            f"term-{_name(service)}",
            f"SIGTERM : {french}",
            20,
            during=terminate(service),
            around=_around("term", service),
            quick_s=8 if service == "ingest" else None,
        )
        for service, french in FRENCH.items()
    ]


def _of(service: str) -> tuple[tuple[str, str, float, Act], ...]:
    frozen = freeze_owner(service) if service == "alerting" else freeze(service)
    return (
        ("kill", "kill -9", 20, kill(service)),
        ("term", "SIGTERM", 20, terminate(service)),
        ("freeze", "Figé 20 s", 29, frozen),
    )


KILL_CASES: tuple[Case, ...] = (
    *_kills(),
    *_terminations(),
    *(
        Case(f"{kind}-{service}", f"{what} : {french}", seconds, during=during, around=in_use(CABINETS))
        for service, french in USED.items()
        for kind, what, seconds, during in _of(service)
    ),
    Case(
        "kill-each",
        "kill -9 de chaque service, du bus et de la base, l'un après l'autre, tous s'en servant",
        90,
        during=kill_each(*ALL),
        around=in_use(CABINETS),
        load_goes_on=True,
        quick_s=18,
        quick_around=in_use(QUICK_CABINETS),
        is_slow=True,
    ),
    Case(
        "replicas-of-all-killed",
        "Deux répliques de tout, une tuée toutes les 10 s, avec ordres, webhooks, LNS et lecteurs",
        309,
        during=kill_any_replica(*SERVICES),
        around=in_use(CABINETS),
        layout=Layout.DOUBLED,
        load_goes_on=True,
        quick_s=40,
        quick_around=in_use(QUICK_CABINETS),
        is_slow=True,
    ),
    *(
        Case(
            f"{kind}-migrate",
            f"{what} : migration du schéma, en pleine transaction puis entre deux étapes",
            29,
            during=harm_migrate(number),
            load_goes_on=True,
            quick_s=21 if number is signal.SIGSTOP else None,
            is_slow=True,
        )
        for kind, what, number in (
            ("kill", "kill -9", signal.SIGKILL),
            ("term", "SIGTERM", signal.SIGTERM),
            ("freeze", "Figé 20 s", signal.SIGSTOP),
        )
    ),
    Case(
        "failover",
        "Base perdue : un secours construit par le cas prend sa place, l'adresse y mène",
        40,
        during=fail_over,
        around=in_use(CABINETS),
        layout=Layout.FAILOVER,
        load_goes_on=True,
        quick_s=12,
        quick_around=in_use(QUICK_CABINETS),
        is_slow=True,
    ),
    Case(
        "bus-servers-lost",
        "Bus de trois serveurs : un, deux, puis trois s'en vont et reviennent",
        90,
        during=lose_servers(20),
        around=in_use(CABINETS),
        layout=Layout.CLUSTER,
        load_goes_on=True,
        quick_s=30,
        quick_during=lose_servers(6),
        quick_around=in_use(QUICK_CABINETS),
        is_slow=True,
    ),
    Case(
        "replicas-killed",
        "Deux répliques de chaque service à partitions, une tuée toutes les 10 s",
        70,
        during=kill_any_replica(*SHARDED),
    ),
    Case("freeze-network", "Serveur de réseau figé 20 s", 29, during=freeze_owner("network")),
    Case("freeze-ingest", "Ingestion figée 20 s", 29, during=freeze_owner("ingest"), quick_s=17),
    Case(
        "unacknowledged",
        "Ingestion tuée avec dix lots lus et non acquittés",
        20,
        during=kill_with_unacknowledged("ingest", topics.UPLINKS, FEWEST_BATCHES),
        quick_s=9,
    ),
)
