"""Reports that make themselves on the second of the month, and are sent to teams: once, whatever crashes."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting.queue import decode_message
from alerting.report_dispatch import due_at, send_reports
from alerting.report_files import read_attached
from api.reporting.monthly import MonthlyReports
from core.runtime.postgres import InsufficientPrivilegeError, Pool, PostgresError, open_pool
from registry.entering import NotAdmitted, reading_as
from tests.api.landerneau import Landerneau, make_landerneau, write_late
from tests.api.metering import Metering

AUGUST_2 = datetime(2026, 8, 2, 3, tzinfo=UTC)
LINK = "https://territoire.example/rapports{query}"


@pytest.fixture
async def landerneau(registry, observations, pool: Pool, tenancy) -> Landerneau:
    return await make_landerneau(Metering(pool, registry, tenancy.id), registry, observations, pool)


@pytest.fixture
async def indicators_pool(database) -> AsyncGenerator[Pool]:
    async with open_pool(database.url_of("indicators"), "territoire-tests-indicators", size=3) as opened:
        yield opened


@pytest.fixture
async def alerting_pool(database) -> AsyncGenerator[Pool]:
    async with open_pool(database.url_of("alerting"), "territoire-tests-alerting", size=2) as opened:
        yield opened


async def kept(pool: Pool) -> list[tuple[Any, ...]]:
    rows = await pool.fetch("SELECT commune, service, month::text, version FROM report ORDER BY id")
    return [tuple(row) for row in rows]


async def test_the_month_that_is_over_is_made_on_the_second_and_again_when_late_data_changes_it(
    landerneau: Landerneau, indicators_pool: Pool, observations, pool: Pool
) -> None:
    reports = MonthlyReports(indicators_pool)

    assert await reports.make(AUGUST_2 - timedelta(days=1)) == 0
    assert await reports.make(AUGUST_2) == 1
    assert await reports.make(AUGUST_2 + timedelta(hours=1)) == 0
    await write_late(pool, observations, landerneau.bin)
    assert await reports.make(AUGUST_2 + timedelta(hours=2)) == 0  # Once a day.
    assert await reports.make(AUGUST_2 + timedelta(days=1)) == 1
    assert await MonthlyReports(indicators_pool).make(AUGUST_2 + timedelta(days=1)) == 0  # Another process.
    assert await kept(pool) == [("Landerneau", "all", "2026-07-01", 1), ("Landerneau", "all", "2026-07-01", 2)]


async def test_who_makes_reports_sees_one_tenant_and_writes_nothing_as_it(
    landerneau: Landerneau, indicators_pool: Pool, tenancy, other_tenancy, pool: Pool
) -> None:
    async with reading_as(indicators_pool, tenancy.id) as connection:
        own = await connection.fetchval("SELECT count(*) FROM asset")
    async with reading_as(indicators_pool, other_tenancy.id) as connection:
        theirs = await connection.fetchval("SELECT count(*) FROM asset")
        with pytest.raises(PostgresError, match="read-only transaction"):
            await connection.execute("UPDATE asset SET name = 'x'")
    async with indicators_pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL ROLE territoire_as_tenant")
        nobodys = await connection.fetchval("SELECT count(*) FROM asset")
    with pytest.raises(InsufficientPrivilegeError):
        await indicators_pool.execute("SET ROLE territoire_api")
    await pool.execute("UPDATE tenant SET closed_at = now() WHERE id = $1", other_tenancy.id)

    assert (own, theirs, nobodys) == (3, 0, 0)
    with pytest.raises(NotAdmitted):
        async with reading_as(indicators_pool, other_tenancy.id):
            pass


class Sent:
    """A team with an address, and what waits for it."""

    def __init__(self, pool: Pool, team: int, endpoint: int) -> None:
        self._pool, self.team, self.endpoint = pool, team, endpoint

    async def messages(self) -> list[Any]:
        rows = await self._pool.fetch(
            "SELECT payload FROM jobs.pgqueuer WHERE entrypoint = $1 ORDER BY id", f"webhook/{self.endpoint}"
        )
        return [decode_message(row["payload"]) for row in rows]


@pytest.fixture
async def sent(client, pool: Pool, tenancy) -> Sent:
    team = (await client.post("/v1/teams", json={"name": "Élus"})).json()["id"]
    contact = await client.post(
        f"/v1/teams/{team}/contacts", json={"name": "Maire", "email": "maire@ville.example"}
    )
    endpoint = contact.json()["webhook_endpoint_id"]
    await pool.execute("UPDATE webhook_endpoint SET state = 'enabled', proved_at = now() WHERE id = $1", endpoint)
    await pool.execute("DELETE FROM jobs.pgqueuer")
    made = await client.post("/v1/report-recipients", json={"team_id": team, "commune": "Landerneau"})
    assert made.status_code == 201, made.text
    await pool.execute("UPDATE report_recipient SET created_at = '2026-07-15'")
    return Sent(pool, team, endpoint)


async def test_a_report_goes_to_its_team_on_the_second_with_its_file_and_once(
    landerneau: Landerneau, sent: Sent, indicators_pool: Pool, alerting_pool: Pool, pool: Pool, tenancy
) -> None:
    at_half_past_seven = datetime(2026, 8, 2, 5, 30, tzinfo=UTC)
    before_it_is_made = await send_reports(alerting_pool, at_half_past_seven, LINK)
    await MonthlyReports(indicators_pool).make(AUGUST_2)
    too_early = await send_reports(alerting_pool, at_half_past_seven - timedelta(minutes=1), LINK)
    now = await send_reports(alerting_pool, at_half_past_seven, LINK)
    again = [await send_reports(alerting_pool, at_half_past_seven + n * timedelta(hours=7), LINK) for n in (1, 2)]

    assert (before_it_is_made, too_early, now, again) == (0, 0, 1, [0, 0])
    [message] = await sent.messages()
    assert b'"type":"team.report"' in message.body
    assert "Rapport de juillet 2026 : Landerneau." in message.body.decode()
    assert "électricité : 372 kWh, +20 % sur un an" in message.body.decode()
    report, sent_at = await pool.fetchrow("SELECT id, sent_at FROM report")
    assert sent_at == at_half_past_seven
    [file] = await read_attached(alerting_pool, tenancy.id, [report])
    assert (file.name, file.content[:5]) == ("Rapport de juillet 2026, Landerneau.pdf", b"%PDF-")
    assert await read_attached(alerting_pool, tenancy.id + 1, [report]) == []


async def test_two_that_send_at_once_send_once_and_a_crash_undoes_both(
    landerneau: Landerneau, sent: Sent, indicators_pool: Pool, alerting_pool: Pool, pool: Pool, monkeypatch
) -> None:
    await MonthlyReports(indicators_pool).make(AUGUST_2)
    at = datetime(2026, 8, 2, 6, tzinfo=UTC)

    with monkeypatch.context() as patched:  # What was queued before goes with it, as when the process is killed.
        patched.setattr("alerting.report_dispatch.MARK_SENT", "SELECT 1 / 0 + $1::int[] IS NULL OR $2 IS NULL")
        with pytest.raises(PostgresError):
            await send_reports(alerting_pool, at, LINK)
    assert await sent.messages() == []

    done = await asyncio.gather(send_reports(alerting_pool, at, LINK), send_reports(alerting_pool, at, LINK))

    assert sorted(done) == [0, 1]
    assert len(await sent.messages()) == 1


async def test_a_team_that_asked_after_the_second_waits_for_the_next_month(
    landerneau: Landerneau, sent: Sent, indicators_pool: Pool, alerting_pool: Pool, pool: Pool
) -> None:
    await pool.execute("UPDATE report_recipient SET created_at = '2026-08-05'")
    await MonthlyReports(indicators_pool).make(AUGUST_2)

    assert await send_reports(alerting_pool, datetime(2026, 8, 6, 8, tzinfo=UTC), LINK) == 0


def test_the_second_is_that_of_the_teams_own_clocks() -> None:
    half_past_seven = datetime(2026, 1, 1, 7, 30, tzinfo=UTC).time()
    january = datetime(2026, 1, 1, tzinfo=UTC).date()

    assert due_at(january, half_past_seven, "29", "Europe/Paris") == datetime(2026, 2, 2, 6, 30, tzinfo=UTC)
    assert due_at(january, half_past_seven, "974", "Europe/Paris") == datetime(2026, 2, 2, 3, 30, tzinfo=UTC)
