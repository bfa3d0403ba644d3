"""The cases, as data: what each does to a stack that carries a load."""

from typing import TypedDict

from core.messages import topics
from lab.chaos.campaign import kill_in_mid_campaign
from lab.chaos.case import Case, Layout
from lab.chaos.clocks import HOUR_S, with_clock_off
from lab.chaos.dusk import dusk_without_network
from lab.chaos.fault_cases import FAULT_CASES
from lab.chaos.faults import (
    Around,
    fill_disk,
    freeze_owner,
    keep_down,
    kill,
    kill_in_turn,
    kill_with_unacknowledged,
    terminate,
    with_mqtt_fleet,
)
from lab.chaos.feed import following_feed
from lab.chaos.fuzz import fuzzing
from lab.chaos.in_turn import kill_any_replica
from lab.chaos.kill_cases import KILL_CASES
from lab.chaos.upgrade import upgrade_and_back
from lab.fleet.pilot import PILOT_DEVICES
from services.supervisor.stack_options import SERVICES

SHARDED: tuple[str, ...] = ("network", "ingest", "alerting", "lighting")
FEWEST_BATCHES = 10

TIMES_THE_PILOT = 10.0
# So that in the warm-up every device was seen several times.
DEVICE_EVERY_S = 60.0

FRENCH = {
    "gateway_bridge": "pont des passerelles",
    "mosquitto": "courtier MQTT (mosquitto)",
    "network": "serveur de réseau",
    "ingest": "ingestion",
    "maintenance": "maintenance",
    "nats": "bus (nats-server)",
    "postgres": "PostgreSQL",
}


class SoakLoad(TypedDict):
    """How many devices send, and how many uplinks a second."""

    devices: int
    rate: float


def soak_load(times: float = TIMES_THE_PILOT) -> SoakLoad:
    """So many times the pilot, each device once a minute."""
    devices = round(times * PILOT_DEVICES)
    return {"devices": devices, "rate": round(devices / DEVICE_EVERY_S, 1)}


def _name(service: str) -> str:
    return service.replace("_", "-")


def _around(kind: str, service: str) -> Around | None:
    """The load is on UDP: for the broker there is a fleet besides."""
    return with_mqtt_fleet(kind) if service == "mosquitto" else None


def _kills() -> list[Case]:
    # In the tests all of them in turn, `kill-each`, but for the MQTT broker, which needs gateways of its own. The
    # bridge's alone as well: what is sent while there is none is not lost.
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


def _clocks() -> list[Case]:
    # The bridge is late: were it early, later cases would be in the past of this one.
    errors = {"gateway_bridge": -HOUR_S, "network": HOUR_S, "ingest": -HOUR_S}
    return [
        Case(
            f"clock-{_name(service)}",
            f"Horloge fausse d'une heure : {FRENCH[service]}",
            12,
            around=with_clock_off(service, seconds),
        )
        for service, seconds in errors.items()
    ]


CASES: tuple[Case, ...] = (
    *_kills(),
    *_terminations(),
    *KILL_CASES,
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
    Case(
        "upgrade",
        "Mise à jour sous charge : le schéma, puis chaque réplique, puis une version en arrière",
        90,
        during=upgrade_and_back(*SERVICES),
        layout=Layout.FORMER,
        p99_goal_ms=1_000,
        quick_s=60,
        is_slow=True,
    ),
    Case(
        "lighting-campaign",
        "Campagne d'éclairage : éclairage, réseau, pont, bus et PostgreSQL tués l'un après l'autre",
        20,
        during=kill_in_mid_campaign(40, "lighting", "network", "gateway_bridge", "nats", "postgres"),
        quick_s=8,
        quick_during=kill_in_mid_campaign(6, "lighting"),
        is_slow=True,
    ),
    Case(
        "dusk-without-network",
        "Serveur de réseau absent au coucher du soleil",
        20,
        during=dusk_without_network(8),
    ),
    Case(
        "feed",
        "Fil des mesures suivi par deux lecteurs, deux flux d'événements et un webhook, avec retards, "
        "corrections, redécodage et rétention : ingestion, API, alertes et PostgreSQL tués l'un après l'autre",
        60,
        during=kill_in_turn("ingest", "api", "alerting", "postgres"),
        around=following_feed,
        quick_s=8,
        quick_during=kill_in_turn("ingest", "alerting"),
        is_slow=True,
    ),
    *_clocks(),
    Case("bus-down", "Bus arrêté 60 s", 69, during=keep_down("nats")),
    Case("postgres-down", "PostgreSQL arrêté 60 s", 69, during=keep_down("postgres")),
    Case("alerting-down", "Alertes arrêtées 10 min, ingestion en marche", 609, during=keep_down("alerting")),
    Case("bus-disk-full", "Disque du bus plein, puis libéré", 20, during=fill_disk("nats"), on_small_disks=True),
    Case(
        "postgres-disk-full",
        "Disque de PostgreSQL plein, puis libéré",
        30,
        during=fill_disk("postgres"),
        on_small_disks=True,
    ),
    *FAULT_CASES,
    Case(
        "fuzz",
        "Messages gâtés à chaque porte : 20 000 de chaque sorte, puis un bon",
        10,
        around=fuzzing(),
        rate=20.0,
    ),
    Case(
        "soak",
        "Dix fois le pilote, 20 minutes (--hours 24 : un jour) : rien ne grandit",
        1_200,
        **soak_load(),
    ),
)


# What continuous integration plays, in ten minutes at most: `./territoire test`, and the slow ones `--browser`.
SELECTION = tuple(case for case in CASES if case.quick_s is not None)


def find_case(name: str) -> Case | None:
    """The case of this name."""
    return next((case for case in CASES if case.name == name), None)
