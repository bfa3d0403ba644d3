"""What bridge and ingest ask for becomes an alert, once, which the engine's sweep notifies of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting.engine import Engine
from alerting.requested_alerts import open_requested_alerts
from alerting.rulebook import Rulebook
from core.runtime.lease import take_lease
from core.runtime.postgres import Pool
from registry.alert_requests import request_address_alerts, request_codec_alerts, request_relight_alert
from registry.gateway_supervision import AddressSeen
from tests.gateways.stations import register

EUI, OTHER = bytes.fromhex("0102030405060708"), bytes.fromhex("1112131415161718")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def seen(gateway_id: bytes = EUI, *, rejected: bool = False, at: datetime = NOW, times: int = 1) -> AddressSeen:
    return AddressSeen(gateway_id, "semtech_udp", "192.0.2.7", "198.51.100.4", rejected, times, at)


async def opened(pool: Pool, *changes: AddressSeen) -> list[dict[str, Any]]:
    async with pool.acquire() as connection, connection.transaction():
        await request_address_alerts(connection, changes)
    async with pool.acquire() as connection, connection.transaction():
        await open_requested_alerts(connection)
    rows = await pool.fetch("SELECT a.*, g.gateway_id AS eui FROM alert a JOIN gateway g ON g.id = a.gateway_id")
    return [dict(row) for row in rows]


async def test_a_change_of_address_opens_an_alert_that_is_due_at_once(pool: Pool) -> None:
    await register(pool, EUI)

    (alert,) = await opened(pool, seen())

    assert (alert["eui"], alert["workflow"], alert["severity"], alert["occurrences"]) == (
        EUI,
        "open",
        "warning",
        1,
    )
    assert (alert["notified_severity"], alert["due_at"], alert["opened_at"]) == (None, NOW, NOW)
    assert "198.51.100.4" in alert["message"]
    assert "192.0.2.7" in alert["message"]


async def test_while_it_is_open_another_change_is_one_more_occurrence(pool: Pool) -> None:
    await register(pool, EUI)

    await opened(pool, seen())
    (alert,) = await opened(pool, seen(rejected=True, at=NOW + timedelta(minutes=1), times=7))

    assert (alert["occurrences"], alert["value"], alert["opened_at"]) == (2, 7, NOW)
    assert "refusés" in alert["message"]


async def test_who_lacks_the_credential_of_a_gateway_that_is_away_opens_an_alert_that_says_so(pool: Pool) -> None:
    await register(pool, EUI)

    (alert,) = await opened(pool, replace(seen(rejected=True), former=""))

    assert "198.51.100.4 sans le jeton" in alert["message"]


async def test_once_a_person_has_ended_it_the_next_change_is_another_alert(pool: Pool) -> None:
    await register(pool, EUI)
    await opened(pool, seen())
    await pool.execute("UPDATE alert SET workflow = 'resolved', resolved_at = now()")

    alerts = await opened(pool, seen(at=NOW + timedelta(hours=1)))

    assert sorted(alert["workflow"] for alert in alerts) == ["open", "resolved"]


async def test_a_request_under_a_disabled_rule_or_of_an_unknown_gateway_opens_no_alert(pool: Pool) -> None:
    await register(pool, EUI)
    await opened(pool, seen())
    await pool.execute("DELETE FROM alert")
    await pool.execute("UPDATE alert_rule SET enabled = false WHERE name = 'gateway_address'")

    assert await opened(pool, seen(), seen(OTHER)) == []


def engine_of_shard_0(pool: Pool, rulebook: Rulebook, now: datetime) -> Engine:
    return Engine(pool, rulebook, 4, least_watch=timedelta(0), orphans_every_s=0, now=lambda: now)


async def request(pool: Pool, *changes: AddressSeen) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await request_address_alerts(connection, changes)


async def test_a_request_made_while_alerting_was_away_is_opened_and_notified_once(pool: Pool) -> None:
    await register(pool, EUI)
    await request(pool, seen())
    lease = await take_lease(pool, "alerting", 0, "test")
    assert lease is not None
    rulebook = Rulebook(pool)
    await rulebook.load()
    engine = engine_of_shard_0(pool, rulebook, NOW + timedelta(seconds=5))
    await engine.catch_up(lease)
    engine._watching[0] = NOW - timedelta(days=1)

    await engine.sweep([lease])
    await request(pool, seen(rejected=True, times=3))
    await engine.sweep([lease])

    (notice,) = await pool.fetch("SELECT event, severity::text, message FROM alert_notice")
    assert (notice["event"], notice["severity"]) == ("alert.opened", "warning")
    assert "198.51.100.4" in notice["message"]
    assert await pool.fetchval(
        "SELECT workflow = 'open' AND notified_severity IS NOT NULL AND due_at IS NULL FROM alert"
    )
    assert await pool.fetch("SELECT occurrences, value FROM alert") == [(2, 3.0)]
    assert await pool.fetchval("SELECT count(*) FROM alert_request") == 0


async def test_requests_are_opened_while_the_shard_is_still_catching_up(pool: Pool) -> None:
    await register(pool, EUI)
    await request(pool, seen())
    lease = await take_lease(pool, "alerting", 0, "test")
    assert lease is not None

    await engine_of_shard_0(pool, Rulebook(pool), NOW).sweep([lease])

    assert await pool.fetchval("SELECT count(*) FROM alert") == 1


async def test_an_owner_of_another_shard_or_one_that_lost_its_lease_opens_nothing(pool: Pool) -> None:
    await register(pool, EUI)
    await request(pool, seen())
    other, lost = await take_lease(pool, "alerting", 1, "test"), await take_lease(pool, "alerting", 0, "test")
    assert other is not None
    assert lost is not None
    assert await take_lease(pool, "alerting", 0, "test") is not None
    engine = engine_of_shard_0(pool, Rulebook(pool), NOW)

    await engine.sweep([other])
    await engine.sweep([lost])

    assert await pool.fetchval("SELECT count(*) FROM alert") == 0
    assert await pool.fetchval("SELECT count(*) FROM alert_request") == 1


async def test_a_transaction_that_fails_after_opening_leaves_the_request_for_the_next(pool: Pool) -> None:
    await register(pool, EUI)
    await request(pool, seen())

    async def killed() -> None:
        async with pool.acquire() as connection, connection.transaction():
            assert await open_requested_alerts(connection) == 1
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await killed()
    (alert,) = await opened(pool)

    assert alert["occurrences"] == 1


async def test_two_that_take_requests_at_once_never_take_the_same(pool: Pool) -> None:
    await register(pool, EUI)
    await request(pool, seen())

    async with pool.acquire() as first, first.transaction():
        assert await open_requested_alerts(first) == 1
        async with pool.acquire() as second, second.transaction():
            assert await open_requested_alerts(second) == 0


async def test_a_request_for_a_gateway_that_was_removed_since_is_passed_over(pool: Pool) -> None:
    await register(pool, EUI)
    await request(pool, seen())
    await pool.execute("DELETE FROM gateway")

    assert await opened(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM alert_request") == 0


async def suspended_version(pool: Pool, name: str) -> int:
    return await pool.fetchval(
        "WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') ON CONFLICT (slug) DO UPDATE SET "
        "name = excluded.name RETURNING id), "
        "c AS (INSERT INTO codec (tenant_id, name, vendor) SELECT id, $1, 'acme' FROM t RETURNING id, tenant_id) "
        "INSERT INTO codec_version (tenant_id, codec_id, version, language, source, sha256, author, "
        "quarantined_at, quarantine_reason) "
        "SELECT tenant_id, id, 1, 'javascript', ' ', sha256(' '), 'moi', now(), 'lent' FROM c RETURNING id",
        name,
    )


async def test_a_suspended_codec_is_one_alert_of_its_tenant_and_the_next_one_is_added_to_it(pool: Pool) -> None:
    versions = [await suspended_version(pool, name) for name in ("acme.lent", "acme.autre")]
    team_id = await pool.fetchval("INSERT INTO team (tenant_id, name) SELECT id, 'régie' FROM tenant RETURNING id")
    for version in versions:
        async with pool.acquire() as connection, connection.transaction():
            await request_codec_alerts(connection, version, NOW)
            await open_requested_alerts(connection)
        await pool.execute("UPDATE alert_rule SET team_id = $1", team_id)

    (alert,) = await pool.fetch("SELECT a.*, r.name FROM alert a JOIN alert_rule r ON r.id = a.rule_id")

    assert (alert["name"], alert["severity"], alert["occurrences"]) == ("codec_suspended", "major", 2)
    assert (alert["notified_severity"], alert["due_at"], alert["opened_at"], alert["gateway_id"]) == (
        None,
        NOW,
        NOW,
        None,
    )
    assert "acme.lent v1 (lent)" in alert["message"]
    assert "acme.autre v1 (lent)" in alert["message"]


async def test_a_tenant_that_switched_the_codec_rule_off_has_no_alert_and_another_goes_to_the_rule_s_team(
    pool: Pool,
) -> None:
    version = await suspended_version(pool, "acme.lent")
    team_id = await pool.fetchval("INSERT INTO team (tenant_id, name) SELECT id, 'régie' FROM tenant RETURNING id")
    for enabled in (True, False, True):
        await pool.execute("UPDATE alert_rule SET enabled = $1, team_id = $2", enabled, team_id)
        await pool.execute("DELETE FROM alert")
        async with pool.acquire() as connection, connection.transaction():
            await request_codec_alerts(connection, version, NOW)
            await open_requested_alerts(connection)
        if not enabled:
            assert await pool.fetchval("SELECT count(*) FROM alert") == 0

    assert await pool.fetchval("SELECT team_id FROM alert") == team_id


async def test_a_circuit_that_does_not_light_is_one_alert_with_place_and_last_reason(pool: Pool) -> None:
    asset = await pool.fetchval(
        "WITH t AS (INSERT INTO tenant (slug, name) VALUES ('sdef', 'SDEF') RETURNING id) "
        "INSERT INTO asset (tenant_id, kind, name, street, commune) "
        "SELECT id, 'lighting_cabinet', 'A12', 'rue du Port', 'Brest' FROM t RETURNING id"
    )
    for reason in ("aucune passerelle n'a pu émettre la commande", "l'armoire n'a pas relu son état"):
        async with pool.acquire() as connection, connection.transaction():
            await request_relight_alert(connection, asset, reason, NOW)
            await open_requested_alerts(connection)
    [alert] = await pool.fetch("SELECT a.*, r.kind FROM alert a JOIN alert_rule r ON r.id = a.rule_id")

    assert (alert["kind"], alert["asset_id"], alert["occurrences"]) == ("relight_failed", asset, 2)
    assert "A12, rue du Port, Brest : l'éclairage devait revenir" in alert["message"]
    assert "l'armoire n'a pas relu son état" in alert["message"]
    assert (alert["severity"], alert["due_at"]) == ("major", NOW)
