"""A gateway's change of address is an alert of its tenant, which the engine tells as soon as it looks."""

from datetime import UTC, datetime, timedelta
from typing import Any

from alerting.address_alerts import open_address_alerts
from alerting.engine import Engine
from alerting.rulebook import Rulebook
from core.runtime.lease import take_lease
from core.runtime.postgres import Pool
from registry.gateway_supervision import AddressSeen
from tests.gateways.stations import register

EUI, OTHER = bytes.fromhex("0102030405060708"), bytes.fromhex("1112131415161718")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def seen(gateway_id: bytes = EUI, *, refused: bool = False, at: datetime = NOW, times: int = 1) -> AddressSeen:
    return AddressSeen(gateway_id, "semtech_udp", "192.0.2.7", "198.51.100.4", refused, times, at)


async def opened(pool: Pool, *changes: AddressSeen) -> list[dict[str, Any]]:
    async with pool.acquire() as connection, connection.transaction():
        await open_address_alerts(connection, changes)
    rows = await pool.fetch("SELECT a.*, g.gateway_id AS eui FROM alert a JOIN gateway g ON g.id = a.gateway_id")
    return [dict(row) for row in rows]


async def test_a_change_opens_an_alert_that_is_due_to_be_told_at_once(pool: Pool) -> None:
    await register(pool, EUI)

    (alert,) = await opened(pool, seen())

    assert (alert["eui"], alert["workflow"], alert["severity"], alert["occurrences"]) == (
        EUI,
        "open",
        "warning",
        1,
    )
    assert (alert["told"], alert["due_at"], alert["opened_at"]) == (False, NOW, NOW)
    assert "198.51.100.4" in alert["message"]
    assert "192.0.2.7" in alert["message"]


async def test_while_it_is_open_another_change_is_one_more_occurrence(pool: Pool) -> None:
    await register(pool, EUI)

    await opened(pool, seen())
    (alert,) = await opened(pool, seen(refused=True, at=NOW + timedelta(minutes=1), times=7))

    assert (alert["occurrences"], alert["value"], alert["opened_at"]) == (2, 7, NOW)
    assert "refusés" in alert["message"]


async def test_once_a_person_has_ended_it_the_next_change_is_another_alert(pool: Pool) -> None:
    await register(pool, EUI)
    await opened(pool, seen())
    await pool.execute("UPDATE alert SET workflow = 'resolved', resolved_at = now()")

    alerts = await opened(pool, seen(at=NOW + timedelta(hours=1)))

    assert sorted(alert["workflow"] for alert in alerts) == ["open", "resolved"]


async def test_a_tenant_that_switched_the_rule_off_has_no_alert_and_strangers_have_none(pool: Pool) -> None:
    await register(pool, EUI)
    await opened(pool, seen())
    await pool.execute("DELETE FROM alert")
    await pool.execute("UPDATE alert_rule SET enabled = false WHERE name = 'gateway_address'")

    assert await opened(pool, seen(), seen(OTHER)) == []


async def test_the_engine_tells_it_once(pool: Pool) -> None:
    await register(pool, EUI)
    await opened(pool, seen())
    lease = await take_lease(pool, "alerting", 0, "test")
    assert lease is not None
    rulebook = Rulebook(pool)
    await rulebook.load()
    now = NOW + timedelta(seconds=5)
    engine = Engine(pool, rulebook, 1, least_watch=timedelta(0), orphans_every_s=0, now=lambda: now)
    await engine.catch_up(lease)
    engine._watching[0] = NOW - timedelta(days=1)

    await engine.sweep([lease])
    await engine.sweep([lease])

    (notice,) = await pool.fetch("SELECT event, severity::text, message FROM alert_notice")
    assert (notice["event"], notice["severity"]) == ("alert.opened", "warning")
    assert "198.51.100.4" in notice["message"]
    assert await pool.fetchval("SELECT workflow = 'open' AND told AND due_at IS NULL FROM alert")
