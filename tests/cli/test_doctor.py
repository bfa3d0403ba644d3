"""An installation that is broken in one way at a time, and what is said of it."""

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.examination import COLD_TROUBLES, examine_broker, examine_bus, examine_database
from cli.findings import Finding, Severity, worst
from cli.place import Place
from core.runtime.bus import connect_bus
from core.runtime.postgres import Pool, connect
from lorawan.crypto import wrap_key
from registry.keys import KeyWrap, device_owner
from registry.schema import migrations
from services.supervisor.mosquitto import BRIDGE, SIMULATOR, PrivateMosquitto
from tests.cli.test_alarm_news import OnCall

KEK = "11" * 32


def about(findings: list[Finding], subject: str) -> Finding:
    [found] = [finding for finding in findings if finding.subject == subject]
    return found


async def register(pool: Pool, *, last_seen_ago: timedelta | None, name: str = "Mairie") -> str:
    """Its EUI."""
    await pool.execute("INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') ON CONFLICT DO NOTHING")
    eui = os.urandom(8)
    gateway = await pool.fetchval(
        "INSERT INTO gateway (tenant_id, gateway_id, name) SELECT id, $1, $2 FROM tenant WHERE slug = 'metz' "
        "RETURNING id",
        eui,
        name,
    )
    if last_seen_ago is not None:
        await pool.execute(
            "INSERT INTO gateway_state VALUES ($1, 'udp', '192.0.2.1', now() - $2::interval)",
            gateway,
            last_seen_ago,
        )
    return eui.hex()


async def test_an_installation_that_works_has_nothing_wrong(
    pool: Pool, database_url: str, nats_url: str, mosquitto_server: PrivateMosquitto
) -> None:
    await register(pool, last_seen_ago=timedelta(seconds=10))
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
    place = Place(database_url=database_url, nats_url=nats_url, mqtt_url=mosquitto_server.url(BRIDGE), kek=KEK)

    found = [*await examine_database(place), *await examine_bus(place), *await examine_broker(place)]

    # Tests write as the role that all services shared.
    found.remove(about(found, "comptes de la base"))
    assert worst(found) is Severity.GOOD, found


async def test_logins_that_services_share_and_a_seal_that_is_not_enforced(database, database_url: str) -> None:
    admin = await connect(database.admin_url)
    await admin.execute("UPDATE seal_secret SET is_enforced = false, api_sha256 = NULL")
    sharing = [await connect(database.url_of("ingest"), name) for name in ("network", "alerting", "ingest")]

    found = await examine_database(Place(database_url=database_url))
    for connection in (admin, *sharing):
        await connection.close()

    accounts = [finding for finding in found if finding.subject == "comptes de la base"]
    demands = [finding for finding in found if finding.subject == "cloisonnement"]
    assert accounts[0].names == ("alerting", "network")
    assert accounts[0].what.startswith("viennent par le compte territoire_ingest")
    assert accounts[1].what.startswith("territoire_service, que tous")
    assert [finding.severity for finding in demands] == [Severity.WARNING] * 2
    assert "n'est pas imposé" in demands[0].what
    assert "TERRITOIRE_LOGINS" in demands[1].remedy


async def test_a_database_that_is_away(free_port: int) -> None:
    place = Place(database_url=f"postgresql://x:y@127.0.0.1:{free_port}/territoire")

    [found] = await examine_database(place)

    assert (found.subject, found.severity) == ("base de données", Severity.CRITICAL)
    assert "ne répond pas" in found.what
    assert "PostgreSQL" in found.remedy


async def test_a_wrong_password_of_the_database(database_url: str) -> None:
    parts = urlsplit(database_url)

    [found] = await examine_database(
        Place(database_url=f"postgresql://{parts.username}:faux@{parts.hostname}:{parts.port}{parts.path}")
    )

    assert found.severity is Severity.CRITICAL
    assert "mot de passe" in found.remedy


async def test_migrations_that_are_behind(database) -> None:
    connection = await connect(database.admin_url)
    await connection.execute("DELETE FROM schema_migration WHERE number = $1", len(migrations()))
    await connection.close()

    [found] = await examine_database(Place(database_url=database.service_url))

    assert found.subject == "schéma"
    assert "il manque la migration" in found.what
    assert "territoire migrate" in found.remedy


async def test_a_key_that_opens_nothing(pool: Pool, database_url: str) -> None:
    await register(pool, last_seen_ago=timedelta())
    await pool.execute(
        "WITH p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec) "
        "SELECT id, 'p', 'v', 'm', 'c' FROM tenant WHERE slug = 'metz' RETURNING id, tenant_id) "
        "INSERT INTO device "
        "(tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id) "
        "SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 3, $1, 'kek-1' FROM p",
        KeyWrap("kek-1", bytes.fromhex(KEK)).wrap(bytes(16), device_owner(bytes(range(1, 9)), "app_key")),
    )

    right = about(await examine_database(Place(database_url=database_url, kek=KEK)), "clé de chiffrement")
    wrong = about(await examine_database(Place(database_url=database_url, kek="22" * 32)), "clé de chiffrement")
    torn = about(await examine_database(Place(database_url=database_url, kek="22")), "clé de chiffrement")

    assert right.severity is Severity.GOOD
    assert (wrong.severity, wrong.what) == (
        Severity.CRITICAL,
        "n'ouvre pas 1 clés d'équipements (sous kek-1) : ils ne marcheront pas",
    )
    assert "32, 48 ou 64 chiffres" in torn.remedy


@pytest.mark.parametrize("column", ["webhook_endpoint.secret_wrapped", "device_decoding_key.key_wrapped"])
async def test_a_key_that_opens_the_devices_and_not_the_rest(pool: Pool, database_url: str, column: str) -> None:
    """A table that comes later is found by its columns: this one is listed only to be filled."""
    await register(pool, last_seen_ago=timedelta())
    foreign = wrap_key(bytes.fromhex("33" * 32), bytes(16))
    fill = {
        "webhook_endpoint.secret_wrapped": (
            "INSERT INTO webhook_endpoint (tenant_id, url, description, secret_wrapped, kek_id) "
            "SELECT id, 'https://x.fr', '', $1, 'kek-0' FROM tenant WHERE slug = 'metz'"
        ),
        "device_decoding_key.key_wrapped": (
            "WITH p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec) "
            "SELECT id, 'p', 'v', 'm', 'c' FROM tenant WHERE slug = 'metz' RETURNING id, tenant_id), "
            "d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) "
            "SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 3, 'ABP' FROM p "
            "RETURNING id) "
            "INSERT INTO device_decoding_key (device_id, key_wrapped, kek_id) SELECT id, $1, 'kek-0' FROM d"
        ),
    }
    await pool.execute(fill[column], foreign)

    found = about(await examine_database(Place(database_url=database_url, kek=KEK)), "clé de chiffrement")

    assert found.severity is Severity.CRITICAL
    assert "kek-0" in found.what
    assert "secrets de destinataires" in found.what or "clés de compteurs" in found.what


async def test_gateways_that_are_silent(pool: Pool, database_url: str) -> None:
    await register(pool, last_seen_ago=timedelta(hours=1), name="Clocher")

    alone = about(await examine_database(Place(database_url=database_url)), "passerelles")
    await register(pool, last_seen_ago=timedelta(seconds=5), name="Mairie")
    one_of_two = about(await examine_database(Place(database_url=database_url)), "passerelles")

    assert (alone.severity, one_of_two.severity) == (Severity.CRITICAL, Severity.WARNING)
    assert one_of_two.names == ("Clocher",)


async def test_a_second_silent_gateway_of_one_name_is_told_and_a_new_name_is_no_recovery(
    pool: Pool, database_url: str
) -> None:
    first = await register(pool, last_seen_ago=timedelta(seconds=5))
    second = await register(pool, last_seen_ago=timedelta(seconds=5))
    await register(pool, last_seen_ago=timedelta(seconds=5), name="École")
    somebody = OnCall()

    async def notified() -> tuple[list[str], list[str]]:
        place = Place(database_url=database_url)
        for _ in range(2):  # What one alone has seen wakes nobody.
            said = somebody.examination(about(await examine_database(place), "passerelles"))
        return said

    async def set_seen(eui: str, ago: str) -> None:
        await pool.execute(
            "UPDATE gateway_state SET last_seen_at = now() - $2::text::interval "
            "WHERE gateway_id = (SELECT id FROM gateway WHERE gateway_id = $1)",
            bytes.fromhex(eui),
            ago,
        )

    assert await notified() == ([], [])
    await set_seen(first, "1 hour")
    assert await notified() == ([f"gateways.silent/{first}"], [])
    assert somebody.watched.troubles[f"gateways.silent/{first}"].finding.title == f"passerelles (Mairie ({first}))"
    await set_seen(second, "1 hour")
    assert await notified() == ([f"gateways.silent/{second}"], [])
    await pool.execute("UPDATE gateway SET name = 'Hôtel de ville' WHERE gateway_id = $1", bytes.fromhex(first))
    assert await notified() == ([], [])
    await set_seen(first, "5 s")
    somebody.examination(found := about(await examine_database(Place(database_url=database_url)), "passerelles"))
    assert (found.names, found.ids) == (("Mairie",), (second,))  # Nobody else has that name now.
    assert list(somebody.notified) == [f"gateways.silent/{second}"]


async def test_tenants_of_one_name_are_told_apart(pool: Pool, database_url: str) -> None:
    await register(pool, last_seen_ago=timedelta(seconds=5))
    await pool.execute("INSERT INTO tenant (slug, name) VALUES ('metz-2', 'Metz')")
    await pool.execute(
        "INSERT INTO asset (tenant_id, kind, name, privacy_class) SELECT id, 'water_meter', 'm', 1 FROM tenant"
    )

    found = about(await examine_database(Place(database_url=database_url)), "données personnelles")

    assert (found.names, found.ids) == (("Metz (metz)", "Metz (metz-2)"), ("metz", "metz-2"))


async def test_stations_of_before_without_a_credential_are_counted_down(pool: Pool, database_url: str) -> None:
    await register(pool, last_seen_ago=timedelta(seconds=5), name="Mairie")
    place = Place(database_url=database_url)
    severities: list[tuple[Severity, bool]] = []
    for left in ("12 days 1 hour", "0 s"):
        await pool.execute("UPDATE gateway SET unproved_until = now() + $1::text::interval", left)
        found = about(await examine_database(place), "justificatifs")
        severities.append((found.severity, found.names == ("Mairie",) and "tokens" in found.remedy))
        if left.startswith("12"):
            assert "12 jours" in found.what

    assert severities == [(Severity.WARNING, True), (Severity.CRITICAL, True)]


async def test_dwellings_and_meters_of_before_whose_class_is_to_be_confirmed(
    pool: Pool, database_url: str
) -> None:
    await register(pool, last_seen_ago=timedelta(seconds=5), name="Mairie")
    add = "INSERT INTO asset (tenant_id, kind, name, privacy_class) SELECT id, $1, $1, 1 FROM tenant"
    for kind in ("water_meter", "room"):
        await pool.execute(add, kind)
    place = Place(database_url=database_url)
    await pool.execute("UPDATE asset SET class_confirmed_at = now()")
    stated = await examine_database(place)
    await pool.execute("UPDATE asset SET class_confirmed_at = NULL")

    found = about(await examine_database(place), "données personnelles")

    assert "données personnelles" not in {finding.subject for finding in stated}
    assert found.what.endswith(" : 1")
    assert "/v1/privacy/unconfirmed" in found.remedy


async def test_a_shard_that_nobody_owns(pool: Pool, database_url: str) -> None:
    await register(pool, last_seen_ago=timedelta())
    await pool.execute(
        "INSERT INTO shard_lease (service, shard, epoch, owner, expires_at) "
        "VALUES ('ingest', 2, 7, 'ingest-1', now() - interval '5 minutes')"
    )

    found = about(await examine_database(Place(database_url=database_url)), "service")

    assert found.severity is Severity.CRITICAL
    assert found.names == ("ingest",)
    assert "part 2" in found.what


@pytest.mark.parametrize(
    ("severity", "expected"), [("warning", Severity.WARNING), ("critical", Severity.CRITICAL)]
)
async def test_alerts_that_notified_nobody(
    pool: Pool, database_url: str, severity: str, expected: Severity
) -> None:
    await register(pool, last_seen_ago=timedelta())
    await pool.execute(
        "WITH r AS (INSERT INTO alert_rule (tenant_id, name, kind, severity, message) "
        "SELECT id, 'r', 'silence', 'warning', 'm' FROM tenant RETURNING id, tenant_id), "
        "a AS (INSERT INTO alert (tenant_id, rule_id, severity, message, condition, opened_at) "
        "SELECT tenant_id, id, 'warning', 'm', 'firing', now() FROM r RETURNING id, tenant_id) "
        "INSERT INTO alert_notice (id, tenant_id, alert_id, event, severity, cadence, at, message, body, "
        "nobody_since) SELECT gen_random_uuid(), tenant_id, id, 'alert.opened', $1::text::alert_severity, 'now', "
        "now(), 'm', '', now() FROM a",
        severity,
    )

    found = about(await examine_database(Place(database_url=database_url)), "alertes")

    assert found.severity is expected
    assert "1 alerte n'a prévenu personne" in found.what
    assert found.names == ("Metz",)


async def test_mqtt_accounts_that_the_broker_has_not_yet(pool: Pool, database_url: str) -> None:
    await register(pool, last_seen_ago=timedelta())
    await pool.execute(
        "INSERT INTO mqtt_account (id, gateway_id, secret_wrapped, kek_id, sealed_for, created_at, applied_at) "
        "SELECT repeat(n::text, 16), g.id, '\\x00', 'k', gen_random_uuid(), now() - n * interval '50 s', "
        "CASE n WHEN 3 THEN now() END FROM gateway g, generate_series(1, 3) n"
    )

    found = about(await examine_database(Place(database_url=database_url)), "comptes MQTT")

    assert found.severity is Severity.WARNING
    assert found.what.endswith("que le courtier n'a pas encore : 1")


async def test_a_folder_of_cold_files_that_fails(database, pool: Pool, database_url: str) -> None:
    admin = await connect(database.admin_url)
    said: dict[str, str] = {}
    for reason, chunks in (("full", 2), ("missing", 1), ("unset", 0), *((one, 0) for one in COLD_TROUBLES)):
        await admin.execute(
            "UPDATE observation.cold_state SET reason = $1, chunks = $2, failed_since = '2026-11-28 23:05+00'",
            *(reason, chunks),
        )
        found = about(await examine_database(Place(database_url=database_url)), "mesures anciennes")
        assert found.severity is Severity.WARNING
        said.setdefault(reason, found.what)
    await admin.execute("UPDATE observation.cold_state SET reason = NULL, chunks = 0, failed_since = NULL")
    with pytest.raises(ValueError, match="not enough values"):
        about(await examine_database(Place(database_url=database_url)), "mesures anciennes")
    await admin.close()

    assert said["full"] == (
        "depuis le 28/11 à 23 h 05 UTC, le disque du dossier froid est plein ; 2 morceaux restent dans la base "
        "au-delà de la durée prévue, rien n'est perdu"
    )
    assert "1 morceau reste dans la base" in said["missing"]
    assert said["unset"].endswith("le dossier froid n'est plus nommé")


async def test_a_bus_that_is_away_or_was_never_migrated(nats_url: str, free_port: int) -> None:
    away = await examine_bus(Place(nats_url=f"nats://127.0.0.1:{free_port}"))
    bare = await examine_bus(Place(nats_url=nats_url))

    assert "ne répond pas" in away[0].what
    assert [finding.what for finding in bare] == ["le flux FRAMES manque", "le flux UPLINKS manque"]


async def test_a_broker_whose_rules_do_not_let_the_bridge_command(mosquitto_server: PrivateMosquitto) -> None:
    [found] = await examine_broker(Place(mqtt_url=mosquitto_server.url(SIMULATOR)))

    assert found.severity is Severity.CRITICAL
    assert "acl" in found.remedy


def test_without_an_installation_doctor_says_how_to_start_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path), "--json"])
    told = msgspec.json.decode(done.stdout)

    assert done.exit_code == told["severity"] == Severity.CRITICAL
    assert told["findings"][0]["subject"] == "pile"
    assert "./territoire up" in told["findings"][0]["remedy"]
