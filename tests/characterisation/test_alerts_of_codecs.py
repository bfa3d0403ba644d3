"""A codec version that overruns is suspended: which rows ingest and alerting leave, between them."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from alerting.alert_store import resolve
from core.messages.uplinks import Uplink
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from registry.codecs import publish_version
from tests.characterisation.alert_world import EVENTS, NOTICES, alerts, alerts_follow, no_more_than, rows, until
from tests.ingest.conftest import Planted

ENDLESS = "function decodeUplink(input) { for (;;) {} }"
OVERRUNS = 5
SUSPENDED = (
    "Décodeur suspendu : {codec} v1 (cinq dépassements du temps de calcul ou de la mémoire en dix minutes). "
    "Les trames de ses capteurs sont gardées et attendent : publiez une version corrigée, ou "
    "remettez celle-ci en service, puis relisez-les."
)
PROFILE = """
INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_version_id, mapping)
VALUES ($1, gen_random_uuid()::text, 'v', 'm', 'essai', $2,
        '[{"path": "temperature", "quantity": "temperature", "channel": "", "unit": "°C"}]'::text::jsonb)
RETURNING id
"""

Ingesting = Callable[..., AbstractAsyncContextManager[None]]
Send = Callable[..., Awaitable[None]]
MakeUplink = Callable[..., Uplink]


def alert_of(message: str, **changes: Any) -> dict[str, Any]:
    return {
        "tenant": "brest",
        "rule": "codec_suspended",
        "kind": "codec",
        "gateway": None,
        "asset_id": None,
        "device_id": None,
        "datastream_id": None,
        "subject": None,
        "team_id": None,
        "severity": "major",
        "message": message,
        "condition": "firing",
        "workflow": "open",
        "value": None,
        "threshold": None,
        "occurrences": 1,
        "told": True,
        "muted_by": None,
        "muted_until": None,
        "is_flapping": False,
        "reopen_at": None,
        "due_at": None,
        "fired_when_opened": True,
    } | changes


async def device_of_endless_codec(planted: Planted, name: str) -> tuple[int, int]:
    """A device, and the version that reads its frames."""
    pool = planted.pool
    codec_id = await pool.fetchval(
        "INSERT INTO codec (tenant_id, name) VALUES ($1, $2) RETURNING id", planted.tenant_id, name
    )
    async with pool.acquire() as connection, connection.transaction():
        version_id, _ = await publish_version(
            connection, codec_id, language="javascript", source=ENDLESS, form=None, author="essai"
        )
    return await planted.device(await pool.fetchval(PROFILE, planted.tenant_id, version_id)), version_id


async def overruns(pool: Pool, send: Send, make_uplink: MakeUplink, device_id: int, version_id: int) -> None:
    """Its codec takes too long as often as it takes to be suspended."""

    async def is_suspended() -> bool:
        suspended = "SELECT quarantined_at IS NOT NULL FROM codec_version WHERE id = $1"
        return await pool.fetchval(suspended, version_id)

    await send(*(make_uplink(device_id, f_cnt, b"\x01") for f_cnt in range(OVERRUNS)))
    await until(is_suspended, f"version {version_id} suspended")


async def test_suspended_codec_opens_one_alert_and_another_one_is_one_more_occurrence(
    planted: Planted,
    bus: Bus,
    ingesting: Ingesting,
    send: Send,
    make_uplink: MakeUplink,
    database_url: str,
    nats_url: str,
) -> None:
    pool = planted.pool
    first_device, first_version = await device_of_endless_codec(planted, "acme.un")
    second_device, second_version = await device_of_endless_codec(planted, "acme.deux")
    async with alerts_follow(pool, database_url, nats_url), ingesting():
        await overruns(pool, send, make_uplink, first_device, first_version)
        first = await alerts(pool, occurrences=1)
        await overruns(pool, send, make_uplink, second_device, second_version)
        again = await alerts(pool, occurrences=2)

    message = SUSPENDED.format(codec="acme.un")
    assert first == [alert_of(message)]
    assert again == [alert_of(f"{message} {SUSPENDED.format(codec='acme.deux')}", occurrences=2)]
    assert await rows(pool, EVENTS) == []
    assert await rows(pool, NOTICES) == [
        {
            "tenant": "brest",
            "team_id": None,
            "event": "alert.opened",
            "severity": "major",
            "cadence": "now",
            "message": message,
            "held_until": None,
            "rung": 0,
        }
    ]
    assert await rows(pool, "SELECT name, kind, severity::text, enabled FROM alert_rule") == [
        {"name": "codec_suspended", "kind": "codec", "severity": "major", "enabled": True}
    ]


async def test_codec_suspended_within_a_day_of_the_end_of_an_alert_opens_another_one(
    planted: Planted,
    bus: Bus,
    ingesting: Ingesting,
    send: Send,
    make_uplink: MakeUplink,
    database_url: str,
    nats_url: str,
) -> None:
    pool = planted.pool
    first_device, first_version = await device_of_endless_codec(planted, "acme.un")
    second_device, second_version = await device_of_endless_codec(planted, "acme.deux")
    async with alerts_follow(pool, database_url, nats_url), ingesting():
        await overruns(pool, send, make_uplink, first_device, first_version)
        await alerts(pool, occurrences=1)
        async with pool.acquire() as connection, connection.transaction():
            await resolve(connection, await pool.fetchval("SELECT id FROM alert"), "astreinte", "corrigé")
        await overruns(pool, send, make_uplink, second_device, second_version)
        found = await alerts(pool, occurrences=1, count=2)

    assert found == [
        alert_of(SUSPENDED.format(codec="acme.un"), workflow="resolved"),
        alert_of(SUSPENDED.format(codec="acme.deux")),
    ]
    assert [(row["actor"], row["action"]) for row in await rows(pool, EVENTS)] == [("astreinte", "resolved")]
    assert [row["event"] for row in await rows(pool, NOTICES)] == ["alert.opened", "alert.opened"]


async def test_suspended_codec_concerns_its_tenant_and_operators_but_where_the_rule_is_switched_off(
    planted: Planted,
    bus: Bus,
    ingesting: Ingesting,
    send: Send,
    make_uplink: MakeUplink,
    database_url: str,
    nats_url: str,
) -> None:
    pool = planted.pool
    tenants = {
        slug: await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ($1, $1) RETURNING id", slug)
        for slug in ("exploitant", "silencieux", "etranger")
    }
    for slug in ("exploitant", "silencieux"):
        await pool.execute(
            "INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles) "
            "VALUES ($1, $2, 'k', decode(repeat('00', 32), 'hex'), '{operate}')",
            slug,
            tenants[slug],
        )
    await pool.execute(
        "INSERT INTO alert_rule (tenant_id, name, kind, severity, message, enabled) "
        "VALUES ($1, 'codec_suspended', 'codec', 'major', 'm', false)",
        tenants["silencieux"],
    )
    device_id, version_id = await device_of_endless_codec(planted, "acme.un")
    async with alerts_follow(pool, database_url, nats_url), ingesting():
        await overruns(pool, send, make_uplink, device_id, version_id)
        found = await alerts(pool, occurrences=1, count=2)
        await no_more_than(pool, 2)

    message = SUSPENDED.format(codec="acme.un")
    assert sorted(found, key=lambda alert: alert["tenant"]) == [
        alert_of(message),
        alert_of(message, tenant="exploitant"),
    ]
