"""The cases, as data: what each does to a stack that carries a load."""

from lab.chaos.case import Case, Layout
from lab.chaos.faults.cases import FAULT_CASES
from lab.chaos.feed.following import following_feed
from lab.chaos.fuzz.around import fuzzing
from lab.chaos.kills.cases import KILL_CASES
from lab.chaos.kills.in_turn import kill_in_turn
from lab.chaos.lighting.campaign import kill_in_mid_campaign
from lab.chaos.lighting.dusk import dusk_without_network
from lab.chaos.soak.load import soak_load
from lab.chaos.upgrade.rolling import upgrade_and_back
from services.supervisor.stack_options import SERVICES

CASES: tuple[Case, ...] = (
    *KILL_CASES,
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
        layout=Layout.FRESH,
        quick_s=8,
        quick_during=kill_in_turn("ingest", "alerting"),
        is_slow=True,
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
