"""Texts that schema 38 stored as reasons are codes after the upgrade, and what is no known text is kept beside."""

from collections.abc import Iterator

import pytest

from api.uplink_reasons import uplink_sentence
from core.model.downlinks import DownlinkReason
from core.model.quarantine import QuarantineReason
from core.model.uplink_reasons import UplinkReason
from core.runtime.postgres import connect, open_pool
from lorawan.rejections import RejectReason
from registry.alert_requests import take_alert_requests
from registry.codecs import list_versions, read_version, release_version
from registry.downlinks import list_downlinks
from registry.schema import migrate
from tests.conftest import Administrator, Cluster, empty_database, run_apart
from tests.core.runtime.versions import migrate_up_to

PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'elsys.ers' FROM t RETURNING id, tenant_id)
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 0, 'x', 'kek-1' FROM p RETURNING id
"""
DOWNLINK = """
INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after, state, reason)
SELECT tenant_id, id, 0, 10, '\\x01', now(), 'failed', $1 FROM device
"""
# What network, lighting and intake of schema 38 wrote, and what is read of it now.
DOWNLINKS = [
    (None, None, None),
    *(
        (code, DownlinkReason(code), None)
        for code in ("TX_FREQ", "RESTARTED", "NOT_AFTER", "superseded", "NO_ACK")
    ),
    ("délai passé avant l'envoi", DownlinkReason.NOT_AFTER, None),
    ("le capteur n'a rien dit depuis", DownlinkReason.DEVICE_SILENT, None),
    ("le capteur n'a pas accusé réception", DownlinkReason.DEVICE_NO_ACK, None),
    ("l'autre LNS n'a pas dit ce qu'il en a fait", DownlinkReason.LNS_NO_REPORT, None),
    ("la source a été retirée", DownlinkReason.SOURCE_REMOVED, None),
    ("dans la file de The Things Stack", DownlinkReason.LNS_QUEUED, None),
    (
        "dans la file de cette source, qui l'enverra après le prochain message du capteur",
        DownlinkReason.LNS_QUEUED_UNTIL_UPLINK,
        None,
    ),
    ("en attente d'un premier message du capteur par cette source", DownlinkReason.LNS_DEVICE_UNHEARD, None),
    ("courtier de ChirpStack injoignable", DownlinkReason.LNS_UNREACHABLE, None),
    ("Wanesy injoignable (ConnectError)", DownlinkReason.LNS_UNREACHABLE, None),
    ("ThingPark ne répond pas en 10 s", DownlinkReason.LNS_UNREACHABLE, None),
    ("The Things Stack n'écoute pas son courtier", DownlinkReason.LNS_NOT_LISTENING, None),
    (
        "le courtier de ChirpStack refuse de publier : droits du compte à vérifier",
        DownlinkReason.LNS_PUBLISH_REFUSED,
        None,
    ),
    ("The Things Stack répond 404 : nope : no", DownlinkReason.LNS_ANSWERED, "404 : nope : no"),
    ("Live Objects répond 503", DownlinkReason.LNS_ANSWERED, "503"),
    ("The Things Stack : too long", DownlinkReason.LNS_REPORTED, "too long"),
    ("ThingPark ne l'a pas émis : RX1 E3, RX2 DA", DownlinkReason.LNS_REPORTED, "RX1 E3, RX2 DA"),
    ("Wanesy : KO", DownlinkReason.LNS_REPORTED, "KO"),
    ("trop long pour le débit actuel du capteur", DownlinkReason.PAYLOAD_TOO_LARGE, None),
    ("compteur descendant dépassé", DownlinkReason.F_CNT_EXHAUSTED, None),
    ("périmé dans la file de ChirpStack", DownlinkReason.LNS_EXPIRED, None),
    (
        "ChirpStack ne prend les messages que par MQTT : cette source est en HTTP",
        DownlinkReason.SOURCE_NEEDS_MQTT,
        None,
    ),
    ("cette source ne transmet pas de messages aux capteurs", DownlinkReason.SOURCE_TAKES_NO_DOWNLINKS, None),
    ("la source n'a pas l'adresse ou la clé de l'API de ThingPark", DownlinkReason.SOURCE_INCOMPLETE, None),
    ("10.0.0.1 n'est pas une adresse publique", DownlinkReason.OTHER, "10.0.0.1 n'est pas une adresse publique"),
    ("", DownlinkReason.OTHER, ""),
]


# Service, what it wrote, and what is read of it now.
QUARANTINE = [
    ("network", "in hand when the network server ended, 3 times on this batch", "poison", "3"),
    ("network", "version byte missing, expected 01", "unreadable_batch", "version byte missing, expected 01"),
    ("network", "Expected `array`, got `int`", "unreadable_batch", "Expected `array`, got `int`"),
    ("network", "ValueError: FOptsLen: 15", "defect", "ValueError: FOptsLen: 15"),
    ("network", "what nobody remembers", "other", "what nobody remembers"),
    ("ingest", "Écarté sans être lu : le service s'est arrêté 4 fois en le traitant", "poison", "4"),
    ("ingest", "Lot illisible : version byte 09, expected 01", "unreadable_batch", "version byte 09, expected 01"),
    ("ingest", "Champ impossible : uplink_id of 3 octets", "impossible_field", "uplink_id of 3 octets"),
    ("ingest", "L'équipement n'existe plus dans le référentiel", "unknown_device", ""),
    ("ingest", "Défaut du traitement : KeyError 'a'", "defect", "KeyError 'a'"),
    ("ingest", "Refusé par la base : out of\nrange", "refused_value", "out of\nrange"),
    ("ingest", "illisible", "other", "illisible"),
    (
        "intake",
        "charge utile illisible : base64 attendu",
        "unreadable_message",
        "charge utile illisible : base64 attendu",
    ),
]


# What ingest of schema 38 wrote of an uplink, what is stored of it now, and whether it is shown as it was.
UPLINKS = [
    (None, None, None),
    ("Codec inconnu : « acme.gone » (profil d'équipement 7)", "unknown_codec", "7"),
    ("Trame illisible par acme.t v3 : canal 9 : inconnu", "unreadable", "canal 9 : inconnu"),
    ("Erreur du décodeur acme.t v3 : KeyError 'a\n'", "codec_failed", "KeyError 'a\n'"),
    ("En attente : le codec acme.t v3 est suspendu", "codec_suspended", None),
    ("En attente : le moteur des codecs ne répond pas", "no_workers", None),
    (
        "Lue par acme.t v3, mais aucune mesure : aucune règle de la correspondance ne s'y applique",
        "no_rule_applies",
        None,
    ),
    ("Lue par acme.t v3, mais aucune mesure : le profil n'a pas de correspondance", "no_mapping", None),
    (
        "Lue par acme.t v3, mais aucune mesure : ce que la correspondance y lit est à confirmer",
        "to_confirm",
        None,
    ),
    ("Lue par acme.t v3, mais aucune mesure : aucune valeur n'est utilisable", "no_usable_value", None),
    ("illisible", "other", "illisible"),
]


@pytest.fixture(scope="module")
def upgraded_url(cluster: Cluster, administrator: Administrator) -> Iterator[str]:
    """A database of schema 38 with one device and all that these tests ask for, after its upgrade."""
    with empty_database(cluster, administrator) as url:
        run_apart(_plant_and_upgrade(url))
        yield url


async def _plant_and_upgrade(url: str) -> None:
    await migrate_up_to(38, url)
    connection = await connect(url)
    await connection.execute(PLANT)
    for text, _, _ in DOWNLINKS:
        await connection.execute(DOWNLINK, text)
    await connection.executemany(
        "INSERT INTO observation.quarantine (service, subject, sequence, reason, data) "
        "VALUES ($1, 's', $2, $3, '')",
        [(service, place, text) for place, (service, text, _, _) in enumerate(QUARANTINE)],
    )
    await connection.executemany(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status, reason, codec, "
        "codec_version) SELECT id, now(), gen_random_uuid(), '', now() + $1 * interval '1 s', 'undecodable', $2, "
        "$3, $4 FROM device",
        [
            (place, text, "acme.gone" if place == 1 else "acme.t", None if place == 1 else 3)
            for place, (text, _, _) in enumerate(UPLINKS)
        ],
    )
    await connection.execute(
        "INSERT INTO frame_refusal (subject, reason, device_id, gateway_id, times, first_at, last_at) "
        "SELECT '\\x01ab23cd', unnest($1::text[]), id, '\\x0807060504030201', 3, now(), now() FROM device",
        ["mic", "replay", "unknown_dev_addr"],
    )
    await connection.execute(
        "WITH r AS (INSERT INTO alert_rule (tenant_id, name, kind, severity, message) "
        "SELECT id, 'gateway_address', 'gateway_address', 'warning', 'm' FROM tenant RETURNING id, tenant_id) "
        "INSERT INTO alert (tenant_id, rule_id, severity, message, condition, opened_at, due_at) "
        "SELECT tenant_id, id, 'warning', 'elle a bougé', 'firing', now(), now() FROM r"
    )
    await connection.close()

    await migrate(url)


async def test_downlinks_with_texts_as_reasons_are_read_with_codes_after_the_upgrade(upgraded_url: str) -> None:
    async with open_pool(upgraded_url, "test", size=1) as pool:
        rows = await list_downlinks(pool, await pool.fetchval("SELECT id FROM device"))
    assert [(row.reason, row.detail) for row in reversed(rows)] == [
        (code, detail) for _, code, detail in DOWNLINKS
    ]


async def test_quarantine_and_uplinks_with_texts_as_reasons_are_read_with_codes_after_the_upgrade(
    upgraded_url: str,
) -> None:
    async with open_pool(upgraded_url, "test", size=1) as pool:
        rows = await pool.fetch("SELECT reason, detail FROM observation.quarantine ORDER BY sequence")
        uplinks = await pool.fetch(
            "SELECT reason, detail, codec, codec_version FROM observation.uplink ORDER BY received_at"
        )
    assert [tuple(row)[:2] for row in uplinks] == [(code, detail) for _, code, detail in UPLINKS]
    assert {row["reason"] for row in uplinks} - {None} == set(UplinkReason)
    assert [uplink_sentence(*row) for row in uplinks] == [text for text, _, _ in UPLINKS]
    assert [tuple(row) for row in rows] == [(code, detail) for _, _, code, detail in QUARANTINE]
    assert {row["reason"] for row in rows} <= set(QuarantineReason)


async def test_rejected_frames_that_schema_38_stored_are_read_and_explained(upgraded_url: str) -> None:
    connection = await connect(upgraded_url)
    reasons = [row["reason"] for row in await connection.fetch("SELECT reason FROM frame_refusal ORDER BY reason")]
    await connection.close()
    assert [RejectReason(reason) for reason in reasons] == [
        RejectReason.MIC,
        RejectReason.REPLAY,
        RejectReason.UNKNOWN_DEV_ADDR,
    ]


async def test_what_schema_38_had_open_is_there_and_no_alert_is_requested_by_the_upgrade(
    upgraded_url: str,
) -> None:
    async with open_pool(upgraded_url, "test", size=1) as pool:
        assert [tuple(row) for row in await pool.fetch("SELECT message, workflow::text FROM alert")] == [
            ("elle a bougé", "open")
        ]
        async with pool.acquire() as taking, taking.transaction():
            assert await take_alert_requests(taking, 10) == []


async def test_texts_why_a_codec_is_suspended_are_codes_after_the_upgrade(empty_database_url: str) -> None:
    await migrate_up_to(41, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(
        "WITH c AS (INSERT INTO codec (name) VALUES ('acme.t') RETURNING id) "
        "INSERT INTO codec_version (codec_id, version, language, source, sha256, author, quarantined_at, "
        "quarantine_reason) "
        "SELECT id, number, 'javascript', 'x', sha256('x'), 'moi', text_at, why FROM c, (VALUES "
        "(1, now(), 'cinq dépassements du temps de calcul en dix minutes'), "
        "(2, now(), 'à la demande du fabricant'), (3, NULL, NULL)) AS v (number, text_at, why)"
    )
    await connection.close()

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool:
        codec_id = await pool.fetchval("SELECT id FROM codec")
        async with pool.acquire() as reading:
            versions = await list_versions(reading, codec_id)
            assert await release_version(reading, versions[1].id, "exploitant")
            released = await read_version(reading, versions[1].id)
    assert [(one.quarantine_reason, one.quarantine_detail) for one in reversed(versions)] == [
        ("overran", None),
        ("other", "à la demande du fabricant"),
        (None, None),
    ]
    assert released is not None
    assert (released.quarantine_reason, released.quarantine_detail) == (None, None)
