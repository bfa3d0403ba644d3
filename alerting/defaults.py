"""The alert rules that a new tenant starts with (docs/alertes.md, "Les règles de départ")."""

from dataclasses import replace

from alerting.rule_store import find_calendar, insert_rules, save_calendar
from alerting.rules.faults import LAMPS
from alerting.rules.model import Rule, Rung
from core.runtime.postgres import Connection, Pool

OPENING_HOURS = "heures d'ouverture"
WEEK = [[["07:30", "18:30"]]] * 5 + [[], []]

BINS = ("waste_container", "glass_container", "paper_container", "packaging_container", "textile_container")
CABINET = ("lighting_cabinet",)


def _rule(name: str, kind: str, quantity: str | None, severity: str, message: str, **fields: object) -> Rule:
    return Rule(0, 0, name, kind, quantity, severity, message, **fields)  # pyright: ignore[reportArgumentType]


def _threshold(
    name: str, quantity: str, fire: tuple[str, float], clear: tuple[str, float], severity: str, message: str,
    **fields: object,
) -> Rule:  # fmt: skip
    limits = {"fire_op": fire[0], "fire_value": fire[1], "clear_op": clear[0], "clear_value": clear[1]}
    return _rule(name, "threshold", quantity, severity, message, **limits, **fields)


DEFAULT_RULES = (
    _threshold(
        "bin_75", "fill_level", (">=", 75), ("<=", 60), "warning",
        "{asset} ({place}) : rempli à {value} depuis {since} (seuil {threshold}), à collecter.",
        for_readings=2, clear_on_emptying=True,
        ladder=(Rung("major", within_hours=24.0, limit=100.0), Rung("major", value=90.0)),
    ),
    _threshold(
        "bin_fire", "temperature", (">", 60), ("<", 50), "critical",
        "{asset} ({place}) : {value} dans le conteneur depuis {since} : feu possible, prévenir les secours (18 ou "
        "112) puis vérifier sur place.",
        asset_kinds=BINS, judges_improbable=True,
    ),
    _rule(
        "bin_tilt", "boolean", "tilt", "critical",
        "{asset} ({place}) : conteneur renversé depuis {since} : dégager la voie et le redresser.",
        asset_kinds=BINS, fire_value=1.0,
    ),
    _threshold(
        "co2_800", "co2", (">=", 800), ("<", 700), "info",
        "{asset} ({place}) : CO2 à {value} depuis {since} (seuil {threshold}) : aérer.",
        for_seconds=1800, keep_firing_seconds=600, schedule="open",
    ),
    _threshold(
        "co2_1500", "co2", (">=", 1500), ("<", 1200), "major",
        "{asset} ({place}) : CO2 à {value} depuis {since} (seuil {threshold}) : aérer sans attendre.",
        for_seconds=600, keep_firing_seconds=600, schedule="open",
    ),
    _threshold(
        "leak", "water_volume", (">", 5), ("<=", 5), "major",
        "{asset} ({place}) : jamais moins de {value} la nuit, depuis {since} (seuil {threshold}) : fuite "
        "probable, relever le compteur et fermer la vanne.",
        series="night_minimum_flow", for_readings=2,
        ladder=(Rung("critical", times_median=10.0, at_once=True),),
    ),
    _threshold(
        "over_power", "active_power", (">", 110), ("<", 95), "major",
        "{asset} ({place}) : puissance à {value} de l'attendu depuis {since} : chercher un défaut.",
        asset_kinds=CABINET, scope="asset", series="power_ratio", for_seconds=300, keep_firing_seconds=600,
    ),
    _threshold(
        "dark", "active_power", ("<", 20), (">", 50), "critical",
        "{asset} ({place}) : éteinte alors qu'elle devrait éclairer, depuis {since} ({value} de la puissance "
        "attendue) : vérifier l'alimentation et le disjoncteur.",
        asset_kinds=CABINET, scope="asset", series="power_ratio", for_seconds=900, schedule="lit", inhibits=True,
    ),
    _threshold(
        "day_on", "active_power", (">", 20), ("<", 5), "warning",
        "{asset} ({place}) : allumée en plein jour depuis {since} ({value} de la puissance attendue) : vérifier "
        "l'horloge et le contacteur.",
        asset_kinds=CABINET, scope="asset", series="power_ratio", for_seconds=1800, schedule="unlit",
    ),
    _threshold(
        "under_power", "active_power", (">=", 0.8), ("<", 0.5), "warning",
        "{asset} ({place}) : {measured} au lieu de {expected} depuis {since} : il manque au moins une lampe ; "
        "faire le tour des points lumineux.",
        asset_kinds=LAMPS, scope="asset", series="missing_lamps", for_readings=2, for_seconds=1800,
        schedule="lit",
    ),
    _threshold(
        "lost_phase", "voltage", ("<", 65), (">", 85), "major",
        "{asset} ({place}) : phase {phase} perdue depuis {since}, {measured} au lieu de {expected} : vérifier son "
        "fusible, puis appeler le gestionnaire du réseau.",
        asset_kinds=LAMPS, series="phase_voltage", for_readings=2, for_seconds=1200, schedule="lit",
    ),
    _threshold(
        "lost_phase_current", "current", ("<", 10), (">", 50), "major",
        "{asset} ({place}) : plus de courant sur la phase {phase} depuis {since}, {value} de l'ordinaire : "
        "vérifier son fusible et son circuit.",
        asset_kinds=LAMPS, series="phase_current", for_readings=2, for_seconds=1200, schedule="lit",
    ),
    _threshold(
        "contract_power", "apparent_power", (">", 100), ("<", 95), "major",
        "{asset} ({place}) : {measured} pour {expected} souscrits depuis {since} : le compteur peut couper ; "
        "chercher un défaut, ou revoir le contrat.",
        asset_kinds=CABINET, scope="asset", series="contract_ratio", for_seconds=300, keep_firing_seconds=600,
    ),
    _rule(
        "breaker", "boolean", "breaker_tripped", "critical",
        "{asset} ({place}) : disjoncteur déclenché depuis {since} : chercher le défaut avant de réarmer.",
        asset_kinds=LAMPS, scope="asset", fire_value=1.0, inhibits=True,
    ),
    _rule(
        "cabinet_door", "boolean", "open", "warning",
        "{asset} ({place}) : porte ouverte depuis {since} : envoyer quelqu'un la fermer, ou déclarer les travaux.",
        asset_kinds=LAMPS, scope="asset", fire_value=1.0,
    ),
    _rule(
        "clock_offset", "range", "clock_offset", "warning",
        "{asset} ({place}) : horloge décalée de {value} depuis {since} : ses allumages le sont aussi ; la "
        "remettre à l'heure.",
        asset_kinds=CABINET, for_readings=2,
        fire_value=-120.0, fire_upper=120.0, clear_value=-60.0, clear_upper=60.0,
    ),
    _rule(
        "clock_lost", "boolean", "clock_valid", "major",
        "{asset} ({place}) : horloge sans heure depuis {since} : elle allume sans suivre son programme ; vérifier "
        "son réseau et sa réserve de marche.",
        asset_kinds=CABINET, fire_value=0.0, for_seconds=1800,
    ),
    _rule(
        "intrusion", "boolean", "open", "critical",
        "{asset} ({place}) : ouvert hors des heures d'ouverture depuis {since} : envoyer quelqu'un vérifier.",
        fire_value=1.0, schedule="closed",
    ),
    _rule(
        "gateway_down", "gateway", None, "major",
        "La passerelle {gateway} est muette depuis {since} : vérifier son alimentation et son accès à internet.",
        for_seconds=600, keep_firing_seconds=300, inhibits=True,
    ),
    _rule(
        "device_silent", "silence", None, "warning",
        "{asset} ({place}) : le capteur {device} est muet depuis {since} : vérifier sa pile et sa "
        "couverture radio.",
        inhibits=True,
    ),
    _threshold(
        "battery_low", "battery_level", ("<", 20), (">=", 30), "info",
        "{asset} ({place}) : pile du capteur {device} à {value} depuis {since} : prévoir son remplacement.",
        cadence="weekly",
    ),
    _rule(
        "sensor_flat", "flat", "temperature", "info",
        "{asset} ({place}) : la température du capteur {device} ne bouge plus ({value}) depuis {since} : sonde à "
        "contrôler.",
        fire_value=0.0, for_seconds=172_800, keep_firing_seconds=86_400, cadence="weekly",
    ),
    _rule(
        "sensor_loss", "loss", None, "info",
        "{asset} ({place}) : {value} des messages du capteur {device} se perdent depuis {since} (seuil "
        "{threshold}) : vérifier sa place et la couverture radio.",
        fire_op=">", fire_value=30.0, clear_op="<=", clear_value=20.0, keep_firing_seconds=86_400,
        cadence="weekly",
    ),
)  # fmt: skip


async def create_default_rules(connection: Connection | Pool, tenant_id: int) -> None:
    """The rules that every new tenant starts with, enabled; those it already has are left as they are."""
    calendar_id = await find_calendar(connection, tenant_id, OPENING_HOURS)
    if calendar_id is None:
        calendar_id = (await save_calendar(connection, tenant_id, name=OPENING_HOURS, weekly=WEEK)).id
    rules = [
        replace(rule, calendar_id=calendar_id) if rule.schedule in ("open", "closed") else rule
        for rule in DEFAULT_RULES
    ]
    await insert_rules(connection, tenant_id, rules)
