"""Examines the database, the bus, the broker and the processes of an installation."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api.quarantine_reasons import quarantine_cause
from cli.database_report import (
    EXAMINER,
    SILENT_AFTER,
    Activity,
    Content,
    DatabaseReport,
    Gateways,
    Logins,
    read_database,
)
from cli.finding_kinds import Kind, Subject
from cli.findings import STREAM_FILLING, Finding, Severity, critical, days_left, good, named, warning, worst
from cli.place import Place
from cli.state import Bus, read_bus
from core.messages import topics
from core.runtime.mqtt import NOT_YET, Broker, MqttAway, MqttRejected, MqttSession, MqttSettings, mqtt_reason
from core.runtime.postgres import database_address
from ingest.cold.store import ColdState
from registry.gateway_tokens import Unproved
from registry.granting import Right
from registry.keys import KeyWrap
from registry.rights import OWNER
from registry.schema import SchemaMismatch
from registry.timescale import TRIED, is_tried
from registry.units import UnitMismatch

WITHIN_S = 4.0
# All are examined at once, and nobody waits for longer than ten seconds.
READ_WITHIN_S = 6.0
SKEW_MOST = timedelta(seconds=2)
ROLLUPS_LATE = timedelta(hours=3)
STREAM_FULL = 0.9
NO_GATEWAY_S_COMMANDS = "eu868/gateway/ffffffffffffffff/command/doctor"

COLD_TROUBLES = {
    "unset": ("le dossier froid n'est plus nommé", "rendez TERRITOIRE_COLD_FOLDER à maintenance, redémarrez-la"),
    "missing": (
        "le dossier froid n'est pas là, ou son volume n'est pas monté",
        "montez le volume de TERRITOIRE_COLD_FOLDER, avec son fichier .territoire-froid",
    ),
    "foreign": (
        "le dossier froid est celui d'une autre installation",
        "donnez à celle-ci un dossier à elle (TERRITOIRE_COLD_FOLDER)",
    ),
    "full": ("le disque du dossier froid est plein", "agrandissez-le : la maintenance reprend dans l'heure"),
    "denied": (
        "la maintenance n'a pas le droit d'écrire dans le dossier froid",
        "donnez-le-lui (propriétaire, ReadWritePaths de l'unité systemd, volume en lecture seule)",
    ),
    "extra": (
        "l'extra « parquet » n'est pas installé : le dossier froid ne s'écrit ni ne se lit",
        "installez-le (pip install 'territoire[parquet]', ou l'image construite avec PARQUET=1)",
    ),
    "broken": (
        "un fichier du dossier froid manque ou est abîmé, ou ce dossier est une copie trop ancienne",
        "le journal de maintenance le nomme : remettez-le depuis la copie la plus récente de ce dossier",
    ),
    "changing": (
        "un morceau ancien change pendant qu'il s'écrit dans le dossier froid",
        "un redécodage ou un import est en cours : il sera repris dans l'heure",
    ),
}
SEALED_IN_FRENCH = {
    "application": "mots de passe d'applications partenaires",
    "device": "clés d'équipements",
    "device_decoding_key": "clés de compteurs",
    "event_source": "secrets de partenaires",
    "mqtt_account": "comptes MQTT",
    "lns_source": "mots de passe d'autres LNS",
    "multicast_group": "clés de groupes",
    "session": "sessions d'équipements",
    "profile_decoding_key": "clés de compteurs (par modèle)",
    "webhook_endpoint": "secrets de destinataires",
}


async def examine_database(place: Place) -> list[Finding]:
    """Whether it is reached, of this program's version, on time, opened by our key; then its content."""
    if place.database_url is None:
        return []
    report = await read_database(place.database_url, EXAMINER, READ_WITHIN_S)
    if report.content is None or report.activity is None:
        return [_unusable(report, place.database_url)]
    found = _examine_content(report.content, place.shards)
    if worst(found) is Severity.CRITICAL:
        return found
    found += _examine_logins(report.activity.logins)
    found += _examine_rights(report.activity.rights_missing)
    key = _examine_key(report.activity, place)
    return [*found, *key, *_examine_activity(report.activity, report.content.gateways)]


def _unusable(report: DatabaseReport, url: str) -> Finding:
    if report.unreadable is not None:
        return critical(Kind.TIMESCALE_UNUSABLE, report.unreadable.what, report.unreadable.remedy)
    if report.mismatch is not None:
        return _mismatch(report.mismatch)
    if report.rejection is not None:
        what = f"refuse : {report.rejection}"
        remedy = (
            "un service ne voit que ses tables : lancez doctor avec les adresses de la migration ; "
            "avec celles-ci, relancez-la"
        )
        return critical(Kind.DATABASE_REFUSES, what, remedy)
    what = f"ne répond pas ({database_address(url)}) : {report.away}"
    remedy = "vérifiez que PostgreSQL tourne, son adresse et le mot de passe"
    return critical(Kind.DATABASE_AWAY, what, remedy)


def _mismatch(mismatch: SchemaMismatch | UnitMismatch) -> Finding:
    if isinstance(mismatch, UnitMismatch):
        remedy = "reprenez la version précédente du programme, et prévenez-nous"
        return critical(Kind.UNITS_MISMATCH, mismatch.french, remedy)
    remedy = (
        "une base en retard : redémarrez la pile avec ce programme (sudo systemctl restart territoire), "
        "les migrations passent d'abord ; sans superviseur, ./territoire migrate. Une base en avance : "
        "reprenez le programme récent"
    )
    return critical(Kind.SCHEMA_MISMATCH, mismatch.french, remedy)


def _examine_content(content: Content, shards: str | None) -> list[Finding]:
    skew = content.skew
    found = [good(Subject.DATABASE, f"PostgreSQL {content.postgresql}, schéma à jour")]
    if skew > SKEW_MOST:
        found.append(
            critical(
                Kind.DATABASE_CLOCK_SKEWED,
                f"{skew.total_seconds():.0f} s d'écart avec cette machine",
                "mettez les deux machines à l'heure (chrony) : alertes et fenêtres radio en dépendent",
            )
        )
    if not _is_zone(content.timezone):
        found.append(
            critical(
                Kind.TIME_ZONE_UNKNOWN,
                f"« {content.timezone} », que la base nomme, n'existe pas : ni jour ni mois ne se calculent",
                "UPDATE deployment SET timezone = 'Europe/Paris' (ou le vôtre, comme la base tz l'écrit), puis "
                "redémarrez",
            )
        )
    if shards is not None and shards != str(content.shards):
        found.append(
            critical(
                Kind.SHARDS_DIFFER,
                f"TERRITOIRE_SHARDS vaut {shards}, la base est divisée en {content.shards} : la migration refuse",
                f"retirez le réglage (ou mettez {content.shards}) ; pour en changer, ./territoire reshard",
            )
        )
    if not is_tried(content.timescaledb):
        what = f"version {content.timescaledb} : Territoire est éprouvé avec la {TRIED}"
        found.append(warning(Kind.TIMESCALE_UNTRIED, what, "essayez d'abord sur une copie, ou revenez à celle-là"))
    return found


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _examine_rights(missing: list[Right]) -> list[Finding]:
    if not missing:
        return []
    roles = ", ".join(sorted({right.role for right in missing}))
    shown = named([f"{right.privilege} sur {right.name}" for right in missing])
    what = f"il manque à {roles} : {shown}"
    return [critical(Kind.RIGHTS_MISSING, what, "relancez la migration (./territoire migrate) : elle les rend")]


def _examine_key(activity: Activity, place: Place) -> list[Finding]:
    """Check that the services' key opens everything that is wrapped, in every table."""
    try:
        keks = place.keks()
    except ValueError as wrong:
        remedy = f"{wrong} : copiez-la à nouveau, entière"
        return [critical(Kind.KEY_MALFORMED, "celle qui est donnée n'en est pas une", remedy)]
    if keks is None:
        return []
    keys, sealed = KeyWrap(keks.kek_id, keks.current, keks.former), activity.sealed
    closed = [one for one in sealed if not keys.opens(one.sample, one.owner)]
    if not closed:
        return [good(Subject.KEY, "ouvre tout ce qui est chiffré dans la base")] if sealed else []
    counts: dict[str, int] = {}
    for one in closed:
        counts[one.table] = max(counts.get(one.table, 0), one.rows)
    told = ", ".join(f"{count} {SEALED_IN_FRENCH.get(table, table)}" for table, count in counts.items())
    kek_ids = ", ".join(sorted({one.kek_id for one in closed}))
    return [
        critical(
            Kind.KEY_CLOSED,
            f"n'ouvre pas {told} (sous {kek_ids}) : ils ne marcheront pas",
            "rétablissez la clé d'origine (TERRITOIRE_KEK ; sur un serveur seul, le secrets.json gardé à part "
            "lors de l'installation) et redémarrez ; sans elle, ces clés sont à saisir à nouveau",
        )
    ]


def _unproved(stations: list[Unproved]) -> list[Finding]:
    """Stations of before that show no credential: for how long they are still received."""
    now = datetime.now(UTC)
    remedy = "faites un jeton pour chacune (POST /v1/gateways/{EUI}/tokens) et mettez-le dans son tc.key"
    late = {station.eui: station.name for station in stations if station.until <= now}
    waiting = {station.eui: station.name for station in stations if station.until > now}
    found: list[Finding] = []
    if late:
        what = "Basics Station sans jeton ni certificat, refusées depuis la fin du délai"
        found.append(critical(Kind.CREDENTIALS_UNPROVED, what, remedy, late))
    if waiting:
        days = days_left(min(station.until for station in stations if station.eui in waiting), now)
        what = f"Basics Station sans jeton ni certificat, reçues encore {days}"
        found.append(warning(Kind.CREDENTIALS_UNPROVED, what, remedy, waiting))
    return found


def _examine_logins(logins: Logins) -> list[Finding]:
    """Whether each process comes by its own login, and what policies believe needs a proof."""
    found: list[Finding] = []
    give = "donnez à la migration le mot de passe de chaque service (TERRITOIRE_LOGINS)"
    for account, services in logins.shared:
        what = f"viennent par le compte {account}, qui n'est pas le leur"
        remedy = f"{give}, et à chacun son adresse, puis redémarrez-les"
        found.append(warning(Kind.LOGINS_SHARED, what, remedy, services))
    if logins.is_owner_open and not any(account == OWNER for account, _ in logins.shared):
        what = f"{OWNER}, que tous les services partageaient, est encore ouvert"
        found.append(warning(Kind.LOGINS_OWNER_OPEN, what, f"{give} et relancez-la : elle le ferme"))
    again = "quand toutes les API sont de cette version, relancez la migration : elle l'impose"
    if logins.is_sealed is False:
        what = "n'est pas imposé : une API d'une version précédente était connectée pendant la migration"
        found.append(warning(Kind.ISOLATION_UNSEALED, what, again))
    if logins.is_vouched is False:
        what = "l'API n'a pas à se faire reconnaître pour ouvrir des sessions : la migration n'a pas pu l'imposer"
        found.append(warning(Kind.ISOLATION_UNVOUCHED, what, f"{give} ; {again}"))
    return found


def _examine_activity(activity: Activity, gateways: Gateways) -> list[Finding]:
    found: list[Finding] = []
    for service, unowned in activity.unowned:
        shards = ", ".join(map(str, unowned))
        what = f"personne ne traite la part {shards} : ce qui arrive attend"
        remedy = (
            "voyez plus haut s'il est arrêté ou s'il attend ; sinon redémarrez-le (un serveur seul : sudo "
            "systemctl restart territoire)"
        )
        found.append(critical(Kind.SERVICE_UNOWNED, what, remedy, [service]))
    found += _gateways(gateways)
    found += _unproved(activity.unproved)
    if activity.accounts_waiting:
        what = f"comptes faits par l'API que le courtier n'a pas encore : {activity.accounts_waiting}"
        remedy = (
            "intake les y porte : TERRITOIRE_MQTT_ACCOUNTS_URL, et le module dynamic-security de mosquitto ; "
            "son journal dit ce qui manque (« comptes MQTT »)"
        )
        found.append(warning(Kind.MQTT_ACCOUNTS_WAITING, what, remedy))
    if activity.unconfirmed:
        total = sum(tenant.items for tenant in activity.unconfirmed)
        what = f"logements et compteurs dont la classe est à confirmer : {total}"
        remedy = "GET /v1/privacy/unconfirmed dit ce qui serait effacé"
        tenants = {tenant.slug: tenant.name for tenant in activity.unconfirmed}
        found.append(warning(Kind.PRIVACY_UNCONFIRMED, what, remedy, tenants))
    unknown = activity.unknown_gateways
    if unknown:
        what = "une se présente sans être enregistrée"
        if unknown > 1:
            what = f"{unknown} se présentent sans être enregistrées"
        remedy = "GET /v1/gateways/unknown les nomme ; enregistrez les vôtres"
        found.append(warning(Kind.GATEWAYS_UNKNOWN, what, remedy))
    for reason, items in activity.quarantined:
        amount = "1 élément illisible mis" if items == 1 else f"{items} éléments illisibles mis"
        what = f"{amount} de côté en 24 heures : {quarantine_cause(reason)}"
        remedy = "lisez la cause dans observation.quarantine"
        found.append(warning(Kind.QUARANTINE_GROWS.of(reason), what, remedy))
    if activity.unreached:
        total = sum(tenant.alerts for tenant in activity.unreached)
        what = "1 alerte n'a prévenu personne" if total == 1 else f"{total} alertes n'ont prévenu personne"
        remedy = "faites reprendre, prouver ou ajouter une adresse (webhook-endpoints) : elles partent alors"
        severity = critical if any(tenant.is_critical for tenant in activity.unreached) else warning
        tenants = {tenant.slug: tenant.name for tenant in activity.unreached}
        found.append(severity(Kind.ALERTS_UNREACHED, f"{what}, aucune adresse n'est en service", remedy, tenants))
    if activity.feed_held is not None:
        seconds = int(activity.feed_held.held.total_seconds())
        whose = activity.feed_held.holder or "titulaire inconnu"
        what = f"une transaction qui écrit est ouverte depuis {seconds} s ({whose}) : ses lecteurs attendent"
        found.append(warning(Kind.FEED_HELD, what, "terminez-la (pg_terminate_backend) ; rien n'est perdu"))
    found += _cold(activity.cold)
    since = activity.rollups_wait_since
    if since is not None and datetime.now(UTC) - since > ROLLUPS_LATE:
        what = f"en retard depuis {since:%d/%m à %H h %M} UTC"
        found.append(warning(Kind.ROLLUPS_LATE, what, "vérifiez que maintenance tourne, et lisez son journal"))
    return found


def _cold(state: ColdState) -> list[Finding]:
    if state.reason is None or state.failed_since is None:
        return []
    cause, remedy = COLD_TROUBLES[state.reason]
    what = f"depuis le {state.failed_since:%d/%m à %H h %M} UTC, {cause}"
    if state.chunks:
        weeks = "1 morceau reste" if state.chunks == 1 else f"{state.chunks} morceaux restent"
        what += f" ; {weeks} dans la base au-delà de la durée prévue, rien n'est perdu"
    return [warning(Kind.COLD_FAILS.of(state.reason), what, remedy)]


def _gateways(known: Gateways) -> list[Finding]:
    silent, never = known.silent, known.never
    count = len(known.online) + len(silent) + len(never)
    if not count:
        return [
            warning(Kind.GATEWAYS_NONE, "aucune n'est enregistrée", "enregistrez les vôtres : POST /v1/gateways")
        ]
    found: list[Finding] = []
    remedy = "alimentation, réseau, adresse et port du serveur dans la passerelle, pare-feu (UDP 1700)"
    if silent:
        what = f"plus rien depuis plus de {SILENT_AFTER // timedelta(minutes=1)} minutes"
        found.append((warning if known.online else critical)(Kind.GATEWAYS_SILENT, what, remedy, silent))
    if never:
        found.append(warning(Kind.GATEWAYS_NEVER_HEARD, "jamais rien reçu", remedy, never))
    return found or [good(Subject.GATEWAYS, f"les {count} sont entendues")]


async def examine_bus(place: Place) -> list[Finding]:
    """Whether it is reached, has its streams, and has room."""
    bus = await read_bus(place.nats_url)
    if bus.keeps_nothing:
        remedy = (
            "ajoutez jetstream { store_dir: … } à la configuration de nats-server (docs/serveur.md), redémarrez-le"
        )
        return [critical(Kind.BUS_KEEPS_NOTHING, f"ne garde rien : {bus.problem}", remedy)]
    if bus.problem is not None:
        remedy = "vérifiez que nats-server tourne, son adresse et le mot de passe"
        return [critical(Kind.BUS_AWAY, f"ne répond pas : {bus.problem}", remedy)]
    found = [
        critical(Kind.BUS_STREAM_MISSING.of(name), f"le flux {name} manque", "./territoire migrate le crée")
        for name in bus.missing
    ]
    for stream in bus.streams:
        reader = "network" if stream.name == topics.FRAMES else "ingest"
        remedy = f"vérifiez {reader} et la base : ce flux se vide quand ils travaillent"
        if stream.filled > STREAM_FULL:
            what = f"le flux {stream.name} est presque plein ({stream.filled:.0%})"
            what += " : bientôt les passerelles seront refusées"
            found.append(critical(Kind.BUS_FILLING.of(stream.name), what, remedy))
        elif stream.filled > STREAM_FILLING:
            what = f"le flux {stream.name} se remplit ({stream.filled:.0%}, {stream.messages} messages)"
            found.append(warning(Kind.BUS_FILLING.of(stream.name), what, remedy))
    found += _bus_logins(bus)
    is_known = bus.version is not None
    return found or ([good(Subject.BUS, "répond, ses flux sont là et ne se remplissent pas")] if is_known else [])


def _bus_logins(bus: Bus) -> list[Finding]:
    found: list[Finding] = []
    if bus.is_open:
        what = "laisse entrer sans mot de passe : n'importe qui du réseau lit et écrit tout"
        remedy = "donnez à nats-server les comptes de users.conf (docs/serveur.md)"
        found.append(critical(Kind.BUS_OPEN, what, remedy))
    if bus.shared:
        what = "viennent par le compte commun, qui peut tout lire et tout écrire sur le bus"
        remedy = "donnez à chaque service son compte (TERRITOIRE_NATS_URL), puis changez le mot de passe commun"
        found.append(warning(Kind.BUS_SHARED, what, remedy, bus.shared))
    return found


async def examine_broker(place: Place) -> list[Finding]:
    """Whether the bridge may command gateways, and no connection without an account is accepted."""
    if place.mqtt_url is None:
        return []
    broker = Broker.from_url(place.mqtt_url, is_ours=True)
    refused = await _rejection_reason(broker)
    if refused is not None:
        remedy = "vérifiez que le courtier tourne, le compte « bridge » et ses droits (fichier acl)"
        return [critical(Kind.BROKER_AWAY, refused, remedy)]
    nobody = Broker(broker.host, broker.port, None, None, broker.tls, broker.ca)
    if await _rejection_reason(nobody) is None:
        what = "laisse entrer sans mot de passe : n'importe qui peut parler au nom d'une passerelle"
        return [critical(Kind.BROKER_OPEN, what, "allow_anonymous false, et un acl_file (deploy/ en donne un)")]
    return [good(Subject.BROKER, "le pont y commande les passerelles, personne n'y entre sans compte")]


async def _rejection_reason(broker: Broker) -> str | None:
    """Why this account cannot command a gateway; None when it can.

    Mosquitto grants any subscription, and then silently delivers nothing: only a publish shows its access rules.
    """
    edge = MqttSession(MqttSettings(mqtt_client_id=EXAMINER), ["+/gateway/+/event/+"], broker=broker)
    task = asyncio.create_task(edge.run())
    answered = asyncio.create_task(edge.answered())
    try:
        await asyncio.wait({task, answered}, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if not edge.is_connected:
            return edge.problem if edge.problem not in {None, NOT_YET} else "ne répond pas"
        async with asyncio.timeout(WITHIN_S):
            await edge.publish(NO_GATEWAY_S_COMMANDS, b"")
    except MqttRejected as refused:
        return mqtt_reason(refused)
    except MqttAway as away:
        return str(away)
    except TimeoutError:
        return "ne répond plus"
    finally:
        for one in (task, answered):
            one.cancel()
        await asyncio.gather(task, answered, return_exceptions=True)
    return None
