"""Kills, stops and freezes of services that people use, each, in turn, and with two replicas of everything."""

import signal

from lab.chaos.bus_servers import lose_servers
from lab.chaos.case import Case, Layout
from lab.chaos.failover import fail_over
from lab.chaos.faults import Act, freeze_owner, kill, terminate
from lab.chaos.in_turn import freeze, kill_any_replica, kill_each
from lab.chaos.in_use import in_use
from lab.chaos.migrate_harm import harm_migrate
from services.supervisor.stack_options import SERVICES

USED = {"alerting": "alertes", "lighting": "éclairage", "api": "API", "intake": "collecte des autres LNS"}
# Each once, the bridge when the load is no longer new to anybody, the database last, which takes the longest. Not
# the MQTT broker: what it holds for a bridge that comes back dies with it.
ALL = (*(one for one in SERVICES if one != "gateway_bridge"), "gateway_bridge", "nats", "postgres")
CABINETS, QUICK_CABINETS = 8, 3


def _of(service: str) -> tuple[tuple[str, str, float, Act], ...]:
    frozen = freeze_owner(service) if service == "alerting" else freeze(service)
    return (
        ("kill", "kill -9", 20, kill(service)),
        ("term", "SIGTERM", 20, terminate(service)),
        ("freeze", "Figé 20 s", 29, frozen),
    )


KILL_CASES: tuple[Case, ...] = (
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
)
