"""The cases that spoil what lies around services: networks, clocks, disks, descriptors, people who mean ill."""

from dataclasses import replace

from lab.chaos.case import Around, Case
from lab.chaos.faults.clocks import HOUR_S, jump, with_clock_off, with_clocks
from lab.chaos.faults.disk import fill_disk
from lab.chaos.faults.dns import by_names, silence_resolver
from lab.chaos.faults.ill_will import (
    beside,
    endless_script,
    flood_joins,
    slow_clients,
    with_endless_script,
    wrong_keys,
)
from lab.chaos.faults.limits import exhaust_descriptors, limit_memory
from lab.chaos.faults.proxied import (
    DISTURBANCES,
    SETTINGS,
    fleet_through_proxies,
    gateways_through_proxy,
    spoil,
    through_proxy,
    together,
    with_settings,
)
from lab.chaos.faults.replay import replay_buffer
from lab.chaos.faults.server_certificates import certified, let_certificate_end, with_certified_broker
from lab.chaos.faults.station_certificate import end_and_renew, with_certified_stations
from lab.chaos.kills.signals import keep_down
from lab.chaos.lighting.campaign import disturb_in_mid_campaign
from lab.chaos.witnesses.rooms import with_witness
from services.supervisor.stack_options import SERVICES

# As the default, but for waits that a case cannot wait for.
SCHEDULE = "[1, 2, 2, 5, 5, 5, 10, 10, 10, 10]"
BUS_SETTING, DATABASE_SETTING = SETTINGS["nats"], SETTINGS["postgres"]
SPOILT = "en retard de 200 ms, muet, coupé net, coupé au milieu d'un message"

# The bridge is late: were it early, later cases would be in the past of this one.
CLOCKS_OFF = {
    "gateway_bridge": ("pont des passerelles", -HOUR_S),
    "network": ("serveur de réseau", HOUR_S),
    "ingest": ("ingestion", -HOUR_S),
}

CERTIFIED: tuple[tuple[str, str, Around, float | None, Around | None], ...] = (
    (
        "bus",
        "le bus, pour tous",
        certified("nats", dict.fromkeys(SERVICES, BUS_SETTING)),
        30,
        certified("nats", dict.fromkeys(("network", "ingest"), BUS_SETTING)),
    ),
    (
        "postgres",
        "PostgreSQL, pour tous",
        certified("postgres", dict.fromkeys(SERVICES, DATABASE_SETTING)),
        None,
        None,
    ),
    (
        "mqtt",
        "le courtier MQTT, ses passerelles et une application",
        with_certified_broker,
        12,
        with_certified_broker,
    ),
)

WITHOUT_WITNESS: tuple[Case, ...] = (
    *(
        Case(
            f"clock-{service.replace('_', '-')}",
            f"Horloge fausse d'une heure : {french}",
            12,
            around=with_clock_off(service, seconds),
        )
        for service, (french, seconds) in CLOCKS_OFF.items()
    ),
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
)
SPOILT_AROUND: tuple[Case, ...] = (
    *(
        Case(
            f"proxy-{server}",
            f"{french} derrière un mandataire : {SPOILT}",
            70,
            during=disturb_in_mid_campaign(6, spoil(server), DISTURBANCES),
            around=through_proxy(server, *SERVICES),
        )
        for server, french in {"postgres": "PostgreSQL", "nats": "Bus"}.items()
    ),
    Case(
        "proxy-webhooks",
        f"Destinataire des alertes : {SPOILT}",
        60,
        during=spoil("webhooks"),
        around=with_settings("alerting", webhook_schedule_s=SCHEDULE),
    ),
    Case(
        "proxy-stations",
        f"Passerelles Basics Station et MQTT : {SPOILT}",
        90,
        during=spoil("station", "mqtt"),
        around=fleet_through_proxies,
    ),
    Case(
        "proxy-udp",
        f"Passerelles Semtech UDP : {SPOILT}",
        60,
        during=spoil("udp"),
        around=gateways_through_proxy,
    ),
    Case(
        "certificate",
        "Certificat des stations qui prend fin, puis est renouvelé",
        40,
        during=end_and_renew,
        around=with_certified_stations,
    ),
    *(
        Case(
            f"certificate-{name}",
            f"Certificat qui prend fin, puis une autre autorité : {french}",
            60,
            during=let_certificate_end,
            around=around,
            load_goes_on=True,
            quick_s=quick_s,
            quick_around=quick_around,
            is_slow=True,
        )
        for name, french, around, quick_s, quick_around in CERTIFIED
    ),
    Case(
        "replay",
        "Passerelle qui rejoue 200 000 trames gardées",
        60,
        during=replay_buffer(200_000),
        quick_s=8,
        quick_during=replay_buffer(5_000),
        quick_around=together(),
        is_slow=True,
    ),
    Case(
        "clock-jumps",
        "Horloges de nos services qui sautent d'une heure, en avant puis en arrière",
        60,
        during=jump(HOUR_S, -HOUR_S),
        around=with_clocks("network", "ingest", "alerting", "lighting", "maintenance", "api"),
    ),
    Case(
        "clock-jumps-bridge",
        "Horloge du pont des passerelles qui saute d'une heure, en arrière puis en avant",
        60,
        during=jump(-HOUR_S, HOUR_S),
        around=with_clocks("gateway_bridge"),
    ),
    Case(
        "descriptors-api",
        "API sans descripteurs, devant trois cents clients",
        20,
        during=exhaust_descriptors("api", 100),
    ),
    Case(
        "descriptors-intake",
        "Réception des autres LNS sans descripteurs, devant trois cents clients",
        20,
        during=exhaust_descriptors("intake", 100),
    ),
    Case(
        "ill-will",
        "Deux cents clients lents, mille clés fausses par seconde, un décodeur sans fin",
        60,
        during=beside(slow_clients(200), wrong_keys(1_000), endless_script),
        around=with_endless_script,
    ),
    Case(
        "join-flood",
        "Deux mille demandes d'activation par seconde d'équipements inconnus",
        60,
        during=beside(flood_joins(2_000)),
    ),
    Case(
        "dns-silent",
        "DNS muet 60 s pour l'ingestion et les alertes, dont les connexions viennent d'être coupées",
        69,
        during=silence_resolver("ingest", "alerting"),
        around=by_names("ingest", "alerting"),
    ),
    Case(
        "memory",
        "Chaque service sous une limite de deux fois sa mémoire",
        40,
        during=limit_memory(2.0, *SERVICES),
    ),
)
# The witness is innermost: what is round about it does not restart under its feet.
FAULT_CASES = WITHOUT_WITNESS + tuple(
    replace(case, around=together(*([] if case.around is None else [case.around]), with_witness))
    for case in SPOILT_AROUND
)
